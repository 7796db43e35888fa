"""Whose credentials a proxy and an origin get to see, and who decides that no proxy is used.

Owns: scenarios 19 and 35. Must not know: private parts of the packages.
Sources: the scenario rows; CVE-2023-32681, psf/requests#5000, #4871, #5731.
"""

from __future__ import annotations

import itertools
import logging
import socket
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import requests.adapters
from requests.auth import HTTPProxyAuth

import httpcore
from httpcore_requests import HTTPAdapter
from tests.support.clients import STOCK, MakeSession
from tests.support.proxies import ProxyServer, SocksServer, basic
from tests.support.servers import LocalServer, Peer, Serve

# Where a request may go: its URL's scheme, and the way there.
NODES = list(itertools.product(["http", "https"], ["direct", "a", "b"]))

# As a host, each gets proxies of its own by a key such as "http://localhost"; both are loopback.
FIRST, SECOND = "127.0.0.1", "localhost"


@pytest.fixture
def make_session(make_trusting_session: MakeSession) -> MakeSession:
    return make_trusting_session


@pytest.fixture
def other_proxy() -> Iterator[ProxyServer]:
    with ProxyServer() as running:
        yield running
    assert not running.errors


def with_user(proxy: ProxyServer, user: str, password: str = "secret") -> str:
    return proxy.url.replace("://", f"://{user}:{password}@")


def seen_by(proxy: ProxyServer) -> set[bytes | None]:
    return {request.header(b"proxy-authorization") for request in proxy.requests}


def assert_origins_saw_none(*origins: LocalServer) -> None:
    for origin in origins:
        for request in origin.requests:
            assert request.header("proxy-authorization") is None


# ---------------------------------------------------------------------------------------------
# 19: credentials


@pytest.mark.parametrize("b_has_credentials", [True, False])
@pytest.mark.parametrize("target", NODES, ids="-".join)
@pytest.mark.parametrize("start", NODES, ids="-".join)
def test_row_19_every_redirect_pair(
    make_session: MakeSession,
    proxy: ProxyServer,
    other_proxy: ProxyServer,
    server: LocalServer,
    tls_server: LocalServer,
    start: tuple[str, str],
    target: tuple[str, str],
    b_has_credentials: bool,
) -> None:
    """ "For each of http/https origin x http proxy x each redirect pair: the origin's log never
    holds Proxy-Authorization, and a proxy only gets its own." """
    ways = {
        "direct": "",
        "a": with_user(proxy, "for-a"),
        "b": with_user(other_proxy, "for-b") if b_has_credentials else other_proxy.url,
    }
    origins = {"http": server, "https": tls_server}
    # requests takes what it adds after a redirect from the scheme's key, whatever the host's says.
    proxies = {"http": ways["a"], "https": ways["a"]}
    proxies[f"{start[0]}://{FIRST}"] = ways[start[1]]
    proxies[f"{target[0]}://{SECOND}"] = ways[target[1]]
    location = f"{target[0]}://{SECOND}:{origins[target[0]].port}/echo"
    url = f"{start[0]}://{FIRST}:{origins[start[0]].port}/redirect-to?url={location}"

    response = make_session().get(url, proxies=proxies)

    assert (response.status_code, response.url) == (200, location)
    assert len(server.requests) + len(tls_server.requests) == 2
    assert_origins_saw_none(server, tls_server)
    passed = [way for _, way in (start, target)]
    assert (len(proxy.requests), len(other_proxy.requests)) == (
        passed.count("a"),
        passed.count("b"),
    )
    assert seen_by(proxy) <= {basic("for-a")}
    assert seen_by(other_proxy) <= {basic("for-b") if b_has_credentials else None}


@pytest.mark.parametrize("spelling", [str.upper, str.lower])
def test_row_19_credentials_of_the_environment(
    make_session: MakeSession,
    proxy: ProxyServer,
    other_proxy: ProxyServer,
    server: LocalServer,
    tls_server: LocalServer,
    monkeypatch: pytest.MonkeyPatch,
    spelling: Callable[[str], str],
) -> None:
    """ "The origin's log never holds Proxy-Authorization, and a proxy only gets its own": with
    HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY."""
    monkeypatch.setenv(spelling("HTTPS_PROXY"), with_user(other_proxy, "for-b"))
    monkeypatch.setenv(spelling("ALL_PROXY"), with_user(proxy, "for-a"))
    monkeypatch.setenv(spelling("NO_PROXY"), SECOND)
    direct = f"http://{SECOND}:{server.port}/echo"
    tunnelled = f"https://{FIRST}:{tls_server.port}/redirect-to?url={direct}"
    # The switch, because requests forgets NO_PROXY once it follows a redirect.
    session = make_session(HTTPAdapter(respect_no_proxy=True))
    for _ in range(2):
        response = session.get(f"{server.url}/redirect-to?url={tunnelled}")
        assert [one.status_code for one in (*response.history, response)] == [302, 302, 200]
        assert response.url == direct
        monkeypatch.setenv(spelling("HTTP_PROXY"), with_user(proxy, "for-a"))
    assert_origins_saw_none(server, tls_server)
    assert len(proxy.requests) == 2
    assert len(other_proxy.requests) == 1  # its tunnel was kept
    assert (seen_by(proxy), seen_by(other_proxy)) == ({basic("for-a")}, {basic("for-b")})


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_row_19_credentials_for_socks_are_no_header(
    make_session: MakeSession, server: LocalServer, tls_server: LocalServer, scheme: str
) -> None:
    """ "x SOCKS proxy": requests makes a Proxy-Authorization of its credentials after a redirect,
    and SOCKS carries it to the origin."""
    origins = {"http": server, "https": tls_server}
    with SocksServer() as socks:
        socks.credentials = ("user", "secret")
        way = f"socks5h://user:secret@{socks.address}"
        location = f"http://{SECOND}:{server.port}/echo"
        for proxies in ({"all": way}, {"http": way, "https": way, f"http://{SECOND}": ""}):
            session = make_session()
            url = f"{origins[scheme].url}/redirect-to?url={location}"
            assert session.get(url, proxies=proxies).url == location
            session.close()
        assert len(socks.requests) == 3
    assert len(server.requests) + len(tls_server.requests) == 4
    assert_origins_saw_none(server, tls_server)


def test_row_19_two_users_of_one_proxy(
    make_session: MakeSession, proxy: ProxyServer, server: LocalServer, tls_server: LocalServer
) -> None:
    """ "A proxy only gets its own": each request carries the credentials it was sent with, and no
    tunnel that was opened with others is used."""
    session = make_session()
    for user in ("one", "two", "one"):
        for origin in (server, tls_server):
            way = with_user(proxy, user)
            assert session.get(origin.url, proxies={"http": way, "https": way}).ok
            assert proxy.requests[-1].header(b"proxy-authorization") == (
                basic("two") if user == "two" else basic("one")
            )
    assert session.get(server.url, proxies={"http": proxy.url}).ok
    assert proxy.requests[-1].header(b"proxy-authorization") is None
    assert proxy.tunnels == 2


@pytest.mark.parametrize("given", ["header", "auth", "session"])
def test_row_19_what_the_caller_names_goes_to_the_proxy_alone(
    make_session: MakeSession,
    proxy: ProxyServer,
    server: LocalServer,
    tls_server: LocalServer,
    given: str,
) -> None:
    """ "The origin's log never holds Proxy-Authorization": not in a tunnel and not after a
    redirect that goes direct, where requests' own adapter sends it on."""
    session = make_session()
    options: dict[str, Any] = {}
    if given == "auth":
        options["auth"] = HTTPProxyAuth("caller", "secret")
    elif given == "header":
        options["headers"] = {"Proxy-Authorization": basic("caller").decode()}
    else:
        session.headers["proxy-authorization"] = basic("caller").decode()
    proxies = {"http": proxy.url, "https": proxy.url, f"http://{SECOND}": ""}
    assert session.get(server.url, proxies=proxies, **options).ok
    assert seen_by(proxy) == {basic("caller")}
    assert session.get(tls_server.url, proxies=proxies, **options).ok
    direct = f"http://{SECOND}:{server.port}/echo"
    assert session.get(direct, proxies=proxies, **options).ok
    assert session.get(f"{server.url}/redirect-to?url={direct}", proxies=proxies, **options).ok
    assert len(server.requests) == 4
    assert_origins_saw_none(server, tls_server)


def test_row_19_the_credentials_in_the_proxys_url_win(
    make_session: MakeSession, proxy: ProxyServer, server: LocalServer
) -> None:
    """ "A proxy only gets its own": as under requests' own adapter, and once."""
    for adapter in (STOCK(), HTTPAdapter()):
        make_session(adapter).get(
            server.url,
            proxies={"http": with_user(proxy, "own")},
            headers={"proxy-authorization": basic("caller").decode()},
        )
    for request in proxy.requests:
        names = [name.lower() for name, _ in request.headers]
        assert names.count(b"proxy-authorization") == 1
        assert request.header(b"proxy-authorization") == basic("own")


def test_row_19_a_callers_header_without_any_proxy_goes_nowhere(
    make_session: MakeSession, server: LocalServer
) -> None:
    """ "The origin's log never holds Proxy-Authorization": nor where no proxy is used. A gateway
    that reads its token from this field (Google's IAP can) gets it with the core, which sends what
    it is given."""
    token = {"Proxy-Authorization": "Bearer token"}
    assert make_session().get(server.url, headers=token).ok
    with httpcore.ConnectionPool() as pool:
        assert pool.request("GET", server.url, headers=token).status == 200
    withheld, sent = [request.header("proxy-authorization") for request in server.requests]
    assert (withheld, sent) == (None, b"Bearer token")


@pytest.mark.parametrize(
    ("user", "password"),
    [
        ("plain", "secret"),
        ("us%20er", "p%40ss%3Aword%2F"),
        ("%75ser", "%E9t%E9"),  # decodes to U+FFFD: no UTF-8
        ("us%C3%A9r", "caf%C3%A9"),  # UTF-8 in the URL, latin-1 in the header
        ("user", ""),
        ("", "secret"),
    ],
)
def test_row_19_credentials_are_decoded_as_requests_does(
    make_session: MakeSession, proxy: ProxyServer, server: LocalServer, user: str, password: str
) -> None:
    """ "A proxy only gets its own", to the byte."""
    way = with_user(proxy, user, password)
    answers = []
    for adapter in (STOCK(), HTTPAdapter()):
        try:
            answers.append(make_session(adapter).get(server.url, proxies={"http": way}).status_code)
        except ValueError:
            answers.append(0)  # outside latin-1: requests cannot encode it, nor do we
    assert answers[0] == answers[1]
    if answers[0]:
        theirs, ours = (request.header(b"proxy-authorization") for request in proxy.requests)
        assert ours == theirs
    else:
        assert not proxy.requests


def test_row_19_no_text_shows_a_password(
    make_session: MakeSession,
    serve: Serve,
    proxy: ProxyServer,
    server: LocalServer,
    tls_server: LocalServer,
    closed_port: int,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No password in an exception, its repr or traceback, a log line, or a warning."""
    find = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kw: Any) -> Any:
        if host == "nobody.test":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return find(host, *args, **kw)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    def end(peer: Peer) -> None:
        peer.recv_head()

    refusing, ending = ProxyServer(), serve(end)
    refusing.refusal = b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n"
    encoded = basic("user", "hush").decode().removeprefix("Basic ")
    adapter = HTTPAdapter(max_retries=1)
    session = make_session(adapter)
    with refusing, caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        shown: list[str] = []
        for place in (
            *(f"127.0.0.1:{port}" for port in (closed_port, refusing.port, ending.port)),
            *("nobody.test", "h:99999", "h:port", " ", "[::1", "caf\u20ac@h.test"),
        ):
            for kind in ("http", "https", "socks5", "ftp"):
                way = f"{kind}://user:hush@{place}"
                for origin in (server, tls_server):
                    try:
                        session.get(origin.url, proxies={"http": way, "https": way}, timeout=0.2)
                    except requests.RequestException as exc:
                        shown += failure_texts(exc)
        way = with_user(proxy, "user", "hush")
        for origin in (server, tls_server):
            response = session.get(origin.url, proxies={"http": way, "https": way})
            shown += [repr(response), repr(response.raw), repr(adapter.pool.connections)]
    for manager in adapter.proxy_manager.values():
        shown += [repr(manager), *map(repr, map(manager.pools.get, manager.pools.keys()))]
    shown += [repr(adapter), repr(adapter.poolmanager)]
    shown += [str(warning.message) for warning in warned]
    shown.append(caplog.text)
    assert len(shown) > 200
    assert len(caplog.records) > 20
    text = "\n".join(shown)
    assert "hush" not in text
    assert encoded not in text


def failure_texts(exc: BaseException) -> list[str]:
    texts = ["".join(traceback.format_exception(exc))]
    one: BaseException | None = exc
    while one is not None:
        texts += [str(one), repr(one), repr(one.args), repr(getattr(one, "reason", None))]
        one = one.__cause__ or one.__context__
    return texts


# ---------------------------------------------------------------------------------------------
# 35: no proxy


@pytest.mark.parametrize(
    "rules",
    [
        "127.0.0.1",
        "127.0.0.0/8",
        "10.0.0.0/8, 127.0.0.1",
        "127.0.0.1:{port}",
        "*",
    ],
)
@pytest.mark.parametrize("place", ["dict", "NO_PROXY", "no_proxy"])
def test_row_35_no_proxy_decides_over_explicit_proxies(
    make_session: MakeSession,
    proxy: ProxyServer,
    server: LocalServer,
    tls_server: LocalServer,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    rules: str,
) -> None:
    """ "Opt-in switch: `no_proxy` in the dict and CIDR/port/suffix rules respected at adapter
    level." """
    proxies = {"http": proxy.url, "https": proxy.url}
    rules = rules.format(port=server.port)
    if place == "dict":
        proxies["no_proxy"] = rules
    else:
        monkeypatch.setenv(place, rules)
    assert make_session().get(server.url, proxies=proxies).ok
    assert len(proxy.requests) == 1  # off by default: an explicit proxy is used, as by requests
    session = make_session(HTTPAdapter(respect_no_proxy=True))
    for _ in range(2):
        assert session.get(server.url + "/echo", proxies=proxies).json()["target"] == "/echo"
    assert len(proxy.requests) == 1
    session.get(tls_server.url, proxies=proxies)
    assert len(proxy.requests) == (2 if ":" in rules else 1)


def test_row_35_suffixes(
    make_session: MakeSession, proxy: ProxyServer, server: LocalServer
) -> None:
    """ "Suffix rules": a name and all below it, but nothing that only ends alike."""
    proxy.hosts = {"notlocalhost": "127.0.0.1"}
    session = make_session(HTTPAdapter(respect_no_proxy=True))
    proxies = {"http": proxy.url, "no_proxy": "example.test, .localhost"}
    assert session.get(f"http://localhost:{server.port}", proxies=proxies).ok
    assert not proxy.requests
    assert session.get(f"http://notlocalhost:{server.port}", proxies=proxies).ok
    assert len(proxy.requests) == 1
    # The dict's rules stand in for the environment's, as in requests.
    assert session.get(server.url, proxies={**proxies, "no_proxy": ""}).ok
    assert len(proxy.requests) == 2


@pytest.mark.parametrize("nothing", [None, ""])
def test_row_35_none_means_direct(
    make_session: MakeSession,
    proxy: ProxyServer,
    tls_server: LocalServer,
    monkeypatch: pytest.MonkeyPatch,
    nothing: Any,
) -> None:
    """ "`proxies={'https': None}` means direct." """
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    session = make_session()
    proxies: Any = {"https": nothing}
    assert session.get(tls_server.url, proxies=proxies).ok
    prepared = requests.Request("GET", tls_server.url).prepare()
    adapter = session.get_adapter(tls_server.url)
    assert adapter.send(
        prepared, proxies={"all": proxy.url, "https": nothing}, verify=session.verify
    )
    assert not proxy.requests
    assert session.get(tls_server.url).ok
    assert len(proxy.requests) == 1


def test_row_35_the_empty_string_means_direct_after_a_redirect_too(
    make_session: MakeSession,
    proxy: ProxyServer,
    server: LocalServer,
    tls_server: LocalServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """requests drops a None before the adapter sees it, and asks the environment again on a
    redirect; the empty string is the value that lasts."""
    monkeypatch.setenv("ALL_PROXY", proxy.url)
    url = f"{tls_server.url}/redirect-to?url={server.url}/echo"
    assert make_session().get(url, proxies={"https": "", "http": ""}).ok
    assert not proxy.requests


def test_row_35_nothing_is_looked_up(
    make_session: MakeSession,
    proxy: ProxyServer,
    server: LocalServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """ "No gethostbyname call for a NO_PROXY test." """
    looked_up: list[str] = []
    find = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kw: Any) -> Any:
        looked_up.append(host)
        return find(host, *args, **kw)

    def refuse(*args: Any) -> Any:
        raise AssertionError(f"looked up {args}")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    for name in ("gethostbyname", "gethostbyname_ex", "gethostbyaddr", "getfqdn"):
        monkeypatch.setattr(socket, name, refuse)
    proxy.hosts = {"origin.test": "127.0.0.1"}
    monkeypatch.setenv("NO_PROXY", "10.0.0.0/8, 127.0.0.0/8, other.test, [::1]:80")
    session = make_session(HTTPAdapter(respect_no_proxy=True))
    for proxies in ({"http": proxy.url}, {"http": proxy.url, "no_proxy": "127.0.0.0/8"}):
        assert session.get(f"http://origin.test:{server.port}", proxies=proxies).ok
    assert len(proxy.requests) == 2
    assert "origin.test" not in looked_up


def test_row_35_no_proxy_keeps_credentials_home(
    make_session: MakeSession, proxy: ProxyServer, server: LocalServer
) -> None:
    """requests adds the proxy's credentials after a redirect, not knowing that it goes direct."""
    session = make_session(HTTPAdapter(respect_no_proxy=True))
    proxies = {"http": with_user(proxy, "for-a"), "no_proxy": SECOND}
    url = f"{server.url}/redirect-to?url=http://{SECOND}:{server.port}/echo"
    assert session.get(url, proxies=proxies).ok
    assert len(proxy.requests) == 1
    assert_origins_saw_none(server)
