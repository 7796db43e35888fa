"""What an adapter and its pool manager can be told: each word is honoured, or refused by name.

Owns: `_settings`, and the errors for what cannot be. Must not know: what a TLS setting means in
detail (tests/adapter/test_hooks.py and the TLS scenarios). Where requests' own adapter honours a
keyword, the two are compared.
"""

from __future__ import annotations

import hashlib
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import requests.adapters
import trustme
import urllib3
from cryptography.hazmat.primitives import serialization
from requests.exceptions import InvalidURL, SSLError
from urllib3.connectionpool import HTTPSConnectionPool
from urllib3.poolmanager import PoolKey
from urllib3.util.retry import Retry

from httpcore_requests import HTTPAdapter, Session, install
from tests.support.clients import STOCK
from tests.support.servers import LocalServer, Peer, Serve
from tests.support.tls import ClientCert

Build = Callable[..., requests.Session]


@pytest.fixture
def build() -> Iterator[Build]:
    """`build(way, **keywords)`: a session whose pool manager has them, by one of three ways;
    `base` is the adapter's class."""
    made: list[requests.Session] = []

    def session(way: str, base: Any = HTTPAdapter, **keywords: Any) -> requests.Session:
        class Style(base):  # type: ignore[misc]
            def init_poolmanager(self, *args: Any, **kw: Any) -> None:
                if way == "super":
                    super().init_poolmanager(*args, **kw, **keywords)
                elif way == "own":
                    self.poolmanager = urllib3.PoolManager(10, maxsize=10, **keywords)
                else:
                    super().init_poolmanager(*args, **kw)

        one = requests.Session()
        made.append(one)
        adapter = Style()
        one.mount("http://", adapter)
        one.mount("https://", adapter)
        if way == "later":
            adapter.poolmanager.connection_pool_kw.update(keywords)
        return one

    yield session
    for one in made:
        one.close()


WAYS = pytest.mark.parametrize("way", ["super", "own", "later"])


# --- settings that are honoured


@WAYS
@pytest.mark.parametrize(
    ("keywords", "accepted"),
    [
        ({"assert_hostname": "sub.example.test"}, True),
        ({"assert_hostname": "other.name"}, False),
        ({"assert_hostname": False}, True),
        ({"assert_fingerprint": "00" * 32}, False),
        ({"assert_fingerprint": "{right}"}, True),
        ({"server_hostname": "sub.example.test"}, True),
        ({"server_hostname": "nobody.test"}, False),
        ({"cert_reqs": "CERT_NONE"}, True),  # `verify` has the last word, see below
        ({"ssl_minimum_version": ssl.TLSVersion.TLSv1_3}, True),
        ({"ssl_maximum_version": ssl.TLSVersion.TLSv1_2}, True),
        ({"ssl_context": None}, True),
        ({"blocksize": 1024}, True),
    ],
    ids=str,
)
def test_tls_settings(
    build: Build,
    tls_server: LocalServer,
    ca_bundle: str,
    server_tls_context: ssl.SSLContext,
    way: str,
    keywords: dict[str, Any],
    accepted: bool,
) -> None:
    if keywords.get("assert_fingerprint") == "{right}":
        address = ("127.0.0.1", tls_server.port)
        pem = ssl.get_server_certificate(address)
        der = ssl.PEM_cert_to_DER_cert(pem)
        keywords = {"assert_fingerprint": hashlib.sha256(der).hexdigest()}
    for base in (STOCK, HTTPAdapter):
        session = build(way, base, **keywords)
        if accepted:
            assert session.get(tls_server.url, verify=ca_bundle).ok
        else:
            with pytest.raises(SSLError):
                session.get(tls_server.url, verify=ca_bundle)
        if set(keywords) <= {"cert_reqs", "blocksize"}:
            with pytest.raises(SSLError):
                session.get(tls_server.url)


@WAYS
@pytest.mark.filterwarnings("ignore:ssl.PROTOCOL_TLSv1_2 is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:'ssl_version' option is deprecated:FutureWarning")
@pytest.mark.parametrize(
    ("keywords", "version"),
    [
        ({"ssl_version": ssl.PROTOCOL_TLSv1_2}, "TLSv1.2"),
        ({"ssl_maximum_version": ssl.TLSVersion.TLSv1_2}, "TLSv1.2"),
        ({"ssl_minimum_version": ssl.TLSVersion.TLSv1_3}, "TLSv1.3"),
    ],
    ids=["ssl_version", "ssl_maximum_version", "ssl_minimum_version"],
)
def test_tls_versions(
    build: Build,
    tls_server: LocalServer,
    ca_bundle: str,
    way: str,
    keywords: dict[str, Any],
    version: str,
) -> None:
    for base in (STOCK, HTTPAdapter):
        session = build(way, base, **keywords)
        response = session.get(tls_server.url + "/bytes/3000000", verify=ca_bundle, stream=True)
        assert response.raw.connection.sock.version() == version
        response.close()


@WAYS
@pytest.mark.parametrize("kind", ["ssl_context", "ca_certs", "ca_cert_dir", "ca_cert_data"])
def test_authorities(
    build: Build,
    tls_server: LocalServer,
    ca: trustme.CA,
    ca_bundle: str,
    client_tls_context: ssl.SSLContext,
    tmp_path: Path,
    way: str,
    kind: str,
) -> None:
    """With the plain ``verify=True``."""
    # The name under which OpenSSL looks for this CA in a directory.
    subject = "".join(f"{value:02x}" for value in _subject_hash(ca))
    (tmp_path / f"{subject}.0").write_bytes(ca.cert_pem.bytes())
    value: Any = {
        "ssl_context": client_tls_context,
        "ca_certs": ca_bundle,
        "ca_cert_dir": str(tmp_path),
        "ca_cert_data": ca.cert_pem.bytes().decode(),
    }[kind]
    assert build(way, **{kind: value}).get(tls_server.url).ok
    with pytest.raises(SSLError):
        build(way).get(tls_server.url)


def _subject_hash(ca: trustme.CA) -> bytes:
    """OpenSSL's X509_NAME_hash: SHA-1 of the canonical name, its first four bytes reversed."""
    from cryptography import x509

    certificate = x509.load_pem_x509_certificate(ca.cert_pem.bytes())
    encoded = b""
    for rdn in certificate.subject.rdns:
        [attribute] = rdn
        text = " ".join(str(attribute.value).lower().split()).encode()
        oid = x509.Name([attribute]).public_bytes()
        # Name { RDN { Attribute { OID, string } } }: the OID is what follows three headers.
        oid = oid[6 : 6 + 2 + oid[7]]
        pair = oid + b"\x0c" + bytes([len(text)]) + text
        inner = b"\x30" + bytes([len(pair)]) + pair
        encoded += b"\x31" + bytes([len(inner)]) + inner
    return hashlib.sha1(encoded).digest()[:4][::-1]


@WAYS
@pytest.mark.parametrize("password", [None, "pass"])
def test_client_certificates(
    build: Build,
    serve: Serve,
    mutual_tls_context: ssl.SSLContext,
    ca_bundle: str,
    client_cert: ClientCert,
    tmp_path: Path,
    way: str,
    password: str | None,
) -> None:
    def handler(peer: Peer) -> None:
        while peer.recv_request() is not None:
            peer.respond(200, b"" if peer.client_certificate is None else b"known")

    server = serve(handler, tls=mutual_tls_context)
    keywords: dict[str, Any] = {"cert_file": client_cert.cert, "key_file": client_cert.key}
    if password is not None:
        key = serialization.load_pem_private_key(Path(client_cert.key).read_bytes(), None)
        locked = tmp_path / "locked.pem"
        locked.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(password.encode()),
            )
        )
        keywords.update(key_file=str(locked), key_password=password)
    for base in (STOCK, HTTPAdapter):
        session = build(way, base, **keywords)
        assert session.get(server.url, verify=ca_bundle).content == b"known"


@WAYS
def test_source_address_and_socket_options(build: Build, serve: Serve, way: str) -> None:
    peers: list[str] = []

    def handler(peer: Peer) -> None:
        peers.append(peer.sock.getpeername()[0])
        while peer.recv_request() is not None:
            peer.respond(200, b"x" * 3_000_000)

    server = serve(handler)
    option = (socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    for base in (STOCK, HTTPAdapter):
        session = build(way, base, source_address=("127.0.0.2", 0), socket_options=[option])
        response = session.get(server.url, stream=True)
        assert response.raw.connection.sock.getsockopt(*option[:2]) == 1
        response.close()
    assert peers == ["127.0.0.2", "127.0.0.2"]


@WAYS
def test_what_is_the_pools_default_is_not_the_requests(
    build: Build, server: LocalServer, way: str
) -> None:
    """requests names timeout, retries and headers with each request, so that the pool's own hold
    only for who uses the pool itself."""
    keywords: Any = {"timeout": 0.03, "retries": 7}
    if way == "later":  # else they would be those of the manager's own `request`
        keywords["headers"] = {"X-Default": "1"}
    for base in (STOCK, HTTPAdapter):
        session = build(way, base, **keywords)
        assert session.get(server.url + "/drip/2?delay=0.1").content
        assert session.get(server.url + "/echo").ok
        assert server.requests[-1].header("x-default") is None
        adapter: Any = session.get_adapter(server.url)
        pool = adapter.poolmanager.connection_from_url(server.url)
        retries = pool.retries
        assert (retries.total if isinstance(retries, Retry) else retries) == 7
        response = pool.urlopen("GET", "/echo")
        assert response.status == 200
        assert server.requests[-1].header("x-default") == (b"1" if way == "later" else None)
        with pytest.raises(urllib3.exceptions.ReadTimeoutError):
            pool.urlopen("GET", "/hang", retries=False)


def test_maxsize_and_block(build: Build, server: LocalServer) -> None:
    class Impatient(HTTPAdapter):
        def __init__(self) -> None:
            super().__init__(pool_timeout=0.02)

    session = build("later", Impatient, maxsize=1, block=True)
    with session.get(server.url + "/bytes/3000000", stream=True):
        with pytest.raises(requests.ConnectTimeout, match="max_connections_per_host=1"):
            session.get(server.url)
    assert session.get(server.url).ok


@WAYS
def test_strict_is_dropped_as_by_urllib3(build: Build, server: LocalServer, way: str) -> None:
    for base in (STOCK, HTTPAdapter):
        session = build(way, base, strict=True)
        with pytest.warns(FutureWarning, match="strict"):
            assert session.get(server.url).ok


def test_all_of_urllib3s_keywords_are_accounted_for(build: Build, server: LocalServer) -> None:
    """One that a newer urllib3 adds must be honoured or refused here, not slip through."""
    known = {field.removeprefix("key_") for field in PoolKey._fields}
    assert known == {
        *("scheme", "host", "port", "maxsize", "block", "timeout", "retries", "headers"),
        *("source_address", "socket_options", "blocksize", "ssl_context", "ssl_version"),
        *("ssl_minimum_version", "ssl_maximum_version", "cert_reqs", "ca_certs", "ca_cert_dir"),
        *("ca_cert_data", "cert_file", "key_file", "key_password", "assert_hostname"),
        *("assert_fingerprint", "server_hostname", "_proxy", "_proxy_headers", "_proxy_config"),
        "_socks_options",
    }


# --- what cannot be honoured


@WAYS
@pytest.mark.parametrize("keyword", ["nonsense", "cert_req", "_socks_options", "proxy_ssl_context"])
def test_unknown_keywords_are_named(
    build: Build, server: LocalServer, way: str, keyword: str
) -> None:
    """A mistyped `cert_reqs` is no connection without one; `_socks_options` without urllib3's
    SOCKS pools would go direct. Nothing is sent."""
    if keyword != "_socks_options":  # which urllib3 hands on to a connection that does not know it
        with pytest.raises(TypeError, match=keyword):
            build(way, STOCK, **{keyword: None}).get(server.url)
    with pytest.raises(TypeError, match=f"given '{keyword}', which HTTPAdapter does not know"):
        build(way, **{keyword: None}).get(server.url)
    assert not server.requests


def test_an_unknown_keyword_that_comes_later_is_named_by_the_next_request(
    build: Build, server: LocalServer
) -> None:
    session = build("super")
    assert session.get(server.url).ok
    adapter: Any = session.get_adapter(server.url)
    adapter.poolmanager.connection_pool_kw["nonsense"] = 1
    with pytest.raises(TypeError, match="'nonsense'"):
        session.get(server.url)
    del adapter.poolmanager.connection_pool_kw["nonsense"]
    assert session.get(server.url).raw.reused


def test_a_key_function_does_not_make_a_keyword_known(build: Build, server: LocalServer) -> None:
    session = build("own")
    adapter: Any = session.get_adapter(server.url)
    manager = adapter.poolmanager
    plain = manager.key_fn_by_scheme["http"]

    def key(context: dict[str, Any]) -> Any:
        context = context.copy()
        return (context.pop("tenant", None), plain(context))

    manager.key_fn_by_scheme["http"] = key
    assert session.get(server.url).ok
    manager.connection_pool_kw["tenant"] = "a"
    with pytest.raises(TypeError, match="'tenant'"):
        session.get(server.url)
    with pytest.raises(TypeError, match="'tenant'"):
        manager.connection_from_url(server.url)


def test_own_pool_classes_go_over_urllib3(
    build: Build, server: LocalServer, tls_server: LocalServer, ca_bundle: str
) -> None:
    """As elastic-transport: its own class for https, which only urllib3's connections fit."""

    class Checking(HTTPSConnectionPool):
        pass

    session = build("super")
    adapter: Any = session.get_adapter(server.url)
    assert callable(adapter.poolmanager.pool_classes_by_scheme["https"])
    adapter.poolmanager.pool_classes_by_scheme["https"] = Checking
    response = session.get(tls_server.url, verify=ca_bundle)
    assert type(response.raw) is urllib3.HTTPResponse
    assert isinstance(response.raw._pool, Checking)
    assert type(session.get(server.url).raw).__name__ == "RawResponse"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (("127.0.0.1", 4321), "fixed source port"),
        ("127.0.0.1", r"must be \(host, 0\)"),
        (("127.0.0.1",), r"must be \(host, 0\)"),
    ],
)
def test_source_addresses_that_cannot_be(
    build: Build, server: LocalServer, value: Any, text: str
) -> None:
    with pytest.raises(ValueError, match=f"source_address=.*{text}"):
        build("super", source_address=value).get(server.url)


@pytest.mark.parametrize("value", [True, "/etc/ssl/cert.pem", ssl.TLSVersion.TLSv1_3])
def test_a_context_that_is_none(build: Build, tls_server: LocalServer, value: Any) -> None:
    """`ssl_context=True` verifies nothing, or everything: nobody can tell."""
    with pytest.raises(TypeError, match=r"ssl_context must be an ssl\.SSLContext, not "):
        HTTPAdapter(ssl_context=value)
    for way in ("super", "own", "later"):
        with pytest.raises(TypeError, match=r"ssl_context must be an ssl\.SSLContext, not "):
            build(way, ssl_context=value).get(tls_server.url)
    assert tls_server.accepted == 0


@pytest.mark.parametrize("word", ["pool_conections", "verify", "proxies", "timeouts"])
def test_unknown_arguments_of_the_adapter(word: str) -> None:
    with pytest.raises(TypeError, match=word):
        HTTPAdapter(**{word: 5})


@pytest.mark.parametrize("make", [HTTPAdapter, Session, install])
@pytest.mark.parametrize(
    ("word", "end"),
    [
        ("tiemout", "'tiemout'; did you mean 'timeout'?"),
        ("pool_conections", "'pool_conections'; did you mean 'pool_connections'?"),
        ("http3", "'http3'; did you mean 'http2'?"),
        ("proxies", "'proxies'"),
    ],
)
def test_the_option_that_was_meant_is_named(
    make: Callable[..., object], word: str, end: str
) -> None:
    with pytest.raises(TypeError) as caught:
        make(**{word: 5})
    assert str(caught.value).endswith(f"got an unexpected keyword argument {end}")


# --- prefixes that cannot be mounted


@pytest.mark.parametrize("scheme", ["ftp", "ws", "wss", "file", "https+unix", "http+other"])
def test_schemes_that_are_not_spoken(scheme: str) -> None:
    """Of the same class as under requests' own adapter, and naming what is spoken."""
    raised: list[Any] = []
    for base in (STOCK, HTTPAdapter):
        with requests.Session() as session:
            session.mount(f"{scheme}://", base())
            with pytest.raises(InvalidURL) as caught:
                session.get(f"{scheme}://user:secret@host.test/path")
        raised.append(caught.value)
    assert type(raised[0]) is type(raised[1])
    assert f"{scheme}://" in str(raised[1])
    assert "http" in str(raised[1]).replace(f"{scheme}://", "")
    assert "secret" not in str(raised[1])
    assert raised[1].request is not None


def test_a_scheme_of_ones_own_may_be_added(server: LocalServer) -> None:
    """urllib3's way to do so: a key and a class for it."""

    class Pool(urllib3.HTTPConnectionPool):
        def __init__(self, *args: Any, cert_reqs: Any, **kw: Any) -> None:
            super().__init__(*args, **kw)

    class Adapter(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kw: Any) -> None:
            super().init_poolmanager(*args, **kw)
            manager: Any = self.poolmanager
            manager.key_fn_by_scheme["http+x"] = manager.key_fn_by_scheme["http"]
            manager.pool_classes_by_scheme["http+x"] = Pool

    with requests.Session() as session:
        session.mount("http+x://", Adapter())
        response = session.get(server.url.replace("http", "http+x"))
        assert type(response.raw) is urllib3.HTTPResponse
        response.close()
