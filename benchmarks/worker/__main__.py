"""The program of a worker process: one JSON line in, one JSON line out.

The first line is a `Job`. The answer is `{"version": ...}`, or `{"skip": reason}` when the
client is not installed, or `{"error": reason}`. Each further line, `{"requests": n}`, is a
round; its answer is `{"requests": n, "wall": seconds, "cpu": seconds}`, or for a memory check
`{"moved": bytes, "growth": bytes}`. It ends when standard input does.

Owns: the talk, the threads and their clocks (`tasks` has those of event loops). Must not know:
how a request is sent.
"""

from __future__ import annotations

import gc
import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from job import Job
from peers import PEERS, Requester

Round = Callable[[int], dict[str, Any]]

#: How the kinds of memory checks begin.
_MEMORY_CHECKS = ("stream", "upload", "content", "closed", "unread")

#: What ours can use but does not need: event loops.
_OPTIONAL = ("uvloop", "trio")

#: Requests before the first round: connections are opened and lazy imports done.
_WARM_UP = 3


def _send(requester: Requester, count: int, expected: int) -> None:
    for _ in range(count):
        received = requester()
        if received != expected:
            raise RuntimeError(f"{received} of {expected} bytes came")


def _send_in_threads(requesters: list[Requester], count: int, expected: int) -> tuple[float, float]:
    """`count` requests from each thread; wall and CPU seconds from the common start."""
    start = threading.Barrier(len(requesters) + 1)
    failures: list[BaseException] = []

    def work(requester: Requester) -> None:
        start.wait()
        try:
            _send(requester, count, expected)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(each,), daemon=True) for each in requesters]
    for thread in threads:
        thread.start()
    cpu, wall = time.process_time(), time.perf_counter()
    start.wait()
    for thread in threads:
        thread.join()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    if failures:
        raise failures[0]
    return wall, cpu


def _timed(job: Job, requesters: list[Requester], requests: int) -> dict[str, Any]:
    """One round of about `requests` requests, at least one from each thread."""
    gc.collect()
    each = max(1, round(requests / job.threads))
    if job.threads == 1:
        cpu, wall = time.process_time(), time.perf_counter()
        _send(requesters[0], each, job.received)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    else:
        wall, cpu = _send_in_threads(requesters, each, job.received)
    return {"requests": each * job.threads, "wall": wall, "cpu": cpu}


def _prepare_memory_check(job: Job) -> tuple[Round, str]:
    import memory

    memory.warm_up(job)
    return lambda requests: memory.run(job), memory.version()


def _prepare_timing(job: Job) -> tuple[Round, str]:
    if job.kind == "core":
        peer = PEERS[job.peer](job)
    elif job.kind == "connect":
        import connects

        peer = connects.PROGRAMS[job.peer](job)
    elif job.peer in ("ours", "stock"):
        from sessions import PROGRAMS

        peer = PROGRAMS[job.kind](job)
    else:
        import other_sessions

        peer = other_sessions.PROGRAMS[job.peer](job)
    requesters = [peer.requester() for _ in range(job.threads)]
    _timed(job, requesters, _WARM_UP * job.threads)
    return lambda requests: _timed(job, requesters, requests), peer.version


def _prepare(job: Job) -> tuple[Round, str]:
    if job.kind.partition("-")[0] in _MEMORY_CHECKS:
        return _prepare_memory_check(job)
    if job.kind.startswith("import"):
        import imports

        program = imports.Import(job)
        program.run(1)  # compiles what is not compiled yet
        return program.run, program.version
    if job.kind.startswith("async"):
        import tasks

        in_tasks = tasks.Tasks(job)
        return in_tasks.run, in_tasks.version
    return _prepare_timing(job)


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _answer(line: str, run: Round) -> dict[str, Any]:
    try:
        return run(json.loads(line)["requests"])
    except Exception as error:
        return {"error": _describe(error)}


def _first_answer(line: str) -> tuple[Round | None, dict[str, Any]]:
    job = Job(**json.loads(line))
    try:
        run, version = _prepare(job)
    except ImportError as error:
        if job.peer == "ours" and error.name not in _OPTIONAL:
            return None, {"error": f"ours cannot be imported: {error}"}
        return None, {"skip": f"not installed: {error}"}
    except Exception as error:
        return None, {"error": _describe(error)}
    return run, {"version": version}


def main() -> None:
    answers, sys.stdout = sys.stdout, sys.stderr
    run, answer = _first_answer(sys.stdin.readline())
    print(json.dumps(answer), file=answers, flush=True)
    if run is None:
        return
    for line in sys.stdin:
        print(json.dumps(_answer(line, run)), file=answers, flush=True)


if __name__ == "__main__":
    main()
