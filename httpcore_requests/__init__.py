"""httpcore under requests: an adapter, and two ways to have it everywhere.

session.mount("https://", httpcore_requests.HTTPAdapter())   # this session
session = httpcore_requests.Session()                        # a session made with it
httpcore_requests.install()                                  # every session from now on

`phase(exc)` says of what a session raised whether the server may have acted on the request.
"""

from __future__ import annotations

from typing import Any

import requests
import requests.adapters
import requests.sessions

from ._adapter import HTTPAdapter
from ._errors import phase
from ._session import Session
from ._session_genuine import STOCK_SESSION
from ._timeout import Timeout

__all__ = ["HTTPAdapter", "Session", "Timeout", "install", "uninstall", "phase"]

_stock = requests.adapters.HTTPAdapter
_modules: tuple[Any, ...] = (requests.adapters, requests.sessions)
_session_modules: tuple[Any, ...] = (requests, requests.sessions)


def install(*, session: bool = False) -> None:
    """Make every new `requests.Session`, and ``requests.get`` and its kin, use `HTTPAdapter`.

    Sessions that exist keep what they have. Calling it again changes nothing but that.

    Parameters:
        session: True puts `Session` in the place of `requests.Session` too, so that each request
            takes a third of the time. That holds for those who get the class from ``requests``
            from now on, which ``requests.get`` does each time. It is not the default because a
            class is held in more places than an adapter: what was derived or imported from
            requests before stays as it is, sessions that exist are no instances of the new class
            and cannot be pickled until `uninstall()`, and a tool that replaces methods of
            `requests.Session` reaches those of one of the two. A program that calls it before
            it imports anything that uses requests has none of this.
    """
    for module in _modules:
        module.HTTPAdapter = HTTPAdapter
    for module in _session_modules:
        module.Session = Session if session else STOCK_SESSION


def uninstall() -> None:
    """Undo `install()`; sessions made meanwhile keep their adapters."""
    for module in _modules:
        module.HTTPAdapter = _stock
    for module in _session_modules:
        module.Session = STOCK_SESSION


for _public in (HTTPAdapter, Session, Timeout, install, uninstall, phase):
    _public.__module__ = "httpcore_requests"
del _public
