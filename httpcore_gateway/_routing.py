"""Finds the route of a request.

Owns: the match of host and path. Must not know: upstreams, connections, ASGI.

Sources: RFC 9110 section 7.2 (Host), RFC 3986 section 3.3 (paths and their segments).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class RouteTable(Generic[T]):
    """Finds the most specific route of a request.

    Parameters:
        routes: host, path and what is found there, for each route. A host is a name, ``*.name``
            for all names below it, or None for any.
    """

    def __init__(self, routes: Iterable[tuple[str | None, str, T]]) -> None:
        self._exact: dict[bytes, list[tuple[bytes, T]]] = {}
        self._below: dict[bytes, list[tuple[bytes, T]]] = {}
        self._any: list[tuple[bytes, T]] = []
        for host, path, value in routes:
            entry = path.rstrip("/").encode("ascii"), value
            if host is None:
                self._any.append(entry)
            elif host.startswith("*."):
                self._below.setdefault(route_host(host)[1:], []).append(entry)
            else:
                self._exact.setdefault(route_host(host), []).append(entry)
        for entries in (*self._exact.values(), *self._below.values(), self._any):
            entries.sort(key=lambda entry: len(entry[0]), reverse=True)
        # Most gateways have one route for everything.
        only = self._any[0] if len(self._any) == 1 and not (self._exact or self._below) else None
        self._only = only[1] if only is not None and not only[0] else None

    def find(self, host: bytes, path: bytes) -> T | None:
        """Return what stands at `host` (with or without a port) and `path`; None for nothing."""
        if self._only is not None:
            return self._only
        if self._exact or self._below:
            name = host_name(host)
            found = _longest(self._exact.get(name, ()), path)
            if found is None and self._below:
                found = self._find_below(name, path)
            if found is not None:
                return found
        return _longest(self._any, path)

    def _find_below(self, name: bytes, path: bytes) -> T | None:
        """Return what ``*.`` gives; the longest name of those that fit comes first."""
        dot = name.find(b".")
        while dot != -1:
            found = _longest(self._below.get(name[dot:], ()), path)
            if found is not None:
                return found
            dot = name.find(b".", dot + 1)
        return None


def _longest(entries: Iterable[tuple[bytes, T]], path: bytes) -> T | None:
    for prefix, value in entries:
        # Whole segments: /api is no part of /apis.
        if not prefix or (
            path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in (b"/", b"")
        ):
            return value
    return None


def route_host(host: str) -> bytes:
    """Return the host of a route as `host_name` gives that of a request: an IPv6 address may stand
    there with or without brackets, a name with a dot at its end."""
    try:
        address = ipaddress.IPv6Address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return host.rstrip(".").lower().encode("ascii")
    return b"[" + address.compressed.encode("ascii") + b"]"


def host_name(host: bytes) -> bytes:
    """Return the name in a Host field: without port, without a dot at its end, in lower case."""
    end = host.rfind(b":")
    if end > host.rfind(b"]"):  # an IPv6 address has colons inside its brackets
        host = host[:end]
    return host.rstrip(b".").lower()
