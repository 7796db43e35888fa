"""From urllib3's TLS settings to one TLS context.

Owns: what `cert_reqs`, `ca_certs`, `assert_hostname` and their kin mean, and the contexts that
are built for settings beyond (verify, cert). Must not know: pools, requests.

A context is part of a connection's route, so two requests share a connection only when all
settings behind their contexts are equal. A context that a caller brings is used as it is and
never changed; a setting that would need to change it is refused by name.

Sources: urllib3's `HTTPSConnection` for the meaning of each setting, RFC 9110 section 4.3.4
for why a host name must be checked.
"""

from __future__ import annotations

import os
import ssl
import threading
from typing import Any, NamedTuple

import urllib3.exceptions
from urllib3.util.ssl_ import (
    assert_fingerprint,
    create_urllib3_context,
    resolve_cert_reqs,
    resolve_ssl_version,
)
from urllib3.util.ssl_match_hostname import CertificateError, match_hostname

import httpcore

from ._errors import tls_failed

# How many built contexts are kept, each up to 1 MB with a full CA bundle; the oldest goes first.
MAX_CONTEXTS = 64


class TLSSettings(NamedTuple):
    """urllib3's settings of one pool, under urllib3's names."""

    ssl_context: ssl.SSLContext | None = None
    cert_reqs: int | str | None = None
    ca_certs: str | None = None
    ca_cert_dir: str | None = None
    ca_cert_data: str | bytes | None = None
    cert_file: str | None = None
    key_file: str | None = None
    key_password: str | None = None
    ssl_version: int | str | None = None
    ssl_minimum_version: int | None = None
    ssl_maximum_version: int | None = None
    assert_hostname: str | bool | None = None
    assert_fingerprint: str | None = None
    server_hostname: str | None = None


class TLSPlan(NamedTuple):
    """What `TLSSettings` come down to.

    Attributes:
        settings: what it was made from.
        given: the caller's own context, or None.
        verify, cert: arguments for `httpcore.create_ssl_context`, when `simple`.
        simple: nothing but `verify` and `cert` is set.
        unverified: nobody checks the server's certificate; the user is warned.
        server_name: SNI in place of the host, or None.
    """

    settings: TLSSettings
    given: ssl.SSLContext | None
    verify: bool | str
    cert: Any
    simple: bool
    unverified: bool
    server_name: str | None


def plan(settings: TLSSettings, own_context: ssl.SSLContext | None) -> TLSPlan:
    """What to do for `settings`.

    Parameters:
        own_context: the adapter's ``ssl_context``, used where the settings name none.

    Raises urllib3's SSLError when a caller's context would have to be changed.
    """
    given = settings.ssl_context or own_context
    required = resolve_cert_reqs(settings.cert_reqs)
    unverified = required == ssl.CERT_NONE
    verify: bool | str = not unverified
    if verify:
        verify = _expanded(settings.ca_cert_dir) or _expanded(settings.ca_certs) or True
    cert: Any = None
    if settings.cert_file:
        cert = settings.cert_file
        if settings.key_file or settings.key_password:
            # load_cert_chain() takes the certificate's own file where no key file is named.
            key = settings.key_file or settings.cert_file
            cert = (settings.cert_file, key, settings.key_password)
            if settings.key_password is None:
                cert = cert[:2]
    simple = given is None and _is_simple(settings)
    if given is not None:
        _refuse_changes(given, settings, unverified)
    unchecked = unverified and settings.assert_fingerprint is None
    return TLSPlan(settings, given, verify, cert, simple, unchecked, settings.server_hostname)


def _expanded(path: str | None) -> str | None:
    return os.path.expanduser(path) if path else None


def _is_simple(settings: TLSSettings) -> bool:
    return (
        not settings.ca_cert_data
        and not (settings.ca_certs and settings.ca_cert_dir)
        and settings.ssl_version is None
        and settings.ssl_minimum_version is None
        and settings.ssl_maximum_version is None
        and settings.assert_hostname is None
        and settings.assert_fingerprint is None
    )


def _refuse_changes(given: ssl.SSLContext, settings: TLSSettings, unverified: bool) -> None:
    if unverified and given.verify_mode != ssl.CERT_NONE and not settings.assert_fingerprint:
        raise tls_failed(
            "verify=False cannot be honoured together with an ssl_context that verifies: "
            "set check_hostname and verify_mode on the context itself",
            None,
        )
    if settings.cert_file:
        raise tls_failed(
            "a client certificate (cert) cannot be added to the ssl_context that was given: "
            "load it into the context itself",
            None,
        )
    if settings.assert_hostname is not None and given.check_hostname:
        raise tls_failed(
            "assert_hostname cannot be honoured together with an ssl_context that checks the "
            "host name: set check_hostname=False on the context itself",
            None,
        )


def context_for(plan: TLSPlan) -> ssl.SSLContext:
    """The context for `plan`; asked for at each request, because files may have changed.

    Raises urllib3's SSLError when a file cannot be loaded.
    """
    if plan.simple:
        try:
            return httpcore.create_ssl_context(plan.verify, plan.cert)
        except (OSError, ValueError) as exc:  # ssl.SSLError is an OSError
            raise tls_failed(f"cannot prepare TLS: {exc}", exc) from exc
    checks = plan.settings.assert_hostname, plan.settings.assert_fingerprint
    if plan.given is not None and checks == (None, None):
        return plan.given
    return _built(plan)


_built_contexts: dict[object, ssl.SSLContext] = {}
_lock = threading.Lock()


def _built(plan: TLSPlan) -> ssl.SSLContext:
    settings = plan.settings
    key = (settings, plan.given, *map(_identity, settings[2:4]), *map(_identity, settings[5:7]))
    with _lock:
        context = _built_contexts.get(key)
        if context is None:
            try:
                context = _build(plan)
            except (OSError, ValueError) as exc:
                raise tls_failed(f"cannot prepare TLS: {exc}", exc) from exc
            while len(_built_contexts) >= MAX_CONTEXTS:
                del _built_contexts[next(iter(_built_contexts))]
            _built_contexts[key] = context
    return context


def _identity(path: object) -> object:
    """What tells this file from another under the same name."""
    if not isinstance(path, str):
        return path
    try:
        status = os.stat(os.path.expanduser(path))
    except OSError:
        return path
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def _build(plan: TLSPlan) -> ssl.SSLContext:
    settings = plan.settings
    if plan.given is not None:
        return _CheckingContext(plan.given, settings)  # type: ignore[return-value]
    context = create_urllib3_context(
        ssl_version=None
        if settings.ssl_version is None
        else resolve_ssl_version(settings.ssl_version),
        cert_reqs=resolve_cert_reqs(settings.cert_reqs),
        ssl_minimum_version=settings.ssl_minimum_version,
        ssl_maximum_version=settings.ssl_maximum_version,
    )
    context.set_alpn_protocols(["http/1.1"])
    _load_roots(context, plan)
    if plan.cert is not None:
        parts = (plan.cert,) if isinstance(plan.cert, str) else plan.cert
        context.load_cert_chain(*parts)
    if settings.assert_hostname is None and settings.assert_fingerprint is None:
        return context
    # As in urllib3: what is asserted stands in place of the name that was connected to.
    context.check_hostname = False
    context.verify_mode = resolve_cert_reqs(settings.cert_reqs)
    return _CheckingContext(context, settings)  # type: ignore[return-value]


def _load_roots(context: ssl.SSLContext, plan: TLSPlan) -> None:
    settings = plan.settings
    if plan.verify is False:
        return
    if settings.ca_certs or settings.ca_cert_dir or settings.ca_cert_data:
        context.load_verify_locations(
            _expanded(settings.ca_certs), _expanded(settings.ca_cert_dir), settings.ca_cert_data
        )
    else:
        # The roots that verify=True means, as der bytes from the shared default context.
        roots = httpcore.default_ssl_context().get_ca_certs(binary_form=True)
        context.load_verify_locations(cadata=b"".join(roots))


class _CheckingContext:
    """A context that checks, right after the handshake, what OpenSSL does not.

    That is urllib3's `assert_hostname` (another name than the one connected to) and
    `assert_fingerprint`. It is no `ssl.SSLContext`: that class cannot be copied, and a context
    that a caller brought is not changed. It has what a connection asks of one.
    """

    def __init__(self, context: ssl.SSLContext, settings: TLSSettings) -> None:
        self._context = context
        self._hostname = settings.assert_hostname
        self._fingerprint = settings.assert_fingerprint

    def wrap_socket(
        self, sock: Any, do_handshake_on_connect: bool = True, **options: Any
    ) -> ssl.SSLSocket:
        wrapped = self._context.wrap_socket(sock, do_handshake_on_connect=False, **options)

        def handshake(block: bool = False) -> None:
            del wrapped.do_handshake  # the function and the socket hold each other
            wrapped.do_handshake(block)
            self._check(wrapped)

        wrapped.do_handshake = handshake  # type: ignore[method-assign]
        if do_handshake_on_connect:
            wrapped.do_handshake()
        return wrapped

    def _check(self, sock: ssl.SSLSocket) -> None:
        if self._fingerprint is not None:
            try:
                assert_fingerprint(sock.getpeercert(binary_form=True), self._fingerprint)
            except urllib3.exceptions.SSLError as exc:
                raise ssl.SSLError(str(exc)) from exc
        elif isinstance(self._hostname, str):
            certificate: Any = sock.getpeercert()
            try:
                match_hostname(certificate, self._hostname)
            except CertificateError as exc:
                raise ssl.SSLCertVerificationError(str(exc)) from exc

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)
