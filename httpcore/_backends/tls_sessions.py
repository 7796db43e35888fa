"""TLS sessions that can be resumed: the second handshake with a server is a short one.

Owns: the sessions of each context. Must not know: sockets, pools, HTTP.

A resumed session skips the certificates: they were checked when it was made. So it is offered
only under the same context, for the same name and on the same road. A new context, such as the
one that is built when a CA bundle was rewritten, begins with none.

Sources: RFC 8446 section 2.2 (TLS 1.3: a ticket comes after the handshake), RFC 5077 and RFC
5246 section 7.3 (TLS 1.2), the ssl module's `SSLSession`.
"""

from __future__ import annotations

import time
import weakref
from typing import Any

# Sessions kept for one context, a few kB each (they hold the server's certificates). More than
# most programs have servers; past it, the one that was kept first goes.
MAX_SESSIONS = 256

# Seconds for which one session serves all new connections. Reading a session costs CPython as much
# as half a handshake: it writes the whole of it out and reads it in again. RFC 8446 appendix C.4
# would rather have each ticket used once, lest somebody tells that two connections are of one
# client; within a minute, from one address, he can tell anyhow.
REFRESH = 60.0

Key = tuple["str | None", str]  # the name that was checked, and who is at the other end

# Every step here is one operation on a dict, so there is no lock to be held over a fork.
_kept: weakref.WeakKeyDictionary[Any, dict[Key, tuple[Any, float]]] = weakref.WeakKeyDictionary()


def session_for(context: Any, key: Key) -> Any:
    """The session to offer, an `ssl.SSLSession`, or None."""
    try:
        sessions = _kept.get(context)
    except TypeError:  # a context of the caller's own make, that cannot be a key
        return None
    kept = None if sessions is None else sessions.get(key)
    return None if kept is None else kept[0]


def keep_session(context: Any, key: Key, tls: Any) -> None:
    """Keep what `tls`, an `ssl.SSLSocket` or `ssl.SSLObject`, can be resumed with.

    Call it when the peer has answered: a TLS 1.3 ticket comes with or after its first data.
    """
    now = time.monotonic()
    try:
        sessions = _kept.setdefault(context, {})
    except TypeError:
        return
    kept = sessions.get(key)
    if kept is not None and now - kept[1] < REFRESH and getattr(tls, "session_reused", False):
        return
    session = getattr(tls, "session", None)
    if session is None or not (session.has_ticket or session.id):
        return
    sessions[key] = session, now
    while len(sessions) > MAX_SESSIONS:
        sessions.pop(next(iter(sessions), key), None)


def forget_session(context: Any, key: Key) -> None:
    """The peer did not like it; the next handshake is a full one."""
    try:
        _kept.get(context, {}).pop(key, None)
    except TypeError:
        pass
