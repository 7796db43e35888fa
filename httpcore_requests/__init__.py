"""httpcore under requests: an adapter, and two ways to have it everywhere.

session.mount("https://", httpcore_requests.HTTPAdapter())   # this session
session = httpcore_requests.Session()                        # a session made with it
httpcore_requests.install()                                  # every session from now on

`phase(exc)` says of what a session raised whether the server may have acted on the request.
"""

from __future__ import annotations

import threading
from typing import Any

import requests.adapters
import requests.sessions

from . import _fork
from ._adapter import HTTPAdapter
from ._errors import phase
from ._timeout import Timeout

__all__ = ["HTTPAdapter", "Session", "Timeout", "install", "uninstall", "phase"]

_stock = requests.adapters.HTTPAdapter
_modules: tuple[Any, ...] = (requests.adapters, requests.sessions)


class Session(requests.Session):
    """A `requests.Session` with `HTTPAdapter` mounted; all else is requests' own.

    ``http+unix://`` is mounted too: requests has no adapter for it, so nothing else changes.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Session:
        made = super().__new__(cls)
        # http.cookiejar locks the jar for each response that sets cookies.
        _fork.renew_in_child(made, "cookies._cookies_lock", threading.RLock)
        return made

    def __init__(self) -> None:
        super().__init__()
        self.mount("https://", HTTPAdapter())
        plain = HTTPAdapter()
        self.mount("http://", plain)
        self.mount("http+unix://", plain)


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


for _public in (HTTPAdapter, Session, Timeout, install, uninstall, phase):
    _public.__module__ = "httpcore_requests"
del _public
