"""Look-ups with a time limit: each in a thread of its own, shared and bounded in number.

Owns: those threads, and which callers wait for which, be it threads or tasks of an event loop. Must
not know: names, addresses, sockets.

getaddrinfo(3) has no time limit and cannot be ended. So where there is a limit it runs in a
thread, and when time is over the caller goes on without it. Name servers that never answer must
not make such threads pile up:

- For the same question there is one at a time. Other callers that ask it meanwhile wait for that
  one, each with its own limit. No answer is kept: a caller after its end asks anew.
- Of all questions, `MAX_LOOKUPS` are asked at a time; the others wait for their turn, in order.
- Where no thread can be started, the question is asked in the calling thread, without a limit.
- A look-up inside a look-up (of a resolver that sends requests) stays in its thread: it has its
  turn already, and the caller outside has the limit.

A signal handler may send a request in the thread that it interrupted. So nothing here takes a lock
that this thread may hold: each operation on the dict of look-ups is one step, and a waiter's lock
is acquired by the waiter alone.

Sources: getaddrinfo(3); `threading.Thread.start` for when it raises RuntimeError.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from .._core.deadline import uncounted
from .._exceptions import ConnectError, ConnectTimeout, NameResolutionError
from .event_loops import EventLoop
from .fork import renew_in_child
from .interrupt import clear_task_waker, clear_waker, set_task_waker, set_waker

# Look-ups at once. A busy program seldom has more than some dozens under way. With dead name
# servers each takes up to half a minute (resolv.conf(5): 5 s, two attempts, three servers), and
# containers may allow as little as some hundred threads.
MAX_LOOKUPS = 100

# Seconds. A waiter is woken; should the thread that was to wake it be interrupted before it could,
# the waiter looks by itself.
MAX_SLEEP = 1.0

FOREVER = float("inf")  # seconds, for a look-up without a limit

T = TypeVar("T")

# The result of a look-up that was given up before it began.
_ABANDONED: Any = object()


class _Waiter:
    """A thread that waits. Unlike with `threading.Event`, a signal handler may wake the thread that
    it interrupted, at any place."""

    __slots__ = ("_wakeup", "ended")

    def __init__(self) -> None:
        self._wakeup = threading.Lock()
        self._wakeup.acquire()
        self.ended = False  # another thread wants it to wait no longer

    def wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # it was woken already
            self._wakeup.release()

    def end(self) -> None:
        self.ended = True
        self.wake()

    def wait(self, seconds: float) -> bool:
        """Return whether it was woken within `seconds`."""
        return self._wakeup.acquire(timeout=seconds)


class _TaskWaiter:
    """A task of an event loop that waits."""

    __slots__ = ("_waker", "ended")

    def __init__(self, loop: EventLoop) -> None:
        self._waker = loop.make_waker()
        self.ended = False

    def wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # its loop is gone
            self._waker.release()

    def end(self) -> None:
        self.ended = True
        self.wake()

    async def wait(self, seconds: float | None) -> bool:
        """Return whether it was woken within `seconds`."""
        return await self._waker.acquire(seconds)


class _Lookup:
    """One question, and the callers that wait for the answer.

    Attributes:
        seconds: the limit of the caller that began it.
        owner: the thread that begins it, and is to start it.
        started: a thread asks.
        results: what `work` returned or raised; empty until then.
    """

    __slots__ = ("key", "owner", "results", "seconds", "started", "waiters", "work")

    def __init__(self, key: Hashable, work: Callable[[], object], seconds: float) -> None:
        self.key = key
        self.work = work
        self.seconds = seconds
        self.owner = threading.get_ident()
        self.started = False
        self.results: list[Any] = []
        self.waiters: dict[_Waiter | _TaskWaiter, None] = {}

    def run(self) -> None:
        self.started = True
        try:
            result = self.work()
        except BaseException as exc:
            # Without this frame, which refers to it.
            result = exc.with_traceback(exc.__traceback__ and exc.__traceback__.tb_next)
        self.end(result)
        # The frames of a failure lead here, from inside, and the failure is in both of these.
        del result, self

    def end(self, result: object) -> None:
        """Hand `result` to all that wait. Whoever comes from now on asks anew."""
        self.results.append(result)
        _remove(self)
        self.wake()

    def wake(self) -> None:
        for waiter in list(self.waiters):
            waiter.wake()


class _Registry:
    """All look-ups that are under way or wait for their turn, in the order in which they came, and
    the threads that ask."""

    def __init__(self) -> None:
        self._renew_in_child()
        renew_in_child(self)

    def _renew_in_child(self) -> None:
        """Begin anew in the child of a fork, which has none of these threads."""
        self.lookups: dict[Hashable, _Lookup] = {}
        self.threads: set[int] = set()


_registry = _Registry()


def in_time(work: Callable[[], T], key: Hashable, host: str, seconds: float) -> T:
    """Return `work()`, or what it returns to another caller that began it for the same `key`.

    Parameters:
        host: for error texts.
        seconds: the limit.

    Raises what `work` raises (NameResolutionError in its place, where another caller began it),
    ConnectTimeout after `seconds`, and ConnectError when another thread ends it by `interrupt`.
    """
    if threading.get_ident() in _registry.threads:
        return work()
    result: T | BaseException = _ask(work, key, host, seconds)
    if not isinstance(result, BaseException):
        return result
    try:
        raise result
    finally:
        del result  # it refers to this frame


async def in_time_for_task(
    loop: EventLoop, work: Callable[[], T], key: Hashable, host: str, seconds: float | None
) -> T:
    """Do as `in_time` does for a task of `loop`, which goes on with others meanwhile; without a
    limit, too (`seconds` is None)."""
    limit = FOREVER if seconds is None else seconds
    end = time.monotonic() + limit
    while True:
        mine = _Lookup(key, work, limit)
        try:
            found = _enter(mine)
            await _wait_in_task(loop, found, mine, host, end)
        except BaseException:
            if not mine.started:
                mine.end(_ABANDONED)
            raise
        result: T | BaseException = found.results[0]
        failed = isinstance(result, BaseException)
        if found is not mine and (result is _ABANDONED or failed):
            if result is _ABANDONED or (found.seconds < limit and time.monotonic() < end):
                continue  # as in `_ask`
            result = _copy(found.results[0], host)
        if not isinstance(result, BaseException):
            return result
        try:
            raise result
        finally:
            del result, found, mine  # all of them refer to this frame


async def _wait_in_task(
    loop: EventLoop, found: _Lookup, mine: _Lookup, host: str, end: float
) -> None:
    """Do as `_wait` does, for a task."""
    waiter = _TaskWaiter(loop)
    set_task_waker(waiter.end)
    found.waiters[waiter] = None
    try:
        while True:
            if found is mine and not mine.started and _has_its_turn(mine):
                _start(mine, f"look up {host}")
            if found.results:
                return
            if waiter.ended:
                raise ConnectError(f"look up {host} failed: another thread ended it")
            left = end - time.monotonic()
            if left <= 0:
                raise ConnectTimeout(_explain(found, host, mine.seconds))
            await waiter.wait(None if left == FOREVER else left)
    finally:
        found.waiters.pop(waiter, None)
        clear_task_waker()


def _ask(work: Callable[[], object], key: Hashable, host: str, seconds: float) -> Any:
    """Return what `work` returned or raised, here or for another caller."""
    end = time.monotonic() + seconds
    while True:
        mine = _Lookup(key, work, seconds)
        try:
            found = _enter(mine)
            end = _wait(found, mine, host, seconds, end)
        except BaseException:
            if not mine.started:
                mine.end(_ABANDONED)  # others that wait for it begin one of their own
            raise
        result = found.results[0]
        if found is mine or not (result is _ABANDONED or isinstance(result, BaseException)):
            return result
        # It may have failed because its caller had less time than there is here.
        if result is not _ABANDONED and (found.seconds >= seconds or time.monotonic() >= end):
            return _copy(result, host)


def _enter(mine: _Lookup) -> _Lookup:
    """Return the look-up that is under way for the same question, or `mine`, which is now."""
    found = _registry.lookups.setdefault(mine.key, mine)
    if found is mine or found.started or found.owner != mine.owner:
        return found
    # This is a signal handler, and the thread that it interrupted was about to start that one.
    mine.key = mine.key, object()
    return _registry.lookups.setdefault(mine.key, mine)


def _wait(found: _Lookup, mine: _Lookup, host: str, seconds: float, end: float) -> float:
    """Wait until `found` has a result, and start it if it is `mine`, when its turn has come.

    Returns `end`, which comes nearer where the clock stands still.
    """
    waiter = _Waiter()
    set_waker(waiter.end)
    found.waiters[waiter] = None
    try:
        while True:
            if found is mine and not mine.started and _has_its_turn(mine):
                _start(mine, f"look up {host}")
            if found.results:
                return end
            if waiter.ended:
                raise ConnectError(f"look up {host} failed: another thread ended it")
            now = time.monotonic()
            left = min(end - now, MAX_SLEEP)
            if left <= 0:
                raise ConnectTimeout(_explain(found, host, seconds))
            if not waiter.wait(left):
                end -= uncounted(now, left, time.monotonic())
    finally:
        found.waiters.pop(waiter, None)
        clear_waker()


def _has_its_turn(lookup: _Lookup) -> bool:
    lookups = _registry.lookups
    return len(lookups) <= MAX_LOOKUPS or lookup in list(lookups.values())[:MAX_LOOKUPS]


def _start(lookup: _Lookup, name: str) -> None:
    """Ask in a thread, or in this one where none can be started."""
    thread = threading.Thread(target=_run, args=(lookup,), name=name, daemon=True)
    try:
        thread.start()
    except (RuntimeError, MemoryError):
        # The process may have no more threads, or none any more: the interpreter shuts down. From
        # now on no caller joins, for it could be a handler in this very thread.
        _remove(lookup)
        lookup.run()
    lookup.started = True


def _run(lookup: _Lookup) -> None:
    thread = threading.get_ident()
    threads = _registry.threads
    threads.add(thread)
    try:
        lookup.run()
    finally:
        threads.discard(thread)
        del lookup  # likewise


def _remove(lookup: _Lookup) -> None:
    """Take it off the list, and wake those whose turn has come by that."""
    lookups = _registry.lookups
    if lookups.get(lookup.key) is lookup:
        lookups.pop(lookup.key, None)
    for each in list(lookups.values())[:MAX_LOOKUPS]:
        if not each.started:
            each.wake()


def _explain(found: _Lookup, host: str, seconds: float) -> str:
    text = f"look up {host} timed out after {seconds:.3g} s"
    if found.started:
        return text
    return f"{text}: its turn did not come, {MAX_LOOKUPS} others are still under way"


def _copy(failure: BaseException, host: str) -> NameResolutionError:
    """Return the failure of a look-up for one more caller, who may change it."""
    known = isinstance(failure, NameResolutionError)
    copy = NameResolutionError(str(failure) if known else f"look up {host} failed: {failure!r}")
    copy.__cause__ = failure.__cause__ if known else failure
    return copy
