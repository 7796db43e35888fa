"""Digest authentication, by requests.

Owns: how a challenge of a server becomes a field of the next request. Must not know: when it is
sent; `sending` does.

Sources: RFC 7616; `requests.auth.HTTPDigestAuth`, which is loaded when a challenge arrives.
"""

from __future__ import annotations

from typing import Any

import httpcore

from .options import Auth, usage
from .text import of_bytes


def challenge_of(response: httpcore.Response) -> str | None:
    """Return what a 401 wants to know by Digest; None where it asks for nothing of that kind."""
    if response.status != 401:
        return None
    for name, value in response.headers:
        scheme, _, rest = of_bytes(value).strip().partition(" ")
        if name.lower() == b"www-authenticate" and scheme.lower() == "digest":
            return rest
    return None


def answer(auth: Auth, challenge: str, method: str, url: httpcore.URL) -> bytes:
    """Return the value of Authorization that answers `challenge`."""
    try:
        from requests.auth import HTTPDigestAuth
        from requests.utils import parse_dict_header
    except ModuleNotFoundError as exc:
        raise usage(
            f"--digest needs the package {exc.name!r}: pip install 'httpcore[requests]'"
        ) from exc
    user, password = (part.decode("utf-8", "surrogateescape") for part in auth)

    class Challenged(HTTPDigestAuth):
        def __init__(self) -> None:
            super().__init__(user, password)
            self.init_per_thread_state()
            parts = parse_dict_header(challenge)  # type: ignore[no-untyped-call]
            self._thread_local.chal = parts  # type: ignore[attr-defined]

    digest: Any = Challenged()
    try:
        made = digest.build_digest_header(method, str(url))
    except KeyError:  # without a realm or a nonce
        made = None
    if made is None:
        raise httpcore.RemoteProtocolError("the server's Digest challenge cannot be answered")
    return str(made).encode("utf-8", "surrogateescape")
