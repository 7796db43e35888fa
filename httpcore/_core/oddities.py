"""The oddities of responses that are read leniently: logged once for each peer and kind.

Owns: the log of it, and which were logged. Must not know: what is odd, and how it is read.

A server that writes a field badly does so in each response, and nobody wants a line for each.
"""

from __future__ import annotations

import logging

MAX_LOGGED = 1000
"""Pairs of peer and kind that are remembered. Then all are forgotten: a crawler that meets more
gets a few lines again."""

_logger = logging.getLogger("httpcore.http11")

_logged: set[tuple[object, str]] = set()


def report(peer: object, kind: str) -> None:
    """Log `kind` as a warning, unless it was logged for `peer`.

    Parameters:
        peer: the origin that sent it. With None, which stands for no peer that is known, it is
            always logged.
        kind: a sentence without values: they may be secrets. There are a few dozen.

    Thread-safe: two threads may both log it.
    """
    if peer is None:
        _logger.warning("%s", kind)
        return
    if (peer, kind) in _logged:
        return
    if len(_logged) >= MAX_LOGGED:
        _logged.clear()
    _logged.add((peer, kind))
    _logger.warning("%s (from %s; not logged again)", kind, peer)
