"""A request through the gateway, called as a server would, where none sends such a thing.

Owns: scopes that the servers of the other tests do not make. Must not know: upstreams.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from httpcore_gateway import Gateway

URL = "http://127.0.0.1:1"


def call(scope: dict[str, Any], gateway: Gateway | None = None) -> tuple[int, Any]:
    """Return the status and the document of the gateway's own response."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    whole = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/",
        "query_string": b"",
        "headers": [(b"host", b"a")],
        "client": ("10.0.0.1", 1),
        **scope,
    }
    asyncio.run((gateway or Gateway([URL]))(whole, receive, send))
    start, *bodies = sent
    assert not bodies[-1].get("more_body")
    return start["status"], json.loads(b"".join(message["body"] for message in bodies))


@pytest.mark.parametrize(
    ("scope", "status", "says"),
    [
        ({"raw_path": "/é".encode()}, 400, "no valid HTTP"),
        ({"raw_path": b"/a b"}, 400, "no valid HTTP"),
        ({"raw_path": b"/", "query_string": b"a\r\nb"}, 400, "no valid HTTP"),
        ({"method": "GE T"}, 400, "no valid HTTP"),
        ({"headers": [(b"host", b"a"), (b"x y", b"1")]}, 400, "no valid HTTP"),
        ({"headers": [(b"host", b"a"), (b"x", b"1\r\ny: 2")]}, 400, "no valid HTTP"),
        ({"headers": [(b"host", b"a"), (b"x", b"1\x00")]}, 400, "no valid HTTP"),
        ({"raw_path": b""}, 400, "no path"),
        ({"raw_path": b"", "method": "CONNECT"}, 501, "tunnels"),
        ({"raw_path": b"ftp://a/"}, 400, "no path"),
        ({"raw_path": b"http://a@b/"}, 400, "no host"),
        ({"raw_path": b"*"}, 400, "no path"),
        ({"headers": []}, 400, "no Host"),
        ({"http_version": "0.9"}, 505, "version"),
        ({"http_version": "2.0"}, 505, "version"),
        ({"headers": [(b"host", b"a"), (b"content-length", b"3")]}, 400, "not as long"),
        ({"client": None, "http_version": "2", "headers": []}, 502, "could not be reached"),
    ],
)
def test_what_is_refused(scope: dict[str, Any], status: int, says: str) -> None:
    """None of it comes from a server that checks; and none of it reaches an upstream."""
    got, document = call(scope)
    assert (got, document["status"]) == (status, status)
    assert says in document["detail"]


def test_other_kinds_of_scopes() -> None:
    with pytest.raises(NotImplementedError, match="'other'"):
        asyncio.run(Gateway([URL])({"type": "other"}, None, None))  # type: ignore[arg-type]


def test_trust_is_remembered_for_so_many_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("httpcore_gateway._app.MAX_PEERS", 3)
    from tests.support.gateways import make_settings

    gateway = Gateway(settings=make_settings(URL, trusted=("10.0.0.0/8", "::1")))
    for _ in range(2):
        for number in range(5):
            assert gateway.trusts((f"10.0.0.{number}", 1))
            assert not gateway.trusts((f"11.0.0.{number}", 1))
    assert len(gateway._known_peers) == 3
    assert gateway.trusts(("::1", 1))
    assert gateway.trusts(("::ffff:10.0.0.9", 1))
    assert not gateway.trusts(("::ffff:11.0.0.9", 1))
    assert not gateway.trusts(("/run/socket", 1))
    assert not gateway.trusts(None)
    assert not Gateway([URL]).trusts(("10.0.0.1", 1))
