"""Loading modules when they are first used: those of the public names, h2, h11.

Owns: the lock that is held meanwhile. Must not know: what is loaded, and how.

Loading takes as long as a request. Two things may happen meanwhile:

- Another thread forks. The child has no thread that would go on with it, and the locks of the
  modules that are half loaded stay held there for ever. So a fork waits until all is loaded.
- A signal handler or a destructor strikes in this thread, and wants to use the package. Loading it
  inside of itself runs modules twice, whose classes are not the same then. So that is refused.

Sources: `os.register_at_fork`; the import locks of `importlib`.
"""

from __future__ import annotations

import os
from _thread import RLock
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_lock = RLock()
_loaded: set[str] = set()
_forks_wait = not hasattr(os, "register_at_fork")  # as on Windows, which has no fork


def load_once(name: str, load: Callable[[], object]) -> None:
    """Call `load`, as `while_loading` does, unless that was done for `name` before; then no lock is
    taken."""
    if name not in _loaded:
        while_loading(name, load)
        _loaded.add(name)


def while_loading(name: str, load: Callable[[], T]) -> T:
    """Return what `load` returns, which is for `name`; forks wait meanwhile.

    Raises ImportError where this thread has been interrupted in the middle of loading. Thread-safe.
    """
    if _is_owned():
        raise ImportError(
            f"{name} cannot be loaded by a signal handler or a destructor that has "
            "interrupted the loading of httpcore: use it once before, such as by making a pool"
        )
    if not _forks_wait:
        _let_forks_wait()
    with _lock:
        return load()


def _is_owned() -> bool:
    owned: bool = _lock._is_owned()  # type: ignore[attr-defined]
    return owned


def _let_forks_wait() -> None:
    """Register it at the first loading; twice, by two threads, does no harm."""
    global _forks_wait
    # What is registered last is called first. logging has a lock that a fork takes as well, and
    # what is loaded may need: that has to be taken after we have waited.
    import logging  # noqa: F401

    os.register_at_fork(before=_wait, after_in_child=_renew)
    _forks_wait = True


def _wait() -> None:
    """Wait before a fork until nothing is being loaded."""
    # Not kept until after the fork, which waits for locks of others now: a thread that has one of
    # these may be about to load something.
    with _lock:
        pass


def _renew() -> None:
    """In the child of a fork: another thread may have begun to load in the last moment."""
    global _lock
    if not _is_owned():
        _lock = RLock()
