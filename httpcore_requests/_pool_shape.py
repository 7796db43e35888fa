"""The part of the object where requests expects a urllib3 pool that the rest of the adapter uses.

Owns: the names that errors, responses and the retry policy use. Must not know: how a request is
sent; `HostPool` does that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from urllib3.connectionpool import HTTPConnectionPool

if TYPE_CHECKING:
    from urllib3.util import Url


class PoolShape(HTTPConnectionPool):
    """A urllib3 pool that can say what errors call its peer, and which way a request goes."""

    peer: str
    proxy: Url | None

    def forwards(self, url: str) -> bool:
        """Return whether a proxy sends the request for `url` on itself: neither through a tunnel
        nor through SOCKS."""
        raise NotImplementedError
