"""Cassettes that are garbled.

Owns: what has to hold of any file. Must not know: the format, which its own tests know.

An input is the file.

What has to hold
----------------
- Reading it raises CassetteError, or gives exchanges; nothing else.
- What was read can be filtered and written, and gives the same exchanges again.
- What is kept of a file that ends in the middle is read alike without its torn end.
"""

from __future__ import annotations

import warnings
from dataclasses import replace

from httpcore._testing.cassettes.exchange import CassetteError, Exchange
from httpcore._testing.cassettes.file import header_line, read_contents, to_lines
from httpcore._testing.cassettes.filters import Filters

TOKENS = (
    b'{"cassette": "httpcore", "version": 1}\n', b'{"request": "GET http://a/"}\n',
    b'{"header": "A: b"}\n', b'{"response": "HTTP/1.1 200 OK"}\n', b'{"end": "complete"}\n',
    b'{"end": "failed", "error": "ReadError", "text": "x"}\n', b'{"text": "x"}\n', b'{"json": ',
    b'{"base64": "AAA="}\n', b'{"raw": "sent", "text": "x"}\n', b'{"interim": "HTTP/1.1 103"}\n',
    b'{"stopped": true}\n', b'{"trailer": "A: b"}\n', b'{"comment": ""}\n', b"[", b"[[[[[[[[", b"]",
    b"{", b"}", b"\n", b"null", b"1e999", b"NaN", b'"\\ud800"', b"\xff", b"\xef\xbb\xbf", b"{}",
    b'"', b"\\", b'"error": []', b"true", b"-0", b'"spaces": true', b'"newline": 1',
)  # fmt: skip


def one(data: bytes) -> None:
    """Try one input; see the top of the module."""
    try:
        contents = read_contents(data, "c.jsonl")
    except CassetteError as exc:
        assert str(exc).startswith("c.jsonl, line ")
        return
    assert contents.sound <= len(data)
    again = read_contents(data[: contents.sound], "c.jsonl")
    assert again.exchanges == contents.exchanges and not again.torn
    written = header_line() + b"".join(map(to_lines, contents.exchanges))
    read = read_contents(written, "c.jsonl")
    assert list(map(comparable, read.exchanges)) == list(map(comparable, contents.exchanges))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for exchange in contents.exchanges:
            try:
                filtered = Filters().apply(exchange)
            except CassetteError:
                continue
            read_contents(header_line() + to_lines(filtered), "c.jsonl")


def comparable(exchange: Exchange) -> Exchange:
    """Return it without where it stood, and with raw pieces of one direction joined: they are
    written a line each."""
    joined: list[tuple[str, bytes]] = []
    for direction, data in exchange.raw:
        before = joined.pop()[1] if joined and joined[-1][0] == direction else b""
        joined.append((direction, before + data))
    return replace(exchange, line=0, raw=joined)
