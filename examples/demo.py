"""What it is good for, shown: the comparison with requests on urllib3, and five things more.

    python examples/demo.py            against servers of its own, plain and TLS
    python examples/demo.py URL...     the comparison against those URLs

Ends with status 1 when something did not go as it says. Needs requests and nothing else; the
certificate of the server is in demo_certificate.pem, which nobody should trust.

Owns: what is shown, and how it is printed. Must not know: anything but public names.
"""

from __future__ import annotations

import contextlib
import json
import ssl
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests

import httpcore
import httpcore_requests

CERTIFICATE = str(Path(__file__).with_name("demo_certificate.pem"))
# Seconds to connect and to wait for the next bytes: patient for a human in front of a terminal.
TIMEOUT = (5.0, 20.0)
# Times each session is measured, in turn. For real URLs few, out of politeness.
LOCAL_ROUNDS, LOCAL_BATCH = 11, 100
REMOTE_ROUNDS, REMOTE_BATCH = 5, 1
# Seconds that the endless answers of the server are given, and seconds between two of its bytes.
LIMIT, DRIP = 0.5, 0.1


def say(number: int, title: str, text: str) -> None:
    print(f"{number}. {title}\n   {text}")


# --- the comparison ---


def measure(session: requests.Session, url: str, batch: int) -> tuple[float, float]:
    """Return wall and CPU seconds of this process for one request."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(batch):
        _ = session.get(url, timeout=TIMEOUT).content
    return (time.perf_counter() - wall) / batch, (time.process_time() - cpu) / batch


def compare(urls: dict[str, str], verify: bool | str, rounds: int, batch: int) -> bool:
    """Print, for each URL, how much less a request costs; return whether all of them answered."""
    print("One Session.get, ours beside requests on urllib3 (medians, in turn):")
    good = True
    with httpcore_requests.Session() as ours, requests.Session() as stock:
        for session in (ours, stock):
            session.verify = verify
            # A certificate of our own making means our own server: keep the machine's proxies out.
            session.trust_env = verify is True
        for name, url in urls.items():
            try:
                figures = take_turns((ours, stock), url, rounds, batch)
            except requests.RequestException as exc:
                print(f"   {name}: failed: {type(exc).__name__}: {exc}")
                good = False
                continue
            (our_wall, our_cpu), (wall, cpu) = figures
            cost = f"{our_cpu * 1000:.2f} ms, theirs {cpu * 1000:.2f} ms"
            print(f"   {name}:\n      {times(cpu, our_cpu, 'CPU')} ({cost})")
            spent = f"{our_wall * 1000:.2f} ms, theirs {wall * 1000:.2f} ms"
            print(f"      {times(wall, our_wall, 'time')} ({spent})")
    return good


def take_turns(
    sessions: tuple[requests.Session, ...], url: str, rounds: int, batch: int
) -> list[tuple[float, float]]:
    """Return the medians of wall and CPU seconds for each session."""
    for session in sessions:  # connect first: the rounds measure warm requests
        measure(session, url, 1)
    figures: list[list[tuple[float, float]]] = [[] for _ in sessions]
    for turn in range(rounds):
        # Who goes first changes each round, so that neither always finds the warmer server.
        for at in (0, 1) if turn % 2 else (1, 0):
            figures[at].append(measure(sessions[at], url, batch))
    return [
        (statistics.median(wall for wall, _ in each), statistics.median(cpu for _, cpu in each))
        for each in figures
    ]


def times(theirs: float, ours: float, what: str) -> str:
    if not ours or not theirs:
        return f"no {what} to be seen"
    ratio = theirs / ours
    return f"{ratio:.1f} x less {what}" if ratio >= 1 else f"{1 / ratio:.1f} x more {what}"


# --- five things that requests on urllib3 cannot do ---


def total_deadline(url: str) -> str:
    timeout = httpcore_requests.Timeout(total=LIMIT)
    begun = time.perf_counter()
    try:
        with httpcore_requests.Session() as session:
            session.get(f"{url}/drip/1000?delay={DRIP}", timeout=timeout)
    except requests.RequestException as exc:  # which one depends on what it waited for
        if f"total of {LIMIT} s" not in str(exc):
            raise
        taken = time.perf_counter() - begun
        return (
            f"Timeout(total={LIMIT}) ended an answer of a byte every {DRIP} s after {taken:.2f} s."
        )
    raise AssertionError("the answer that drips was read to its end")


def cancel(url: str) -> str:
    token = httpcore.CancelToken()
    timer = threading.Timer(0.2, token.cancel)
    timer.start()
    begun = time.perf_counter()
    try:
        with httpcore_requests.Session() as session:
            session.get(url + "/hang", timeout=httpcore_requests.Timeout(cancel=token))
    except requests.ConnectionError:
        taken = time.perf_counter() - begun
        return f"token.cancel() in another thread ended a request that hung after {taken:.2f} s."
    finally:
        timer.join()
    raise AssertionError("the server that hangs has answered")


def phase_of_a_failure(url: str) -> str:
    phases = []
    with httpcore_requests.Session() as session:
        for target in ("http://127.0.0.1:1/", url + "/drop"):
            try:
                session.post(target, data=b"order", timeout=TIMEOUT)
            except requests.ConnectionError as exc:
                phases.append(httpcore_requests.phase(exc))
    if phases != ["not_sent", "maybe_processed"]:
        raise AssertionError(f"the phases were {phases}")
    return "phase(error): 'not_sent' where nobody listens, 'maybe_processed' where it was taken."


def http2_with_threads(url: str) -> str:
    with httpcore_requests.Session() as session, ThreadPoolExecutor(8) as threads:
        adapter = httpcore_requests.HTTPAdapter(http2=True)
        session.mount("https://", adapter)
        session.verify, session.trust_env = CERTIFICATE, False
        answers = list(threads.map(lambda _: session.get(url, timeout=TIMEOUT), range(200)))
        versions = {answer.raw.version for answer in answers}
        count = len(adapter.pool.connections)
    if versions != {20} or count != 1:
        raise AssertionError(f"HTTP versions {versions} on {count} connections")
    return f"{len(answers)} requests of 8 threads went over {count} connection, with HTTP/2."


def pool_that_explains_itself(url: str) -> str:
    with httpcore.ConnectionPool(max_connections=1) as pool:
        with pool.stream("GET", url + "/drip/1000"):
            try:
                pool.request("GET", url + "/", extensions={"timeout": {"pool": 0.2}})
            except httpcore.PoolTimeout as exc:
                return str(exc)
    raise AssertionError("a second connection was opened beside the only one")


FIVE: list[tuple[str, str, Callable[[str], str]]] = [
    ("One deadline for everything", "http", total_deadline),
    ("Cancel, from any thread", "http", cancel),
    ("How far a failed request got", "http", phase_of_a_failure),
    ("HTTP/2, one connection for all threads", "http2", http2_with_threads),
    ("A pool that explains itself", "http", pool_that_explains_itself),
]


def show_five(where: dict[str, str]) -> bool:
    print("\nFive things that requests on urllib3 cannot do:")
    good = True
    for number, (title, server, show) in enumerate(FIVE, 1):
        try:
            say(number, title, show(where[server]))
        except Exception as exc:  # whatever it is: the others are shown all the same
            say(number, title, f"FAILED: {type(exc).__name__}: {exc}")
            good = False
    return good


# --- servers of our own ---


def serve() -> None:
    """Run the servers: say on stdout where they listen, and end when stdin does."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from tests.support.http2 import FrameServer, Link
    from tests.support.servers import LocalServer

    contexts = {}
    for protocol in ("http/1.1", "h2"):
        contexts[protocol] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        contexts[protocol].load_cert_chain(CERTIFICATE)
        contexts[protocol].set_alpn_protocols([protocol])
    with (
        LocalServer(record=False) as plain,
        LocalServer(record=False, tls=contexts["http/1.1"]) as secure,
        FrameServer(Link.serve, tls=contexts["h2"]) as http2,
    ):
        urls = {"http": plain.url, "https": secure.url, "http2": http2.url}
        print(json.dumps(urls), flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            sys.stdin.read()


@contextlib.contextmanager
def local_servers() -> Iterator[dict[str, str]]:
    """Run `serve` in a process of its own, for as long as the block lasts."""
    command = [sys.executable, __file__, "--serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise SystemExit("the local servers did not start; the error stands above")
        try:
            yield json.loads(line)
        finally:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()


def demo_local() -> bool:
    with local_servers() as where:
        urls = {
            "small answer": where["http"] + "/",
            "small answer, TLS": where["https"] + "/",
            "1 MB": where["http"] + "/bytes/1000000",
        }
        compared = compare(urls, CERTIFICATE, LOCAL_ROUNDS, LOCAL_BATCH)
        return show_five(where) and compared


def main(arguments: list[str]) -> int:
    if arguments == ["--serve"]:
        serve()
        return 0
    if any(argument.startswith("-") for argument in arguments):
        print(__doc__)
        return 0 if arguments in (["-h"], ["--help"]) else 2
    print(f"httpcore {httpcore.__version__} under requests {requests.__version__}\n")
    try:
        if arguments:
            urls = {url: url for url in arguments}
            good = compare(urls, True, REMOTE_ROUNDS, REMOTE_BATCH)
        else:
            good = demo_local()
    except KeyboardInterrupt:
        return 130
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
