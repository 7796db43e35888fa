"""The way of a request: from its URL, its extensions and the pool's settings to a `Route`.

Owns: which of these decides, what makes two requests fit for one connection, and the names of
routes in texts. Must not know: slots, connections, sockets.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from .._exceptions import UnsupportedProtocol
from .._models import Extensions, Proxy, Request
from .._settings import ConnectionSettings
from .._url import Origin, describe_scheme, shown_path, to_server_name
from ..rules import DEFAULT_PORTS
from .http_proxy import ProxyHop, to_hop
from .scheduler import Route

TLS_SCHEMES = (b"https", b"wss")
PLAIN_SCHEMES = (b"http", b"ws")


def find_route(request: Request, settings: ConnectionSettings) -> Route:
    """Return the route of `request`: its own extensions go before the pool's settings.

    Raises UnsupportedProtocol, TypeError, or LocalProtocolError for what cannot be.
    """
    url = request.url
    scheme = url.scheme
    context: object = None
    if scheme in TLS_SCHEMES:
        context = settings.ssl_context
    elif scheme not in PLAIN_SCHEMES:
        raise UnsupportedProtocol(describe_scheme(scheme))
    port = url.port
    if port is None:
        port = DEFAULT_PORTS[scheme]
    proxy = settings.proxy
    uds = settings.uds
    extensions = request.extensions
    if extensions:
        if scheme in TLS_SCHEMES:
            context = _tls_settings(extensions, context)
        if "uds" in extensions:
            uds = _to_path(extensions["uds"])
        if "proxy" in extensions:
            proxy = extensions["proxy"]
    if proxy is not None and uds is None:
        hop = to_hop(proxy, scheme)
        if hop.forwards:  # one connection serves all origins
            return Route(hop.scheme, hop.host, hop.port, None, hop)
        return Route(scheme, url.host, port, context, hop)
    return Route(scheme, url.host, port, context, None, uds)


def _tls_settings(extensions: Extensions, context: object) -> object:
    """Return what of the TLS settings makes a connection reusable: the context, and the name when
    it is not the host's, because the certificate was checked against it."""
    own = extensions.get("ssl_context")
    if own is not None:
        if not hasattr(own, "wrap_socket"):
            kind = type(own).__name__
            raise TypeError(f"extensions['ssl_context'] must be an ssl.SSLContext, not {kind}")
        context = own
    name = extensions.get("sni_hostname")
    return context if name is None else (context, to_server_name(name))


def _to_path(path: Any) -> str | None:
    if path is None or type(path) is str:
        return path
    text = os.fspath(path)
    if not isinstance(text, str):
        raise TypeError(f"extensions['uds'] must be a path or None, not {type(path).__name__}")
    return text


def context_of(route: Route) -> Any:
    """Return the TLS context that the route names, or None."""
    context = route.ssl_context
    return context[0] if type(context) is tuple else context


def hop_of(route: Route) -> ProxyHop | None:
    """Return the proxy on the way, or None."""
    hop = route.proxy
    return hop if isinstance(hop, ProxyHop) else None


def may_share(protocols: tuple[str, ...], route: Route) -> bool:
    """Return whether connections of `route` may turn out to be HTTP/2."""
    hop = hop_of(route)
    if hop is not None and hop.forwards:
        return False
    return route.scheme in TLS_SCHEMES or "http/1.1" not in protocols


def goes_through(proxy: Proxy) -> Callable[[object], bool]:
    """Return a predicate over hops: whether one is `proxy`, however that is verified."""
    hops = {to_hop(proxy, scheme).unverified() for scheme in (b"http", b"https")}
    return lambda hop: isinstance(hop, ProxyHop) and hop.unverified() in hops


def name_route(route: Route) -> str:
    """Return the URL of the server."""
    return str(Origin(route.scheme, route.host, route.port))


def name_route_with_path(route: Route) -> str:
    """Return the URL of the server, with its Unix socket or the proxy on the way."""
    name = name_route(route)
    hop = hop_of(route)
    if route.uds is not None:
        name += f" at {shown_path(route.uds)}"
    elif hop is not None and not hop.forwards:
        name += f" through {hop}"
    return name
