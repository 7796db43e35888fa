"""One round of the load: servers, clients, faults, and what is left at the end.

Owns: the order of these steps, for each kind of load. Must not know: how often rounds are run.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel

from .gateways import gateways
from .plans import Tally
from .resources import Resources
from .serving import Serving, serving
from .tasks import AsyncClients, AsyncLoad
from .threads import Clients, Load, interrupt_and_fork, settle

#: How the load can run.
KINDS = ("threads", "asyncio", "uvloop", "trio", "gateway")
#: The chance of relays and new connections to fail, relative to the share of faults asked for:
#: they have many chances in one request.
BY_CHANCE = 1 / 4

GoesOn = Callable[[int], bool]


def run_round(kind: str, seed: int, workers: int, goes_on: GoesOn, rate: float) -> Tally:
    """Run one round.

    Parameters:
        kind: one of KINDS.
        seed: of all that is left to chance.
        workers: how many threads or tasks there are.
        goes_on: called with the number of requests that one of them has sent; False ends it.
        rate: the share of requests with a fault.

    Returns: what came of it; `wrong` has what must not be.
    """
    with tempfile.TemporaryDirectory() as name:
        with serving(seed, rate * BY_CHANCE, Path(name)) as servers:
            if kind in ("asyncio", "uvloop", "trio"):
                _run_loop(kind, anyio.lowlevel.checkpoint)  # uvloop opens a pipe for good
            before = Resources.now()
            roots = str(Path(name, "ca.pem"))
            if kind == "gateway":
                tally = _run_gateways(servers, Path(name), seed, workers, goes_on, rate)
            elif kind == "threads":
                tally = _run_threads(servers, roots, seed, workers, goes_on, rate)
            else:
                tally = _run_tasks(kind, servers.ports, roots, seed, workers, goes_on, rate)
            Resources.now().compare(before, tally)
    tally.wrong += servers.mistakes
    return tally


def _run_gateways(
    servers: Serving, folder: Path, seed: int, workers: int, goes_on: GoesOn, rate: float
) -> Tally:
    """Run tasks whose requests go through gateways."""
    left = Tally()
    with gateways(servers.ports, folder, left) as ports:
        ports["proxy"] = servers.ports["proxy"]
        roots = str(folder / "ca.pem")
        tally = _run_tasks("asyncio", ports, roots, seed, workers, goes_on, rate)
    tally.add(left)
    return tally


def _run_threads(
    servers: Serving, roots: str, seed: int, workers: int, goes_on: GoesOn, rate: float
) -> Tally:
    clients = Clients(servers.ports, roots)
    load = Load(clients, seed, workers, goes_on, rate)
    # An import that a signal interrupts can leave a half-made module to another thread that waits
    # for it, in CPython itself: all that is imported late is imported before.
    load.warm_up()
    tally = load.run(lambda load: interrupt_and_fork(load, seed))
    settle(clients, tally)
    clients.close()
    _find_connections((clients.pool, clients.prior), tally)
    return tally


def _run_tasks(
    kind: str,
    ports: dict[str, int],
    roots: str,
    seed: int,
    workers: int,
    goes_on: GoesOn,
    rate: float,
) -> Tally:
    async def run() -> Tally:
        clients = AsyncClients(ports, roots)
        tally = await AsyncLoad(clients, seed, workers, goes_on, rate).run()
        await clients.aclose()
        _find_connections((clients.pool, clients.prior), tally)
        return tally

    tally: Tally = _run_loop(kind, run)
    return tally


def _run_loop(kind: str, work: Callable[[], Any]) -> Any:
    if kind == "trio":
        return anyio.run(work, backend="trio")
    options = {"use_uvloop": kind == "uvloop"}
    return anyio.run(work, backend="asyncio", backend_options=options)


def _find_connections(pools: tuple[Any, ...], tally: Tally) -> None:
    """Note connections of pools that were closed."""
    for pool in pools:
        if pool.stats()["connections"]:
            tally.object_to(f"after its close: {pool!r}")
