"""Look-ups with a time limit: shared, bounded in number, and without a thread where there is none.

Owns: `httpcore._backends.lookup_threads`, by way of `look_up`. Must not know: sockets.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import httpcore
from httpcore._backends import lookup_threads
from httpcore._backends.interrupt import Attempt, begin, end, interrupt
from httpcore._backends.tcp import look_up
from httpcore.exceptions import NameResolutionError
from tests.support import PATIENCE
from tests.support.forks import in_child
from tests.support.threads import Worker, until

SOON = 0.05

ADDRESS = "192.0.2.1"


class Resolver:
    """Answers when it is let; counts how often it was asked, and in how many threads at once."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answer: Any = [ADDRESS]
        self.open = threading.Event()

    def __call__(self, host: str, port: int, timeout: float | None) -> Any:
        self.asked.append(host)
        assert self.open.wait(PATIENCE)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


@pytest.fixture
def resolver() -> Iterator[Resolver]:
    made = Resolver()
    yield made
    made.open.set()
    until(lambda: not lookup_threads._registry.lookups and not lookup_threads._registry.threads)


def find(
    resolver: Any, host: str = "h.test", timeout: float = PATIENCE, port: int = 80
) -> list[str]:
    return [str(each) for each in look_up(host, port, timeout, None, resolver)]


def waiting(resolver: Any, host: str = "h.test", timeout: float = PATIENCE) -> Worker:
    """A thread that waits for the answer."""
    before = waiters()
    worker = Worker(lambda: find(resolver, host, timeout))
    until(lambda: waiters() > before)
    return worker


def waiters() -> int:
    return sum(len(each.waiters) for each in list(lookup_threads._registry.lookups.values()))


def names() -> list[str]:
    return [thread.name for thread in threading.enumerate() if "look up" in thread.name]


# --- where no thread can be started ---


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError()])
def test_without_a_thread_it_happens_in_the_calling_one(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    threads = []

    def resolver(*_: Any) -> list[str]:
        threads.append(threading.current_thread())
        return [ADDRESS]

    def fail(self: threading.Thread) -> None:
        raise error

    monkeypatch.setattr(threading.Thread, "start", fail)
    assert find(resolver) == [ADDRESS]
    assert threads == [threading.current_thread()]

    def unknown(*_: Any) -> Any:
        raise LookupError("no such host")

    with pytest.raises(NameResolutionError, match="no such host"):
        find(unknown)
    assert not lookup_threads._registry.lookups


def test_those_that_joined_get_what_the_calling_thread_found(
    monkeypatch: pytest.MonkeyPatch, resolver: Resolver
) -> None:
    start, joined = threading.Thread.start, []

    def fail(self: threading.Thread) -> None:
        if "look up" not in self.name:
            start(self)
            return
        joined.append(waiting(resolver))
        resolver.open.set()
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    assert find(resolver) == [ADDRESS]
    assert joined[0].result() == [ADDRESS]
    assert resolver.asked == ["h.test"]


def test_a_pool_without_threads(monkeypatch: pytest.MonkeyPatch, closed_port: int) -> None:
    def fail(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    timeout = {"connect": PATIENCE, "pool": SOON}
    with httpcore.ConnectionPool(max_connections=1, timeout=timeout) as pool:
        for _ in range(2):
            with pytest.raises(httpcore.ConnectError, match="Connection refused"):
                pool.request("GET", f"http://localhost:{closed_port}/")
        assert pool.stats()["connections"] == 0


# --- one for each question ---


def test_one_look_up_serves_all_that_ask_meanwhile(resolver: Resolver) -> None:
    workers = [waiting(resolver) for _ in range(10)]
    assert (resolver.asked, names()) == (["h.test"], ["look up h.test"])
    resolver.open.set()
    assert [worker.result() for worker in workers] == [[ADDRESS]] * 10
    assert resolver.asked == ["h.test"]


def test_threads_that_ask_at_the_same_moment_share(resolver: Resolver) -> None:
    barrier = threading.Barrier(20)

    def ask() -> list[str]:
        barrier.wait()
        return find(resolver)

    workers = [Worker(ask) for _ in range(20)]
    until(lambda: waiters() == 20)
    resolver.open.set()
    assert [worker.result() for worker in workers] == [[ADDRESS]] * 20
    assert resolver.asked == ["h.test"]


def test_no_answer_is_kept(resolver: Resolver) -> None:
    """Not even one that came when nobody waited for it any more."""
    with pytest.raises(httpcore.ConnectTimeout):
        find(resolver, timeout=SOON)
    resolver.open.set()
    until(lambda: not names())
    resolver.answer = ["192.0.2.2"]
    assert find(resolver) == ["192.0.2.2"]
    assert find(resolver) == ["192.0.2.2"]
    assert len(resolver.asked) == 3


def test_each_caller_has_its_own_limit(resolver: Resolver) -> None:
    patient = waiting(resolver)
    for _ in range(5):
        with pytest.raises(
            httpcore.ConnectTimeout, match=r"look up h\.test timed out after 0\.05 s$"
        ):
            find(resolver, timeout=SOON)
    assert len(names()) == 1
    resolver.open.set()
    assert patient.result() == [ADDRESS]


def test_a_late_answer_serves_a_caller_that_came_after_the_first_had_left(
    resolver: Resolver,
) -> None:
    with pytest.raises(httpcore.ConnectTimeout):
        find(resolver, timeout=SOON)
    second = waiting(resolver)
    resolver.open.set()
    assert second.result() == [ADDRESS]
    assert len(resolver.asked) == 1


def test_other_questions_are_asked_beside_it(resolver: Resolver) -> None:
    other = Resolver()
    other.open.set()
    first = waiting(resolver)
    assert find(other) == [ADDRESS]
    workers = [
        Worker(lambda: find(resolver, "i.test")),
        Worker(lambda: find(resolver, port=81)),
        Worker(lambda: look_up("h.test", 80, PATIENCE, "0.0.0.0", resolver)),
    ]
    until(lambda: len(resolver.asked) == 4)
    resolver.open.set()
    for worker in (first, *workers):
        worker.result()


def test_each_caller_gets_a_failure_of_its_own(resolver: Resolver) -> None:
    resolver.answer = LookupError("no such host")
    workers = [waiting(resolver) for _ in range(3)]
    resolver.open.set()
    failures = [worker.error() for worker in workers]
    assert len({id(each) for each in failures}) == 3
    assert {type(each) for each in failures} == {NameResolutionError}
    assert len({str(each) for each in failures}) == 1
    assert {each.__cause__ for each in failures} == {resolver.answer}
    assert len(resolver.asked) == 1


def test_what_ends_a_thread_reaches_its_caller_as_it_is_and_others_as_a_failure(
    resolver: Resolver,
) -> None:
    resolver.answer = SystemExit("enough")
    first, second = waiting(resolver), waiting(resolver)
    resolver.open.set()
    assert type(first.error()) is SystemExit
    failure = second.error()
    assert type(failure) is NameResolutionError
    assert "look up h.test failed: SystemExit('enough')" in str(failure)


def test_a_caller_with_more_time_asks_again_where_the_resolver_had_too_little() -> None:
    limits: list[float | None] = []
    meanwhile = threading.Event()

    def resolver(host: str, port: int, timeout: float | None) -> list[str]:
        limits.append(timeout)
        assert meanwhile.wait(PATIENCE)
        if timeout != PATIENCE:
            raise TimeoutError("the name server did not answer in time")
        return [ADDRESS]

    first = waiting(resolver, timeout=PATIENCE / 2)
    second, third = waiting(resolver), waiting(resolver, timeout=PATIENCE / 4)
    meanwhile.set()
    assert type(first.error()) is type(third.error()) is NameResolutionError
    assert second.result() == [ADDRESS]
    assert limits == [PATIENCE / 2, PATIENCE]


# --- a bounded number in all ---


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup_threads, "MAX_LOOKUPS", 2)
    monkeypatch.setattr(lookup_threads, "MAX_SLEEP", 60.0)  # no waiter is saved by looking


def test_abandoned_look_ups_do_not_pile_up(two: None, resolver: Resolver) -> None:
    for number in range(2):
        with pytest.raises(httpcore.ConnectTimeout, match=r"after 0\.05 s$"):
            find(resolver, f"{number}.test", SOON)
    for number in range(2, 20):
        with pytest.raises(httpcore.ConnectTimeout) as caught:
            find(resolver, f"{number}.test", SOON)
        assert str(caught.value) == (
            f"look up {number}.test timed out after 0.05 s: its turn did not come, "
            "2 others are still under way"
        )
    assert resolver.asked == ["0.test", "1.test"]
    assert len(names()) == 2
    resolver.open.set()
    assert find(resolver, "20.test") == [ADDRESS]


def test_turns_come_in_order(two: None, resolver: Resolver) -> None:
    workers = [waiting(resolver, f"{number}.test") for number in range(8)]
    until(lambda: len(resolver.asked) == 2)
    assert set(resolver.asked) == {"0.test", "1.test"}
    resolver.open.set()
    assert [worker.result() for worker in workers] == [[ADDRESS]] * 8
    assert set(resolver.asked) == {f"{number}.test" for number in range(8)}


def test_those_that_joined_one_that_never_had_its_turn(two: None, resolver: Resolver) -> None:
    for number in range(2):
        with pytest.raises(httpcore.ConnectTimeout):
            find(resolver, f"{number}.test", SOON)
    first = waiting(resolver, timeout=1.0)
    second, third = waiting(resolver), waiting(resolver)
    assert type(first.error()) is httpcore.ConnectTimeout
    assert "h.test" not in resolver.asked
    until(lambda: waiters() == 2)  # one began it anew, and the other joined
    resolver.open.set()
    assert second.result() == third.result() == [ADDRESS]
    assert resolver.asked.count("h.test") == 1


def test_a_look_up_inside_a_look_up_needs_no_turn(two: None, resolver: Resolver) -> None:
    """A resolver that sends requests has to look up its own server."""

    def outer(host: str, port: int, timeout: float | None) -> list[str]:
        return find(resolver, "dns.test")

    workers = [waiting(outer, f"{number}.test") for number in range(2)]
    until(lambda: len(resolver.asked) == 2)
    resolver.open.set()
    assert [worker.result() for worker in workers] == [[ADDRESS]] * 2


# --- interrupts, signals, forks ---


@pytest.mark.parametrize("place", ["first", "joined", "not in turn"])
def test_a_waiting_caller_can_be_ended(two: None, resolver: Resolver, place: str) -> None:
    held = [waiting(resolver, "0.test"), waiting(resolver, "1.test")][
        : 2 if place != "first" else 1
    ]
    if place == "first":
        held.append(waiting(resolver, "2.test"))
    host = {"first": "2.test", "joined": "0.test", "not in turn": "2.test"}[place]
    attempts: list[Attempt] = []

    def ask() -> list[str]:
        attempts.append(begin())
        try:
            return find(resolver, host)
        finally:
            end(attempts[0])

    before = waiters()
    worker = Worker(ask)
    until(lambda: waiters() > before)
    interrupt(attempts[0])
    failure = worker.error()
    assert type(failure) is httpcore.ConnectError
    assert "another thread ended it" in str(failure)
    resolver.open.set()
    assert [each.result() for each in held] == [[ADDRESS]] * len(held)


def test_a_signal_handler_asks_the_same_in_the_thread_that_was_about_to(
    monkeypatch: pytest.MonkeyPatch, resolver: Resolver
) -> None:
    start = threading.Thread.start
    inside: list[list[str]] = []

    def interrupted(self: threading.Thread) -> None:
        if "look up" in self.name and not inside:
            inside.append([])
            inside[0] = find(resolver)
        start(self)

    resolver.open.set()
    monkeypatch.setattr(threading.Thread, "start", interrupted)
    assert Worker(lambda: find(resolver)).result() == [ADDRESS]
    assert inside == [[ADDRESS]]
    assert len(resolver.asked) == 2


def test_an_interrupt_before_the_thread_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, resolver: Resolver
) -> None:
    start = threading.Thread.start

    def interrupted(self: threading.Thread) -> None:
        if "look up" in self.name:
            raise KeyboardInterrupt
        start(self)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            find(resolver)
    assert not lookup_threads._registry.lookups
    resolver.open.set()
    assert find(resolver) == [ADDRESS]


@pytest.mark.parametrize("full", [False, True])
def test_the_child_of_a_fork_begins_with_none(two: None, resolver: Resolver, full: bool) -> None:
    """Neither the threads of its parent nor their places are there."""
    workers = [waiting(resolver, host) for host in ("h.test", "i.test")[: 2 if full else 1]]
    assert in_child(lambda: find(lambda *_: ["192.0.2.9"])) == ["192.0.2.9"]
    assert in_child(lambda: len(lookup_threads._registry.lookups)) == 0
    resolver.open.set()
    assert [worker.result() for worker in workers] == [[ADDRESS]] * len(workers)


# --- functions in place of socket.getaddrinfo ---


def test_a_function_that_knows_names_for_the_calling_thread_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mine = threading.local()
    asked = []

    def getaddrinfo(host: str, port: int, *_: Any) -> list[Any]:
        asked.append(threading.current_thread())
        if host not in getattr(mine, "hosts", ()):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ADDRESS, port))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    mine.hosts = {"h.test"}
    assert find(None) == [ADDRESS]
    with pytest.raises(NameResolutionError, match="not known"):
        find(None, "i.test")
    assert len(asked) == 4 and asked[1] is asked[3] is threading.current_thread()


def test_the_systems_own_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def fail(*args: Any) -> Any:
        asked.append(args)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("_socket.getaddrinfo", fail)  # under Python's own function
    with pytest.raises(NameResolutionError, match="not known"):
        find(None)
    assert len(asked) == 1
