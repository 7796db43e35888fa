"""Bytes cut into pieces, as a network does.

Owns: that the same number cuts the same bytes alike.
"""

from __future__ import annotations

import random

#: Sizes of pieces, in bytes: one at a time, small ones, and what one read takes.
SIZES = ((1,), (1, 2, 3), (1, 7, 40, 400), (4096,))


def cut(data: bytes, number: int) -> list[bytes]:
    """Return `data` in pieces, none of them empty; `number` (0 to 255) says where it is cut."""
    choose = random.Random(number)
    sizes = SIZES[number % len(SIZES)]
    pieces = []
    at = 0
    while at < len(data):
        size = choose.choice(sizes)
        pieces.append(data[at : at + size])
        at += size
    return pieces
