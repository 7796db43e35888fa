"""What is written to a proxy and how its answer is read, without sockets.

Owns: `httpcore._core.http_proxy`, and the dial script where it meets a proxy. Must not know: how
the steps are carried out.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

import httpcore
from httpcore._core.dial import OpenTCP, Plan, StartTLS, dial
from httpcore._core.http_proxy import (
    MAX_CHALLENGES,
    MAX_REFUSAL,
    MAX_REFUSAL_READS,
    READ_SIZE,
    REFUSAL_PATIENCE,
    ProxyHop,
    Read,
    Rename,
    TraceEvent,
    Write,
    connect,
    forwarded,
    to_hop,
)
from httpcore._exceptions import (
    ConnectError,
    ConnectTimeout,
    ProxyConnectError,
    ProxyConnectTimeout,
    ProxyError,
    ReadError,
    ReadTimeout,
    UnsupportedProtocol,
    WriteError,
    explain,
)

STREAM: Any = object()
SECRET = (b"Proxy-Authorization", b"Basic c2VjcmV0")
HOP = ProxyHop(b"http", b"proxy.test", 3128, (SECRET,), False)
FORWARDING = HOP._replace(forwards=True)


def run(
    script: Generator[Any, Any, Any], answers: list[Any], steps: list[Any] | None = None
) -> tuple[list[Any], Any]:
    """Drive a script; what goes to the trace needs no answer. Exceptions are thrown in."""
    steps = [] if steps is None else steps
    step = next(script)
    remaining = list(answers)
    try:
        while True:
            steps.append(step)
            if isinstance(step, (TraceEvent, Rename, Write)) and not (
                isinstance(step, Write) and remaining and isinstance(remaining[0], WriteError)
            ):
                step = script.send(None)
                continue
            answer = remaining.pop(0)
            step = script.throw(answer) if isinstance(answer, Exception) else script.send(answer)
    except StopIteration as stop:
        assert not remaining
        return steps, stop.value


def only(steps: list[Any], *kinds: type) -> list[Any]:
    return [step for step in steps if isinstance(step, kinds)]


# --- which way ---


def test_http_is_forwarded_and_all_else_tunnelled() -> None:
    proxy = httpcore.Proxy("http://proxy.test:3128", headers={"A": "b"})
    for scheme in (b"https", b"ws", b"wss"):
        hop = to_hop(proxy, scheme)
        assert hop == ProxyHop(b"http", b"proxy.test", 3128, ((b"A", b"b"),), False)
    assert to_hop(proxy, b"http").forwards


def test_the_port_of_a_proxy_without_one() -> None:
    assert to_hop(httpcore.Proxy("http://proxy.test"), b"http").port == 80


@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "socks4", "socks4a"])
def test_socks_tunnels_everything(scheme: str) -> None:
    proxy = httpcore.Proxy(f"{scheme}://user:pass@proxy.test")
    for origin in (b"http", b"https"):
        hop = to_hop(proxy, origin)
        assert (hop.port, hop.forwards, hop.auth) == (1080, False, (b"user", b"pass"))
        assert hop.headers == ()


def test_an_https_proxy_brings_its_context() -> None:
    context: Any = object()
    proxy = httpcore.Proxy("https://proxy.test", ssl_context=context)
    assert to_hop(proxy, b"http") == ProxyHop(b"https", b"proxy.test", 443, (), True, None, context)


@pytest.mark.parametrize(
    ("scheme", "auth", "text"),
    [
        ("socks5", (b"u" * 256, b"p"), "the user name for a SOCKS 5 proxy has 256 bytes"),
        ("socks5h", (b"u", b""), "the password for a SOCKS 5 proxy has 0 bytes"),
        ("socks4", (b"u\0", b""), "the user name for a SOCKS 4 proxy has a NUL in it"),
    ],
)
def test_credentials_that_socks_cannot_say(
    scheme: str, auth: tuple[bytes, bytes], text: str
) -> None:
    with pytest.raises(httpcore.LocalProtocolError, match=text):
        to_hop(httpcore.Proxy(f"{scheme}://proxy.test", auth=auth), b"https")


def test_what_is_no_proxy() -> None:
    with pytest.raises(UnsupportedProtocol, match="the proxy scheme 'ftp' is not supported"):
        to_hop(httpcore.Proxy("ftp://proxy.test"), b"http")
    with pytest.raises(TypeError, match=r"must be an httpcore\.Proxy or None, not str"):
        to_hop("http://proxy.test", b"http")


def test_no_text_of_a_hop_shows_its_credentials() -> None:
    hop = to_hop(httpcore.Proxy("http://user:pass@proxy.test:3128"), b"http")
    assert any(name == b"Proxy-Authorization" for name, _ in hop.headers)
    assert str(hop) == "http://proxy.test:3128"
    assert repr(hop) == "<ProxyHop [http://proxy.test:3128]>"


# --- forwarding ---


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://origin.test/a?b", b"http://origin.test/a?b"),
        ("http://origin.test:80/", b"http://origin.test/"),
        ("http://origin.test:8080", b"http://origin.test:8080/"),
        ("http://[::1]:8080/", b"http://[::1]:8080/"),
        ("http://[fe80::1%25eth0]/", b"http://[fe80::1]/"),  # a zone is ours alone
        # Row 53: the path on the wire is the path given.
        ("http://origin.test//a/../b%2Fc?x=%7E", b"http://origin.test//a/../b%2Fc?x=%7E"),
    ],
)
def test_a_forwarded_request_names_its_origin(url: str, target: bytes) -> None:
    request = httpcore.Request("GET", url, headers=[(b"Host", b"origin.test"), (b"A", b"b")])
    sent = forwarded(request, FORWARDING)
    assert sent.url == httpcore.URL(scheme=b"http", host=b"proxy.test", port=3128, target=target)
    assert sent.headers == [(b"Host", b"origin.test"), (b"A", b"b"), SECRET]
    assert (sent.method, sent.stream) == (request.method, request.stream)
    assert request.headers == [(b"Host", b"origin.test"), (b"A", b"b")]  # as it was


@pytest.mark.parametrize(
    ("given", "target"),
    [
        (b"*", b"http://origin.test"),  # RFC 9112 section 3.2.4
        (b"http://elsewhere.test/", b"http://elsewhere.test/"),  # said so by the caller
    ],
)
def test_a_target_of_the_callers_own(given: bytes, target: bytes) -> None:
    request = httpcore.Request("OPTIONS", "http://origin.test", extensions={"target": given})
    assert forwarded(request, FORWARDING).url.target == target


def test_the_requests_own_field_goes_before_the_proxys() -> None:
    own = (b"proxy-authorization", b"Bearer own")
    request = httpcore.Request("GET", "http://origin.test/", headers=[own])
    assert forwarded(request, FORWARDING).headers == [own]


# --- CONNECT ---

AGREED = b"HTTP/1.1 200 Connection established\r\n\r\n"


@pytest.mark.parametrize(
    ("host", "target"),
    [
        (b"origin.test", b"origin.test:443"),
        (b"::1", b"[::1]:443"),
        (b"fe80::1%eth0", b"[fe80::1]:443"),  # a zone means nothing elsewhere
    ],
)
def test_a_tunnel(host: bytes, target: bytes) -> None:
    steps, _ = run(connect(STREAM, HOP, host, 443), [AGREED])
    assert only(steps, Write, Read) == [
        Write(
            STREAM,
            b"CONNECT %b HTTP/1.1\r\nHost: %b\r\nProxy-Authorization: Basic c2VjcmV0\r\n\r\n"
            % (target, target),
        ),
        Read(STREAM, READ_SIZE),
    ]
    assert steps[-1] == Rename(
        STREAM, f"{target.decode()} through the proxy http://proxy.test:3128"
    )


def test_an_answer_in_pieces_and_after_an_interim_one() -> None:
    whole = b"HTTP/1.1 100 Continue\r\n\r\n" + AGREED
    steps, _ = run(connect(STREAM, HOP, b"h", 1), [whole[i : i + 1] for i in range(len(whole))])
    assert len(only(steps, Read)) == len(whole)


def test_any_2xx_agrees_and_a_length_in_it_means_nothing() -> None:
    run(connect(STREAM, HOP, b"h", 1), [b"HTTP/1.0 204 Fine\r\nContent-Length: 5\r\n\r\n"])


def test_the_trace_hears_of_it_as_of_any_request() -> None:
    steps, _ = run(connect(STREAM, HOP, b"h", 1), [AGREED])
    events = only(steps, TraceEvent)
    assert [step.event for step in events] == [
        "http11.send_request_headers.started",
        "http11.send_request_headers.complete",
        "http11.send_request_body.started",
        "http11.send_request_body.complete",
        "http11.receive_response_headers.started",
        "http11.receive_response_headers.complete",
    ]
    request = events[0].details["request"]
    assert (request.method, request.url.target) == (b"CONNECT", b"h:1")
    version, status, reason, headers = events[-1].details["return_value"]
    assert (version, status, reason, headers) == (b"HTTP/1.1", 200, b"Connection established", [])


REFUSAL = b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n"


@pytest.mark.parametrize(
    "answers",
    [
        [REFUSAL + b"Content-Length: 4\r\n\r\nwho?"],
        [REFUSAL + b"Content-Length: 4\r\n\r\n", b"w", b"ho?"],
        [REFUSAL + b"Transfer-Encoding: chunked\r\n\r\n4\r\nwho?\r\n", b"0\r\n\r\n"],
        [REFUSAL + b"\r\nwho?", b""],
        [REFUSAL + b"Content-Length: 400\r\n\r\nwho?", b""],
        [REFUSAL + b"Content-Length: 400\r\n\r\nwho?", ReadTimeout("too slow")],
        [REFUSAL + b"Content-Length: 400\r\n\r\nwho?", ReadError("gone")],
        [REFUSAL + b"Transfer-Encoding: chunked\r\n\r\n4\r\nwho?\r\n", b"nonsense\r\n"],
    ],
)
def test_a_refusal_tells_what_the_proxy_said(answers: list[Any]) -> None:
    with pytest.raises(ProxyError) as caught:
        run(connect(STREAM, HOP, b"origin.test", 443), answers)
    error = caught.value
    assert str(error) == "407 Proxy Authentication Required"  # as httpcore 1.0.9 says it
    assert explain(error) == (
        "CONNECT origin.test:443 at the proxy http://proxy.test:3128 was refused: "
        "407 Proxy Authentication Required"
    )
    assert (error.status, error.body, error.phase) == (407, b"who?", "not_sent")
    assert error.headers[0] == (b"Proxy-Authenticate", b"Basic")


AGAIN = REFUSAL + b"Content-Length: 4\r\n\r\nwho?"


def challenged(answers: list[Any]) -> tuple[ProxyHop, list[ProxyError]]:
    seen: list[ProxyError] = []

    def on_challenge(error: ProxyError) -> Any:
        seen.append(error)
        return answers.pop(0)

    return HOP._replace(on_challenge=on_challenge), seen


def test_a_407_is_answered_on_the_same_connection() -> None:
    """Row 37: "a hook can answer 407 (digest/negotiate) on the same connection"."""
    hop, seen = challenged([{"proxy-authorization": "NTLM 1"}, {"Proxy-Authorization": "NTLM 3"}])
    steps, _ = run(connect(STREAM, hop, b"h", 1), [AGAIN, AGAIN, AGREED])
    sent = [step.data for step in only(steps, Write)]
    assert [part.split(b"\r\n")[2] for part in sent] == [
        b"Proxy-Authorization: Basic c2VjcmV0",
        b"proxy-authorization: NTLM 1",
        b"Proxy-Authorization: NTLM 3",
    ]
    assert [(error.status, error.body) for error in seen] == [(407, b"who?")] * 2
    assert seen[0].headers[0] == (b"Proxy-Authenticate", b"Basic")


@pytest.mark.parametrize(
    ("answers", "replies", "asked"),
    [
        ([None], [AGAIN], 1),
        ([{}] * 9, [AGAIN] * (MAX_CHALLENGES + 1), MAX_CHALLENGES),
        ([], [REFUSAL + b"Connection: close\r\nContent-Length: 0\r\n\r\n"], 0),
        ([], [REFUSAL + b"Content-Length: 9\r\n\r\nwho?", b""], 0),
        ([], [b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"], 0),
    ],
)
def test_a_407_that_is_not_answered(answers: list[Any], replies: list[bytes], asked: int) -> None:
    hop, seen = challenged(answers)
    with pytest.raises(ProxyError, match=r"^40[37]"):
        run(connect(STREAM, hop, b"h", 1), replies)
    assert len(seen) == asked


def test_a_hook_that_raises() -> None:
    hop, _ = challenged([])
    with pytest.raises(IndexError):
        run(connect(STREAM, hop, b"h", 1), [AGAIN])


@pytest.mark.parametrize(("rest", "body"), [(b"nonsense\r\n", b""), (b"5\r\nhello!\r\n", b"hello")])
def test_a_refusal_is_one_though_its_first_bytes_are_broken(rest: bytes, body: bytes) -> None:
    with pytest.raises(httpcore.ProxyError) as caught:
        run(
            connect(STREAM, HOP, b"h", 1),
            [REFUSAL + b"Transfer-Encoding: chunked\r\n\r\n" + rest],
        )
    assert (caught.value.status, caught.value.body) == (407, body)


def test_a_refusal_without_end_is_cut() -> None:
    endless = [b"HTTP/1.1 502 \r\n\r\n", *[b"x" * READ_SIZE] * (MAX_REFUSAL // READ_SIZE)]
    with pytest.raises(ProxyError, match=r"^502\b") as caught:
        run(connect(STREAM, HOP, b"h", 1), endless)
    assert caught.value.body == b"x" * MAX_REFUSAL


def test_a_refusal_that_trickles_is_cut() -> None:
    trickling = [b"HTTP/1.1 502 \r\n\r\n", *[b"x"] * MAX_REFUSAL_READS]
    with pytest.raises(ProxyError, match=r"^502\b") as caught:
        run(connect(STREAM, HOP, b"h", 1), trickling)
    assert caught.value.body == b"x" * MAX_REFUSAL_READS


def test_only_the_body_of_a_refusal_is_not_waited_for() -> None:
    steps: list[Any] = []
    with pytest.raises(ProxyError, match=r"^407\b"):
        run(
            connect(STREAM, HOP, b"h", 1),
            [REFUSAL, b"Content-Length: 4\r\n\r\n", b""],
            steps,
        )
    assert [step.patience for step in only(steps, Read)] == [None, None, REFUSAL_PATIENCE]


@pytest.mark.parametrize(
    ("answers", "text"),
    [
        ([b""], "without sending a response"),
        ([b"HTTP/1.1 200", b""], "incomplete response head"),
        ([b"\x15\x03\x01 this is TLS"], "illegal status line: .* the scheme should be https"),
        ([b"SSH-2.0-OpenSSH_9.2p1\r\n"], "an SSH server: check the port"),
        ([b"HTTP/1.1 103 Hints\r\n\r\n", b"h"], "the answer begins with b'h'"),
        ([ReadError("read failed")], "read failed"),
        ([WriteError("write failed")], "write failed"),
        ([AGREED + b"220 mail"], "sent data before anything was asked for"),
    ],
)
def test_a_proxy_that_fails(answers: list[Any], text: str) -> None:
    with pytest.raises(ProxyError, match=text) as caught:
        run(connect(STREAM, HOP, b"h", 1), answers)
    assert str(caught.value).startswith("CONNECT h:1 at the proxy http://proxy.test:3128 failed")
    assert caught.value.status is None


def test_a_proxy_that_does_not_answer() -> None:
    with pytest.raises(ProxyConnectTimeout, match=r"CONNECT h:1 at the proxy .* timed out: slow"):
        run(connect(STREAM, HOP, b"h", 1), [ReadTimeout("slow")])


def test_the_trace_hears_of_failures() -> None:
    steps: list[Any] = []
    failure = ReadError("gone")
    with pytest.raises(ProxyError):
        run(connect(STREAM, HOP, b"h", 1), [failure], steps)
    assert steps[-1] == TraceEvent("http11.receive_response_headers.failed", {"exception": failure})


# --- the dial script ---


def test_a_forwarding_proxy_is_all_that_is_dialled() -> None:
    plan = Plan(b"proxy.test", 3128, None, local_address="::", hop=FORWARDING)
    steps, dialed = run(dial(plan), [STREAM])
    assert steps == [OpenTCP("proxy.test", 3128, "::", None)]
    assert dialed.stream is STREAM


class Secure:
    def get_extra_info(self, info: str) -> None:
        return None


def test_tls_in_a_tunnel() -> None:
    context: Any = object()
    secure = Secure()
    plan = Plan(b"origin.test", 443, context, socket_options=[(1, 2, 3)], hop=HOP)
    steps, dialed = run(dial(plan), [STREAM, AGREED, secure])
    assert only(steps, OpenTCP, StartTLS) == [
        OpenTCP("proxy.test", 3128, None, [(1, 2, 3)]),
        StartTLS(STREAM, context, "origin.test", "proxy"),
    ]
    assert dialed.stream is secure


@pytest.mark.parametrize(
    ("failure", "kind"),
    [(ConnectError("refused"), ProxyConnectError), (ConnectTimeout("slow"), ProxyConnectTimeout)],
)
def test_a_proxy_out_of_reach_is_tried_again_and_says_so(
    failure: Exception, kind: type[Exception]
) -> None:
    plan = Plan(b"origin.test", 80, None, hop=HOP, retries=1)
    with pytest.raises(kind, match=r"cannot reach the proxy http://proxy\.test:3128: ") as caught:
        run(dial(plan), [failure, None, failure])
    assert caught.value.__cause__ is failure


def test_a_refusal_is_not_tried_again() -> None:
    plan = Plan(b"origin.test", 80, None, hop=HOP, retries=5)
    with pytest.raises(ProxyError, match=r"^403"):
        run(dial(plan), [STREAM, b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"])
