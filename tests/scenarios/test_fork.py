"""One session, or one pool, in a process and its children.

Owns: scenario 34. Must not know: private parts of the packages.
Sources: psf/requests#4323, #1906; fork(2).
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import ssl
import subprocess
import sys
import textwrap
import threading
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import requests

import httpcore
import httpcore_requests
from tests.support import PATIENCE
from tests.support.forks import Child, in_child
from tests.support.servers import Peer, ScriptedServer, Serve, pattern

Get = Callable[[str], bytes]

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork"),
    pytest.mark.no_cover,
]

CHILDREN = 4
REQUESTS = 100

TIMEOUTS = dict.fromkeys(("connect", "read", "write", "pool"), PATIENCE)


class Witness:
    """Answers with the number of the connection, and notes whose requests came over it.

    Attributes:
        pids: of each connection, the process ids that its requests named.
        ended: the connections that the client ended.
    """

    def __init__(self) -> None:
        self.pids: dict[int, set[int]] = defaultdict(set)
        self.ended: list[int] = []

    def __call__(self, peer: Peer) -> None:
        while (request := peer.recv_request()) is not None:
            self.pids[peer.number].add(int(request.header("x-pid") or 0))
            if request.path.startswith("/body/"):
                peer.respond(200, pattern(int(request.path.split("/")[2])))
            elif request.path.startswith("/chunked/"):
                peer.respond(200, [pattern(int(request.path.split("/")[2]))])
            else:
                peer.respond(200, b"%d" % peer.number)
        self.ended.append(peer.number)


class Client:
    """A session or a pool, warmed; `get(path)` sends a request that names the process."""

    def __init__(self, url: str, raw: Any, get: Callable[[str, str], bytes]) -> None:
        self.url = url
        self.raw = raw
        self._get = get

    def get(self, path: str = "/") -> bytes:
        return self._get(self.url + path, str(os.getpid()))

    def many(self, count: int = REQUESTS) -> set[bytes]:
        """The connections (their numbers) that `count` requests went over."""
        return {self.get() for _ in range(count)}


def get_by_session(session: requests.Session, url: str, pid: str) -> bytes:
    response = session.get(url, headers={"X-Pid": pid}, timeout=PATIENCE)
    assert response.status_code == 200
    return response.content


def get_by_pool(pool: httpcore.ConnectionPool, url: str, pid: str) -> bytes:
    response = pool.request(
        "GET", url, headers={"Host": "127.0.0.1", "X-Pid": pid}, extensions={"timeout": TIMEOUTS}
    )
    assert response.status == 200
    return response.content


@pytest.fixture
def witness() -> Witness:
    return Witness()


@pytest.fixture(params=["plain", "tls"])
def server(
    request: pytest.FixtureRequest,
    serve: Serve,
    witness: Witness,
    server_tls_context: ssl.SSLContext,
) -> ScriptedServer:
    return serve(witness, tls=server_tls_context if request.param == "tls" else None)


@pytest.fixture
def session(session: requests.Session, ca_bundle: str) -> requests.Session:
    session.verify = ca_bundle
    return session


@pytest.fixture(params=["core", "requests"])
def client(
    request: pytest.FixtureRequest,
    server: ScriptedServer,
    session: requests.Session,
    client_tls_context: ssl.SSLContext,
) -> Iterator[Client]:
    if request.param == "requests":
        made = Client(server.url, session, partial(get_by_session, session))
        assert made.get() == b"1"
        yield made
        return
    with httpcore.ConnectionPool(client_tls_context) as pool:
        made = Client(server.url, pool, partial(get_by_pool, pool))
        assert made.get() == b"1"
        yield made


def test_row_34_four_children_of_os_fork(
    client: Client, server: ScriptedServer, witness: Witness
) -> None:
    """ "Warm a session, fork 4 children: parent and children do 100 requests each with 0 errors;
    children never write to or shut down inherited sockets."

    The parent's requests go on over the connection that it had before, while the children are at
    work and after they have ended."""
    children = [Child(client.many) for _ in range(CHILDREN)]
    assert client.many() == {b"1"}
    seen = [child.result() for child in children]
    assert client.many() == {b"1"}
    assert_apart(seen, server, witness, {child.pid for child in children})


def assert_apart(
    seen: list[set[bytes]], server: ScriptedServer, witness: Witness, pids: set[int]
) -> None:
    """Each process had one connection, and nobody else's requests came over it."""
    assert sorted(b"".join(connections) for connections in seen) == [b"2", b"3", b"4", b"5"]
    assert server.accepted == 1 + CHILDREN
    assert witness.pids[1] == {os.getpid()}
    assert all(len(found) == 1 for found in witness.pids.values())
    assert set.union(*witness.pids.values()) == {os.getpid()} | pids
    assert 1 not in witness.ended


def report(client: Client, pipe: Any) -> None:
    pipe.send(client.many())
    pipe.close()


def test_row_34_four_children_of_multiprocessing(
    client: Client, server: ScriptedServer, witness: Witness
) -> None:
    """ "(os.fork, multiprocessing, gunicorn preload)": the session is a global or an argument, as
    forked workers find it. They end as multiprocessing lets them."""
    context = multiprocessing.get_context("fork")
    started = []
    for _ in range(CHILDREN):
        reader, writer = context.Pipe(duplex=False)
        process = context.Process(target=report, args=(client, writer))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # fork with threads, since 3.12
            process.start()
        writer.close()
        started.append((process, reader))
    assert client.many() == {b"1"}
    seen: list[set[bytes]] = []
    pids: set[Any] = set()
    for process, reader in started:
        assert reader.poll(PATIENCE * 2)
        seen.append(reader.recv())
        reader.close()
        process.join(PATIENCE)
        assert process.exitcode == 0
        pids.add(process.pid)
        process.close()
    assert client.many() == {b"1"}
    assert_apart(seen, server, witness, pids)


PRELOADED = """
    import os, sys
    import httpcore_requests

    url, bundle, children, requests = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    session = httpcore_requests.Session()
    session.verify = bundle

    def get():
        response = session.get(url, headers={"X-Pid": str(os.getpid())}, timeout=10)
        response.raise_for_status()
        return response.text

    get()  # when the application is loaded
    workers = []
    for _ in range(children):
        pid = os.fork()
        if not pid:
            found = {get() for _ in range(requests)}
            os.write(1, f"worker {' '.join(found)}\\n".encode())
            sys.exit(0)  # as a worker does: with destructors and exit handlers
        workers.append(pid)
    get()  # while they are at work
    for pid in workers:
        assert os.waitpid(pid, 0)[1] == 0
    print("master", *{get() for _ in range(requests)})
"""


def test_row_34_a_preloaded_application(
    server: ScriptedServer, witness: Witness, ca_bundle: str
) -> None:
    """ "Gunicorn preload": the session is used while the application is imported, workers are
    forked then, and end by sys.exit, with all that an interpreter does at its end."""
    code = textwrap.dedent(PRELOADED)
    arguments = [server.url, ca_bundle, str(CHILDREN), str(REQUESTS)]
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = sorted(line.split() for line in done.stdout.splitlines())
    assert lines == [["master", "1"], *(["worker", str(n)] for n in range(2, 2 + CHILDREN))]
    assert all(len(pids) == 1 for pids in witness.pids.values())


def test_row_34_while_threads_are_in_the_middle(
    client: Client, server: ScriptedServer, witness: Witness
) -> None:
    """The same with 20 threads of the parent in the middle of requests at each fork: theirs go on
    undisturbed, and the locks and connections that they held are no matter to the children."""
    threads, going, over = 20, threading.Barrier(21), threading.Event()
    failures: list[BaseException] = []

    def work() -> None:
        try:
            client.get()
            going.wait(PATIENCE)
            while not over.is_set():
                assert client.get("/body/100000") == pattern(100_000)
        except BaseException as exc:
            failures.append(exc)

    crowd = [threading.Thread(target=work, daemon=True) for _ in range(threads)]
    for thread in crowd:
        thread.start()
    going.wait(PATIENCE)
    try:
        for _ in range(CHILDREN):
            assert len(in_child(partial(client.many, 10))) == 1
    finally:
        over.set()
        for thread in crowd:
            thread.join(PATIENCE)
    assert failures == []
    assert all(len(pids) == 1 for pids in witness.pids.values())
    own = [number for number, pids in witness.pids.items() if pids == {os.getpid()}]
    assert len(own) <= threads + 1
    assert server.accepted == len(own) + CHILDREN
    assert not set(own) & set(witness.ended)


# ---------------------------------------------------------------------------------------------
# A response that is half read at the fork

LARGE = 3_000_000  # bytes; more than the kernel holds for a client that does not read


@pytest.mark.parametrize("kind", ["body", "chunked"])
def test_row_34_a_half_read_response(
    kind: str, session: requests.Session, server: ScriptedServer
) -> None:
    """ "Children never write to or shut down inherited sockets", nor read from them: the rest of
    a download is the parent's. The child is told so, and can send requests of its own."""
    headers = {"X-Pid": "0"}
    url = f"{server.url}/{kind}/{LARGE}"
    response = session.get(url, headers=headers, stream=True, timeout=PATIENCE)
    pieces = response.iter_content(1000)
    first = next(pieces)

    def child() -> tuple[str, bool]:
        with pytest.raises(requests.exceptions.ChunkedEncodingError) as caught:
            b"".join(pieces)
        response.close()
        again = session.get(f"{server.url}/{kind}/5", headers=headers, timeout=PATIENCE)
        return str(caught.value), again.content == pattern(5)

    for _ in range(2):
        text, works = in_child(child)
        assert works
        assert f"the response to GET /{kind}/{LARGE}" in text
        assert "belongs to the parent process" in text
    assert first + b"".join(pieces) == pattern(LARGE)
    assert session.get(server.url, headers=headers, timeout=PATIENCE).content == b"1"


@pytest.mark.parametrize("how", ["closed", "dropped", "session closed"])
def test_row_34_what_a_child_does_with_it_is_no_matter(
    how: str, session: requests.Session, server: ScriptedServer
) -> None:
    """Closing an inherited response, or letting it go, gives no connection to the child's pool,
    warns nobody, and does not end the parent's."""
    url = f"{server.url}/body/{LARGE}"
    held = [session.get(url, headers={"X-Pid": "0"}, stream=True, timeout=PATIENCE)]
    first = held[0].raw.read(1000)

    def child() -> tuple[list[str], dict[str, int]]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            if how == "closed":
                held[0].close()
            elif how == "session closed":
                session.close()
            held.clear()
            gc.collect()
            stats = session.get_adapter(server.url).pool.stats()  # type: ignore[attr-defined]
        return [str(warning.message) for warning in caught], stats

    said, stats = in_child(child)
    assert said == []
    assert {value for value in stats.values() if isinstance(value, int)} == {0}
    assert first + held[0].raw.read() == pattern(LARGE)
    assert server.accepted == 1


def test_row_34_the_only_connection_is_busy(server: ScriptedServer, ca_bundle: str) -> None:
    """What is busy in the parent takes no room in the child, however low the limit."""
    adapter = httpcore_requests.HTTPAdapter(pool_maxsize=1, pool_block=True, pool_timeout=PATIENCE)
    with requests.Session() as session:
        session.mount(server.url, adapter)
        session.verify = ca_bundle
        get = partial(session.get, headers={"X-Pid": "0"}, timeout=PATIENCE)
        with get(f"{server.url}/body/{LARGE}", stream=True) as response:
            assert in_child(lambda: [get(server.url).text for _ in range(3)]) == ["2", "2", "2"]
            assert response.content == pattern(LARGE)


def test_row_34_what_had_arrived_can_be_read(session: requests.Session, serve: Serve) -> None:
    """A response that was there before the fork, all of it, needs no connection."""
    url = serve(Witness()).url
    response = session.get(f"{url}/body/100", headers={"X-Pid": "0"}, stream=True, timeout=PATIENCE)
    assert in_child(lambda: response.content) == pattern(100)
    assert response.content == pattern(100)
