"""What is measured and what must be reached.

Owns: the tables of cases, memory checks and targets. Must not know: how a case is run.
"""

from __future__ import annotations

from typing import NamedTuple

OURS = "ours"
STOCK = "stock"
URLLIB3 = "urllib3"
HTTPCORE_109 = "httpcore-1.0.9"
HTTP_CLIENT = "http.client"
PYCURL = "pycurl"
SOCKET = "socket"

PEERS = (OURS, URLLIB3, HTTPCORE_109, HTTP_CLIENT, PYCURL, SOCKET, STOCK)

KILO = 1024
MEGA = 1024 * KILO
GIGA = 1024 * MEGA

SMALL_BODY = b"Hello, world!"
SINK_BODY = b"ok"


class Contestant(NamedTuple):
    """One client in one case.

    Args:
        label: its name in the results.
        peer: which client it is, one of `PEERS`.
        threads: how many threads send requests at the same time.
        connections: the limit of its pool; clients without a pool use one for each thread.
        variant: what is special about it, for the worker.
        share: the part of the case's requests that it sends; below one for those so slow that
            the round would take half a minute.
    """

    label: str
    peer: str
    threads: int = 1
    connections: int = 1
    share: float = 1.0
    variant: str = ""


class Case(NamedTuple):
    """One thing to measure.

    Args:
        name: what `--case` calls it.
        title: what it is, for the reader.
        kind: which program of the worker runs it.
        path: what is asked for.
        received: bytes in the body of each answer.
        requests: requests of one round at scale 1, chosen so that a round of most contestants
            takes a good part of a second.
        contestants: who takes part, ours first.
        upload: bytes in the body of each request; above zero makes it a POST.
        tls: whether the TLS listener is used.
    """

    name: str
    title: str
    kind: str
    path: str
    received: int
    requests: int
    contestants: tuple[Contestant, ...]
    upload: int = 0
    tls: bool = False


class MemoryCase(NamedTuple):
    """One limit on memory.

    Args:
        name: what `--case` calls it.
        title: what it is, for the reader.
        kind: which program of the worker runs it.
        size: bytes to move at scale 1.
        limit: bytes by which the process may grow (for `.content`: beyond the body itself).
        upload: whether the bytes go up.
    """

    name: str
    title: str
    kind: str
    size: int
    limit: int
    upload: bool = False


class Target(NamedTuple):
    """`metric` of ours in `case` is to be at most `limit` times that of `contestant`."""

    case: str
    metric: str
    limit: float
    contestant: str


def _core(*peers: str, threads: int = 1, connections: int = 1) -> tuple[Contestant, ...]:
    return tuple(Contestant(peer, peer, threads, connections) for peer in peers)


def _crowd(peer: str, share: float) -> Contestant:
    return Contestant(peer, peer, threads=256, connections=100, share=share)


_ALL = _core(OURS, URLLIB3, HTTPCORE_109, HTTP_CLIENT, PYCURL, SOCKET)
_UNDER_REQUESTS = _core(OURS, STOCK)

#: Ours with as many connections as threads: what a request costs when nobody waits for one.
UNCROWDED = Contestant("ours-16-on-16", OURS, threads=16, connections=16)

#: Ours, connecting to the one address of a name: nobody to race with.
ONE_ADDRESS = Contestant("ours-one-address", OURS, variant="one")
#: Ours, when no TLS session can be resumed.
FULL_HANDSHAKE = Contestant("ours-full-handshake", OURS, variant="full")

CASES = (
    Case("get", "small GET", "core", "/small", len(SMALL_BODY), 1000, _ALL),
    Case("tls-get", "small GET over TLS", "core", "/small", len(SMALL_BODY), 800, _ALL, tls=True),
    Case("post-64k", "POST of 64 kB", "core", "/sink", len(SINK_BODY), 600, _ALL, 64 * KILO),
    Case("body-1m", "GET of 1 MB", "core", f"/body/{MEGA}", MEGA, 150, _ALL),
    Case("body-100m", "GET of 100 MB", "core", f"/body/{100 * MEGA}", 100 * MEGA, 2, _ALL),
    Case(
        "threads-32",
        "small GET, 32 threads on one pool",
        "core",
        "/small",
        len(SMALL_BODY),
        32 * 100,
        _core(OURS, URLLIB3, HTTPCORE_109, HTTP_CLIENT, PYCURL, SOCKET, threads=32, connections=32),
    ),
    Case(
        "threads-256",
        "small GET, 256 threads on 100 connections",
        "core",
        "/small",
        len(SMALL_BODY),
        256 * 32,
        (_crowd(OURS, 1), _crowd(URLLIB3, 1 / 4), _crowd(HTTPCORE_109, 1 / 8), UNCROWDED),
    ),
    Case(
        "connect",
        "small GET, each on a new connection to a name with two addresses",
        "connect",
        "/small",
        len(SMALL_BODY),
        300,
        (
            Contestant(OURS, OURS, variant="two"),
            ONE_ADDRESS,
            Contestant(URLLIB3, URLLIB3),
            Contestant(SOCKET, SOCKET),
        ),
    ),
    Case(
        "tls-connect",
        "small GET over TLS, each on a new connection",
        "connect",
        "/small",
        len(SMALL_BODY),
        100,
        (
            Contestant(OURS, OURS),
            FULL_HANDSHAKE,
            Contestant(URLLIB3, URLLIB3),
            Contestant(SOCKET, SOCKET),
        ),
        tls=True,
    ),
    Case(
        "adapter-send",
        "adapter.send of a prepared request, and .content",
        "adapter-send",
        "/small",
        len(SMALL_BODY),
        500,
        _UNDER_REQUESTS,
    ),
    Case(
        "session-get",
        "Session.get",
        "session",
        "/small",
        len(SMALL_BODY),
        400,
        _UNDER_REQUESTS,
    ),
    Case(
        "session-get-cookie",
        "Session.get, each answer sets a cookie",
        "session",
        "/cookie",
        len(SMALL_BODY),
        300,
        _UNDER_REQUESTS,
    ),
    Case(
        "session-threads-32",
        "Session.get, 32 threads on one session with as many connections",
        "session",
        "/small",
        len(SMALL_BODY),
        32 * 30,
        _core(OURS, STOCK, threads=32, connections=32),
    ),
    Case(
        "session-1m", "Session.get of 1 MB", "session", f"/body/{MEGA}", MEGA, 80, _UNDER_REQUESTS
    ),
    Case(
        "session-100m",
        "Session.get of 100 MB",
        "session",
        f"/body/{100 * MEGA}",
        100 * MEGA,
        2,
        _UNDER_REQUESTS,
    ),
    Case(
        "session-new-tls",
        "a new Session for each HTTPS request",
        "session-new",
        "/small",
        len(SMALL_BODY),
        20,
        _UNDER_REQUESTS,
        tls=True,
    ),
)

#: Growth allowed while a body of any size streams through: buffers, and what the allocator
#: keeps of them.
STREAM_GROWTH = 8 * MEGA

#: Beyond the body itself, `.content` may hold two chunks. Our largest read is 64 KiB of a body
#: whose place is already there; as much again is for the response and its headers.
CONTENT_GROWTH = 2 * 64 * KILO + 64 * KILO

MEMORY_CASES = (
    MemoryCase("memory-download", "1 GB down, streamed, core", "stream-core", GIGA, STREAM_GROWTH),
    MemoryCase(
        "memory-download-session",
        "1 GB down, streamed, Session",
        "stream-session",
        GIGA,
        STREAM_GROWTH,
    ),
    MemoryCase(
        "memory-upload", "1 GB up, an iterator, core", "upload-core", GIGA, STREAM_GROWTH, True
    ),
    MemoryCase(
        "memory-upload-session",
        "1 GB up, a file, Session",
        "upload-session",
        GIGA,
        STREAM_GROWTH,
        True,
    ),
    MemoryCase(
        "memory-content", "content of 100 MB, core", "content-core", 100 * MEGA, CONTENT_GROWTH
    ),
    MemoryCase(
        "memory-content-session",
        "content of 100 MB, Session",
        "content-session",
        100 * MEGA,
        CONTENT_GROWTH,
    ),
)

TARGETS = (
    Target("get", "wall", 0.45, URLLIB3),
    Target("get", "cpu", 0.38, URLLIB3),
    Target("get", "wall", 1.8, PYCURL),
    Target("tls-get", "wall", 0.55, URLLIB3),
    Target("threads-32", "wall", 0.45, URLLIB3),
    Target("threads-256", "wall", 0.25, HTTPCORE_109),
    Target("threads-256", "cpu", 1.2, UNCROWDED.label),
    Target("body-100m", "wall", 1.0, URLLIB3),
    Target("connect", "wall", 1.05, ONE_ADDRESS.label),
    Target("tls-connect", "cpu", 0.6, FULL_HANDSHAKE.label),
    Target("adapter-send", "wall", 0.55, STOCK),
    Target("adapter-send", "cpu", 0.50, STOCK),
    Target("session-get", "wall", 0.70, STOCK),
    Target("session-get-cookie", "wall", 0.75, STOCK),
    Target("session-threads-32", "wall", 0.65, STOCK),
    Target("session-1m", "wall", 0.55, STOCK),
    Target("session-100m", "wall", 0.40, STOCK),
    Target("session-new-tls", "wall", 0.2, STOCK),
)

NAMES = tuple(case.name for case in (*CASES, *MEMORY_CASES))
