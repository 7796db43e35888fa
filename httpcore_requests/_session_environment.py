"""The environment's settings for a request: proxies, CA bundle, netrc.

Owns: a snapshot of the environment and what follows from it. Must not know: how requests are
prepared or sent.

requests reads all variables several times for each request. Here they are compared with a snapshot
instead, which notices any change; what follows from them is worked out by requests' own functions,
once for each snapshot (and host, where there are proxies). A netrc file may appear at any time, so
it is looked for at each request; where there is one, requests reads it.

There is no snapshot on macOS and Windows, where proxies may also come from the system's settings,
nor where ``os.environ`` was replaced.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import requests.sessions
import requests.utils

# requests' stubs leave out what is needed of these.
_sessions: Any = requests.sessions
_utils: Any = requests.utils

_ENVIRON: Any = os.environ

# The variables as the system has them; one comparison of these is all that a request costs.
_IS_KNOWN = (
    os.name == "posix"
    and sys.platform != "darwin"
    and type(_ENVIRON) is os._Environ
    and type(getattr(_ENVIRON, "_data", None)) is dict
)

# Tests replace methods of `os.environ` by attributes of that object.
_ATTRIBUTES = len(vars(_ENVIRON))
_NETRC_FILES = _utils.NETRC_FILES

# Hosts whose proxies are kept in mind. More than any program talks to at a time; past it they are
# forgotten and worked out again.
_MAX_HOSTS = 1024


class Environment:
    """The settings that follow from one state of the environment.

    Thread-safe: nothing of it changes but the notes on hosts, whose entries do not depend on
    who makes them.
    """

    __slots__ = ("_by_authority", "_data", "_netrc_paths", "_user", "ca_bundle", "has_proxies")

    def __init__(self, data: dict[bytes, bytes]) -> None:
        self._data = data
        self.has_proxies = bool(_utils.getproxies())
        #: What takes the place of ``verify=True``; None where no variable says anything.
        self.ca_bundle: str | None = (
            os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or None
        )
        self._user = os.getuid()
        self._netrc_paths = _netrc_paths()
        self._by_authority: dict[str, dict[str, str]] = {}

    def holds(self, data: dict[bytes, bytes]) -> bool:
        """Return whether `data` is the state that this was made from, for the same user."""
        return self._data == data and self._user == os.getuid()

    def proxies_for(self, authority: str) -> dict[str, str]:
        """Return the proxies for URLs that begin with `authority` ("http://host:port"); not to be
        changed."""
        found: Any = self._by_authority.get(authority)
        if found is None:
            if len(self._by_authority) >= _MAX_HOSTS:
                self._by_authority.clear()
            found = self._by_authority[authority] = _utils.get_environ_proxies(authority + "/")
        return found  # type: ignore[no-any-return]

    def netrc_auth(self, url: str) -> tuple[str, str] | None:
        """Return the user and password that a netrc file has for `url`."""
        paths = self._netrc_paths
        if paths is not None:
            for path in paths:
                if os.path.exists(path):
                    break
            else:
                return None
        return _sessions.get_netrc_auth(url)  # type: ignore[no-any-return]


def _netrc_paths() -> list[str] | None:
    """Return where requests looks for a netrc file; None where that is another user's home.

    Where there is no HOME, it is that of the user whose process this is.
    """
    named = os.environ.get("NETRC")
    if named is not None:
        return None if named.startswith("~") else [named]
    return [os.path.expanduser(f"~/{name}") for name in _utils.NETRC_FILES]


_last: Environment | None = None


def current() -> Environment | None:
    """Return the environment as it is now; None where no snapshot can be made of it."""
    global _last
    if (
        not _IS_KNOWN
        or os.environ is not _ENVIRON
        or len(_ENVIRON.__dict__) != _ATTRIBUTES
        or _utils.NETRC_FILES is not _NETRC_FILES
    ):
        return None
    data: dict[bytes, bytes] = _ENVIRON._data  # type: ignore[attr-defined]
    known = _last
    if known is not None and known.holds(data):
        return known
    made = Environment(data.copy())
    if not made.holds(data):
        return None  # changed meanwhile by another thread
    _last = made
    return made
