"""Rounds, medians and ratios.

Owns: the order of the rounds and the arithmetic. Must not know: clients, how results look.

The contestants of a case take turns within each round, and another one begins each time, so
that a slow moment of the machine falls on all of them alike. A ratio is the median over the
rounds of ours divided by the other's in the same round.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from . import cases, servers
from .processes import Interpreters, Skipped, Worker, WorkerError

METRICS = ("wall", "cpu")


class Settings(NamedTuple):
    """What the command line asked for.

    Args:
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

    Args:
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

    def time(self, case: cases.Case) -> dict[str, Any]:
        """Run one timed case; its part of the JSON document."""
        workers: dict[str, Worker] = {}
        result: dict[str, Any] = {"name": case.name, "title": case.title, "absent": {}}
        try:
            for contestant in case.contestants:
                if self.settings.admits(contestant.peer):
                    self._enter(case, contestant, workers, result["absent"])
            turns = self._take_turns(case, workers, result["absent"])
        finally:
            for worker in workers.values():
                worker.close()
        result["requests"] = self._requests(case)
        result["contestants"] = {
            label: summary(rounds, workers[label].version) for label, rounds in turns.items()
        }
        result["ratios"] = ratios(turns)
        return result

    def weigh(self, case: cases.MemoryCase) -> dict[str, Any]:
        """Run one memory check; its part of the JSON document."""
        size = max(1, round(case.size * self.settings.scale))
        result: dict[str, Any] = {"name": case.name, "title": case.title, "limit": case.limit}
        try:
            worker = Worker(self._interpreters.of(cases.OURS), self._memory_job(case, size))
        except WorkerError as error:
            return {**result, "error": str(error), "met": None}
        try:
            answer = worker.ask({"requests": 1})
        except WorkerError as error:
            return {**result, "error": str(error), "met": None}
        finally:
            worker.close()
        return {**result, **answer, "met": answer["growth"] <= case.limit}

    def _requests(self, case: cases.Case) -> int:
        return max(1, round(case.requests * self.settings.scale))

    def _enter(
        self,
        case: cases.Case,
        contestant: cases.Contestant,
        workers: dict[str, Worker],
        absent: dict[str, str],
    ) -> None:
        """Start one contestant, or note why it is absent."""
        if case.path.startswith("/body/"):
            servers.make_body(self._directory, case.received)
        job = {
            "peer": contestant.peer,
            "kind": case.kind,
            "url": self._server.url(case.path, case.tls),
            "received": case.received,
            "upload": case.upload,
            "threads": contestant.threads,
            "connections": contestant.connections,
            "variant": contestant.variant,
            "authorities": str(self._authorities) if case.tls else "",
        }
        try:
            interpreter = self._interpreters.of(contestant.peer)
            workers[contestant.label] = Worker(interpreter, job)
        except (Skipped, WorkerError) as reason:
            absent[contestant.label] = str(reason)

    def _take_turns(
        self, case: cases.Case, workers: dict[str, Worker], absent: dict[str, str]
    ) -> dict[str, list[dict[str, float]]]:
        """All rounds of all contestants; one that fails is taken out and noted."""
        requests = {
            each.label: max(1, round(each.share * self._requests(case)))
            for each in case.contestants
        }
        turns: dict[str, list[dict[str, float]]] = {label: [] for label in workers}
        for number in range(self.settings.rounds):
            order = list(turns)
            first = number % len(order) if order else 0
            for label in order[first:] + order[:first]:
                try:
                    turns[label].append(workers[label].ask({"requests": requests[label]}))
                except WorkerError as error:
                    absent[label] = str(error)
                    del turns[label]
        return turns

    def _memory_job(self, case: cases.MemoryCase, size: int) -> dict[str, Any]:
        path = servers.make_body(self._directory, size)
        job: dict[str, Any] = {"peer": cases.OURS, "kind": case.kind}
        if case.upload:
            file = str(self._directory / "files" / path.lstrip("/"))
            return {**job, "url": self._sink.url("/sink"), "upload": size, "file": file}
        return {**job, "url": self._server.url(path), "received": size}


def summary(rounds: list[dict[str, float]], version: str) -> dict[str, Any]:
    """One contestant's rounds and their medians, in microseconds for one request."""
    result: dict[str, Any] = {"version": version, "rounds": rounds}
    for metric in METRICS:
        each = [turn[metric] / turn["requests"] for turn in rounds]
        result[f"{metric}_us"] = median(each) * 1e6
    return result


def ratios(turns: dict[str, list[dict[str, float]]]) -> dict[str, dict[str, float | None]]:
    """Ours divided by each of the others.

    Returns:
        For each other contestant its wall and CPU ratio; None where the clock was too coarse.
    """
    if cases.OURS not in turns:
        return {}
    mine = turns[cases.OURS]
    return {
        label: {metric: _ratio(mine, rounds, metric) for metric in METRICS}
        for label, rounds in turns.items()
        if label != cases.OURS
    }


def _ratio(
    mine: list[dict[str, float]], others: list[dict[str, float]], metric: str
) -> float | None:
    values = [
        (my[metric] / my["requests"]) / (other[metric] / other["requests"])
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
