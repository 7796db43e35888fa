"""One run of the command: send, follow, write, report.

Owns: the order of things, and that whatever happens ends in one exit code. Must not know: how any
of it is done; the modules beside this one do.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import httpcore

from .._redact import redact_url
from . import output
from .decoding import Undecodable, codings, decoded
from .exits import Exit, Problem, explain
from .facts import Facts
from .options import FROM_SIZE, STDOUT, Options
from .sending import MAX_REDIRECTS, Leg, Sender, next_leg
from .talk import Trace, Verbose
from .terminal import Terminal
from .text import lines, of_bytes
from .timings import Details, Timeline
from .waterfall import draw

if TYPE_CHECKING:
    from .cookies import Cookies
    from .parallel import Fetch


def run_all(
    jobs: Sequence[Options],
    terminal: Terminal,
    pool: httpcore.ConnectionPool,
    cookies: Cookies | None,
) -> Exit:
    """Do what each of `jobs` says, several at the same time; returns the exit code."""

    def fetch(
        options: Options, each: Terminal = terminal, cancel: httpcore.CancelToken | None = None
    ) -> Exit:
        this = Run(options, each, cookies, pool, cancel)
        problem = this.explain_redirect(attempt(this.fetch))
        return _code(attempt(lambda: this.report(problem)) or problem, each)

    code = fetch(jobs[0]) if len(jobs) == 1 else _fetch_several(jobs, terminal, fetch)
    saved = _code(None if cookies is None else attempt(cookies.save), terminal)
    return code or saved


def _fetch_several(jobs: Sequence[Options], terminal: Terminal, fetch: Fetch) -> Exit:
    from .parallel import fetch_all

    codes: list[Exit] = []
    with contextlib.ExitStack() as stack:
        body = jobs[0].body
        moves_files = jobs[0].output is not None or (body is not None and body.moves_files)
        if terminal.has_progress and moves_files:
            from .progress import bars

            terminal.bars = stack.enter_context(bars(terminal))
        problem = attempt(lambda: codes.append(fetch_all(jobs, terminal, fetch)))
    return _code(problem, terminal) or codes[0]


def _code(problem: Problem | None, terminal: Terminal) -> Exit:
    """Return the code of `problem`, and say what it was."""
    if problem is None:
        return Exit.OK
    if problem.text:
        terminal.error(problem.text)
    return problem.code


def attempt(work: Callable[[], object]) -> Problem | None:
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
    """What is known while it goes on."""

    def __init__(
        self,
        options: Options,
        terminal: Terminal,
        cookies: Cookies | None,
        pool: httpcore.ConnectionPool,
        cancel: httpcore.CancelToken | None,
    ) -> None:
        self._cookies, self._pool, self._cancel = cookies, pool, cancel
        self.timeline = Timeline(time.perf_counter)
        self._options = options
        self._terminal = terminal
        self._facts = Facts(options, self.timeline)
        self._verbose = Verbose(terminal.say, lambda: self._facts.tls) if options.verbose else None
        self._listeners = [self.timeline.note, self._facts.note]
        if self._verbose is not None:
            self._listeners.append(self._verbose.note)
        if options.trace:
            self._listeners.append(Trace(terminal.say).note)
        self._target = options.url  # of the last request

    def fetch(self) -> None:
        """Send the request, and those that come of it, and write the last response."""
        informational = None if self._verbose is None else self._verbose.informational
        leg = Leg(self._options.method, self._options.url, self._options.body)
        with Sender(
            *(self._options, self._terminal, self._pool, self._trace),
            *(informational, self._cookies),
        ) as sender:
            for _ in range(MAX_REDIRECTS + 1):
                response = self._send(sender, leg)
                try:
                    if sender.answers(leg, response):
                        continue
                    following = self._following(leg, response)
                    if following is None:
                        self._deliver(leg, response)
                        return
                finally:
                    response.close()
                self._facts.redirects.append((str(leg.url), response.status))
                leg = following
                self._target = leg.url
        text = f"more than {MAX_REDIRECTS} redirects, the last to {redact_url(str(leg.url))}"
        raise Problem(Exit.REDIRECTS, text)

    def explain_redirect(self, problem: Problem | None) -> Problem | None:
        """Return `problem`, but `Exit.USAGE` says that nothing was sent: after a redirect it
        was."""
        if problem is None or problem.code is not Exit.USAGE or not self._facts.redirects:
            return problem
        # Without a cause it is not the request that cannot be, but a proxy for it.
        code = Exit.PROXY if problem.cause is None else Exit.PROTOCOL
        text = f"cannot follow the redirect to {self._target}: {problem.text}"
        return Problem(code, text, problem.cause)

    def report(self, problem: Problem | None) -> None:
        """Say what is to be said when all is over."""
        if self._options.timing:
            terminal = self._terminal
            terminal.say(draw(self.timeline, terminal.errors.width, terminal.draws_blocks))
        if self._options.json:
            self._terminal.write(self._facts.report(problem).encode("ascii") + b"\n")
        if self._options.write_out is not None:
            from .writeout import filled

            self._terminal.write_text(lines(filled(self._options.write_out, self._facts)))

    def _trace(self, event: str, details: Details) -> None:
        now = self.timeline.clock()
        for note in self._listeners:
            note(now, event, details)

    def _send(self, sender: Sender, leg: Leg) -> httpcore.Response:
        facts = self._facts
        facts.response = None
        extensions = sender.prepare(leg)
        if self._cancel is not None:
            extensions["cancel"] = self._cancel
        proxy = extensions["proxy"]
        facts.proxy = None if proxy is None else str(proxy.url.origin)
        facts.method = leg.method
        facts.urls.append(str(leg.url))
        timed = self.timeline.begin(f"{leg.method} {leg.url}", proxy is not None)
        timed.outcome = "failed"
        try:
            response = facts.response = sender.send(leg, extensions)
        finally:
            facts.sent = sender.sent
        timed.outcome = of_bytes(output.status_line(response))
        if self._options.include and not self._options.json:
            output.write_head(self._terminal, response)
        return response

    def _following(self, leg: Leg, response: httpcore.Response) -> Leg | None:
        if not self._options.follow:
            return None
        return next_leg(leg, response, self._options.url)

    # The body

    def _deliver(self, leg: Leg, response: httpcore.Response) -> None:
        options, terminal = self._options, self._terminal
        if options.fail and response.status >= 400:
            status = of_bytes(output.status_line(response))
            asked = f"{leg.method} {redact_url(str(leg.url))}"
            raise Problem(Exit.STATUS, f"{asked} was answered {status}")
        if options.head and leg.method != "HEAD":
            return  # the rest is not even read, as in curl
        start = self._start(response)
        if leg.method == "HEAD" or start is None:
            output.read_away(self._received(response))
        elif options.output not in (None, STDOUT):
            self._save(str(options.output), response, start)
        elif options.json:
            output.read_away(self._received(response))
        elif options.output == STDOUT or not terminal.formats_body:
            output.write_raw(terminal, self._body(response))
        else:
            self._show(response)
        if getattr(response.stream, "unclean_tls_eof", False):
            terminal.note("the server ended TLS without a word: the body may have been cut short")

    def _save(self, path: str, response: httpcore.Response, start: int) -> None:
        total = output.expected_length(response.headers)
        if self._options.compressed and codings(response.headers):
            total = None  # it is the length before decoding
        total = None if total is None else total + start
        output.write_file(self._terminal, path, self._body(response), total, start)

    def _start(self, response: httpcore.Response) -> int | None:
        """Return behind how many bytes of the file the body goes; None where nothing is missing.

        Raises Problem for a response that is not the part that was asked for.
        """
        options = self._options
        if options.resume is None:
            return 0
        path, offset = options.output or "standard output", options.offset() or 0
        place = output.content_range(response.headers)
        if response.status == 206 and place == f"{offset}-":
            return offset
        if response.status == 416 and place == f"*/{offset}":
            self._terminal.note(f"{path} is complete already")
            return None
        if response.status == 200 and (options.resume == FROM_SIZE or not offset):
            if offset:
                self._terminal.note(f"the server sends all of it: {path} begins anew")
            return 0
        status = of_bytes(output.status_line(response))
        if response.status < 400:
            raise Problem(Exit.PROTOCOL, f"{status} is not what is missing of {path}")
        raise Problem(Exit.STATUS, f"{path} is left as it is: the answer was {status}")

    def _show(self, response: httpcore.Response) -> None:
        """Show the body, on a terminal or as if it were one."""
        terminal = self._terminal
        parts, sample = output.peek(self._decoded(self._received(response), response))
        if not sample:
            self._say_status(response)
        if output.is_text(response.headers, sample):
            output.write_readable(terminal, response.headers, self._written(parts))
        elif not terminal.shows_body:
            output.write_raw(terminal, self._written(parts))
        else:
            what = output.describe_binary(response.headers)
            terminal.note(
                f"the body is binary{what} and not shown: -o FILE saves it, -o - shows it"
            )
            if self._options.timing:
                output.read_away(parts)  # how long that takes was asked for

    def _say_status(self, response: httpcore.Response) -> None:
        """Say on a terminal how the server answered, as the body says nothing."""
        options = self._options
        if not self._terminal.shows_body or options.include or options.verbose:
            return
        text = f"{of_bytes(output.status_line(response))}, without a body"
        place = output.first_value(response.headers, b"location")
        if place:
            hint = "" if options.follow else " (-L follows it)"
            text += f"; Location: {redact_url(of_bytes(place))}{hint}"
        self._terminal.note(text)

    def _body(self, response: httpcore.Response) -> Iterator[bytes]:
        """Return the body's pieces as they are to be written."""
        parts = self._received(response)
        if self._options.compressed:
            parts = self._decoded(parts, response)
        return self._written(parts)

    def _decoded(self, parts: Iterator[bytes], response: httpcore.Response) -> Iterator[bytes]:
        names = codings(response.headers)
        try:
            return decoded(parts, names)
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
