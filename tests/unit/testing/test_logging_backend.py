"""The network in the log, without what is secret in it.

Owns: `httpcore._testing.logging_backend` and `wrapped`. Must not know: what is logged elsewhere.
"""

from __future__ import annotations

import itertools
import logging
import re
import ssl
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import httpcore
from httpcore._testing.cassettes.filters import Filters
from httpcore._testing.logging_backend import Preview
from tests.support.examples import examples
from tests.support.servers import LocalServer

NAME = "httpcore.network"


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Any:
    """The texts that were logged, their times taken out."""
    caplog.set_level(logging.DEBUG, NAME)

    def texts() -> list[str]:
        found = [record.getMessage() for record in caplog.records if record.name == NAME]
        return [re.sub(r"[\d.]+ ms", "? ms", text) for text in found]

    return texts


def over(script: list[Any], **options: Any) -> httpcore.LoggingBackend:
    return httpcore.LoggingBackend(httpcore.MockBackend(script), **options)


def test_each_operation_is_logged(log: Any) -> None:
    backend = over([b"HTTP/1.1 200 OK\r\n", b"\x1f\x8b\x08", b""])
    stream = backend.connect_tcp("example.com", 443)
    stream.start_tls(ssl.create_default_context(), "example.com")
    secured = stream.start_tls(ssl.create_default_context(), "example.com")
    secured.write(b"GET / HTTP/1.1\r\n")
    for _ in range(3):
        secured.read(100)
    secured.close()
    backend.connect_unix_socket("/run/s")
    assert backend.resolve("example.com", 443) == ["example.com"]
    backend.sleep(0.5)
    assert log() == [
        "#1 example.com:443 connect done in ? ms",
        "#1 example.com:443 start_tls done in ? ms, ALPN chose http/1.1",
        "#1 example.com:443 start_tls done in ? ms, ALPN chose http/1.1",
        "#1 example.com:443 write 16 bytes: b'GET / HTTP/1.1\\r\\n'",
        "#1 example.com:443 read 17 of 100 bytes in ? ms: b'HTTP/1.1 200 OK\\r\\n'",
        "#1 example.com:443 read 3 of 100 bytes in ? ms",
        "#1 example.com:443 read 0 of 100 bytes in ? ms, the end",
        "#1 example.com:443 close",
        "#2 unix:/run/s connect done in ? ms",
        "resolve example.com done in ? ms",
        "sleep 0.5 s",
    ]
    assert repr(backend).startswith("<httpcore.LoggingBackend [<httpcore")


def test_failures_are_logged_and_raised(log: Any) -> None:
    inside = httpcore.MockBackend(
        [httpcore.ReadError("reset"), 5],
        connects=[httpcore.ConnectError("refused")],
        writes=[httpcore.WriteError("reset")],
        handshakes=[httpcore.ConnectError("no")],
    )
    backend = httpcore.LoggingBackend(inside)
    with pytest.raises(httpcore.ConnectError):
        backend.connect_tcp("a", 80)
    stream = backend.connect_tcp("a", 80)
    with pytest.raises(httpcore.WriteError):
        stream.write(b"x")
    with pytest.raises(httpcore.ReadError):
        stream.read(9)
    with pytest.raises(httpcore.ReadTimeout):
        stream.read(9, 1)
    with pytest.raises(httpcore.ReadTimeout):
        stream.read(9, 0)  # what is there, if anything is: no failure
    with pytest.raises(httpcore.ConnectError):
        stream.start_tls(ssl.create_default_context())
    assert [text for text in log() if "fail" in text] == [
        "#1 a:80 connect failed after ? ms: ConnectError: refused",
        "#2 a:80 write failed after ? ms: WriteError: reset",
        "#2 a:80 read failed after ? ms: ReadError: reset",
        "#2 a:80 read failed after ? ms: ReadTimeout: read from a mock stream timed out: nothing "
        "within 1 s, as its script says",
        "#2 a:80 start_tls failed after ? ms: ConnectError: no",
    ]


def test_a_request_through_a_pool(
    log: Any, tls_server: LocalServer, client_tls_context: ssl.SSLContext
) -> None:
    with httpcore.ConnectionPool(
        client_tls_context, network_backend=httpcore.LoggingBackend()
    ) as pool:
        headers = [("Authorization", "Bearer s3cret"), ("Cookie", "a=s3cret")]
        url = tls_server.url + "/cookies/set?session=v4lue"
        assert pool.request("GET", url, headers=headers).status == 200
        assert pool.request("POST", url, content=iter([b"body"])).status == 200
    text = "\n".join(log())
    assert "s3cret" not in text and "session=[filtered] HTTP" in text
    assert "Authorization: Bearer [filtered]\\r\\n" in text
    assert "Set-Cookie: session=[filtered]; Path=/\\r\\n" in text
    assert "write 5 bytes: b'0\\r\\n\\r\\n'" in text
    assert text.count(" connect done") == 1 and text.endswith("close")


def test_writing_while_listening_is_logged(log: Any, server: LocalServer) -> None:
    body = b"x" * 300_000
    with httpcore.ConnectionPool(network_backend=httpcore.LoggingBackend(preview=0)) as pool:
        response = pool.request("POST", server.url + "/upload", content=body)
        assert b'"length": 300000' in response.content
    sent = [re.search(r"write (\d+) bytes$", text) for text in log()]
    assert sum(int(found[1]) for found in sent if found) > 300_000

    class Broken(httpcore.MockStream):
        def write_until_readable(self, *args: Any) -> int:
            raise httpcore.WriteError("reset")

    stream: Any = httpcore.LoggingBackend(httpcore.MockBackend([])).connect_tcp("a", 80)
    assert stream.write_until_readable is None
    stream = type(stream)(Broken([]), "#1 a:80", httpcore.LoggingBackend())
    with pytest.raises(httpcore.WriteError):
        stream.write_until_readable(memoryview(b"x"))
    assert log()[-1] == "#1 a:80 write failed after ? ms: WriteError: reset"
    Broken.write_until_readable = lambda *args: 0  # type: ignore[assignment,method-assign]
    stream = type(stream)(Broken([]), "#1 a:80", httpcore.LoggingBackend())
    assert stream.write_until_readable(memoryview(b"x")) == 0 and "fail" in log()[-1]


def test_what_a_stream_inside_has_is_there(server: LocalServer, log: Any) -> None:
    stream: Any = httpcore.LoggingBackend().connect_tcp("127.0.0.1", server.port)
    assert stream.get_extra_info("server_addr") == ("127.0.0.1", server.port)
    assert not stream.unclean_eof
    stream.peer += " through the proxy"
    assert stream.stream.peer.endswith("through the proxy")
    stream.keep_session()
    stream.abort()
    assert stream.read(9) == b""
    stream.close()
    assert log()[1] == f"#1 127.0.0.1:{server.port} abort"
    bare: Any = over([]).connect_tcp("a", 80)
    bare.keep_session()
    assert not hasattr(bare, "peer")


def test_other_loggers_and_levels(caplog: pytest.LogCaptureFixture) -> None:
    backend = over([b"x"], logger="mine")
    caplog.set_level(logging.INFO)
    backend.connect_tcp("a", 80)
    assert caplog.records == []
    caplog.set_level(logging.DEBUG)
    backend.connect_tcp("a", 80)
    assert [record.name for record in caplog.records] == ["mine"]


def test_arguments_that_cannot_be() -> None:
    for preview in (-1, "all"):
        with pytest.raises(ValueError, match="preview must be a number of bytes"):
            httpcore.LoggingBackend(preview=preview)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="headers must be a list of names"):
        httpcore.LoggingBackend(filter_headers="X-Key")


def test_http2_is_as_possible_as_inside(tmp_path: Any) -> None:
    assert httpcore.LoggingBackend().speaks_http2
    recording = httpcore.RecordingBackend(None, tmp_path / "c.jsonl")
    assert not httpcore.LoggingBackend(recording).speaks_http2


# --- what is shown ---


def test_http2_is_not_shown(log: Any) -> None:
    """Its headers are compressed; a literal one in them would be shown."""
    stream = over([b"  s3cret", b"  s3cret"]).connect_tcp("a", 80)
    stream.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n  s3cret")
    stream.write(b"s3cret")
    stream.read(9)
    inside = httpcore.MockBackend([b"  s3cret"], http2=True)
    secured = (
        httpcore.LoggingBackend(inside)
        .connect_tcp("a", 443)
        .start_tls(ssl.create_default_context())
    )
    secured.read(9)
    assert "s3cret" not in str(log()) and "ALPN chose h2" in str(log())


def test_http2_is_spoken_over_it(log: Any, serve_h2: Any, ca: Any) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ca.configure_trust(context)
    server = serve_h2(secure=True)
    backend = httpcore.LoggingBackend()
    with httpcore.ConnectionPool(context, http2=True, network_backend=backend) as pool:
        headers = [("Authorization", "s3cret")]
        response = pool.request("GET", server.url + "/bytes/100000", headers=headers)
    assert response.extensions["http_version"] == b"HTTP/2"
    assert len(response.content) == 100_000
    assert "s3cret" not in str(log()) and ": b'" not in str(log())


def test_the_password_for_a_socks_proxy_is_not_shown(log: Any) -> None:
    stream = over([]).connect_tcp("a", 1080)
    stream.write(b"\x05\x02\x00\x02")
    stream.write(b"\x01\x02me\x06s3cret")
    assert "s3cret" not in str(log())


def test_a_secret_whose_name_went_by_unseen_is_not_shown(log: Any) -> None:
    stream = over([]).connect_tcp("a", 80)
    logger = logging.getLogger(NAME)
    logger.setLevel(logging.INFO)
    stream.write(b"GET / HTTP/1.1\r\nAuthorization: Bea")
    logger.setLevel(logging.DEBUG)
    stream.write(b"rer s3cret\r\nA: b\r\n")
    assert log()[-1] == "#1 a:80 write 18 bytes: b'[filtered]\\nA: b\\r\\n'"


@pytest.mark.parametrize(
    ("pieces", "shown"),
    [
        ([b"A: b\r\nCookie: a=1; b=2\r\n"], [r"b'A: b\r\nCookie: a=[filtered]; b=[filtered]\r\n'"]),
        ([b"Cook", b"ie: a=1\r\n"], ["b'Cook'", r"b'ie: [filtered]\n'"]),
        (
            [b"Cookie: a", b"=1", b"\r\nA: b"],
            ["b'Cookie: [filtered]'", "b'[filtered]'", r"b'\r\nA: b'"],
        ),
        ([b"Cookie: a=1\r\n b=2\r\nA: b\n"], [r"b'Cookie: a=[filtered]\r\n[filtered]\nA: b\n'"]),
        ([b"Location: http://me:pw@host/\n"], [r"b'Location: http://[filtered]@host/\n'"]),
        ([b"GET /?key=1&a=2 HTTP/1.1\r\n"], [r"b'GET /?key=[filtered]&a=2 HTTP/1.1\r\n'"]),
        ([b"X-Key: 1\r\n"], [r"b'X-Key: [filtered]\r\n'"]),
        ([b"\x00Cookie: a=1"], [""]),
        ([b"x" * 100], ["b'" + "x" * 50 + "'..."]),
        ([b"x" * 300, b"Cookie: a"], ["b'" + "x" * 50 + "'...", "b'Cookie: [filtered]'"]),
        ([b""], ["b''"]),
    ],
)
def test_previews(pieces: list[bytes], shown: list[str]) -> None:
    preview = Preview(Filters(headers=["X-Key"], query=["key"]), 50)
    assert [preview.show(piece) for piece in pieces] == shown


@settings(max_examples=examples(60))
@given(
    st.lists(st.integers(0, 100), max_size=8),
    st.sampled_from([b"Authorization: Bearer ", b"cookie:", b"Set-Cookie: a="]),
)
def test_no_secret_is_shown_however_it_is_cut(cuts: list[int], name: bytes) -> None:
    head = b"GET / HTTP/1.1\r\nHost: a\r\n" + name + b"QQQQQQQQ\r\n QQQQ\r\nAccept: */*\r\n\r\n"
    preview = Preview(Filters(), 1000)
    edges = sorted({0, *(cut for cut in cuts if cut < len(head)), len(head)})
    shown = "".join(preview.show(head[a:b]) for a, b in itertools.pairwise(edges))
    assert "Q" not in shown and "Accept" in shown.replace("'b'", "")
