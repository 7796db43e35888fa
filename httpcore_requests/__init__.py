"""httpcore under requests: an adapter, and two ways to have it everywhere.

session.mount("https://", httpcore_requests.HTTPAdapter())   # this session
session = httpcore_requests.Session()                        # a session made with it
httpcore_requests.install()                                  # every session from now on
"""

from __future__ import annotations

from typing import Any

import requests.adapters
import requests.sessions

from ._adapter import HTTPAdapter

__all__ = ["HTTPAdapter", "Session", "install", "uninstall"]

_stock = requests.adapters.HTTPAdapter
_modules: tuple[Any, ...] = (requests.adapters, requests.sessions)


class Session(requests.Session):
    """A `requests.Session` with `HTTPAdapter` mounted; all else is requests' own."""

    def __init__(self) -> None:
        super().__init__()
        self.mount("https://", HTTPAdapter())
        self.mount("http://", HTTPAdapter())


def install() -> None:
    """Make every new `requests.Session`, and ``requests.get`` and its kin, use `HTTPAdapter`.

    Sessions that exist keep what they have. Calling it again changes nothing.
    """
    for module in _modules:
        module.HTTPAdapter = HTTPAdapter


def uninstall() -> None:
    """Undo `install()`; sessions made meanwhile keep their adapters."""
    for module in _modules:
        module.HTTPAdapter = _stock


for _public in (HTTPAdapter, Session, install, uninstall):
    _public.__module__ = "httpcore_requests"
del _public
