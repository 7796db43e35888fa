"""Whose certificates are trusted and shown: on each connection what was asked, and nothing else.

Owns: scenarios 4, 5, 25 and 42. Must not know: private parts of the packages.
Sources: the scenario rows; CVE-2024-35195, psf/requests#4322, #6726, python/cpython#95031,
sethmlarson/truststore#164.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import ssl
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme
from cryptography import x509
from requests.exceptions import SSLError
from urllib3.exceptions import InsecureRequestWarning
from urllib3.util.ssl_ import create_urllib3_context

from httpcore_requests import HTTPAdapter
from tests.support import PATIENCE
from tests.support.clients import MakeSession
from tests.support.proxies import ProxyServer
from tests.support.servers import LocalServer, Peer, ScriptedServer, Serve
from tests.support.tls import ClientCert, server_context, write_client_cert

pytestmark = pytest.mark.no_cover


@pytest.fixture
def asking_server(serve: Serve, ca: trustme.CA) -> ScriptedServer:
    """Asks for a client certificate, and answers with the name in it."""
    context = server_context(ca)
    context.verify_mode = ssl.CERT_OPTIONAL
    ca.configure_trust(context)

    def handler(peer: Peer) -> None:
        while (request := peer.recv_request()) is not None:
            shown: Any = peer.client_certificate
            name = dict(shown["subjectAltName"])["email"] if shown else ""
            headers = [("X-Connection", str(peer.number))]
            if request.wants_close:
                headers.append(("Connection", "close"))
            peer.respond(200, name.encode(), headers)
            if request.wants_close:
                return

    return serve(handler, tls=context)


@pytest.fixture
def other_ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def strange_server(other_ca: trustme.CA) -> Iterator[LocalServer]:
    """A server whose CA is not the one that the tests trust."""
    with LocalServer(tls=server_context(other_ca)) as running:
        yield running


# --- row 4 ---


class RecordingContext(ssl.SSLContext):
    """Notes what is done to it after it has made a connection, and what it loads."""

    loaded: list[Any]
    late: list[str]

    def _note(self, name: str) -> None:
        if self.__dict__.get("used"):
            self.late.append(name)

    def wrap_socket(self, *args: Any, **kw: Any) -> Any:
        self.__dict__["used"] = True
        return super().wrap_socket(*args, **kw)

    def load_verify_locations(self, *args: Any, **kw: Any) -> None:
        self._note("load_verify_locations")
        self.loaded.append(kw)
        super().load_verify_locations(*args, **kw)

    def load_cert_chain(self, *args: Any, **kw: Any) -> None:
        self._note("load_cert_chain")
        super().load_cert_chain(*args, **kw)

    def set_alpn_protocols(self, *args: Any) -> None:
        self._note("set_alpn_protocols")
        super().set_alpn_protocols(*args)

    def set_ciphers(self, *args: Any) -> None:
        self._note("set_ciphers")
        super().set_ciphers(*args)

    # Python's own find their class by its name in the module, where it is another one meanwhile.
    verify_flags: Any = 0
    verify_mode: Any

    def __setattr__(self, name: str, value: Any) -> None:
        self._note(name)
        if name == "verify_mode":
            SETTERS[name].__set__(self, value)
        else:
            super().__setattr__(name, value)


SETTERS: Any = vars(ssl.SSLContext.__mro__[1])


@pytest.fixture
def recording(monkeypatch: pytest.MonkeyPatch, asking_server: None) -> type[RecordingContext]:
    """From here on, every context is one that records."""
    RecordingContext.loaded, RecordingContext.late = [], []
    monkeypatch.setattr(ssl, "SSLContext", RecordingContext)
    return RecordingContext


def show_certificates(
    session: requests.Session, url: str, certs: dict[str, str], threads: int, connections: int
) -> None:
    """`connections` new ones for each certificate in each thread; each shows the asked one."""
    wrong: list[Any] = []
    start = threading.Barrier(threads)

    def work(names: list[str]) -> None:
        try:
            start.wait(PATIENCE)
            for _ in range(connections):
                for name in names:
                    shown = session.get(url, cert=certs[name], headers={"Connection": "close"}).text
                    if shown != name:
                        wrong.append((name, shown))
        except BaseException as exc:
            wrong.append(exc)

    # Half of the threads go the other way round, so that both are asked for at a time.
    orders = [list(certs), list(reversed(certs))]
    workers = [threading.Thread(target=work, args=(orders[n % 2],)) for n in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []


@pytest.fixture
def two_certs(ca: trustme.CA, tmp_path: Path) -> dict[str, str]:
    """Paths by the name inside."""
    return {
        f"{name}@example.test": write_client_cert(ca, tmp_path, f"{name}@example.test").combined
        for name in ("one", "two")
    }


def test_row_4_each_connection_shows_the_asked_certificate(
    make_session: MakeSession,
    asking_server: ScriptedServer,
    ca_bundle: str,
    two_certs: dict[str, str],
    recording: type[RecordingContext],
) -> None:
    """Row 4: "Contexts are built lazily once per (verify, cert, file identity) key and never
    changed after first use: 32 threads x 2 client certs x 1 000 new connections and the server
    sees exactly the asked cert each time; `load_verify_locations` runs once per key"; with fewer
    of each."""
    session = make_session()
    session.verify = ca_bundle
    assert recording.loaded == []
    show_certificates(session, asking_server.url, two_certs, threads=8, connections=10)
    assert asking_server.accepted == 8 * 2 * 10
    assert len(recording.loaded) == 2
    assert recording.late == []


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_row_4_each_connection_shows_the_asked_certificate_for_long(
    make_session: MakeSession,
    asking_server: ScriptedServer,
    ca_bundle: str,
    two_certs: dict[str, str],
    recording: type[RecordingContext],
) -> None:
    """Row 4: "32 threads x 2 client certs x 1 000 new connections and the server sees exactly the
    asked cert each time; `load_verify_locations` runs once per key"."""
    session = make_session()
    session.verify = ca_bundle
    show_certificates(session, asking_server.url, two_certs, threads=32, connections=1000)
    assert asking_server.accepted == 32 * 2 * 1000
    assert len(recording.loaded) == 2
    assert recording.late == []


def test_row_4_http_only_use_builds_none(
    make_session: MakeSession, server: LocalServer, monkeypatch: pytest.MonkeyPatch, ca_bundle: str
) -> None:
    """Row 4: "http-only use builds none"."""

    def refuse(*args: Any, **kw: Any) -> Any:
        raise AssertionError("a context was made")

    monkeypatch.setattr(ssl, "SSLContext", refuse)
    session = make_session()
    for options in ({}, {"verify": ca_bundle}, {"verify": False}, {"cert": "."}):
        assert session.get(server.url, **options).ok


def test_row_4_a_context_that_adapters_share_shows_the_asked_certificate(
    make_session: MakeSession,
    asking_server: ScriptedServer,
    ca_bundle: str,
    two_certs: dict[str, str],
) -> None:
    """Row 4: "the server sees exactly the asked cert each time", for a context that was handed in
    as well."""
    session = make_session(TLSAdapter(create_urllib3_context(ciphers="ECDHE+AESGCM")))
    session.verify = ca_bundle
    show_certificates(session, asking_server.url, two_certs, threads=8, connections=5)


# --- row 5 ---


def rewrite_in_place(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def put_another_there(path: Path, content: bytes) -> None:
    new = path.with_suffix(".new")
    new.write_bytes(content)
    shutil.copystat(path, new)
    os.replace(new, path)


def test_row_5_no_connection_serves_under_other_settings(
    make_session: MakeSession,
    asking_server: ScriptedServer,
    ca: trustme.CA,
    ca_bundle: str,
    two_certs: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Row 5: "To one host: verify False->True->path, cert A->B->None [...] never reuse a connection
    made under other settings; returning to an earlier setting does reuse"."""
    copy = tmp_path / "copy.pem"
    shutil.copy(ca_bundle, copy)
    monkeypatch.setenv("SSL_CERT_FILE", ca_bundle)  # what verify=True trusts
    one, two = two_certs.values()
    settings: list[dict[str, Any]] = [
        {"verify": False},
        {"verify": True},
        {"verify": str(copy)},
        {"cert": one},
        {"cert": two},
        {"verify": False, "cert": one},
        {"verify": str(copy), "cert": one},
    ]
    session = make_session()
    rounds = []
    for _ in range(3):
        responses = []
        for options in settings:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", InsecureRequestWarning)
                responses.append(session.get(asking_server.url, **options))
        rounds.append([response.headers["X-Connection"] for response in responses])
        names = [response.text.partition("@")[0] for response in responses]
        assert names == ["", "", "", "one", "two", "one", "one"]
    assert len(set(rounds[0])) == len(settings)
    assert rounds[0] == rounds[1] == rounds[2]


def test_row_5_settings_of_the_session(
    make_session: MakeSession,
    asking_server: ScriptedServer,
    ca_bundle: str,
    two_certs: dict[str, str],
) -> None:
    """Row 5: "`verify`/`cert` changed on a session": "never reuse a connection made under other
    settings; returning to an earlier setting does reuse"."""
    session = make_session()
    numbers = []
    one, two = two_certs.values()
    settings = [(ca_bundle, None), (False, None), (ca_bundle, one), (ca_bundle, two)]
    for verify, cert in settings * 2:
        session.verify, session.cert = verify, cert
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InsecureRequestWarning)
            numbers.append(session.get(asking_server.url).headers["X-Connection"])
    assert numbers == ["1", "2", "3", "4"] * 2


def test_row_5_an_unverified_connection_verifies_nobody(
    make_session: MakeSession, strange_server: LocalServer, ca_bundle: str
) -> None:
    """Row 5: "verify False->True->path [...] never reuse a connection made under other
    settings"."""
    session = make_session()
    with pytest.warns(InsecureRequestWarning):
        assert session.get(strange_server.url, verify=False).ok
    for verify in (True, ca_bundle):
        with pytest.raises(SSLError):
            session.get(strange_server.url, verify=verify)
    with pytest.warns(InsecureRequestWarning):
        assert session.get(strange_server.url, verify=False).headers["X-Connection"] == "1"


@pytest.mark.parametrize("change", [rewrite_in_place, put_another_there])
@pytest.mark.parametrize("given", [False, True], ids=["", "given context"])
def test_row_5_a_certificate_that_was_rewritten(
    make_session: MakeSession,
    asking_server: ScriptedServer,
    ca_bundle: str,
    two_certs: dict[str, str],
    tmp_path: Path,
    change: Callable[[Path, bytes], None],
    given: bool,
) -> None:
    """Row 5: "cert A rewritten in place (new mtime/inode) never reuse a connection made under other
    settings"."""
    one, two = (Path(path).read_bytes() for path in two_certs.values())
    path = tmp_path / "rotated.pem"
    path.write_bytes(one)
    session = make_session(TLSAdapter(create_urllib3_context()) if given else None)
    session.verify, session.cert = ca_bundle, str(path)
    seen = []
    for content in (one, one, two, two):
        if path.read_bytes() != content:
            change(path, content)
        response = session.get(asking_server.url)
        seen.append((response.text.partition("@")[0], response.headers["X-Connection"]))
    assert seen == [("one", "1"), ("one", "1"), ("two", "2"), ("two", "2")]


@pytest.mark.parametrize("change", [rewrite_in_place, put_another_there])
@pytest.mark.parametrize("given", [False, True], ids=["", "given context"])
def test_row_5_a_bundle_that_was_rewritten(
    make_session: MakeSession,
    tls_server: LocalServer,
    ca: trustme.CA,
    other_ca: trustme.CA,
    tmp_path: Path,
    change: Callable[[Path, bytes], None],
    given: bool,
) -> None:
    """Row 5: "2026 comment asks for file contents too": a CA that was taken out is not trusted any
    more."""
    path = tmp_path / "bundle.pem"
    path.write_bytes(ca.cert_pem.bytes())
    session = make_session(TLSAdapter(create_urllib3_context()) if given else None)
    session.verify = str(path)
    assert session.get(tls_server.url).ok
    change(path, other_ca.cert_pem.bytes())
    with pytest.raises(SSLError):
        session.get(tls_server.url)
    change(path, ca.cert_pem.bytes() + other_ca.cert_pem.bytes())
    assert session.get(tls_server.url).headers["X-Connection"] == "3"


# --- row 25 ---


def der(tag: int, content: bytes) -> bytes:
    """One ASN.1 value; X.690 section 8.1."""
    length = len(content)
    return bytes([tag, length] if length < 128 else [tag, 0x81, length]) + content


def hash_of(ca: trustme.CA) -> str:
    """What OpenSSL looks for in a directory: X509_NAME_hash(3) over the canonical subject."""
    subject = x509.load_pem_x509_certificate(ca.cert_pem.bytes()).subject
    canonical = b""
    for attribute in subject:
        numbers = [int(part) for part in attribute.oid.dotted_string.split(".")]
        assert numbers[:2] == [2, 5]
        text = " ".join(str(attribute.value).lower().split()).encode()
        oid = der(0x06, bytes([2 * 40 + 5, *numbers[2:]]))
        canonical += der(0x31, der(0x30, oid + der(0x0C, text)))
    return hashlib.sha1(canonical).digest()[3::-1].hex()


@pytest.fixture
def ca_directory(ca: trustme.CA, tmp_path: Path) -> str:
    folder = tmp_path / "certs"
    folder.mkdir()
    (folder / f"{hash_of(ca)}.0").write_bytes(ca.cert_pem.bytes())
    return str(folder)


VARIABLES = [
    *[("REQUESTS_CA_BUNDLE", "file"), ("REQUESTS_CA_BUNDLE", "directory")],
    *[("CURL_CA_BUNDLE", "file"), ("SSL_CERT_FILE", "file"), ("SSL_CERT_DIR", "directory")],
]


@pytest.mark.parametrize(("variable", "kind"), VARIABLES)
@pytest.mark.parametrize("given", [False, True], ids=["", "given context"])
def test_row_25_the_variables(
    make_session: MakeSession,
    tls_server: LocalServer,
    strange_server: LocalServer,
    ca_bundle: str,
    ca_directory: str,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    kind: str,
    given: bool,
) -> None:
    """Row 25: "`verify=True` honours REQUESTS_CA_BUNDLE, SSL_CERT_FILE/DIR"."""
    session = make_session(TLSAdapter(create_urllib3_context()) if given else None)
    monkeypatch.setenv(variable, ca_bundle if kind == "file" else ca_directory)
    assert session.get(tls_server.url, verify=True).ok
    with pytest.raises(SSLError):
        session.get(strange_server.url, verify=True)


def test_row_25_the_variables_of_requests_need_trust_env(
    make_session: MakeSession,
    tls_server: LocalServer,
    ca_bundle: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Row 25: "`verify=True` honours REQUESTS_CA_BUNDLE", when and as requests does."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", ca_bundle)
    session = make_session()
    session.trust_env = False
    with pytest.raises(SSLError):
        session.get(tls_server.url)
    session.trust_env = True
    assert session.get(tls_server.url).ok
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such/bundle")
    with pytest.raises(OSError, match="TLS CA certificate bundle, invalid path: /no/such/bundle"):
        session.get(tls_server.url)


@pytest.mark.parametrize(
    ("given", "set_to", "says"),
    [
        ("", True, "a CA that is trusted here"),
        ("", "ca.pem", "a CA in {ca!r}: to trust"),
        ("REQUESTS_CA_BUNDLE", True, "a CA in {ca!r} (REQUESTS_CA_BUNDLE, which goes before"),
        ("CURL_CA_BUNDLE", "no.pem", "a CA in {ca!r} (CURL_CA_BUNDLE, which goes before session."),
    ],
)
def test_an_error_names_the_authorities(
    make_session: MakeSession,
    strange_server: LocalServer,
    ca_bundle: str,
    monkeypatch: pytest.MonkeyPatch,
    given: str,
    set_to: bool | str,
    says: str,
) -> None:
    """psf/requests#3829: a variable of the environment goes before what the program says."""
    if given:
        monkeypatch.setenv(given, ca_bundle)
    session = make_session()
    session.verify = ca_bundle if set_to == "ca.pem" else set_to
    with pytest.raises(SSLError) as caught:
        session.get(strange_server.url)
    assert says.format(ca=ca_bundle) in str(caught.value)


def test_row_25_a_directory(
    make_session: MakeSession,
    tls_server: LocalServer,
    strange_server: LocalServer,
    ca_directory: str,
) -> None:
    """Row 25: "REQUESTS_CA_BUNDLE, SSL_CERT_FILE/DIR"; `verify` too may name a directory."""
    session = make_session()
    assert session.get(tls_server.url, verify=ca_directory).ok
    with pytest.raises(SSLError):
        session.get(strange_server.url, verify=ca_directory)


@pytest.fixture
def truststore() -> Any:
    return pytest.importorskip("truststore")


@pytest.mark.parametrize("door", ["adapter", "pool manager"])
def test_row_25_a_context_of_truststore(
    make_session: MakeSession,
    truststore: Any,
    tls_server: LocalServer,
    strange_server: LocalServer,
    proxy: ProxyServer,
    ca_bundle: str,
    monkeypatch: pytest.MonkeyPatch,
    door: str,
) -> None:
    """Row 25: "`HTTPAdapter(ssl_context=truststore.SSLContext(...))` [...] work for origin and for
    [...] proxy, with no private hook": what the system trusts, and nothing added to it."""
    for name in ("create_ssl_context", "load_roots"):
        monkeypatch.setattr(f"httpcore.{name}", lambda *args, **kw: pytest.fail("whose roots?"))
    monkeypatch.setenv("SSL_CERT_FILE", ca_bundle)  # the system's, to truststore
    context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    adapter = HTTPAdapter(ssl_context=context) if door == "adapter" else TLSAdapter(context)
    session = make_session(adapter)
    for proxies in ({}, {"https": proxy.url}):
        assert session.get(tls_server.url, proxies=proxies).ok
        with pytest.raises(SSLError):
            session.get(strange_server.url, proxies=proxies)
    assert proxy.tunnels == 2


def test_row_25_a_context_of_truststore_and_what_requests_ask(
    make_session: MakeSession,
    truststore: Any,
    asking_server: ScriptedServer,
    strange_server: LocalServer,
    ca: trustme.CA,
    other_ca: trustme.CA,
    ca_bundle: str,
    two_certs: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Row 25: "`HTTPAdapter(ssl_context=truststore.SSLContext(...))`", in pip's way: `cert`,
    `verify` as path and `verify=False` hold for the requests that ask, and for no other."""
    monkeypatch.setenv("SSL_CERT_FILE", ca_bundle)
    other = tmp_path / "other.pem"
    other.write_bytes(other_ca.cert_pem.bytes())
    session = make_session(TLSAdapter(truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)))
    for _ in range(2):
        assert session.get(asking_server.url).text == ""
        for name, path in two_certs.items():
            assert session.get(asking_server.url, cert=path).text == name
        assert session.get(strange_server.url, verify=str(other)).ok
        with pytest.warns(InsecureRequestWarning):
            assert session.get(strange_server.url, verify=False).ok
        with pytest.raises(SSLError):
            session.get(strange_server.url)


INJECTED = """
import os, sys
order, url, bundle = sys.argv[1:]
import certifi, requests, truststore
certifi.where = lambda: bundle

def outcome():
    try:
        return session.get(url).status_code
    except requests.exceptions.SSLError:
        return "refused"

if order == "before":
    truststore.inject_into_ssl()
import httpcore_requests
session = requests.Session()
session.mount("https://", httpcore_requests.HTTPAdapter())
if order == "after":
    print(outcome())  # by certifi
    truststore.inject_into_ssl()
print(outcome())  # the system does not trust it
os.environ["SSL_CERT_FILE"] = bundle
print(outcome())  # now it does
"""


@pytest.mark.parametrize(
    ("order", "expected"), [("before", "refused 200"), ("after", "200 refused 200")]
)
def test_row_25_truststore_injected(
    truststore: Any, tls_server: LocalServer, ca_bundle: str, order: str, expected: str
) -> None:
    """Row 25: "`truststore.inject_into_ssl()` [...] work for origin [...], with no private hook":
    before our import, and after connections were made."""
    arguments = [sys.executable, "-c", INJECTED, order, tls_server.url, ca_bundle]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.split() == expected.split()


# --- row 42 ---


class TLSAdapter(HTTPAdapter):
    """The adapter of so many answers on the web."""

    def __init__(self, ssl_context: Any) -> None:
        self.given = ssl_context
        super().__init__()

    def init_poolmanager(self, *args: Any, **kw: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self.given, **kw)

    def proxy_manager_for(self, *args: Any, **kw: Any) -> Any:
        return super().proxy_manager_for(*args, ssl_context=self.given, **kw)


def state(context: ssl.SSLContext) -> Any:
    """All that can be read of a context."""
    return (
        context.verify_mode, context.check_hostname, context.options, context.verify_flags,
        context.minimum_version, context.maximum_version, context.get_ciphers(),
        context.get_ca_certs(), context.post_handshake_auth, context.hostname_checks_common_name,
    )  # fmt: skip


# One suite of TLS 1.2, so that it can be seen whose settings a connection has.
SUITE = "ECDHE-ECDSA-AES256-GCM-SHA384"


def one_suite() -> ssl.SSLContext:
    context = create_urllib3_context(ciphers=SUITE)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


def suite_of(response: requests.Response) -> str:
    sock: Any = response.raw.connection.sock
    name: str = sock.cipher()[0]
    response.close()
    return name


@pytest.mark.parametrize("proxied", [False, True], ids=["direct", "proxy"])
def test_row_42_a_context_for_the_adapter(
    make_session: MakeSession,
    tls_server: LocalServer,
    strange_server: LocalServer,
    proxy: ProxyServer,
    ca: trustme.CA,
    proxied: bool,
) -> None:
    """Row 42: "`HTTPAdapter(ssl_context=ctx)`; [...] the given context is never altered"."""
    given = one_suite()
    ca.configure_trust(given)
    before = state(given)
    session = make_session(HTTPAdapter(ssl_context=given))
    if proxied:
        session.proxies = {"https": proxy.url}
    url = tls_server.url + "/bytes/3000000"
    assert suite_of(session.get(url, stream=True)) == SUITE
    with pytest.raises(SSLError):
        session.get(strange_server.url)
    for options in ({"verify": False}, {"cert": os.devnull}):
        with pytest.raises(SSLError, match="ssl_context"):
            session.get(tls_server.url, **options)
    assert state(given) == before


def test_row_42_default_authorities_load_only_if_documented(
    make_session: MakeSession,
    tls_server: LocalServer,
    ca_bundle: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Row 42: "the given context is never altered, and default CAs load only if documented": not
    into this one, and the error says what to do."""
    monkeypatch.setenv("SSL_CERT_FILE", ca_bundle)
    given = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    session = make_session(HTTPAdapter(ssl_context=given))
    with pytest.raises(SSLError) as caught:
        session.get(tls_server.url)
    assert "holds no CA certificate: call its load_default_certs()" in str(caught.value)
    assert "load_verify_locations(certifi.where())" in str(caught.value)
    assert given.cert_store_stats()["x509"] == 0
    given.load_default_certs()
    assert session.get(tls_server.url).ok


def test_row_42_a_variable_of_requests_is_no_contradiction(
    make_session: MakeSession, tls_server: LocalServer, ca: trustme.CA,
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, other_ca: trustme.CA,
) -> None:  # fmt: skip
    """Row 42: "`HTTPAdapter(ssl_context=ctx)`" decides, whatever REQUESTS_CA_BUNDLE names; a
    `verify` that the program names is not passed over in silence."""
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(other_ca.cert_pem.bytes())
    given = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ca.configure_trust(given)
    session = make_session(HTTPAdapter(ssl_context=given))
    with pytest.raises(SSLError, match=r"bundle\.pem' cannot be added to the ssl_context"):
        session.get(tls_server.url, verify=str(bundle))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    assert session.get(tls_server.url).ok


@pytest.mark.parametrize("proxied", [False, True], ids=["direct", "proxy"])
@pytest.mark.parametrize("how", ["True", "path", "False", "cert"])
def test_row_42_old_subclasses_keep_working(
    make_session: MakeSession,
    asking_server: ScriptedServer,
    strange_server: LocalServer,
    proxy: ProxyServer,
    ca_bundle: str,
    client_cert: ClientCert,
    monkeypatch: pytest.MonkeyPatch,
    proxied: bool,
    how: str,
) -> None:
    """Row 42: "old subclasses passing it via `init_poolmanager`/`proxy_manager_for` keep working;
    the given context is never altered, and default CAs load only if documented"."""
    monkeypatch.setenv("SSL_CERT_FILE", ca_bundle)
    given = one_suite()
    if how == "False":
        given.check_hostname = False  # as urllib3 needs it
    before = state(given)
    session = make_session(TLSAdapter(given))
    if proxied:
        session.proxies = {"https": proxy.url}
    options: dict[str, Any] = {
        "True": {"verify": True},
        "path": {"verify": ca_bundle},
        "False": {"verify": False},
        "cert": {"cert": client_cert.combined},
    }[how]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InsecureRequestWarning)
        response = session.get(asking_server.url, stream=True, **options)
        assert response.raw.reused is False
        assert response.text == ("client@example.test" if how == "cert" else "")
        if how == "False":
            assert session.get(strange_server.url, **options).ok
        else:
            with pytest.raises(SSLError):
                session.get(strange_server.url, **options)
    assert proxy.tunnels == (2 if proxied else 0)
    after = state(given)
    assert after[:7] == before[:7]
    # As documented: the first roots that are asked of a context without any.
    assert len(after[7]) == (1 if how in ("True", "path") else 0)


@pytest.mark.parametrize("options", [{}, {"verify": False}, {"cert": True}])
def test_row_42_legacy_renegotiation_and_ciphers_hold_whatever_is_asked(
    make_session: MakeSession,
    tls_server: LocalServer,
    ca_bundle: str,
    client_cert: ClientCert,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
) -> None:
    """Row 42: "Pass an SSLContext / ciphers / legacy renegotiation"."""
    monkeypatch.setenv("SSL_CERT_FILE", ca_bundle)
    legacy = 0x4  # SSL_OP_LEGACY_SERVER_CONNECT, which Python names since 3.12
    given = one_suite()
    given.options |= legacy
    if "cert" in options:
        options = {"cert": client_cert.combined}
    session = make_session(TLSAdapter(given))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InsecureRequestWarning)
        response = session.get(tls_server.url + "/bytes/3000000", stream=True, **options)
    assert response.raw.connection.sock.context.options & legacy
    assert suite_of(response) == SUITE
