"""What is measured and what must be reached.

Owns: the tables of cases, memory checks and targets. Must not know: how a case is run.
"""

from __future__ import annotations

from typing import NamedTuple

OURS = "ours"
STOCK = "stock"
URLLIB3 = "urllib3"
HTTPCORE_109 = "httpcore-1.0.9"
HTTPCORE2 = "httpcore2-2.16.2"
HTTP_CLIENT = "http.client"
PYCURL = "pycurl"
NIQUESTS = "niquests"
SOCKET = "socket"
#: The floor of HTTP/2 with `h2`: that library alone over a TLS socket.
BARE_H2 = "bare-h2"
#: The same with `jh2`, a compiled engine of the same shape.
BARE_JH2 = "bare-jh2"
AIOHTTP = "aiohttp"
#: HTTPX on httpcore 1.0.9. On ours it is ours, in the cases of the kind `UNDER_HTTPX`.
HTTPX = "httpx"
PYREQWEST = "pyreqwest"
#: The floor in an event loop: an `asyncio.Protocol`.
ASYNCIO = "asyncio"
#: As a gateway: `proxy_pass`.
NGINX = "nginx"
#: The floor of a gateway in Python: the server alone, with an answer that is there already.
HELLO = "uvicorn-hello"

PEERS = (
    *(OURS, URLLIB3, HTTPCORE_109, HTTPCORE2, HTTP_CLIENT, PYCURL, SOCKET),
    *(BARE_H2, BARE_JH2, STOCK, NIQUESTS),
    *(AIOHTTP, HTTPX, PYREQWEST, ASYNCIO),
    *(NGINX, HELLO),
)

#: The kind of a case in an event loop, and of one under `httpx.AsyncClient`.
ASYNC = "async"
UNDER_HTTPX = "async-httpx"
#: The kind of a case of gateways, each in a process of its own before the server.
GATEWAY = "gateway"
#: The kinds of memory checks of our gateway.
GATEWAY_DOWNLOAD, GATEWAY_UPLOAD = "gateway-download", "gateway-upload"

#: The variant of a contestant that speaks HTTP/1.1 in a case of HTTP/2.
HTTP1 = "http1"
#: The variant of pycurl that is set up once and does the least that a request needs. The other one
#: does what a client does: it gets URL and fields for each request, and returns status, fields
#: and body.
BARE = "bare"
#: The variants of a client that do not run in asyncio's own loop.
UVLOOP, TRIO = "uvloop", "trio"
#: The variant of a gateway that does not run under uvicorn.
GRANIAN = "granian"
#: The variant of a socket that keeps the body, in one buffer whose pages are there before.
KEPT = "kept"

KILO = 1024
MEGA = 1024 * KILO
GIGA = 1024 * MEGA

SMALL_BODY = b"Hello, world!"
SINK_BODY = b"ok"


class Contestant(NamedTuple):
    """One client in one case.

    Parameters:
        label: its name in the results.
        peer: which client it is, one of `PEERS`.
        threads: how many threads send requests at the same time; in an event loop, how many tasks;
            before a gateway, how many connections of the load generator.
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

    Parameters:
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
        http2: whether it is HTTP/2, over TLS; contestants of the variant `HTTP1` excepted.
        delay: seconds that a link adds to each way; for HTTP/2 only.
        rate: bytes a second that this link carries; 0 for as many as come.
        seconds: of one round at scale 1 where as many requests are sent as are answered, as load
            generators do; `requests` is 0 then.
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
    http2: bool = False
    delay: float = 0.0
    rate: float = 0.0
    seconds: float = 0.0


class MemoryCase(NamedTuple):
    """One limit on memory.

    Parameters:
        name: what `--case` calls it.
        title: what it is, for the reader.
        kind: which program of the worker runs it.
        size: bytes to move at scale 1.
        limit: bytes by which the process may grow (for `.content`: beyond the body itself).
        upload: whether the bytes go up.
        http2: whether it is HTTP/2, over TLS.
        streams: where it is their number that matters: how many at scale 1, of `size` bytes at
            any scale.
    """

    name: str
    title: str
    kind: str
    size: int
    limit: int
    upload: bool = False
    http2: bool = False
    streams: int = 0


class Target(NamedTuple):
    """`metric` of ours in `case` is to be at most `limit` times that of `contestant`.

    A rate is a target for `wall`, the time for one request: six times the rate of another is a
    sixth of its time.
    """

    case: str
    metric: str
    limit: float
    contestant: str


def _core(*peers: str, threads: int = 1, connections: int = 1) -> tuple[Contestant, ...]:
    return tuple(Contestant(peer, peer, threads, connections) for peer in peers)


def _crowd(peer: str, share: float) -> Contestant:
    return Contestant(peer, peer, threads=256, connections=100, share=share)


#: pycurl, doing the least.
BARE_PYCURL = Contestant("pycurl-bare", PYCURL, variant=BARE)
#: The floor of a large body: a buffer that is there already, filled by `recv_into`.
KEPT_BUFFER = Contestant("socket-kept", SOCKET, variant=KEPT)

_ALL = (*_core(OURS, URLLIB3, HTTPCORE_109, HTTP_CLIENT, PYCURL), BARE_PYCURL, *_core(SOCKET))
_UNDER_REQUESTS = _core(OURS, STOCK)
_SESSIONS = _core(OURS, STOCK, NIQUESTS)
_HTTP2 = (*_core(OURS, HTTPCORE2, HTTPCORE_109, PYCURL), BARE_PYCURL, *_core(BARE_H2, BARE_JH2))

#: Ours with as many connections as threads: what a request costs when nobody waits for one.
UNCROWDED = Contestant("ours-16-on-16", OURS, threads=16, connections=16)

#: Ours, as fast as it is over the same link without HTTP/2.
OVER_HTTP1 = Contestant("ours-http1", OURS, variant=HTTP1)

#: Ours, connecting to the one address of a name: nobody to race with.
ONE_ADDRESS = Contestant("ours-one-address", OURS, variant="one")
#: Ours, when no TLS session can be resumed.
FULL_HANDSHAKE = Contestant("ours-full-handshake", OURS, variant="full")


def _tasks(
    peer: str, tasks: int = 100, share: float = 1.0, variant: str = "", connections: int = 100
) -> Contestant:
    """A client in an event loop."""
    label = f"{peer}-{variant}" if variant else peer
    return Contestant(label, peer, tasks, min(tasks, connections), share, variant)


def _alone(peer: str, share: float = 1.0, variant: str = "") -> Contestant:
    return _tasks(peer, 1, share, variant)


def _on_one_connection(peer: str, share: float = 1.0) -> Contestant:
    return _tasks(peer, share=share, connections=1)


def _in_trio(tasks: int) -> Contestant:
    """Ours in trio, where it is that which is divided by the others."""
    return _tasks(OURS, tasks, variant=TRIO)._replace(label=OURS)


#: Ours, with a connection for each task.
ASYNC_UNCROWDED = _tasks(OURS)._replace(label="ours-100-on-100")
#: Ours in asyncio, where the other one runs in trio.
ON_ASYNCIO = _alone(OURS)._replace(label="ours-asyncio")

#: Connections that a gateway may have to the server behind it: the default of ours, of httpx and of
#: aiohttp.
_BEHIND = 100


def _gateway(
    peer: str, clients: int, share: float = 1.0, variant: str = "", label: str = ""
) -> Contestant:
    label = label or (f"{peer}-{variant}" if variant else peer)
    return Contestant(label, peer, clients, _BEHIND, share, variant)


def _small_gateways(clients: int) -> tuple[Contestant, ...]:
    return (
        *(_gateway(OURS, clients), _gateway(OURS, clients, variant=GRANIAN)),
        *(_gateway(each, clients) for each in (HTTPX, AIOHTTP, NGINX, HELLO)),
    )


def _large_gateways(clients: int, share: float) -> tuple[Contestant, ...]:
    """HTTPX takes part for longer: it finishes little in a round."""
    return (
        *(_gateway(OURS, clients), _gateway(HTTPX, clients, share)),
        *(_gateway(each, clients) for each in (AIOHTTP, NGINX, HELLO)),
    )


CASES = (
    Case("get", "small GET", "core", "/small", len(SMALL_BODY), 1000, _ALL),
    Case("tls-get", "small GET over TLS", "core", "/small", len(SMALL_BODY), 800, _ALL, tls=True),
    Case("post-64k", "POST of 64 kB", "core", "/sink", len(SINK_BODY), 600, _ALL, 64 * KILO),
    Case("body-1m", "GET of 1 MB", "core", f"/body/{MEGA}", MEGA, 150, _ALL),
    Case(
        "body-100m",
        "GET of 100 MB",
        "core",
        f"/body/{100 * MEGA}",
        100 * MEGA,
        2,
        (*_ALL, KEPT_BUFFER),
    ),
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
        _SESSIONS,
    ),
    Case(
        "session-get-cookie",
        "Session.get, each answer sets a cookie",
        "session",
        "/cookie",
        len(SMALL_BODY),
        300,
        _SESSIONS,
    ),
    Case(
        "session-redirect",
        "Session.get, redirected once",
        "session",
        "/redirect",
        len(SMALL_BODY),
        150,
        _SESSIONS,
    ),
    Case(
        "session-threads-32",
        "Session.get, 32 threads on one session with as many connections",
        "session",
        "/small",
        len(SMALL_BODY),
        32 * 30,
        _core(OURS, STOCK, NIQUESTS, threads=32, connections=32),
    ),
    Case("session-1m", "Session.get of 1 MB", "session", f"/body/{MEGA}", MEGA, 80, _SESSIONS),
    Case(
        "session-100m",
        "Session.get of 100 MB",
        "session",
        f"/body/{100 * MEGA}",
        100 * MEGA,
        2,
        _SESSIONS,
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
    Case(
        "h2-get",
        "HTTP/2: small GET",
        "core",
        "/small",
        len(SMALL_BODY),
        500,
        _HTTP2,
        http2=True,
    ),
    Case(
        "h2-body-1m", "HTTP/2: GET of 1 MB", "core", f"/body/{MEGA}", MEGA, 60, _HTTP2, http2=True
    ),
    Case(
        "h2-threads-16",
        "HTTP/2: small GET, 16 threads on one connection",
        "core",
        "/small",
        len(SMALL_BODY),
        16 * 40,
        _core(OURS, HTTPCORE2, HTTPCORE_109, threads=16),
        http2=True,
    ),
    Case(
        "h2-far-100m",
        "HTTP/2: GET of 100 MB, 50 ms added to the round trip, at any rate",
        "core",
        f"/body/{100 * MEGA}",
        100 * MEGA,
        1,
        (*_core(OURS, HTTPCORE2), OVER_HTTP1),
        http2=True,
        delay=0.025,
    ),
    Case(
        "h2-far-100m-1g",
        "HTTP/2: GET of 100 MB, 50 ms added to the round trip, at 1 Gbit/s",
        "core",
        f"/body/{100 * MEGA}",
        100 * MEGA,
        1,
        (*_core(OURS), OVER_HTTP1),
        http2=True,
        delay=0.025,
        rate=1e9 / 8,
    ),
    Case(
        "h2-session-get",
        "HTTP/2: Session.get, beside HTTP/1.1 over TLS",
        "session",
        "/small",
        len(SMALL_BODY),
        300,
        (
            *_core(OURS, NIQUESTS),
            Contestant(STOCK, STOCK, variant=HTTP1),
            OVER_HTTP1,
        ),
        http2=True,
    ),
    Case(
        "async-get",
        "async: small GET",
        ASYNC,
        "/small",
        len(SMALL_BODY),
        1000,
        (
            *(_alone(OURS), _alone(OURS, variant=UVLOOP)),
            *(_alone(AIOHTTP), _alone(AIOHTTP, variant=UVLOOP)),
            *(_alone(HTTPCORE_109, 1 / 5), _alone(HTTPCORE2, 1 / 5), _alone(NIQUESTS, 1 / 8)),
            *(_alone(PYREQWEST), _alone(ASYNCIO)),
        ),
    ),
    Case(
        "async-tasks-100",
        "async: small GET, 100 tasks on as many connections",
        ASYNC,
        "/small",
        len(SMALL_BODY),
        100 * 15,
        (
            *(_tasks(OURS), _tasks(OURS, variant=UVLOOP)),
            *(_tasks(AIOHTTP), _tasks(AIOHTTP, variant=UVLOOP)),
            *(_tasks(HTTPCORE_109, share=1 / 15), _tasks(HTTPCORE2, share=2 / 15)),
            *(_tasks(NIQUESTS, share=1 / 5), _tasks(PYREQWEST), _tasks(ASYNCIO)),
        ),
    ),
    Case(
        "async-tasks-1000",
        "async: small GET, 1,000 tasks on 100 connections",
        ASYNC,
        "/small",
        len(SMALL_BODY),
        1000 * 2,
        (*(_tasks(each, 1000) for each in (OURS, AIOHTTP, PYREQWEST)), ASYNC_UNCROWDED),
    ),
    Case(
        "async-tls-get",
        "async: small GET over TLS",
        ASYNC,
        "/small",
        len(SMALL_BODY),
        600,
        (
            *(_alone(OURS), _alone(AIOHTTP), _alone(HTTPCORE2, 1 / 5)),
            *(_alone(PYREQWEST), _alone(ASYNCIO)),
        ),
        tls=True,
    ),
    Case(
        "async-tls-tasks-100",
        "async: small GET over TLS, 100 tasks on as many connections",
        ASYNC,
        "/small",
        len(SMALL_BODY),
        100 * 10,
        tuple(_tasks(each) for each in (OURS, AIOHTTP, PYREQWEST, ASYNCIO)),
        tls=True,
    ),
    Case(
        "async-tls-body-10m",
        "async: GET of 10 MB over TLS",
        ASYNC,
        f"/body/{10 * MEGA}",
        10 * MEGA,
        6,
        (
            *(_alone(OURS), _alone(AIOHTTP), _alone(HTTPCORE2, 1 / 3)),
            *(_alone(PYREQWEST), _alone(ASYNCIO)),
        ),
        tls=True,
    ),
    Case(
        "async-h2-tasks-100",
        "async: HTTP/2: small GET, 100 tasks on one connection",
        ASYNC,
        "/small",
        len(SMALL_BODY),
        100 * 10,
        (
            _on_one_connection(OURS),
            *(_on_one_connection(HTTPCORE2, 1 / 5), _on_one_connection(HTTPCORE_109, 1 / 5)),
            *(_on_one_connection(NIQUESTS, 1 / 5), _on_one_connection(PYREQWEST)),
        ),
        http2=True,
    ),
    Case(
        "async-httpx-get",
        "async: httpx.AsyncClient.get",
        UNDER_HTTPX,
        "/small",
        len(SMALL_BODY),
        300,
        (_alone(OURS), _alone(HTTPX, 1 / 3)),
    ),
    Case(
        "async-httpx-tasks-100",
        "async: httpx.AsyncClient.get, 100 tasks on as many connections",
        UNDER_HTTPX,
        "/small",
        len(SMALL_BODY),
        100 * 5,
        # No shares: HTTPX drops most idle connections at the end of a round, so that a short one
        # is mostly new connections.
        (_tasks(OURS), _tasks(HTTPX)),
    ),
    Case(
        "async-trio-get",
        "trio: small GET",
        ASYNC,
        "/small",
        len(SMALL_BODY),
        600,
        (_in_trio(1), ON_ASYNCIO, _alone(HTTPCORE2, 1 / 5, TRIO)),
    ),
    Case(
        "async-trio-tasks-100",
        "trio: small GET, 100 tasks on as many connections",
        ASYNC,
        "/small",
        len(SMALL_BODY),
        100 * 10,
        (_in_trio(100), ASYNC_UNCROWDED._replace(label=ON_ASYNCIO.label)),
    ),
    Case(
        "gateway-32",
        "gateway: small GET, 32 clients",
        GATEWAY,
        "/small",
        len(SMALL_BODY),
        0,
        _small_gateways(32),
        seconds=2,
    ),
    Case(
        "gateway-256",
        "gateway: small GET, 256 clients",
        GATEWAY,
        "/small",
        len(SMALL_BODY),
        0,
        _small_gateways(256),
        seconds=2,
    ),
    Case(
        "gateway-1m-32",
        "gateway: GET of 1 MB, 32 clients",
        GATEWAY,
        f"/body/{MEGA}",
        MEGA,
        0,
        _large_gateways(32, 1),
        seconds=2,
    ),
    Case(
        "gateway-1m-256",
        "gateway: GET of 1 MB, 256 clients",
        GATEWAY,
        f"/body/{MEGA}",
        MEGA,
        0,
        _large_gateways(256, 2),
        seconds=3,
    ),
    Case(
        "import", "import httpcore, a process each", "import", "", 0, 5, _core(OURS, HTTPCORE_109)
    ),
    Case(
        "import-adapter",
        "import requests and the adapter, a process each, beside requests alone",
        "import-adapter",
        "",
        0,
        4,
        _UNDER_REQUESTS,
    ),
)

#: Growth allowed while a body of any size streams through: buffers, and what the allocator
#: keeps of them.
STREAM_GROWTH = 8 * MEGA

#: The same for our gateway and a peer that is slow at first.
GATEWAY_GROWTH = 16 * MEGA

#: Beyond the body itself, `.content` may hold two chunks. Our largest read is 64 KiB of a body
#: whose place is already there; as much again is for the response and its headers.
CONTENT_GROWTH = 2 * 64 * KILO + 64 * KILO

#: What a stream may hold that nobody reads, or not as fast as it comes: its window, 16 MiB.
STREAM_WINDOW = 16 * MEGA
#: Growth allowed over any number of streams that are closed early: what the allocator keeps of
#: the buffers. Less than one of the bodies.
CLOSED_GROWTH = 3 * MEGA

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
    # The issue asks for 10,000: that is `--scale 10`.
    MemoryCase(
        "memory-h2-closed",
        "HTTP/2: streams of 4 MB closed after the first piece",
        "closed-core",
        4 * MEGA,
        CLOSED_GROWTH,
        http2=True,
        streams=1000,
    ),
    MemoryCase(
        "memory-h2-unread",
        "HTTP/2: one stream of 100 MB unread, nine others read by a thread each",
        "unread-core",
        100 * MEGA,
        10 * STREAM_WINDOW,
        http2=True,
    ),
    MemoryCase(
        "memory-gateway-download",
        "gateway: 1 GB down to a slow client",
        GATEWAY_DOWNLOAD,
        GIGA,
        GATEWAY_GROWTH,
    ),
    MemoryCase(
        "memory-gateway-upload",
        "gateway: 1 GB up to a slow server",
        GATEWAY_UPLOAD,
        GIGA,
        GATEWAY_GROWTH,
        True,
    ),
)

#: The cases of gateways, all of which have the same targets.
_GATEWAY_CASES = tuple(case.name for case in CASES if case.kind == GATEWAY)

#: At least so many times the rate of the other, and 99 of 100 answers no later.
_GATEWAY_TARGETS = (
    ("wall", 1 / 6, HTTPX),
    ("wall", 1 / 1.5, AIOHTTP),
    ("wall", 1 / 0.15, NGINX),
    ("p99", 1.0, AIOHTTP),
)

# CPU first: wall clock on loopback flatters whoever burns less while others wait for a processor.
TARGETS = (
    Target("get", "cpu", 0.25, URLLIB3),
    Target("get", "cpu", 1.0, PYCURL),
    Target("get", "wall", 0.45, URLLIB3),
    Target("tls-get", "wall", 0.55, URLLIB3),
    Target("threads-32", "wall", 0.45, URLLIB3),
    Target("threads-256", "wall", 0.25, HTTPCORE_109),
    Target("threads-256", "cpu", 1.2, UNCROWDED.label),
    Target("body-100m", "cpu", 1.3, KEPT_BUFFER.label),
    Target("body-100m", "wall", 1.0, URLLIB3),
    Target("connect", "wall", 1.05, ONE_ADDRESS.label),
    Target("tls-connect", "cpu", 0.6, FULL_HANDSHAKE.label),
    Target("adapter-send", "cpu", 0.50, STOCK),
    Target("adapter-send", "wall", 0.55, STOCK),
    Target("session-get", "cpu", 0.30, STOCK),
    Target("session-get-cookie", "cpu", 0.40, STOCK),
    Target("session-redirect", "cpu", 0.40, STOCK),
    Target("session-threads-32", "cpu", 0.35, STOCK),
    Target("session-1m", "cpu", 0.55, STOCK),
    Target("session-100m", "cpu", 0.15, STOCK),
    Target("session-new-tls", "wall", 0.2, STOCK),
    Target("h2-get", "cpu", 2.0, BARE_PYCURL.label),
    Target("h2-get", "cpu", 0.60, HTTPCORE2),
    Target("h2-body-1m", "wall", 0.75, HTTPCORE2),
    Target("h2-threads-16", "wall", 0.60, HTTPCORE2),
    Target("h2-session-get", "cpu", 0.5, NIQUESTS),
    # At least 0.9 of the rate.
    Target("h2-far-100m", "wall", 1.11, OVER_HTTP1.label),
    Target("h2-far-100m-1g", "wall", 1.11, OVER_HTTP1.label),
    Target("async-get", "cpu", 0.70, AIOHTTP),
    Target("async-tasks-100", "cpu", 0.60, AIOHTTP),
    Target("async-tasks-100", "cpu", 0.10, HTTPCORE2),
    Target("async-tasks-1000", "cpu", 1.5, ASYNC_UNCROWDED.label),
    Target("async-tls-get", "cpu", 0.55, AIOHTTP),
    Target("async-tls-tasks-100", "cpu", 0.55, AIOHTTP),
    Target("async-tls-body-10m", "cpu", 0.5, AIOHTTP),
    Target("async-h2-tasks-100", "cpu", 0.30, HTTPCORE2),
    Target("async-httpx-get", "cpu", 0.75, HTTPX),
    Target("async-trio-get", "cpu", 1.8, ON_ASYNCIO.label),
    Target("async-trio-tasks-100", "cpu", 1.8, ON_ASYNCIO.label),
    # At least 4.5 times the throughput.
    Target("async-httpx-tasks-100", "wall", 0.222, HTTPX),
    *(Target(name, *bar) for name in _GATEWAY_CASES for bar in _GATEWAY_TARGETS),
    Target("import", "cpu", 1.0, HTTPCORE_109),
    Target("import-adapter", "cpu", 1.15, STOCK),
)

NAMES = tuple(case.name for case in (*CASES, *MEMORY_CASES))
