"""Locks that the child of a fork must not inherit.

Owns: which of the adapter's objects have one, and their renewal. Must not know: what they guard.

Of all threads only the one that forked is in the child. A lock that another one held would stay
held there for ever, so each is replaced before any code of the child runs. What becomes of
connections is httpcore's own business.

Source: `os.register_at_fork`.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Any

_locks: dict[tuple[int, str], tuple[weakref.ref[Any], str, Callable[[], object]]] = {}


def renew_in_child(holder: object, name: str, make: Callable[[], object]) -> None:
    """Have the child of a fork set `holder.name` to `make()`, if it is there. The name may have
    dots in it."""
    key = id(holder), name  # the holder may be unhashable

    def forget(_: object, pop: Any = _locks.pop) -> None:
        pop(key, None)

    _locks[key] = (weakref.ref(holder, forget), name, make)


def _in_child() -> None:
    for reference, path, make in list(_locks.values()):
        *way, name = path.split(".")
        holder = reference()
        for step in way:
            holder = getattr(holder, step, None)
        if hasattr(holder, name):
            setattr(holder, name, make())


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_in_child)
