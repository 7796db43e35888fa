"""Sessions and adapters that are pickled, copied, or sent to another process.

Owns: scenario 50. Must not know: how an adapter keeps its settings.
Sources: psf/requests#6255; the `pickle` and `copy` modules; adapters in the wild, as said there.
"""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import ssl
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import requests
import urllib3
from urllib3.util.retry import Retry

import httpcore_requests
from httpcore_requests import HTTPAdapter
from tests.support import PATIENCE
from tests.support.leaks import sockets
from tests.support.servers import LocalServer, Peer, Serve

Copier = Callable[[Any], Any]


def by_pickle(protocol: int, thing: Any) -> Any:
    return pickle.loads(pickle.dumps(thing, protocol))


COPIERS: dict[str, Copier] = {
    **{f"pickle {n}": partial(by_pickle, n) for n in range(pickle.HIGHEST_PROTOCOL + 1)},
    "deepcopy": copy.deepcopy,
}


@pytest.fixture(params=COPIERS)
def copier(request: pytest.FixtureRequest) -> Copier:
    return COPIERS[request.param]


class PatientRetry(Retry):
    """A policy of somebody's own."""


events: list[str] = []


def note(name: str, info: dict[str, Any]) -> None:
    events.append(name)


OPTIONS: dict[str, Any] = {
    "pool_connections": 3,
    "pool_maxsize": 4,
    "pool_block": True,
    "max_connections": 7,
    "keepalive_expiry": 12.5,
    "max_age": 60.0,
    "parsing": "strict",
    "pool_timeout": 2.5,
    "trace": note,
}


def policy() -> Retry:
    return PatientRetry(
        total=5, backoff_factor=0.25, status_forcelist=[503], allowed_methods=["GET"]
    )


def used_session(url: str, adapter: Any = None) -> requests.Session:
    """A session with settings of all kinds, which has an open connection to `url`."""
    session = httpcore_requests.Session()
    session.mount(url, adapter or HTTPAdapter(max_retries=policy(), **OPTIONS))
    session.headers["X-Own"] = "yes"
    session.auth = ("user", "secret")
    session.params = {"a": "1"}
    session.proxies = {"no_proxy": "*"}
    session.max_redirects = 3
    session.trust_env = False
    assert session.get(url + "/cookies/set?name=value").ok
    return session


SESSION_SETTINGS = (
    *("headers", "auth", "params", "proxies", "max_redirects", "trust_env", "verify", "cert"),
    *("stream", "hooks"),
)


def assert_same_settings(one: requests.Session, other: requests.Session) -> None:
    for name in SESSION_SETTINGS:
        assert getattr(one, name) == getattr(other, name)
    assert one.cookies.get_dict() == other.cookies.get_dict() == {"name": "value", "a": "1"}
    assert list(one.adapters) == list(other.adapters)
    for prefix in one.adapters:
        assert_same_adapter(one.adapters[prefix], other.adapters[prefix])


def assert_same_adapter(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    for name in ("_pool_connections", "_pool_maxsize", "_pool_block", "_settings", "config"):
        assert getattr(one, name) == getattr(other, name)
    assert type(one.max_retries) is type(other.max_retries)
    assert vars(one.max_retries) == vars(other.max_retries)


def assert_works(copied: requests.Session, url: str) -> None:
    """It opens a connection of its own for the first request, and uses it for the second."""
    with copied:
        assert not copied.get(url + "/").raw.reused  # type: ignore[union-attr]
        assert copied.get(url + "/").raw.reused  # type: ignore[union-attr]


def test_row_50_a_used_session(copier: Copier, server: LocalServer) -> None:
    """ "Pickle, deepcopy [...] of a used session give a working one with the same settings and no
    sockets", and leave the one that was copied as it was."""
    with used_session(server.url) as session:
        before = sockets()
        copied = copier(session)
        assert sockets() == before
        assert copied.get_adapter(server.url).pool.stats()["connections"] == 0
        assert_same_settings(session, copied)
        assert_works(copied, server.url)
        assert session.get(server.url + "/").raw.reused  # type: ignore[union-attr]
    assert server.accepted == 2


def test_row_50_while_it_is_in_use(copier: Copier, server: LocalServer) -> None:
    """A response that is being read is no obstacle, and stays the original's."""
    with used_session(server.url) as session:
        with session.get(server.url + "/bytes/1000000", stream=True) as response:
            assert_works(copier(session), server.url)
            assert len(response.content) == 1_000_000


def test_row_50_a_copy_of_a_copy(copier: Copier, server: LocalServer) -> None:
    with used_session(server.url) as session:
        twice = copier(copier(session))
        assert_same_settings(session, twice)
        assert_works(twice, server.url)


def test_row_50_one_adapter_for_two_prefixes_stays_one(copier: Copier) -> None:
    with httpcore_requests.Session() as session:
        session.mount("http+unix://", session.adapters["http://"])
        copied = copier(session)
        same = session.adapters["http://"] is session.adapters["http+unix://"]
        assert (copied.adapters["http://"] is copied.adapters["http+unix://"]) is same


def test_row_50_settings_hold_in_the_copy(copier: Copier, serve: Serve) -> None:
    """ "The same settings": not only as attributes. One connection per host, and others wait for
    it no longer than told."""
    in_use = threading.Event()

    def handler(peer: Peer) -> None:
        while (request := peer.recv_request()) is not None:
            if request.path == "/wait":
                in_use.set()
                over.wait(PATIENCE)
            peer.respond(200, b"hello")

    server = serve(handler)
    over = server.event()
    adapter = HTTPAdapter(pool_maxsize=1, pool_block=True, pool_timeout=0.02, keepalive_expiry=0)
    with used_session(server.url, adapter) as session, copier(session) as copied:
        get = partial(copied.get, timeout=PATIENCE)
        thread = threading.Thread(target=get, args=(server.url + "/wait",), daemon=True)
        thread.start()
        assert in_use.wait(PATIENCE)
        with pytest.raises(requests.ConnectTimeout, match="max_connections_per_host=1"):
            get(server.url)
        over.set()
        thread.join(PATIENCE)
        assert not get(server.url).raw.reused  # keepalive_expiry=0
        assert not get(server.url).raw.reused


def test_row_50_hooks_and_policies_act_in_the_copy(copier: Copier, serve: Serve) -> None:
    """The trace function is called, the header is refused (parsing="strict"), the status is asked
    for again (max_retries)."""
    answers = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",  # to the original
        b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nRetry-After: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nno colon\r\n\r\n",
    ]

    def handler(peer: Peer) -> None:
        while peer.recv_request() is not None:
            peer.send(answers.pop(0))

    server = serve(handler)
    adapter = HTTPAdapter(max_retries=policy(), **OPTIONS)
    with used_session(server.url, adapter) as session, copier(session) as copied:
        events.clear()
        assert copied.get(server.url, timeout=PATIENCE).status_code == 200
        assert "http11.send_request_headers.started" in events
        with pytest.raises(requests.ConnectionError):
            copied.post(server.url, timeout=PATIENCE)
    assert answers == []


def use_in_process(session: requests.Session, url: str, pipe: Any) -> None:
    adapter: Any = session.get_adapter(url)
    connections = adapter.pool.stats()["connections"]
    with session:
        statuses = [session.get(url + "/").status_code for _ in range(2)]
    pipe.send((connections, statuses, session))
    pipe.close()


def test_row_50_spawn(server: LocalServer) -> None:
    """ "Spawn of a used session": it goes to the process as an argument, and comes back."""
    context = multiprocessing.get_context("spawn")
    reader, writer = context.Pipe(duplex=False)
    with used_session(server.url) as session:
        process = context.Process(target=use_in_process, args=(session, server.url, writer))
        process.start()
        writer.close()
        assert reader.poll(PATIENCE * 3)
        connections, statuses, returned = reader.recv()
        reader.close()
        process.join(PATIENCE)
        assert process.exitcode == 0
        process.close()
        assert (connections, statuses) == (0, [200, 200])
        assert_same_settings(session, returned)
        assert_works(returned, server.url)
    assert server.accepted == 3


# ---------------------------------------------------------------------------------------------
# Subclasses


class Fingerprint(HTTPAdapter):
    """As requests-toolbelt and docker do: `__attrs__` is requests' list and their own names."""

    __attrs__ = [*requests.adapters.HTTPAdapter.__attrs__, "fingerprint"]

    def __init__(self, fingerprint: str, **options: Any) -> None:
        self.fingerprint = fingerprint
        super().__init__(**options)


class WholeDict(HTTPAdapter):
    """As those do that pickle what they have, but for what they know cannot be."""

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        del state["poolmanager"], state["proxy_manager"]
        return state


class WholeDictBothWays(WholeDict):
    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.proxy_manager: dict[str, Any] = {}
        self.init_poolmanager(self._pool_connections, self._pool_maxsize, self._pool_block)


class Reduced(HTTPAdapter):
    """As google-auth does: `__reduce_ex__` says how to build it."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        return Reduced, (), self.__getstate__()

    def __deepcopy__(self, memo: Any) -> Reduced:
        made = Reduced.__new__(Reduced)
        made.__setstate__(self.__getstate__())
        return made


class OwnManager(HTTPAdapter):
    """As apache-libcloud does: the pool manager is urllib3's, built anew in each copy."""

    def init_poolmanager(
        self, connections: int, maxsize: int, block: bool = False, **keywords: Any
    ) -> None:
        self._pool_connections = connections
        self._pool_maxsize = maxsize
        self._pool_block = block
        self.poolmanager: Any = urllib3.PoolManager(connections, maxsize=maxsize, block=block)


@pytest.mark.parametrize(
    "make",
    [partial(Fingerprint, "ab:cd"), WholeDict, WholeDictBothWays, Reduced, OwnManager],
    ids=["Fingerprint", "WholeDict", "WholeDictBothWays", "Reduced", "OwnManager"],
)
def test_row_50_adapters_of_others(
    make: Callable[..., HTTPAdapter], copier: Copier, server: LocalServer
) -> None:
    """ "`__attrs__` must list every field": ours are kept whoever writes the list, or the state."""
    adapter = make(max_retries=policy(), **OPTIONS)
    with used_session(server.url, adapter) as session:
        copied = copier(session)
        assert_same_settings(session, copied)
        assert getattr(copied.get_adapter(server.url), "fingerprint", "ab:cd") == "ab:cd"
        assert copied.get_adapter(server.url).pool.stats()["connections"] == 0
        assert_works(copied, server.url)
        assert session.get(server.url + "/").raw.reused  # type: ignore[union-attr]


@pytest.mark.parametrize("make", [HTTPAdapter, WholeDict])
def test_row_50_a_shallow_copy_has_its_own_connections(
    make: Callable[..., HTTPAdapter], server: LocalServer
) -> None:
    adapter = make(max_retries=policy(), **OPTIONS)
    with used_session(server.url, adapter) as session:
        copied = copy.copy(adapter)
        assert_same_adapter(adapter, copied)
        with requests.Session() as other:
            other.mount(server.url, copied)
            assert_works(other, server.url)
        assert session.get(server.url + "/").raw.reused  # type: ignore[union-attr]


# ---------------------------------------------------------------------------------------------
# SSLContexts


@pytest.mark.parametrize("make", [HTTPAdapter, partial(Fingerprint, "ab:cd"), WholeDict, Reduced])
@pytest.mark.parametrize("what", ["session", "adapter"])
def test_row_50_an_ssl_context_gives_one_clear_error(
    what: str,
    make: Callable[..., HTTPAdapter],
    copier: Copier,
    tls_server: LocalServer,
    client_tls_context: ssl.SSLContext,
) -> None:
    """ "A user SSLContext gives one clear error", which says what to do. The session that could
    not be copied goes on."""
    adapter = make(ssl_context=client_tls_context)
    with used_session(tls_server.url, adapter) as session:
        if make is Reduced and copier is copy.deepcopy:  # which shares what it has
            assert_works(copier(session), tls_server.url)
            return
        with pytest.raises(TypeError) as caught:
            copier(session if what == "session" else adapter)
        assert str(caught.value) == (
            "an HTTPAdapter with an ssl_context cannot be pickled or deep-copied, because an "
            "SSLContext cannot: pass verify= and cert= paths instead, or make the context in an "
            "overridden init_poolmanager(), which every copy calls anew"
        )
        assert session.get(tls_server.url + "/").raw.reused  # type: ignore[union-attr]


def test_row_50_an_ssl_context_cannot_be_spawned(client_tls_context: ssl.SSLContext) -> None:
    context = multiprocessing.get_context("spawn")
    with requests.Session() as session:
        session.mount("https://", HTTPAdapter(ssl_context=client_tls_context))
        process = context.Process(target=use_in_process, args=(session, "", None))
        with pytest.raises(TypeError, match="make the context in an overridden init_poolmanager"):
            process.start()


def test_row_50_a_shallow_copy_shares_the_context(
    tls_server: LocalServer, client_tls_context: ssl.SSLContext
) -> None:
    """It is never changed, so two adapters may have it."""
    adapter = HTTPAdapter(ssl_context=client_tls_context)
    with used_session(tls_server.url, adapter) as session:
        with requests.Session() as other:
            other.mount(tls_server.url, copy.copy(adapter))
            assert_works(other, tls_server.url)
        assert session.get(tls_server.url + "/").raw.reused  # type: ignore[union-attr]


made_contexts: list[str] = []


class OwnContext(HTTPAdapter):
    """The recipe of a hundred answers: a context, given to the pool manager. requests pickles it,
    because the pool manager is made anew in the copy; so must we."""

    __attrs__ = [*requests.adapters.HTTPAdapter.__attrs__, "bundle"]

    def __init__(self, bundle: str) -> None:
        self.bundle = bundle
        super().__init__()

    def init_poolmanager(self, *args: Any, **keywords: Any) -> None:
        keywords["ssl_context"] = ssl.create_default_context(cafile=self.bundle)
        made_contexts.append(self.bundle)
        super().init_poolmanager(*args, **keywords)


def test_row_50_a_context_that_a_subclass_makes(
    copier: Copier, tls_server: LocalServer, ca_bundle: str
) -> None:
    with used_session(tls_server.url, OwnContext(ca_bundle)) as session:
        made_contexts.clear()
        copied = copier(session)
        assert made_contexts == [ca_bundle]
        assert_works(copied, tls_server.url)


def test_row_50_installed(copier: Copier, server: LocalServer) -> None:
    """After `install()`, a plain `requests.Session` is one of ours, in each copy too."""
    httpcore_requests.install()
    try:
        with requests.Session() as session:
            assert session.get(server.url + "/").ok
            copied = copier(session)
            assert type(copied.get_adapter(server.url)) is HTTPAdapter
            assert_works(copied, server.url)
    finally:
        httpcore_requests.uninstall()
