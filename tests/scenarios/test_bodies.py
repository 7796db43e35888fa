"""Large bodies: how many reads and writes, how much is copied, how much memory is held.

Owns: scenarios 30 and 55, and the two sentences about memory. Must not know: private parts of
the packages.

Nothing here looks at a clock: what makes a transfer slow is counted (system calls, their sizes,
copied bytes), and memory is what the kernel says about a process that does nothing else.
"""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import requests

import httpcore
from httpcore_requests import HTTPAdapter
from tests.support import MIB, PATIENCE, ROOT
from tests.support.servers import LocalServer, Peer, ScriptedServer, Serve, pattern

pytestmark = pytest.mark.no_cover


KIB = 1024
GIB = 1024 * MIB


# Bytes of a head are few; this is more than any here has.
HEAD_ROOM = 4 * KIB


# ---------------------------------------------------------------------------------------------
# A network that counts


class Counted(httpcore.NetworkStream):
    """A stream that notes each read and write of the one below it."""

    def __init__(self, below: httpcore.NetworkStream, note: CountingBackend) -> None:
        self._below = below
        self._note = note

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data = self._below.read(max_bytes, timeout)
        self._note.asked.append(max_bytes)
        self._note.reads.append(len(data))
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._note.writes.append(bytes(buffer[:HEAD_ROOM]))
        self._note.sizes.append(len(buffer))
        self._below.write(buffer, timeout)

    def close(self) -> None:
        self._below.close()

    def start_tls(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        return Counted(self._below.start_tls(*args, **kwargs), self._note)

    def get_extra_info(self, info: str) -> Any:
        return self._below.get_extra_info(info)


class CountingBackend(httpcore.SyncBackend):
    """Counts what goes through all its streams."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.reads: list[int] = []
        self.writes: list[bytes] = []  # the start of each
        self.sizes: list[int] = []

    def connect_tcp(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        return Counted(super().connect_tcp(*args, **kwargs), self)

    def forget(self) -> None:
        for notes in (self.asked, self.reads, self.writes, self.sizes):
            notes.clear()


@pytest.fixture
def backend() -> CountingBackend:
    return CountingBackend()


@pytest.fixture
def session(backend: CountingBackend) -> Iterator[requests.Session]:
    with requests.Session() as made:
        made.mount("http://", HTTPAdapter(network_backend=backend))
        made.mount("https://", HTTPAdapter(network_backend=backend))
        yield made


class Piece(bytes):
    """Bytes that note how much of them is copied by slicing. (Joins copy each byte once.)"""

    copied = 0

    def __getitem__(self, key: Any) -> Any:
        part = super().__getitem__(key)
        if isinstance(key, slice) and len(part) < len(self):
            Piece.copied += len(part)
        return part


class Tape(httpcore.NetworkStream):
    """A stream that gives exactly what is asked for, from a body that is never in memory."""

    def __init__(self, head: bytes, body: int) -> None:
        self._head = head
        self._left = body
        self.given: list[Piece] = []
        self.asked: list[int] = []
        self.keep = False

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self.asked.append(max_bytes)
        if self._head:
            head, self._head = self._head, b""
            return head
        size = min(max_bytes, self._left)
        self._left -= size
        piece = Piece(size)
        if self.keep:
            self.given.append(piece)
        return piece

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        pass

    def close(self) -> None:
        pass


class TapeBackend(httpcore.NetworkBackend):
    def __init__(self, tape: Tape) -> None:
        self._tape = tape

    def connect_tcp(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        Piece.copied = 0
        return self._tape


def length_tape(size: int) -> Tape:
    return Tape(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size, size)


def tape_session(tape: Tape) -> requests.Session:
    session = requests.Session()
    session.mount("http://", HTTPAdapter(network_backend=TapeBackend(tape)))
    return session


# ---------------------------------------------------------------------------------------------
# 30: downloads


READERS: dict[str, Callable[[requests.Response], Iterable[bytes]]] = {
    "content": lambda response: [response.content],
    "iter_content-16k": lambda response: response.iter_content(1 << 14),
    "iter_content-128m": lambda response: response.iter_content(1 << 27),
}


@pytest.mark.parametrize("how", READERS)
@pytest.mark.parametrize("size", [4 * MIB, 64 * MIB])
def test_row_30_reads_and_copies(how: str, size: int) -> None:
    """ "1 GiB loopback by `.content`, `iter_content(1<<14)` and `(1<<27)`: [...] no quadratic
    step." In counts: no read asks for less than 64 KiB, and by slicing no byte is copied more
    than once, be the body long or short."""
    tape = length_tape(size)
    with tape_session(tape) as session:
        response = session.get("http://tape.example/", stream=True)
        pieces = READERS[how](response)
        lengths = [len(piece) for piece in pieces]
    assert sum(lengths) == size
    if how != "content":
        wanted = 1 << (14 if how == "iter_content-16k" else 27)
        assert set(lengths[:-1]) <= {wanted}  # whole pieces, but for the last
    assert min(tape.asked) >= 64 * KIB
    assert len(tape.asked) <= size // (64 * KIB) + 3
    assert Piece.copied <= (size if how == "iter_content-16k" else 64 * KIB)


@pytest.mark.parametrize("framing", ["length", "close"])
def test_row_30_pieces_are_handed_on_uncopied(framing: str) -> None:
    """What the network gave is what the reader gets: the same objects."""
    size = 4 * MIB
    tape = length_tape(size)
    if framing == "close":
        tape = Tape(b"HTTP/1.1 200 OK\r\n\r\n", size)
    tape.keep = True
    with httpcore.ConnectionPool(network_backend=TapeBackend(tape)) as pool:
        with pool.stream("GET", "http://tape.example/") as response:
            got = [id(piece) for piece in response.stream]
    assert got == [id(piece) for piece in tape.given if piece]
    assert Piece.copied == 0


def test_row_30_chunked_bodies() -> None:
    """A chunk line every 8 KiB: each byte is cut out once, and read once."""
    chunk = b"2000\r\n" + b"x" * 8192 + b"\r\n"
    count = 1000

    class Chunks(Tape):
        def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
            self.asked.append(max_bytes)
            start = self._left
            self._left += max_bytes
            return Piece(wire[start : self._left])

    wire = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * count + b"0\r\n\r\n"
    for read in READERS.values():
        tape = Chunks(b"", 0)
        with tape_session(tape) as session:
            response = session.get("http://tape.example/", stream=True)
            assert sum(len(piece) for piece in read(response)) == 8192 * count
        assert len(tape.asked) <= len(wire) // (64 * KIB) + 2
        assert Piece.copied <= 1.1 * len(wire)


@pytest.mark.parametrize("how", READERS)
@pytest.mark.parametrize("path", ["/bytes/", "/chunked/", "/close/"])
def test_row_30_over_loopback(
    how: str, path: str, server: LocalServer, session: requests.Session, backend: CountingBackend
) -> None:
    """On a real socket: every byte is read once, in as few reads as the kernel allows, and they
    are the right ones."""
    size = 8 * MIB + 11
    response = session.get(server.url + path + str(size), stream=True, timeout=PATIENCE)
    assert b"".join(READERS[how](response)) == pattern(size)
    framing = (size // (64 * KIB) + 3) * 16 if path == "/chunked/" else 0
    assert size < sum(backend.reads) <= size + framing + HEAD_ROOM
    left = sum(backend.reads)
    for asked, read in zip(backend.asked, backend.reads, strict=True):
        # A body of known length is read in place: its last reads ask for what is missing.
        assert asked >= min(64 * KIB, left)
        left -= read


# ---------------------------------------------------------------------------------------------
# 55: uploads


class Sparse(io.RawIOBase):
    """A file of zeros that takes no room, and notes how it is read."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._at = 0
        self.asked: list[int] = []

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        self.asked.append(size)
        size = self._size - self._at if size < 0 else min(size, self._size - self._at)
        self._at += size
        return bytes(size)


def discard_upload(peer: Peer) -> None:
    """Reads requests and says how long their bodies were."""
    while (request := peer.recv_request_head()) is not None:
        length = sum(len(piece) for piece in peer.iter_body(request))
        peer.respond(200, json.dumps(length).encode())


def a_file(tmp_path: Path, size: int) -> BinaryIO:
    path = tmp_path / "upload.bin"
    with path.open("wb") as file:
        file.truncate(size)
    return path.open("rb")


def check_writes(backend: CountingBackend, size: int, *, chunked: bool = False) -> None:
    """Head and first block in one write, all but the last write at least 64 KiB."""
    first, *others = backend.sizes
    head = backend.writes[0].partition(b"\r\n\r\n")[0]
    assert head.startswith(b"POST / HTTP/1.1\r\n")
    body_in_first = first - len(head) - 4
    assert body_in_first >= min(size, 64 * KIB)
    assert all(written >= 64 * KIB for written in backend.sizes[:-2])
    assert len(others) <= size // (64 * KIB) + 1
    if not chunked:
        assert sum(backend.sizes) == size + len(head) + 4
        assert all(written >= 64 * KIB for written in backend.sizes[:-1])


@pytest.mark.parametrize("size", [1000, 64 * KIB, 32 * MIB + 1])
def test_row_55_file_through_requests(
    size: int, tmp_path: Path, serve: Serve, session: requests.Session, backend: CountingBackend
) -> None:
    """ "1 GiB file upload uses >= 64 KiB writes, head and first body block leave in one
    segment." """
    server = serve(discard_upload)
    with a_file(tmp_path, size) as file:
        response = session.post(server.url, data=file, timeout=PATIENCE)
    assert response.json() == size
    check_writes(backend, size)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_row_55_one_gibibyte(
    tmp_path: Path, serve: Serve, session: requests.Session, backend: CountingBackend
) -> None:
    """The same at its full size, and "CPU <= 1.2 x a bare sendall loop", the best of three, with
    the same blocks. (Seconds of this thread, the server's work not among them.)"""
    server = serve(discard_upload)
    ratios = []
    with a_file(tmp_path, GIB) as file:
        for _ in range(3):
            backend.forget()
            file.seek(0)
            started = time.thread_time()
            assert session.post(server.url, data=file, timeout=60).json() == GIB
            ours = time.thread_time() - started
            check_writes(backend, GIB)
            ratios.append(ours / bare_upload(server, file))
    assert min(ratios) <= 1.2


def bare_upload(server: ScriptedServer, file: BinaryIO) -> float:
    """Seconds of processor time for the same upload by sendall."""
    file.seek(0)
    with socket.create_connection((server.host, server.port)) as sock:
        started = time.thread_time()
        sock.sendall(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % GIB)
        while block := file.read(128 * KIB):
            sock.sendall(block)
        assert sock.recv(4096)
        return time.thread_time() - started


BODIES: dict[str, Callable[[int], Any]] = {
    "file": Sparse,
    "bytes": bytes,
    "bytesio": lambda size: io.BytesIO(bytes(size)),
    "blocks": lambda size: (bytes(64 * KIB) for _ in range(size // (64 * KIB))),
}


@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("through", ["core", "requests"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_row_55_other_bodies(
    kind: str,
    through: str,
    tls: bool,
    serve: Serve,
    session: requests.Session,
    backend: CountingBackend,
    ca_bundle: str,
    server_tls_context: Any,
    client_tls_context: Any,
) -> None:
    """The same for every kind of body whose blocks we choose, or which come large enough."""
    size = 4 * MIB
    server = serve(discard_upload, tls=server_tls_context if tls else None)
    body = BODIES[kind](size)
    if through == "core":
        with httpcore.ConnectionPool(client_tls_context, network_backend=backend) as pool:
            assert pool.request("POST", server.url + "/", content=body).content == b"%d" % size
    else:
        session.verify = ca_bundle
        assert session.post(server.url, data=body, timeout=PATIENCE).json() == size
    check_writes(backend, size, chunked=kind == "blocks")
    if isinstance(body, Sparse):
        assert min(body.asked) >= 64 * KIB


def test_row_55_a_pipe(
    serve: Serve, session: requests.Session, backend: CountingBackend, tmp_path: Path
) -> None:
    """A file of unknown length goes in chunks, as large as its reads are; the first of them
    beside the head."""

    class Pipe:
        def __init__(self) -> None:
            self._file = Sparse(2 * MIB)

        def read(self, size: int = -1) -> bytes:
            return self._file.read(size)

        def __iter__(self) -> Iterator[bytes]:
            raise AssertionError("a file is read in blocks, not in lines")

    server = serve(discard_upload)
    with httpcore.ConnectionPool(network_backend=backend) as pool:
        response = pool.request("POST", server.url + "/", content=Pipe())
    assert response.content == b"%d" % (2 * MIB)
    assert b"Transfer-Encoding: chunked" in backend.writes[0]
    check_writes(backend, 2 * MIB, chunked=True)


@pytest.mark.parametrize("size", [0, 1, 1000, 64 * KIB])
def test_row_55_short_bodies_take_one_write(
    size: int, serve: Serve, session: requests.Session, backend: CountingBackend
) -> None:
    """Head and body in one segment, when the body is short."""
    server = serve(discard_upload)
    assert session.post(server.url, data=b"x" * size, timeout=PATIENCE).json() == size
    assert len(backend.sizes) == 1


# ---------------------------------------------------------------------------------------------
# Memory

# Runs in a process of its own: argv is what to do, the URL, the number of bytes. Prints by how
# many bytes the most that the process ever held exceeds what it held before.
MEASURE = """
import re, sys
import requests
import httpcore
from httpcore_requests import HTTPAdapter

what, url, size, chunk = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])

def status(field):
    with open("/proc/self/status") as file:
        return int(re.search(field + r":\\s+(\\d+) kB", file.read())[1]) * 1024

class Zeros:
    def __init__(self, left):
        self.left = self.len = left
    def read(self, amt=-1):
        amt = min(self.left, amt if amt >= 0 else self.left)
        self.left -= amt
        return bytes(amt)

def blocks(left):
    while left:
        yield bytes(min(left, chunk))
        left -= min(left, chunk)

session = requests.Session()
session.mount("http://", HTTPAdapter())
pool = httpcore.ConnectionPool()

def work(size):
    target = url + "/down/%d" % size
    if what == "content":
        assert len(session.get(target).content) == size
    elif what == "iter_content":
        with session.get(target, stream=True) as response:
            assert sum(len(piece) for piece in response.iter_content(chunk)) == size
    elif what == "raw.read":
        with session.get(target, stream=True) as response:
            total = 0
            while piece := response.raw.read(chunk):
                total += len(piece)
            assert total == size
    elif what == "core content":
        assert len(pool.request("GET", target).content) == size
    elif what == "core stream":
        with pool.stream("GET", target) as response:
            assert sum(len(piece) for piece in response.stream) == size
    elif what == "upload file":
        assert session.post(url, data=Zeros(size)).json() == size
    elif what == "upload blocks":
        assert session.post(url, data=blocks(size)).json() == size
    elif what == "upload bytes":
        assert session.post(url, data=b"x" * size).json() == size
    elif what == "core upload bytes":
        assert pool.request("POST", url + "/", content=b"x" * size).content == b"%d" % size
    elif what == "core upload":
        assert pool.request("POST", url + "/", content=blocks(size)).content == b"%d" % size
    else:
        raise AssertionError(what)

work(1 << 20)  # imports, codecs, the connection
before = status("VmRSS")
try:
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak starts over
except OSError:
    pass
work(size)
print(status("VmHWM") - before)
session.close()
pool.close()
"""


def send_much(peer: Peer) -> None:
    """``/down/N`` sends N zeros, without ever holding them; uploads are counted."""
    block = bytes(MIB)
    while (request := peer.recv_request_head()) is not None:
        received = sum(len(piece) for piece in peer.iter_body(request))
        if request.method == b"POST":
            peer.respond(200, json.dumps(received).encode())
            continue
        size = int(request.path.rpartition("/")[2])
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while size:
            peer.send(block[: min(size, len(block))])
            size -= min(size, len(block))


def growth(serve: Serve, what: str, size: int, chunk: int) -> int:
    """Bytes by which a process grows while it does that."""
    if not os.path.exists("/proc/self/status"):
        pytest.skip("only Linux tells a process' peak of memory")
    server = serve(send_much)
    arguments = [what, server.url, str(size), str(chunk)]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


# What the heap may do between two measurements, beyond what is counted: arenas of 1 MiB.
SLACK = 2 * MIB

STREAMED = [
    ("iter_content", 1 << 14),
    ("iter_content", 1 << 20),
    ("raw.read", 1 << 16),
    ("core stream", 1),
    ("upload file", 1),
    ("upload blocks", 1 << 16),
    ("core upload", 1 << 20),
]
# The chunk of a read of everything is what one read of the socket may give.
WHOLE = [("content", 256 * KIB), ("core content", 256 * KIB), ("iter_content", 1 << 27)]


@pytest.mark.parametrize(("what", "chunk"), STREAMED)
def test_memory_of_a_streamed_body(what: str, chunk: int, serve: Serve) -> None:
    """ "A 1 GB streamed download or upload grows the process by less than 8 MB." """
    assert growth(serve, what, 128 * MIB, chunk) < 8 * MIB


@pytest.mark.parametrize(("what", "chunk"), WHOLE)
def test_memory_of_a_whole_body(what: str, chunk: int, serve: Serve) -> None:
    """ "Reading `.content` holds at most the body plus two chunks", and row 30: "peak memory <=
    body + 2 chunks" for pieces of 128 MiB."""
    size = 256 * MIB
    grown = growth(serve, what, size, chunk)
    assert grown <= size + 2 * chunk + SLACK
    if what != "iter_content":
        assert grown > size // 2  # else nothing was measured


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("what", "chunk"), STREAMED)
def test_memory_of_a_streamed_gibibyte(what: str, chunk: int, serve: Serve) -> None:
    assert growth(serve, what, GIB, chunk) < 8 * MIB


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("what", "chunk"), WHOLE)
def test_memory_of_a_whole_gibibyte(what: str, chunk: int, serve: Serve) -> None:
    assert growth(serve, what, GIB, chunk) <= GIB + 2 * chunk + SLACK


@pytest.mark.parametrize("what", ["upload bytes", "core upload bytes"])
def test_memory_of_a_whole_upload(what: str, serve: Serve) -> None:
    """A body given as bytes is not copied as a whole: it leaves in slices, one at a time."""
    size = 128 * MIB
    assert size // 2 < growth(serve, what, size, 1) < size + 8 * MIB


class Blob(bytes):
    """Such as drivers and templates make: bytes with a few methods more."""


@pytest.mark.parametrize("through", ["core", "requests"])
def test_a_subclass_of_bytes_is_bytes(
    through: str, serve: Serve, session: requests.Session
) -> None:
    """As with every other client, what is an instance of bytes is a body."""
    server = serve(discard_upload)
    if through == "core":
        with httpcore.ConnectionPool() as pool:
            assert (
                pool.request("POST", server.url + "/", content=Blob(b"x" * 1000)).content == b"1000"
            )
    else:
        assert session.post(server.url, data=Blob(b"x" * 1000), timeout=PATIENCE).json() == 1000
