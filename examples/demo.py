"""The main job, shown: real requests through `requests`, on our transport.

    python examples/demo.py            against a server of its own, plain and TLS
    python examples/demo.py URL...     against those URLs

Prints status, headers, protocol and new-or-reused connection of each answer, the pool afterwards,
and the time per request beside the adapter that requests comes with. Ends with status 1 when a
request failed. Needs the `dev` extra (the local server's certificates come from trustme).

Owns: what the demo asks for and how it is printed. Must not know: anything but public names.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import requests

import httpcore
import httpcore_requests

# Seconds to connect and to wait for the next bytes: patient for a human in front of a terminal.
TIMEOUT = (5.0, 20.0)
# Bytes of a body that are read before the demo has seen enough (an endless stream is a fine URL).
ENOUGH = 8 * 1024 * 1024
# Times each adapter is measured, in turn. For real URLs few, out of politeness.
LOCAL_ROUNDS, LOCAL_BATCH = 15, 40
REMOTE_ROUNDS, REMOTE_BATCH = 5, 1

PROTOCOLS = {10: "HTTP/1.0", 11: "HTTP/1.1", 20: "HTTP/2"}


# --- one request, printed ---


def read(response: requests.Response) -> tuple[int, bool]:
    """Read the body. Returns its length and whether that was all of it."""
    length = 0
    for piece in response.iter_content(64 * 1024):
        length += len(piece)
        if length >= ENOUGH:
            return length, False
    return length, True


def describe(response: requests.Response) -> str:
    raw: Any = response.raw
    protocol = PROTOCOLS.get(raw.version, f"version {raw.version}")
    connection = "reused connection" if raw.reused else "new connection"
    return f"{response.status_code} {response.reason}, {protocol}, {connection}"


def show(session: requests.Session, method: str, url: str, **options: Any) -> bool:
    """Send one request and print what came. Returns whether it went well."""
    print(f"\n{method} {url}")
    begun = time.perf_counter()
    try:
        with session.request(method, url, timeout=TIMEOUT, stream=True, **options) as response:
            length, whole = read(response)
            taken = time.perf_counter() - begun
    except Exception as exc:  # any failure of a URL somebody typed is one readable line
        print(f"  failed: {type(exc).__name__}: {exc}")
        return False
    for step in response.history:
        print(f"  {describe(step)}, to {step.headers.get('Location')}")
    size = f"{length:,} bytes" if whole else f"the first {length:,} bytes"
    print(f"  {describe(response)}, {size} in {taken * 1000:.1f} ms")
    for name, value in response.headers.items():
        print(f"    {name}: {value if len(value) <= 100 else value[:97] + '...'}")
    return True


def show_pool(adapter: httpcore_requests.HTTPAdapter) -> None:
    print("\nThe pool now")
    print(f"  {adapter.pool!r}")
    for connection in adapter.pool.connections:
        print(f"    {connection!r}")
    print(f"  {adapter.pool.stats()}")


# --- the time beside the stock adapter ---


@contextlib.contextmanager
def open_session(adapter: requests.adapters.HTTPAdapter, verify: Any) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.mount("https://", adapter)
        session.mount("http://", adapter)
        session.verify = verify
        # A certificate of our own making means our own server: keep the machine's proxies out.
        session.trust_env = verify is True
        yield session


def measure(session: requests.Session, url: str, batch: int) -> tuple[float, float]:
    """Wall and CPU seconds of this process per request."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(batch):
        _ = session.get(url, timeout=TIMEOUT).content
    return (time.perf_counter() - wall) / batch, (time.process_time() - cpu) / batch


def compare(urls: dict[str, str], verify: Any, rounds: int, batch: int) -> None:
    """Print, for each URL, the median time per request with each adapter."""
    print(f"\nTime per Session.get, medians of {rounds} rounds in turn, {batch} requests each")
    print(f"  {'':22}{'wall ms':>27}{'CPU ms':>27}")
    columns = f"{'ours':>9}{'stock':>9}{'ratio':>9}"
    print(f"  {'':22}{columns}{columns}")
    with (
        open_session(httpcore_requests.HTTPAdapter(), verify) as ours,
        open_session(requests.adapters.HTTPAdapter(), verify) as stock,
    ):
        for name, url in urls.items():
            compare_one(name, url, (ours, stock), rounds, batch)


def compare_one(
    name: str, url: str, sessions: tuple[requests.Session, ...], rounds: int, batch: int
) -> None:
    try:
        for session in sessions:  # connect first: the rounds measure warm requests
            measure(session, url, 1)
        figures: list[list[tuple[float, float]]] = [[] for _ in sessions]
        for turn in range(rounds):
            # Who goes first changes each round, so that neither always finds the warmer server.
            for at in (0, 1) if turn % 2 else (1, 0):
                figures[at].append(measure(sessions[at], url, batch))
    except requests.RequestException as exc:
        print(f"  {name:22}  failed: {type(exc).__name__}: {exc}")
        return
    line = f"  {name:22}"
    for kind in (0, 1):
        ours, stock = (statistics.median(f[kind] for f in figure) for figure in figures)
        ratio = f"{ours / stock:9.2f}" if stock else f"{'-':>9}"
        line += f"{ours * 1000:9.3f}{stock * 1000:9.3f}{ratio}"
    print(line)


# --- against a server of our own ---


def serve() -> None:
    """The server's process: says on stdout where it listens, and ends when stdin does."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    import trustme

    from tests.support.servers import LocalServer
    from tests.support.tls import server_context

    ca = trustme.CA()
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalServer(record=False) as plain,
        LocalServer(record=False, tls=server_context(ca)) as secure,
    ):
        bundle = str(Path(folder) / "ca.pem")
        ca.cert_pem.write_to_path(bundle)
        print(json.dumps({"http": plain.url, "https": secure.url, "ca": bundle}), flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            sys.stdin.read()


@contextlib.contextmanager
def local_server() -> Iterator[dict[str, str]]:
    """Run `serve` in a process of its own, for as long as the block lasts."""
    command = [sys.executable, __file__, "--serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise SystemExit("the local server did not start; its error stands above")
        try:
            yield json.loads(line)
        finally:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()


def local_requests(http: str, https: str) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        ("GET", http + "/", {}),
        ("GET", http + "/bytes/1000", {}),
        ("POST", http + "/echo", {"json": {"a": 1}}),
        ("GET", http + "/gzip/100000", {}),
        ("GET", http + "/chunked/1000000", {}),
        ("PUT", http + "/upload", {"data": (b"x" * 50_000 for _ in range(20))}),
        ("GET", http + "/redirect/2", {}),
        ("GET", http + "/cookies/set?flavour=oat", {}),
        ("GET", http + "/cookies", {}),
        ("HEAD", http + "/bytes/1000", {}),
        ("GET", https + "/", {}),
        ("GET", https + "/redirect-to?url=" + http + "/echo", {}),
        ("GET", https + "/bytes/1000000", {}),
    ]


def demo_local() -> bool:
    with local_server() as where:
        print(f"A server of our own: {where['http']} and {where['https']}")
        adapter = httpcore_requests.HTTPAdapter()
        with open_session(adapter, where["ca"]) as session:
            asked = local_requests(where["http"], where["https"])
            results = [show(session, method, url, **options) for method, url, options in asked]
            print("\nAnd one that must fail, with a text that says why")
            show(session, "GET", refused_url())
            show_pool(adapter)
        urls = {
            "small GET": where["http"] + "/",
            "small GET, TLS": where["https"] + "/",
            "1 MB": where["http"] + "/bytes/1000000",
        }
        compare(urls, where["ca"], LOCAL_ROUNDS, LOCAL_BATCH)
    return all(results)


def refused_url() -> str:
    """A URL on a port that nothing listens on (free a moment ago)."""
    import socket

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{sock.getsockname()[1]}/"


# --- against URLs somebody typed ---


def demo_urls(urls: list[str]) -> bool:
    adapter = httpcore_requests.HTTPAdapter()
    with open_session(adapter, True) as session:
        good = [url for url in urls if show(session, "GET", url)]
        for url in good:  # once more, to see the connection reused
            show(session, "GET", url)
        show_pool(adapter)
    if good:
        named = {f"URL {at}": url for at, url in enumerate(good, 1)}
        for name, url in named.items():
            print(f"\n{name}: {url}", end="")
        print()
        compare(named, True, REMOTE_ROUNDS, REMOTE_BATCH)
    return len(good) == len(urls)


def main(arguments: list[str]) -> int:
    if arguments == ["--serve"]:
        serve()
        return 0
    if any(argument.startswith("-") for argument in arguments):
        print(__doc__)
        return 0 if arguments in (["-h"], ["--help"]) else 2
    print(f"httpcore {httpcore.__version__} under requests {requests.__version__}")
    run: Callable[[], bool] = (lambda: demo_urls(arguments)) if arguments else demo_local
    try:
        return 0 if run() else 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
