"""One run of the command: send, follow, write, report.

Owns: the order of things, and that whatever happens ends in one exit code. Must not know: how any
of it is done; the modules beside this one do.

What is secret goes to the origin that it was given for and to no other: not along a redirect to
another host, port or scheme. That holds for ``-u``, for every header field that may be a secret
(`_redact.is_secret`), and for the client certificate.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from time import monotonic
from types import SimpleNamespace
from typing import Any, BinaryIO

import httpcore

from .._redact import is_secret, redact_url
from .._settings import read_protocols
from . import output, report, sending
from .decoding import Undecodable, accepted, codings, decoded
from .exits import Exit, Problem, explain, unreadable
from .output import Terminal, status_line
from .reading import FROM_SIZE, STDIN, STDOUT, Body, Fields, Options, to_bytes
from .report import Facts, Leg
from .talk import Talk
from .text import first_value, lines

# Redirects that are followed at most; as many as browsers.
MAX_REDIRECTS = 20
# Seconds between the attempts to open one connection, in all; curl's five minutes outlast people.
CONNECT_TIMEOUT = 60.0
# Requests under way; as many connections as browsers open to one host, so that servers allow it.
AT_ONCE = 6
# Bytes of a body that wait in memory for their turn; more of them wait in a temporary file.
IN_MEMORY = 1024 * 1024

# Fields that speak of a body, and go where it goes.
ABOUT_BODIES = frozenset({b"content-type", b"content-length", b"content-encoding"})


def run_all(jobs: Sequence[Options], terminal: Terminal) -> Exit:
    """Do what each of `jobs` says, several at the same time; returns the exit code.

    Raises Problem where nothing can be begun.
    """
    options, cookies = jobs[0], None
    if options.cookie_file is not None or options.cookie_jar is not None:
        cookies = sending.Cookies(options.cookie_file, options.cookie_jar)

    def fetch(
        options: Options, each: Terminal = terminal, cancel: httpcore.CancelToken | None = None
    ) -> Exit:
        return Run(options, each, pool, cookies, cancel).run()

    with sending.make_pool(options) as pool:
        if len(jobs) == 1:
            code = fetch(options)
        else:
            codes: list[Exit] = []
            problem = _attempt(lambda: codes.extend(_fetch_several(jobs, terminal, fetch)))
            code = terminal.error(problem) or next(filter(None, codes), Exit.OK)
    saved = terminal.error(None if cookies is None else _attempt(cookies.save))
    return code or saved


def _fetch_several(
    jobs: Sequence[Options],
    terminal: Terminal,
    fetch: Callable[[Options, Terminal, httpcore.CancelToken], Exit],
) -> list[Exit]:
    """Fetch all of `jobs` at the same time; return their codes."""
    from concurrent.futures import ThreadPoolExecutor  # a single URL needs neither
    from tempfile import SpooledTemporaryFile

    cancel = httpcore.CancelToken()
    with contextlib.ExitStack() as stack:
        kept = [stack.enter_context(SpooledTemporaryFile(max_size=IN_MEMORY)) for _ in jobs]
        threads = stack.enter_context(ThreadPoolExecutor(AT_ONCE))
        stack.callback(threads.shutdown, cancel_futures=True)
        stack.callback(cancel.cancel)  # those that still run, if this is an interruption
        terminals = [terminal.keeping(each) for each in kept]
        futures = [
            threads.submit(fetch, job, each, cancel)
            for job, each in zip(jobs, terminals, strict=True)
        ]
        codes = []
        for future, each in zip(futures, terminals, strict=True):
            each.release()
            codes.append(future.result())
    return codes


def _attempt(work: Callable[[], object]) -> Problem | None:
    """Return what went wrong with `work`; what should not have happened is raised."""
    try:
        work()
    except (Exception, KeyboardInterrupt) as exc:
        problem = explain(exc)
        if problem is None:
            raise
        return problem
    return None


class Run:
    """The requests for one URL."""

    def __init__(
        self,
        options: Options,
        terminal: Terminal,
        pool: httpcore.ConnectionPool,
        cookies: sending.Cookies | None,
        cancel: httpcore.CancelToken | None,
    ) -> None:
        self._options, self._terminal, self._pool = options, terminal, pool
        self._cookies, self._cancel = cookies, cancel
        self._facts = Facts(options)
        self._talk = Talk(terminal.say, self._facts, options)
        self._authorization: bytes | None = options.authorization
        self._challenged: tuple[str, httpcore.URL] | None = None
        self._end: float | None = None
        self._files = contextlib.ExitStack()
        self._target = options.url  # of the last request

    def run(self) -> Exit:
        """Do all that is asked for; return the exit code."""
        problem = _attempt(self._fetch)
        if problem is not None and problem.code is Exit.USAGE and self._facts.redirects:
            # That says that nothing was sent. Without a cause it is not the request that cannot
            # be, but a proxy for it.
            code = Exit.PROXY if problem.cause is None else Exit.PROTOCOL
            text = f"cannot follow the redirect to {self._target}: {problem.text}"
            problem = Problem(code, text, problem.cause)
        problem = _attempt(lambda: self._report(problem)) or problem
        if self._cancel is not None and self._cancel.cancelled:
            return Exit.INTERRUPTED  # which is said once for all
        return self._terminal.error(problem)

    def _fetch(self) -> None:
        """Send the request, and those that come of it, and write the last response."""
        options = self._options
        leg: Leg | None = Leg(options.method, options.url, options.body)
        with self._files:
            while leg is not None:
                self._target = leg.url
                response = self._send(leg)
                try:
                    following = self._following(leg, response)
                    if following is None:
                        self._deliver(leg, response)
                finally:
                    response.close()
                leg = following

    def _following(self, leg: Leg, response: httpcore.Response) -> Leg | None:
        """Return the request that `response` asks for; None where it is the last."""
        options, redirects = self._options, self._facts.redirects
        if self._cookies is not None:
            self._cookies.take(leg.url, response)
        asked, found = (leg.method, leg.url), None
        if options.digest and options.auth and leg.trusted and asked != self._challenged:
            answer = sending.digest(options.auth, response, *asked)
            if answer is not None:
                self._challenged, self._authorization = asked, answer
                found = Leg(*asked, leg.body)
        if found is None and options.follow:
            found = sending.next_leg(leg, response, options.url)
            redirects += [] if found is None else [leg]
        if found is not None and len(redirects) > MAX_REDIRECTS:
            text = f"more than {MAX_REDIRECTS} redirects, the last to {redact_url(str(found.url))}"
            raise Problem(Exit.REDIRECTS, text)
        if found is not None and found.body is not None and STDIN in found.body.files:
            again = f"{response.status} asks for the body again"
            raise Problem(Exit.READ, f"{again}, but standard input is read only once")
        return found

    def _report(self, problem: Problem | None) -> None:
        """Say what is to be said when all is over."""
        options, terminal = self._options, self._terminal
        if options.timing:
            encoding = sys.stderr.encoding or "ascii"
            terminal.say(report.waterfall(self._facts, terminal.errors.width, encoding))
        if options.json:
            terminal.write(report.as_json(self._facts, problem))
        if options.write_out is not None:
            terminal.write_text(lines(report.filled(options.write_out, self._facts)))

    # The request

    def _send(self, leg: Leg) -> httpcore.Response:
        """Return the response to `leg`, its body unread."""
        options = self._options
        leg.proxy = sending.proxy_for(leg.url, options)
        extensions: dict[str, Any] = {"trace": self._talk.note, "proxy": leg.proxy}
        if options.verbose:
            extensions["informational"] = self._talk.informational
        if self._cancel is not None:
            extensions["cancel"] = self._cancel
        if options.unix_socket is not None:
            extensions["uds"] = options.unix_socket
        if leg.url.scheme == b"https":
            cert = options.cert if leg.trusted else None
            offered = read_protocols(options.http1, options.http2)
            extensions["ssl_context"] = sending.tls_context(options.verify, cert, offered)
        self._facts.begin(leg)
        extensions["timeout"] = self._timeout()
        headers = self._headers(leg)

        def send(content: Any) -> httpcore.Response:
            return self._pool.request(
                *(to_bytes(leg.method), leg.url),
                headers=headers,
                content=content,
                stream=True,
                extensions=extensions,
            )

        if leg.body is not None and leg.body.files:
            response = self._send_files(send, leg, leg.body)
        else:
            parts = () if leg.body is None else leg.body.parts
            content = b"".join(part for part in parts if isinstance(part, bytes))
            leg.sent = len(content)
            response = send(None if leg.body is None else content)
        leg.response = response
        if options.include and not options.json:
            output.write_head(self._terminal, response)
        return response

    def _send_files(
        self, send: Callable[[Any], httpcore.Response], leg: Leg, body: Body
    ) -> httpcore.Response:
        """Return the response to a body that is, or has, files."""
        path = body.files[0] if len(body.parts) == 1 else "a file of -F"
        name = "form" if body.parts[1:] else "standard input" if path == STDIN else path
        files = [self._open(part) for part in body.parts]
        upload = sending.Upload(files) if files[0].seekable() else None
        total = None if upload is None else upload.length
        with self._terminal.bars.bar(os.path.basename(name), total) as moved:

            def note(count: int) -> None:
                leg.sent = count
                moved(count)

            def read(size: int) -> bytes:
                data = files[0].read(size)
                note(leg.sent + len(data))
                return data

            content: Any = SimpleNamespace(read=read)
            if upload is not None:
                content, upload.moved = upload, note
                if len(files) == 1 and self._terminal.bars.console is None and path != STDIN:
                    content = files[0]  # which the system may send by itself
            try:
                return send(content)
            except OSError as exc:  # of the file: those of the network are the package's own
                raise unreadable(path, exc) from exc
            finally:
                if content is files[0]:
                    note(files[0].tell())

    def _open(self, part: bytes | str) -> BinaryIO:
        """Return a part of a body as a file, which is open until the run is over: a response may
        begin before the request is sent."""
        if isinstance(part, bytes):
            return io.BytesIO(part)
        if part == STDIN:
            return sys.stdin.buffer
        try:
            return self._files.enter_context(open(part, "rb"))
        except (OSError, ValueError) as exc:
            raise unreadable(part, exc) from exc

    def _headers(self, leg: Leg) -> Fields:
        """Return what the command adds, then what was asked for; of the secrets only what may go
        there."""
        options, body = self._options, leg.body
        own = {b"User-Agent": f"httpcore/{httpcore.__version__}".encode("ascii"), b"Accept": b"*/*"}
        if options.compressed:
            own[b"Accept-Encoding"] = accepted()
        if self._authorization is not None and leg.trusted:
            own[b"Authorization"] = self._authorization
        if options.offset is not None:
            own[b"Range"] = b"bytes=%d-" % options.offset
        if body is not None and body.content_type is not None:
            own[b"Content-Type"] = body.content_type
        asked = [
            (name, value)
            for name, value in options.headers
            if (leg.trusted or not (is_secret(name) or name.lower() == b"host"))
            and (body is not None or name.lower() not in ABOUT_BODIES or options.body is None)
        ]
        without = options.without | {name.lower() for name, _ in asked}
        fields = [field for field in own.items() if field[0].lower() not in without] + asked
        # One Cookie field, of those that were spelled out and those kept.
        kept = self._cookies.field(leg.url) if self._cookies else b""
        values = [value for name, value in fields if name.lower() == b"cookie"]
        values += [kept] if kept else []
        others = [field for field in fields if field[0].lower() != b"cookie"]
        return [*others, (b"Cookie", b"; ".join(values))] if values else others

    def _timeout(self) -> dict[str, float | None]:
        """Return the limits of the next request; the clock of all begins with the first."""
        connect, limit = self._options.connect_timeout, self._options.max_time
        left = None
        if limit is not None:
            now = monotonic()
            self._end = now + limit if self._end is None else self._end
            left = self._end - now
            if left <= 0:
                text = f"the total of {limit:g} s is over, between two requests"
                raise Problem(Exit.TIMEOUT, text)
        return {"connect": CONNECT_TIMEOUT if connect is None else connect, "total": left}

    # The body

    def _deliver(self, leg: Leg, response: httpcore.Response) -> None:
        options, terminal = self._options, self._terminal
        if options.fail and response.status >= 400:
            asked = f"{leg.method} {redact_url(str(leg.url))}"
            raise Problem(Exit.STATUS, f"{asked} was answered {status_line(response)}")
        if options.head and leg.method != "HEAD":
            return  # the rest is not even read, as in curl
        start = self._start(response)
        to_file = options.output not in (None, STDOUT)
        if leg.method == "HEAD" or start is None or (options.json and not to_file):
            for _ in self._received(response):
                pass
        elif to_file:
            total = output.expected_length(response.headers)
            if options.compressed and codings(response.headers):
                total = None  # it is the length before decoding
            total = None if total is None else total + start
            output.write_file(terminal, options.output, self._body(response), total, start)
        elif options.output == STDOUT or not terminal.formats_body:
            for part in self._body(response):
                terminal.write(part)
        else:
            self._show(response)
        if getattr(response.stream, "unclean_tls_eof", False):
            terminal.note("the server ended TLS without a word: the body may have been cut short")

    def _start(self, response: httpcore.Response) -> int | None:
        """Return behind how many bytes of the file the body goes; None where nothing is missing.

        Raises Problem for a response that is not the part that was asked for.
        """
        asked = self._options.continue_at
        if asked is None:
            return 0
        path, offset = self._options.output or "standard output", self._options.offset or 0
        place = output.content_range(response.headers)
        if response.status == 206 and place == f"{offset}-":
            return offset
        if response.status == 416 and place == f"*/{offset}":
            self._terminal.note(f"{path} is complete already")
            return None
        if response.status == 200 and (asked == FROM_SIZE or not offset):
            if offset:
                self._terminal.note(f"the server sends all of it: {path} begins anew")
            return 0
        if response.status < 400:
            raise Problem(
                Exit.PROTOCOL, f"{status_line(response)} is not what is missing of {path}"
            )
        text = f"{path} is left as it is: the answer was {status_line(response)}"
        raise Problem(Exit.STATUS, text)

    def _show(self, response: httpcore.Response) -> None:
        """Show the body, on a terminal or as if it were one."""
        terminal = self._terminal
        parts = self._decoded(self._received(response), response)
        first = next(parts, b"")
        parts = itertools.chain([first], parts)
        if not first:
            self._say_status(response)
        if output.is_text(response.headers, first[: output.SAMPLE]):
            output.write_readable(terminal, response.headers, self._written(parts))
        elif not terminal.shows_body:
            for part in self._written(parts):
                terminal.write(part)
        else:
            what = output.describe_binary(response.headers)
            terminal.note(
                f"the body is binary{what} and not shown: -o FILE saves it, -o - shows it"
            )
            if self._options.timing:
                for _ in parts:  # how long that takes was asked for
                    pass

    def _say_status(self, response: httpcore.Response) -> None:
        """Say on a terminal how the server answered, as the body says nothing."""
        options = self._options
        if not self._terminal.shows_body or options.include or options.verbose:
            return
        text = f"{status_line(response)}, without a body"
        place = first_value(response.headers, b"location")
        if place:
            text += f"; Location: {redact_url(place)}{'' if options.follow else ' (-L follows it)'}"
        self._terminal.note(text)

    def _body(self, response: httpcore.Response) -> Iterator[bytes]:
        """Return the body's pieces as they are to be written."""
        parts = self._received(response)
        return self._written(self._decoded(parts, response) if self._options.compressed else parts)

    def _decoded(self, parts: Iterator[bytes], response: httpcore.Response) -> Iterator[bytes]:
        try:
            return decoded(parts, codings(response.headers))
        except Undecodable as exc:
            self._terminal.note(f"{exc}: the body is left as it came")
            return parts

    def _received(self, response: httpcore.Response) -> Iterator[bytes]:
        for part in response.iter_stream():
            self._facts.received += len(part)
            yield part

    def _written(self, parts: Iterator[bytes]) -> Iterator[bytes]:
        for part in parts:
            yield part
            self._facts.written += len(part)
