"""The adapter under a session: requests' ordinary use, on loopback servers.

Owns: what a user of requests sees when nothing goes wrong. Must not know: how it is done.
"""

from __future__ import annotations

import array
import copy
import io
import json
import pickle
import threading
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
import requests.adapters
import requests.sessions
import urllib3

import httpcore
import httpcore_requests
from httpcore_requests import HTTPAdapter
from tests.support.servers import LocalServer, Peer, ScriptedServer, Serve, pattern


def test_get_reuses_the_connection(session: requests.Session, server: LocalServer) -> None:
    first = session.get(server.url + "/bytes/10")
    second = session.get(server.url + "/bytes/20")
    assert (first.status_code, first.content) == (200, pattern(10))
    assert (second.raw.reused, len(second.content)) == (True, 20)
    assert server.accepted == 1
    adapter = session.get_adapter(server.url)
    assert isinstance(adapter, HTTPAdapter)
    assert adapter.pool.stats()["idle"] == 1


def test_header_lines_are_those_of_the_stock_adapter(
    session: requests.Session, serve: Serve
) -> None:
    heads: list[bytes] = []

    def handler(peer: Peer) -> None:
        while (request := peer.recv_request()) is not None:
            heads.append(request.head)
            peer.respond(200, b"")

    url = serve(handler).url
    stock = requests.Session()
    requests_made: list[tuple[str, dict[str, Any]]] = [
        ("GET", {}),
        ("GET", {"headers": {"User-Agent": None, "Accept-Encoding": None, "X-Latin": "é"}}),
        ("POST", {"data": {"a": "b"}}),
        ("POST", {}),
        ("PUT", {"data": iter([b"a", b"b"])}),
        ("DELETE", {"headers": {"User-Agent": urllib3.util.SKIP_HEADER}}),
        ("GET", {"params": {"q": "ä b"}, "cookies": {"c": "d"}, "auth": ("u", "p")}),
    ]
    with stock:
        for method, more in requests_made:
            again = dict(more)
            if "data" in more and not isinstance(more["data"], dict):
                again["data"] = iter([b"a", b"b"])
            session.request(method, url + "/x", **more)
            stock.request(method, url + "/x", **again)
            ours, theirs = heads[-2], heads[-1]
            assert sorted(ours.split(b"\r\n")) == sorted(theirs.split(b"\r\n"))
            assert ours.split(b"\r\n")[:2] == theirs.split(b"\r\n")[:2]


@pytest.mark.parametrize(
    "body",
    [
        b"x" * 200_000,
        "text ö",
        {"form": "field"},
        io.BytesIO(b"y" * 200_000),
        [("a", "1"), ("a", "2")],
    ],
    ids=["bytes", "str", "form", "file", "pairs"],
)
def test_bodies_with_a_length(session: requests.Session, server: LocalServer, body: Any) -> None:
    answer = session.post(server.url + "/upload", data=body).json()
    sent = requests.Request("POST", server.url, data=body).prepare().body
    if isinstance(sent, io.BytesIO):
        sent = sent.getvalue()
    assert answer["length"] == len(sent.encode() if isinstance(sent, str) else sent or b"")
    assert answer["framing"] == "length"


def test_pool_takes_whatever_urllib3_takes(server: LocalServer) -> None:
    pool = HTTPAdapter().poolmanager.connection_from_url(server.url)
    bodies: list[Any] = [
        b"four",
        "four",
        bytearray(b"four"),
        memoryview(b"four"),
        array.array("H", [1, 2]),
        io.BytesIO(b"four"),
        io.StringIO("four"),
        ["fo", b"ur"],
        iter(["fo", b"ur"]),
    ]
    for body in bodies:
        answer = pool.request("PUT", "/upload", body=body).json()
        assert answer["length"] == 4, body
        whole = isinstance(body, (bytes, str, bytearray, memoryview, array.array))
        assert answer["framing"] == ("length" if whole else "chunked")
    assert pool.request("PUT", "/upload").json()["length"] == 0
    with pytest.raises(TypeError, match="not int"):
        pool.request("PUT", "/upload", body=7)


def test_generator_is_sent_in_chunks(session: requests.Session, server: LocalServer) -> None:
    pieces = (piece for piece in [b"a" * 1000, b"", "ä" * 10, b"c"])
    answer = session.post(server.url + "/upload", data=pieces).json()
    assert (answer["length"], answer["framing"]) == (1021, "chunked")


def test_content_length_wins_over_chunked(session: requests.Session, serve: Serve) -> None:
    seen: list[Any] = []

    def handler(peer: Peer) -> None:
        seen.append(peer.recv_request())
        peer.respond(200, b"")

    prepared = session.prepare_request(
        requests.Request("POST", serve(handler).url, data=iter([b"abc"]))
    )
    prepared.headers["Content-Length"] = "3"
    assert session.send(prepared).status_code == 200
    assert (seen[0].header("transfer-encoding"), seen[0].body) == (None, b"abc")


def test_text_file_and_multipart(session: requests.Session, server: LocalServer) -> None:
    answer = session.post(server.url + "/echo", files={"f": ("n.txt", io.BytesIO(b"data"))}).json()
    assert "data" in answer["body"]
    prepared = requests.Request("POST", server.url + "/echo", data=iter(["x"])).prepare()
    prepared.body = io.StringIO("größe")  # type: ignore[assignment]
    with session.send(prepared) as response:
        assert response.json()["body"].encode("latin-1").decode() == "größe"


def test_redirect_cookies_and_auth(session: requests.Session, server: LocalServer) -> None:
    response = session.get(server.url + "/redirect/2")
    assert [r.status_code for r in response.history] == [302, 302]
    assert response.url == server.url + "/echo"
    response = session.get(server.url + "/cookies/set?a=1&b=2")
    assert response.cookies.get_dict() == {"a": "1", "b": "2"} == session.cookies.get_dict()
    assert session.get(server.url + "/cookies").json() == {"a": "1", "b": "2"}
    assert session.get(server.url + "/basic-auth/u/p", auth=("u", "p")).status_code == 200
    digest = requests.auth.HTTPDigestAuth("u", "p")
    assert session.get(server.url + "/digest-auth/u/p", auth=digest).status_code == 200
    assert server.accepted == 1


def test_no_cookie_work_without_set_cookie(session: requests.Session, server: LocalServer) -> None:
    response = session.get(server.url + "/bytes/1")
    assert not response.raw._original_response
    assert response.raw._original_response.msg.get_all("Set-Cookie") is None
    assert not response.cookies
    response = session.get(server.url + "/cookies/set?a=1&b=2")
    assert response.raw._original_response
    assert len(response.raw._original_response.msg.get_all("set-cookie")) == 2
    assert response.raw.headers.getlist("Set-Cookie") == ["a=1; Path=/", "b=2; Path=/"]


@pytest.mark.parametrize("path", ["/gzip/100000", "/deflate/100000"])
def test_decoded_content(session: requests.Session, server: LocalServer, path: str) -> None:
    response = session.get(server.url + path)
    assert response.content == pattern(100_000)
    with session.get(server.url + path, stream=True) as streamed:
        pieces = list(streamed.iter_content(4096))
    assert b"".join(pieces) == pattern(100_000)
    assert max(map(len, pieces)) <= 4096
    assert response.raw.tell() == int(response.headers["content-length"]) != 100_000


@pytest.mark.parametrize("path", ["/bytes/150000", "/chunked/150000", "/close/150000"])
@pytest.mark.parametrize("size", [None, 1000, 70_000])
def test_streaming(
    session: requests.Session, server: LocalServer, path: str, size: int | None
) -> None:
    with session.get(server.url + path, stream=True) as response:
        pieces = list(response.iter_content(size))
    assert b"".join(pieces) == pattern(150_000)
    if size and path.startswith("/bytes"):
        assert {len(piece) for piece in pieces[:-1]} == {size}
    elif size:
        assert max(map(len, pieces)) <= size


@pytest.mark.parametrize("how", ["content", "lines", "none"])
def test_events_are_handed_on_as_they_come(
    session: requests.Session, serve: Serve, how: str
) -> None:
    server: ScriptedServer
    seen = threading.Semaphore(0)
    over: list[bool] = []

    def events() -> Iterator[bytes]:
        for number in range(3):
            yield b"event %d\n" % number
            # The next one is sent only when the client has this one.
            over.append(seen.acquire(timeout=10))

    def handler(peer: Peer) -> None:
        peer.recv_request()
        peer.respond(200, events())

    server = serve(handler)
    got = []
    with session.get(server.url, stream=True) as response:
        source: Any = {
            "content": lambda: response.iter_content(512),
            "lines": response.iter_lines,
            "none": lambda: response.iter_content(None),
        }[how]()
        for piece in source:
            got.append(piece.rstrip())
            seen.release()
    assert got == [b"event 0", b"event 1", b"event 2"]
    assert over == [True] * 3


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("status", [200, 204, 304, 404, 500])
def test_statuses(session: requests.Session, server: LocalServer, method: str, status: int) -> None:
    response = session.request(method, f"{server.url}/status/{status}", allow_redirects=False)
    assert response.status_code == status
    assert response.ok is (status < 400)
    if method == "HEAD" or status in (204, 304):
        assert response.content == b""
    assert session.get(server.url + "/bytes/3").raw.reused


def test_response_pickles_as_a_plain_response(
    session: requests.Session, server: LocalServer
) -> None:
    response = session.get(server.url + "/cookies/set?a=1")
    again = pickle.loads(pickle.dumps(response))
    assert type(again) is requests.Response
    assert (again.content, again.cookies.get_dict()) == (response.content, {"a": "1"})
    assert again.headers == response.headers
    assert type(copy.copy(response)) is requests.Response


def test_session_and_adapter_pickle(server: LocalServer) -> None:
    with httpcore_requests.Session() as used:
        used.mount("http://", HTTPAdapter(pool_maxsize=3, pool_block=True, max_age=60))
        assert used.get(server.url + "/").ok
        for again in (pickle.loads(pickle.dumps(used)), copy.deepcopy(used)):
            adapter = again.get_adapter(server.url)
            assert type(adapter) is HTTPAdapter
            assert adapter._settings == used.get_adapter(server.url)._settings  # type: ignore[attr-defined]
            assert (adapter._pool_maxsize, adapter._pool_block) == (3, True)
            with again:
                assert not again.get(server.url + "/").raw.reused


def test_adapter_with_ssl_context_says_that_it_cannot_pickle() -> None:
    adapter = HTTPAdapter(ssl_context=httpcore.default_ssl_context())
    with pytest.raises(TypeError, match="ssl_context cannot be pickled"):
        pickle.dumps(adapter)


def test_install_and_uninstall(server: LocalServer) -> None:
    stock = requests.adapters.HTTPAdapter
    httpcore_requests.install()
    httpcore_requests.install()
    try:
        with requests.Session() as made:
            assert type(made.get_adapter(server.url)) is HTTPAdapter
            assert isinstance(made.get_adapter(server.url), requests.adapters.HTTPAdapter)
        assert type(requests.get(server.url + "/bytes/4").raw).__name__ == "RawResponse"
    finally:
        httpcore_requests.uninstall()
        httpcore_requests.uninstall()
    assert requests.adapters.HTTPAdapter is stock is requests.sessions.HTTPAdapter  # type: ignore[attr-defined]
    with requests.Session() as made:
        assert type(made.get_adapter(server.url)) is stock


def test_send_is_inherited() -> None:
    assert HTTPAdapter.send is requests.adapters.HTTPAdapter.send


def test_closing_the_session_spares_a_body_that_is_read(server: LocalServer) -> None:
    with httpcore_requests.Session() as session:
        response = session.get(server.url + "/bytes/3000000", stream=True)
    assert response.content == pattern(3_000_000)
    assert server.wait_for(lambda: server._peers == set())


def test_adapter_is_usable_after_close(session: requests.Session, server: LocalServer) -> None:
    session.get(server.url + "/")
    session.close()
    assert server.wait_for(lambda: server._peers == set())
    assert not session.get(server.url + "/").raw.reused
    assert session.get(server.url + "/").raw.reused


def test_many_threads_keep_their_connections(
    server: LocalServer, caplog: pytest.LogCaptureFixture
) -> None:
    with httpcore_requests.Session() as session, ThreadPoolExecutor(24) as threads:
        answers = list(
            threads.map(lambda n: session.get(f"{server.url}/bytes/{n}").content, range(400))
        )
    assert [len(answer) for answer in answers] == list(range(400))
    assert server.accepted <= 24
    assert not caplog.records


def test_pool_block_limits_the_connections(server: LocalServer) -> None:
    with requests.Session() as session, ThreadPoolExecutor(12) as threads:
        session.mount("http://", HTTPAdapter(pool_maxsize=2, pool_block=True))
        answers = list(threads.map(lambda n: session.get(f"{server.url}/bytes/{n}").ok, range(60)))
    assert answers == [True] * 60
    assert server.accepted <= 2


def test_pool_timeout_is_a_connect_timeout_that_explains(server: LocalServer) -> None:
    adapter = HTTPAdapter(pool_maxsize=1, pool_block=True, pool_timeout=0.05)
    with requests.Session() as session:
        session.mount("http://", adapter)
        with session.get(server.url + "/bytes/1000000", stream=True):
            with pytest.raises(requests.ConnectTimeout, match="max_connections_per_host=1"):
                session.get(server.url + "/")
        assert session.get(server.url + "/").ok


def test_streamed_response_dropped_or_closed_does_not_hang(server: LocalServer) -> None:
    with requests.Session() as session:
        session.mount("http://", HTTPAdapter(pool_maxsize=2, pool_block=True, pool_timeout=5))
        for number in range(10):
            response = session.get(server.url + "/bytes/3000000", stream=True)
            if number % 2:
                response.close()
                continue
            with pytest.warns(ResourceWarning, match="unread response to GET"):
                del response
        assert session.get(server.url + "/").ok


def test_bad_arguments_are_said_at_once() -> None:
    with pytest.raises(ValueError, match="parsing"):
        HTTPAdapter(parsing="sloppy")
    with pytest.raises(TypeError, match="unknown"):
        HTTPAdapter(unknown=1)  # type: ignore[call-arg]


def test_the_path_on_the_wire_is_the_path_given(
    session: requests.Session, server: LocalServer
) -> None:
    prepared = requests.Request("GET", server.url + "/").prepare()
    # Set here, because preparing a request already rewrites its URL.
    prepared.url = server.url + "//a/../b%2fc?x=%7E#fragment"
    session.send(prepared)
    prepared.url = server.url + "?only=query/with/slashes"
    session.send(prepared)
    prepared.url = server.url + '/odd "chars"\u00e4'
    session.send(prepared)
    targets = [request.target for request in server.requests]
    assert targets == [
        b"//a/../b%2fc?x=%7E",
        b"/?only=query/with/slashes",
        b"/odd%20%22chars%22%C3%A4",
    ]


def test_timeouts_do_not_stick_to_a_connection(session: requests.Session, serve: Serve) -> None:
    ready = threading.Event()

    def handler(peer: Peer) -> None:
        for _ in range(2):
            peer.recv_request()
            if peer.served == 2:
                ready.wait(1)  # longer than the first request's timeout would allow
            peer.respond(200, b"ok")

    url = serve(handler).url
    assert session.get(url, timeout=0.3).ok
    threading.Timer(0.6, ready.set).start()
    assert session.get(url, timeout=(5, 10)).raw.reused


def test_json_and_encoding(session: requests.Session, serve: Serve) -> None:
    def handler(peer: Peer) -> None:
        while peer.recv_request() is not None:
            peer.respond(
                200,
                json.dumps({"größe": 1}).encode(),
                [("Content-Type", "application/json; charset=utf-8"), ("X-A", "1"), ("x-a", "2")],
            )

    url = serve(handler).url
    for _ in range(2):
        response = session.get(url)
        assert response.json() == {"größe": 1}
        assert response.encoding == "utf-8"
        assert response.headers["x-A"] == "1, 2"
        assert response.reason == "OK"
        assert response.headers.copy() == response.headers


def test_dropped_adapter_closes_its_sockets(server: LocalServer) -> None:
    session = httpcore_requests.Session()
    assert session.get(server.url).ok
    del session
    assert server.wait_for(lambda: server._peers == set())


def test_adapter_whose_constructor_was_not_called(server: LocalServer) -> None:
    class Bare(HTTPAdapter):
        def __init__(self) -> None:
            requests.adapters.HTTPAdapter.__init__(self)

    with requests.Session() as session:
        session.mount("http://", Bare())
        assert session.get(server.url).ok
        assert session.get(server.url).raw.reused


def test_subclass_that_forgets_the_settings_still_unpickles(server: LocalServer) -> None:
    adapter = pickle.loads(pickle.dumps(_Forgetful(max_connections=3)))
    with requests.Session() as session:
        session.mount("http://", adapter)
        assert session.get(server.url).ok
        assert "0 queued" in repr(adapter.pool)


class _Forgetful(HTTPAdapter):
    __attrs__ = requests.adapters.HTTPAdapter.__attrs__


def test_trace_and_network_backend_reach_the_core() -> None:
    backend = httpcore.MockBackend([b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", b"ok"])
    events: list[str] = []
    adapter = HTTPAdapter(
        network_backend=backend, trace=lambda name, info: events.append(name), max_connections=1
    )
    with requests.Session() as session:
        session.mount("http://", adapter)
        assert session.get("http://mocked.test/").text == "ok"
    assert "http11.receive_response_headers.complete" in events


def test_streamed_download_keeps_memory_flat(
    session: requests.Session, server: LocalServer
) -> None:
    size = 30_000_000
    session.get(server.url + "/bytes/1000")
    tracemalloc.start()
    try:
        with session.get(f"{server.url}/bytes/{size}", stream=True) as response:
            base = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            read = sum(len(piece) for piece in response.iter_content(100_000))
            peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert read == size
    # The server's own copy was there before; a second one would be the client's.
    assert peak - base < 3_000_000
