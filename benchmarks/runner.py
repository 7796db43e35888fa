"""Rounds, medians and ratios.

Owns: the order of the rounds and the arithmetic. Must not know: clients, how results look.

The contestants of a case take turns within each round, and another one begins each time, so
that a slow moment of the machine falls on all of them alike. A ratio is the median over the
rounds of ours divided by the other's in the same round.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, Protocol, TypeVar

from . import cases, gateways, load, servers
from .processes import Interpreters, Skipped, Worker, WorkerError

#: Metrics of a round that are shared by its requests, and those of a single request of it. Load
#: generators give the latter: within which time half of the answers were there, and 99 of 100.
SHARED = ("wall", "cpu")
SINGLE = ("p50", "p99")
METRICS = (*SHARED, *SINGLE)

#: How often a client that is not ours may try to start, and to finish a round.
TRIES = 3

Answer = TypeVar("Answer")

_GATEWAY_CHECKS = (cases.GATEWAY_DOWNLOAD, cases.GATEWAY_UPLOAD)

_NO_HTTP2 = "left out: {} does not speak HTTP/2; it needs nginx"


class Player(Protocol):
    """A contestant that is ready for its turns: a worker, or a gateway under load."""

    version: str

    def ask(self, question: dict[str, Any]) -> dict[str, Any]: ...

    def close(self) -> None: ...


class Settings(NamedTuple):
    """What the command line asked for.

    Parameters:
        rounds: how often each contestant takes its turn.
        scale: multiplies the number of requests of a round and the bytes of a memory check.
        only: the peers that take part; empty means all.
    """

    rounds: int
    scale: float
    only: frozenset[str] = frozenset()

    def admits(self, peer: str) -> bool:
        return not self.only or peer in self.only


class Bench:
    """Everything that outlives one case: servers, files, interpreters.

    Parameters:
        server: answers the timed cases.
        sink: reads uploads to their end; the embedded server.
        directory: where files to serve are made.
        authorities: the CA bundle for clients.
        settings: what the command line asked for.
    """

    def __init__(
        self,
        server: servers.Server,
        sink: servers.Server,
        directory: Path,
        authorities: Path,
        settings: Settings,
    ) -> None:
        self.settings = settings
        self._server = server
        self._sink = sink
        self._directory = directory
        self._authorities = authorities
        self._interpreters = Interpreters()
        self._generator = load.find(directory)

    def time(self, case: cases.Case) -> dict[str, Any]:
        """Run one timed case; its part of the JSON document."""
        result: dict[str, Any] = {"name": case.name, "title": case.title}
        result.update(absent={}, skipped=[], failed={})
        if left_out := self._missing(case):
            return {**result, "contestants": {}, "ratios": {}, "left_out": left_out}
        workers: dict[str, Player] = {}
        try:
            with self._url(case) as url:
                for contestant in case.contestants:
                    if self.settings.admits(contestant.peer):
                        self._enter(case, contestant, url, workers, result)
                turns = self._take_turns(case, workers, result)
        finally:
            for worker in workers.values():
                worker.close()
        result.update(self._question(case))
        result["contestants"] = {
            label: summary(rounds, workers[label].version) for label, rounds in turns.items()
        }
        result["ratios"] = ratios(turns)
        return result

    def weigh(self, case: cases.MemoryCase) -> dict[str, Any]:
        """Run one memory check; its part of the JSON document."""
        result: dict[str, Any] = {"name": case.name, "title": case.title, "limit": case.limit}
        if case.http2 and self._server.http2 is None:
            return {**result, "left_out": _NO_HTTP2.format(self._server.name), "met": None}
        weigh = self._weigh_gateway if case.kind in _GATEWAY_CHECKS else self._weigh_client
        try:
            answer = weigh(case)
        except Skipped as reason:
            return {**result, "left_out": f"left out: {reason}", "met": None}
        except WorkerError as error:
            return {**result, "error": str(error), "met": None}
        return {**result, **answer, "met": answer["growth"] <= case.limit}

    def _weigh_client(self, case: cases.MemoryCase) -> dict[str, Any]:
        job = self._memory_job(case)
        worker = Worker(self._interpreters.of(cases.OURS), job)
        try:
            return {"streams": job.get("streams", 0), **worker.ask({"requests": 1})}
        finally:
            worker.close()

    def _weigh_gateway(self, case: cases.MemoryCase) -> dict[str, Any]:
        answer = gateways.weigh(case.kind, self._scaled(case.size), self._interpreters)
        return {"streams": 0, **answer}

    def _missing(self, case: cases.Case) -> str:
        """Why nobody can take part in a case; empty where that is possible."""
        if case.http2 and self._server.http2 is None:
            return _NO_HTTP2.format(self._server.name)
        return load.MISSING if case.kind == cases.GATEWAY and self._generator is None else ""

    @contextmanager
    def _url(self, case: cases.Case) -> Iterator[str]:
        """Where contestants find what the case asks for; over a link while there is delay."""
        if not case.delay:
            yield self._server.url(case.path, case.tls, case.http2)
            return
        link = servers.start_link(self._server, case.delay, case.rate)
        try:
            yield link.url(case.path)
        finally:
            link.stop()

    def _enter(
        self,
        case: cases.Case,
        contestant: cases.Contestant,
        url: str,
        workers: dict[str, Player],
        result: dict[str, Any],
    ) -> None:
        """Start one contestant, or note in `result` why it is absent."""
        if case.path.startswith("/body/"):
            servers.make_body(self._directory, case.received)
        try:
            workers[contestant.label] = persist(
                lambda: self._start(case, contestant, url), contestant, result["failed"]
            )
        except (Skipped, WorkerError) as reason:
            result["absent"][contestant.label] = str(reason)
            if isinstance(reason, Skipped):
                result["skipped"].append(contestant.label)

    def _start(self, case: cases.Case, contestant: cases.Contestant, url: str) -> Player:
        if case.kind == cases.GATEWAY:
            assert self._generator is not None
            place = gateways.Place(self._server.http, case.path, case.received, self._directory)
            return gateways.open_gateway(contestant, place, self._generator, self._interpreters)
        job = {
            "peer": contestant.peer,
            "kind": case.kind,
            "url": url,
            "http2": case.http2 and contestant.variant != cases.HTTP1,
            "received": case.received,
            "upload": case.upload,
            "threads": contestant.threads,
            "connections": contestant.connections,
            "variant": contestant.variant,
            "authorities": str(self._authorities) if case.tls or case.http2 else "",
        }
        return Worker(self._interpreters.of(contestant.peer, case.kind), job)

    def _take_turns(
        self, case: cases.Case, workers: dict[str, Player], result: dict[str, Any]
    ) -> dict[str, list[dict[str, float]]]:
        """All rounds of all contestants; one that fails is taken out and noted."""
        contestants = {each.label: each for each in case.contestants if each.label in workers}
        turns: dict[str, list[dict[str, float]]] = {label: [] for label in contestants}
        for number in range(self.settings.rounds):
            order = list(turns)
            first = number % len(order) if order else 0
            for label in order[first:] + order[:first]:
                contestant, worker = contestants[label], workers[label]
                ask = functools.partial(worker.ask, self._question(case, contestant.share))
                try:
                    turns[label].append(persist(ask, contestant, result["failed"]))
                except WorkerError as error:
                    result["absent"][label] = str(error)
                    del turns[label]
        return turns

    def _memory_job(self, case: cases.MemoryCase) -> dict[str, Any]:
        size = case.size if case.streams else self._scaled(case.size)
        path = servers.make_body(self._directory, size)
        job: dict[str, Any] = {"peer": cases.OURS, "kind": case.kind}
        if case.upload:
            file = str(self._directory / "files" / path.lstrip("/"))
            return {**job, "url": self._sink.url("/sink"), "upload": size, "file": file}
        return {
            **job,
            "url": self._server.url(path, http2=case.http2),
            "http2": case.http2,
            "received": size,
            "streams": self._scaled(case.streams) if case.streams else 0,
            "authorities": str(self._authorities) if case.http2 else "",
        }

    def _question(self, case: cases.Case, share: float = 1.0) -> dict[str, Any]:
        """What a contestant with that share is asked for in a round."""
        if case.seconds:
            return {"seconds": self._scaled(case.seconds * share)}
        return {"requests": self._scaled(case.requests * share)}

    def _scaled(self, amount: float) -> int:
        return max(1, round(amount * self.settings.scale))


def persist(
    action: Callable[[], Answer], contestant: cases.Contestant, failed: dict[str, list[str]]
) -> Answer:
    """What `action` returns, tried again where others fail, never where ours does.

    Some clients break now and then when threads share one HTTP/2 connection; how fast they are
    when they do not break is to be known all the same.

    Raises:
        WorkerError: from the last of the tries; `failed` notes each.
    """
    for left in reversed(range(1 if contestant.peer == cases.OURS else TRIES)):
        try:
            return action()
        except WorkerError as error:
            failed.setdefault(contestant.label, []).append(str(error))
            if not left:
                raise
    raise AssertionError("there is at least one try")


def summary(rounds: list[dict[str, float]], version: str) -> dict[str, Any]:
    """One contestant's rounds and their medians, in microseconds for one request."""
    result: dict[str, Any] = {"version": version, "rounds": rounds}
    for metric in metrics(rounds):
        result[f"{metric}_us"] = median(value(turn, metric) for turn in rounds) * 1e6
    return result


def metrics(rounds: list[dict[str, float]]) -> list[str]:
    """The metrics that these rounds have."""
    return [metric for metric in METRICS if all(metric in turn for turn in rounds)]


def value(turn: dict[str, float], metric: str) -> float:
    """What a round says of one request, in seconds."""
    return turn[metric] / turn["requests"] if metric in SHARED else turn[metric]


def ratios(turns: dict[str, list[dict[str, float]]]) -> dict[str, dict[str, float | None]]:
    """Ours divided by each of the others.

    Returns:
        For each other contestant its ratios, one for each metric; None where the clock was too
        coarse.
    """
    if cases.OURS not in turns:
        return {}
    mine = turns[cases.OURS]
    return {
        label: {metric: _ratio(mine, rounds, metric) for metric in metrics(mine)}
        for label, rounds in turns.items()
        if label != cases.OURS
    }


def _ratio(
    mine: list[dict[str, float]], others: list[dict[str, float]], metric: str
) -> float | None:
    values = [
        value(my, metric) / value(other, metric)
        for my, other in zip(mine, others, strict=True)
        if other[metric]
    ]
    return median(values) if values else None


def judge(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each target of the cases that were run, with what was measured.

    `met` is None when it could not be measured.
    """
    by_name = {result["name"]: result for result in results}
    verdicts = []
    for target in cases.TARGETS:
        if target.case not in by_name:
            continue
        measured = by_name[target.case]["ratios"].get(target.contestant, {}).get(target.metric)
        met = None if measured is None else measured <= target.limit
        verdicts.append({**target._asdict(), "measured": measured, "met": met})
    return verdicts
