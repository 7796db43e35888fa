"""One run of the command: send, follow, write, report.

Owns: the order of things, and that whatever happens ends in one exit code. Must not know: how any
of it is done; the modules beside this one do.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, BinaryIO

import httpcore

from .._models import content_length
from .._redact import redact_url
from .._settings import read_protocols
from . import output, report, sending
from .decoding import Undecodable, codings, decoded
from .exits import Exit, Problem, explain
from .output import Terminal, status_line
from .reading import FROM_SIZE, STDIN, STDOUT, Options, to_bytes
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
# Statuses that a second request may not get, as for curl's --retry.
TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})


def run_all(jobs: Sequence[Options], terminal: Terminal) -> Exit:
    """Do what each of `jobs` says, several at the same time; returns the exit code.

    Raises Problem or OSError where nothing can be begun.
    """
    options, cancel, cookies = jobs[0], httpcore.CancelToken(), None
    if options.cookie_files or options.cookie_jar is not None:
        cookies = sending.Cookies(options.cookie_files, options.cookie_jar)
    count = options.retry
    # One command is no storm: the budget of retries need not hold it back.
    retries = httpcore.RetryConfig(*(count, count, count, count), statuses=TRANSIENT, reserve=count)
    with httpcore.ConnectionPool(
        http1=options.http1,
        http2=options.http2,
        retries=retries if count else 0,
        resolve=options.resolve,
        uds=options.unix_socket,
    ) as pool:

        def fetch(job: Options, each: Terminal) -> Exit:
            return Run(job, each, pool, cookies, cancel).run()

        if len(jobs) == 1:
            code = fetch(options, terminal)
        else:
            codes: list[Exit] = []
            problem = _attempt(lambda: codes.extend(_fetch_several(jobs, terminal, fetch, cancel)))
            code = terminal.error(problem) or next(filter(None, codes), Exit.OK)
    saved = terminal.error(None if cookies is None else _attempt(cookies.save))
    return code or saved


def _fetch_several(
    jobs: Sequence[Options],
    terminal: Terminal,
    fetch: Callable[[Options, Terminal], Exit],
    cancel: httpcore.CancelToken,
) -> Iterator[Exit]:
    """Fetch all of `jobs` at the same time; yield their codes."""
    from concurrent.futures import ThreadPoolExecutor  # a single URL needs neither
    from tempfile import SpooledTemporaryFile

    with contextlib.ExitStack() as stack:
        kept = [stack.enter_context(SpooledTemporaryFile(max_size=IN_MEMORY)) for _ in jobs]
        threads = stack.enter_context(ThreadPoolExecutor(AT_ONCE))
        stack.callback(threads.shutdown, cancel_futures=True)
        stack.callback(cancel.cancel)  # those that still run, if this is an interruption
        terminals = [terminal.keeping(each) for each in kept]
        futures = list(map(threads.submit, itertools.repeat(fetch), jobs, terminals))
        for future, each in zip(futures, terminals, strict=True):
            each.release()
            yield future.result()


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


@dataclass
class Run:
    """The requests for one URL."""

    options: Options
    terminal: Terminal
    pool: httpcore.ConnectionPool
    cookies: sending.Cookies | None
    cancel: httpcore.CancelToken

    def __post_init__(self) -> None:
        self.facts, self.fields = Facts(self.options), sending.first_fields(self.options)
        self.talk = Talk(self.terminal.say, self.facts, self.options)
        self.challenged: tuple[str, httpcore.URL] | None = None
        limit = self.options.max_time
        self.end = None if limit is None else monotonic() + limit
        self.files = contextlib.ExitStack()

    def run(self) -> Exit:
        """Do all that is asked for; return the exit code."""
        problem = _attempt(self._fetch)
        if problem is not None and problem.code is Exit.USAGE and self.facts.redirects:
            # That says that nothing was sent. Without a cause it is not the request that cannot
            # be, but a proxy for it.
            code = Exit.PROXY if problem.cause is None else Exit.PROTOCOL
            place = redact_url(str(self.facts.redirects[-1].url))
            text = f"cannot follow the redirect of {place}: {problem.text}"
            problem = Problem(code, text, problem.cause)
        problem = _attempt(lambda: self._report(problem)) or problem
        if self.cancel.cancelled:
            return Exit.INTERRUPTED  # which is said once for all
        return self.terminal.error(problem)

    def _fetch(self) -> None:
        """Send the request, and those that come of it, and write the last response."""
        options = self.options
        leg: Leg | None = Leg(options.method, options.url, options.body)
        with self.files:
            while leg is not None:
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
        options, redirects = self.options, self.facts.redirects
        if self.cookies is not None:
            self.cookies.take(leg.url, response)
        found, asked = None, (leg.method, leg.url)
        if options.digest and options.auth and leg.trusted and asked != self.challenged:
            answer = sending.digest(options.auth, response, *asked)
            if answer is not None:
                self.challenged, name = asked, b"Authorization"
                self.fields = [each for each in self.fields if each[0].lower() != name.lower()]
                self.fields.append((name, answer))
                found = Leg(*asked, leg.body)
        if found is None and options.follow:
            found = sending.next_leg(leg, response, options.url)
            redirects += [] if found is None else [leg]
        if found is not None and len(redirects) > MAX_REDIRECTS:
            text = f"more than {MAX_REDIRECTS} redirects, the last to {redact_url(str(found.url))}"
            raise Problem(Exit.REDIRECTS, text)
        for path in [] if found is None or found.body is None else found.body.files:
            if path == STDIN or not os.path.isfile(path):
                what = "standard input" if path == STDIN else path
                text = f"{response.status} asks again for {what}, which is read only once"
                raise Problem(Exit.READ, text)
        return found

    def _report(self, problem: Problem | None) -> None:
        """Say what is to be said when all is over."""
        options, terminal = self.options, self.terminal
        if options.timing:
            encoding = sys.stderr.encoding or "ascii"
            terminal.say(report.waterfall(self.facts, terminal.errors.width, encoding))
        if options.json:
            terminal.write(report.as_json(self.facts, problem))
        if options.write_out is not None:
            terminal.write(lines(report.filled(options.write_out, self.facts)))

    # The request

    def _send(self, leg: Leg) -> httpcore.Response:
        """Return the response to `leg`, its body unread."""
        options = self.options
        leg.proxy = sending.proxy_for(leg.url, options)
        self.facts.begin(leg)
        connect, left = options.connect_timeout or CONNECT_TIMEOUT, None
        if self.end is not None:
            left = max(round(self.end - monotonic(), 3), 0.0)  # the error says how much that was
        extensions: dict[str, Any] = {
            "cancel": self.cancel,
            "informational": self.talk.informational if options.verbose else None,
            "proxy": leg.proxy,
            "timeout": {"connect": connect, "total": left},
            "trace": self.talk.note,
        }
        if leg.url.scheme == b"https":
            cert = options.cert if leg.trusted else None
            offered = read_protocols(options.http1, options.http2)
            context = httpcore.create_ssl_context(options.verify, cert, protocols=offered)
            extensions["ssl_context"] = context
        cookies = self.cookies.field(leg.url) if self.cookies else b""
        with self._content(leg) as content:
            leg.response = response = self.pool.request(
                *(to_bytes(leg.method), leg.url),
                headers=sending.fields_for(leg, options, self.fields, cookies),
                content=content,
                stream=True,
                extensions=extensions,
            )
        if options.include and not options.json:
            output.write_head(self.terminal, response)
        return response

    @contextlib.contextmanager
    def _content(self, leg: Leg) -> Iterator[Any]:
        """Give the content of a request while it is sent: nothing, bytes, or a file, whose progress
        is shown."""
        body, bars = leg.body, self.terminal.bars
        if body is None or not body.files:
            parts = () if body is None else body.parts
            content = b"".join(part for part in parts if isinstance(part, bytes))
            leg.sent = len(content)
            yield None if body is None else content
            return
        files = [self._open(part) for part in body.parts]
        upload = sending.Upload(leg, files)
        name = os.path.basename(body.files[0]) if len(files) == 1 else "form"
        # The system may send one file by itself, where nobody watches.
        by_itself = len(files) == 1 and bars.console is None and body.files != [STDIN]
        by_itself = by_itself and files[0].seekable()  # else it has no position: a pipe by its path
        with bars.bar(name, content_length(upload)) as upload.moved:
            try:
                yield files[0] if by_itself else upload
            finally:
                leg.sent = files[0].tell() if by_itself else leg.sent

    def _open(self, part: bytes | str) -> BinaryIO:
        """Return a file that is open until the run is over: a response may begin before the request
        is sent."""
        if isinstance(part, bytes):
            return io.BytesIO(part)
        return sys.stdin.buffer if part == STDIN else self.files.enter_context(open(part, "rb"))

    # The body

    def _deliver(self, leg: Leg, response: httpcore.Response) -> None:
        """Write the body of the last response, or say why not."""
        options, terminal = self.options, self.terminal
        if options.fail and response.status >= 400:
            asked = f"{leg.method} {redact_url(str(leg.url))}"
            raise Problem(Exit.STATUS, f"{asked} was answered {status_line(response)}")
        if options.head and leg.method != "HEAD":
            return  # the rest is not even read, as in curl
        start, path = self._start(response), options.output
        to_file = path not in (None, STDOUT)
        if leg.method == "HEAD" or start is None or (options.json and not to_file):
            for _ in self._received(response):
                pass
        elif to_file:
            encoded = options.compressed and codings(response.headers)
            length = "" if encoded else first_value(response.headers, b"content-length")
            # Over HTTP/2 it may be anything, and be too long for `int`.
            total = int(length) + start if re.fullmatch("[0-9]{1,18}", length) else None
            output.write_file(terminal, path, self._body(response), total, start)
        else:
            self._show(response)
        if getattr(response.stream, "unclean_tls_eof", False):
            terminal.note("the server ended TLS without a word: the body may have been cut short")

    def _start(self, response: httpcore.Response) -> int | None:
        """Return behind how many bytes of the file the body goes; None where nothing is missing.

        Raises Problem for a response that is not the part that was asked for.
        """
        asked, offset = self.options.continue_at, self.options.offset or 0
        if asked is None:
            return 0
        path = self.options.output or "standard output"
        place = first_value(response.headers, b"content-range")
        if response.status == 206 and place.startswith(f"bytes {offset}-"):
            return offset
        if response.status == 416 and place == f"bytes */{offset}":
            self.terminal.note(f"{path} is complete already")
            return None
        if response.status == 200 and not offset:
            return 0
        if response.status == 200 and asked == FROM_SIZE:
            self.terminal.note(f"the server sends all of it: {path} begins anew")
            return 0
        code = Exit.PROTOCOL if response.status < 400 else Exit.STATUS
        raise Problem(code, f"{status_line(response)} is not what is missing of {path}")

    def _show(self, response: httpcore.Response) -> None:
        """Write the body to standard output: on a terminal, or as if it were one, as text."""
        options, terminal = self.options, self.terminal
        formats = terminal.formats_body and options.output is None
        parts = self._body(response, decodes=formats)
        first = next(parts, b"")
        parts = itertools.chain([first], parts)
        shows = formats and terminal.shows_body
        if shows and not first and not options.include and not options.verbose:
            self._say_status(response)
        if formats and output.is_text(response.headers, first):
            output.write_readable(terminal, response.headers, parts)
        elif shows:
            kind, _ = output.content_type(response.headers)
            saves = "-o FILE saves it, -o - shows it"
            terminal.note(f"the body is binary ({kind}) and not shown: {saves}")
            if options.timing:
                for _ in parts:  # how long that takes was asked for
                    pass
        else:
            for part in parts:
                terminal.write(part)

    def _say_status(self, response: httpcore.Response) -> None:
        """Say how the server answered, as the body says nothing."""
        text = f"{status_line(response)}, without a body"
        place = redact_url(first_value(response.headers, b"location"))
        if place:
            text += f"; Location: {place}{'' if self.options.follow else ' (-L follows it)'}"
        self.terminal.note(text)

    def _body(self, response: httpcore.Response, decodes: bool = False) -> Iterator[bytes]:
        """Yield the body's pieces as they are to be written, and count them when they are."""
        parts = self._received(response)
        if decodes or self.options.compressed:
            try:
                parts = decoded(parts, codings(response.headers))
            except Undecodable as exc:
                self.terminal.note(f"{exc}: the body is left as it came")
        for part in parts:
            yield part
            self.facts.written += len(part)

    def _received(self, response: httpcore.Response) -> Iterator[bytes]:
        for part in response.iter_stream():
            self.facts.received += len(part)
            yield part
