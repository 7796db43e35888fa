"""httpcore under requests: an adapter, and two ways to have it everywhere.

session.mount("https://", httpcore_requests.HTTPAdapter())   # this session
session = httpcore_requests.Session(timeout=10)              # a session made with it
httpcore_requests.install(timeout=10)                        # every session from now on

`phase(exc)` says of what a session raised whether the server may have acted on the request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

# Before all others: it says in one sentence that there is no requests, or an old one.
from . import _requirements as _requirements

# isort: split

import requests
import requests.adapters
import requests.sessions

from ._adapter import HTTPAdapter
from ._errors import phase
from ._response import Response
from ._session import Session
from ._session_genuine import STOCK_SESSION
from ._settings import set_installed
from ._timeout import Timeout

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._settings import AdapterOptions

__all__ = ["HTTPAdapter", "Response", "Session", "Timeout", "install", "uninstall", "phase"]

_stock = requests.adapters.HTTPAdapter
_modules: tuple[Any, ...] = (requests.adapters, requests.sessions)
_session_modules: tuple[Any, ...] = (requests, requests.sessions)


def install(*, session: bool = False, **options: Unpack[AdapterOptions]) -> None:
    """Make every new `requests.Session`, and ``requests.get`` and its kin, use `HTTPAdapter`.

    Sessions that exist keep what they have. The last call decides.

    Parameters:
        session: True puts `Session` in the place of `requests.Session` too, so that each request
            takes a third of the time. That holds for those who get the class from ``requests``
            from now on, which ``requests.get`` does each time. It is not the default because a
            class is held in more places than an adapter: what was derived or imported from
            requests before stays as it is, sessions that exist are no instances of the new class
            and cannot be pickled until `uninstall()`, and a tool that replaces methods of
            `requests.Session` reaches those of one of the two. A program that calls it before
            it imports anything that uses requests has none of this.
        options: those of `HTTPAdapter`, by name, such as ``timeout=10``. Each adapter that is made
            from now on has them, also one that a library makes, except where its own arguments
            say otherwise.

    Raises TypeError or ValueError for an option that cannot be; nothing is installed then.
    """
    set_installed(**options)
    for module in _modules:
        module.HTTPAdapter = HTTPAdapter
    for module in _session_modules:
        module.Session = Session if session else STOCK_SESSION


def uninstall() -> None:
    """Undo `install()`, its options, too; sessions made meanwhile keep their adapters."""
    set_installed()
    for module in _modules:
        module.HTTPAdapter = _stock
    for module in _session_modules:
        module.Session = STOCK_SESSION


for _public in (HTTPAdapter, Response, Session, Timeout, install, uninstall, phase):
    _public.__module__ = "httpcore_requests"
del _public
