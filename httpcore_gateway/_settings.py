"""The settings of a gateway: routes, upstreams, limits, logs.

Owns: the settings, their defaults with unit and reason, and their checks; the texts that name a
wrong setting with its place. Must not know: files, the environment, the command line
(`_config`), pools.

Sources: the defaults of nginx (proxy_*), HAProxy and Caddy, where they agree.
"""

from __future__ import annotations

import ipaddress
import re
import ssl
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, TypeVar, get_args

import msgspec

import httpcore

from ._routing import route_host

#: Seconds above zero, and not "inf": None says that there is no limit. The bound is 30 years.
Seconds = Annotated[float, msgspec.Meta(gt=0, le=1e9)]
#: A number of things of which there has to be one.
Count = Annotated[int, msgspec.Meta(ge=1)]
#: A number that may be zero.
Size = Annotated[int, msgspec.Meta(ge=0)]

HostHeader = Literal["keep", "upstream"]
LogForm = Literal["text", "json", "off"]

#: The schemes of an upstream.
SCHEMES = (b"http", b"https")


class SettingsError(ValueError):
    """Raised for a wrong setting. The text begins with its place."""


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A group of settings: it does not change, and has no fields but its own."""


class Timeouts(_Part, frozen=True, kw_only=True):
    """The time that each step of a request may take, in seconds. None stands for no limit.

    Parameters:
        connect: to open a connection to the upstream, TLS included.
        read: between two pieces of its response; to the first one, too. Of a WebSocket only the
            handshake.
        write: in which the upstream has to take something of the request's body, or of a message.
        queue: that a request waits for a connection where all that are allowed are in use.
        client: between two pieces of the request's body; and in which the client has to take
            something of the response.
        total: from the head of the request to the last byte of the response. Not for WebSockets.
    """

    connect: Seconds | None = 5.0
    read: Seconds | None = 60.0
    write: Seconds | None = 60.0
    queue: Seconds | None = 10.0
    client: Seconds | None = 60.0
    total: Seconds | None = None


class Breaker(_Part, frozen=True, kw_only=True):
    """The rules by which an upstream that fails is left out, and for how long.

    Parameters:
        failures: how many in a row open the breaker: connections that could not be opened or
            broke off before a response, reads that took too long, responses that are not HTTP.
            0 for never.
        seconds: that it stays open the first time. Then one request is let through; if that
            fails, the time doubles. Short, because a server that restarts is back soon.
        longest: seconds that it stays open at most.
    """

    failures: Size = 3
    seconds: Seconds = 1.0
    longest: Seconds = 30.0


class Upstream(_Part, frozen=True):
    """A server that requests are passed to.

    Parameters:
        url: scheme, host and port; a path in it is put in front of that of each request.
        http2: speak HTTP/2: over https where the server chooses it, over http without asking
            (prior knowledge).
        max_connections: how many are open to it at once. With HTTP/1.1 that is how many requests
            it works on.
        max_queue: how many requests may wait for one of them; one more is answered with 503.
        verify: whether the certificate of an https upstream is checked.
        ca: a file of certificates to check it with, in place of the system's.
        uds: the path of a Unix socket to connect to; the URL then only says what is asked for.
    """

    url: str
    http2: bool = False
    max_connections: Count = 100
    max_queue: Size = 1000
    verify: bool = True
    ca: str | None = None
    uds: str | None = None


class Route(_Part, frozen=True, kw_only=True):
    """A route: the requests that it takes, and the upstreams that they go to.

    Parameters:
        upstreams: each a URL or an `Upstream`.
        host: the host of the request, ``*.example.com`` for all below one; None for any.
        path: what its path begins with, whole segments.
        strip_path: take `path` away before the request is passed on.
        host_header: ``"keep"`` passes the client's Host on; ``"upstream"`` sends the upstream's.
        timeouts: see `Timeouts`.
        breaker: see `Breaker`.
        retries: how often a request that failed may be sent again, each time to an upstream that
            it was not sent to; only where that is safe: nothing of it was sent, or it is
            idempotent and its body is still there.
        max_body: bytes in the body of a request at most; None for no limit.
    """

    upstreams: tuple[str | Upstream, ...]
    host: str | None = None
    path: str = "/"
    strip_path: bool = False
    host_header: HostHeader = "keep"
    timeouts: Timeouts = Timeouts()
    breaker: Breaker = Breaker()
    retries: Size = 1
    max_body: Size | None = None


class Settings(_Part, frozen=True, kw_only=True):
    """All of a gateway's settings.

    Parameters:
        routes: the most specific that fits a request is taken: an exact host before ``*.``, that
            before any; then the longest path.
        trusted: addresses or networks (``10.0.0.0/8``) of proxies in front of the gateway, whose
            ``Forwarded``, ``X-Forwarded-*`` and ``X-Request-ID`` are kept. From any other
            client these fields are dropped, as it can write what it likes in them.
        name: the pseudonym of the gateway in ``Via``.
        admin_path: where health, stats and metrics are served, such as ``"/-"``; None for nowhere.
        access_log: a line for each request, as text or JSON; ``"off"`` for none.
        websocket_max_message: bytes of a WebSocket message at most. It is in memory as a whole,
            since ASGI has no fragments.
    """

    routes: tuple[Route, ...]
    trusted: tuple[str, ...] = ()
    name: str = "httpcore-gateway"
    admin_path: str | None = None
    access_log: LogForm = "off"
    websocket_max_message: Count = 16 * 1024 * 1024


S = TypeVar("S", bound=Settings)


def read_settings(data: object, place: str = "", kind: type[S] = Settings) -> S:  # type: ignore[assignment]
    """Return settings from plain values, such as those of a TOML file.

    Parameters:
        place: what the values are from, for the text of an error.
        kind: the class of the settings.

    Raises SettingsError for a setting that is missing, unknown, or has a wrong type or value; it
    names the place.
    """
    try:
        settings = msgspec.convert(data, kind)
    except msgspec.ValidationError as exc:
        raise SettingsError(_name_place(str(exc), place)) from None
    check_settings(settings, place)
    return settings


#: msgspec's texts for unknown names, missing names and wrong choices.
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`", re.DOTALL)
_OTHER = re.compile(r"Invalid enum value (.*)", re.DOTALL)
#: The settings that have one of a few values.
_CHOICES = {"host_header": get_args(HostHeader), "access_log": get_args(LogForm)}
#: Its names of types, and the words for them in our texts.
_TYPES = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
    "null": "nothing",
}


def _name_place(text: str, place: str) -> str:
    """Return msgspec's text with the place of the setting in front."""
    what, _, path = text.rpartition(" - at `$")
    if not what:
        what, path = text, ""
    path = path.removesuffix("`").removeprefix(".")
    for pattern, says in ((_UNKNOWN, "there is no such setting"), (_MISSING, "is missing")):
        if match := pattern.fullmatch(what):
            path, what = f"{path}.{match[1]}".lstrip("."), says
            break
    else:
        if match := _OTHER.fullmatch(what):
            choices = " or ".join(map(repr, _CHOICES[path.rpartition(".")[2]]))
            what = f"{match[1]}: use {choices}"
        what = re.sub("`([a-z |]+)`", _name_types, what)
        what = what[:1].lower() + what[1:]
    return ": ".join(filter(None, (place, path, what)))


def _name_types(match: re.Match[str]) -> str:
    """Return the user's words for types; "or nothing" is left out, since TOML has no null."""
    names = [_TYPES.get(name, name) for name in match[1].split(" | ") if name != "null"]
    return " or ".join(names) or _TYPES["null"]


def check_settings(settings: Settings, place: str = "") -> None:
    """Check what the types of the settings do not. Raises SettingsError, which names the place."""
    front = f"{place}: " if place else ""
    if not settings.routes:
        raise SettingsError(f"{front}routes: none: name at least one upstream")
    for index, text in enumerate(settings.trusted):
        _check(front, f"trusted[{index}]", ipaddress.ip_network, text)
    _check(front, "name", _check_token, settings.name)
    if settings.admin_path is not None:
        _check(front, "admin_path", _check_path, settings.admin_path)
    seen: set[tuple[bytes | str | None, str]] = set()
    for number, route in enumerate(settings.routes):
        at = f"routes[{number}]"
        _check(front, f"{at}.path", _check_path, route.path)
        if route.host is not None:
            _check(front, f"{at}.host", _check_host, route.host)
        key = (route.host and route_host(route.host), route.path.rstrip("/"))
        if key in seen:
            raise SettingsError(f"{front}{at}: an earlier route has the same host and path")
        seen.add(key)
        if not route.upstreams:
            raise SettingsError(f"{front}{at}.upstreams: none: name at least one")
        for index, given in enumerate(route.upstreams):
            upstream = to_upstream(given)
            here = f"{at}.upstreams[{index}]"
            field = "" if isinstance(given, str) else ".url"
            _check(front, here + field, upstream_url, upstream.url)
            _check(front, f"{here}.ca", make_context, upstream)


def to_upstream(given: str | Upstream) -> Upstream:
    """Return the settings of an upstream of which only the URL may have been given."""
    return Upstream(given) if isinstance(given, str) else given


def upstream_url(text: str) -> httpcore.URL:
    """Return the parsed URL of an upstream. Raises ValueError, which says what is wrong with it."""
    if "://" not in text:
        raise ValueError(f"{text!r} has no scheme: write 'http://{text}' or 'https://{text}'")
    try:
        url = httpcore.URL(text)
    except (httpcore.LocalProtocolError, httpcore.UnsupportedProtocol) as exc:
        raise ValueError(str(exc)) from None
    except TypeError:  # as httpcore 1.0 has it
        raise ValueError(f"{text!r}: write the host in ASCII, as xn--...") from None
    if url.scheme not in SCHEMES:
        raise ValueError(f"{text!r}: use http:// or https://")
    if url.port is not None and not 0 < url.port < 65536:
        raise ValueError(f"{text!r}: a port is a number from 1 to 65535")
    if "@" in text.partition("://")[2].partition("/")[0]:
        raise ValueError("the URL of an upstream cannot have a user or password")
    if b"?" in url.target or "#" in text:
        raise ValueError(f"{text!r}: only scheme, host, port and path may be given")
    return url


def make_context(upstream: Upstream) -> ssl.SSLContext | None:
    """Return the TLS context for an upstream, None for the default one.

    Raises ValueError for a file of certificates that cannot be read.
    """
    if upstream.verify and upstream.ca is None:
        return None
    try:
        context = ssl.create_default_context(cafile=upstream.ca)
    except OSError as exc:
        raise ValueError(f"{upstream.ca}: {exc.strerror or exc}") from None
    if not upstream.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def read_networks(
    texts: Sequence[str],
) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """Return the networks of `texts`. Raises ValueError for a text that is no network."""
    return [ipaddress.ip_network(text) for text in texts]


def _check(front: str, at: str, check: Callable[[Any], object], value: object) -> None:
    try:
        check(value)
    except ValueError as exc:
        raise SettingsError(f"{front}{at}: {exc}") from None


def _check_path(path: str) -> None:
    if not path.startswith("/"):
        raise ValueError(f"{path!r} does not begin with '/'")
    if not path.isascii() or any(char in path for char in "?# %\r\n"):
        raise ValueError(f"{path!r}: write it in ASCII, without '?', '#', '%' and spaces")


def _check_host(host: str) -> None:
    name = host.removeprefix("*.")
    if not name or not name.isascii() or any(char in name for char in "/*@ ?#"):
        raise ValueError(f"{host!r} is no host: write 'example.com' or '*.example.com'")
    if name.count(":") == 1 or (name.startswith("[") and not name.endswith("]")):
        raise ValueError(f"{host!r}: leave the port out; a route takes all ports")


def _check_token(name: str) -> None:
    if not name or not name.isascii() or not all(c.isalnum() or c in "-._" for c in name):
        raise ValueError(f"{name!r}: use letters, digits, '-', '.' and '_'")
