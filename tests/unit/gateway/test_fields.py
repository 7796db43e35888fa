"""The header fields of requests and responses, without ASGI.

Owns: what `_fields` takes out, changes, adds and refuses. Must not know: servers.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from httpcore_gateway import _fields
from httpcore_gateway._fields import (
    FORWARDED,
    HOP_BY_HOP,
    MAX_FIELDS,
    MAX_KNOWN_CLIENTS,
    MAX_KNOWN_HOST,
    MAX_PASSAGES,
    BadRequest,
    Fields,
    Hop,
    add_forwarded,
    add_via,
    check_host,
    count_down,
    read_fields,
    response_fields,
)

NAME = b"gateway"


def forwarded_of(received: Fields, hop: Hop, prefix: bytes = b"") -> dict[bytes, bytes]:
    fields: Fields = []
    add_forwarded(fields, read_fields(received, NAME), hop, prefix)
    assert len(dict(fields)) == len(fields)
    return dict(fields)


@pytest.mark.parametrize("name", sorted(HOP_BY_HOP))
def test_hop_by_hop_fields_are_left_out(name: bytes) -> None:
    value = b"chunked" if name == b"transfer-encoding" else b"x"
    received = read_fields([(b"a", b"1"), (name, value), (b"b", b"2")], NAME)
    assert received.passed == [(b"a", b"1"), (b"b", b"2")]
    fields, _ = response_fields([(b"A", b"1"), (name.title(), value)], 200)
    assert fields == [(b"a", b"1")]


def test_fields_that_connection_lists_are_left_out() -> None:
    """Wherever it stands, and however often."""
    headers = [
        (b"x-one", b"1"),
        (b"connection", b"X-One , keep-alive"),
        (b"x-two", b"2"),
        (b"connection", b"x-two,,close"),
        (b"x-three", b"3"),
        (b"x-one", b"4"),
    ]
    assert read_fields(headers, NAME).passed == [(b"x-three", b"3")]
    assert response_fields(headers, 200)[0] == [(b"x-three", b"3")]


def test_connection_cannot_take_out_what_the_gateway_needs() -> None:
    listed = b"host, content-length, x-forwarded-for, via"
    headers = [(b"host", b"a"), (b"content-length", b"3"), (b"connection", listed)]
    received = read_fields(headers, NAME)
    assert (received.host, received.length) == (b"a", 3)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([(b"content-length", b"1"), (b"content-length", b"1")], 400),
        ([(b"content-length", b"1, 1")], 400),
        ([(b"content-length", b"-1")], 400),
        ([(b"content-length", b"+1")], 400),
        ([(b"content-length", b"")], 400),
        ([(b"content-length", b"\xb2")], 400),
        ([(b"content-length", b"1" * 19)], 400),
        ([(b"content-length", b"1"), (b"transfer-encoding", b"chunked")], 400),
        ([(b"transfer-encoding", b"chunked"), (b"content-length", b"0")], 400),
        ([(b"transfer-encoding", b"chunked"), (b"transfer-encoding", b"chunked")], 400),
        ([(b"transfer-encoding", b"chunked, chunked")], 501),
        ([(b"transfer-encoding", b"identity")], 501),
        ([(b"transfer-encoding", b"")], 501),
        ([(b"host", b"a"), (b"host", b"a")], 400),
        ([(b"host", b"a b")], 400),
        ([(b"host", b"a/b")], 400),
        ([(b"host", b"u@a")], 400),
        ([(b"host", b"a\\b")], 400),
        ([(b"host", b"\xe9")], 400),
        ([(b"host", b'a"b')], 400),
        ([(b"expect", b"something")], 417),
        ([(b"x", b"y")] * (MAX_FIELDS + 1), 431),
        ([(b"via", b", ".join([b"1.1 gateway"] * (MAX_PASSAGES + 1)))], 508),
    ],
)
def test_what_is_refused(headers: Fields, status: int) -> None:
    with pytest.raises(BadRequest) as info:
        read_fields(headers, NAME)
    assert info.value.status == status
    assert str(info.value) == info.value.reason


def test_as_many_fields_as_are_passed() -> None:
    fields = [(b"x", b"y")] * MAX_FIELDS
    assert read_fields([(b"host", b"a"), *fields], NAME).passed == fields


@pytest.mark.parametrize("host", [b"a", b"a.example:80", b"[::1]:8080", b"a_b", b"%61", b"1.2.3.4"])
def test_hosts(host: bytes) -> None:
    assert check_host(host) == host


def test_what_is_read() -> None:
    received = read_fields(
        [
            (b"host", b"a"),
            (b"transfer-encoding", b" Chunked "),
            (b"expect", b"100-Continue"),
            (b"te", b"gzip, Trailers"),
            (b"te", b"deflate"),
            (b"via", b"1.0 x"),
            (b"via", b"1.1 gateway"),
        ],
        NAME,
    )
    assert (received.host, received.chunked, received.expects) == (b"a", True, True)
    assert (received.trailers, received.length, received.via) == (True, None, b"1.0 x, 1.1 gateway")
    assert received.passed == []


@given(st.lists(st.sampled_from(sorted(FORWARDED | HOP_BY_HOP | {b"content-length", b"via"}))))
def test_spellings_with_underscores_are_no_way_around(names: list[bytes]) -> None:
    headers = [(name.replace(b"-", b"_", 1), b"x") for name in names if b"-" in name]
    received = read_fields([*headers, (b"x_own", b"1")], NAME)
    assert received.passed == [(b"x_own", b"1")]
    assert not received.forwarded


CLIENT = Hop("10.0.0.1", "https", "1.1", trusted=False)
PROXY = CLIENT._replace(trusted=True)


def test_forwarded_of_a_client() -> None:
    spoofed = [(name, b"spoofed") for name in sorted(FORWARDED)]
    assert forwarded_of([(b"host", b"a"), *spoofed], CLIENT) == {
        b"forwarded": b"for=10.0.0.1;host=a;proto=https",
        b"x-forwarded-for": b"10.0.0.1",
        b"x-forwarded-proto": b"https",
        b"x-forwarded-host": b"a",
    }


def test_forwarded_of_a_trusted_proxy() -> None:
    given_ = [(name, b"before") for name in sorted(FORWARDED)]
    assert forwarded_of([(b"host", b"a"), *given_], PROXY, b"/p") == {
        b"forwarded": b"before, for=10.0.0.1;host=a;proto=https",
        b"x-forwarded-for": b"before, 10.0.0.1",
        b"x-forwarded-proto": b"before",
        b"x-forwarded-host": b"before",
        b"x-forwarded-prefix": b"before/p",
        b"x-forwarded-port": b"before",
        b"x-forwarded-server": b"before",
        b"x-real-ip": b"before",
    }


def test_forwarded_in_several_fields() -> None:
    headers = [(b"x-forwarded-for", b"1.1.1.1"), (b"x-forwarded-for", b"2.2.2.2, 3.3.3.3")]
    value = forwarded_of(headers, PROXY)[b"x-forwarded-for"]
    assert value == b"1.1.1.1, 2.2.2.2, 3.3.3.3, 10.0.0.1"


@pytest.mark.parametrize(
    ("client", "node", "plain"),
    [
        ("::1", b'"[::1]"', b"::1"),
        ("fe80::1%eth0", b'"[fe80::1%eth0]"', b"fe80::1%eth0"),
        ("", b"unknown", b"unknown"),
    ],
)
def test_forwarded_nodes(client: str, node: bytes, plain: bytes) -> None:
    """IPv6 in brackets and quotes (RFC 7239 section 6), and a client without an address."""
    fields = forwarded_of([(b"host", b"[::1]:80")], CLIENT._replace(client=client))
    assert fields[b"forwarded"] == b"for=" + node + b';host="[::1]:80";proto=https'
    assert fields[b"x-forwarded-for"] == plain


def test_forwarded_without_a_host() -> None:
    fields = forwarded_of([], CLIENT)
    assert fields[b"forwarded"] == b"for=10.0.0.1;proto=https"
    assert b"x-forwarded-host" not in fields


def test_via() -> None:
    fields: Fields = []
    add_via(fields, b"", "1.1", NAME)
    add_via(fields, b"1.0 x", "2", NAME)
    assert fields == [(b"via", b"1.1 gateway"), (b"via", b"1.0 x, 2 gateway")]


@pytest.mark.parametrize(
    ("headers", "status", "expected"),
    [
        ([(b"Content-Length", b"5")], 200, [(b"content-length", b"5")]),
        ([(b"Content-Length", b"5"), (b"content-length", b"5")], 200, [(b"content-length", b"5")]),
        ([(b"Content-Length", b"5")], 204, []),
        ([(b"Content-Length", b"5"), (b"ETag", b"x")], 304, [(b"etag", b"x")]),
        ([(b"Content-Length", b"5"), (b"Transfer-Encoding", b"chunked")], 200, []),
        ([(b"Transfer-Encoding", b"chunked"), (b"Content-Length", b"5")], 200, []),
        ([(b"X-Request-ID", b"5"), (b"Set-Cookie", b"a"), (b"Set-Cookie", b"b")], 200,
         [(b"set-cookie", b"a"), (b"set-cookie", b"b")]),
    ],
)  # fmt: skip
def test_response_fields(headers: Fields, status: int, expected: Fields) -> None:
    assert response_fields(headers, status) == (expected, b"")


def test_via_of_a_response() -> None:
    assert response_fields([(b"Via", b"1.0 x"), (b"via", b"1.1 y")], 200) == ([], b"1.0 x, 1.1 y")


@pytest.mark.parametrize(
    ("values", "left"),
    [([b"1"], b"0"), ([b"10"], b"9"), ([b"007"], b"6"), ([b"9999"], b"9998"),
     ([b"10000"], b"9999"), ([b"9" * 60000], b"9999"), ([b"0"], None), ([b"000"], None)],
)  # fmt: skip
def test_max_forwards_is_counted_down(values: list[bytes], left: bytes | None) -> None:
    headers = [(b"max-forwards", value) for value in values]
    received = read_fields([*headers, (b"a", b"b")], NAME)
    assert received.hops
    assert count_down(received) == (left is not None)
    if left is not None:
        assert received.passed == [(b"a", b"b"), (b"max-forwards", left)]


@pytest.mark.parametrize("values", [[b""], [b"-1"], [b"+1"], [b"1.0"], [b"1, 1"], [b"1", b"1"]])
def test_max_forwards_that_is_no_number(values: list[bytes]) -> None:
    received = read_fields([(b"max-forwards", value) for value in values], NAME)
    with pytest.raises(BadRequest, match="Max-Forwards"):
        count_down(received)


def test_max_forwards_that_concerns_one_connection() -> None:
    received = read_fields([(b"connection", b"max-forwards"), (b"max-forwards", b"0")], NAME)
    assert count_down(received)
    assert received.passed == []


def test_names_are_remembered_up_to_a_limit() -> None:
    """An upstream that makes names up fills no memory."""
    from httpcore_gateway import _fields

    for number in range(_fields.MAX_NAMES + 10):
        name = b"X-%d" % number
        assert response_fields([(name, b"")], 200)[0] == [(name.lower(), b"")]
    assert len(_fields._names) <= _fields.MAX_NAMES


def test_what_is_remembered_of_a_client_is_its_own() -> None:
    """The fields are made once for each client, scheme and host, and nobody changes them."""
    for client in ("192.0.2.1", "192.0.2.2", "192.0.2.1"):
        for scheme in ("http", "https"):
            for host in (b"a", b"b", b"h" * (MAX_KNOWN_HOST + 1)):
                found = forwarded_of([(b"host", host)], Hop(client, scheme, "1.1", False))
                assert found == {
                    b"forwarded": b"for=%b;host=%b;proto=%b"
                    % (client.encode(), host, scheme.encode()),
                    b"x-forwarded-for": client.encode(),
                    b"x-forwarded-proto": scheme.encode(),
                    b"x-forwarded-host": host,
                }
    known = _fields._describe_client.cache_info()
    assert known.maxsize == MAX_KNOWN_CLIENTS
    forwarded_of([(b"host", b"h" * (MAX_KNOWN_HOST + 1))], Hop("192.0.2.3", "http", "1.1", False))
    assert _fields._describe_client.cache_info() == known  # a long host is not remembered
