"""Fixtures for the client's side: sessions and pools that end with the test.

Owns: making and ending them. Must not know: private parts of the packages.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import trustme
import urllib3

import httpcore
import httpcore_requests

#: requests' own adapter, to compare with.
STOCK = requests.adapters.HTTPAdapter
#: The version of urllib3, where the stock adapter differs by it.
URLLIB3 = tuple(map(int, urllib3.__version__.split(".")[:2]))  # type: ignore[attr-defined]

MakeSession = Callable[..., requests.Session]


@pytest.fixture
def session() -> Iterator[requests.Session]:
    """requests, with the adapter mounted."""
    with httpcore_requests.Session() as made:
        yield made


@pytest.fixture
def make_session() -> Iterator[MakeSession]:
    """`make_session(adapter)`: a session that sends everything through this adapter;
    `make_session(**options)`: through one of ours with these options."""
    made: list[requests.Session] = []

    def make(
        adapter: requests.adapters.BaseAdapter | None = None, **options: Any
    ) -> requests.Session:
        one = requests.Session()
        made.append(one)
        adapter = httpcore_requests.HTTPAdapter(**options) if adapter is None else adapter
        one.mount("http://", adapter)
        one.mount("https://", adapter)
        one.mount("http+unix://", adapter)
        return one

    yield make
    for one in made:
        one.close()


@pytest.fixture
def make_trusting_session(make_session: MakeSession, ca_bundle: str) -> MakeSession:
    """As `make_session`, and the session trusts the test CA and nothing else."""

    def make(*arguments: Any, **options: Any) -> requests.Session:
        one = make_session(*arguments, **options)
        one.verify = ca_bundle
        return one

    return make


@pytest.fixture
def h2_pool(client_tls_context: ssl.SSLContext) -> Iterator[httpcore.ConnectionPool]:
    """A pool that trusts the test CA and speaks HTTP/2 alone."""
    with httpcore.ConnectionPool(client_tls_context, http1=False, http2=True) as pool:
        yield pool


def trusting(ca: trustme.CA, **attributes: Any) -> ssl.SSLContext:
    """A client's context of its own that trusts this CA and nothing else, with these attributes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ca.configure_trust(context)
    for name, value in attributes.items():
        setattr(context, name, value)
    return context


def with_trust_of(context: ssl.SSLContext) -> ssl.SSLContext:
    """A context of its own with the same trust; pools that offer HTTP/2 set ALPN on theirs."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for der in context.get_ca_certs(binary_form=True):
        made.load_verify_locations(cadata=der)
    return made


class Redirected(httpcore.NetworkBackend):
    """Connects to a port of this machine, whatever the address; `asked` has the addresses."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.asked: list[tuple[str, int]] = []

    def connect_tcp(self, host: str, port: int, *arguments: Any, **options: Any) -> Any:
        self.asked.append((host, port))
        inner = httpcore.SyncBackend()
        return inner.connect_tcp("127.0.0.1", self.port, *arguments, **options)


def resident() -> int:
    """Bytes of memory that this process has now, where the system says so."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")
