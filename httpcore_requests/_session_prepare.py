"""Making a `requests.PreparedRequest` from what is plain, without normalising it again.

Owns: which URLs, parameters and headers are plain, and what requests would make of them. Must not
know: the environment, adapters, how requests are sent.

requests parses, normalises and quotes each URL, and merges, checks and copies each header several
times. A URL that consists of what all of that leaves alone is taken as it is here, and a session's
own headers are checked when they change. What is not plain (`prepare` returns None) is left to
requests. Bodies, authentication and hooks are prepared by requests' own methods.

Sources: RFC 3986 sections 2.3, 3.3 and 3.4 (which characters stand for themselves), RFC 9110
section 5.6.2 (header names); `requests.models.PreparedRequest` for the order of things.
"""

from __future__ import annotations

import operator
import re
from collections import OrderedDict
from typing import Any, NamedTuple

import requests.cookies
import requests.sessions
from requests.models import PreparedRequest
from requests.structures import CaseInsensitiveDict

from . import _session_cookies as cookies_
from . import _session_genuine
from ._session_environment import Environment

# Escapes of what must be escaped; those of letters, digits, "-", ".", "_" and "~" are undone.
_ESCAPE = "%(?:[018-9A-F][0-9A-F]|2[0-9A-CF]|3[A-F]|40|5[B-E]|60|7[B-DF])"
_PATH = rf"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|{_ESCAPE})*"
_QUERY = rf"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?]|{_ESCAPE})+"
_PORT = "[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"

# A URL that requests leaves as it is, but for a path that is missing. Dot segments are looked
# for apart.
_PLAIN_URL = re.compile(
    rf"((https?)://([a-z0-9][a-z0-9\-_.]*)(?::(?:{_PORT}))?)(/{_PATH})?(\?{_QUERY})?"
).fullmatch

_PLAIN_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_PLAIN_VALUE = re.compile(r"(?:[!-~][\t -~]*)?").fullmatch

# requests' stubs leave out what is needed of these.
_sessions: Any = requests.sessions
_Prepared: Any = PreparedRequest
_cookiejar_from_dict: Any = requests.cookies.cookiejar_from_dict

_NO_HOOKS: dict[str, list[Any]] = {"response": []}

# What means "no body", where it is also empty. requests asks others whether they are iterators.
_PLAIN_DATA = (dict, list, tuple, str, bytes, type(None))


class PlainURL(NamedTuple):
    """A URL that requests would leave as it is.

    Attributes:
        text: all of it, parameters included.
        authority: "http://host:port".
        scheme, host, path: its parts.
    """

    text: str
    authority: str
    scheme: str
    host: str
    path: str


class KnownHeaders(NamedTuple):
    """A session's headers, checked.

    Attributes:
        pairs: what they were, pair by pair: the same objects mean the same headers.
        store: what requests' dict of them holds; names without a value (None) included.
        complete: whether none is without a value.
    """

    pairs: tuple[Any, ...]
    store: OrderedDict[str, tuple[str, Any]]
    complete: bool

    def __reduce__(self) -> Any:
        """Return None, to a copy of what refers to it: a subclass may pickle its whole __dict__."""
        return type(None), ()


class Arguments(NamedTuple):
    """The contents of a `requests.Request`, beside method, URL and cookies."""

    headers: Any
    files: object
    data: object
    json: object
    params: object
    auth: object
    cookies: object
    hooks: object


def split_url(url: object) -> PlainURL | None:
    """Return `url` and its parts where it is plain, else None."""
    if type(url) is not str:
        return None
    match = _PLAIN_URL(url)
    if match is None or "/." in url:
        return None
    authority, scheme, host, path, query = match.groups()
    if path is None:
        path = "/"
        url = f"{authority}/{query or ''}"
    return PlainURL(url, authority, scheme, host, path)


def _merged_params(params: Any, session_params: Any) -> Any:
    """Return the parameters of request and session; None where they are not plain."""
    if type(session_params) is not dict or type(params) not in (dict, list, tuple):
        return None
    return _sessions.merge_setting(params, session_params) if session_params else params


def _with_params(url: PlainURL, params: Any) -> PlainURL:
    """Return `url` with the parameters added."""
    if not params:
        return url
    encoded = _Prepared._encode_params(params)
    if encoded:
        url = url._replace(text=f"{url.text}{'&' if '?' in url.text else '?'}{encoded}")
    return url


def check_headers(headers: Any) -> KnownHeaders | None:
    """Return a session's `headers` checked; None where they are not plain."""
    if type(headers) is not CaseInsensitiveDict or type(headers._store) is not OrderedDict:  # type: ignore[attr-defined]
        return None
    store = headers._store.copy()  # type: ignore[attr-defined]
    for key, pair in store.items():
        if type(pair) is not tuple or not _is_plain_header(*pair) or key != pair[0].lower():
            return None
    complete = None not in [value for _, value in store.values()]
    return KnownHeaders(tuple(store.values()), store, complete)


def still_holds(known: KnownHeaders, headers: Any) -> bool:
    """Return whether `headers` are those that `known` was made from."""
    if type(headers) is not CaseInsensitiveDict:
        return False
    pairs: Any = headers._store.values()  # type: ignore[attr-defined]
    return len(pairs) == len(known.pairs) and all(map(operator.is_, pairs, known.pairs))


def _is_plain_header(name: Any, value: Any) -> bool:
    return (
        type(name) is str
        and _PLAIN_NAME(name) is not None
        and (value is None or (type(value) is str and _PLAIN_VALUE(value) is not None))
    )


def _merged_headers(known: KnownHeaders, given: Any) -> OrderedDict[str, tuple[str, Any]] | None:
    """Return what the dict of a request's headers holds: the session's and those `given`."""
    if type(given) is not dict:
        return None
    store = known.store.copy()
    complete = known.complete
    for name, value in given.items():
        if not _is_plain_header(name, value):
            return None
        store[name.lower()] = (name, value)
        complete = complete and value is not None
    if not complete:
        for key in [key for key, (_, value) in store.items() if value is None]:
            del store[key]
    return store


def _cookies_and_header(
    own: Any, given: Any, url: PlainURL, store: dict[str, Any]
) -> tuple[Any, str | None] | None:
    """Return the jar of a request and its Cookie header; None where they are not plain."""
    jars = cookies_.PLAIN_JARS
    if type(own) not in jars:
        return None
    jar: Any = cookies_.new_jar()
    if not own._cookies and not given:
        return jar, None
    # http.cookiejar takes the host from that field where it is set.
    if (given and type(given) is not dict and type(given) not in jars) or "host" in store:
        return None
    if not _session_genuine.matches_cookies():
        return None
    try:
        cookies_.add_all(jar, own)
        if given:
            cookies_.add_all(jar, _cookiejar_from_dict(given) if type(given) is dict else given)
    except (cookies_.Unusual, AttributeError, TypeError):
        return None
    header = cookies_.header_for(jar, url.scheme, url.host, url.path)
    return jar, None if "cookie" in store else header


def prepare(
    session: Any,
    known: KnownHeaders,
    environment: Environment | None,
    method: str,
    url: PlainURL,
    given: Arguments,
) -> PreparedRequest | None:
    """Return what ``session.prepare_request`` would make of the arguments; None where that is for
    requests to say.

    Parameters:
        known: the session's headers.
        environment: where a netrc file may be; None where requests would not look for one.
        method: in upper case.

    Raises what requests' preparation of bodies, hooks and authentication raises, in its order.
    """
    store = _merged_headers(known, given.headers)
    if store is None:
        return None
    cookies = _cookies_and_header(session.cookies, given.cookies, url, store)
    if cookies is None:
        return None
    auth = given.auth
    if environment is not None and not auth and not session.auth:
        auth = environment.netrc_auth(url.text)
    params = _merged_params(given.params, session.params)
    if params is None:
        return None
    auth = _sessions.merge_setting(auth, session.auth)
    hooks = _sessions.merge_hooks(given.hooks, session.hooks)
    # After everything is merged: what is wrong with them is found last.
    whole = _with_params(url, params)
    jar, header = cookies
    if header is not None:
        store["cookie"] = ("Cookie", header)
    prepared = PreparedRequest.__new__(PreparedRequest)
    prepared.method = method
    prepared.url = whole.text
    headers = prepared.headers = CaseInsensitiveDict.__new__(CaseInsensitiveDict)
    headers._store = store  # type: ignore[attr-defined]
    prepared._cookies = jar  # type: ignore[attr-defined]
    prepared.body = None
    prepared.hooks = {"response": []}
    prepared._body_position = None  # type: ignore[attr-defined]
    _finish(prepared, given, auth, hooks, url.text)
    return prepared


def _finish(prepared: PreparedRequest, given: Arguments, auth: Any, hooks: Any, url: str) -> None:
    """Add body, authentication and hooks, in the order in which requests does."""
    data, json, files = given.data, given.json, given.files
    if data or json is not None or files or type(data) not in _PLAIN_DATA:
        prepared.prepare_body(data, files, json)
    elif prepared.method not in ("GET", "HEAD") and "content-length" not in prepared.headers._store:  # type: ignore[attr-defined]
        prepared.headers["Content-Length"] = "0"
    if auth is not None:  # a plain URL has no user in it
        prepared.prepare_auth(auth, url)
    if hooks != _NO_HOOKS:
        prepared.prepare_hooks(hooks)
