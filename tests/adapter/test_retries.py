"""`max_retries`: urllib3's Retry policies, decided on how far the request got."""

from __future__ import annotations

import contextlib
import email.utils
import functools
import io
import logging
import pickle
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import requests
import urllib3
from requests.exceptions import RetryError, UnrewindableBodyError
from urllib3.util.retry import Retry

import httpcore
import httpcore_requests
from httpcore_requests import HTTPAdapter, _retry_policy
from tests.support.servers import LocalServer, Peer, ScriptedServer, Serve


@pytest.fixture
def session_with() -> Iterator[Callable[[Any], requests.Session]]:
    sessions: list[requests.Session] = []

    def make(retries: Any) -> requests.Session:
        session = requests.Session()
        session.mount("http://", HTTPAdapter(max_retries=retries))
        sessions.append(session)
        return session

    yield make
    for session in sessions:
        session.close()


Make = Callable[[Any], requests.Session]


def failing(times: int, status: int = 503, headers: Any = ()) -> Callable[[Peer], None]:
    """A handler that answers `status` for the first `times` requests, then 200 with the body."""
    count = [0]

    def handler(peer: Peer) -> None:
        while (request := peer.recv_request()) is not None:
            count[0] += 1
            if count[0] <= times:
                peer.respond(status, b"busy", headers)
            else:
                peer.respond(200, request.body)

    return handler


def test_connect_errors_are_retried_for_any_method(
    session_with: Make, closed_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING), pytest.raises(requests.ConnectionError) as caught:
        session_with(2).post(f"http://127.0.0.1:{closed_port}/", data=b"x")
    assert "Max retries exceeded" in str(caught.value)
    assert "Connection refused" in str(caught.value)
    assert len(caplog.records) == 2
    assert {record.name for record in caplog.records} == {"urllib3.connectionpool"}


def test_what_may_have_been_processed_is_retried_for_allowed_methods_only(
    session_with: Make, serve: Serve
) -> None:
    methods: list[bytes] = []

    def handler(peer: Peer) -> None:
        request = peer.recv_request()
        if request is not None:
            methods.append(request.method)
        if len(methods) == 3:
            peer.respond(200, b"at last")

    session = session_with(Retry(total=5))
    url = serve(handler).url
    with pytest.raises(requests.ConnectionError, match="may have been processed"):
        session.post(url, data=b"x")
    response = session.get(url)
    assert response.text == "at last"
    assert methods == [b"POST", b"GET", b"GET"]
    assert len(response.raw.retries.history) == 1


def test_status_forcelist(session_with: Make, serve: Serve) -> None:
    policy = Retry(total=3, status_forcelist=[503], allowed_methods=None)
    session = session_with(policy)
    server = serve(failing(2))
    response = session.post(server.url, data=b"body")
    assert (response.text, server.accepted) == ("body", 1)
    assert [entry.status for entry in response.raw.retries.history] == [503, 503]
    with pytest.raises(RetryError, match="too many 503 error responses"):
        session.get(serve(failing(9)).url)


def test_no_words_of_retries_when_there_was_none(session_with: Make, serve: Serve) -> None:
    with pytest.raises(RetryError) as caught:
        session_with(Retry(total=0, status_forcelist=[503])).get(serve(failing(9)).url)
    assert str(caught.value) == "too many 503 error responses (GET /, ResponseError)"
    keep = Retry(total=0, status_forcelist=[503], raise_on_status=False)
    assert session_with(keep).get(serve(failing(9)).url).status_code == 503


def test_retry_after_and_backoff_are_slept(
    session_with: Make, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("urllib3.util.retry.time.sleep", slept.append)
    session = session_with(Retry(total=3, status_forcelist=[503], backoff_factor=1))
    assert session.get(serve(failing(2, 503, [("Retry-After", "7")])).url).ok
    assert session.get(serve(failing(3)).url).ok
    assert slept == [7, 7, 2.0, 4.0]


def test_file_is_rewound_to_where_it_was(session_with: Make, serve: Serve) -> None:
    file = io.BytesIO(b"skipped-sent")
    file.seek(8)
    session = session_with(Retry(total=3, status_forcelist=[503], allowed_methods=None))
    assert session.put(serve(failing(1)).url, data=file).text == "sent"


def test_generator_is_never_sent_again(session_with: Make, serve: Serve) -> None:
    session = session_with(Retry(total=3, status_forcelist=[503], allowed_methods=None))
    server = serve(failing(1))
    response = session.put(server.url, data=iter([b"once"]))
    assert (response.status_code, response.raw.retries.history) == (503, ())
    dropping = serve(lambda peer: peer.recv_request() and None)
    with pytest.raises(requests.ConnectionError, match="may have been processed"):
        session.put(dropping.url, data=iter([b"once"]))
    assert dropping.accepted == 1


def test_unseekable_file_is_never_sent_again(session_with: Make, serve: Serve) -> None:
    class Pipe(io.BytesIO):
        def tell(self) -> int:
            raise OSError("a pipe has no position")

        def seek(self, *args: Any) -> int:
            raise OSError("a pipe cannot go back")

    session = session_with(Retry(total=3, status_forcelist=[503], allowed_methods=None))
    assert session.put(serve(failing(1)).url, data=Pipe(b"once")).status_code == 503
    dropping = serve(lambda peer: peer.recv_request() and None)
    with pytest.raises(requests.ConnectionError, match="may have been processed"):
        session.put(dropping.url, data=Pipe(b"once"))
    assert dropping.accepted == 1


def test_retry_subclass_decides(session_with: Make, serve: Serve) -> None:
    asked: list[str] = []

    class Mine(Retry):
        def is_retry(self, method: str, status_code: int, has_retry_after: bool = False) -> bool:
            asked.append(f"{method} {status_code} {has_retry_after}")
            return status_code == 503

        def _is_read_error(self, err: Exception) -> bool:
            asked.append(type(err).__name__)
            return super()._is_read_error(err)

    assert session_with(Mine(3)).post(serve(failing(1)).url).ok
    assert asked == ["POST 503 False", "POST 200 False"]
    dropping = serve(lambda peer: peer.recv_request() and None)
    with pytest.raises(requests.ConnectionError):
        session_with(Mine(1, read=False)).get(dropping.url)
    assert asked[-1] == "ProtocolError"


@pytest.mark.parametrize(
    ("policy", "silence"),
    [
        (0, requests.ReadTimeout),
        (Retry(False), requests.ReadTimeout),
        (Retry(0), requests.ConnectionError),  # as with urllib3: read errors count there
        (Retry(0, connect=False), requests.ConnectionError),
    ],
)
def test_failures_are_requests_errors_under_any_policy(
    session_with: Make, closed_port: int, server: LocalServer, policy: Any, silence: type[Exception]
) -> None:
    session = session_with(policy)
    with pytest.raises(requests.ConnectionError, match="refused") as caught:
        session.get(f"http://127.0.0.1:{closed_port}/")
    assert "retries" not in str(caught.value)
    with pytest.raises(silence, match="Read timed out") as caught_too:
        session.get(server.url + "/hang", timeout=0.05)
    assert type(caught_too.value) is silence
    assert "retries" not in str(caught_too.value)


# ---------------------------------------------------------------------------------------------
# The same policy against the same server, through the stock adapter and ours


class IgnoresReads(Retry):
    """Overrides what third-party policies override to have reads of any method repeated."""

    def _is_read_error(self, err: Exception) -> bool:
        return False


class Sleepless(Retry):
    """Waits in its own way."""

    def sleep(self, response: Any = None) -> None:
        urllib3.util.retry.time.sleep(-1)


class OnlyTooMany(Retry):
    def is_retry(self, method: str, status_code: int, has_retry_after: bool = False) -> bool:
        return status_code == 429


class RaisesErrors(Retry):
    """Takes statuses only: every error is raised as it came."""

    def increment(self, *args: Any, error: Exception | None = None, **kwargs: Any) -> Retry:
        if error is not None:
            raise error
        return super().increment(*args, error=error, **kwargs)


BUSY = [503]

POLICIES: dict[str, Callable[[], Any]] = {
    "0": lambda: 0,
    "2": lambda: 2,
    "total-False": lambda: Retry(False),
    "total-False-force": lambda: Retry(False, status_forcelist=BUSY),
    "total-0": lambda: Retry(0),
    "total-0-force": lambda: Retry(0, status_forcelist=BUSY),
    "total-2": lambda: Retry(2),
    "total-None": lambda: Retry(
        None, connect=2, read=2, redirect=2, status=2, other=2, status_forcelist=BUSY
    ),
    "connect-0": lambda: Retry(3, connect=0),
    "connect-1": lambda: Retry(3, connect=1),
    "connect-False": lambda: Retry(3, connect=False),
    "read-0": lambda: Retry(3, read=0),
    "read-1": lambda: Retry(3, read=1),
    "read-False": lambda: Retry(3, read=False),
    "status-0": lambda: Retry(3, status=0, status_forcelist=BUSY),
    "status-1": lambda: Retry(3, status=1, status_forcelist=BUSY),
    "status-False": lambda: Retry(3, status=False, status_forcelist=BUSY),
    "other-0": lambda: Retry(3, other=0),
    "redirect-0": lambda: Retry(3, redirect=0),
    "redirect-1": lambda: Retry(5, redirect=1),
    "redirect-False": lambda: Retry(3, redirect=False),
    "redirect-kept": lambda: Retry(3, redirect=1, raise_on_redirect=False),
    "force": lambda: Retry(3, status_forcelist=BUSY),
    "force-redirects": lambda: Retry(3, status_forcelist=[503, 302], allowed_methods=None),
    "methods-False": lambda: Retry(3, status_forcelist=BUSY, allowed_methods=False),
    "methods-POST": lambda: Retry(3, status_forcelist=BUSY, allowed_methods={"POST"}),
    "methods-none": lambda: Retry(3, status_forcelist=BUSY, allowed_methods=[]),
    "status-kept": lambda: Retry(2, status_forcelist=BUSY, raise_on_status=False),
    "status-kept-0": lambda: Retry(0, status_forcelist=BUSY, raise_on_status=False),
    "no-retry-after": lambda: Retry(
        2, respect_retry_after_header=False, status_forcelist=BUSY, backoff_factor=1
    ),
    "retry-after-max": lambda: Retry(2, retry_after_max=3),
    "backoff": lambda: Retry(
        4, backoff_factor=0.5, backoff_max=1.2, backoff_jitter=0.5, status_forcelist=BUSY
    ),
    "ignores-reads": lambda: IgnoresReads(2),
    "sleepless": lambda: Sleepless(2, status_forcelist=BUSY),
    "only-429": lambda: OnlyTooMany(2),
    "raises-errors": lambda: RaisesErrors(2, status_forcelist=BUSY),
}

# What the server does at its n-th request; the last goes on for ever.
SCRIPTS = [
    ["refuse"],
    ["close"],
    ["close", "200"],
    ["reset", "200"],
    ["cut-head", "200"],
    ["nonsense", "200"],
    ["503"],
    ["503", "200"],
    ["429 Retry-After: 7"],
    ["429 Retry-After: 7", "200"],
    ["503 Retry-After: Wed, 21 Oct 2099 07:28:00 GMT", "200"],
    ["503 Retry-After: Wed, 21 Oct 2015 07:28:00 GMT", "200"],
    ["503 Retry-After: rubbish", "200"],
    ["302 Location: /next"],
    ["302 Location: /next", "200"],
    ["303 Location: /next", "200"],
    ["308 Location: /next", "200"],
    ["cut-body"],
    ["close", "503", "429 Retry-After: 1", "200"],
]
# These cost a read timeout each; the policies for which they tell something.
SILENCE = ["silence", "200"]
WITH_SILENCE = ["0", "2", "total-False", "total-0", "read-0", "read-False", "ignores-reads"]


class Misbehaving:
    """A handler that carries out a script, and the requests that came."""

    def __init__(self, script: list[str]) -> None:
        self.script = script
        self.seen: list[tuple[bytes, bytes, bytes]] = []

    def __call__(self, peer: Peer) -> None:
        while (request := peer.recv_request()) is not None:
            self.seen.append((request.method, request.target, request.body))
            act = self.script[min(len(self.seen), len(self.script)) - 1]
            if act[0].isdigit():
                status, _, field = act.partition(" ")
                peer.respond(int(status), b"body", [field.split(": ", 1)] if field else [])
                continue
            if act == "cut-head":
                peer.send(b"HTTP/1.1 200 OK\r\nContent-Le")
            elif act == "nonsense":
                peer.send(b"nonsense\r\n\r\n")
            elif act == "cut-body":
                peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf.")
            elif act == "silence":
                peer.wait_closed()
            if act in ("reset", "cut-head"):
                peer.reset()
            return


def class_of(error: BaseException | None) -> str:
    """The name of requests' or urllib3's class that `error` is, or has as its nearest base."""
    for cls in type(error).__mro__:
        if cls.__module__ in ("requests.exceptions", "urllib3.exceptions"):
            return f"{cls.__module__.partition('.')[0]}.{cls.__name__}"
    return type(error).__name__


class Outcome(NamedTuple):
    told: tuple[Any, ...]  # status and body, or the classes of the exception and what it wraps
    history: list[Any] | None
    seen: list[tuple[bytes, bytes, bytes]]
    retries: int  # as logged
    slept: list[float]


class Trial:
    """Runs one policy against one script; `text` is that of the last exception."""

    def __init__(self, slept: list[float], caplog: pytest.LogCaptureFixture, port: int) -> None:
        self.slept = slept
        self.caplog = caplog
        self.closed = f"http://127.0.0.1:{port}"
        self.text = ""

    def run(self, adapter: Any, policy: Any, script: list[str], method: str, how: str) -> Outcome:
        self.slept.clear()
        self.caplog.clear()
        handler = Misbehaving(script)
        session = requests.Session()
        session.mount("http://", adapter)
        history = None
        self.timeout = 0.15 if "silence" in script else 10
        with ScriptedServer(handler) as server, session:
            url = self.closed if script == ["refuse"] else server.url
            try:
                raw = getattr(self, how)(session, policy, method, url)
                history = raw.retries.history
                told = (raw.status, class_of_reading(raw))
            except Exception as error:
                self.text = str(error)
                inner: Any = (
                    error.args[0] if isinstance(error, requests.RequestException) else error
                )
                reason = getattr(inner, "reason", None)
                told = (class_of(error), class_of(inner), class_of(reason))
        return Outcome(
            told,
            None
            if history is None
            else [(*entry[:2], *entry[3:], class_of(entry.error)) for entry in history],
            handler.seen,
            sum(record.message.startswith("Retrying (") for record in self.caplog.records),
            list(self.slept),
        )

    def by_session(self, session: requests.Session, policy: Any, method: str, url: str) -> Any:
        return session.request(
            method,
            f"{url}/x",
            data=b"x" if method == "POST" else None,
            timeout=self.timeout,
            stream=True,
            allow_redirects=False,
        ).raw

    def by_pool(self, session: requests.Session, policy: Any, method: str, url: str) -> Any:
        adapter: Any = session.get_adapter(url)
        return adapter.poolmanager.connection_from_url(url).urlopen(
            method,
            "/x",
            body=b"x" if method == "POST" else None,
            retries=policy,
            timeout=self.timeout,
            preload_content=False,
        )


def class_of_reading(raw: Any) -> Any:
    try:
        return raw.read()
    except urllib3.exceptions.HTTPError as error:
        return class_of(error)


@pytest.fixture
def trial(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, closed_port: int
) -> Trial:
    slept: list[float] = []
    monkeypatch.setattr("urllib3.util.retry.time.sleep", slept.append)
    monkeypatch.setattr("urllib3.util.retry.random.random", lambda: 0.5)
    caplog.set_level(logging.WARNING)
    return Trial(slept, caplog, closed_port)


def as_we_tell_it(stock: Outcome) -> Outcome:
    """What is ours on purpose: under `Retry(False)` and its like, requests lets urllib3's
    connect error out bare; here it is requests' own, as under every other policy."""
    if stock.told[0] == "urllib3.NewConnectionError":
        told = ("requests.ConnectionError", "urllib3.MaxRetryError", "urllib3.NewConnectionError")
        return stock._replace(told=told)
    return stock


@pytest.mark.filterwarnings("ignore:Using an empty collection:FutureWarning")
@pytest.mark.parametrize("name", POLICIES)
def test_policies_decide_as_in_the_stock_adapter(trial: Trial, name: str) -> None:
    policy = POLICIES[name]
    scripts = [*SCRIPTS, SILENCE] if name in WITH_SILENCE else SCRIPTS
    for script in scripts:
        for method in ("GET", "POST"):
            run = functools.partial(trial.run, script=script, method=method, how="by_session")
            stock = run(requests.adapters.HTTPAdapter(max_retries=policy()), policy())
            trial.text = ""
            ours = run(HTTPAdapter(max_retries=policy()), policy())
            assert ours == as_we_tell_it(stock), (script, method)
            if len(ours.seen) <= 1 and not ours.retries:
                assert "retries" not in trial.text


# Those that have something to say about redirects.
REDIRECTING = [name for name in POLICIES if name.startswith(("0", "2", "total", "redirect"))]
REDIRECTING += ["force-redirects", "backoff", "sleepless", "raises-errors"]


@pytest.mark.parametrize("name", REDIRECTING)
def test_pools_decide_as_urllib3s(trial: Trial, name: str) -> None:
    """Called directly, a pool follows redirects, and counts them."""
    policy = POLICIES[name]
    for script in SCRIPTS:
        if script[0][0] != "3":
            continue
        for method in ("GET", "POST"):
            run = functools.partial(trial.run, script=script, method=method, how="by_pool")
            stock = run(requests.adapters.HTTPAdapter(), policy())
            assert run(HTTPAdapter(), policy()) == stock, (script, method)


# What fails in TLS, before the request: which counts, `connect=` included


@pytest.mark.parametrize(
    ("policy", "attempts"),
    [
        (Retry(2), 3),
        (Retry(5, other=1), 2),
        (Retry(5, other=0), 1),
        (Retry(None, other=2, connect=9), 3),
        (Retry(False), 1),
        (Retry(0), 1),
        # urllib3 makes six attempts in these: to it, a handshake is no part of connecting.
        (Retry(5, connect=1), 2),
        (Retry(None, connect=2, other=5), 3),
        (Retry(5, connect=False), 1),
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_failed_handshake_counts_as_connect_and_other(
    serve: Serve, server_tls_context: ssl.SSLContext, policy: Retry, attempts: int, method: str
) -> None:
    def count(make: Any) -> int:
        server = serve(lambda peer: None, tls=server_tls_context)
        with requests.Session() as session:
            session.mount("https://", make(max_retries=policy))
            with pytest.raises(requests.exceptions.SSLError) as caught:
                session.request(method, server.url)
        if make is HTTPAdapter:
            assert ("Max retries exceeded" in str(caught.value)) is (server.accepted > 1)
            assert httpcore_requests.phase(caught.value) == "not_sent"
        return server.accepted

    assert count(HTTPAdapter) == attempts
    if policy.connect is None or policy.connect == 9:
        assert count(requests.adapters.HTTPAdapter) == attempts


class Failing:
    """Stands in for the core: raises the given errors, one for each attempt."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *errors: Exception) -> None:
        self.errors = list(errors)
        self.attempts = 0
        monkeypatch.setattr(httpcore.ConnectionPool, "handle_request", self)

    def __call__(self, *args: Any) -> None:
        self.attempts += 1
        raise self.errors.pop(0)


def broken_by_tls() -> Exception:
    error = httpcore.ReadError("decryption failed")
    error.__cause__ = ssl.SSLError(1, "[SSL: BAD_RECORD_MAC]")
    return error


def test_a_connection_that_tls_broke_is_retried_for_allowed_methods_only(
    session_with: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To urllib3 that is an `other` error, which it repeats for any method."""
    core = Failing(monkeypatch, *[broken_by_tls() for _ in range(4)])
    session = session_with(Retry(2))
    with pytest.raises(requests.exceptions.SSLError, match="may have been processed") as caught:
        session.post("http://example.test/", data=b"x")
    assert core.attempts == 1
    assert httpcore_requests.phase(caught.value) == "maybe_processed"
    with pytest.raises(requests.exceptions.SSLError, match="Max retries exceeded"):
        session.get("http://example.test/")
    assert core.attempts == 4


def refused() -> Exception:
    return httpcore.ConnectError("refused")


def silent() -> Exception:
    return httpcore.ReadTimeout("silent")


@pytest.mark.parametrize(
    ("errors", "policy", "phase"),
    [
        ([refused, refused], Retry(1), "not_sent"),
        ([silent, refused], Retry(1), "maybe_processed"),
        ([silent, refused], Retry(5, connect=False), "maybe_processed"),
        ([silent, refused], Retry(5, connect=0), "maybe_processed"),
        ([refused, silent], Retry(1), "maybe_processed"),
        ([refused, silent], Retry(5, read=False), "maybe_processed"),
    ],
)
def test_the_phase_is_that_of_the_attempt_that_got_furthest(
    session_with: Make, monkeypatch: pytest.MonkeyPatch, errors: Any, policy: Retry, phase: str
) -> None:
    """A request that was read once may have been processed, whatever became of its repetition."""
    core = Failing(monkeypatch, *[make() for make in errors])
    with pytest.raises(requests.RequestException) as caught:
        session_with(policy).get("http://example.test/")
    assert core.attempts == 2
    assert httpcore_requests.phase(caught.value) == phase
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        copy = pickle.loads(pickle.dumps(caught.value, protocol))
        assert (type(copy), str(copy)) == (type(caught.value), str(caught.value))
        assert httpcore_requests.phase(copy) == phase


class Refusing(httpcore.SyncBackend):
    """Opens connections, save those whose number, from 1, is among `refused`."""

    def __init__(self, *refused: int) -> None:
        super().__init__()
        self.refused = refused
        self.attempts = 0

    def connect_tcp(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        self.attempts += 1
        if self.attempts in self.refused:
            raise httpcore.ConnectError("refused")
        return super().connect_tcp(*args, **kwargs)


def test_an_answer_counts_further_than_the_refusal_after_it(serve: Serve) -> None:
    def handler(peer: Peer) -> None:
        peer.recv_request()
        peer.respond(503, b"busy", [("Connection", "close")])

    policy = Retry(1, status_forcelist=[503])
    with requests.Session() as session:
        session.mount("http://", HTTPAdapter(max_retries=policy, network_backend=Refusing(2)))
        with pytest.raises(requests.ConnectionError, match="Max retries exceeded") as caught:
            session.get(serve(handler).url)
    assert httpcore_requests.phase(caught.value) == "response_started"
    assert caught.value.args[0].reason.phase == "not_sent"


def test_a_stale_connection_costs_no_retry(session_with: Make, serve: Serve) -> None:
    """The core replays it by itself; the policy is not asked."""

    def handler(peer: Peer) -> None:
        peer.recv_request()
        peer.respond(200, b"ok")
        if peer.number == 1:
            peer.recv_request()

    server = serve(handler)
    session = session_with(Retry(0))
    for _ in range(2):
        response = session.get(server.url)
        assert (response.text, response.raw.retries.history) == ("ok", ())
    assert server.accepted == 2


ENDLESS = {
    "length": b"Content-Length: 99999999999",
    "chunked": b"Transfer-Encoding: chunked",
    "close": b"Connection: close",
}


@pytest.mark.parametrize("framing", ENDLESS)
@pytest.mark.parametrize("how", ["status", "redirect"])
def test_a_long_answer_is_not_read_to_its_end(
    session_with: Make, serve: Serve, how: str, framing: str
) -> None:
    """What is thrown away may be gigabytes, or a stream: the connection is closed in its place."""
    ended = threading.Event()
    first = b"503 Busy" if how == "status" else b"302 Found\r\nLocation: /next"

    def handler(peer: Peer) -> None:
        peer.recv_request()
        if peer.number > 1:
            peer.respond(200, b"at last")
            return
        peer.send(b"HTTP/1.1 " + first + b"\r\n" + ENDLESS[framing] + b"\r\n\r\n")
        try:
            while True:
                peer.send(b"1000\r\n" + bytes(4096) + b"\r\n")
        except OSError:
            ended.set()

    policy = Retry(1, status_forcelist=[503])
    server = serve(handler)
    session = session_with(policy)
    if how == "status":
        assert session.get(server.url, timeout=10).text == "at last"
    else:  # requests follows redirects itself
        pool = session.get_adapter("http://").poolmanager.connection_from_url(server.url)
        assert pool.urlopen("GET", "/", retries=policy, timeout=10).data == b"at last"
    assert ended.wait(10)
    assert server.accepted == 2


def test_a_long_answer_is_not_waited_for(session_with: Make, serve: Serve) -> None:
    """Its length says that it will not be read; the server, that it will not come."""
    waited: list[bool] = []

    def handler(peer: Peer) -> None:
        peer.recv_request()
        if peer.number > 1:
            peer.respond(200)
            return
        peer.respond(503, b"", [("Content-Length", "65537")], framing="close")
        peer.sock.settimeout(2)
        try:
            peer.recv()
        except TimeoutError:
            waited.append(True)

    assert session_with(Retry(1, status_forcelist=[503])).get(serve(handler).url).ok
    assert not waited


class Watched(httpcore.NetworkStream):
    """Tells when somebody waits for bytes."""

    def __init__(self, stream: httpcore.NetworkStream, waits: threading.Semaphore) -> None:
        self.stream = stream
        self.waits = waits

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if timeout != 0:
            self.waits.release()
        return self.stream.read(max_bytes, timeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.stream.write(buffer, timeout)

    def close(self) -> None:
        self.stream.close()

    def get_extra_info(self, info: str) -> Any:
        return self.stream.get_extra_info(info)


class Watching(httpcore.SyncBackend):
    def __init__(self) -> None:
        super().__init__()
        self.waits = threading.Semaphore(0)

    def connect_tcp(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        return Watched(super().connect_tcp(*args, **kwargs), self.waits)


@pytest.mark.parametrize("body", [b"late", b"x" * 65536])
def test_a_short_answer_is_read_away(serve: Serve, body: bytes) -> None:
    """... and waited for, so that the connection serves the next attempt."""
    backend = Watching()

    def handler(peer: Peer) -> None:
        for status in (503, 503, 200):
            peer.recv_request()
            assert backend.waits.acquire(timeout=5)
            peer.respond(status, b"", [("Content-Length", str(len(body)))], framing="close")
            assert backend.waits.acquire(timeout=5)
            peer.send(body[:1])
            assert len(body) == 1 or backend.waits.acquire(timeout=5)
            peer.send(body[1:])

    server = serve(handler)
    with requests.Session() as session:
        policy = Retry(2, status_forcelist=[503])
        session.mount("http://", HTTPAdapter(max_retries=policy, network_backend=backend))
        assert session.get(server.url, timeout=10).content == body
        assert server.accepted == 1


REMOVED = [{"X-Mine"}, {"x-mine", "Authorization"}, (), Retry.DEFAULT_REMOVE_HEADERS_ON_REDIRECT]


@pytest.mark.parametrize("removed", REMOVED)
@pytest.mark.parametrize("by_manager", [True, False])
@pytest.mark.parametrize("status", [303, 307])
def test_headers_are_removed_on_redirects_as_by_urllib3(
    serve: Serve, removed: Any, by_manager: bool, status: int
) -> None:
    """To another host goes neither a credential nor what `Retry` names; nor, where the body is
    left behind, what describes it."""
    names: list[set[bytes]] = []

    def handler(peer: Peer) -> None:
        while (request := peer.recv_request()) is not None:
            names.append({name.lower() for name, _ in request.headers})
            if request.target == b"/":
                location = f"http://localhost:{server.port}/other"
                peer.respond(status, b"", [("Location", location)])
            else:
                peer.respond(200)

    server = serve(handler)
    headers = {"Authorization": "a", "Cookie": "b", "X-Mine": "c", "X-Kept": "d"}
    headers |= {"Content-Type": "text/plain", "Content-Language": "eo"}
    for make in (requests.adapters.HTTPAdapter, HTTPAdapter):
        with contextlib.closing(make()) as adapter:
            policy = Retry(2, remove_headers_on_redirect=removed)
            options: Any = {"body": b"x", "headers": headers, "retries": policy}
            if by_manager:
                response = adapter.poolmanager.urlopen("POST", server.url + "/", **options)
            else:
                pool = adapter.poolmanager.connection_from_url(server.url)
                response = pool.urlopen("POST", "/", assert_same_host=False, **options)
            assert response.status == 200
    first, stock, first_of_ours, ours = names
    assert (ours, first_of_ours) == (stock, first)
    assert not {name.lower().encode() for name in removed} & ours
    assert b"x-kept" in ours


def test_a_date_in_retry_after(trial: Trial, session_with: Make, serve: Serve) -> None:
    date = email.utils.formatdate(time.time() + 100, usegmt=True)
    server = serve(failing(1, 503, [("Retry-After", date)]))
    assert session_with(Retry(1)).get(server.url).ok
    (slept,) = trial.slept
    assert 90 < slept <= 100


@pytest.mark.parametrize(
    "make", [lambda: iter([b"a"]), lambda: iter_once(), lambda: map(bytes, [b"a"])]
)
def test_a_pool_follows_no_redirect_with_a_body_that_is_gone(
    session_with: Make, serve: Serve, make: Callable[[], Any]
) -> None:
    def handler(peer: Peer) -> None:
        peer.recv_request()
        peer.respond(307, b"", [("Location", "/next")])

    server = serve(handler)
    pool = session_with(0).get_adapter("http://").poolmanager.connection_from_url(server.url)
    with pytest.raises(urllib3.exceptions.UnrewindableBodyError, match="/next"):
        pool.urlopen("POST", "/", body=make(), chunked=True, retries=Retry(2))
    assert server.accepted == 1


class Pipe:
    """A file that does not say where it is."""

    def __init__(self, data: bytes) -> None:
        self.read = io.BytesIO(data).read


@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize(
    "make",
    [lambda: iter([b"a"]), lambda: iter_once(), lambda: map(bytes, [b"a"]), lambda: Pipe(b"a")],
)
def test_a_redirect_that_is_not_followed_is_returned_though_the_body_is_gone(
    session_with: Make, server: LocalServer, make: Callable[[], Any], status: int
) -> None:
    """requests prepares the next request all the same; sending that says what is wrong."""
    session = session_with(0)
    url = f"{server.url}/redirect-to?url=/upload&status={status}"
    response = session.post(url, data=make(), allow_redirects=False)
    assert response.status_code == status
    assert response.next is not None and response.next.url == server.url + "/upload"
    for again in (
        lambda: session.send(response.next),
        lambda: session.post(url, data=make()),
    ):
        with pytest.raises(requests.exceptions.UnrewindableBodyError, match="cannot be sent again"):
            again()
    assert [request.path for request in server.requests] == ["/redirect-to"] * 2
    response.next.body = b"new"
    assert session.send(response.next).json()["length"] == 3
    # What is left of it is not sent by another adapter either.
    with requests.Session() as stock, pytest.raises(requests.RequestException, match="sent again"):
        stock.send(pickle.loads(pickle.dumps(response.request)))


def test_a_generator_that_has_run_is_no_body(session_with: Make, server: LocalServer) -> None:
    """Whoever sends a request twice, as requests' digest authentication does, is told."""
    session = session_with(0)
    prepared = requests.Request("PUT", server.url + "/upload", data=iter_once()).prepare()
    assert session.send(prepared).json()["length"] == 4
    with pytest.raises(requests.ConnectionError, match="used it up") as caught:
        session.send(prepared)
    assert httpcore_requests.phase(caught.value) == "not_sent"
    assert len(server.requests) == 1


class OneWay:
    """A file that is read once."""

    def __init__(self, content: bytes) -> None:
        self.read = io.BytesIO(content).read

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.read, b"")


@pytest.mark.parametrize(
    "make", [lambda: iter_once(), lambda: iter([b"once"]), lambda: OneWay(b"once")]
)
def test_a_challenge_is_not_answered_without_the_body(
    session_with: Make, server: LocalServer, make: Any
) -> None:
    """requests' digest authentication sends what is left of an iterator: nothing, or the rest."""
    url = server.url + "/digest-auth/me/secret"
    auth = requests.auth.HTTPDigestAuth("me", "secret")
    with pytest.raises(UnrewindableBodyError, match="cannot answer the challenge") as caught:
        session_with(0).put(url, data=make(), auth=auth)
    assert caught.value.request is not None
    assert len(server.requests) == 1
    # Without anybody to answer it, the challenge is a response.
    assert session_with(0).put(url, data=make()).status_code == 401
    for body in (b"more than once", io.BytesIO(b"more than once")):
        assert session_with(0).put(url, data=body, auth=auth).ok


def test_a_challenge_in_the_middle_of_a_body(session_with: Make, serve: Serve) -> None:
    """The rest of a generator is no body either."""
    challenge = [("WWW-Authenticate", 'Digest realm="r", nonce="n", qop="auth"')]

    def handler(peer: Peer) -> None:
        peer.recv_head()
        peer.respond(401, b"", [*challenge, ("Connection", "close")])

    pieces = (b"x" * 65536 for _ in range(1000))
    auth = requests.auth.HTTPDigestAuth("me", "secret")
    with pytest.raises(UnrewindableBodyError, match="cannot answer the challenge"):
        session_with(0).put(serve(handler).url, data=pieces, auth=auth)
    assert next(pieces)


@pytest.mark.parametrize("kind", ["generator", "iterator", "one-way file"])
@pytest.mark.parametrize("status", [401, 307])
def test_a_body_that_was_not_asked_for_is_sent_after_the_answer(
    session_with: Make, serve: Serve, status: int, kind: str
) -> None:
    """That is what ``Expect`` is for."""
    fields = {
        401: ("WWW-Authenticate", 'Digest realm="r", nonce="n", qop="auth"'),
        307: ("Location", "/elsewhere"),
    }

    def handler(peer: Peer) -> None:
        if server.accepted == 1:
            peer.recv_head()
            peer.respond(status, b"", [fields[status], ("Connection", "close")])
        else:
            request = peer.recv_request()
            assert request is not None
            peer.respond(200, request.body)

    def parts() -> Iterator[bytes]:
        yield from (b"once ", b"and no more")

    bodies: dict[str, Callable[[], Any]] = {
        "generator": parts,
        "iterator": lambda: iter([b"once ", b"and no more"]),
        "one-way file": lambda: OneWay(b"once and no more"),
    }
    server = serve(handler)
    auth = requests.auth.HTTPDigestAuth("me", "secret")
    response = session_with(0).put(
        server.url, data=bodies[kind](), auth=auth, headers={"Expect": "100-continue"}, timeout=5
    )
    assert (response.status_code, response.content) == (200, b"once and no more")
    assert len(response.history) == 1


def iter_once() -> Iterator[bytes]:
    yield b"once"


def test_a_policy_with_a_large_limit(
    session_with: Make, server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_retry_policy, "MAX_RETRIES", 5)
    session = session_with(Retry(20, status_forcelist=[503]))
    with pytest.raises(RetryError, match="after 20 retries"):
        session.get(server.url + "/status/503")
    assert len(server.requests) == 21


@pytest.mark.parametrize("status", [503, 302, None])
def test_a_policy_without_a_limit(
    session_with: Make, serve: Serve, monkeypatch: pytest.MonkeyPatch, status: int | None
) -> None:
    """A request ends some time, whatever the server does. urllib3's is a RecursionError."""
    monkeypatch.setattr(_retry_policy, "MAX_RETRIES", 5)
    seen = []

    def handler(peer: Peer) -> None:
        while peer.recv_request() is not None:
            seen.append(1)
            if status is None:
                return
            peer.respond(status, b"", [("Location", "/")])

    session = session_with(Retry(None, status_forcelist=[503]))
    url = serve(handler).url
    if status == 302:
        adapter: Any = session.get_adapter(url)
        with pytest.raises(urllib3.exceptions.MaxRetryError, match="without a limit"):
            adapter.poolmanager.connection_from_url(url).urlopen("GET", "/", retries=Retry(None))
    else:
        with pytest.raises(requests.RequestException, match="retries") as caught:
            session.get(url)
        assert isinstance(caught.value, RetryError if status else requests.ConnectionError)
    assert len(seen) == 6
