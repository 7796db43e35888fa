"""The script of opening a connection, driven with lists: no sockets, no clock.

Owns: `httpcore._core.dial`. Must not know: who carries the steps out.
"""

from __future__ import annotations

from typing import Any

import pytest

from httpcore._core.dial import (
    BACKOFF_FACTOR,
    Dialed,
    OpenTCP,
    OpenUnix,
    Plan,
    Sleep,
    StartTLS,
    Step,
    dial,
)
from httpcore._core.http_proxy import ProxyHop, Read
from httpcore._exceptions import (
    ConnectError,
    ConnectTimeout,
    LocalProtocolError,
    NameResolutionError,
    ProxyConnectError,
    ReadError,
    TLSError,
)

CONTEXT: Any = object()  # never touched, only passed on


class Stream:
    """Stands for an open stream; says what ALPN chose."""

    def __init__(self, protocol: str | None = None, tls: bool = True) -> None:
        self.protocol = protocol
        self.tls = tls

    def get_extra_info(self, info: str) -> Any:
        assert info == "ssl_object"
        return self if self.tls else None

    def selected_alpn_protocol(self) -> str | None:
        return self.protocol


def run(plan: Plan, answers: list[Any]) -> tuple[list[Step], Dialed]:
    """Drive the script: each step gets the next answer; exceptions are thrown in."""
    script = dial(plan)
    steps = [next(script)]
    remaining = list(answers)
    while True:
        answer = remaining.pop(0)
        try:
            if isinstance(answer, BaseException):
                step = script.throw(answer)
            else:
                step = script.send(answer)
        except StopIteration as stop:
            assert not remaining
            return steps, stop.value
        steps.append(step)


def test_plain_tcp() -> None:
    stream = Stream()
    options = [(1, 2, 3)]
    plan = Plan(b"example.com", 80, None, local_address="::", socket_options=options)
    steps, dialed = run(plan, [stream])
    assert steps == [OpenTCP("example.com", 80, "::", options)]
    assert dialed == Dialed(stream, None)


def test_unix_socket() -> None:
    stream = Stream()
    steps, dialed = run(Plan(b"ignored", 80, None, uds="/s", socket_options=()), [stream])
    assert steps == [OpenUnix("/s", ())]
    assert dialed.stream is stream


@pytest.mark.parametrize("protocol", [None, "http/1.1", "h2"])
def test_tls_says_what_alpn_chose(protocol: str | None) -> None:
    plain, secure = Stream(), Stream(protocol)
    steps, dialed = run(Plan(b"example.com", 443, CONTEXT), [plain, secure])
    assert steps == [
        OpenTCP("example.com", 443, None, None),
        StartTLS(plain, CONTEXT, "example.com"),
    ]
    assert dialed == Dialed(secure, protocol)


def test_tls_over_a_unix_socket_of_a_backend_that_has_no_ssl_object() -> None:
    plain, secure = Stream(), Stream(tls=False)
    steps, dialed = run(Plan(b"h", 443, CONTEXT, uds="/s"), [plain, secure])
    assert [type(step) for step in steps] == [OpenUnix, StartTLS]
    assert dialed == Dialed(secure, None)


def test_what_is_offered_to_the_origin_is_not_offered_to_its_proxy() -> None:
    """Row 18: ALPN picks; on the way there, a proxy is spoken to in HTTP/1.1."""
    both = ("h2", "http/1.1")
    hop = ProxyHop(b"https", b"proxy", 8443, (), forwards=False, ssl_context=CONTEXT)
    script = dial(Plan(b"example.com", 443, CONTEXT, hop=hop, protocols=both))
    answers = {OpenTCP: Stream(), StartTLS: Stream("h2"), Read: b"HTTP/1.1 200 OK\r\n\r\n"}
    offered = {}
    step = next(script)
    try:
        while True:
            if isinstance(step, StartTLS):
                offered[step.server_hostname] = step.protocols
            step = script.send(answers.get(type(step)))
    except StopIteration as stop:
        dialed = stop.value
    assert dialed.protocol == "h2"
    assert offered == {"proxy": None, "example.com": both}


@pytest.mark.parametrize("uds", [None, "/s"])
def test_http2_without_tls_is_known_beforehand(uds: str | None) -> None:
    for protocols, spoken in ((("h2",), "h2"), (("h2", "http/1.1"), None), (None, None)):
        _, dialed = run(Plan(b"h", 80, None, uds=uds, protocols=protocols), [Stream()])
        assert dialed.protocol == spoken


@pytest.mark.parametrize(
    ("secure", "spoken"),
    [(Stream("h2"), "h2"), (Stream(None), "h2"), (Stream(tls=False), "h2"), (Stream("x"), "x")],
)
def test_http2_only_over_tls(secure: Stream, spoken: str) -> None:
    """As in httpcore 1.0: where ALPN says nothing, the caller's word counts."""
    steps, dialed = run(Plan(b"h", 443, CONTEXT, protocols=("h2",)), [Stream(), secure])
    assert steps[1][4] == ("h2",)
    assert dialed.protocol == spoken


@pytest.mark.parametrize(
    ("host", "name"),
    [
        (b"example.com", "example.com"),
        (b"example.com.", "example.com"),  # the dot is DNS' and in no certificate
        (b"127.0.0.1", "127.0.0.1"),
        (b"::1", "::1"),
        (b"0:0:0:0:0:0:0:1", "::1"),  # as certificates are compared
        (b"fe80::1%eth0", "fe80::1"),  # a zone is local
    ],
)
def test_the_name_in_the_certificate(host: bytes, name: str) -> None:
    steps, _ = run(Plan(host, 443, CONTEXT), [Stream(), Stream()])
    tls = steps[-1]
    assert isinstance(tls, StartTLS)
    assert tls.server_hostname == name
    tcp = steps[0]
    assert isinstance(tcp, OpenTCP)
    assert tcp.host == host.decode()


@pytest.mark.parametrize(
    ("host", "address"),
    [
        (b"fe80::1%25eth10", "fe80::1%eth10"),
        (b"fe80::1%eth10", "fe80::1%eth10"),
        (b"fe80::1%25", "fe80::1%25"),  # the zone of number 25, not escaped
        (b"fe80::1%2525", "fe80::1%25"),
    ],
)
def test_a_zone_is_written_as_the_system_takes_it(host: bytes, address: str) -> None:
    """Row 51: "connects with scope id", of which a URL escapes the per cent sign."""
    assert run(Plan(host, 80, None), [Stream()])[0] == [OpenTCP(address, 80, None, None)]
    plan = Plan(b"h", 80, None, hop=ProxyHop(b"http", host, 3128, (), True))
    assert run(plan, [Stream()])[0] == [OpenTCP(address, 3128, None, None)]


def test_a_name_of_the_callers_own() -> None:
    plan = Plan(b"127.0.0.1", 443, CONTEXT, server_hostname="example.test")
    steps, _ = run(plan, [Stream(), Stream()])
    tls = steps[-1]
    assert isinstance(tls, StartTLS)
    assert tls.server_hostname == "example.test"


def test_no_retries_unless_asked() -> None:
    error = ConnectError("refused")
    with pytest.raises(ConnectError) as caught:
        run(Plan(b"h", 80, None), [error])
    assert caught.value is error


@pytest.mark.parametrize("kind", [ConnectError, ConnectTimeout, NameResolutionError, TLSError])
def test_retries_back_off(kind: type[Exception]) -> None:
    stream = Stream()
    failures = [kind("1"), kind("2"), kind("3"), kind("4")]
    answers = [failures[0], None, failures[1], None, failures[2], None, failures[3], None, stream]
    steps, dialed = run(Plan(b"h", 80, None, retries=4), answers)
    connect = OpenTCP("h", 80, None, None)
    assert steps == [
        connect,
        Sleep(0.0),  # at once; it is there for the trace
        connect,
        Sleep(BACKOFF_FACTOR),
        connect,
        Sleep(BACKOFF_FACTOR * 2),
        connect,
        Sleep(BACKOFF_FACTOR * 4),
        connect,
    ]
    assert dialed.stream is stream


def test_a_failed_handshake_starts_over_with_a_new_stream() -> None:
    first, second, secure = Stream(), Stream(), Stream()
    steps, dialed = run(
        Plan(b"h", 443, CONTEXT, retries=1), [first, TLSError("alert"), None, second, secure]
    )
    assert [type(step) for step in steps] == [OpenTCP, StartTLS, Sleep, OpenTCP, StartTLS]
    assert steps[1][0] is first
    assert steps[4][0] is second
    assert dialed.stream is secure


def test_the_last_failure_is_raised() -> None:
    errors = [ConnectError("first"), ConnectTimeout("second")]
    with pytest.raises(ConnectTimeout) as caught:
        run(Plan(b"h", 80, None, retries=1), errors)
    assert caught.value is errors[1]


@pytest.mark.parametrize("error", [ReadError("no"), RuntimeError("no"), KeyboardInterrupt()])
def test_other_failures_are_not_retried(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        run(Plan(b"h", 80, None, retries=3), [error])
    assert caught.value is error


def test_a_host_that_is_not_ascii() -> None:
    with pytest.raises(LocalProtocolError, match="has characters that no host may have"):
        next(dial(Plan(b"\xc3\xa4", 80, None)))


FORWARDING = ProxyHop(b"http", b"proxy.test", 70000, (), forwards=True)


@pytest.mark.parametrize(
    "plan",
    [
        Plan(b"h.test", 70000, None, retries=3),
        Plan(b"h.test", 70000, CONTEXT, hop=ProxyHop(b"http", b"p", 80, (), forwards=False)),
        Plan(b"h.test", 70000, None, hop=ProxyHop(b"socks5", b"p", 80, (), forwards=False)),
        Plan(b"h.test", 80, None, hop=FORWARDING),
        Plan(b"h.test", 443, CONTEXT, hop=FORWARDING._replace(forwards=False)),
        Plan(b"h.test", 80, None, hop=FORWARDING._replace(scheme=b"socks5", forwards=False)),
    ],
)
def test_a_port_that_cannot_be(plan: Plan) -> None:
    """Nothing is opened, nothing is tried again; as in 1.0.9 it is a ConnectError."""
    with pytest.raises(ConnectError, match="port 70000 is above 65535") as caught:
        list(dial(plan))
    assert caught.value.phase == "not_sent"
    assert isinstance(caught.value, ProxyConnectError) == ("proxy.test" in str(caught.value))
