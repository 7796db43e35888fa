"""`Session`: a `requests.Session` that does not work out again what has not changed.

Owns: the ways through a session that leave something out, and when each may be taken. Must not
know: what the parts that it leaves out would have done (that is `_session_prepare`,
`_session_environment`, `_session_cookies`).

It may decline, never differ: each method that is overridden here does what requests' does, for
arguments and sessions of the usual kind, and calls requests' own in every other case, before
anything has happened that could be seen. What a subclass overrides, and what somebody replaced in
requests, is called as ever, with the arguments as they came.

What is not public is a function here and no method: subclasses of sessions are full of `_request`,
`_send` and `_prepare`, and what they name so is theirs.

Source: `requests.sessions.Session`.
"""

from __future__ import annotations

import operator
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import requests
import requests.models
import requests.sessions
from requests.exceptions import InvalidSchema

from . import _fork, _session_environment, _session_genuine, _unix
from ._adapter import HTTPAdapter
from ._raw import RawResponse
from ._response import Response
from ._session_prepare import (
    Arguments,
    KnownHeaders,
    PlainURL,
    check_headers,
    prepare,
    split_url,
    still_holds,
)

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from ._settings import AdapterOptions

_NO_HOOKS: dict[str, list[Any]] = {"response": []}

# Values of a setting that merging cannot mean dicts by.
_PLAIN_SETTINGS = (bool, str, tuple, type(None))
_DICTS = (dict, OrderedDict)

if TYPE_CHECKING:
    _Base = requests.Session
else:
    _Base = _session_genuine.STOCK_SESSION

# requests' stubs leave out half of what a session is made of.
_Stock: Any = _session_genuine.STOCK_SESSION
_sessions: Any = requests.sessions
_models: Any = requests.models


_P = ParamSpec("_P")
_T = TypeVar("_T")


def _with_parameters_of(
    method: Callable[Concatenate[Any, _P], object],
) -> Callable[[Callable[..., _T]], Callable[Concatenate[Any, _P], _T]]:
    """Return a decorator for a method that takes what `method` of requests does, in the eyes of
    type checkers. Their stubs differ with the version of requests, so they are not repeated."""
    return lambda function: function


class Session(_Base):
    """A `requests.Session` with `HTTPAdapter` mounted, and a third of the work for each request.

    Whatever requests would send is sent, and whatever it would raise is raised. What it works out
    for each request (proxies, CA bundle and netrc from the environment, the merged headers, the
    normalised URL, the cookies) is kept for as long as nothing changes that it depends on.
    Subclasses, hooks, mocks and tracers see the same calls.

    Parameters: the options of `HTTPAdapter`, by name, such as ``timeout=10``, ``retries=3`` and
    ``http2=True``. They are the adapter's: another one that is mounted does not have them. If there
    are any, one adapter serves ``https://`` and ``http://``, so that its limits hold for both.

    ``http+unix://`` needs no mount: it is sent by the adapter for ``http://``, if that is ours.
    requests has none for it.

    Thread-safe where `requests.Session` is: any number of threads may send requests.
    """

    _httpcore_known_headers: KnownHeaders | None = None

    if TYPE_CHECKING:

        @_with_parameters_of(_Base.get)
        def get(self, *args: Any, **kwargs: Any) -> Response: ...
        @_with_parameters_of(_Base.options)
        def options(self, *args: Any, **kwargs: Any) -> Response: ...
        @_with_parameters_of(_Base.head)
        def head(self, *args: Any, **kwargs: Any) -> Response: ...
        @_with_parameters_of(_Base.post)
        def post(self, *args: Any, **kwargs: Any) -> Response: ...
        @_with_parameters_of(_Base.put)
        def put(self, *args: Any, **kwargs: Any) -> Response: ...
        @_with_parameters_of(_Base.patch)
        def patch(self, *args: Any, **kwargs: Any) -> Response: ...
        @_with_parameters_of(_Base.delete)
        def delete(self, *args: Any, **kwargs: Any) -> Response: ...

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        made = super().__new__(cls)
        # http.cookiejar locks the jar for each response that sets cookies.
        _fork.renew_in_child(made, "cookies._cookies_lock", threading.RLock)
        return made

    def __init__(self, **options: Unpack[AdapterOptions]) -> None:
        super().__init__()
        shared = HTTPAdapter(**options) if options else None
        for prefix in ("https://", "http://"):
            # After `install()` it is ours already.
            if shared is not None or type(self.adapters.get(prefix)) is not HTTPAdapter:
                self.mount(prefix, shared or HTTPAdapter())

    @_with_parameters_of(_Base.request)
    def request(self, *args: Any, **kwargs: Any) -> Response:
        """Send a request and return its response, as `requests.Session.request` does."""
        if _is_usual_call(args, kwargs) and _is_plain(self):
            response = _request(self, *args, **kwargs)
            if response is not None:
                return response
        stock: Any = super()
        return stock.request(*args, **kwargs)  # type: ignore[no-any-return]

    # -- preparing

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """Return `request` prepared with the session's settings, as requests does."""
        if type(request) is requests.Request and _session_genuine.prepares():
            url = split_url(request.url)
            if url is not None and type(request.method) is str and _inherits_prepare(self):
                given = Arguments(
                    request.headers, request.files, request.data, request.json, request.params,
                    request.auth, request.cookies or {}, request.hooks,
                )  # fmt: skip
                prepared = _prepare(self, request.method.upper(), url, given)
                if prepared is not None:
                    return prepared
        return super().prepare_request(request)

    # -- settings

    def merge_environment_settings(
        self, url: object, proxies: Any, stream: object, verify: object, cert: object
    ) -> Any:
        """Return the settings of a request, merged with those of the session and of the
        environment, as requests does."""
        if _session_genuine.merges() and _follows_stock(self):
            parts = split_url(url)
            if parts is not None:
                merged = _merge(self, parts, proxies, stream, verify, cert)
                if merged is not None:
                    return merged
        stock: Any = super()
        return stock.merge_environment_settings(url, proxies, stream, verify, cert)

    # -- sending

    def get_adapter(self, url: Any) -> HTTPAdapter | Any:
        """Return the adapter that is mounted for `url`.

        Raises InvalidSchema where there is none.
        """
        try:
            return super().get_adapter(url)
        except InvalidSchema:
            adapter = self.adapters.get("http://")
            if not _unix.is_unix(url) or not isinstance(adapter, HTTPAdapter):
                raise
            return adapter

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> Response:
        """Send what was prepared, follow redirects, and return the response, as requests does."""
        if (
            type(request) is not _session_genuine.PREPARED
            or not _follows_stock(self)
            or not _session_genuine.sends()
        ):
            stock: Any = super()
            return stock.send(request, **kwargs)  # type: ignore[no-any-return]
        kwargs.setdefault("stream", self.stream)
        kwargs.setdefault("verify", self.verify)
        kwargs.setdefault("cert", self.cert)
        if "proxies" not in kwargs:
            kwargs["proxies"] = _resolve_proxies(self, request, self.proxies)
        allow_redirects = kwargs.pop("allow_redirects", True)
        return _send(self, request, allow_redirects, kwargs)

    def rebuild_proxies(
        self, prepared_request: requests.PreparedRequest, proxies: Any
    ) -> dict[str, str]:
        """Return the proxies for a redirect, and set or drop its Proxy-Authorization, as requests
        does."""
        url = split_url(prepared_request.url)
        if url is not None and _follows_stock(self) and _session_genuine.sends():
            resolved = _resolve_proxies(self, prepared_request, proxies)
            if url.scheme not in resolved:
                prepared_request.headers.pop("Proxy-Authorization", None)
                return resolved
        stock: Any = super()
        return stock.rebuild_proxies(prepared_request, proxies)  # type: ignore[no-any-return]


# ---------------------------------------------------------------------------------------------
# When a method of requests' may be left out


def _follows_stock(session: object) -> bool:
    """Return whether what is below `Session` is requests' own session, with its own methods."""
    cls = type(session)
    if cls is not Session:
        bases = cls.__mro__
        if bases[bases.index(Session) + 1] is not _Stock:
            return False  # a class beside ours, whose methods come before requests'
    return _session_genuine.is_stock_session()


def _is_plain(session: Any) -> bool:
    """Return whether a request may go past the methods that `request` calls."""
    return (
        _session_genuine.methods_of(type(session)) == _OWN_METHODS
        and _session_genuine.METHOD_NAMES.isdisjoint(session.__dict__)
        and _follows_stock(session)
        and _session_genuine.prepares()
        and _session_genuine.merges()
        and _session_genuine.sends()
    )


def _is_usual_call(args: tuple[object, ...], kwargs: dict[str, object]) -> bool:
    """Return whether `_request` can be called with these arguments."""
    if len(args) > 2:
        return False
    needed, known = _KEYWORDS[len(args)]
    return needed <= kwargs.keys() <= known


# ---------------------------------------------------------------------------------------------
# A request from end to end


def _request(
    self: Any,
    method: str,
    url: object,
    params: object = None,
    data: object = None,
    headers: Any = None,
    cookies: object = None,
    files: object = None,
    auth: object = None,
    timeout: object = None,
    allow_redirects: bool = True,
    proxies: Any = None,
    hooks: object = None,
    stream: bool | None = None,
    verify: object = None,
    cert: object = None,
    json: object = None,
) -> Response | None:
    """Do what `request` does where nothing was replaced; None where requests must do it."""
    parts = split_url(url)
    if parts is None or type(method) is not str:
        return None
    if hooks is not None and (type(hooks) is not dict or hooks):
        return None
    given = Arguments(
        {} if headers is None else headers, [] if files is None else files,
        data or {}, json, params or {}, auth, cookies or {}, _NO_HOOKS,
    )  # fmt: skip
    prepared = _prepare(self, method.upper(), parts, given)
    if prepared is None:
        return None
    proxies = proxies or {}
    merged = _merge(self, parts, proxies, stream, verify, cert)
    if merged is None:
        merged = _Stock.merge_environment_settings(
            self, prepared.url, proxies, stream, verify, cert
        )
    return _send(self, prepared, allow_redirects, {"timeout": timeout, **merged})


def _inherits_prepare(session: Any) -> bool:
    return _follows_stock(session) and _session_genuine.merges()


def _prepare(
    session: Any, method: str, url: PlainURL, given: Arguments
) -> requests.PreparedRequest | None:
    environment = None
    if session.trust_env:
        environment = _session_environment.current()
        if environment is None:
            return None
    headers = session.headers
    known = session._httpcore_known_headers
    if known is None or not still_holds(known, headers):
        known = check_headers(headers)
        if known is None:
            return None
        session._httpcore_known_headers = known
    return prepare(session, known, environment, method, url, given)


def _merge(
    session: Any, url: PlainURL, proxies: Any, stream: object, verify: object, cert: object
) -> dict[str, Any] | None:
    """Do what `merge_environment_settings` does; None where requests must do it."""
    own = session.proxies
    if type(own) not in _DICTS or type(proxies) not in _DICTS:
        return None
    if session.trust_env:
        environment = _session_environment.current()
        if environment is None:
            return None
        if proxies.get("no_proxy") is not None:
            return None
        if environment.has_proxies:
            for name, value in environment.proxies_for(url.authority).items():
                proxies.setdefault(name, value)
        if (verify is True or verify is None) and environment.ca_bundle is not None:
            verify = environment.ca_bundle
    merged = OrderedDict(own)
    if proxies:
        merged.update(proxies)
    for name in [name for name, value in merged.items() if value is None]:
        del merged[name]
    return {
        "proxies": merged,
        "stream": _merged(stream, session.stream),
        "verify": _merged(verify, session.verify),
        "cert": _merged(cert, session.cert),
    }


def _resolve_proxies(
    session: Any, request: requests.PreparedRequest, proxies: Any
) -> dict[str, str]:
    """Do what `requests.utils.resolve_proxies` does."""
    url = split_url(request.url)
    trusts = session.trust_env
    if url is not None and type(proxies) in _DICTS and _session_genuine.merges():
        environment = _session_environment.current() if trusts else None
        bypasses = proxies.get("no_proxy") is not None
        if not trusts or (environment and not environment.has_proxies and not bypasses):
            return proxies.copy()  # type: ignore[no-any-return]
    resolved: dict[str, str] = _sessions.resolve_proxies(request, proxies, trusts)
    return resolved


def _send(
    session: Any, request: requests.PreparedRequest, allow_redirects: bool, kwargs: dict[str, Any]
) -> Response:
    hooks = request.hooks
    adapter = session.get_adapter(url=request.url)
    clock = _sessions.preferred_clock
    start = clock()
    response: Any = adapter.send(request, **kwargs)
    response.elapsed = _sessions.timedelta(seconds=clock() - start)
    if hooks != _NO_HOOKS:
        response = _sessions.dispatch_hook("response", hooks, response, **kwargs)
    _take_cookies(session, request, response)
    if not _is_final(session, response):
        response = _follow(session, request, response, allow_redirects, kwargs)
    if not kwargs.get("stream"):
        response.content  # noqa: B018
    return response  # type: ignore[no-any-return]


def _take_cookies(session: Any, request: requests.PreparedRequest, response: Any) -> None:
    extract = _sessions.extract_cookies_to_jar
    for earlier in response.history or ():
        # A hook that sent requests of its own, such as digest authentication's.
        extract(session.cookies, earlier.request, earlier.raw)
    raw = response.raw
    if type(raw) is not RawResponse or raw.sets_cookies or "_original_response" in vars(raw):
        extract(session.cookies, request, raw)


def _is_final(session: Any, response: Any) -> bool:
    """Return whether `resolve_redirects` would find nothing to follow in `response`."""
    return (
        type(response) is Response
        and response.status_code not in _models.REDIRECT_STATI
        and "is_redirect" not in response.__dict__
        and _following_of(type(session)) == _OWN_FOLLOWING
        and _session_genuine.METHOD_NAMES.isdisjoint(session.__dict__)
    )


def _follow(
    session: Any,
    request: requests.PreparedRequest,
    response: Response,
    allow_redirects: bool,
    kwargs: dict[str, Any],
) -> Response:
    if not allow_redirects:
        following = session.resolve_redirects(response, request, yield_requests=True, **kwargs)
        for prepared in following:
            response._next = prepared  # type: ignore[attr-defined]
            break
        return response
    history = list(session.resolve_redirects(response, request, **kwargs))
    if history:
        history.insert(0, response)
        response = history.pop()
        response.history = history
    return response


def _merged(given: object, own: object) -> object:
    """Do what `requests.sessions.merge_setting` does."""
    if own is None:
        return given
    if given is None:
        return own
    if type(given) in _PLAIN_SETTINGS or not isinstance(own, Mapping):
        return given
    return _sessions.merge_setting(given, own)


_ARGUMENTS = frozenset(_request.__code__.co_varnames[1 : _request.__code__.co_argcount])
# Keywords that must be there, and those that may be, where none, one or two of the arguments are
# positional: method and URL.
_KEYWORDS = [
    (needed, _ARGUMENTS - {"method", "url"} | needed)
    for needed in (frozenset(["method", "url"]), frozenset(["url"]), frozenset[str]())
]

# `inspect.signature` follows this: tools check calls by it, and documentation shows it.
Session.request.__wrapped__ = _Stock.request  # type: ignore[attr-defined]

_OWN_METHODS = _session_genuine.methods_of(Session)
# Those of them that following a redirect begins with.
_following_of = operator.attrgetter("resolve_redirects", "get_redirect_target")
_OWN_FOLLOWING = _following_of(Session)
