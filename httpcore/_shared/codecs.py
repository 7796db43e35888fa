"""Loading the codecs when a pool or a connection is made.

Owns: which modules their requests need beside those that are loaded already. Must not know: pools,
requests, how a fork is kept from striking in the middle of it (`_loading`).

It takes a while, which no request should wait for. Nor should it be left to a request that comes
from a destructor or a signal handler.
"""

from __future__ import annotations

from .._loading import load_once


def load_codecs(http2: bool) -> None:
    """Import h11 and our repairs, which read what our own codec leaves to them; and h2, for pools
    that speak `http2`."""
    load_once("h11", _import_h11)
    if http2:
        load_once("h2", _import_h2)


def _import_h11() -> None:
    import h11  # noqa: F401

    from .._core import h1_repairs  # noqa: F401


def _import_h2() -> None:
    from .._core import h2  # noqa: F401
