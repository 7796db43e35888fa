"""TLS sessions that can be resumed: the second handshake with a server is a short one.

Owns: the sessions of each context. Must not know: sockets, pools, HTTP.

A resumed session skips the certificates of both sides: they were checked when it was made. So it
is offered only where all that decided on them is the same: the context and its settings, the name,
and the path. A context that its owner may change in what cannot be read from it, such as the client
certificate, is none to resume on: see `httpcore.resume_tls_sessions`.

Sources: RFC 8446 section 2.2 (TLS 1.3: a ticket comes after the handshake), RFC 5077 and RFC
5246 section 7.3 (TLS 1.2), the ssl module's `SSLSession`.
"""

from __future__ import annotations

import contextlib
import ssl
import time
import weakref
from collections.abc import Callable
from operator import attrgetter
from typing import Any

from .._ssl import resumes_tls_sessions

# Sessions kept for one context, a few kB each (they hold the server's certificates). More than
# most programs have servers; past it, the one that was kept first goes.
MAX_SESSIONS = 256

# Seconds for which one session serves all new connections. Reading a session costs CPython as much
# as half a handshake: it writes the whole of it out and reads it in again. RFC 8446 appendix C.4
# would rather have each ticket used once, so that an observer cannot see that two connections are
# of one client; within a minute, from one address, that can be seen anyhow.
REFRESH = 60.0

# What of a context decides how a server is checked, and can be read from it.
_SETTINGS = (
    "verify_mode",
    "check_hostname",
    "verify_flags",
    "minimum_version",
    "maximum_version",
    "options",
    "hostname_checks_common_name",
)

# The ssl module makes an enumeration of most of them at each look, which costs ten times as much as
# the number that its base class has.
_BASE = vars(ssl.SSLContext.__mro__[1])
_READERS: list[Callable[[object], object]] = [
    _BASE[name].__get__ if name in _BASE else attrgetter(name) for name in _SETTINGS
]

# The name that was checked, the name of the other end, and the settings at that time.
Key = tuple[object, ...]

# By key: an `ssl.SSLSession` or what another make has for it, and when it was kept.
Sessions = dict[Key, tuple[Any, float]]

# Every step here is one operation on a dict, so there is no lock to be held over a fork.
_kept: weakref.WeakKeyDictionary[object, Sessions] = weakref.WeakKeyDictionary()

# Resuming only saves time: whatever goes wrong with it, with contexts and sockets of other makes
# too, must not fail a request.
_never_fails = contextlib.suppress(Exception)


def session_key(context: object, name: str | None, peer: str) -> Key | None:
    """Return the key under which a session has to be kept to be resumed by a connection made with
    `context` as it is now; None where none is to be resumed."""
    if not resumes_tls_sessions(context):
        return None
    with _never_fails:
        if type(context) is ssl.SSLContext:
            return (name, peer, *[read(context) for read in _READERS])
        return (name, peer, *[getattr(context, setting, None) for setting in _SETTINGS])
    return None


def session_for(context: object, key: Key | None) -> Any:
    """Return the session to offer, an `ssl.SSLSession`, or None."""
    if key is None:
        return None
    with _never_fails:
        kept = _kept.get(context, {}).get(key)
        return None if kept is None else kept[0]
    return None


def offer_session(context: object, key: Key | None, tls: Any) -> None:
    """Have `tls`, an `ssl.SSLSocket` or `ssl.SSLObject` before its handshake, resume a session."""
    with _never_fails:
        session = session_for(context, key)
        if session is not None:
            tls.session = session


def keep_session(context: object, key: Key | None, tls: object) -> None:
    """Keep what `tls`, an `ssl.SSLSocket` or `ssl.SSLObject`, can be resumed with.

    Call it when the peer has answered: a TLS 1.3 ticket comes with or after its first data.
    """
    if key is not None:
        with _never_fails:
            _keep(_kept.setdefault(context, {}), key, tls)


def _keep(sessions: Sessions, key: Key, tls: object) -> None:
    now = time.monotonic()
    kept = sessions.get(key)
    if kept is not None and now - kept[1] < REFRESH and getattr(tls, "session_reused", False):
        return
    session = getattr(tls, "session", None)
    if session is None or not (session.has_ticket or session.id):
        return
    sessions[key] = session, now
    while len(sessions) > MAX_SESSIONS:
        sessions.pop(next(iter(sessions), key), None)


def forget_session(context: object, key: Key | None) -> None:
    """Drop a session that the peer did not accept; the next handshake is a full one."""
    if key is not None:
        with _never_fails:
            _kept.get(context, {}).pop(key, None)
