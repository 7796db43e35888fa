"""``http+unix://%2Frun%2Fdocker.sock/path``: URLs whose host is a Unix socket.

Owns: how such a URL is read, and what the world has to know about the scheme. Must not know:
pools, connections.

The host is the percent-encoded path of the socket, in either case of hex digits; ``%00name`` is an
abstract socket (Linux). There is no port,
no TLS and no proxy: a socket is on this machine. RFC 9110 section 7.2 wants a Host all the same;
it is ``localhost``, as docker's own client and requests-unixsocket have it.

A redirect leads to a socket only from that socket. A server on the network could otherwise send
a client to sockets that the server itself cannot reach, such as Docker's.

Sources: requests-unixsocket, which introduced the form; docker's `unixconn`; unix(7).
"""

from __future__ import annotations

import os
import urllib.parse
from typing import TYPE_CHECKING, Any, TypeGuard
from urllib.parse import unquote_to_bytes

from requests.exceptions import InvalidSchema
from urllib3.exceptions import LocationValueError, URLSchemeUnknown
from urllib3.poolmanager import key_fn_by_scheme

from httpcore.redact import without_query

if TYPE_CHECKING:
    from requests import PreparedRequest

SCHEME = "http+unix"
HOST = "localhost"


def is_unix(url: object) -> TypeGuard[str]:
    """Return whether `url` is of this scheme."""
    return isinstance(url, str) and url[:10].lower() == "http+unix:"


class SocketPath(str):
    """The path of a socket that a caller has asked for. Managers give pools for no other text: they
    follow redirects themselves, and the host of such a Location is the word of a server."""

    __slots__ = ()


def path_of(url: str) -> SocketPath:
    """Return the path of the socket that `url` names; an abstract one's begins with a NUL.

    Raises urllib3's LocationValueError where there is none, or one that no system can have.
    """
    authority = url.partition("://")[2]
    for end in "/?#":
        authority = authority.partition(end)[0]
    path = os.fsdecode(unquote_to_bytes(authority.rpartition("@")[2]))
    if not path:
        raise LocationValueError(f"{SCHEME}:// needs the path of a socket, as in {SCHEME}://%2Fa/b")
    if "\0" in path and not path.startswith("\0"):
        raise LocationValueError(f"the path of the socket, {path!r}, has a NUL in it")
    return SocketPath(path)


def pool_key(context: dict[str, Any]) -> Any:
    """Return urllib3's key for a pool, except that the case of a path matters.

    Raises URLSchemeUnknown where the host is not the path that a caller has asked for.
    """
    if type(context["host"]) is not SocketPath:
        raise URLSchemeUnknown(SCHEME)
    return key_fn_by_scheme["http"]({**context, "host": os.fsencode(context["host"]).hex()})


def teach_urljoin() -> None:
    """Make a relative Location lead to a path on the same socket.

    requests resolves it by `urllib.parse.urljoin`, which knows relative URLs only for the schemes
    in these lists; they are how a program adds its own.
    """
    for known in (urllib.parse.uses_relative, urllib.parse.uses_netloc):
        if SCHEME not in known:
            known.append(SCHEME)


class _RedirectHooks(dict[str, Any]):
    """The hooks of a request whose response redirects. requests passes them on to the request that
    follows, so that this one is known to come from a redirect.

    Attributes:
        url: of the request that was redirected.
    """

    url = ""


def note_redirect(request: PreparedRequest, location: str) -> None:
    """Note on `request`, whose response redirects to `location`, that what follows it may not go to
    any other socket.

    requests resolves `location` later, and drops tabs in it.
    """
    url = request.url or ""
    if is_unix(url) or "unix" in location.replace("\t", "").lower():
        hooks: Any = _RedirectHooks(request.hooks)
        hooks.url = url
        request.hooks = hooks


def check_redirect(request: PreparedRequest) -> None:
    """Refuse, with requests' InvalidSchema, a `request` to a socket that a redirect asks for and
    that is not the socket which redirected."""
    hooks: Any = getattr(request, "hooks", None)
    if type(hooks) is not _RedirectHooks:
        return
    before, after = hooks.url, request.url or ""
    if is_unix(before) and path_of(before) == path_of(after):
        return
    raise InvalidSchema(
        f"cannot follow the redirect from {without_query(before)} to {without_query(after)}: a "
        "redirect leads to a Unix socket only from that socket; if it is meant, send a new "
        "request there",
        request=request,
    )
