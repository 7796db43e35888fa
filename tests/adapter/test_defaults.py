"""Options that hold for each request of a session: given to an adapter, a session, or `install`.

Owns: which timeout a request has, which options an adapter has, and what is refused. Must not know:
what a timeout does once a request has it (the scenarios of deadlines).
"""

from __future__ import annotations

import contextlib
import copy
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import urllib3
from urllib3.util.retry import Retry

import httpcore
import httpcore_requests
from httpcore_requests import HTTPAdapter, Timeout
from httpcore_requests._settings import AdapterOptions, ConnectionOptions, Settings
from tests.support.clients import STOCK
from tests.support.servers import LocalServer, Peer, Serve

Limits = dict[str, float | None]


def limits(connect: float | None = None, read: float | None = None, **more: float | None) -> Limits:
    return {"connect": connect, "read": read, "write": read, "pool": None, **more}


class Seen:
    """A trace hook that keeps the timeouts of each request that is sent."""

    def __init__(self) -> None:
        self.timeouts: list[Limits] = []

    def __call__(self, name: str, details: dict[str, Any]) -> None:
        if name == "pool.assign":
            found = dict(details["request"].extensions["timeout"])
            if "total" in found:  # what is left of it
                found["total"] = found["total"].given
            self.timeouts.append(found)

    @property
    def only(self) -> Limits:
        [found] = self.timeouts
        return found


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def uninstalled() -> Iterator[None]:
    yield
    httpcore_requests.uninstall()


def mounted(**options: Any) -> requests.Session:
    made = requests.Session()
    made.mount("http://", HTTPAdapter(**options))
    return made


def installed(**options: Any) -> requests.Session:
    httpcore_requests.install(**options)
    return requests.Session()


def installed_with_session(**options: Any) -> requests.Session:
    httpcore_requests.install(session=True, **options)
    made = requests.Session()
    assert type(made) is httpcore_requests.Session
    return made


Make = Callable[..., requests.Session]
WAYS: list[Make] = [mounted, httpcore_requests.Session, installed, installed_with_session]
EACH_WAY = pytest.mark.parametrize("make", WAYS, ids=lambda make: make.__name__)


# --- timeouts


@pytest.mark.parametrize(
    ("default", "expected"),
    [
        (5, limits(5, 5)),
        (0.5, limits(0.5, 0.5)),
        ((3, 30), limits(3, 30)),
        ((3, None), limits(3, None)),
        (urllib3.Timeout(connect=1, read=2), limits(1, 2)),
        (urllib3.Timeout(total=9, connect=1, read=2), limits(1, 2, total=9)),
        (Timeout(read=4, write=5, pool=6), limits(None, 4, write=5, pool=6)),
        (Timeout(7), limits(total=7)),
        (Timeout(None), limits()),
        (None, limits()),
    ],
    ids=str,
)
def test_a_default(default: Any, expected: Limits, seen: Seen, server: LocalServer) -> None:
    with httpcore_requests.Session(timeout=default, trace=seen) as session:
        session.get(server.url)
    assert seen.only == expected


@EACH_WAY
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, limits(3, 30)),
        ((None, None), limits(3, 30)),  # requests makes the same of it as of None
        (urllib3.Timeout(), limits(3, 30)),
        (Timeout(None), limits()),
        (Timeout(), limits()),
        (float("inf"), limits(float("inf"), float("inf"))),
        (1, limits(1, 1)),
        ((1, None), limits(1, None)),
        ((None, 2), limits(None, 2)),
        (urllib3.Timeout(connect=1), limits(1, None)),
        (urllib3.Timeout(total=9), limits(total=9)),
        (Timeout(read=4), limits(None, 4)),
    ],
    ids=str,
)
def test_what_a_request_is_given_goes_before_it(
    make: Make, given: Any, expected: Limits, seen: Seen, server: LocalServer, uninstalled: None
) -> None:
    with make(timeout=(3, 30), trace=seen) as session:
        session.get(server.url, timeout=given)
    assert seen.only == expected


@EACH_WAY
def test_it_holds_however_a_request_is_sent(
    make: Make, seen: Seen, server: LocalServer, uninstalled: None
) -> None:
    with make(timeout=(3, 30), trace=seen) as session:
        session.get(server.url)
        session.send(session.prepare_request(requests.Request("GET", server.url)))
        session.send(session.prepare_request(requests.Request("GET", server.url)), timeout=None)
        session.get(server.url + "/redirect/2")
        session.post(server.url + "/echo", data=b"a", stream=True).close()
    assert seen.timeouts == [limits(3, 30)] * 7


def test_requests_get_after_install(seen: Seen, server: LocalServer, uninstalled: None) -> None:
    httpcore_requests.install(timeout=(3, 30), trace=seen)
    requests.get(server.url)
    requests.get(server.url, timeout=1)
    requests.post(server.url + "/echo", data=b"a", timeout=Timeout(None))
    assert seen.timeouts == [limits(3, 30), limits(1, 1), limits()]


def test_it_ends_a_request(serve: Serve) -> None:
    def silent(peer: Peer) -> None:
        peer.recv_request()
        peer.wait_closed()

    with httpcore_requests.Session(timeout=(5, 0.05)) as session:
        with pytest.raises(requests.ReadTimeout, match=r"0\.05 s"):
            session.get(serve(silent).url)


def test_the_total_of_a_default_is_one_for_all_retries(serve: Serve) -> None:
    def unable(peer: Peer) -> None:
        while peer.recv_request() is not None:
            asked.append(peer.respond(503))

    asked: list[object] = []
    retries = Retry(1000, status_forcelist=[503], backoff_factor=0.02, backoff_max=0.02)
    with httpcore_requests.Session(timeout=Timeout(0.3), retries=retries) as session:
        with contextlib.suppress(requests.ReadTimeout):  # the total may end in a pause or in a read
            assert session.get(serve(unable).url).status_code == 503
    assert 1 <= len(asked) < 1000, "each of them began the total anew"


def test_a_token_in_a_default_ends_all_requests(server: LocalServer) -> None:
    token = httpcore.CancelToken()
    with httpcore_requests.Session(timeout=Timeout(cancel=token)) as session:
        assert session.get(server.url).ok
        token.cancel()
        with pytest.raises(requests.ConnectionError):
            session.get(server.url)


def test_a_timeout_that_ticks_is_copied(seen: Seen, server: LocalServer) -> None:
    given = urllib3.Timeout(total=60, read=2)
    with httpcore_requests.Session(timeout=given, trace=seen) as session:
        given.start_connect()
        given.total = 1
        session.get(server.url)
    assert seen.only == {**limits(None, 2, total=60)}


def test_a_pool_that_is_used_without_requests(seen: Seen, server: LocalServer) -> None:
    """Programs call ``urlopen`` of the pool that the adapter gives them."""
    prepared = requests.Request("GET", server.url + "/").prepare()
    adapter = HTTPAdapter(timeout=(3, 30), trace=seen)
    pool = adapter.get_connection_with_tls_context(prepared, verify=True)
    pool.urlopen("GET", "/", preload_content=True)
    pool.urlopen("GET", "/", preload_content=True, timeout=None)
    pool.urlopen("GET", "/", preload_content=True, timeout=2)
    adapter.close()
    assert seen.timeouts == [limits(3, 30), limits(3, 30), limits(2, 2)]


@pytest.mark.parametrize(
    ("default", "error"),
    [
        ("5", TypeError), (True, TypeError), ([3, 30], TypeError), ((1, 2, 3), TypeError),
        ((1, "2"), TypeError), ({"read": 5}, TypeError), (object, TypeError), ((), TypeError),
        (0, ValueError), (-1, ValueError), (float("nan"), ValueError), ((5, 0), ValueError),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_timeout(default: Any, error: type[Exception], uninstalled: None) -> None:
    for make in (HTTPAdapter, httpcore_requests.Session, httpcore_requests.install):
        with pytest.raises(error, match=r"^timeout must be"):
            make(timeout=default)
    assert requests.adapters.HTTPAdapter is STOCK, "nothing is installed"


# --- copies, and what is mounted beside


def test_copies_keep_it(seen: Seen, server: LocalServer) -> None:
    adapter = HTTPAdapter(timeout=Timeout(9, 3, 30, write=5))
    with httpcore_requests.Session(timeout=(3, 30)) as session:
        for one in (pickle.loads(pickle.dumps(session)), copy.deepcopy(session)):
            with one:
                assert one.get_adapter("http://")._settings.timeout.read_timeout == 30
                assert one.get_adapter("https://") is one.get_adapter("http://")
    for copied in (pickle.loads(pickle.dumps(adapter)), copy.copy(adapter), copy.deepcopy(adapter)):
        assert repr(copied._settings.timeout) == "Timeout(total=9, connect=3, read=30, write=5)"


def test_a_copy_does_not_take_what_was_installed_meanwhile(uninstalled: None) -> None:
    pickled = pickle.dumps(HTTPAdapter())
    httpcore_requests.install(timeout=5)
    assert pickle.loads(pickled)._settings.timeout is None


def test_a_default_with_a_token_cannot_be_pickled() -> None:
    adapter = HTTPAdapter(timeout=Timeout(cancel=httpcore.CancelToken()))
    with pytest.raises(TypeError, match="cancel token cannot be pickled"):
        pickle.dumps(adapter)


def test_another_adapter_does_not_have_it(seen: Seen, server: LocalServer) -> None:
    with httpcore_requests.Session(timeout=(3, 30)) as session:
        session.mount("http://", HTTPAdapter(trace=seen))
        session.get(server.url)
        session.mount("http://", STOCK())
        assert session.get(server.url).ok
        assert session.get(server.url, timeout=Timeout(None)).ok
    assert seen.only == limits()


def test_a_subclass_that_has_a_default_of_its_own(seen: Seen, server: LocalServer) -> None:
    """As it stands in many programs."""

    class Patient(HTTPAdapter):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.timeout = kwargs.pop("timeout", 7)
            super().__init__(*args, **kwargs)

        def send(self, request: Any, **kwargs: Any) -> Any:
            if kwargs.get("timeout") is None:
                kwargs["timeout"] = self.timeout
            return super().send(request, **kwargs)

    with requests.Session() as session:
        session.mount("http://", Patient(timeout=8, trace=seen))
        session.get(server.url)
    assert seen.only == limits(8, 8)


# --- the other options


def test_a_session_has_the_options_of_the_adapter() -> None:
    with httpcore_requests.Session(http2=True, retries=3, pool_maxsize=4, pool_block=True) as made:
        adapter: Any = made.get_adapter("https://a.test/")
        assert made.get_adapter("http://a.test/") is adapter
        assert adapter._settings == Settings(http2=True)
        assert adapter.max_retries.total == 3
        assert (adapter._pool_maxsize, adapter._pool_block) == (4, True)


def test_what_is_not_told_is_as_installed(uninstalled: None) -> None:
    httpcore_requests.install(timeout=5, retries=2, pool_maxsize=3, max_age=60)
    plain, told = HTTPAdapter(), HTTPAdapter(max_retries=0, timeout=None, max_age=None)
    with requests.Session() as made:
        for adapter in (plain, made.get_adapter("http://")):
            assert adapter._settings.timeout.read_timeout == 5
            assert adapter._settings.max_age == 60
            assert (adapter.max_retries.total, adapter._pool_maxsize) == (2, 3)
    assert told._settings.timeout is None and told._settings.max_age is None
    assert (told.max_retries.total, told._pool_maxsize) == (0, 3)
    httpcore_requests.install(http2=True)
    assert HTTPAdapter()._settings == Settings(http2=True), "the last call decides"
    httpcore_requests.uninstall()
    assert HTTPAdapter()._settings == Settings()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"retries": "3"}, TypeError, "^retries must be"),
        ({"max_retries": 3.0}, TypeError, "^max_retries must be"),
        ({"retries": 3, "max_retries": 3}, TypeError, "one option"),
        ({"verify": False}, TypeError, "verify"),
        ({"trace": 5}, TypeError, "^trace must be"),
        ({"max_age": -1}, ValueError, "max_age"),
        ({"resolver": len, "network_backend": httpcore.SyncBackend()}, Exception, "resolver"),
    ],
    ids=lambda value: repr(value).partition(" object at ")[0],
)
def test_what_cannot_be_is_refused(
    options: Any, error: type[Exception], words: str, uninstalled: None
) -> None:
    httpcore_requests.install(timeout=5)
    for make in (HTTPAdapter, httpcore_requests.Session, httpcore_requests.install):
        with pytest.raises(error, match=words):
            make(**options)
    assert HTTPAdapter()._settings.timeout is not None, "the earlier call holds"


def test_each_option_is_known_to_type_checkers() -> None:
    by_name = ConnectionOptions.__annotations__.keys()
    assert by_name == {*Settings.__annotations__, "retries"}
    of_requests = AdapterOptions.__annotations__.keys() - by_name
    assert of_requests == {"pool_connections", "pool_maxsize", "max_retries", "pool_block"}
