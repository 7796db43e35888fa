"""TLS settings of requests and urllib3, alone and together with a caller's context.

Owns: what each setting comes to, and that nothing is accepted here that requests refuses. Must
not know: how contexts are cached (`test_ssl`), private parts apart from `_contexts`.
"""

from __future__ import annotations

import datetime
import gc
import hashlib
import os
import socket
import ssl
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import certifi
import pytest
import requests
import requests.adapters
import trustme
import urllib3
from cryptography.hazmat.primitives import serialization
from requests.exceptions import SSLError
from urllib3.exceptions import InsecureRequestWarning
from urllib3.util.ssl_ import create_urllib3_context

from httpcore_requests import HTTPAdapter
from httpcore_requests._caller_contexts import FittedContext, TLSRequirements, adapt
from httpcore_requests._tls_settings import TLSSettings, plan
from tests.support.clients import trusting
from tests.support.servers import LocalServer, Peer, ScriptedServer, Serve
from tests.support.tls import ClientCert, server_context, write_client_cert
from tests.support.versions import needs

Make = Callable[[], ssl.SSLContext]


def with_keywords(base: type, **keywords: Any) -> Any:
    """An adapter that hands `keywords` to its pool managers, as the world's adapters do."""

    class Adapter(base):  # type: ignore[misc]
        def init_poolmanager(self, *args: Any, **kw: Any) -> None:
            super().init_poolmanager(*args, **kw, **keywords)

    return Adapter()


@pytest.fixture
def get() -> Iterator[Callable[..., requests.Response]]:
    """`get(adapter, url, **options)`: one GET through that adapter."""
    sessions: dict[Any, requests.Session] = {}

    def send(adapter: Any, url: str, **options: Any) -> requests.Response:
        session = sessions.get(adapter)
        if session is None:
            session = sessions[adapter] = requests.Session()
            session.mount("https://", adapter)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InsecureRequestWarning)
            return session.get(url, **options)

    yield send
    for session in sessions.values():
        session.close()


Get = Callable[..., requests.Response]


def refusal(get: Get, adapter: Any, url: str, **options: Any) -> str:
    """The text of the SSLError for that GET."""
    with pytest.raises(SSLError) as caught:
        get(adapter, url, **options)
    return str(caught.value)


@pytest.fixture
def public_roots(ca_bundle: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """For ``verify=True`` the test CA is the world's, here and in requests."""
    monkeypatch.setenv("SSL_CERT_FILE", ca_bundle)
    monkeypatch.setattr(requests.adapters, "DEFAULT_CA_BUNDLE_PATH", ca_bundle)


@pytest.fixture(scope="session")
def other_ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def other_bundle(other_ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("other") / "ca.pem"
    other_ca.cert_pem.write_to_path(str(path))
    return str(path)


def certified(issued: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(context)
    return context


@pytest.fixture
def other_server(other_ca: trustme.CA) -> Iterator[LocalServer]:
    """A server whose certificate is of the other CA."""
    with LocalServer(tls=certified(other_ca.issue_cert("127.0.0.1"))) as running:
        yield running


@pytest.fixture
def asking_server(serve: Serve, ca: trustme.CA) -> Any:
    """A server that answers with the mail address in the client's certificate, or nothing."""
    context = server_context(ca)
    context.verify_mode = ssl.CERT_OPTIONAL
    ca.configure_trust(context)

    def handler(peer: Peer) -> None:
        while peer.recv_request() is not None:
            shown: Any = peer.client_certificate
            names = dict(shown["subjectAltName"]) if shown else {}
            peer.respond(200, names.get("email", "").encode())

    return serve(handler, tls=context)


# --- the same as requests ---


def urllib3_context(**attributes: Any) -> ssl.SSLContext:
    context = create_urllib3_context(ciphers="ECDHE+AESGCM")
    for name, value in attributes.items():
        setattr(context, name, value)
    return context


UNCHECKED = {"check_hostname": False}
UNVERIFYING = {"check_hostname": False, "verify_mode": ssl.CERT_NONE}

CONTEXTS: dict[str, Callable[[trustme.CA, trustme.CA], ssl.SSLContext | None]] = {
    "no context": lambda ca, other: None,
    "ciphers only": lambda ca, other: urllib3_context(),
    "ciphers, names unchecked": lambda ca, other: urllib3_context(**UNCHECKED),
    "ciphers, unverifying": lambda ca, other: urllib3_context(**UNVERIFYING),
    "the root": lambda ca, other: trusting(ca),
    "the root, names unchecked": lambda ca, other: trusting(ca, **UNCHECKED),
    "the root, unverifying": lambda ca, other: trusting(ca, **UNVERIFYING),
    "another root": lambda ca, other: trusting(other),
}


@pytest.fixture(scope="session")
def certificates(ca: trustme.CA, other_ca: trustme.CA) -> dict[str, trustme.LeafCert]:
    past = datetime.datetime(2020, 1, 1)
    return {
        "good": ca.issue_cert("127.0.0.1"),
        "wrong name": ca.issue_cert("else.example.test"),
        "unknown": trustme.CA().issue_cert("127.0.0.1"),
        "of the other CA": other_ca.issue_cert("127.0.0.1"),
        "expired": ca.issue_cert("127.0.0.1", not_before=past, not_after=past.replace(month=2)),
    }


@pytest.fixture
def certified_servers(
    certificates: dict[str, trustme.LeafCert],
) -> Iterator[dict[str, tuple[str, str]]]:
    """URL and fingerprint of a server for each kind of certificate."""
    servers = {
        kind: LocalServer(tls=certified(issued)).start() for kind, issued in certificates.items()
    }
    pins = {
        kind: hashlib.sha256(
            ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())
        ).hexdigest()
        for kind, issued in certificates.items()
    }
    yield {kind: (server.url, pins[kind]) for kind, server in servers.items()}
    for server in servers.values():
        server.stop()


ASSERTIONS: list[dict[str, Any]] = [
    {},
    {"assert_hostname": False},
    {"assert_hostname": "", "assert_fingerprint": ""},
    {"assert_hostname": "else.example.test"},
    {"assert_fingerprint": "right"},
    {"assert_fingerprint": "00" * 32},
]


def outcome(get: Get, base: type, url: str, keywords: dict[str, Any], **options: Any) -> str:
    try:
        return str(get(with_keywords(base, **keywords), url, **options).status_code)
    except Exception as exc:
        return type(exc).__name__


@needs("requests", "2.32.5")  # before, requests' own adapter has certifi's roots, read at import
@pytest.mark.parametrize("kind", CONTEXTS)
def test_accepted_and_refused_as_by_requests(
    kind: str,
    get: Get,
    certified_servers: dict[str, tuple[str, str]],
    ca: trustme.CA,
    other_ca: trustme.CA,
    other_bundle: str,
    public_roots: None,
) -> None:
    differences = set()
    for verify in (True, other_bundle, False):
        for assertion in ASSERTIONS:
            for url, pin in certified_servers.values():
                keywords = dict(assertion)
                if assertion.get("assert_fingerprint") == "right":
                    keywords["assert_fingerprint"] = pin
                outcomes = []
                for base in (requests.adapters.HTTPAdapter, HTTPAdapter):
                    context = CONTEXTS[kind](ca, other_ca)
                    more = {} if context is None else {"ssl_context": context}
                    outcomes.append(outcome(get, base, url, {**keywords, **more}, verify=verify))
                theirs, ours = outcomes
                assert ours in ("200", "SSLError")
                if theirs == "ValueError":
                    # It could not switch off what the context has on; here that is done.
                    assert verify is False and kind in ("ciphers only", "the root", "another root")
                elif ours != theirs:
                    differences.add((verify, theirs, ours))
    # A context that has roots of its own is not made to trust the whole world.
    expected = {(True, "200", "SSLError")} if kind == "another root" else set()
    assert differences == expected


# --- settings without a context ---


def test_ca_cert_data_as_text_and_bytes(get: Get, tls_server: LocalServer, ca: trustme.CA) -> None:
    pem = ca.cert_pem.bytes().decode()
    for data in (pem, ssl.PEM_cert_to_DER_cert(pem)):
        assert get(with_keywords(HTTPAdapter, ca_cert_data=data), tls_server.url).ok
    other = trustme.CA().cert_pem.bytes().decode()
    refusal(get, with_keywords(HTTPAdapter, ca_cert_data=other), tls_server.url)


def test_ca_cert_data_and_ca_cert_dir_add_up_to_a_bundle(
    get: Get, tls_server: LocalServer, other_server: LocalServer, ca_bundle: str,
    other_ca: trustme.CA, tmp_path: Path,
) -> None:  # fmt: skip
    adapter = with_keywords(
        HTTPAdapter,
        ca_cert_data=other_ca.cert_pem.bytes().decode(),
        ca_cert_dir=str(tmp_path),
    )
    for server in (tls_server, other_server):
        assert get(adapter, server.url, verify=ca_bundle).ok


def test_versions(get: Get, tls_server: LocalServer, ca_bundle: str) -> None:
    def version(**keywords: Any) -> str:
        adapter = with_keywords(HTTPAdapter, **keywords)
        response = get(adapter, tls_server.url + "/bytes/3000000", verify=ca_bundle, stream=True)
        found: str = response.raw.connection.sock.version()
        response.close()
        return found

    tls_1_2 = ssl.TLSVersion.TLSv1_2
    assert version(ssl_maximum_version=tls_1_2) == "TLSv1.2"
    assert version(ssl_minimum_version=tls_1_2) == "TLSv1.3"
    assert version(ssl_version=ssl.PROTOCOL_TLS_CLIENT) == "TLSv1.3"
    assert version(ssl_version="TLSv1_2") == version(ssl_version="PROTOCOL_TLSv1_2") == "TLSv1.2"
    given = {"ssl_context": create_urllib3_context()}
    assert version(ssl_maximum_version=tls_1_2, **given) == "TLSv1.2"
    assert version(**given) == "TLSv1.3"


def test_a_version_is_asked_of_a_context_too(get: Get, serve: Serve, ca: trustme.CA) -> None:
    context = certified(ca.issue_cert("127.0.0.1"))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    server = serve(lambda peer: peer.respond(200) if peer.recv_request() else None, tls=context)
    least = {"ssl_minimum_version": ssl.TLSVersion.TLSv1_3}
    assert get(with_keywords(HTTPAdapter, ssl_context=trusting(ca)), server.url).ok
    refusal(get, with_keywords(HTTPAdapter, ssl_context=trusting(ca), **least), server.url)


@pytest.mark.parametrize("common_names", [False, True])
def test_common_names_are_names_where_the_context_says_so(
    get: Get, serve: Serve, ca: trustme.CA, ca_bundle: str, common_names: bool
) -> None:
    issued = ca.issue_cert("someone@example.test", common_name="else.example.test")
    server = serve(
        lambda peer: peer.respond(200) if peer.recv_request() else None, tls=certified(issued)
    )
    outcomes = []
    for base in (requests.adapters.HTTPAdapter, HTTPAdapter):
        given = trusting(ca, **UNCHECKED)
        given.hostname_checks_common_name = common_names
        keywords = {"ssl_context": given, "server_hostname": "else.example.test"}
        outcomes.append(outcome(get, base, server.url, keywords, verify=ca_bundle))
    assert outcomes == ["200" if common_names else "SSLError"] * 2


@pytest.mark.parametrize(
    ("keywords", "text"),
    [
        ({"ssl_version": "TLSv1_9"}, "ssl_version='TLSv1_9' is none of ssl's PROTOCOL_*"),
        ({"ssl_version": 99}, "ssl_version=99 is no version of TLS"),
        (
            {"ssl_version": "TLSv1_2", "ssl_minimum_version": ssl.TLSVersion.TLSv1_2},
            "they cannot be given together",
        ),
        ({"ca_certs": "/no/such/bundle"}, "cannot prepare TLS: TLS CA bundle not found: /no/such"),
        ({"key_password": "x", "cert_file": "/no/such/cert"}, "certificate file not found: /no"),
    ],
)
def test_settings_that_cannot_be(keywords: dict[str, Any], text: str, get: Get) -> None:
    assert text in refusal(get, with_keywords(HTTPAdapter, **keywords), "https://127.0.0.1:1/")


def test_cert_reqs(get: Get, tls_server: LocalServer, ca_bundle: str) -> None:
    class Told(HTTPAdapter):
        def __init__(self, cert_reqs: Any) -> None:
            self.told = cert_reqs
            super().__init__()

        def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
            super().cert_verify(conn, url, verify, cert)
            conn.cert_reqs = self.told

    for none in ("CERT_NONE", "NONE", ssl.CERT_NONE):
        assert get(Told(none), tls_server.url).ok
    for required in ("CERT_REQUIRED", "REQUIRED", "OPTIONAL", ssl.CERT_REQUIRED, None):
        refusal(get, Told(required), tls_server.url)
        assert get(Told(required), tls_server.url, verify=ca_bundle).ok
    text = refusal(get, Told("PERHAPS"), tls_server.url)
    assert "cert_reqs='PERHAPS' is none of ssl's CERT_*" in text


def test_server_hostname_is_checked_and_sent(get: Get, serve: Serve, ca: trustme.CA) -> None:
    asked_for = []
    context = certified(ca.issue_cert("else.example.test"))
    context.sni_callback = lambda sock, name, context: asked_for.append(name)

    def handler(peer: Peer) -> None:
        while peer.recv_request() is not None:
            peer.respond(200)

    server = serve(handler, tls=context)
    pem = ca.cert_pem.bytes().decode()
    for name in ("else.example.test", "else.example.test."):
        adapter = with_keywords(HTTPAdapter, ca_cert_data=pem, server_hostname=name)
        assert get(adapter, server.url).ok
    assert asked_for == ["else.example.test"] * 2


def test_assert_hostname_changed_between_requests(
    get: Get, certified_servers: dict[str, tuple[str, str]], ca_bundle: str
) -> None:
    """As requests-toolbelt's HostHeaderSSLAdapter does it."""
    adapter = HTTPAdapter()
    keywords = adapter.poolmanager.connection_pool_kw
    url = certified_servers["wrong name"][0]
    connections = set()
    for _ in range(2):
        refusal(get, adapter, url, verify=ca_bundle)
        for name in ("else.example.test", False):
            keywords["assert_hostname"] = name
            connections.add(get(adapter, url, verify=ca_bundle).headers["X-Connection"])
        keywords["assert_hostname"] = "nobody.example.test"
        assert "nobody.example.test" in refusal(get, adapter, url, verify=ca_bundle)
        del keywords["assert_hostname"]
    assert len(connections) == 2


def test_a_fingerprint_alone(get: Get, certified_servers: dict[str, tuple[str, str]]) -> None:
    """As elastic-transport does it: whoever signed it, it is this certificate."""
    url, pin = certified_servers["unknown"]
    with warnings.catch_warnings():
        warnings.simplefilter("error", InsecureRequestWarning)  # it is verified
        with requests.Session() as session:
            session.mount("https://", with_keywords(HTTPAdapter, assert_fingerprint=pin))
            assert session.get(url, verify=False).ok
    assert "Fingerprints did not match" in refusal(
        get, with_keywords(HTTPAdapter, assert_fingerprint="00" * 20), url, verify=False
    )
    assert "Fingerprint of invalid length" in refusal(
        get, with_keywords(HTTPAdapter, assert_fingerprint="00"), url, verify=False
    )


# --- client certificates ---


def encrypted(key: str, path: Path, password: str) -> str:
    loaded = serialization.load_pem_private_key(Path(key).read_bytes(), None)
    path.write_bytes(
        loaded.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(password.encode()),
        )
    )
    return str(path)


def test_paths_that_are_bytes(
    get: Get, asking_server: ScriptedServer, ca_bundle: str, client_cert: ClientCert
) -> None:
    pair = (os.fsencode(client_cert.cert), os.fsencode(client_cert.key))
    for cert in (os.fsencode(client_cert.combined), pair, list(pair)):
        response = get(HTTPAdapter(), asking_server.url, verify=os.fsencode(ca_bundle), cert=cert)
        assert response.text == "client@example.test"


def test_an_encrypted_key(
    get: Get, asking_server: ScriptedServer, ca_bundle: str, client_cert: ClientCert, tmp_path: Path
) -> None:
    key = encrypted(client_cert.key, tmp_path / "key.pem", "sesame")
    pair = (client_cert.cert, key)

    def shown(password: str | None) -> str:
        adapter = with_keywords(HTTPAdapter, key_password=password)
        return get(adapter, asking_server.url, verify=ca_bundle, cert=pair).text

    assert shown("sesame") == "client@example.test"
    for password in ("wrong", None):
        with pytest.raises(SSLError) as caught:
            shown(password)
        assert "wrong" not in str(caught.value)
    assert f"the TLS client key in {key} is encrypted: give its password" in str(caught.value)


def test_key_and_certificate_in_one_file_with_a_password(
    get: Get, asking_server: ScriptedServer, ca_bundle: str, client_cert: ClientCert, tmp_path: Path
) -> None:
    """As httpie does it: the password is written onto the pool by cert_verify."""

    class Httpie(HTTPAdapter):
        def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
            super().cert_verify(conn, url, verify, cert)
            conn.key_password = "sesame"

    path = tmp_path / "both.pem"
    encrypted(client_cert.key, path, "sesame")
    path.write_bytes(path.read_bytes() + Path(client_cert.cert).read_bytes())
    response = get(Httpie(), asking_server.url, verify=ca_bundle, cert=str(path))
    assert response.text == "client@example.test"


def test_a_certificate_that_is_asked_for_after_the_handshake(
    get: Get, serve: Serve, ca: trustme.CA, ca_bundle: str, client_cert: ClientCert
) -> None:
    context = server_context(ca)
    ca.configure_trust(context)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.post_handshake_auth = True
    seen = []

    def handler(peer: Peer) -> None:
        sock: Any = peer.sock
        while peer.recv_request() is not None:
            seen.append(peer.client_certificate is not None)
            if len(seen) == 1:
                sock.verify_client_post_handshake()
            peer.respond(200)

    adapter = HTTPAdapter()
    server = serve(handler, tls=context)
    for _ in range(2):
        assert get(adapter, server.url, verify=ca_bundle, cert=client_cert.combined).ok
    assert seen == [False, True]


# --- a context by urllib3's keyword: the recipes of the world ---


def state(context: ssl.SSLContext) -> Any:
    """All that can be read of a context, its roots apart."""
    return (
        context.verify_mode, context.check_hostname, context.options, context.verify_flags,
        context.minimum_version, context.maximum_version, context.security_level,
        context.post_handshake_auth, context.hostname_checks_common_name, context.keylog_filename,
        context.get_ciphers(),
    )  # fmt: skip


def held(context: ssl.SSLContext) -> int:
    return context.cert_store_stats()["x509"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: create_urllib3_context(ciphers="ECDHE+AESGCM"),
        lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        lambda: urllib3_context(**UNCHECKED),
        lambda: urllib3_context(**UNVERIFYING),
    ],
    ids=["ciphers", "bare", "unchecked", "unverifying"],
)
@pytest.mark.parametrize("path", [False, True], ids=["verify=True", "verify=path"])
def test_a_context_without_roots_verifies(
    make: Make, path: bool, get: Get, tls_server: LocalServer, other_server: LocalServer,
    certified_servers: dict[str, tuple[str, str]], ca_bundle: str, public_roots: None,
) -> None:  # fmt: skip
    given = make()
    before = state(given)
    adapter = with_keywords(HTTPAdapter, ssl_context=given)
    verify = ca_bundle if path else True
    assert get(adapter, tls_server.url, verify=verify).ok
    refusal(get, adapter, other_server.url, verify=verify)
    refusal(get, adapter, certified_servers["wrong name"][0], verify=verify)
    assert state(given) == before
    assert held(given) == 1  # as documented


def test_roots_are_loaded_into_a_context_once(
    get: Get, tls_server: LocalServer, ca_bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = create_urllib3_context()
    loaded = []
    load = ssl.SSLContext.load_verify_locations

    def count(context: ssl.SSLContext, *args: Any, **kw: Any) -> None:
        loaded.append(context is given)
        load(context, *args, **kw)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", count)
    adapters = [with_keywords(HTTPAdapter, ssl_context=given) for _ in range(2)]
    for adapter in adapters * 3:
        headers = {"Connection": "close"}
        assert get(adapter, tls_server.url, verify=ca_bundle, headers=headers).ok
    assert loaded.count(True) == 1


def test_trust_never_adds_up(
    get: Get, tls_server: LocalServer, other_server: LocalServer, ca_bundle: str, other_bundle: str
) -> None:
    """In urllib3 each `verify` stays in the context, so that the last one trusts them all."""
    adapter = with_keywords(HTTPAdapter, ssl_context=create_urllib3_context())
    for _ in range(2):
        assert get(adapter, tls_server.url, verify=ca_bundle).ok
        assert get(adapter, other_server.url, verify=other_bundle).ok
        refusal(get, adapter, other_server.url, verify=ca_bundle)
        refusal(get, adapter, tls_server.url, verify=other_bundle)
        refusal(get, adapter, tls_server.url)
    assert tls_server.accepted == 1 + 2 * 2  # those that were accepted are used again


def test_a_context_with_roots_of_its_own(
    get: Get, tls_server: LocalServer, other_server: LocalServer, ca: trustme.CA,
    other_bundle: str,
) -> None:  # fmt: skip
    given = trusting(ca)
    adapter = with_keywords(HTTPAdapter, ssl_context=given)
    assert get(adapter, tls_server.url).ok
    assert held(given) == 1
    text = refusal(get, adapter, other_server.url)
    assert "trusts its own roots only, and verify=True adds none" in text
    for server in (tls_server, other_server):  # both were named
        assert get(adapter, server.url, verify=other_bundle).ok
    refusal(get, adapter, other_server.url)
    assert held(given) == 1


def test_roots_asked_of_a_context_with_its_own_are_for_that_verify_only(
    get: Get, tls_server: LocalServer, other_server: LocalServer, ca: trustme.CA,
    other_bundle: str,
) -> None:  # fmt: skip
    adapter = with_keywords(HTTPAdapter, ssl_context=trusting(ca))
    for server in (other_server, tls_server):
        assert get(adapter, server.url, verify=other_bundle).ok
    refusal(get, adapter, other_server.url)
    assert get(adapter, tls_server.url).ok


def test_a_client_certificate_inside_of_a_context(
    get: Get, asking_server: ScriptedServer, ca_bundle: str, client_cert: ClientCert,
    public_roots: None,
) -> None:  # fmt: skip
    """requests-pkcs12, and each recipe for keys with passwords: a certificate and no roots."""
    for options in ({}, {"verify": ca_bundle}, {"verify": False}):
        for attributes in ({}, UNCHECKED, UNVERIFYING):
            given = urllib3_context(**attributes)
            given.load_cert_chain(client_cert.combined)
            adapter = with_keywords(HTTPAdapter, ssl_context=given)
            assert get(adapter, asking_server.url, **options).text == "client@example.test"
            pinned = with_keywords(HTTPAdapter, ssl_context=given, assert_hostname="example.test")
            assert get(pinned, asking_server.url, **options).text == "client@example.test"


def test_cert_with_a_context(
    get: Get, asking_server: ScriptedServer, client_cert: ClientCert,
    make_client_cert: Callable[[str], ClientCert], public_roots: None,
) -> None:  # fmt: skip
    given = create_urllib3_context(ciphers="DEFAULT@SECLEVEL=1")
    before = state(given)
    adapter = with_keywords(HTTPAdapter, ssl_context=given)
    other = make_client_cert("other@example.test")
    for _ in range(2):
        shown = [
            get(adapter, asking_server.url, cert=cert).text
            for cert in (client_cert.combined, None, (other.cert, other.key), None)
        ]
        assert shown == ["client@example.test", "", "other@example.test", ""]
    assert asking_server.accepted == 3
    assert state(given) == before


def test_a_copy_has_the_settings_of_the_context(
    get: Get, tls_server: LocalServer, client_cert: ClientCert, public_roots: None, tmp_path: Path
) -> None:
    given = create_urllib3_context(ciphers="ECDHE-ECDSA-AES256-GCM-SHA384:@SECLEVEL=1")
    given.maximum_version = ssl.TLSVersion.TLSv1_2
    given.options |= 0x4  # SSL_OP_LEGACY_SERVER_CONNECT, which Python names since 3.12
    given.verify_flags |= ssl.VERIFY_X509_STRICT
    given.keylog_filename = str(tmp_path / "keys")
    for options in ({"cert": client_cert.combined}, {"verify": False}, {}):
        adapter = with_keywords(HTTPAdapter, ssl_context=given)
        response = get(adapter, tls_server.url + "/bytes/3000000", stream=True, **options)
        sock = response.raw.connection.sock
        assert sock.cipher()[:2] == ("ECDHE-ECDSA-AES256-GCM-SHA384", "TLSv1.2")
        kept = state(sock.context)
        assert sock.selected_alpn_protocol() == ("http/1.1" if options else None)
        response.close()
        assert kept[2:] == state(given)[2:]


@pytest.mark.filterwarnings("ignore:ssl.PROTOCOL_TLS:DeprecationWarning")
def test_a_context_of_one_version_stays_so(
    get: Get, tls_server: LocalServer, ca_bundle: str
) -> None:
    adapter = with_keywords(HTTPAdapter, ssl_context=ssl.SSLContext(ssl.PROTOCOL_TLSv1_2))
    url = tls_server.url + "/bytes/3000000"
    response = get(adapter, url, verify=ca_bundle, stream=True)
    assert response.raw.connection.sock.version() == "TLSv1.2"
    assert response.raw.connection.sock.context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert response.raw.connection.sock.getpeercert()["subjectAltName"]
    response.close()


def test_verify_decides_and_not_the_context(
    get: Get, other_server: LocalServer, public_roots: None
) -> None:
    """The recipe that switches verification off, and its context then used with verify=True."""
    for attributes in ({}, UNCHECKED, UNVERIFYING):
        adapter = with_keywords(HTTPAdapter, ssl_context=urllib3_context(**attributes))
        assert get(adapter, other_server.url, verify=False).ok
        refusal(get, adapter, other_server.url)
        refusal(get, adapter, other_server.url, verify=True)
        assert get(adapter, other_server.url, verify=False).raw.reused


def test_a_context_that_is_flipped_at_each_request(
    get: Get, other_server: LocalServer, public_roots: None
) -> None:
    """As streamlink does it. What was accepted unverified is never used by who verifies."""
    context = urllib3_context()

    class Streamlink(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kw: Any) -> None:
            super().init_poolmanager(*args, ssl_context=context, **kw)

        def send(self, *args: Any, verify: Any = True, **kw: Any) -> Any:
            given = self.poolmanager.connection_pool_kw["ssl_context"]
            given.check_hostname = bool(verify)
            given.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
            return super().send(*args, verify=verify, **kw)

    adapter = Streamlink()
    for _ in range(2):
        assert get(adapter, other_server.url, verify=False).ok
        refusal(get, adapter, other_server.url)


def test_without_cert_reqs_the_context_says_whether(
    get: Get, other_server: LocalServer, public_roots: None
) -> None:
    """As yt-dlp does it: the context is its own, and nobody writes onto the pool."""
    context = urllib3_context()

    class YtDlp(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kw: Any) -> None:
            super().init_poolmanager(*args, ssl_context=context, **kw)

        def cert_verify(self, *args: Any) -> None:
            pass

        def get_connection_with_tls_context(
            self, request: Any, verify: Any, proxies: Any = None, cert: Any = None
        ) -> Any:
            return self.poolmanager.connection_from_url(request.url)

    adapter = YtDlp()
    refusal(get, adapter, other_server.url)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    assert get(adapter, other_server.url).ok
    context.verify_mode = ssl.CERT_REQUIRED
    refusal(get, adapter, other_server.url)


class Scraper:
    """As cloudscraper: puts its own `wrap_socket` onto a context."""

    def __init__(self, context: ssl.SSLContext, name: str | None = None) -> None:
        self.context = context
        self.name = name
        self.calls = 0
        self.wrap: Any = context.wrap_socket
        context.wrap_socket = self.wrap_socket  # type: ignore[method-assign]

    def wrap_socket(self, *args: Any, **kw: Any) -> Any:
        self.calls += 1
        self.context.check_hostname = self.name is None
        return self.wrap(*args, **{**kw, "server_hostname": self.name or kw["server_hostname"]})


def test_a_replaced_wrap_socket_is_called(
    get: Get, certified_servers: dict[str, tuple[str, str]], client_cert: ClientCert,
    public_roots: None,
) -> None:  # fmt: skip
    url = certified_servers["good"][0]
    scraper = Scraper(create_urllib3_context())
    adapter = with_keywords(HTTPAdapter, ssl_context=scraper.context)
    assert get(adapter, url).ok
    assert scraper.calls == 1
    for options in ({"verify": False}, {"cert": client_cert.combined}):
        assert "cannot be fitted" in refusal(get, adapter, url, **options)
    refusal(get, adapter, certified_servers["unknown"][0])


def test_a_replaced_wrap_socket_that_checks_no_name(
    get: Get, certified_servers: dict[str, tuple[str, str]], public_roots: None
) -> None:
    scraper = Scraper(create_urllib3_context(), "else.example.test")
    adapter = with_keywords(HTTPAdapter, ssl_context=scraper.context)
    text = refusal(get, adapter, certified_servers["wrong name"][0])
    assert "'127.0.0.1' doesn't match 'else.example.test'" in text


class ForeignContext:
    """As urllib3's pyOpenSSL: shakes hands while it wraps, and gives no `ssl.SSLSocket`."""

    def __init__(self) -> None:
        self.real = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.real.check_hostname = self.check_hostname = False
        self.verify_mode = ssl.CERT_NONE

    def load_verify_locations(self, **locations: Any) -> None:
        self.real.load_verify_locations(**locations)

    def wrap_socket(self, sock: Any, server_hostname: str, **options: Any) -> ForeignSocket:
        self.real.verify_mode = self.verify_mode
        return ForeignSocket(self.real.wrap_socket(sock, server_hostname=server_hostname))


class ForeignSocket:
    def __init__(self, real: ssl.SSLSocket) -> None:
        for name in (
            *("recv", "recv_into", "sendall", "close", "fileno", "settimeout", "getpeercert"),
            *("version", "selected_alpn_protocol", "shutdown"),
        ):
            setattr(self, name, getattr(real, name))


def test_a_foreign_context(
    get: Get, certified_servers: dict[str, tuple[str, str]], client_cert: ClientCert,
    public_roots: None,
) -> None:  # fmt: skip
    adapter = with_keywords(HTTPAdapter, ssl_context=ForeignContext())
    response = get(adapter, certified_servers["good"][0] + "/bytes/100000")
    assert len(response.content) == 100_000
    refusal(get, adapter, certified_servers["unknown"][0])
    refusal(get, adapter, certified_servers["expired"][0])
    assert "doesn't match" in refusal(get, adapter, certified_servers["wrong name"][0])
    for options in ({"verify": False}, {"cert": client_cert.combined}):
        text = refusal(get, adapter, certified_servers["good"][0], **options)
        assert "ForeignContext, cannot be fitted" in text


def test_a_foreign_context_sends_bodies(
    get: Get, certified_servers: dict[str, tuple[str, str]]
) -> None:
    adapter = with_keywords(HTTPAdapter, ssl_context=ForeignContext())
    url = certified_servers["unknown"][0] + "/upload"
    response = get(adapter, url, data=b"x" * 300_000, verify=False)
    assert response.json()["length"] == 300_000


def test_a_context_that_offers_http2(get: Get, serve: Serve, ca: trustme.CA) -> None:
    context = server_context(ca)
    context.set_alpn_protocols(["h2", "http/1.1"])

    def handler(peer: Peer) -> None:
        while peer.recv_request() is not None:
            peer.respond(200)

    server = serve(handler, tls=context)
    given = trusting(ca)
    given.set_alpn_protocols(["h2", "http/1.1"])
    text = refusal(get, with_keywords(HTTPAdapter, ssl_context=given), server.url)
    assert 'set_alpn_protocols(["http/1.1"])' in text


# --- HTTPAdapter(ssl_context=...) ---


@pytest.mark.parametrize(
    ("attributes", "options", "text"),
    [
        ({}, {"verify": False}, "verify=False cannot be honoured"),
        (UNCHECKED, {"verify": False}, "verify=False cannot be honoured"),
        (UNVERIFYING, {}, "verify=True cannot be honoured"),
        ({}, {"cert": "cert"}, "a client certificate (cert) cannot be added"),
        ({}, {"verify": "bundle"}, "bundle' cannot be added to the ssl_context"),
    ],
)
def test_what_contradicts_the_adapters_context_is_refused(
    attributes: dict[str, Any], options: dict[str, Any], text: str, get: Get,
    tls_server: LocalServer, ca: trustme.CA, tmp_path: Path,
) -> None:  # fmt: skip
    for name in ("cert", "bundle"):
        (tmp_path / name).write_text("not looked at")
    options = {
        key: str(tmp_path / value) if isinstance(value, str) else value
        for key, value in options.items()
    }
    adapter = HTTPAdapter(ssl_context=trusting(ca, **attributes))
    assert text in refusal(get, adapter, tls_server.url, **options)
    assert tls_server.accepted == 0


def test_the_adapters_context_and_a_request_that_verifies_nothing(
    get: Get, certified_servers: dict[str, tuple[str, str]], ca: trustme.CA
) -> None:
    class Keywords(HTTPAdapter):
        def __init__(self, given: ssl.SSLContext, **keywords: Any) -> None:
            self.keywords = keywords
            super().__init__(ssl_context=given)

        def init_poolmanager(self, *args: Any, **kw: Any) -> None:
            super().init_poolmanager(*args, **kw, **self.keywords)

    url, pin = certified_servers["unknown"]
    pem = ca.cert_pem.bytes().decode()
    assert get(Keywords(trusting(ca, **UNVERIFYING), ca_cert_data=pem), url, verify=False).ok
    pinned = Keywords(trusting(ca), assert_fingerprint=pin)  # it is known which one is meant
    assert get(pinned, url, verify=False).ok
    assert "Fingerprints" in refusal(get, pinned, certified_servers["good"][0], verify=False)
    text = refusal(get, Keywords(trusting(ca), ca_cert_data=pem), url)
    assert "ca_cert_data' cannot be added to the ssl_context" in text


def test_the_adapters_context_is_named_only_where_it_is_to_blame(
    get: Get, certified_servers: dict[str, tuple[str, str]], ca: trustme.CA, ca_bundle: str
) -> None:
    alone = HTTPAdapter(ssl_context=trusting(ca))
    assert "its own roots only" in refusal(get, alone, certified_servers["unknown"][0])
    assert "ssl_context" not in refusal(get, alone, certified_servers["expired"][0])
    loaded = with_keywords(HTTPAdapter, ssl_context=urllib3_context())
    url = certified_servers["unknown"][0]
    assert "ssl_context" not in refusal(get, loaded, url, verify=ca_bundle)


def test_the_adapters_context_checks_names_whatever_it_says(
    get: Get, certified_servers: dict[str, tuple[str, str]], ca: trustme.CA
) -> None:
    adapter = HTTPAdapter(ssl_context=trusting(ca, **UNCHECKED))
    assert get(adapter, certified_servers["good"][0]).ok
    assert "doesn't match" in refusal(get, adapter, certified_servers["wrong name"][0])


def test_the_adapters_context_with_assertions(
    get: Get, certified_servers: dict[str, tuple[str, str]], ca: trustme.CA
) -> None:
    class Asserting(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kw: Any) -> None:
            super().init_poolmanager(*args, assert_hostname="else.example.test", **kw)

    given = trusting(ca)
    before = state(given)
    adapter = Asserting(ssl_context=given)
    assert get(adapter, certified_servers["wrong name"][0]).ok
    refusal(get, adapter, certified_servers["good"][0])
    assert state(given) == before


# --- below ---


def test_a_context_that_is_changed_while_a_connection_is_made(
    get: Get, tls_server: LocalServer, ca: trustme.CA
) -> None:
    class Changing(ssl.SSLContext):
        def wrap_socket(self, *args: Any, **kw: Any) -> Any:
            self.check_hostname, self.verify_mode = False, ssl.CERT_NONE
            return super().wrap_socket(*args, **kw)

    given = Changing(ssl.PROTOCOL_TLS_CLIENT)
    ca.configure_trust(given)
    adapter = with_keywords(HTTPAdapter, ssl_context=given)
    assert "the ssl_context was changed" in refusal(get, adapter, tls_server.url)


def test_nothing_keeps_a_context_alive(
    tls_server: LocalServer, ca: trustme.CA, other_bundle: str, client_cert: ClientCert
) -> None:
    given = trusting(ca)
    alive = weakref.ref(given)
    with requests.Session() as session:
        session.mount("https://", with_keywords(HTTPAdapter, ssl_context=given))
        assert session.get(tls_server.url).ok
        assert session.get(tls_server.url, verify=other_bundle).ok
        assert session.get(tls_server.url, cert=client_cert.combined).ok
    del session, given
    gc.collect()
    assert alive() is None


def test_equal_wishes_find_the_same_object_in_every_thread(ca: trustme.CA) -> None:
    given = trusting(ca)
    start = threading.Barrier(8)
    found: list[FittedContext] = []

    def ask() -> None:
        start.wait(5)
        found.append(adapt(given, TLSRequirements(True, fingerprint="00" * 32)))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, found))) == 1
    assert adapt(given, TLSRequirements(True)) is not found[0]


@pytest.mark.parametrize(
    ("ask", "text"),
    [
        (TLSRequirements(True), None),
        (TLSRequirements(False), None),
        (TLSRequirements(True, hostname="localhost"), None),
        (TLSRequirements(True, hostname="nobody.test"), "doesn't match"),
        (TLSRequirements(True, fingerprint="00" * 32), "Fingerprints did not match"),
        (TLSRequirements(False, fingerprint="00" * 32), "Fingerprints did not match"),
    ],
)
def test_the_same_checks_in_memory(
    ask: TLSRequirements, text: str | None, ca: trustme.CA, server_tls_context: ssl.SSLContext
) -> None:
    """As it is done inside of a proxy's TLS."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = adapt(trusting(ca), ask).wrap_bio(to_client, to_server, server_hostname="example.test")
    server = server_tls_context.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server):
        with pytest.raises(ssl.SSLWantReadError):
            side.do_handshake()
    if text is None:
        client.do_handshake()
        return
    with pytest.raises(ssl.SSLError, match=text):
        client.do_handshake()


def test_the_same_checks_where_the_handshake_is_part_of_it(
    ca: trustme.CA, tls_server: LocalServer
) -> None:
    fitted = adapt(trusting(ca), TLSRequirements(True, fingerprint="00" * 32))
    with socket.create_connection((tls_server.host, tls_server.port)) as sock:
        with pytest.raises(ssl.SSLError, match="Fingerprints did not match"):
            fitted.wrap_socket(sock, server_hostname="127.0.0.1")


def test_a_copy_makes_sockets_of_the_same_class(
    get: Get, tls_server: LocalServer, ca: trustme.CA
) -> None:
    class Special(ssl.SSLSocket):
        pass

    given = trusting(ca)
    given.sslsocket_class = Special
    adapter = with_keywords(HTTPAdapter, ssl_context=given)
    response = get(adapter, tls_server.url + "/bytes/3000000", verify=False, stream=True)
    assert isinstance(response.raw.connection.sock, Special)
    response.close()


def test_a_context_that_cannot_work_in_memory() -> None:
    with pytest.raises(ssl.SSLError, match="ForeignContext cannot be used inside"):
        adapt(ForeignContext(), TLSRequirements(False)).wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO())


def test_a_class_of_contexts_that_cannot_be_made_again(
    get: Get, tls_server: LocalServer, ca: trustme.CA
) -> None:
    class Peculiar(ssl.SSLContext):
        def __new__(cls, one: int, more: str) -> Peculiar:
            return super().__new__(cls, one)

    given = Peculiar(ssl.PROTOCOL_TLS_CLIENT, "more")
    ca.configure_trust(given)
    adapter = with_keywords(HTTPAdapter, ssl_context=given)
    assert get(adapter, tls_server.url).ok
    text = refusal(get, adapter, tls_server.url, verify=False)
    assert "Peculiar, cannot be fitted to what the request asks" in text


def test_a_plan_without_cert_reqs_is_the_contexts(ca: trustme.CA) -> None:
    for attributes, unverified in (({}, False), (UNVERIFYING, True)):
        settings = TLSSettings(ssl_context=trusting(ca, **attributes))
        assert plan(settings, None).unverified is unverified
    assert not plan(TLSSettings(), None).unverified


def test_no_password_is_shown() -> None:
    settings = TLSSettings(cert_file="cert", key_file="key", key_password="sesame")
    assert "sesame" not in repr(plan(settings, None)) + repr(settings)
    assert repr(settings) == "<TLSSettings: cert_file, key_file, key_password>"


def test_what_is_not_ours_is_the_contexts(ca: trustme.CA) -> None:
    given = trusting(ca)
    fitted: Any = adapt(given, TLSRequirements(True))
    assert fitted.get_ca_certs() == given.get_ca_certs()


def test_only_so_many_copies_are_kept(
    get: Get, tls_server: LocalServer, ca: trustme.CA, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("httpcore_requests._caller_contexts.MAX_COPIES", 1)
    adapter = with_keywords(HTTPAdapter, ssl_context=trusting(ca))
    certs = [write_client_cert(ca, tmp_path, f"{name}@example.test").combined for name in "ab"]
    connections = [
        get(adapter, tls_server.url, cert=cert).headers["X-Connection"] for cert in certs * 2
    ]
    assert connections == ["1", "2", "3", "4"]


def test_the_warning_about_what_is_not_verified(tls_server: LocalServer) -> None:
    given = urllib3_context()
    with requests.Session() as session:
        session.mount("https://", with_keywords(HTTPAdapter, ssl_context=given))
        with pytest.warns(InsecureRequestWarning):
            assert session.get(tls_server.url, verify=False).ok
    assert urllib3.exceptions.InsecureRequestWarning is InsecureRequestWarning


# --- what the environment names ---


@needs("requests", "2.32.5")  # likewise
@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
@pytest.mark.parametrize(
    "keywords",
    [{}, {"ssl_context": "empty"}, {"assert_hostname": "localhost"}, {"ssl_minimum_version": 771}],
    ids=str,
)
@pytest.mark.parametrize("broken", [True, False])
def test_a_stale_variable_is_ignored_as_by_requests(
    get: Get,
    tls_server: LocalServer,
    ca_bundle: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    keywords: dict[str, Any],
    broken: bool,
) -> None:
    path = tmp_path / "stale"
    if broken and name == "SSL_CERT_FILE":
        path.write_text("no certificate")
    monkeypatch.setenv(name, str(path))
    monkeypatch.setattr(certifi, "where", lambda: ca_bundle)
    monkeypatch.setattr(requests.adapters, "DEFAULT_CA_BUNDLE_PATH", ca_bundle)
    for base in (HTTPAdapter, requests.adapters.HTTPAdapter):
        if keywords.get("ssl_context"):
            keywords = {"ssl_context": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)}
        adapter = with_keywords(base, **keywords)
        assert get(adapter, tls_server.url).status_code == 200


def test_what_a_stale_variable_leaves_is_still_verified(
    get: Get, other_server: LocalServer, ca_bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/no/such/file")
    monkeypatch.setattr(certifi, "where", lambda: ca_bundle)
    assert "CERTIFICATE_VERIFY_FAILED" in refusal(get, HTTPAdapter(), other_server.url)
    other_server.handshake_errors.clear()


# --- what a pool is found by ---


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
@pytest.mark.parametrize("nothing", [0, 0.0, "", None, (), b""], ids=repr)
def test_every_way_to_say_false_is_false(
    get: Get, other_server: LocalServer, ca_bundle: str, nothing: Any
) -> None:
    """0 == False, so a pool that is found by one of them must be the other's; and never True's."""
    adapter = HTTPAdapter()
    request = requests.Request("GET", other_server.url + "/").prepare()

    def pool(verify: Any) -> Any:
        return adapter.get_connection_with_tls_context(request, verify)

    for first in (nothing, False, True, nothing):
        pool(first)
    assert pool(nothing) is pool(False)
    assert pool(True) is not pool(False)
    assert adapter.send(request, verify=nothing, timeout=10).status_code == 200
    with pytest.raises(SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        adapter.send(request, verify=True, timeout=10)
    assert adapter.send(request, verify=nothing, timeout=10).status_code == 200
    with pytest.raises(SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        adapter.send(request, verify=ca_bundle, timeout=10)
    adapter.close()
    other_server.handshake_errors.clear()


@pytest.mark.parametrize("path", [Path, os.fsencode], ids=["Path", "bytes"])
def test_a_path_of_any_type_has_a_pool_of_its_own(
    tls_server: LocalServer, ca_bundle: str, path: Any
) -> None:
    """requests gives it the pool of ``verify=True``, where threads overwrite each other's roots."""
    adapter = HTTPAdapter()
    request = requests.Request("GET", tls_server.url + "/").prepare()
    found = adapter.get_connection_with_tls_context(request, path(ca_bundle))
    assert found is adapter.get_connection_with_tls_context(request, ca_bundle)
    assert found is not adapter.get_connection_with_tls_context(request, True)
    assert adapter.send(request, verify=path(ca_bundle), timeout=10).status_code == 200
    adapter.close()


def test_true_is_no_number(tls_server: LocalServer) -> None:
    """1 == True, but requests takes it for the path of a bundle."""
    adapter = HTTPAdapter()
    request = requests.Request("GET", tls_server.url + "/").prepare()
    adapter.get_connection_with_tls_context(request, 1)
    assert adapter._found is None or not adapter._found.pools
    adapter.close()


def test_a_name_check_that_is_switched_on_again(
    get: Get, tls_server: LocalServer, ca_bundle: str
) -> None:
    """False switches it off, 0 does not, and they are equal."""
    host = f"wrong.invalid:{tls_server.port}"
    adapter = HTTPAdapter(resolve={host: "127.0.0.1"})
    request = requests.Request("GET", f"https://{host}/").prepare()
    pool = adapter.get_connection_with_tls_context(request, ca_bundle)
    for value, accepted in ((False, True), (0, False), (False, True)):
        pool.assert_hostname = value
        if accepted:
            assert adapter.send(request, verify=ca_bundle, timeout=10).status_code == 200
        else:
            with pytest.raises(SSLError):
                adapter.send(request, verify=ca_bundle, timeout=10)
    adapter.close()
    tls_server.handshake_errors.clear()
