"""How much memory a large body takes.

Owns: moving a body of `Job.received` or `Job.upload` bytes once, or several at once over one
HTTP/2 connection, and measuring what that adds. Must not know: what is allowed.

A streamed body is measured by the peak of the resident set, which counts everything. For
`.content` the allocator is watched instead: one block of 100 MB among many small ones is told
apart to the byte.
"""

from __future__ import annotations

import resource
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urljoin

from job import HEADERS, Job
from peers import check

#: Bytes that a streaming program moves at a time.
PIECE = 64 * 1024

#: Streams that are read beside the one that is not.
OTHERS = 9


def run(job: Job) -> dict[str, int]:
    """Do what `job.kind` says once.

    Returns:
        `moved`: bytes of body, or `Job.streams`; `growth`: bytes that this took beyond what is
        allowed to stay.
    """
    action = _ACTIONS[job.kind]
    if job.kind.startswith("content"):
        moved, growth = _traced(lambda: action(job))
    else:
        moved, growth = _resident(lambda: action(job))
    expected = job.streams or job.upload or job.received
    if job.kind.startswith("unread"):
        expected *= OTHERS
    if moved != expected:
        raise RuntimeError(f"{moved} of {expected} bytes were moved")
    return {"moved": moved, "growth": growth}


def version() -> str:
    import httpcore

    return f"httpcore {httpcore.__version__}"


def warm_up(job: Job) -> None:
    """Import and cache, with a small body, what a large one does not pay for."""
    if job.http2:
        _warm_up_http2(job)
        return
    stack = job.kind.rpartition("-")[2]
    small = job._replace(url=urljoin(job.url, "/small"), kind=f"stream-{stack}", upload=0)
    _ACTIONS[small.kind](small)


def _resident(action: Callable[[], int]) -> tuple[int, int]:
    """The growth of the peak of the resident set."""
    _forget_peak()
    before = _peak()
    moved = action()
    return moved, _peak() - before


def _traced(action: Callable[[], int]) -> tuple[int, int]:
    """The peak of what was allocated, less the body."""
    tracemalloc.start()
    moved = action()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return moved, peak - moved


def _forget_peak() -> None:
    """On Linux the peak can be set back to what is there now; see proc(5), clear_refs."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass


def _peak() -> int:
    """The largest resident set so far, in bytes.

    Not `ru_maxrss` where it can be helped: on Linux that one remembers the parent process, as
    it was before the exec.
    """
    try:
        with open("/proc/self/status") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _pieces(size: int) -> Iterator[bytes]:
    piece = bytes(PIECE)
    for start in range(0, size, PIECE):
        yield piece[: size - start]


def _stream_core(job: Job) -> int:
    import httpcore

    with (
        httpcore.ConnectionPool() as pool,
        pool.stream("GET", job.url, headers=HEADERS) as response,
    ):
        return sum(len(piece) for piece in response.stream)


def _upload_core(job: Job) -> int:
    import httpcore

    headers = {**HEADERS, "Transfer-Encoding": "chunked"}
    with httpcore.ConnectionPool() as pool:
        response = pool.request("POST", job.url, headers=headers, content=_pieces(job.upload))
        return job.upload if response.status == 200 else 0


def _content_core(job: Job) -> int:
    import httpcore

    with httpcore.ConnectionPool() as pool:
        return len(pool.request("GET", job.url, headers=HEADERS).content)


def _stream_session(job: Job) -> int:
    from sessions import make_session

    session, _ = make_session(job.peer)
    with session, session.get(job.url, stream=True) as response:
        return sum(len(piece) for piece in response.iter_content(PIECE))


def _upload_session(job: Job) -> int:
    from sessions import make_session

    session, _ = make_session(job.peer)
    with session, open(job.file, "rb") as file:
        response = session.post(job.url, data=file)
        return file.tell() if response.status_code == 200 else 0


def _content_session(job: Job) -> int:
    from sessions import make_session

    session, _ = make_session(job.peer)
    with session:
        return len(session.get(job.url).content)


def _pool_http2(job: Job) -> Any:
    import httpcore

    return httpcore.ConnectionPool(ssl_context=job.ssl_context, http2=True, max_connections=1)


def _warm_up_http2(job: Job) -> None:
    """As many streams at once as will be, and a tenth of those that are closed early."""
    _unread(job._replace(url=urljoin(job.url, "/small")))
    if job.streams:
        _closed(job._replace(streams=max(1, job.streams // 10)))


def _read_http2(pool: Any, job: Job) -> int:
    with pool.stream("GET", job.url, headers=HEADERS) as response:
        check(response.status)
        return sum(len(piece) for piece in response.stream)


def _closed(job: Job) -> int:
    """Open streams one after the other and close each at the first piece of its body.

    In the end one is read to its end: what was closed must not have used up the windows.
    """
    with _pool_http2(job) as pool:
        for _ in range(job.streams):
            with pool.stream("GET", job.url, headers=HEADERS) as response:
                check(response.status)
                next(iter(response.stream))
        return job.streams if _read_http2(pool, job) == job.received else 0


def _unread(job: Job) -> int:
    """The bytes that `OTHERS` threads receive, while one stream waits that nobody reads."""
    with _pool_http2(job) as pool, pool.stream("GET", job.url, headers=HEADERS) as response:
        check(response.status)
        with ThreadPoolExecutor(OTHERS) as executor:
            return sum(executor.map(_read_http2, [pool] * OTHERS, [job] * OTHERS))


_ACTIONS: dict[str, Callable[[Job], int]] = {
    "stream-core": _stream_core,
    "stream-session": _stream_session,
    "upload-core": _upload_core,
    "upload-session": _upload_session,
    "content-core": _content_core,
    "content-session": _content_session,
    "closed-core": _closed,
    "unread-core": _unread,
}
