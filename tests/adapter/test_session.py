"""`httpcore_requests.Session`: that it leaves work out, and when it may not.

Owns: the cases in which a fast way must not be taken (something was overridden, replaced or is
missing), what else a session is used for (pickles, copies, threads, `install`). Must not know: what
programs send; that both sessions do the same with any input is `test_session_differential`'s.
"""

from __future__ import annotations

import copy
import functools
import http.cookiejar
import inspect
import os
import pickle
import subprocess
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from http.client import HTTPMessage
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock, patch

import pytest
import requests
import requests.cookies
import requests.hooks
import requests.models
import requests.structures
import requests.utils

import httpcore_requests
from httpcore_requests import _session, _session_cookies, _session_environment, _session_genuine
from httpcore_requests._session_prepare import split_url
from tests.support.servers import LocalServer, Peer, Serve
from tests.support.sessions import NOW, Program, Runner, frozen, keep

STOCK = requests.Session
OURS = httpcore_requests.Session
BOTH = pytest.mark.parametrize("base", [STOCK, OURS], ids=["stock", "ours"])


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    with frozen(requests.sessions, _session), warnings.catch_warnings():
        yield Runner(tmp_path)


def call(url: str = "http://example.com/a", method: str = "GET", **given: Any) -> Program:
    arguments = {name: (lambda value=value: copy.copy(value)) for name, value in given.items()}
    return [("request", (method, url, arguments, []))]


#: A session with a cookie, a redirect that sets one, and a prepared request: all that is left out
#: somewhere is called by requests in one of these.
PROGRAM: Program = [
    ("set cookies", ([("a", "1", {"domain": "example.com"})],)),
    ("set attribute", ("params", lambda: {"s": "1"})),
    ("request", ("POST", "http://example.com/a", {"headers": lambda: {"X-A": "1"}}, [
        (True, 303, [("Location", "/b"), ("Set-Cookie", "b=2"), ("Content-Length", "0")], b""),
        (True, 200, [("Content-Length", "2")], b"ok"),
    ])),
    ("send", ("GET", "http://example.com/", {}, [])),
    ("get", ("GET", "https://example.com/?a=b", {"params": lambda: {"c": "d"}}, [])),
    ("merge", ("GET", "http://example.com/", {"proxies": dict}, [])),
]  # fmt: skip


def sent_before(response: Any, *args: Any, **kwargs: Any) -> Any:
    """Answer with a response that has a history, whose cookies count, too."""
    earlier = copy.copy(response)
    earlier.raw = SimpleNamespace(_original_response=SimpleNamespace(msg=HTTPMessage()))
    earlier.raw._original_response.msg["Set-Cookie"] = "earlier=1"
    response.history = [earlier]
    return response


# --- which requests take the fast way


def went_past(monkeypatch: pytest.MonkeyPatch, runner: Runner, program: Program) -> bool:
    """Whether the last call of `program` was answered without requests' own methods."""
    prepared = []
    under = _session._request

    def watching(*args: Any, **kwargs: Any) -> Any:
        response = under(*args, **kwargs)
        prepared.append(response is not None)
        return response

    monkeypatch.setattr(_session, "_request", watching)
    runner.run(program, OURS)
    return prepared[-1:] == [True]


USUAL: dict[str, Program] = {
    **{f"port {port}": call(f"http://example.com:{port}/") for port in (1, 80, 443, 8080, 18080)},
    "the highest port": call("http://example.com:65535/"),
    "an address": call("http://127.0.0.1:8080/a"),
    "a local name": call("https://localhost/"),
    "no path": call("https://example.com"),
    "a query and no path": call("https://example.com?a=b"),
    "escapes": call("https://example.com/a%20b?c=%C3%A4"),
    "parameters": call(params={"a": "b c", "d": ["1", "2"]}),
    "pairs of parameters": call(params=[("a", "b")]),
    "headers": call(headers={"X-A": "b", "Accept": None}),
    "a body": call(method="POST", data={"a": "b"}),
    "JSON": call(method="PUT", json={"a": "b"}),
    "no body": call(method="DELETE"),
    "a file": call(method="POST", files={"f": b"content"}),
    "cookies": call(cookies={"a": "b"}),
    "credentials": call(auth=("user", "password")),
    "settings": call(verify=False, cert=("a", "b"), timeout=3, stream=True, allow_redirects=False),
    "proxies": call(proxies={"http": "http://proxy:1"}),
    "a proxy in the environment": [
        ("set variable", ("http_proxy", "http://proxy:1")),
        ("set variable", ("no_proxy", "other.test")),
        *call(),
    ],
    "a CA bundle in the environment": [("set variable", ("REQUESTS_CA_BUNDLE", "/ca")), *call()],
    "a netrc file": [("write netrc", (".netrc", True)), *call()],
    "a hook": [("set attribute", ("hooks", lambda: {"response": [keep]})), *call()],
    "a session's header": [("set headers", ([("X-A", "1"), ("Accept-Encoding", None)],)), *call()],
    "a session's parameters": [("set attribute", ("params", lambda: {"a": "b"})), *call()],
    "no trust": [("set attribute", ("trust_env", lambda: False)), *call()],
    "cookies in the jar": [
        ("set cookies", ([("a", "1", {"domain": ".example.com", "expires": int(NOW) + 9}),
                          ("b", "2", {}), ("c", '"3"', {"secure": True, "path": "/x"}),
                          ("d", "4", {"expires": int(NOW) - 9})],)),
        *call(),
    ],
    "a jar read from a file": [
        ("set attribute", ("cookies", http.cookiejar.MozillaCookieJar)),
        ("set cookies", ([("a", "1", {"domain": "example.com"})],)),
        *call(),
    ],
}  # fmt: skip

UNUSUAL: dict[str, Program] = {
    "a port that is too high": call("http://example.com:65536/"),
    "a port that begins with 0": call("http://example.com:080/"),
    "a bare question mark": call("http://example.com/?"),
    "a fragment": call("http://example.com/#a"),
    "a dot segment": call("http://example.com/a/../b"),
    "upper case": call("http://Example.com/"),
    "an escape that is undone": call("http://example.com/%41"),
    "an escape in lower case": call("http://example.com/%2f"),
    "a user": call("http://user:password@example.com/"),
    "another alphabet": call("http://bücher.example/"),
    "text as parameters": call(params="a=b"),
    "a header of bytes": call(headers={"X-A": b"1"}),
    "a header that is refused": call(headers={"X-A": "1\n"}),
    "pairs of headers": call(headers=[("X-A", "1")]),
    "hooks": call(hooks={"response": print}),
    "a host of one's own, with cookies": call(headers={"Host": "a"}, cookies={"a": "b"}),
    "a cookie for ports": [("set cookies", ([("a", "1", {"port": "80"})],)), *call()],
    "a jar of one's own": [("set attribute", ("cookies", lambda: {"a": "b"})), *call()],
    "no_proxy for one request": [
        ("set variable", ("http_proxy", "http://proxy:1")), *call(proxies={"no_proxy": "x"}),
    ],
    "a no_proxy that is no text": call(proxies={"no_proxy": 5}),
    "a session's no_proxy that is no text": [
        ("set attribute", ("proxies", lambda: {"no_proxy": 5})),
        ("send", ("GET", "http://example.com/", {}, [])),
    ],
    "headers that are a dict": [("set attribute", ("headers", lambda: {"a": "b"})), *call()],
    "proxies that are none": [("set attribute", ("proxies", lambda: None)), *call()],
    "headers that become a dict": [
        *call(), ("set attribute", ("headers", lambda: {"a": "b"})), *call(),
    ],
    "a netrc file in a home that is named": [
        ("write netrc", ("named", True)), ("set variable", ("NETRC", "~/named")), *call(),
    ],
    "settings that are dicts": [
        ("set attribute", ("verify", lambda: {"a": "b"})), *call(verify={"c": "d", "e": None}),
    ],
    "a hook that has sent requests": [
        ("set attribute", ("hooks", lambda: {"response": [sent_before]})), *call(),
    ],
    "parameters that are none": [("set attribute", ("params", lambda: None)), *call()],
}  # fmt: skip


@pytest.mark.parametrize("name", USUAL)
def test_usual_requests_take_the_fast_way(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A difference would be found elsewhere; a needless detour only here."""
    assert runner.run(USUAL[name], OURS) == runner.run(USUAL[name], STOCK)
    assert went_past(monkeypatch, runner, USUAL[name])


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_requests_are_left_to_requests(runner: Runner, name: str) -> None:
    assert runner.run(UNUSUAL[name], OURS) == runner.run(UNUSUAL[name], STOCK)


def test_headers_are_checked_once(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    checks = Mock(side_effect=_session.check_headers)
    monkeypatch.setattr(_session, "check_headers", checks)
    program = [*call(), *call(), ("set headers", ([("X-A", "1")],)), *call(), *call()]
    assert runner.run(program, OURS) == runner.run(program, STOCK)
    assert checks.call_count == 2


# --- what was replaced is called


def replaced(
    runner: Runner, owner: Any, name: str, base: Callable[[], Any]
) -> tuple[list[Any], Counter[str]]:
    """What came of the program with a wrapper in the place of ``owner.name``, and its calls."""
    calls: Counter[str] = Counter()
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(owner, name, counting(name, getattr(owner, name), calls))
        return runner.run(PROGRAM, base), calls


def counting(name: str, under: Any, calls: Counter[str]) -> Any:
    @functools.wraps(under, updated=())
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        calls[name] += 1
        return under(*args, **kwargs)

    return wrapper


class _Choosy(http.cookiejar.DefaultCookiePolicy):
    def return_ok(self, cookie: Any, request: Any) -> bool:
        return False


WATCHED = [
    (watch.owner, name)
    for group in _session_genuine.ALL
    for watch in group
    for name in watch.names
    # Classes are also asked for by isinstance; their methods are replaced one by one.
    if isinstance(getattr(watch.owner, name, None), type(call))
]


@pytest.mark.parametrize(
    ("owner", "name"), WATCHED, ids=[f"{o.__name__.rpartition('.')[2]}.{n}" for o, n in WATCHED]
)
def test_a_function_that_was_replaced_is_called_as_often_as_by_requests(
    runner: Runner, owner: Any, name: str
) -> None:
    assert replaced(runner, owner, name, OURS) == replaced(runner, owner, name, STOCK)


@pytest.mark.parametrize(
    ("owner", "name", "other"),
    [
        (http.cookiejar, "DefaultCookiePolicy", _Choosy),
        (http.cookiejar, "time", SimpleNamespace(time=lambda: NOW + 1e6)),
        (requests.utils, "NETRC_FILES", ("named",)),
        (
            os.environ,
            "get",
            lambda name, default=None: {"CURL_CA_BUNDLE": "/ca"}.get(name, default),
        ),
        (
            os.path,
            "expanduser",
            lambda path: path.replace("~/.netrc", os.environ["HOME"] + "/named"),
        ),
        (requests.models, "urlencode", lambda *args, **kwargs: "replaced=1"),
    ],
)
def test_a_value_that_was_replaced_counts(
    runner: Runner, owner: Any, name: str, other: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    program: Program = [
        ("set cookies", ([("a", "1", {"domain": "example.com", "expires": int(NOW) + 9})],)),
        ("set variable", ("http_proxy", "http://proxy:1")),
        ("write netrc", ("named", True)),
        *call(params={"a": "b"}),
        ("patch", ()),
        *call(params={"a": "b"}),
    ]

    def run(base: Any) -> Any:
        with pytest.MonkeyPatch.context() as patching:
            step = Runner._step

            def patched(self: Any, session: Any, kind: str, arguments: Any) -> Any:
                if kind == "patch":
                    return patching.setattr(owner, name, other)
                return step(self, session, kind, arguments)

            monkeypatch.setattr(Runner, "_step", patched)
            try:
                return runner.run(program, base)
            finally:
                monkeypatch.setattr(Runner, "_step", step)

    outcome = run(STOCK)
    assert outcome[3] != outcome[5]
    assert run(OURS) == outcome


def test_most_of_what_is_watched_is_called(runner: Runner) -> None:
    """The test above compares more than zero with zero."""
    silent = [
        f"{owner.__name__}.{name}"
        for owner, name in WATCHED
        if not replaced(runner, owner, name, STOCK)[1]
    ]
    assert len(silent) < len(WATCHED) / 3, silent


@pytest.mark.parametrize("name", sorted(_session_genuine.METHOD_NAMES - {"__getattribute__"}))
@pytest.mark.parametrize("where", ["subclass", "instance", "class", "requests"])
def test_a_method_that_was_overridden_is_called_as_often_as_by_requests(
    runner: Runner, name: str, where: str
) -> None:
    def run(base: Any) -> Any:
        calls: Counter[str] = Counter()

        class Derived(base):  # type: ignore[misc]
            pass

        def make() -> Any:
            made = Derived()
            if where == "instance":
                made.__dict__[name] = counting(name, getattr(made, name), calls)
            return made

        with pytest.MonkeyPatch.context() as monkeypatch:
            owner = {"subclass": Derived, "class": base, "requests": STOCK}.get(where)
            if owner is not None:
                monkeypatch.setattr(owner, name, counting(name, getattr(owner, name), calls))
            outcome = runner.run(PROGRAM, make)
        # Ours calls requests' own method as well where it declines.
        return outcome, {key: bool(count) for key, count in calls.items()}

    assert run(OURS) == run(STOCK)


def test_a_subclass_that_looks_up_attributes_itself(runner: Runner) -> None:
    def run(base: Any) -> Any:
        asked = set()

        class Derived(base):  # type: ignore[misc]
            def __getattribute__(self, name: str) -> Any:
                asked.add(name)
                return super().__getattribute__(name)

        outcome = runner.run(PROGRAM, Derived)
        return outcome, {name for name in asked if name in _session_genuine.METHOD_NAMES}

    assert run(OURS) == run(STOCK)


HELPERS = sorted(
    {name for name in vars(_session) if name.startswith("_") and not name.startswith("__")}
    | {name for name in vars(OURS) if name.startswith("_") and not name.startswith("__")}
    | {"_request", "_send", "_prepare", "_merge", "_get", "_known_headers", "_follow"}
)


def test_what_a_subclass_calls_its_own_is_its_own(runner: Runner) -> None:
    """Clients of an API are full of `_request` and `_send`."""

    def run(base: Any) -> Any:
        def refuse(*args: Any, **kwargs: Any) -> Any:
            pytest.fail("called something of a subclass that is none of requests'")

        names = [name for name in HELPERS if not name.startswith("_httpcore")]
        return runner.run(PROGRAM, type("Client", (base,), dict.fromkeys(names, refuse)))

    assert run(OURS) == run(STOCK)


def test_a_class_between_ours_and_requests_is_asked(runner: Runner) -> None:
    called: Counter[str] = Counter()
    methods = {
        name: counting(name, getattr(STOCK, name), called)
        for name in _session_genuine.METHOD_NAMES - {"__getattribute__"}
    }
    between = type("Between", (STOCK,), methods)
    made = runner.run(PROGRAM, type("Derived", (OURS, between), {}))
    assert made == runner.run(PROGRAM, STOCK)
    asked = called.copy()
    called.clear()
    runner.run(PROGRAM, type("Derived", (between, OURS), {}))
    assert {*asked} == {*called}


@pytest.mark.parametrize(
    "ask",
    [
        lambda session: session.get("http://a.test/", headers={"a": "b"}),
        lambda session: session.post("http://a.test/", json=1),
        lambda session: session.request("GET", "http://a.test/", None, "data"),
        lambda session: session.request("GET", url="http://a.test/"),
        lambda session: session.request(url="http://a.test/", method="GET", timeout=3),
    ],
)
def test_a_mock_of_request_sees_the_arguments_as_they_came(ask: Any) -> None:
    def calls(base: Any) -> Any:
        with patch.object(STOCK, "request") as mock, base() as session:
            ask(session)
        return mock.call_args_list

    assert calls(OURS) == calls(STOCK)


def test_request_may_get_defaults_for_all_sessions(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``Session.request = partialmethod(Session.request, timeout=5)``, as many programs have it."""
    monkeypatch.setattr(STOCK, "request", functools.partialmethod(STOCK.request, timeout=5))
    ((_, _, records, *_),) = runner.run([("get", ("GET", "http://a.test/", {}, []))], OURS)
    assert ("timeout", (int, 5)) in records[0][3]


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        (("GET",), {}),
        ((), {"url": "http://a.test/"}),
        (("GET", "http://a.test/"), {"unknown": 1}),
        (("GET", "http://a.test/"), {"url": 1}),
        (tuple(range(30)), {}),
    ],
)
def test_a_wrong_call_is_refused_as_by_requests(args: Any, kwargs: Any) -> None:
    def refusal(base: Any) -> str:
        with base() as session, pytest.raises(TypeError) as caught:
            session.request(*args, **kwargs)
        return str(caught.value)

    assert refusal(OURS) == refusal(STOCK)


def test_the_signature_of_request_is_that_of_requests() -> None:
    def signature(base: Any) -> Any:
        parameters = inspect.signature(base.request).parameters.values()
        return [(each.name, each.kind, each.default) for each in parameters]

    assert signature(OURS) == signature(STOCK)


def test_an_adapter_whose_responses_have_no_list_of_history() -> None:
    class Bare(requests.adapters.BaseAdapter):
        def send(self, request: Any, *args: Any, **kwargs: Any) -> requests.Response:
            response = requests.Response()
            response.status_code, response.raw, response._content = 200, None, b""
            response.history = None  # type: ignore[assignment]
            return response

        def close(self) -> None:
            pass

    with OURS() as session:
        session.mount("http://", Bare())
        assert session.get("http://a.test/").history is None


def test_which_statuses_are_redirects_may_be_changed(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests.models, "REDIRECT_STATI", (302, 333))
    for status in (301, 302, 333):
        head = [("Location", "/b"), ("Content-Length", "0")]
        step = ("get", ("GET", "http://a.test/", {}, [(True, status, head, b"")]))
        assert runner.run([step], OURS) == runner.run([step], STOCK)
        assert len(runner.run([step], OURS)[0][2]) == (1 if status == 301 else 2)


def test_a_property_in_the_place_of_an_attribute(runner: Runner) -> None:
    def run(base: Any) -> Any:
        class Derived(base):  # type: ignore[misc]
            @property
            def proxies(self) -> Any:
                return {"http": "http://property:1"}

            @proxies.setter
            def proxies(self, value: Any) -> None:
                pass

        return runner.run(PROGRAM, Derived)

    assert run(OURS) == run(STOCK)


def test_what_was_replaced_before_the_import_is_not_taken_for_genuine() -> None:
    script = """
import functools, requests.sessions
seen = []
under = requests.sessions.Session.send
@functools.wraps(under)
def send(self, request, **kwargs):
    seen.append(request.url)
    return under(self, request, **kwargs)
requests.sessions.Session.send = send
import httpcore_requests
class Adapter(requests.adapters.BaseAdapter):
    def send(self, request, **kwargs):
        response = requests.Response()
        response.status_code, response.request, response.raw = 200, request, None
        response._content = b""
        return response
session = httpcore_requests.Session()
session.mount("http://", Adapter())
session.get("http://example.com/")
print(seen)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("['http://example.com/']\n", "")


def test_an_attribute_that_is_gone_counts_as_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = SimpleNamespace(a=requests.get, b=requests.post)
    watches = (_session_genuine.Watch(owner, "a", "b"),)
    assert _session_genuine.hold(watches)
    del owner.a
    assert not _session_genuine.hold(watches)
    mocked = SimpleNamespace(a=Mock(), b=len)
    for late in (owner, mocked):
        assert not _session_genuine.hold((_session_genuine.Watch(late, "a", "b"),))


# --- where nothing is known, nothing is left out


def test_another_version_of_requests_is_left_alone(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "__version__", "3.0.0")
    assert not _session_genuine.looks_as_known()
    monkeypatch.setattr(_session_genuine, "IS_KNOWN", False)
    assert not went_past(monkeypatch, runner, call())
    assert runner.run(PROGRAM, OURS) == runner.run(PROGRAM, STOCK)


def test_the_settings_of_another_platform_are_left_to_requests(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_session_environment, "_IS_KNOWN", False)
    assert not went_past(monkeypatch, runner, call())
    assert runner.run(PROGRAM, OURS) == runner.run(PROGRAM, STOCK)


def test_an_environment_of_somebody_else_is_read_by_requests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session = OURS()
    assert session.merge_environment_settings("http://a.test/", {}, None, None, None)["verify"]
    monkeypatch.setattr(os, "environ", {"REQUESTS_CA_BUNDLE": "/other.pem"})
    merged = session.merge_environment_settings("http://a.test/", {}, None, None, None)
    assert merged["verify"] == "/other.pem"
    session.close()


def test_an_environment_that_changes_meanwhile_is_read_by_requests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def changing(data: Any) -> Any:
        monkeypatch.setenv("UNRELATED", "1")
        return made(data)

    made = _session_environment.Environment
    monkeypatch.setattr(_session_environment, "_last", None)
    monkeypatch.setattr(_session_environment, "Environment", changing)
    assert _session_environment.current() is None
    monkeypatch.setattr(_session_environment, "Environment", made)
    assert _session_environment.current() is _session_environment.current() is not None


def test_hosts_in_mind_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy:1")
    monkeypatch.setattr(_session_environment, "_MAX_HOSTS", 2)
    environment = _session_environment.current()
    assert environment is not None
    for number in range(5):
        expected = {"http": "http://proxy:1"}
        assert environment.proxies_for(f"http://host{number}") == expected
    assert len(environment._by_authority) <= 2


# --- cookies


def test_cookies_are_copied_in_the_order_in_which_the_jar_gives_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = requests.cookies.RequestsCookieJar()
    for domain in ("b.test", "a.test", "c.test"):
        own.set("name", "value", domain=domain)
    for is_sorted in (False, True):
        monkeypatch.setattr(_session_cookies, "_IS_SORTED", is_sorted)
        jar = _session_cookies.new_jar()
        _session_cookies.add_all(jar, own)
        domains = list(vars(jar)["_cookies"])
        assert domains == (sorted(domains) if is_sorted else ["b.test", "a.test", "c.test"])


def test_cookies_are_left_to_a_cookiejar_that_logs(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: dict[Any, list[str]] = {}
    for base in (STOCK, OURS):
        logger = Mock()
        monkeypatch.setattr(http.cookiejar, "debug", True)
        monkeypatch.setattr(http.cookiejar, "logger", logger)
        runner.run([("set cookies", ([("a", "1", {})],)), *call()], base)
        lines[base] = [str(each) for each in logger.debug.mock_calls]
    assert lines[OURS] == lines[STOCK] != []


@pytest.mark.parametrize("cookies", [
    {"a.test": None}, {"a.test": {"/": None}}, {"a.test": {"/": {"a": None}}}, {None: {}, "a": {}},
])  # fmt: skip
def test_a_jar_that_holds_something_else_is_left_to_requests(cookies: dict[Any, Any]) -> None:
    def prepare(base: Callable[[], Any]) -> Any:
        with base() as session:
            vars(session.cookies)["_cookies"] = copy.copy(cookies)
            try:
                return session.prepare_request(requests.Request("GET", "http://a.test/")).headers
            except Exception as exc:
                return type(exc), str(exc)

    assert prepare(OURS) == prepare(STOCK)


# --- what else sessions are used for


def test_unix_sockets_need_no_mount() -> None:
    url = "http+unix://%2Frun%2Fx.sock/"
    with OURS() as session:
        assert list(session.adapters) == ["https://", "http://"]
        assert session.get_adapter(url) is session.get_adapter("http://")
        with pytest.raises(requests.exceptions.InvalidSchema):
            session.get_adapter("ftp://a.test/")
        mounted = httpcore_requests.HTTPAdapter()
        session.mount("http+unix://", mounted)
        assert session.get_adapter(url) is mounted
        del session.adapters["http+unix://"]
        session.mount("http://", requests.adapters.BaseAdapter())
        with pytest.raises(requests.exceptions.InvalidSchema):
            session.get_adapter(url)
        session.adapters.clear()
        mounted.close()


def repickle(session: Any) -> Any:
    return pickle.loads(pickle.dumps(session))


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, repickle])
def test_copies_and_pickles(session: requests.Session, server: LocalServer, copied: Any) -> None:
    session.headers["X-A"] = "1"
    session.cookies.set("a", "b")
    assert session.get(server.url + "/echo").ok
    other = copied(session)
    assert type(other) is OURS
    assert set(vars(other)) == set(requests.Session.__attrs__)
    sent = other.get(server.url + "/echo").json()["headers"]
    assert ["X-A", "1"] in sent and ["Cookie", "a=b"] in sent
    other.headers["X-A"] = "2"
    assert ["X-A", "2"] in other.get(server.url + "/echo").json()["headers"]
    other.close()


class Whole(OURS):  # type: ignore[misc,valid-type]
    """Pickles all of itself, as subclasses do that have attributes of their own."""

    def __getstate__(self) -> Any:
        return dict(self.__dict__)

    def __setstate__(self, state: Any) -> None:
        self.__dict__.update(state)


def test_what_is_remembered_is_not_pickled(server: LocalServer) -> None:
    with Whole() as session:
        assert session.get(server.url + "/echo").ok
        assert session._httpcore_known_headers is not None
        data = pickle.dumps(session)
    assert b"_session_prepare" not in data
    with pickle.loads(data) as other:
        assert other._httpcore_known_headers is None
        assert other.get(server.url + "/echo").ok


def test_threads_share_a_session(session: requests.Session, server: LocalServer) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(20):
                name = f"c{number}"
                session.cookies.set(name, str(turn))
                echoed = session.get(
                    server.url + "/echo", params={"n": str(number)}, headers={"X-N": str(number)}
                ).json()
                fields = dict(echoed["headers"])
                assert fields["X-N"] == str(number)
                assert f"{name}={turn}" in fields["Cookie"].split("; ")
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_real_redirect_with_cookies(session: requests.Session, server: LocalServer) -> None:
    with STOCK() as stock:
        expected = stock.get(server.url + "/redirect/2")
        response = session.get(server.url + "/redirect/2")
    assert [r.status_code for r in response.history] == [r.status_code for r in expected.history]
    assert response.url == expected.url
    assert response.elapsed.total_seconds() > 0
    unfollowed = session.get(server.url + "/redirect/2", allow_redirects=False)
    assert unfollowed.next is not None and not unfollowed.history


@pytest.fixture
def uninstalled() -> Iterator[None]:
    yield
    httpcore_requests.uninstall()


def test_install_puts_the_session_in_place_if_asked(uninstalled: None, server: LocalServer) -> None:
    httpcore_requests.install()
    assert requests.Session is requests.sessions.Session is STOCK
    httpcore_requests.install(session=True)
    assert requests.Session is requests.sessions.Session is OURS
    mounts = Mock(side_effect=OURS.mount)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(OURS, "mount", lambda *args: mounts(*args))
        with requests.Session() as other:
            assert mounts.call_count == 2
    with requests.session() as made:
        assert type(made) is type(other) is OURS
        assert made.get(server.url).ok
    response = requests.get(server.url + "/echo", params={"a": "b"})
    assert response.ok and type(response.connection) is httpcore_requests.HTTPAdapter

    class Derived(requests.Session):
        pass

    assert issubclass(Derived, OURS)
    httpcore_requests.install()
    assert requests.Session is requests.sessions.Session is STOCK
    httpcore_requests.install(session=True)
    httpcore_requests.uninstall()
    assert requests.Session is requests.sessions.Session is STOCK
    with requests.Session() as made:
        assert type(made) is STOCK


def test_mocks_reach_a_session_that_was_installed(
    uninstalled: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    httpcore_requests.install(session=True)
    answer = requests.Response()
    monkeypatch.setattr("requests.Session.send", lambda self, request, **kwargs: answer)
    assert requests.get("http://nowhere.test/") is answer
    monkeypatch.undo()
    monkeypatch.setattr("requests.sessions.Session.request", lambda self, *a, **k: answer)
    assert requests.get("http://nowhere.test/") is answer


@BOTH
def test_a_session_whose_request_was_wrapped_for_a_default(base: Any, runner: Runner) -> None:
    """``session.request = partial(session.request, timeout=5)``, as many programs have it."""

    def make() -> Any:
        made = base()
        made.request = functools.partial(made.request, timeout=5)
        return made

    ((_, _, records, *_),) = runner.run([("get", ("GET", "http://a.test/", {}, []))], make)
    assert ("timeout", (int, 5)) in records[0][3]


def test_split_url() -> None:
    url = "https://a.test:8080/b/c?d=e"
    assert split_url(url) == (url, "https://a.test:8080", "https", "a.test", "/b/c")
    parts = split_url("http://a.test?b")
    assert parts == ("http://a.test/?b", "http://a.test", "http", "a.test", "/")
    assert split_url(b"http://a.test/") is None


@pytest.mark.parametrize("make", [requests.Session, httpcore_requests.Session])
def test_what_is_wrong_with_parameters_is_found_after_all_is_merged(
    make: type[requests.Session],
) -> None:
    """requests merges hooks before it encodes parameters."""
    with make() as session:
        session.hooks = object()  # type: ignore[assignment]
        with pytest.raises(AttributeError, match="'object' object has no attribute 'get'"):
            session.get("http://127.0.0.1:9/", params=["a"])  # type: ignore[arg-type]
        session.hooks = {}
        with pytest.raises(ValueError, match="not enough values to unpack"):
            session.get("http://127.0.0.1:9/", params=["a"])  # type: ignore[arg-type]


def test_redirects_without_end(serve: Serve) -> None:
    seen: list[bytes] = []

    def handler(peer: Peer) -> None:
        while (request := peer.recv_request()) is not None:
            seen.append(request.target)
            peer.respond(302, b"", [("Location", "/again")])

    server = serve(handler)
    with httpcore_requests.Session() as session:
        assert session.max_redirects == requests.models.DEFAULT_REDIRECT_LIMIT == 30
        with pytest.raises(requests.TooManyRedirects, match="Exceeded 30 redirects"):
            session.get(server.url)
    assert len(seen) == 31
