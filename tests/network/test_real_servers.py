"""Roads and servers as programs of others build them: proxy.py, pproxy, nginx, nghttpd and
hypercorn, over loopback.

Owns: what works with them from end to end, in the core and through requests. Must not know: how
they are started (tests/support/programs.py), nor what misbehaving servers do; the servers of the
other tests are for that.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest
import requests
import trustme

import httpcore
from tests.support.programs import NGINX_FILE, PASSWORD, USER, Program
from tests.support.servers import LocalServer, pattern

SIZE = 20_000_000  # bytes of a large body
BODY = pattern(SIZE)

ProxyPy = Callable[[str], Program]


class Road(NamedTuple):
    """A way to the server. `url` has no credentials in it; `login` says whether it asks for them,
    `says_407` whether it says no in HTTP."""

    url: str
    login: bool

    @property
    def says_407(self) -> bool:
        return self.url.startswith("http")

    def proxy(self, context: ssl.SSLContext, password: str = PASSWORD) -> httpcore.Proxy:
        return httpcore.Proxy(
            self.url,
            auth=(USER, password) if self.login else None,
            ssl_context=context if self.url.startswith("https") else None,
        )

    def with_password(self) -> str:
        return self.url.replace("://", f"://{USER}:{PASSWORD}@") if self.login else self.url


# Program and scheme of the proxy.
HTTP_ROADS = ["proxy.py open http", "proxy.py auth http", "proxy.py tls https", "pproxy open http"]
SOCKS_ROADS = [f"pproxy open {scheme}" for scheme in ("socks5", "socks5h", "socks4", "socks4a")]
LOGINS = ["proxy.py auth http", "proxy.py tls https", "pproxy auth socks5h"]
# "::1" cannot be said in SOCKS 4, and proxy.py looks "[::1]" up as a name.
IPV6_ROADS = ["pproxy open http", "pproxy auth http", "pproxy open socks5", "pproxy auth socks5h"]
# proxy.py takes seconds to forward its first large upload over TLS, whoever sends it.
LARGE = [
    ("proxy.py open http", "http"),
    ("proxy.py open http", "https"),
    ("proxy.py tls https", "https"),
    ("pproxy open socks5h", "http"),
    ("pproxy open socks5h", "https"),
]


@pytest.fixture
def road(request: pytest.FixtureRequest) -> Road:
    program, kind, scheme = request.param.split()
    if program == "proxy.py":
        port = request.getfixturevalue("start_proxy_py")(kind).ports[0]
    else:
        port = request.getfixturevalue("pproxy").ports[kind == "auth"]
    return Road(f"{scheme}://127.0.0.1:{port}", login=kind != "open")


def on(roads: list[str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("road", roads, indirect=True)


both_schemes = pytest.mark.parametrize("scheme", ["http", "https"])

# ---------------------------------------------------------------------------------------------
# Proxies, in the core


@both_schemes
@on([*HTTP_ROADS, *SOCKS_ROADS, "pproxy auth socks5h"])
def test_connections_through_a_proxy_are_kept(
    road: Road, scheme: str, origins: dict[str, LocalServer], client_tls_context: ssl.SSLContext
) -> None:
    """Through every road: keep-alive, bodies of known and of unknown length, HEAD, and what the
    origin gets to see."""
    origin = origins[scheme]
    with httpcore.ConnectionPool(client_tls_context, proxy=road.proxy(client_tls_context)) as pool:
        streams = set()
        for path, length in [("/bytes/1000", 1000), ("/chunked/200000", 200_000)] * 3:
            response = pool.request("GET", origin.url + path)
            assert (response.status, response.content) == (200, pattern(length))
            streams.add(response.extensions["network_stream"])
        assert pool.request("HEAD", origin.url + "/bytes/10").content == b""
        told = json.loads(pool.request("POST", origin.url + "/echo", content=b"abc").content)
        assert (told["method"], told["target"], told["body"]) == ("POST", "/echo", "abc")
        assert len(pool.connections) == len(streams) == 1
    for request in origin.requests:
        # Of what is forwarded the proxy has to take it out; proxy.py does so for the first request
        # of a connection only.
        if scheme == "https" or request.number == 1:
            assert request.header("proxy-authorization") is None
        assert request.header("host") == origin.url.partition("://")[2].encode()


@pytest.mark.parametrize(("road", "scheme"), LARGE, indirect=["road"])
def test_large_bodies_both_ways(
    road: Road, scheme: str, origins: dict[str, LocalServer], client_tls_context: ssl.SSLContext
) -> None:
    origin = origins[scheme]
    with httpcore.ConnectionPool(client_tls_context, proxy=road.proxy(client_tls_context)) as pool:
        told = pool.request("PUT", origin.url + "/upload", content=BODY).content
        assert json.loads(told)["sha256"] == hashlib.sha256(BODY).hexdigest()
        assert pool.request("GET", origin.url + f"/bytes/{SIZE}").content == BODY


@on(LOGINS)
def test_a_wrong_password(
    road: Road, origins: dict[str, LocalServer], client_tls_context: ssl.SSLContext
) -> None:
    """A tunnel is refused with ProxyError, which says how; to a forwarded request a 407 is the
    answer."""
    proxy = road.proxy(client_tls_context, "a wrong password")
    with httpcore.ConnectionPool(client_tls_context, proxy=proxy) as pool:
        with pytest.raises(httpcore.ProxyError) as caught:
            pool.request("GET", origins["https"].url)
        told = httpcore.exceptions.explain(caught.value)
        assert any(word in told for word in ("refused", "wrong", "closed"))
        assert "a wrong password" not in str(caught.value)
        if road.says_407:
            assert caught.value.status == 407
            assert b"proxy-authenticate" in {name.lower() for name, _ in caught.value.headers}
            assert pool.request("GET", origins["http"].url).status == 407
    assert origins["http"].accepted == origins["https"].accepted == 0


@on(["proxy.py auth http", "pproxy auth socks5h"])
def test_no_password_where_one_is_wanted(road: Road, tls_server: LocalServer) -> None:
    with httpcore.ConnectionPool(proxy=httpcore.Proxy(road.url)) as pool:
        with pytest.raises(httpcore.ProxyError):
            pool.request("GET", tls_server.url)
        assert pool.stats()["connections"] == 0


@on(["proxy.py auth http", "proxy.py tls https"])
def test_a_407_is_answered_by_a_hook(
    road: Road, tls_server: LocalServer, client_tls_context: ssl.SSLContext
) -> None:
    """proxy.py closes after its 407, so there is no connection left to answer on: the hook is not
    asked, and the refusal is told."""
    asked: list[httpcore.ProxyError] = []
    proxy = httpcore.Proxy(
        road.url,
        ssl_context=client_tls_context if road.url.startswith("https") else None,
        on_challenge=lambda error: asked.append(error),
    )
    with httpcore.ConnectionPool(client_tls_context, proxy=proxy) as pool:
        with pytest.raises(httpcore.ProxyError) as caught:
            pool.request("GET", tls_server.url)
    assert (caught.value.status, asked) == (407, [])


@both_schemes
@on(IPV6_ROADS)
def test_an_ipv6_target(
    road: Road, scheme: str, server_tls_context: ssl.SSLContext, client_tls_context: ssl.SSLContext
) -> None:
    tls = server_tls_context if scheme == "https" else None
    with LocalServer(host="::1", tls=tls) as origin:
        with httpcore.ConnectionPool(
            client_tls_context, proxy=road.proxy(client_tls_context)
        ) as pool:
            assert pool.request("GET", origin.url + "/bytes/10").content == pattern(10)
        assert origin.requests[0].header("host") == b"[::1]:%d" % origin.port


@on([HTTP_ROADS[0], HTTP_ROADS[2]])
def test_an_origin_that_refuses(
    road: Road, closed_port: int, client_tls_context: ssl.SSLContext
) -> None:
    """Not by pproxy, which says that it is connected before it tries."""
    with httpcore.ConnectionPool(client_tls_context, proxy=road.proxy(client_tls_context)) as pool:
        with pytest.raises(httpcore.ProxyError) as caught:
            pool.request("GET", f"https://127.0.0.1:{closed_port}/")
        assert (caught.value.phase, caught.value.status) == ("not_sent", 502)


# ---------------------------------------------------------------------------------------------
# Proxies, through requests


@pytest.fixture
def session(session: requests.Session, ca_bundle: str) -> requests.Session:
    session.verify = ca_bundle
    return session


@both_schemes
@on([*HTTP_ROADS, *SOCKS_ROADS, "pproxy auth socks5h"])
def test_through_requests(
    road: Road, scheme: str, origins: dict[str, LocalServer], session: requests.Session
) -> None:
    origin = origins[scheme]
    session.proxies = {"all": road.with_password()}
    for _ in range(3):
        assert session.get(origin.url + "/bytes/1000").content == pattern(1000)
    assert session.post(origin.url + "/echo", data=b"abc").json()["body"] == "abc"
    if scheme == "https":
        assert origin.requests[-1].header("proxy-authorization") is None


@both_schemes
@on(["proxy.py open http", "pproxy open socks5h"])
def test_large_bodies_through_requests(
    road: Road, scheme: str, origins: dict[str, LocalServer], session: requests.Session
) -> None:
    origin = origins[scheme]
    session.proxies = {"all": road.url}
    told = session.put(origin.url + "/upload", data=io.BytesIO(BODY)).json()
    assert told["sha256"] == hashlib.sha256(BODY).hexdigest()
    with session.get(origin.url + f"/bytes/{SIZE}", stream=True) as response:
        assert b"".join(response.iter_content(1 << 16)) == BODY


@on(["proxy.py auth http", "pproxy auth socks5h"])
def test_a_wrong_password_through_requests(
    road: Road, tls_server: LocalServer, session: requests.Session
) -> None:
    url = road.url.replace("://", f"://{USER}:wrong@")
    with pytest.raises(requests.exceptions.ProxyError) as caught:
        session.get(tls_server.url, proxies={"https": url})
    assert "wrong@" not in str(caught.value)
    if road.says_407:
        cause: BaseException | None = caught.value
        while cause is not None and not isinstance(cause, httpcore.ProxyError):
            cause = cause.__cause__ or cause.__context__
        assert cause is not None and cause.status == 407


# ---------------------------------------------------------------------------------------------
# nginx


def test_nginx_ends_connections_after_ten_requests(nginx: Program) -> None:
    """`keepalive_requests 10`: 200 requests, none of which fails or has to be sent twice."""
    seen: list[tuple[str, str]] = []
    with httpcore.ConnectionPool() as pool:
        for _ in range(200):
            response = pool.request("POST", f"http://127.0.0.1:{nginx.ports[0]}/", content=b"x")
            assert response.status == 200
            seen += re.findall(r"connection (\d+) request (\d+)", response.content.decode())
    assert [int(number) for _, number in seen] == [*range(1, 11)] * 20
    assert len({connection for connection, _ in seen}) == 20


def test_nginx_ends_connections_of_requests(nginx: Program, session: requests.Session) -> None:
    numbers = []
    for _ in range(200):
        text = session.get(f"http://127.0.0.1:{nginx.ports[0]}/").text
        numbers.append(int(text.rpartition(" ")[2]))
    assert numbers == [*range(1, 11)] * 20


class Zeros(io.RawIOBase):
    """A body of `size` bytes that counts what is taken of it."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.taken = 0

    def __len__(self) -> int:
        return self.size

    def read(self, size: int = -1) -> bytes:
        left = self.size - self.taken
        count = left if size < 0 else min(size, left)
        self.taken += count
        return bytes(count)


@pytest.mark.parametrize("kind", ["file", "iterator", "bytes"])
def test_row_15_nginx_does_not_want_the_body(nginx: Program, kind: str) -> None:
    """Row 15: "the caller gets the 413 with its body, < 10 MiB was sent, connection not reused";
    the body has 200 MB."""
    size = 200_000_000
    source = Zeros(size)
    url = f"http://127.0.0.1:{nginx.ports[0]}/files/large"
    length = {"Content-Length": str(size)}
    with httpcore.ConnectionPool() as pool:
        if kind == "bytes":
            response = pool.request("PUT", url, content=bytes(size))
        elif kind == "file":
            response = pool.request("PUT", url, content=source, headers=length)
        else:
            blocks = iter(lambda: source.read(65536), b"")
            response = pool.request("PUT", url, content=blocks, headers=length)
        assert response.status == 413
        assert b"413 Request Entity Too Large" in response.content
        assert source.taken < 10 * 2**20
        assert pool.stats()["connections"] == 0
        assert pool.request("PUT", url, content=b"small").status in (201, 204)


def test_row_15_nginx_through_requests(nginx: Program, session: requests.Session) -> None:
    source = Zeros(200_000_000)
    response = session.put(f"http://127.0.0.1:{nginx.ports[0]}/files/large", data=source)
    assert response.status_code == 413
    assert "Too Large" in response.text
    assert source.taken < 10 * 2**20


@pytest.mark.parametrize(
    ("port", "version"), [(1, "TLSv1.2"), (2, "TLSv1.2"), (3, "TLSv1.3")], ids=["id", "ticket", "3"]
)
def test_nginx_resumes_sessions(nginx: Program, ca: trustme.CA, port: int, version: str) -> None:
    """nginx itself says of each connection whether it is a resumed one: none with a context of the
    caller's, before he says that he will not change it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ca.configure_trust(context)
    url = f"https://127.0.0.1:{nginx.ports[port]}/"
    with httpcore.ConnectionPool(context) as pool:
        said = []
        for number in range(6):
            if number == 2:
                httpcore.resume_tls_sessions(context)
            response = pool.request("GET", url)
            said.append(response.content)
            stream = response.extensions["network_stream"]
            assert stream.get_extra_info("ssl_object").version() == version
            pool.close()
    assert said == [b".", b".", b".", b"r", b"r", b"r"]


def test_nginx_resumes_sessions_through_requests(nginx: Program, session: requests.Session) -> None:
    said = []
    for _ in range(3):
        answer = session.get(
            f"https://127.0.0.1:{nginx.ports[3]}/", headers={"Connection": "close"}
        )
        said.append(answer.text)
    assert said == [".", "r", "r"]


# ---------------------------------------------------------------------------------------------
# HTTP/2: nginx, nghttpd, hypercorn


@pytest.fixture
def h2_pool(client_tls_context: ssl.SSLContext) -> Iterator[httpcore.ConnectionPool]:
    timeout = {"connect": 20.0, "read": 20.0, "write": 20.0, "pool": 20.0}
    with httpcore.ConnectionPool(
        client_tls_context, max_connections=1, http1=False, http2=True, timeout=timeout
    ) as pool:
        yield pool


@pytest.fixture
def h2_url(request: pytest.FixtureRequest) -> str:
    """Of "nginx https" and the like."""
    program, scheme = request.param.split()
    secure = scheme == "https"
    if program == "nghttpd":
        port = request.getfixturevalue("start_nghttpd")(secure).ports[0]
    else:
        running = request.getfixturevalue({"nginx": "nginx_http2"}.get(program, program))
        port = running.ports[0 if secure else 1]
    return f"{scheme}://127.0.0.1:{port}"


def served_by(*programs: str) -> pytest.MarkDecorator:
    urls = [f"{program} {scheme}" for program in programs for scheme in ("http", "https")]
    return pytest.mark.parametrize("h2_url", urls, indirect=True)


@pytest.mark.parametrize("threads", [1, 12])
@pytest.mark.parametrize(
    ("h2_url", "path"),
    [
        *[("nginx http", "/files/large"), ("nginx https", "/files/large")],
        *[("nghttpd http", "/large"), ("nghttpd https", "/large")],
    ],
    indirect=["h2_url"],
)
def test_http2_downloads(
    h2_url: str, path: str, h2_pool: httpcore.ConnectionPool, threads: int
) -> None:
    """Over one connection; nginx allows 8 streams, the others wait."""

    def work(_: int) -> None:
        for _ in range(3):
            response = h2_pool.request("GET", h2_url + path)
            assert (response.status, response.content) == (200, NGINX_FILE)
            assert response.extensions["http_version"] == b"HTTP/2"

    with ThreadPoolExecutor(threads) as executor:
        list(executor.map(work, range(threads)))
    assert len(h2_pool.connections) == 1


@pytest.mark.parametrize("kind", ["bytes", "iterator", "file"])
@served_by("nghttpd", "hypercorn")
def test_http2_echoes(h2_url: str, h2_pool: httpcore.ConnectionPool, kind: str) -> None:
    """Up and down at once; nghttpd pads its frames and ends with a trailer."""
    body = BODY[:3_000_000]
    for _ in range(3):
        blocks = (body[at : at + 50_000] for at in range(0, len(body), 50_000))
        content: Any = {"bytes": body, "iterator": blocks, "file": io.BytesIO(body)}[kind]
        response = h2_pool.request("POST", f"{h2_url}/echo", content=content)
        assert (response.status, response.content) == (200, body)
        if b"nghttpd" in dict(response.headers).get(b"server", b""):
            assert list(response.trailers) == [(b"x-end", b"yes")]
    assert len(h2_pool.connections) == 1


@served_by("hypercorn")
def test_http2_many_at_once(h2_url: str, h2_pool: httpcore.ConnectionPool) -> None:
    def work(worker: int) -> None:
        for count in range(10):
            nonce = f"{worker}-{count}"
            body = nonce.encode() * 1000
            response = h2_pool.request(
                "POST", f"{h2_url}/upload", headers={"X-Nonce": nonce}, content=body
            )
            assert dict(response.headers)[b"x-nonce"] == nonce.encode()
            assert json.loads(response.content)["sha256"] == hashlib.sha256(body).hexdigest()
            assert (
                h2_pool.request("GET", f"{h2_url}/bytes/{count}").content == bytes([count]) * count
            )

    with ThreadPoolExecutor(20) as executor:
        list(executor.map(work, range(20)))
    assert len(h2_pool.connections) == 1


@pytest.mark.parametrize("kind", ["file", "iterator", "bytes"])
@served_by("nginx")
def test_row_15_nginx_does_not_want_the_body_over_http2(
    h2_url: str, h2_pool: httpcore.ConnectionPool, kind: str
) -> None:
    """Row 15: "the caller gets the 413 with its body, < 10 MiB was sent"; "the same for h2 with
    response + RST_STREAM(NO_ERROR)", which nginx does."""
    size = 100_000_000
    for _ in range(3):
        source = Zeros(size)
        content: Any = source
        if kind == "bytes":
            content = bytes(size)
        elif kind == "iterator":
            content = iter(lambda: source.read(65536), b"")  # noqa: B023
        length = {"Content-Length": str(size)}
        response = h2_pool.request("PUT", f"{h2_url}/files/new", headers=length, content=content)
        assert response.status == 413
        assert b"413 Request Entity Too Large" in response.content
        assert source.taken < 10 * 2**20
    assert h2_pool.request("PUT", f"{h2_url}/files/new", content=b"small").status in (201, 204)


@on([*HTTP_ROADS, SOCKS_ROADS[1], "pproxy auth socks5h"])
def test_http2_through_a_proxy(
    road: Road, nginx_http2: Program, client_tls_context: ssl.SSLContext
) -> None:
    """Row 36: "https origin via https proxy, sync, [...] h1 and h2 inside" """
    with httpcore.ConnectionPool(
        client_tls_context, proxy=road.proxy(client_tls_context), http2=True
    ) as pool:
        url = f"https://127.0.0.1:{nginx_http2.ports[0]}"
        for _ in range(3):
            response = pool.request("GET", f"{url}/files/large")
            assert (response.status, response.content) == (200, NGINX_FILE)
            assert response.extensions["http_version"] == b"HTTP/2"
        assert len(pool.connections) == 1
