"""The functions of requests that the fast session leaves out, and whether they still are its own.

Owns: the list of what is left out, and noticing that some of it was replaced. Must not know: what
is done in its place.

Mocks, tracers and tests put functions of theirs in the place of requests' (``Session.send``,
``requests.sessions.get_netrc_auth``, ...) and expect them to be called. So each fast way asks first
whether all that it leaves out is what it was; where it is not, requests' own code runs, which calls
them. What was replaced before this module was imported never counts as genuine.

The fast ways were compared with the versions of requests that `_COMPARED` names. With another one,
or where its objects look different inside, none is taken.
"""

from __future__ import annotations

import http.cookiejar
import operator
import os
import sys
import types
import urllib.request
from typing import Any

import requests
import requests.adapters
import requests.cookies
import requests.hooks
import requests.models
import requests.sessions
import requests.structures
import requests.utils

#: Versions of requests (major, minor) that the fast ways were compared with.
_COMPARED = ("2.32", "2.33", "2.34")

# Where requests' functions, and those that it uses, are defined.
_HOMES = frozenset(["requests", "urllib3", "http", "urllib", "posixpath", "ntpath"])

#: requests' own classes: `install()` may put another one under their names.
STOCK_SESSION: Any = requests.sessions.Session
PREPARED: Any = requests.models.PreparedRequest


class Watch:
    """Tells whether attributes of a module or class are what they were.

    Parameters:
        owner: the module or class.
        names: attributes that lie on it; dots lead further.

    Attributes:
        look: returns what they are now, of `owner`.
        genuine: what they were; None where some of it was not requests' own.
    """

    __slots__ = ("genuine", "look", "names", "owner")

    def __init__(self, owner: Any, *names: str) -> None:
        self.owner = owner
        self.names = names
        self.look = operator.attrgetter(*names)
        try:
            found = self.look(owner)
        except AttributeError:
            found = ()
        self.genuine: object = found if found and all(map(_is_own, found)) else None


def _is_own(found: Any) -> bool:
    """Return whether `found` is of requests or of what it stands on, and no wrapper."""
    if isinstance(found, types.FunctionType):
        # A wrapper may copy every name, but not the module that its code runs in.
        name = found.__globals__.get("__name__", "")
        home = vars(sys.modules[name]) if name in sys.modules else None
        return name.partition(".")[0] in _HOMES and found.__globals__ is home
    if isinstance(found, type):
        return found.__module__.partition(".")[0] in _HOMES
    # What `object` defines.
    return isinstance(found, (types.BuiltinFunctionType, types.WrapperDescriptorType))


def looks_as_known() -> bool:
    """Return whether requests is a known version, with objects made as the fast ways make them."""
    if ".".join(requests.__version__.split(".")[:2]) not in _COMPARED:
        return False
    jar = requests.cookies.RequestsCookieJar()
    return (
        list(vars(requests.models.PreparedRequest())) == _PREPARED_ATTRIBUTES
        and list(vars(requests.structures.CaseInsensitiveDict())) == ["_store"]
        and set(vars(jar)) == {"_policy", "_cookies_lock", "_cookies"}
        and type(vars(jar)["_policy"]) is http.cookiejar.DefaultCookiePolicy
        and requests.hooks.default_hooks() == {"response": []}
    )


_PREPARED_ATTRIBUTES = [
    *("method", "url", "headers", "_cookies", "body", "hooks", "_body_position"),
]

#: Whether a fast way may be taken at all.
IS_KNOWN = looks_as_known()

_PREPARING = (
    Watch(
        requests.sessions,
        *("PreparedRequest", "RequestsCookieJar", "CaseInsensitiveDict", "cookiejar_from_dict"),
        *("merge_cookies", "merge_setting", "merge_hooks", "cookielib.CookieJar"),
    ),
    Watch(
        requests.models,
        *("parse_url", "unicode_is_ascii", "requote_uri", "urlunparse", "to_native_string"),
        *("check_header_validity", "get_cookie_header", "CaseInsensitiveDict", "default_hooks"),
        *("get_auth_from_url", "cookiejar_from_dict", "cookielib.CookieJar"),
        *("to_key_val_list", "urlencode"),
    ),
    Watch(requests.utils, "_validate_header_part", "unquote_unreserved"),
    Watch(requests.models.Request, "__init__", "__new__", "register_hook"),
    Watch(
        PREPARED,
        *("__init__", "__new__", "__setattr__", "prepare", "prepare_method", "prepare_url"),
        *("prepare_headers", "prepare_cookies", "prepare_body", "prepare_content_length"),
        *("prepare_auth", "prepare_hooks", "register_hook", "_encode_params"),
    ),
    Watch(http.cookiejar.DefaultCookiePolicy, "__init__", "__new__"),
    Watch(
        requests.structures.CaseInsensitiveDict,
        *("__init__", "__setitem__", "__iter__", "__getitem__"),
    ),
    Watch(
        requests.cookies,
        *("RequestsCookieJar", "MockRequest", "merge_cookies", "get_cookie_header"),
    ),
    Watch(
        requests.cookies.RequestsCookieJar,
        *("__init__", "__iter__", "update", "set_cookie", "add_cookie_header"),
        *("_cookies_for_request", "clear_expired_cookies"),
    ),
)

# What decides on cookies; asked where there are some.
_COOKIES = (
    Watch(
        http.cookiejar.DefaultCookiePolicy,
        *("return_ok", "domain_return_ok", "path_return_ok", "return_ok_version"),
        *("return_ok_verifiability", "return_ok_secure", "return_ok_expires", "return_ok_port"),
        *("return_ok_domain", "is_blocked", "is_not_allowed"),
    ),
    Watch(http.cookiejar.Cookie, "is_expired", "__init__"),
    Watch(
        http.cookiejar.CookieJar,
        *("_cookies_for_domain", "_cookie_attrs", "set_cookie", "clear", "__iter__"),
    ),
    Watch(
        http.cookiejar,
        *("request_host", "request_path", "eff_request_host", "is_third_party", "deepvalues"),
        *("escape_path", "DefaultCookiePolicy"),
    ),
    Watch(
        requests.cookies.MockRequest,
        *("__init__", "get_full_url", "has_header", "get_new_headers", "add_unredirected_header"),
    ),
    Watch(requests.cookies, "urlparse", "RequestsCookieJar"),
)

_ENVIRONMENT = (
    Watch(
        requests.sessions,
        *("merge_setting", "get_environ_proxies", "get_netrc_auth", "resolve_proxies"),
        "to_key_val_list",
    ),
    Watch(
        requests.utils,
        *("should_bypass_proxies", "getproxies", "proxy_bypass", "get_environ_proxies"),
        *("urlparse", "getproxies_environment", "proxy_bypass_environment"),
    ),
    Watch(urllib.request, "getproxies", "getproxies_environment", "proxy_bypass"),
    Watch(os.path, "expanduser", "expandvars"),
)

_METHODS = (
    "send", "prepare_request", "merge_environment_settings", "request", "resolve_redirects",
    "get_redirect_target", "get_adapter", "rebuild_auth", "rebuild_proxies", "rebuild_method",
    "should_strip_auth", "__getattribute__",
)  # fmt: skip
_SESSION = (Watch(STOCK_SESSION, *_METHODS[:-1]),)
_SENDING = (
    Watch(
        requests.sessions,
        *("extract_cookies_to_jar", "dispatch_hook", "urlparse", "Request"),
    ),
    Watch(requests.cookies, "extract_cookies_to_jar", "MockRequest", "MockResponse"),
)

#: All that is watched, by what it is left out of.
ALL = (_PREPARING, _COOKIES, _ENVIRONMENT, _SESSION, _SENDING)

#: Of a class of sessions, the methods that a fast way may leave out.
methods_of = operator.attrgetter(*_METHODS)
#: The same names, which an instance may have as attributes of its own.
METHOD_NAMES = frozenset(_METHODS)


def hold(watches: tuple[Watch, ...]) -> bool:
    """Return whether nothing of what they watch was replaced. Thread-safe."""
    try:
        # A method of `Watch` would be a call for each.
        for watch in watches:
            if watch.look(watch.owner) != watch.genuine:
                return False
    except AttributeError:
        return False
    return True


def prepares() -> bool:
    """Return whether what `Session.prepare_request` calls is requests' own."""
    return IS_KNOWN and hold(_PREPARING)


def matches_cookies() -> bool:
    """Return whether http.cookiejar decides on cookies by functions of its own, and in silence."""
    return hold(_COOKIES) and not http.cookiejar.debug  # type: ignore[attr-defined]


def merges() -> bool:
    """Return whether what `Session.merge_environment_settings` calls is requests' own."""
    return IS_KNOWN and hold(_ENVIRONMENT)


def sends() -> bool:
    """Return whether what `Session.send` calls is requests' own."""
    return IS_KNOWN and hold(_SENDING)


def is_stock_session() -> bool:
    """Return whether the methods of requests' own `Session` are what they were."""
    return hold(_SESSION)
