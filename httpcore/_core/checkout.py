"""What to do with a connection that the Scheduler gave and that turns out not to be usable.

Owns: that decision. Must not know: locks, sleeping, how usability is found out.
"""

from __future__ import annotations

from typing import Any

DISCARD = "DISCARD"  # it has died while it was idle: close it, and ask for another one
HAND_BACK = "HAND_BACK"  # it can take no request for a moment: say so, give it back, ask again
GO_ASIDE = "GO_ASIDE"  # the interrupted code of this thread uses it: open one beside the books


def after_unusable(connection: Any) -> str:
    """Return what becomes of `connection`, an HTTP/1.1 or HTTP/2 connection which the Scheduler
    took for idle or for one with a free stream, and which is not usable."""
    if connection.protocol != "http2" or connection.is_draining:
        return DISCARD  # no other request is served on it, or those that are end it
    return GO_ASIDE if connection.is_occupied else HAND_BACK
