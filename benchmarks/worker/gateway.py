"""A gateway in a process of its own: ours, or the same written by hand on another client.

The one line on standard input is a `GatewayJob`. The answer is `{"version": ...}`, or
`{"skip": reason}` where something is not installed, or `{"error": reason}`; then it serves until
standard input ends. All run under uvicorn with httptools and uvloop, and say the same of
themselves; ours as ``python -m httpcore_gateway`` does it, which sends a head together with what
follows it. The variant "granian" runs under granian.

Owns: the servers and their settings. Must not know: how a request is passed on (`proxies`).
"""

from __future__ import annotations

import functools
import importlib.metadata
import json
import os
import runpy
import signal
import sys
import threading
from typing import Any, NamedTuple

#: Where granian's own worker process finds the job.
_VARIABLE = "BENCHMARK_GATEWAY_JOB"

#: Seconds that requests under way have when the gateway stops.
_GRACE = 1


class GatewayJob(NamedTuple):
    """What to serve.

    Parameters:
        peer: which gateway.
        port: of the loopback interface, where it listens.
        upstream: the URL of what stands behind it, without a path.
        connections: how many it may have there at once.
        received: bytes in the body of each answer, for the floor, which has nothing behind it.
        variant: "granian", or "" for uvicorn.
    """

    peer: str
    port: int
    upstream: str
    connections: int
    received: int = 0
    variant: str = ""


def _make_ours(job: GatewayJob) -> Any:
    from httpcore_gateway import Gateway

    return Gateway([job.upstream])


def _make_httpx(job: GatewayJob) -> Any:
    import proxies

    return proxies.HttpxProxy(job.upstream, job.connections)


def _make_aiohttp(job: GatewayJob) -> Any:
    import proxies

    return proxies.AiohttpProxy(job.upstream, job.connections)


def _make_hello(job: GatewayJob) -> Any:
    import proxies

    return proxies.Hello(job.received)


#: For each peer what makes its application, and the distributions whose versions count.
_PEERS = {
    "ours": (_make_ours, ("httpcore",)),
    "httpx": (_make_httpx, ("httpx", "httpcore")),
    "aiohttp": (_make_aiohttp, ("aiohttp",)),
    "uvicorn-hello": (_make_hello, ()),
}

#: What ours needs for this and not otherwise.
OPTIONAL = ("uvicorn", "httptools", "uvloop", "granian", "wsproto", "msgspec")


def make(job: GatewayJob) -> Any:
    """Return the application of a job."""
    return _PEERS[job.peer][0](job)


def _version(job: GatewayJob) -> str:
    names = (*_PEERS[job.peer][1], job.variant or "uvicorn")
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)


def _serve_in_uvicorn(job: GatewayJob, app: Any) -> None:
    import uvicorn

    uvicorn.run(
        app,
        port=job.port,
        http="httptools",
        loop="uvloop",
        ws="none",
        access_log=False,
        log_level="warning",
        proxy_headers=False,  # each gateway says itself where a request came from
        timeout_graceful_shutdown=_GRACE,
    )


def _serve_as_program(job: GatewayJob) -> None:
    """Serve ours as its users do. The others write no access log either."""
    options = ["--upstream", job.upstream, "--port", str(job.port), "--access-log", "off"]
    sys.argv[1:] = [*options, "--stop-timeout", str(_GRACE)]
    runpy.run_module("httpcore_gateway", run_name="__main__")


def _make_of_environment() -> Any:
    """Return the application; granian calls this in its own worker process."""
    return make(GatewayJob(*json.loads(os.environ[_VARIABLE])))


def _serve_in_granian(job: GatewayJob) -> None:
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces, Loops

    os.environ[_VARIABLE] = json.dumps(job)
    Granian(
        f"{__file__}:_make_of_environment",
        port=job.port,
        interface=Interfaces.ASGI,
        http=HTTPModes.http1,
        loop=Loops.uvloop,
        workers=1,
        websockets=False,
        factory=True,
        log_enabled=False,
        workers_kill_timeout=_GRACE,
    ).serve()


def _end_with_input() -> None:
    """Ask this process to end, as a service manager would, when standard input has ended."""
    # Not `sys.stdin`: granian forks, and closes it in the child, where its lock would stay taken.
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _prepare(job: GatewayJob) -> tuple[Any, dict[str, str]]:
    """Return the function that serves, without arguments, and the first answer."""
    try:
        version = _version(job)
        if job.variant == "granian":
            import granian  # noqa: F401

            return functools.partial(_serve_in_granian, job), {"version": version}
        import httptools  # noqa: F401
        import uvicorn  # noqa: F401
        import uvloop  # noqa: F401

        serve: Any = functools.partial(_serve_as_program, job)
        if job.peer == "ours":
            import httpcore_gateway  # noqa: F401
        else:
            serve = functools.partial(_serve_in_uvicorn, job, make(job))
    except ImportError as error:
        if job.peer == "ours" and error.name not in OPTIONAL:
            return None, {"error": f"ours cannot be imported: {error}"}
        return None, {"skip": f"not installed: {error}"}
    return serve, {"version": version}


def main() -> None:
    answers, sys.stdout = sys.stdout, sys.stderr
    serve, answer = _prepare(GatewayJob(**json.loads(sys.stdin.readline())))
    print(json.dumps(answer), file=answers, flush=True)
    if serve is not None:
        threading.Thread(target=_end_with_input, daemon=True).start()
        serve()


if __name__ == "__main__":
    main()
