"""The hosts that are reached without a proxy: the rules of the variable ``no_proxy``.

Owns: reading and matching them. Must not know: where they stand, proxies. The command line and the
adapter for requests both ask here.

Sources: curl's manual on NO_PROXY and Go's x/net/http/httpproxy for the rules that are in use.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from typing import NamedTuple

# Lists of rules whose reading is kept: more than a program uses at a time.
_MAX_READ = 1024

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class _Rule(NamedTuple):
    """One entry: a name with all below it, or a network; and a port, or None for all."""

    name: str
    network: ipaddress.IPv4Network | ipaddress.IPv6Network | None
    port: int | None


def bypasses_proxy(no_proxy: str, host: str, port: int | None) -> bool:
    """Return whether `no_proxy` says that `host` is to be reached without a proxy.

    Parameters:
        no_proxy: entries, separated by commas or white space. ``*`` means every host;
            ``example.com``, ``.example.com`` and ``*.example.com`` that name and all names below
            it; an address, or a network such as ``10.0.0.0/8``, what it says; each of these but
            networks may end in ``:port``. Letters' case does not matter. What is none of these
            is passed over.
        host: a name or an address, as it stands in the URL. A name is never looked up, so it is
            in no network.
        port: of the URL, its scheme's where it names none.
    """
    name = _bare_host(host).lower().removesuffix(".")
    address = _address(name)
    return any(_matches(rule, name, address, port) for rule in _read(no_proxy))


def _matches(rule: _Rule, name: str, address: _Address | None, port: int | None) -> bool:
    if rule.port is not None and rule.port != port:
        return False
    if rule.name == "*":
        return True
    if address is not None:
        return rule.network is not None and address in rule.network
    return rule.network is None and (name == rule.name or name.endswith("." + rule.name))


@functools.lru_cache(_MAX_READ)
def _read(no_proxy: str) -> tuple[_Rule, ...]:
    rules = (_read_one(entry) for entry in re.split(r"[,\s]+", no_proxy.lower()))
    return tuple(rule for rule in rules if rule is not None)


def _read_one(entry: str) -> _Rule | None:
    if "/" in entry:
        network = _network(entry)
        return None if network is None else _Rule("", network, None)
    name, port = _split_port(entry)
    name = name.removeprefix("*.").lstrip(".").removesuffix(".") if name != "*" else name
    return _Rule(name, _network(name), port) if name else None


def _split_port(entry: str) -> tuple[str, int | None]:
    host, colon, port = entry.rpartition(":")
    # More than one colon is an IPv6 address, which has a port only behind its bracket.
    if colon and port.isdecimal() and (":" not in host or host.endswith("]")):
        return _bare_host(host), int(port)
    return _bare_host(entry), None


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
    return network


def _address(name: str) -> _Address | None:
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return None
    # RFC 4291 section 2.5.5.2: an IPv4 address in IPv6 clothing is that address.
    return getattr(address, "ipv4_mapped", None) or address


def _bare_host(host: str) -> str:
    """Take the brackets off an IPv6 address."""
    return host[1:-1] if host[:1] == "[" and host[-1:] == "]" else host
