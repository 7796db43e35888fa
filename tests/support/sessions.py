"""Random programs for a session, and what came of each: for comparing two classes of sessions.

Owns: what programs do with sessions, drawn from `random.Random`, and an adapter that writes down
what it is given. Must not know: which classes are compared, what they must have in common.

A program is a list of steps on one session: change an attribute, the environment or a netrc file;
prepare, merge or send a request. It is drawn once and run once for each class, from descriptions
that hold no state (a body that is read is made anew for each run). Nothing is sent: the adapter
answers from the program, with a response of ours or one as requests' own adapter makes it.
"""

from __future__ import annotations

import contextlib
import copy
import http.cookiejar
import io
import os
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import partial
from http.client import HTTPMessage
from pathlib import Path
from random import Random
from typing import Any

import pytest
import requests
import requests.adapters
import urllib3
from requests.cookies import RequestsCookieJar, create_cookie
from requests.structures import CaseInsensitiveDict

import httpcore_requests
from httpcore_requests._raw import RawResponse

Step = tuple[str, tuple[Any, ...]]
Program = list[Step]

#: What `time.time` says meanwhile: cookies expire by it.
NOW = 1_900_000_000.0

_HOSTS = (
    *("example.com", "a.example.com", "b.a.example.com", "other.test", "localhost", "127.0.0.1"),
    *("10.1.2.3", "1.2.3", "Example.COM", "xn--bcher-kva.example", "bücher.example", "a_b.test"),
    *("[::1]", "-a.test", ".a.test", "*.a.test", "a..b", "a.test.", "", "user:pw@example.com"),
    *("us%20er:p%3Aw@example.com", "@example.com", "user@example.com", "123", "exa mple.com"),
)
_PORTS = (
    *("", "", "", "", ":80", ":443", ":8080", ":0", ":1", ":65535", ":65536", ":70000", ":099"),
    *(":", ":x", ":99999999", ":18080", ":8"),
)
_PATHS = (
    *("", "/", "/a", "/a/b", "/a/b/", "/a/", "/ab", "//", "//a", "/./a", "/a/../b", "/a/.", "/.a"),
    *("/a%20b", "/a%2fb", "/a%2Fb", "/%41", "/%7e", "/a b", "/a;b=c", "/ä", "/a%", "/a%zz", "/%"),
    *("/a'b(c)*", "/[x]", '/"', "/a|b", "/a\\b", "/a\tb", "/~x", "/a:b@c", "/a&b=c,d+e!$", "/%00"),
)
_QUERIES = (
    *("", "", "", "?", "?a=b", "?a=b&c=d", "?a=%20", "?a=%2f", "?a=b c", "?a=ä", "?a='b'", "?/.b"),
    *("??", "?a=[1]", "?a=%41", "?%", "?a|b"),
)
_FRAGMENTS = ("", "", "", "", "", "#", "#a", "#a/b?c", "#ä")
_SCHEMES = (
    *("http", "http", "http", "https", "https", "HTTP", "Https", "http+x", "mailto", "", "ftp"),
)

_NAMES = (
    *("X-A", "x-a", "X-B", "Accept", "accept", "Content-Length", "Cookie", "Host", "Content-Type"),
    *("User-Agent", "Authorization", "Proxy-Authorization", "X:Y", " X", "", "X Y", "X\n", "ä"),
    *(b"X-Bytes", 1, None),
)
_VALUES = (
    *(
        "1",
        "a b",
        "",
        "a\t",
        " a",
        "a\r\nb",
        "ä",
        "€",
        "text/plain",
        "example.com",
        "other.test:81",
    ),
    *(b"bytes", b" bytes", 1, None, None, 1.5, "a\n", "\x00", ["x"]),
)


def _text(draw: Random) -> str:
    return draw.choice(("a", "b", "session", "x y", "ä", "", "a&b", "%41", "=", "€", "a+b"))


def draw_url(draw: Random) -> Any:
    """A URL, mostly a plain one."""
    roll = draw.random()
    if roll < 0.45:
        host = draw.choice(_HOSTS[:6])
        port = draw.choice(("", "", ":80", ":8080", ":18080", ":443"))
        path = draw.choice(("", "/", "/a", "/a/b", "/a/b/c", "/ab"))
        return f"{draw.choice(('http', 'https'))}://{host}{port}{path}{draw.choice(('', '?a=b'))}"
    if roll < 0.97:
        scheme = draw.choice(_SCHEMES)
        return (
            (f"{scheme}://" if scheme else "")
            + draw.choice(_HOSTS)
            + draw.choice(_PORTS)
            + draw.choice(_PATHS)
            + draw.choice(_QUERIES)
            + draw.choice(_FRAGMENTS)
        )
    return draw.choice(
        (None, 1, "", "http://", "http:///a", b"http://example.com/a", " http://example.com/a",
         "example.com", "//example.com", ["http://a.test"], "http://example.com/a\n")
    )  # fmt: skip


def draw_headers(draw: Random) -> Any:
    roll = draw.random()
    if roll < 0.4:
        return None
    if roll < 0.95:
        plain = draw.random() < 0.6
        names, values = (_NAMES[:4], _VALUES[:4]) if plain else (_NAMES, _VALUES)
        given = {draw.choice(names): draw.choice(values) for _ in range(draw.randrange(4))}
        return CaseInsensitiveDict(given) if plain and draw.random() < 0.1 else given  # type: ignore[arg-type]
    return draw.choice(({}, [("X-A", "1")], "X-A: 1", [], 1, OrderedDict(a="b")))


def draw_cookie(draw: Random) -> Any:
    """The keywords of `requests.cookies.create_cookie`."""
    more: dict[str, Any] = {}
    if draw.random() < 0.8:
        more["domain"] = draw.choice(
            ("", "example.com", ".example.com", "a.example.com", ".a.example.com", "other.test",
             "127.0.0.1", "localhost.local", ".local", "localhost", "com", ".com", "Example.com",
             "ample.com", "3", ".0.1", "1.2.3.local", "..example.com", ".")
        )  # fmt: skip
    if draw.random() < 0.6:
        more["path"] = draw.choice(("/", "/a", "/a/", "/a/b", "", "/A", "a", "/a%20b", "/a b"))
    if draw.random() < 0.2:
        more["expires"] = draw.choice(
            (NOW - 1, NOW, NOW + 1, int(NOW) - 1, int(NOW), int(NOW) + 60, 0, -1, None)
        )
    if draw.random() < 0.2:
        more["secure"] = draw.choice((True, False, 1, "", None))
    if draw.random() < 0.1:
        more["port"] = draw.choice(("80", "8080,18080", "", None, "443"))
    if draw.random() < 0.1:
        more["version"] = draw.choice((0, 1, -1, None, 2))
    if draw.random() < 0.1:
        more["rest"] = {}
    name = draw.choice(("a", "b", "session", "ä", "", "a;b"))
    value = draw.choice(("1", "2", "", '"quoted"', '"a\\"b"', '"', "a=b; c", "ä", "x" * 50))
    return name, value, more


def draw_cookies(draw: Random) -> Any:
    """The cookies of a request, as a function that makes them."""
    roll = draw.random()
    if roll < 0.75:
        return _value(None)
    if roll < 0.9:
        pairs = {_text(draw): _text(draw) for _ in range(draw.randrange(3))}
        return lambda: dict(pairs)
    if roll < 0.97:
        cookies = [draw_cookie(draw) for _ in range(draw.randrange(3))]
        kind = draw.choice((RequestsCookieJar, http.cookiejar.CookieJar))
        return lambda: _jar(kind(), cookies)
    return _value(draw.choice(([("a", "b")], "a=b", {"a": None}, {"a": 1}, {1: "a"}, 1)))


def _jar(jar: Any, cookies: list[Any]) -> Any:
    for name, value, more in cookies:
        jar.set_cookie(create_cookie(name, value, **more))
    return jar


def _value(value: Any) -> Callable[[], Any]:
    return lambda: copy.copy(value)


class Unseekable(io.BytesIO):
    """A file that does not tell where it is."""

    def tell(self) -> int:
        raise OSError("no position")


class Token(requests.auth.AuthBase):
    """Signs a request with what it sees of it, and registers a hook."""

    def __call__(self, r: Any) -> Any:
        r.headers["X-Signed"] = f"{r.method} {r.url} {type(r.body)} {sorted(r.headers)}"
        r.register_hook("response", keep)
        return r


def keep(response: Any, *args: Any, **kwargs: Any) -> Any:
    """A hook that leaves the response alone, and says that it was called."""
    response.headers["X-Hook"] = repr(sorted(kwargs))


def replace(response: Any, *args: Any, **kwargs: Any) -> Any:
    """A hook that puts another response in the place of this one."""
    other = copy.copy(response)
    other.replaced = True
    other.raw = None
    return other


_BODIES: tuple[Callable[[], Any], ...] = (
    *(lambda: None, lambda: None, dict, list, str, bytes, tuple),
    *(lambda: {"a": "b", "c": ["d", None]}, lambda: [("a", "b"), ("a", "c")], lambda: "text ä"),
    *(lambda: b"bytes", lambda: io.BytesIO(b"file"), lambda: io.BytesIO(b""), lambda: iter([b"x"])),
    *(lambda: Unseekable(b"x"), lambda: set(), lambda: 5, lambda: 0, lambda: {"a": None}),
)
_JSONS: tuple[Any, ...] = (
    None,
    None,
    None,
    None,
    {"a": 1},
    [],
    {},
    0,
    False,
    float("nan"),
    "ä",
    {1},
)
_FILES: tuple[Any, ...] = (None, None, None, None, None, None, {}, {"f": ("n", b"x")}, [], 1)
_PARAMS: tuple[Any, ...] = (
    *(None, None, None, None, {}, {"q": "x"}, {"q": "a b", "r": ["1", None, "ä"]}, [("a", "b")]),
    *({"a": None}, "x=y", b"x=y", "x y", 1, {1: 2}, [("a",)], (("a", "b"),), {"": ""}, [], ""),
    *({"a": b"\xff"}, {b"a": 1.5}, {"a": {"b": "c"}}, OrderedDict(z="1", a="2")),
)
_AUTHS: tuple[Any, ...] = (
    *(None, None, None, None, None, ("user", "pw"), ("u", ""), (), ("a", "b", "c"), Token(), "abc"),
    *(requests.auth.HTTPBasicAuth("x", "y"), 1, {"a": "b"}, ["u", "p"], ("ü", "p"), False),
    requests.auth.HTTPProxyAuth("x", "y"),
)
_PROXIES: tuple[Any, ...] = (
    *(None, None, None, None, {}, {"http": "http://proxy:1"}, {"https": None}, {"all": "x:1"}),
    *({"no_proxy": "example.com"}, {"http://example.com": "http://u:p@other:1", "no_proxy": ""}),
    *(OrderedDict(http="socks5://s:1"), [], "http://proxy:1", 1, [("http", "http://proxy:1")]),
)
_HOOKS: tuple[Any, ...] = (
    *(None, None, None, None, None, {}, {"response": keep}, {"response": [keep, keep]}),
    *({"response": replace}, {"response": []}, {"other": keep}, [], 1, {"response": None}),
)
_VERIFIES: tuple[Any, ...] = (None, None, None, True, False, "/ca.pem", 0, 1, "", {"a": "b"})
_CERTS: tuple[Any, ...] = (None, None, None, "/c.pem", ("/c.pem", "/k.pem"), "", {"a": "b"}, [])
_STREAMS: tuple[Any, ...] = (None, None, None, True, False, 0, "x", {"a": "b"})
_TIMEOUTS: tuple[Any, ...] = (None, None, 1, (1, 2), 0.5, "x")
_REDIRECTS: tuple[Any, ...] = (True, True, True, False, None, 0)
_METHODS: tuple[Any, ...] = (
    *("GET", "GET", "GET", "get", "POST", "HEAD", "PUT", "OPTIONS", "DELETE", "PATCH", "X y", ""),
    *(None, b"GET", 1, "ß"),
)

_VARIABLES: tuple[tuple[str, tuple[str | None, ...]], ...] = (
    ("http_proxy", (None, "http://envproxy:3128", "", "envproxy:1")),
    ("HTTPS_PROXY", (None, "http://envproxy:3129")),
    ("all_proxy", (None, "socks5://envproxy:1")),
    ("no_proxy", (None, "example.com", "*", ".example.com,10.0.0.0/8", "localhost:8080", "")),
    ("no_proxy", ("127.0.0.1", "1.2.3,b.a.example.com:80")),
    ("NO_PROXY", (None, "other.test", "a.example.com:80")),
    ("REQUESTS_CA_BUNDLE", (None, "/env/ca.pem", "")),
    ("CURL_CA_BUNDLE", (None, "/env/curl.pem")),
    ("UNRELATED", (None, "1", "2")),
    ("REQUEST_METHOD", (None, "GET")),
    ("NETRC", (None, "{home}/named", "{home}/missing", "~/named", "", "named")),
    ("HOME", ("{home}", "{home}", "{home}/empty", None, "")),
)  # fmt: skip

_NETRC = {
    "named": "machine example.com login named password secret\ndefault login d password d\n",
    ".netrc": "machine 127.0.0.1 login home password p\nmachine example.com login e\n",
    "_netrc": "machine other.test login o password o\n",
    "broken": "machine",
}


class Broken:
    """Fails whatever is done with it."""

    def __bool__(self) -> bool:
        raise ZeroDivisionError("no truth value")

    def __eq__(self, other: object) -> bool:
        raise ZeroDivisionError("cannot be compared")

    __hash__ = None  # type: ignore[assignment]


# Of attributes that hold nonsense: whatever requests makes of them is right.
_NONSENSE: tuple[Callable[[], Any], ...] = (
    *(lambda: None, lambda: 0, lambda: "text", list, dict, lambda: {"a": "b"}),
    *(lambda: [("a", "b")], object, Broken, lambda: ("a", "b"), lambda: b"", lambda: 1.5),
    *(lambda: {"response": []}, lambda: OrderedDict(a="b"), lambda: CaseInsensitiveDict(a="b")),
)

_ATTRIBUTES = (
    *("headers", "auth", "proxies", "hooks", "params", "stream", "verify", "cert", "trust_env"),
    *("max_redirects", "cookies", "adapters"),
)


def draw_setting(draw: Random) -> Step:
    """A step that changes the session or what is around it."""
    roll = draw.randrange(20)
    if roll < 4:
        pairs = [(draw.choice(_NAMES[:9]), draw.choice(_VALUES[:4])) for _ in range(2)]
        if draw.random() < 0.2:
            pairs.append((draw.choice(_NAMES), draw.choice(_VALUES)))
        return "set headers", (pairs,)
    if roll < 8:
        return "set cookies", ([draw_cookie(draw) for _ in range(draw.randrange(4))],)
    if roll < 11:
        name, values = draw.choice(_VARIABLES)
        return "set variable", (name, draw.choice(values))
    if roll < 12:
        return "write netrc", (draw.choice(tuple(_NETRC)), draw.random() < 0.7)
    if roll < 19:
        name, values = draw.choice(_SETTINGS)
        return "set attribute", (name, draw.choice(values))
    return "set attribute", (draw.choice(_ATTRIBUTES), draw.choice(_NONSENSE))


def _values(*values: Any) -> tuple[Callable[[], Any], ...]:
    return tuple(_value(value) for value in values)


_SETTINGS: tuple[tuple[str, tuple[Callable[[], Any], ...]], ...] = (
    ("auth", _values(*_AUTHS[:9])),
    ("proxies", _values({}, {"http": "http://sessionproxy:1"}, {"https": None}, {"no_proxy": "x"})),
    ("hooks", _values({"response": []}, {"response": [keep]}, {"response": keep}, {})),
    ("params", _values({}, {"s": "1"}, {"q": None}, [("a", "b")])),
    ("stream", _values(True, False)),
    ("verify", _values(True, False, "/session.pem", None)),
    ("cert", _values(None, "/session.crt", ("a", "b"))),
    ("trust_env", _values(True, False, False)),
    ("max_redirects", _values(0, 1, 30)),
    ("cookies", (RequestsCookieJar, http.cookiejar.CookieJar, lambda: {"a": "b"})),
    ("headers", (CaseInsensitiveDict, lambda: {"X-Dict": "1"})),
    ("headers", (lambda: CaseInsensitiveDict(a=None), lambda: OrderedDict(a="b"))),  # type: ignore[arg-type]
    ("policy", (lambda: "blocked", lambda: "rfc2965", lambda: "strict", lambda: "own")),
)  # fmt: skip


def draw_answers(draw: Random) -> list[Any]:
    """What the adapter answers, in this order: (ours?, status, headers, body)."""
    answers = []
    while True:
        headers = [("Content-Length", "2")]
        if draw.random() < 0.3:
            headers += [("Set-Cookie", draw_set_cookie(draw)) for _ in range(draw.randrange(1, 3))]
        status = 200
        moved = draw.random() < 0.25 and len(answers) < 4
        if moved:
            status = draw.choice((301, 302, 303, 307, 308))
            target = draw_url(draw) if draw.random() < 0.7 else draw.choice(("/b", "c?d", "#f", ""))
            if isinstance(target, str) and target.isascii():
                headers.append(("Location", target))
        answers.append((draw.random() < 0.9, status, headers, b"ok"))
        if not moved:
            return answers


def draw_set_cookie(draw: Random) -> str:
    """The value of a Set-Cookie field."""
    parts = [draw.choice(("a=1", "session=abc", 'q="x"', "b", "=c", "", "a=1=2", " d = e ", "ä=ü"))]
    for _ in range(draw.randrange(4)):
        parts.append(draw.choice(_COOKIE_ATTRIBUTES))
    return draw.choice(("; ", ";", " ; ")).join(parts)


_COOKIE_ATTRIBUTES = (
    *("Path=/", "path=/a", "Path=", "Path", "Path=a", "Path=/a%2fb", "Secure", "secure"),
    "HttpOnly",
    *("SameSite=Lax", "Max-Age=60", "Max-Age=0", "max-age=-1", "Max-Age=x", "Max-Age", "Version=1"),
    *("Domain=example.com", "Domain=.example.com", "domain=other.test", "Domain=com", "Domain="),
    *("Domain", "Domain=localhost", "Domain=127.0.0.1", "Domain=EXAMPLE.com", "Port", 'Port="80"'),
    *("Expires=Wed, 21 Oct 2065 07:28:00 GMT", "expires=Wed, 21-Oct-2015 07:28:00 GMT"),
    "Expires=x",
    *("Expires=0", "Discard", "Comment=x", "Unknown=1", "Priority=High", "", "Path=/b"),
)  # fmt: skip


def draw_call(draw: Random) -> Step:
    """A step that makes the session do something."""
    arguments = {
        "params": _value(draw.choice(_PARAMS)),
        "data": draw.choice(_BODIES) if draw.random() < 0.3 else _value(None),
        "headers": _value(draw_headers(draw)),
        "cookies": draw_cookies(draw),
        "files": _value(draw.choice(_FILES)),
        "auth": _value(draw.choice(_AUTHS)),
        "hooks": _value(draw.choice(_HOOKS)),
        "json": _value(draw.choice(_JSONS)),
        "timeout": _value(draw.choice(_TIMEOUTS)),
        "allow_redirects": _value(draw.choice(_REDIRECTS)),
        "proxies": _value(draw.choice(_PROXIES)),
        "stream": _value(draw.choice(_STREAMS)),
        "verify": _value(draw.choice(_VERIFIES)),
        "cert": _value(draw.choice(_CERTS)),
    }
    # Most calls give a few arguments.
    kept = draw.sample(sorted(arguments), draw.choice((0, 1, 1, 2, 3, 14)))
    arguments = {name: arguments[name] for name in kept}
    method = "GET" if draw.random() < 0.6 else draw.choice(_METHODS)
    kind = draw.choice(("request", "request", "request", "prepare", "send", "merge", "get"))
    return kind, (method, draw_url(draw), arguments, draw_answers(draw))


def draw_program(draw: Random) -> Program:
    """A few settings, then a few calls with further settings between them."""
    steps = [draw_setting(draw) for _ in range(draw.choice((0, 0, 1, 2, 4)))]
    for _ in range(draw.choice((1, 2, 3))):
        steps.append(draw_call(draw))
        if draw.random() < 0.4:
            steps.append(draw_setting(draw))
    return steps


# -- running


class ListedAnswers(httpcore_requests.HTTPAdapter):
    """Writes down what it is given, and answers with `answers` in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[Any] = []
        self.answers: list[Any] = []

    def send(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        self.records.append(("sent", describe(request), args, described_pairs(kwargs)))
        ours, status, headers, body = self.answers.pop(0) if self.answers else _OK
        if not ours:
            return self.build_response(request, _stock_raw(status, headers, body))
        response: Any = _Head(status, headers, body)
        raw = RawResponse(None, response, request.method, request.url, None, False)  # type: ignore[arg-type]
        return self.build_response(request, raw)


_OK = (True, 200, [("Content-Length", "2")], b"ok")


class _Head:
    """As much of an `httpcore.Response` as a raw response needs."""

    def __init__(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status = status
        self.headers = [(name.encode(), value.encode()) for name, value in headers]
        self.stream = _Body(body)
        self.extensions: dict[str, Any] = {"http_version": b"HTTP/1.1", "reason_phrase": b"OK"}


class _Body(io.BytesIO):
    trailers: list[tuple[bytes, bytes]] = []
    released = False


class _Original:
    def __init__(self, msg: HTTPMessage) -> None:
        self.msg = msg


def _stock_raw(status: int, headers: list[tuple[str, str]], body: bytes) -> Any:
    message = HTTPMessage()
    for name, value in headers:
        message.add_header(name, value.encode().decode("latin-1"))
    fields = urllib3.HTTPHeaderDict()
    for name, value in message.items():
        fields.add(name, value)
    return urllib3.HTTPResponse(
        io.BytesIO(body), fields, status, preload_content=False,
        original_response=_Original(message),  # type: ignore[arg-type]
    )  # fmt: skip


#: What sessions mount while they are compared: one adapter, as making some takes longer than all
#: else.
adapter = ListedAnswers()


class Runner:
    """Runs programs, in an environment of its own.

    Parameters:
        home: an empty directory, where HOME leads and netrc files are written.
    """

    def __init__(self, home: Path) -> None:
        self.home = home

    def run(self, program: Program, make: Callable[[], requests.Session]) -> list[Any]:
        """Return what came of each step of `program` on a session that `make` returns."""
        before = dict(os.environ)
        for name, _ in _VARIABLES:
            os.environ.pop(name, None)
        os.environ["HOME"] = str(self.home)
        try:
            session = make()
            session.adapters = OrderedDict([("https://", adapter), ("http://", adapter)])
            return [self._step(session, *step) for step in program]
        finally:
            for name in _NETRC:
                (self.home / name).unlink(missing_ok=True)
            _restore(before)

    def _step(self, session: Any, kind: str, arguments: tuple[Any, ...]) -> Any:
        adapter.records = []
        given: dict[str, Any] = {}
        try:
            if kind in CALLS:
                result = self._call(session, kind, given, *arguments)
            else:
                result = getattr(self, "_" + kind.replace(" ", "_"))(session, *arguments)
            outcome: Any = ("returned", describe(result))
        except Exception as exc:
            outcome = (
                "raised",
                type(exc),
                _plain(str(exc)),
                describe(getattr(exc, "request", None)),
            )
        if kind not in CALLS:
            return kind, outcome
        return kind, outcome, adapter.records, described_pairs(given), described_session(session)

    # -- steps

    def _set_headers(self, session: Any, pairs: list[Any]) -> None:
        for name, value in pairs:
            session.headers[name] = value

    def _set_cookies(self, session: Any, cookies: list[Any]) -> None:
        for name, value, more in cookies:
            session.cookies.set_cookie(create_cookie(name, value, **more))

    def _set_variable(self, session: Any, name: str, value: str | None) -> None:
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value.replace("{home}", str(self.home))

    def _write_netrc(self, session: Any, name: str, there: bool) -> None:
        if there:
            (self.home / name).write_text(_NETRC[name])
        else:
            (self.home / name).unlink(missing_ok=True)

    def _set_attribute(self, session: Any, name: str, make: Callable[[], Any]) -> None:
        if name == "policy":
            session.cookies.set_policy(_POLICIES[make()]())
        else:
            setattr(session, name, make())

    def _call(
        self,
        session: Any,
        kind: str,
        given: dict[str, Any],
        method: Any,
        url: Any,
        arguments: Any,
        answers: Any,
    ) -> Any:
        """Call the method of `session` that `kind` stands for. Its keywords are left in `given`,
        also when it raises."""
        adapter.answers = list(answers)
        made = {name: make() for name, make in arguments.items()}
        if kind == "merge":
            given.update({name: made.get(name) for name in _OF_ENVIRONMENTS})
            return session.merge_environment_settings(url, **given)
        if kind in ("request", "get"):
            given.update(made)
            call = partial(session.request, method) if kind == "request" else session.get
            return call(url, **given)
        given.update({name: made[name] for name in made if name in _OF_REQUESTS})
        prepared = session.prepare_request(requests.Request(method, url, **given))
        if kind == "prepare":
            return prepared
        more = {name: made[name] for name in made if name not in _OF_REQUESTS}
        given.update(more)
        return session.send(prepared, **more)


#: Steps that make the session do something; after others nothing has to be looked at.
CALLS = frozenset(["request", "get", "prepare", "send", "merge"])

_OF_ENVIRONMENTS = ("proxies", "stream", "verify", "cert")
_OF_REQUESTS = frozenset(["params", "data", "headers", "cookies", "files", "auth", "hooks", "json"])


class _OwnPolicy(http.cookiejar.CookiePolicy):
    """Takes every cookie, and lacks what the default policy has."""

    def set_ok(self, cookie: Any, request: Any) -> bool:
        return True


_POLICIES: dict[str, Callable[[], Any]] = {
    "blocked": lambda: http.cookiejar.DefaultCookiePolicy(blocked_domains=["example.com"]),
    "rfc2965": lambda: http.cookiejar.DefaultCookiePolicy(rfc2965=True),
    "strict": lambda: http.cookiejar.DefaultCookiePolicy(
        strict_ns_domain=http.cookiejar.DefaultCookiePolicy.DomainStrict, strict_ns_set_path=True
    ),
    "own": _OwnPolicy,
}


def _restore(environment: dict[str, str]) -> None:
    for name in [name for name in os.environ if name not in environment]:
        del os.environ[name]
    for name, value in environment.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


@contextlib.contextmanager
def frozen(*modules: Any) -> Iterator[None]:
    """Let the clock stand still, have every boundary be the same, and no adapter be made.

    Parameters:
        modules: those in which sessions look up the adapter that they mount.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: NOW)
        patch.setattr("urllib3.filepost.choose_boundary", lambda: "boundary")
        for module in modules:
            patch.setattr(module, "HTTPAdapter", lambda: adapter)
        for name in list(os.environ):
            patch.delenv(name)
        yield


# -- describing: everything that can be told apart, and nothing that differs between two runs


def _plain(text: str) -> str:
    """Return `text` without addresses."""
    return _ADDRESS.sub("0x", text)


_ADDRESS = re.compile(r"0x[0-9a-f]+")


def described_pairs(pairs: Any) -> Any:
    return [(name, describe(value)) for name, value in pairs.items()]


def described_session(session: Any) -> Any:
    names = [name for name in _ATTRIBUTES if name != "adapters"]
    return [(name, describe(getattr(session, name, "missing"))) for name in names]


def describe(value: Any) -> Any:
    """Return what can be compared of `value`."""
    if type(value) in _COMPARABLE:
        return (type(value), value)  # 1 == True
    if isinstance(value, requests.PreparedRequest):
        return (type(value), described_pairs(vars(value)))
    if isinstance(value, requests.Response):
        return _describe_response(value)
    if isinstance(value, http.cookiejar.CookieJar):
        return _describe_jar(value)
    if isinstance(value, CaseInsensitiveDict):
        store: Any = value._store  # type: ignore[attr-defined]
        return (type(value), type(store), [(key, describe(pair)) for key, pair in store.items()])
    if isinstance(value, dict):
        return (type(value), [(type(k), repr(k), describe(item)) for k, item in value.items()])
    if isinstance(value, (list, tuple)):
        return (type(value), [describe(item) for item in value])
    if isinstance(value, io.BytesIO):
        return (type(value), value.getvalue())
    return (type(value), _plain(repr(value)))


_COMPARABLE = frozenset([str, bytes, int, bool, type(None)])


def _describe_response(response: Any) -> Any:
    return (
        type(response), response.status_code, response.url, list(response.headers.items()),
        response.content, response._content_consumed, response.encoding, response.reason,
        describe(response.request),
        [(r.url, r.status_code, r._next is None) for r in response.history],
        describe(response._next), describe(response.cookies), type(response.elapsed),
        response.__dict__.get("replaced"), type(response.raw), response.connection is adapter,
    )  # fmt: skip


def _describe_jar(jar: Any) -> Any:
    policy = {name: value for name, value in vars(jar._policy).items() if name != "_now"}
    cookies = [
        (domain, path, [(name, repr(vars(cookie))) for name, cookie in named.items()])
        for domain, paths in jar._cookies.items()
        for path, named in (paths.items() or [("", {})])
    ]
    return (type(jar), type(jar._policy), repr(policy), cookies, type(jar._cookies_lock))
