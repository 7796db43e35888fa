"""TLS contexts: what is in them, when two askers share one, and when they must not.

Owns: `httpcore._ssl`. Must not know: connections; `test_backends` does handshakes.
"""

from __future__ import annotations

import gc
import itertools
import os
import re
import socket
import ssl
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

import certifi
import pytest
import trustme
from cryptography.hazmat.primitives import serialization

import httpcore
from httpcore import _ssl
from httpcore._backends import tls_begin
from httpcore._ssl import create_ssl_context
from tests.support import tls
from tests.support.interrupting import interrupt_at
from tests.support.servers import LocalServer


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch: pytest.MonkeyPatch) -> dict[object, ssl.SSLContext]:
    cache: dict[object, ssl.SSLContext] = {}
    monkeypatch.setattr(_ssl, "_contexts", cache)
    monkeypatch.setattr(_ssl, "_in_use", weakref.WeakValueDictionary())
    return cache


def test_the_default_verifies_and_offers_http11(
    empty_cache: dict[object, ssl.SSLContext],
) -> None:
    context = httpcore.default_ssl_context()
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert len(context.get_ca_certs()) > 50  # certifi's roots
    assert httpcore.default_ssl_context() is context
    assert create_ssl_context(True) is context
    assert len(empty_cache) == 1


@pytest.mark.parametrize("verify", [False, None])
def test_without_verification(verify: Any) -> None:
    context = create_ssl_context(verify)
    assert context.verify_mode == ssl.CERT_NONE
    assert not context.check_hostname
    assert context is create_ssl_context(False)
    assert context is not create_ssl_context(True)


def test_a_bundle_as_str_and_path(ca_bundle: str) -> None:
    context = create_ssl_context(ca_bundle)
    assert len(context.get_ca_certs()) == 1
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
    assert create_ssl_context(Path(ca_bundle)) is context


def test_a_directory_of_hashed_certificates(tmp_path: Path) -> None:
    context = create_ssl_context(tmp_path)
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.get_ca_certs() == []  # OpenSSL looks into it when it needs one


def shake(context: ssl.SSLContext, server_context: ssl.SSLContext) -> ssl.SSLObject:
    """A connection of `context` to a server on "localhost", in memory, after its handshake."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(to_client, to_server, server_hostname="localhost")
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            pass
    return client


def test_alpn_offers_http11(server_tls_context: ssl.SSLContext, ca_bundle: str) -> None:
    client = shake(create_ssl_context(ca_bundle), server_tls_context)
    assert client.selected_alpn_protocol() == "http/1.1"


def test_a_common_name_is_no_host_name(ca: trustme.CA, ca_bundle: str) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("someone@example.test", common_name="localhost").configure_cert(server)
    with pytest.raises(ssl.SSLCertVerificationError, match="localhost"):
        shake(create_ssl_context(ca_bundle), server)


def test_a_certificate_may_be_asked_for_after_the_handshake() -> None:
    assert create_ssl_context().post_handshake_auth


@pytest.mark.skipif(sys.version_info < (3, 13), reason="Python's own flags, and they are of 3.13")
def test_verify_flags_are_those_of_python() -> None:
    assert create_ssl_context().verify_flags == ssl.create_default_context().verify_flags


def test_client_certificates_in_every_spelling(client_cert: tls.ClientCert) -> None:
    cert, key, combined = client_cert
    contexts = [
        create_ssl_context(cert=combined),
        create_ssl_context(cert=Path(combined)),
        create_ssl_context(cert=(cert, key)),
        create_ssl_context(cert=[cert, key]),  # type: ignore[arg-type]
        create_ssl_context(cert=(cert, key, "unused password")),
    ]
    assert contexts[0] is contexts[1]
    assert contexts[2] is contexts[3]
    assert len({id(context) for context in contexts}) == 3


def test_client_certificates_from_memory(
    client_cert: tls.ClientCert, ca_bundle: str, mutual_tls_context: ssl.SSLContext, tmp_path: Path
) -> None:
    cert, key, combined = (Path(part).read_bytes() for part in client_cert)
    locked = Path(encrypted(client_cert, tmp_path / "key.pem", "sesame")).read_bytes()
    descriptors = len(os.listdir("/dev/fd")) if os.path.isdir("/dev/fd") else 0
    with LocalServer(tls=mutual_tls_context) as server:
        for spelling in (combined, (cert, key), (client_cert.cert, key), (cert, locked, "sesame")):
            context = create_ssl_context(ca_bundle, spelling)
            assert create_ssl_context(ca_bundle, spelling) is context
            with httpcore.ConnectionPool(ssl_context=context) as pool:
                assert pool.request("GET", server.url).status == 200
    with pytest.raises(ssl.SSLError, match="key in memory is encrypted: give its password"):
        create_ssl_context(cert=(cert, locked))
    with pytest.raises(ssl.SSLError):
        create_ssl_context(cert=b"nonsense")
    if descriptors:
        assert len(os.listdir("/dev/fd")) == descriptors
    assert key not in str(_ssl._contexts.keys()).encode()


def encrypted(client_cert: tls.ClientCert, path: Path, password: str) -> str:
    key = serialization.load_pem_private_key(Path(client_cert.key).read_bytes(), None)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(password.encode()),
        )
    )
    return str(path)


def test_an_encrypted_key_needs_its_password(client_cert: tls.ClientCert, tmp_path: Path) -> None:
    key = encrypted(client_cert, tmp_path / "key.pem", "sesame")
    right = create_ssl_context(cert=(client_cert.cert, key, "sesame"))
    with pytest.raises(ssl.SSLError):
        create_ssl_context(cert=(client_cert.cert, key, "wrong"))
    assert create_ssl_context(cert=(client_cert.cert, key, "sesame")) is right


def test_an_encrypted_key_without_its_password_asks_nobody(
    client_cert: tls.ClientCert, tmp_path: Path
) -> None:
    key = encrypted(client_cert, tmp_path / "key.pem", "sesame")
    with pytest.raises(ssl.SSLError) as caught:
        create_ssl_context(cert=(client_cert.cert, key))
    assert str(caught.value) == f"the TLS client key in {key} is encrypted: give its password"


# --- more than verify and cert ---


def certificates(context: ssl.SSLContext) -> int:
    return context.cert_store_stats()["x509"]


def test_further_roots_stand_in_place_of_the_default_ones(ca: trustme.CA, tmp_path: Path) -> None:
    pem = ca.cert_pem.bytes().decode()
    for data in (pem, ssl.PEM_cert_to_DER_cert(pem)):
        context = create_ssl_context(ca_data=data)
        assert certificates(context) == 1
        assert create_ssl_context(ca_data=data) is context
    assert certificates(create_ssl_context(ca_dir=tmp_path)) == 0
    assert create_ssl_context(ca_dir=tmp_path) is create_ssl_context(ca_dir=str(tmp_path))


def test_further_roots_add_up_to_a_bundle(ca_bundle: str, tmp_path: Path) -> None:
    other = trustme.CA().cert_pem.bytes().decode()
    context = create_ssl_context(ca_bundle, ca_dir=tmp_path, ca_data=other)
    assert certificates(context) == 2
    assert context is not create_ssl_context(ca_bundle)
    with pytest.raises(FileNotFoundError, match="/no/such"):
        create_ssl_context(ca_bundle, ca_dir="/no/such")


def test_versions() -> None:
    context = create_ssl_context(
        minimum_version=ssl.TLSVersion.TLSv1_3, maximum_version=ssl.TLSVersion.TLSv1_3
    )
    assert context.minimum_version == context.maximum_version == ssl.TLSVersion.TLSv1_3
    assert create_ssl_context(minimum_version=ssl.TLSVersion.TLSv1_3) is not context
    assert create_ssl_context() is not context


def test_without_the_name(ca_bundle: str) -> None:
    context = create_ssl_context(ca_bundle, check_hostname=False)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, False)
    assert context is not create_ssl_context(ca_bundle)


def test_roots_for_a_context_of_ones_own(ca: trustme.CA, ca_bundle: str) -> None:
    mine = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    httpcore.load_roots(mine, False)
    assert certificates(mine) == 0
    httpcore.load_roots(mine, ca_bundle)
    assert certificates(mine) == 1
    httpcore.load_roots(mine, ca_data=trustme.CA().cert_pem.bytes().decode())
    assert certificates(mine) == 2
    httpcore.load_roots(mine)
    assert certificates(mine) == 2 + certificates(create_ssl_context())


class SystemContext(ssl.SSLContext):
    """As truststore's: its trust is elsewhere."""

    verify_flags: Any = 0  # Python's own finds its class by name, and here that is another one

    def cert_store_stats(self) -> dict[str, int]:
        raise NotImplementedError

    @property
    def held(self) -> int:
        return super().cert_store_stats()["x509"]


def test_no_default_roots_for_a_context_that_trusts_the_system(
    monkeypatch: pytest.MonkeyPatch, ca_bundle: str
) -> None:
    monkeypatch.setattr(ssl, "SSLContext", SystemContext)
    context: Any = create_ssl_context()
    assert isinstance(context, SystemContext)
    assert context.held == 0
    asked: Any = create_ssl_context(ca_bundle)
    assert asked.held == 1  # this was asked for


# --- protocols ---

BOTH = ("h2", "http/1.1")


@pytest.fixture
def willing(ca: trustme.CA) -> ssl.SSLContext:
    """Of a server that likes HTTP/2 best."""
    context = tls.server_context(ca)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


def chosen(context: ssl.SSLContext, willing: ssl.SSLContext) -> str | None:
    """What such a server agrees on with `context`."""
    return shake(context, willing).selected_alpn_protocol()


def test_each_set_of_protocols_has_contexts_of_its_own(
    willing: ssl.SSLContext, ca_bundle: str
) -> None:
    plain, both = create_ssl_context(ca_bundle), create_ssl_context(ca_bundle, protocols=BOTH)
    assert plain is not both
    assert create_ssl_context(ca_bundle, protocols=("http/1.1",)) is plain
    assert create_ssl_context(ca_bundle, protocols=BOTH) is both
    assert httpcore.default_ssl_context(BOTH) is create_ssl_context(protocols=BOTH)
    assert httpcore.default_ssl_context(BOTH) is not httpcore.default_ssl_context()
    assert chosen(both, willing) == "h2"
    assert chosen(plain, willing) == "http/1.1"
    assert chosen(create_ssl_context(ca_bundle, protocols=("h2",)), willing) == "h2"


class Given(ssl.SSLContext):
    """A caller's, that notes when its protocols are set."""

    said: list[list[str]]

    def set_alpn_protocols(self, alpn_protocols: Any) -> None:
        self.said.append(list(alpn_protocols))
        super().set_alpn_protocols(alpn_protocols)


@pytest.fixture
def given(ca_bundle: str) -> Given:
    context = Given(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(ca_bundle)
    context.said = []
    return context


def test_a_given_context_is_left_alone_for_http11(given: Given, willing: ssl.SSLContext) -> None:
    for protocols in (None, ("http/1.1",)):
        _ssl.offer(given, protocols)
    assert given.said == []
    assert chosen(given, willing) is None


def test_a_given_context_is_set_where_it_has_to_differ(
    given: Given, willing: ssl.SSLContext
) -> None:
    for _ in range(3):
        _ssl.offer(given, BOTH)
    assert given.said == [["h2", "http/1.1"]]
    assert chosen(given, willing) == "h2"
    for _ in range(3):
        _ssl.offer(given, None)
    assert given.said[1:] == [["http/1.1"]]
    assert chosen(given, willing) == "http/1.1"
    _ssl.offer(given, ("h2",))
    assert given.said[2:] == [["h2"]]


def test_ours_offer_what_they_were_made_for(monkeypatch: pytest.MonkeyPatch) -> None:
    said = []

    class Telling:
        verify_flags = 0

        def __init__(self, protocol: int) -> None:
            pass

        def set_alpn_protocols(self, protocols: list[str]) -> None:
            said.append(protocols)

    monkeypatch.setattr(ssl, "SSLContext", Telling)
    context = create_ssl_context(False, protocols=BOTH)
    _ssl.offer(context, BOTH)
    assert said == [["h2", "http/1.1"]]


def test_what_cannot_offer_is_left() -> None:
    for foreign in (object(), None, 5):
        _ssl.offer(foreign, BOTH)


def test_what_cannot_be_remembered_is_set_each_time() -> None:
    said = []

    class Unhashable:
        __hash__ = None  # type: ignore[assignment]

        def set_alpn_protocols(self, protocols: list[str]) -> None:
            said.append(protocols)

    context = Unhashable()
    for protocols in (BOTH, BOTH, None):
        _ssl.offer(context, protocols)
    assert said == [["h2", "http/1.1"]] * 2


def test_an_offer_that_failed_is_made_again(given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Given, "set_alpn_protocols", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            _ssl.offer(given, BOTH)
    _ssl.offer(given, None)  # nobody knows what it offers now
    _ssl.offer(given, BOTH)
    assert given.said == [["http/1.1"], ["h2", "http/1.1"]]


def test_many_threads_set_it_once(given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Barrier(8)

    def ask() -> None:
        start.wait(5)
        _ssl.offer(given, BOTH)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert given.said == [["h2", "http/1.1"]]


def test_nobody_changes_an_offer_meanwhile(given: Given) -> None:
    inside, asked = threading.Event(), threading.Event()

    def ask() -> None:
        inside.wait(5)
        asked.set()
        _ssl.offer(given, None)

    thread = threading.Thread(target=ask)
    thread.start()

    def act() -> None:
        inside.set()
        assert asked.wait(5)
        _ssl.offer(given, BOTH)  # a signal handler may make a request
        assert given.said == [["h2", "http/1.1"]]

    _ssl.while_offering(given, BOTH, act)
    thread.join()
    assert given.said == [["h2", "http/1.1"], ["http/1.1"]]


def test_an_interrupt_leaves_no_lock_behind(given: Given) -> None:
    """Who keeps the exception keeps its frames. What a generator holds among them would wait for
    the garbage collector, which may run in a thread that cannot release the lock."""
    for point in itertools.count(1):
        kept: list[BaseException] = []

        def ask() -> None:
            try:
                _ssl.offer(given, BOTH)
            except KeyboardInterrupt as exc:
                kept.append(exc)  # noqa: B023
                raise

        if not interrupt_at(point, ask):
            break
        other = threading.Thread(target=_ssl.offer, args=(given, None), daemon=True)
        other.start()
        other.join(5)
        assert not other.is_alive(), kept
    assert point > 5


@pytest.mark.parametrize("kind", ["wrap_socket", "wrap_bio"])
def test_an_offer_holds_until_the_connection_has_it(given: Given, kind: str) -> None:
    """Another thread dials with the same context, and offers something else, in between."""
    _ssl.offer(given, BOTH)
    other = threading.Thread(target=_ssl.offer, args=(given, None))
    other.start()
    other.join()
    assert given.said == [["h2", "http/1.1"], ["http/1.1"]]
    ours, theirs = socket.socketpair()
    with ours, theirs:
        if kind == "wrap_socket":
            tls_begin.wrap_socket(given, ours, server_hostname="h").close()
        else:
            between = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls_begin.wrap_bio(given, *between, server_hostname="h")
    assert given.said == [["h2", "http/1.1"], ["http/1.1"], ["h2", "http/1.1"]]
    assert _ssl.offered(given) is None  # it was for that connection


def test_an_offer_keeps_no_context_alive() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _ssl.offer(context, BOTH)
    gone = weakref.ref(context)
    del context
    gc.collect()
    assert gone() is None


# --- when a new one is made ---


def test_a_file_rewritten_in_place_leads_to_a_new_context(ca_bundle: str, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_bytes(Path(ca_bundle).read_bytes())
    first = create_ssl_context(str(path))
    assert create_ssl_context(str(path)) is first
    path.write_bytes(Path(ca_bundle).read_bytes() * 2)
    second = create_ssl_context(str(path))
    assert second is not first
    assert create_ssl_context(str(path)) is second


def test_same_size_and_another_time_is_another_file(ca_bundle: str, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_bytes(Path(ca_bundle).read_bytes())
    first = create_ssl_context(path)
    os.utime(path, ns=(1, 1))
    second = create_ssl_context(path)
    assert second is not first
    os.utime(path, ns=(1, 1))  # as a tool does that puts the old times back
    assert create_ssl_context(path) is not second


def test_truststore_replacing_the_class_leads_to_a_new_context(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Injected:
        """As truststore's: it has the methods, and is no subclass in the C sense."""

        verify_flags = 0

        def __init__(self, protocol: int) -> None:
            self.protocol = protocol

        def set_alpn_protocols(self, protocols: list[str]) -> None:
            self.protocols = protocols

    before = create_ssl_context(False)
    monkeypatch.setattr(ssl, "SSLContext", Injected)
    after = create_ssl_context(False)
    assert after is not before
    assert isinstance(after, Injected)
    assert after.verify_mode == ssl.CERT_NONE


def test_the_cache_is_bounded_oldest_first(
    empty_cache: dict[object, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(_ssl, "MAX_CONTEXTS", 2)
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
    first = weakref.ref(create_ssl_context(folders[0]))
    second, third = (create_ssl_context(folder) for folder in folders[1:])
    assert len(empty_cache) == 2
    assert first() is None
    assert create_ssl_context(folders[1]) is second
    assert create_ssl_context(folders[2]) is third


def test_one_that_is_in_use_is_found_again_whatever_its_age(
    empty_cache: dict[object, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch, ca_bundle: str
) -> None:
    monkeypatch.setattr(_ssl, "MAX_CONTEXTS", 1)
    used = create_ssl_context(ca_bundle)
    create_ssl_context(False)
    assert used not in empty_cache.values()
    assert create_ssl_context(ca_bundle) is used
    assert len(empty_cache) == 1


def test_many_threads_build_one_context(monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    build = _ssl._build
    start = threading.Barrier(8)

    def slow_build(*args: Any) -> ssl.SSLContext:
        built.append(args)
        return build(*args)

    monkeypatch.setattr(_ssl, "_build", slow_build)
    found = []

    def ask() -> None:
        start.wait(5)
        found.append(create_ssl_context(False))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1
    assert len({id(context) for context in found}) == 1


def test_a_context_that_another_thread_built_meanwhile_is_taken(
    empty_cache: dict[object, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    class LateLock:
        """By the time this lock is ours, somebody else has built the context."""

        def __enter__(self) -> None:
            empty_cache[_ssl._key(False, None)] = theirs

        def __exit__(self, *exc_info: object) -> None:
            pass

    monkeypatch.setattr(_ssl, "_lock", LateLock())
    assert create_ssl_context(False) is theirs


# --- the environment ---


def test_ssl_cert_file_replaces_the_roots(ca_bundle: str, monkeypatch: pytest.MonkeyPatch) -> None:
    default = create_ssl_context()
    monkeypatch.setenv("SSL_CERT_FILE", ca_bundle)
    context = create_ssl_context()
    assert context is not default
    assert len(context.get_ca_certs()) == 1
    monkeypatch.delenv("SSL_CERT_FILE")
    assert create_ssl_context() is default


def test_ssl_cert_dir_replaces_the_roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_DIR", f"{tmp_path}{os.pathsep}{tmp_path / 'missing'}")
    assert create_ssl_context().get_ca_certs() == []


def test_both_variables_together(
    ca_bundle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    monkeypatch.setenv("SSL_CERT_FILE", ca_bundle)
    assert len(create_ssl_context().get_ca_certs()) == 1


def test_empty_variables_are_no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    default = create_ssl_context()
    monkeypatch.setenv("SSL_CERT_FILE", "")
    monkeypatch.setenv("SSL_CERT_DIR", "")
    assert create_ssl_context() is default


def test_variables_do_not_touch_an_explicit_bundle(
    ca_bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere")
    assert len(create_ssl_context(certifi.where()).get_ca_certs()) > 50
    with pytest.raises(FileNotFoundError, match="/nowhere"):
        create_ssl_context()


def test_ssl_key_log_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "keys.log"
    monkeypatch.setenv("SSLKEYLOGFILE", str(path))
    assert create_ssl_context(False).keylog_filename == str(path)


def test_ssl_key_log_file_is_set_and_unset_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = create_ssl_context()
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys.log"))
    assert create_ssl_context().keylog_filename == str(tmp_path / "keys.log")
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "others.log"))
    assert create_ssl_context().keylog_filename == str(tmp_path / "others.log")
    monkeypatch.setenv("SSLKEYLOGFILE", "")
    assert create_ssl_context() is before
    monkeypatch.delenv("SSLKEYLOGFILE")
    assert create_ssl_context() is before
    assert before.keylog_filename is None


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_a_variable_that_points_nowhere_is_named(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "/no/such/place")
    with pytest.raises(
        FileNotFoundError, match=f"{name}=/no/such/place: not found; correct {name} or unset it"
    ):
        create_ssl_context()


def test_a_variable_that_points_to_something_else_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "empty.pem"
    path.write_text("nothing to see")
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    with pytest.raises(ssl.SSLError, match=r"SSL_CERT_FILE=.*empty\.pem: .*no certificate"):
        create_ssl_context()


def test_one_variable_of_two_points_somewhere(
    ca_bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_DIR", "/no/such/place")
    monkeypatch.setenv("SSL_CERT_FILE", ca_bundle)
    assert len(create_ssl_context().get_ca_certs()) == 1


# --- what cannot be ---


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"verify": "/no/such/ca.pem"}, "TLS CA bundle not found: /no/such/ca.pem"),
        ({"cert": "/no/such/c.pem"}, "TLS client certificate file not found: /no/such/c.pem"),
        ({"cert": (certifi.where(), "/no/such/k")}, "TLS client key file not found: /no/such/k"),
    ],
)
def test_missing_files_are_named(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        create_ssl_context(**arguments)
    assert str(caught.value) == text


@pytest.mark.parametrize("how", ["cert", "key", "bundle"])
def test_files_that_cannot_be_read_are_named(
    how: str, client_cert: tls.ClientCert, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that belongs to another user; here a folder, which root cannot read either."""
    path = str(tmp_path)
    monkeypatch.setattr(os.path, "isdir", lambda path: False)  # else it is one of certificates
    arguments: dict[str, dict[str, Any]] = {
        "cert": {"cert": path},
        "key": {"cert": (client_cert.cert, path)},
        "bundle": {"verify": path},
    }
    with pytest.raises(OSError, match=re.escape(path)) as caught:
        create_ssl_context(**arguments[how])
    assert caught.value.filename == path


def test_a_client_certificate_that_cannot_be_loaded_is_named(
    client_cert: tls.ClientCert, ca: trustme.CA, tmp_path: Path
) -> None:
    other = tls.write_client_cert(ca, tmp_path, "other@example.test")
    no_key = f"{client_cert.cert} contains no private key in PEM format"
    pair = ": pass the pair (certificate, key), or one file that holds both"
    cert_bytes = Path(client_cert.cert).read_bytes()
    mismatch = f"the key in {other.key} is that of {client_cert.cert}"
    for cert, text in (
        (client_cert.cert, no_key + pair),
        (Path(client_cert.cert), no_key + pair),
        ((client_cert.cert, client_cert.cert), no_key),
        (client_cert.key, f"{client_cert.key} contains no certificate in PEM format"),
        (cert_bytes, "the PEM text contains no private key in PEM format" + pair),
        ((client_cert.cert, other.key), mismatch),
    ):
        with pytest.raises(ssl.SSLError) as caught:
            create_ssl_context(cert=cert)  # type: ignore[arg-type]
        assert str(caught.value).endswith(text)
        assert "cannot load the TLS client certificate: [" in str(caught.value)
        assert "PRIVATE KEY-----" not in str(caught.value)


def test_what_is_not_a_file_is_not_looked_into() -> None:
    assert _ssl._contains("/no/such/file", b"mark")  # then nothing is said about it


def test_files_that_hold_no_certificate(tmp_path: Path) -> None:
    path = tmp_path / "empty.pem"
    path.write_text("nothing to see")
    with pytest.raises(ssl.SSLError, match=f"cannot load the TLS CA bundle {path}: "):
        create_ssl_context(path)
    with pytest.raises(ssl.SSLError):
        create_ssl_context(cert=path)


def test_a_failure_is_not_cached(
    empty_cache: dict[object, ssl.SSLContext], ca_bundle: str, tmp_path: Path
) -> None:
    path = tmp_path / "late.pem"
    with pytest.raises(FileNotFoundError):
        create_ssl_context(path)
    assert empty_cache == {}
    path.write_bytes(Path(ca_bundle).read_bytes())
    assert len(create_ssl_context(path).get_ca_certs()) == 1


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"verify": 5}, "verify must be a bool or a path, not int"),
        ({"verify": b"path"}, "verify must be a bool or a path, not bytes"),
        ({"cert": 5}, "cert must be a path"),
        ({"cert": ("only one",)}, "cert must be a path"),
        ({"cert": ("1", "2", "3", "4")}, "cert must be a path"),
        ({"protocols": "h2"}, "protocols must be a tuple of str, not str"),
        ({"protocols": ["h2"]}, "protocols must be a tuple of str, not list"),
    ],
)
def test_settings_of_the_wrong_type(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(TypeError, match=text):
        create_ssl_context(**arguments)
