"""`HTTPAdapter(http2=True)`: what is offered to whom, and how a response of HTTP/2 looks.

Owns: the TLS settings of requests and urllib3 together with ALPN, contexts that are shared, and
`raw` over HTTP/2. Must not know: frames; what requests do over HTTP/2 is in
`scenarios/test_http2_requests`.
"""

from __future__ import annotations

import contextlib
import copy
import gc
import hashlib
import pickle
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import trustme
import urllib3
from requests.exceptions import SSLError
from urllib3.util.retry import Retry

import httpcore
import httpcore_requests
from httpcore_requests import HTTPAdapter
from httpcore_requests._caller_contexts import TLSRequirements, adapt
from httpcore_requests._raw import RawResponse
from httpcore_requests._settings import Settings
from httpcore_requests._tls_settings import TLSSettings, context_for, plan
from tests.support import PATIENCE
from tests.support.clients import trusting
from tests.support.http2 import Code, FrameServer, Kind, ServeH2, Stream, routes
from tests.support.servers import LocalServer, pattern
from tests.support.tls import ClientCert, server_context

BOTH = ["h2", "http/1.1"]


@pytest.fixture
def willing(ca: trustme.CA) -> ssl.SSLContext:
    """A server's context that takes HTTP/2 where it is offered, and asks for a certificate."""
    context = server_context(ca)
    context.verify_mode = ssl.CERT_OPTIONAL
    ca.configure_trust(context)
    context.set_alpn_protocols(BOTH)
    return context


def agreed(context: Any, willing: ssl.SSLContext) -> str | None:
    """What such a server and `context` agree on."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(to_client, to_server, server_hostname="localhost")
    server = willing.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            pass
    chosen: str | None = client.selected_alpn_protocol()
    return chosen


UNVERIFYING = {"check_hostname": False, "verify_mode": ssl.CERT_NONE}

# Settings as they come from requests' `verify` and `cert`, and from urllib3's keywords.
SETTINGS: dict[str, dict[str, Any]] = {
    "verify=True": {},
    "verify=False": {"cert_reqs": "CERT_NONE"},
    "a bundle": {"ca_certs": "BUNDLE"},
    "cert=": {"ca_certs": "BUNDLE", "cert_file": "CERT"},
    "roots as text": {"ca_cert_data": "PEM"},
    "a version": {"ssl_minimum_version": ssl.TLSVersion.TLSv1_3},
    "an old spelling of a version": {"ssl_version": "TLSv1_2"},
    "another name": {"assert_hostname": "example.test"},
    "any name": {"assert_hostname": False},
    "a fingerprint": {"assert_fingerprint": "PIN", "cert_reqs": "CERT_NONE"},
}


@pytest.fixture
def named(
    ca: trustme.CA, ca_bundle: str, client_cert: ClientCert, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    monkeypatch.setenv("SSL_CERT_FILE", ca_bundle)
    return {"BUNDLE": ca_bundle, "CERT": client_cert.combined, "PEM": ca.cert_pem.bytes().decode()}


@pytest.mark.parametrize("case", SETTINGS)
def test_each_kind_of_settings_offers_what_the_adapter_speaks(
    case: str, named: dict[str, Any], willing: ssl.SSLContext, ca: trustme.CA
) -> None:
    """Row 18: "ALPN picks h2 or falls back with no user code", whatever is asked of TLS."""
    named["PIN"] = _pin_of(willing)
    settings = TLSSettings(**{name: _named(named, value) for name, value in SETTINGS[case].items()})
    contexts = [context_for(plan(settings, None, http2)) for http2 in (True, False)]
    assert [agreed(context, willing) for context in contexts] == BOTH
    assert contexts[0] is not contexts[1]
    assert context_for(plan(settings, None, True)) is contexts[0]
    assert context_for(plan(settings, None)) is contexts[1]
    given = settings._replace(ssl_context=trusting(ca))
    for http2, protocol in ((True, "h2"), (False, "http/1.1"), (True, "h2")):
        assert agreed(context_for(plan(given, None, http2)), willing) == protocol


def _named(named: dict[str, Any], value: Any) -> Any:
    return named.get(value, value) if isinstance(value, str) else value


def _pin_of(willing: ssl.SSLContext) -> str:
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(to_client, to_server),
        willing.wrap_bio(to_server, to_client, server_side=True),
    ]
    for side in (*sides, sides[0]):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            pass
    return hashlib.sha256(sides[0].getpeercert(binary_form=True) or b"").hexdigest()


@pytest.mark.parametrize("attributes", [{}, {"check_hostname": False}, UNVERIFYING])
@pytest.mark.parametrize("door", ["adapter", "pool manager"])
def test_contexts_that_callers_give(
    attributes: dict[str, Any], door: str, willing: ssl.SSLContext, ca: trustme.CA
) -> None:
    given = trusting(ca, **attributes)
    settings = TLSSettings(
        ssl_context=given if door == "pool manager" else None,
        cert_reqs="CERT_NONE" if attributes is UNVERIFYING else "CERT_REQUIRED",
    )
    own = given if door == "adapter" else None
    assert agreed(context_for(plan(settings, own)), willing) is None  # its owner's, as ever
    assert agreed(context_for(plan(settings, own, True)), willing) == "h2"
    # Not left behind for whoever shares it with an adapter that speaks HTTP/1.1 only.
    assert agreed(context_for(plan(settings, own)), willing) == "http/1.1"


@pytest.mark.parametrize("door", ["adapter", "pool manager"])
def test_a_context_that_pools_of_httpcore_use_too(
    door: str, willing: ssl.SSLContext, ca: trustme.CA, serve_h2: ServeH2
) -> None:
    """Each handshake offers what its own client speaks, whichever was first."""
    given = trusting(ca)
    url = serve_h2(secure=True).url
    settings = TLSSettings(ssl_context=given if door == "pool manager" else None)
    own = given if door == "adapter" else None
    for _ in range(2):
        with httpcore.ConnectionPool(given, http2=True) as pool:
            assert pool.request("GET", url).extensions["http_version"] == b"HTTP/2"
        assert agreed(context_for(plan(settings, own)), willing) == "http/1.1"


def test_a_context_of_truststore(
    willing: ssl.SSLContext, ca_bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    truststore = pytest.importorskip("truststore")
    monkeypatch.setenv("SSL_CERT_FILE", ca_bundle)  # the system's, to truststore
    own = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    settings = TLSSettings(cert_reqs="CERT_REQUIRED")
    assert agreed(context_for(plan(settings, own, True)), willing) == "h2"
    assert agreed(context_for(plan(settings, own)), willing) == "http/1.1"


class Counting(ssl.SSLContext):
    """Notes which protocols were set, and is slow to wrap: others come in between."""

    def __init__(self, protocol: int) -> None:
        super().__init__()
        self.said: list[list[str]] = []
        self.turn: threading.Barrier | None = None

    def set_alpn_protocols(self, alpn_protocols: Any) -> None:
        self.said.append(list(alpn_protocols))
        super().set_alpn_protocols(alpn_protocols)

    def wrap_bio(self, *args: Any, **kwargs: Any) -> Any:
        if self.turn is not None:
            try:
                self.turn.wait(0.2)
            except threading.BrokenBarrierError:
                pass
        return super().wrap_bio(*args, **kwargs)


def test_two_adapters_on_one_context_do_not_mix_their_offers(
    willing: ssl.SSLContext, ca: trustme.CA
) -> None:
    given = Counting(ssl.PROTOCOL_TLS_CLIENT)
    ca.configure_trust(given)
    fitted = {
        "h2": adapt(given, TLSRequirements(True, protocols=("h2", "http/1.1"))),
        "http/1.1": adapt(given, TLSRequirements(True)),
    }
    assert agreed(fitted["h2"], willing) == "h2"
    assert agreed(fitted["h2"], willing) == "h2"
    assert given.said == [BOTH]  # once is enough
    given.turn = threading.Barrier(2)  # broken: no two threads are in there at a time
    found: list[tuple[str, str | None]] = []

    def shake(protocol: str) -> None:
        found.append((protocol, agreed(fitted[protocol], willing)))

    threads = [threading.Thread(target=shake, args=[protocol]) for protocol in fitted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [("h2", "h2"), ("http/1.1", "http/1.1")]
    assert given.turn.broken


def test_an_offer_that_failed_is_made_again(willing: ssl.SSLContext, ca: trustme.CA) -> None:
    given = Counting(ssl.PROTOCOL_TLS_CLIENT)
    ca.configure_trust(given)
    fitted = adapt(given, TLSRequirements(True, protocols=("h2", "http/1.1")))
    del given.said
    with pytest.raises(AttributeError):
        agreed(fitted, willing)
    given.said = []
    assert agreed(fitted, willing) == "h2"


def test_nobody_else_sets_the_protocols_of_a_fitted_context(
    willing: ssl.SSLContext, ca: trustme.CA
) -> None:
    """httpcore would, right before each handshake; which context it is, it cannot see."""
    given = Counting(ssl.PROTOCOL_TLS_CLIENT)
    ca.configure_trust(given)
    fitted: Any = adapt(given, TLSRequirements(True))
    fitted.set_alpn_protocols(BOTH)
    assert given.said == []
    assert agreed(fitted, willing) is None


# --- raw ---


@pytest.fixture
def session(ca_bundle: str) -> Iterator[requests.Session]:
    with requests.Session() as made:
        made.mount("https://", HTTPAdapter(http2=True))
        made.verify = ca_bundle
        yield made


Open = Callable[..., Any]


@pytest.fixture
def get_raw(session: requests.Session, serve_h2: ServeH2) -> Open:
    """`get_raw(path)`: `raw` of an unread response; its server is `get_raw.server`."""
    server = serve_h2(secure=True)

    def get(path: str) -> Any:
        return session.get(server.url + path, stream=True, timeout=PATIENCE).raw

    get.server = server  # type: ignore[attr-defined]
    return get


def test_raw_says_what_http2_says(get_raw: Open) -> None:
    """Row 23: "`raw.version` [...] work"."""
    raw = get_raw("/bytes/10")
    assert isinstance(raw, urllib3.HTTPResponse)
    assert (raw.status, raw.reason, raw.version, raw.version_string) == (200, "OK", 20, "HTTP/2")
    assert (raw.chunked, raw.supports_chunked_reads(), raw.length_remaining) == (False, True, 10)
    assert raw.getheader("Content-Length") == raw.headers["CONTENT-LENGTH"] == "10"
    original = raw._original_response
    assert (original.version, original.reason, original.code) == (20, "OK", 200)
    assert (original.will_close, original.chunked, original.length) == (False, False, 10)
    assert original.getheader("content-length") == "10"
    assert raw.reused is False
    assert raw.read() == pattern(10)
    raw = get_raw("/drip/2")
    assert raw._original_response.will_close is False
    with pytest.raises(urllib3.exceptions.ResponseNotChunked):
        list(raw.read_chunked())
    assert raw.read() == pattern(2)


def test_the_socket_is_shared(get_raw: Open) -> None:
    """It tells what it knows, and no response can use it up or bring it out of step for others."""
    raw = get_raw("/drip/2?delay=60")
    other = get_raw("/drip/3?delay=0.01")
    sock = raw.connection.sock
    assert sock is not None
    assert sock.getpeercert()["subjectAltName"]
    assert sock.version().startswith("TLS")
    assert sock.getpeername() == other._fp.fp.raw._sock.getpeername()
    assert sock.selected_alpn_protocol() == "h2"
    assert sock.fileno() == raw.fileno()
    assert repr(sock).startswith("<SharedSocket of <")
    sock.settimeout(0.001)
    sock.setblocking(True)
    for name in ("recv", "send", "sendall", "makefile", "read", "dup"):
        with pytest.raises(OSError, match="read the response instead"):
            getattr(sock, name)(1)
    assert other.read() == pattern(3)
    with pytest.raises(OSError, match="read the response instead"):
        get_raw("/bytes/5").connection.sock.recv(1)  # all of it has arrived: no other's bytes then
    raw.close()
    assert raw.connection is None


@pytest.mark.parametrize(
    "end",
    [
        lambda raw: raw.connection.sock.close(),
        lambda raw: raw.connection.sock.shutdown(socket.SHUT_RD),
        lambda raw: raw._fp.fp.raw._sock.shutdown(socket.SHUT_RDWR),
        lambda raw: raw.shutdown(),
        lambda raw: raw.close(),
        lambda raw: raw._fp.fp.close(),
    ],
)
def test_ways_to_end_one_response(end: Callable[[Any], object], get_raw: Open) -> None:
    raw, other = get_raw("/drip/2?delay=60"), get_raw("/bytes/100000")
    server: FrameServer = get_raw.server  # type: ignore[attr-defined]
    assert raw.read(1) == pattern(1)
    end(raw)
    link = server.link
    first = link.streams[link.opened[0]]
    assert server.wait_for(lambda: first.reset_by_client == Code.CANCEL)
    assert other.read() == pattern(100_000)
    assert get_raw("/bytes/5").read() == pattern(5)
    assert server.accepted == 1


def test_a_read_that_another_thread_is_in_can_be_stopped(get_raw: Open) -> None:
    """As urllib3's `shutdown`, which is for that; other responses go on."""
    for _ in range(3):
        raw = get_raw("/drip/2?delay=60")
        assert raw.read(1) == pattern(1)
        entered = threading.Event()
        told: list[BaseException] = []

        def read(raw: Any = raw, entered: Any = entered, told: Any = told) -> None:
            entered.set()
            try:
                raw.read(1)
            except BaseException as exc:
                told.append(exc)

        thread = threading.Thread(target=read)
        thread.start()
        entered.wait(PATIENCE)
        raw.shutdown()
        thread.join(PATIENCE)
        assert not thread.is_alive()
        assert len(told) == 1
        assert isinstance(told[0], (urllib3.exceptions.HTTPError, ValueError))
    assert get_raw("/bytes/5").read() == pattern(5)
    assert get_raw.server.accepted == 1  # type: ignore[attr-defined]


def test_a_response_that_is_dropped(get_raw: Open) -> None:
    server: FrameServer = get_raw.server  # type: ignore[attr-defined]
    raw = get_raw("/drip/2?delay=60")
    with pytest.warns(ResourceWarning):  # noqa: PT031
        del raw
        gc.collect()
    assert get_raw("/bytes/5").read() == pattern(5)  # with the next thing that is sent, at latest
    first = server.link.streams[server.link.opened[0]]
    assert server.wait_for(lambda: first.reset_by_client == Code.CANCEL)


def test_every_response_knows_whether_its_connection_had_served(get_raw: Open) -> None:
    assert [get_raw("/bytes/1").reused for _ in range(3)] == [False, True, True]


# --- errors and retries ---


def failing(session: requests.Session, url: str, **options: Any) -> Any:
    with pytest.raises(requests.RequestException) as caught:
        session.get(url, timeout=PATIENCE, **options)
    return caught.value


def reset_with(code: int, times: int = 1, head: bool = False) -> Callable[[Stream], None]:
    """Answers by RST_STREAM, `times`; after some of the body, with `head`."""
    left = [times]

    def answer(stream: Stream) -> None:
        if not left[0]:
            routes(stream)
            return
        left[0] -= 1
        if head:
            stream.head(200, [("content-length", "10")])
            stream.link.data(stream.id, b"hello")
        stream.reset(code)

    return answer


def test_a_stream_that_the_server_ends(session: requests.Session, serve_h2: ServeH2) -> None:
    """The same classes as over HTTP/1.1, the phase, and a connection that goes on."""
    answer = reset_with(Code.INTERNAL_ERROR)
    server = serve_h2(lambda link: link.serve(answer), secure=True)
    error = failing(session, server.url)
    assert type(error) is requests.ConnectionError
    assert httpcore_requests.phase(error) == "maybe_processed"
    assert "the request may have been processed" in str(error)
    assert "INTERNAL_ERROR" in str(error)
    assert error.request.url == server.url + "/"
    assert pickle.loads(pickle.dumps(error)).args[0].phase == "maybe_processed"
    assert session.get(server.url, timeout=PATIENCE).ok
    assert server.accepted == 1


@pytest.mark.parametrize("read", [lambda r: r.content, lambda r: list(r.iter_content(3))])
def test_a_body_that_breaks_off(
    read: Callable[[Any], Any], session: requests.Session, serve_h2: ServeH2
) -> None:
    """Row 31: "raise with bytes got/expected"."""
    answer = reset_with(Code.INTERNAL_ERROR, head=True)
    server = serve_h2(lambda link: link.serve(answer), secure=True)
    with session.get(server.url, stream=True, timeout=PATIENCE) as response:
        with pytest.raises(requests.exceptions.ChunkedEncodingError) as caught:
            read(response)
    assert httpcore_requests.phase(caught.value) == "response_started"
    assert caught.value.response.status_code == 200
    assert session.get(server.url, timeout=PATIENCE).ok
    assert server.accepted == 1


def test_a_body_shorter_than_announced(session: requests.Session, serve_h2: ServeH2) -> None:
    def answer(stream: Stream) -> None:
        stream.head(200, [("content-length", "10")])
        stream.write(b"hello", end=True)

    server = serve_h2(lambda link: link.serve(answer), secure=True)
    error = failing(session, server.url)
    assert isinstance(error, requests.exceptions.ChunkedEncodingError)
    assert "5 of 10 body bytes" in str(error)
    assert error.partial == 5  # type: ignore[attr-defined]


def test_a_silent_stream_is_a_read_timeout(session: requests.Session, serve_h2: ServeH2) -> None:
    server = serve_h2(secure=True)
    with pytest.raises(requests.ReadTimeout):
        session.get(server.url + "/hold", timeout=(PATIENCE, 0.05))
    assert session.get(server.url, timeout=PATIENCE).ok
    silent = server.links[0].streams[server.links[0].opened[0]]
    assert server.wait_for(lambda: silent.reset_by_client == Code.CANCEL)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_refused_streams_are_sent_again(
    method: str, session: requests.Session, serve_h2: ServeH2
) -> None:
    """REFUSED_STREAM says that nothing was done with it: nobody has to ask for the repetition."""
    answer = reset_with(Code.REFUSED_STREAM, times=2)
    server = serve_h2(lambda link: link.serve(answer), secure=True)
    response = session.request(method, server.url + "/echo", data=b"body", timeout=PATIENCE)
    assert (response.json()["method"], response.json()["body"]) == (method, "body")


def test_retries_are_urllib3s(
    ca_bundle: str, serve_h2: ServeH2, caplog: pytest.LogCaptureFixture
) -> None:
    """What may have been processed is repeated where the policy allows it, and only there."""
    answer = reset_with(Code.INTERNAL_ERROR, times=4)
    server = serve_h2(lambda link: link.serve(answer), secure=True)
    with requests.Session() as session:
        session.verify = ca_bundle
        session.mount("https://", HTTPAdapter(http2=True, max_retries=Retry(read=3)))
        with pytest.raises(requests.ConnectionError) as caught:
            session.post(server.url, data=b"x", timeout=PATIENCE)
        assert "retries" not in str(caught.value)
        session.close()
        also = Retry(read=3, allowed_methods=["POST"])
        session.mount("https://", HTTPAdapter(http2=True, max_retries=also))
        response = session.post(server.url + "/echo", data=b"x", timeout=PATIENCE)
        assert response.json()["body"] == "x"
        assert len(response.raw.retries.history) == 3
        assert server.accepted == 2  # one for each adapter
    assert caplog.text.count("Retrying") == 3


def test_statuses_are_retried_too(ca_bundle: str, serve_h2: ServeH2) -> None:
    left = [503, 503]

    def answer(stream: Stream) -> None:
        status = left.pop() if left else 200
        stream.respond(status, b"x" * 100_000)

    server = serve_h2(lambda link: link.serve(answer), secure=True)
    retry = Retry(total=3, status_forcelist=[503])
    with requests.Session() as session:
        session.verify = ca_bundle
        session.mount("https://", HTTPAdapter(http2=True, max_retries=retry))
        response = session.get(server.url, timeout=PATIENCE)
    assert response.status_code == 200
    assert [entry.status for entry in response.raw.retries.history] == [503, 503]
    assert server.accepted == 1


def test_a_connection_that_dies(session: requests.Session, serve_h2: ServeH2) -> None:
    """Row 1: a dead idle connection is found before use; a busy one says how far it got."""
    server = serve_h2(secure=True)
    assert session.get(server.url, timeout=PATIENCE).ok
    first = server.links[0]
    first.call(first.abort)
    assert session.post(server.url + "/echo", data=b"x", timeout=PATIENCE).ok
    assert server.accepted == 2
    server.script = lambda link: link.serve(lambda stream: stream.link.abort())
    second = server.links[1]
    second.call(second.abort)
    error = failing(session, server.url)
    assert type(error) is requests.ConnectionError
    assert httpcore_requests.phase(error) == "maybe_processed"


# --- settings ---


def test_pings(ca_bundle: str, serve_h2: ServeH2) -> None:
    """Row 46: "Opt-in PING during an open stream"."""
    server = serve_h2(secure=True)
    with requests.Session() as session:
        session.verify = ca_bundle
        session.mount("https://", HTTPAdapter(http2=True, ping_interval=0.02, ping_timeout=0.1))
        with session.get(server.url + "/drip/2?delay=60", stream=True, timeout=PATIENCE) as slow:
            assert slow.raw.read(1) == pattern(1)
            reader = threading.Thread(target=lambda: _quietly(slow.raw.read, 1))
            reader.start()
            link = server.link
            assert server.wait_for(lambda: len(link.seen(Kind.PING)) >= 3)
            link.call(lambda: setattr(link, "answer_pings", False))
            reader.join(PATIENCE)
            assert not reader.is_alive()
        assert session.get(server.url, timeout=PATIENCE).ok
    assert server.accepted == 2


def _quietly(call: Callable[..., Any], *arguments: Any) -> None:
    with contextlib.suppress(urllib3.exceptions.HTTPError):
        call(*arguments)


@pytest.mark.parametrize(
    "wrong", [{"ping_interval": -1}, {"ping_interval": "x"}, {"ping_timeout": "x"}]
)
def test_pings_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError), match=next(iter(wrong)).replace("_", ".")):
        HTTPAdapter(http2=True, **wrong)


def test_copies_have_the_settings() -> None:
    adapter = HTTPAdapter(http2=True, ping_interval=20, ping_timeout=3)
    for again in (pickle.loads(pickle.dumps(adapter)), copy.deepcopy(adapter)):
        assert again._settings == Settings(http2=True, ping_interval=20, ping_timeout=3)
        again.close()
    adapter.close()


def test_settings_of_before_http2_can_be_unpickled() -> None:
    """A pickle of an earlier version lacks what was added since."""
    old = Settings.__new__(Settings)
    state = {name: value for name, value in vars(Settings()).items() if "ping" not in name}
    old.__dict__.update(state)
    again = pickle.loads(pickle.dumps(old))
    assert (again.http2, again.ping_interval, again.ping_timeout) == (False, None, 15.0)


class ForeignContext:
    """As pyOpenSSL's: another library's, whose sockets are its own."""

    verify_mode = ssl.CERT_REQUIRED
    check_hostname = True

    def __init__(self, ca: trustme.CA) -> None:
        self.real = trusting(ca)

    def wrap_socket(self, sock: Any, server_hostname: str | None = None, **options: Any) -> Any:
        return _ForeignSocket(self.real.wrap_socket(sock, server_hostname=server_hostname))


class _ForeignSocket:
    def __init__(self, real: ssl.SSLSocket) -> None:
        self.real = real

    def __getattr__(self, name: str) -> Any:
        if name == "do_handshake":
            raise AttributeError(name)
        return getattr(self.real, name)


def test_a_foreign_context_falls_back(ca: trustme.CA, server_tls_context: ssl.SSLContext) -> None:
    """Its sockets cannot do what HTTP/2 needs, so it is not offered on them."""
    context = server_context(ca)
    context.set_alpn_protocols(BOTH)
    with LocalServer(tls=context) as server, requests.Session() as session:
        foreign: Any = ForeignContext(ca)
        session.mount("https://", HTTPAdapter(ssl_context=foreign, http2=True))
        assert session.get(server.url, timeout=PATIENCE).raw.version == 11
        foreign.real.set_alpn_protocols(BOTH)
        session.mount("https://", HTTPAdapter(ssl_context=foreign, http2=True))
        with pytest.raises(SSLError, match="the server chose HTTP/2"):
            session.get(server.url, timeout=PATIENCE)


@pytest.mark.parametrize("http2", [False, True])
def test_a_context_that_offers_http2_by_itself(
    http2: bool, ca: trustme.CA, serve_h2: ServeH2
) -> None:
    server = serve_h2(secure=True)
    given = trusting(ca)
    given.set_alpn_protocols(["h2"])
    with requests.Session() as session:
        session.mount("https://", HTTPAdapter(ssl_context=given, http2=http2))
        if http2:
            assert session.get(server.url, timeout=PATIENCE).raw.version == 20
        else:
            with pytest.raises(SSLError, match="call its set_alpn_protocols"):
                session.get(server.url, timeout=PATIENCE)


def test_http_stays_http11(session: requests.Session, server: LocalServer) -> None:
    session.mount("http://", HTTPAdapter(http2=True))
    assert session.get(server.url, timeout=PATIENCE).raw.version == 11


def test_a_response_made_by_hand_has_the_phrase() -> None:
    response = httpcore.Response(404, extensions={"http_version": b"HTTP/2"})
    pool: Any = None
    raw = RawResponse(pool, response, "GET", "/", None, True)
    assert (raw.version, raw.reason) == (20, "Not Found")
    assert raw._original_response.reason == "Not Found"
