"""From urllib3's TLS settings to one TLS context.

Owns: what `cert_reqs`, `ca_certs`, `assert_hostname` and their kin mean. Must not know: pools,
requests, how contexts are built (that is httpcore) or fitted (that is `_caller_contexts`).

A context is part of a connection's route, so two requests share a connection only when all
settings behind their contexts are equal: equal settings find the same context, and a file that
was rewritten is another setting.

Sources: urllib3's `HTTPSConnection` for the meaning of each setting.
"""

from __future__ import annotations

import os
import ssl
from typing import Any, NamedTuple

import certifi
from urllib3.util.ssl_ import resolve_cert_reqs, resolve_ssl_version

import httpcore
from httpcore.rules import HTTP2_FIRST, HTTP11_ONLY

from ._caller_contexts import (
    ONE_VERSION,
    Cert,
    FittedContext,
    TLSRequirements,
    TrustRoots,
    adapt,
    adapt_shared,
    is_verifying,
)
from ._errors import tls_failed


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

    def __repr__(self) -> str:  # one of them is a password
        said = [name for name, value in zip(self._fields, self, strict=True) if value is not None]
        return f"<TLSSettings: {', '.join(said)}>"


class TLSPlan(NamedTuple):
    """The result of `TLSSettings`.

    Attributes:
        settings: what it was made from.
        given: the caller's own context, or None.
        verify, cert: arguments for `httpcore.create_ssl_context`.
        simple: nothing but `verify` and `cert` is set.
        ask, roots: all else that is set.
        unverified: the server's certificate is not checked; the user is warned.
        server_name: SNI in place of the host, or None.
    """

    settings: TLSSettings
    given: ssl.SSLContext | None
    verify: bool | str
    cert: Cert
    simple: bool
    ask: TLSRequirements
    roots: TrustRoots
    unverified: bool
    server_name: str | None

    def __repr__(self) -> str:
        return f"<TLSPlan for {self.settings!r}>"


def plan(settings: TLSSettings, own_context: ssl.SSLContext | None, http2: bool = False) -> TLSPlan:
    """Return what to do for `settings`.

    Parameters:
        own_context: the adapter's ``ssl_context``, used where the settings name none.
        http2: offer HTTP/2, too.

    Raises urllib3's SSLError for settings that cannot be, or contradict the adapter's context.
    """
    given = settings.ssl_context or own_context
    verifies = _verifies(settings, given)
    protocols = HTTP2_FIRST if http2 else HTTP11_ONLY
    ask = TLSRequirements(
        verifies,
        # False is a wish; "" says nothing, as in urllib3.
        False if settings.assert_hostname is False else settings.assert_hostname or None,
        settings.assert_fingerprint or None,
        *_versions(settings),
        protocols,
    )
    roots = _roots(settings)
    cert = _cert(settings)
    if settings.ssl_context is None and own_context is not None:
        _refuse_contradictions(own_context, settings, ask)
    return TLSPlan(
        settings,
        given,
        roots.verify if verifies else False,
        cert,
        given is None
        and roots[1:] == (None, None)
        and ask == TLSRequirements(verifies, protocols=protocols),
        ask,
        roots,
        not verifies and ask.fingerprint is None,
        _server_name(settings.server_hostname),
    )


def _verifies(settings: TLSSettings, given: ssl.SSLContext | None) -> bool:
    if settings.cert_reqs is None and given is not None:
        return is_verifying(given)
    try:
        # CERT_OPTIONAL differs for servers only.
        return resolve_cert_reqs(settings.cert_reqs) != ssl.CERT_NONE
    except AttributeError:
        text = f"cert_reqs={settings.cert_reqs!r} is none of ssl's CERT_*"
        raise tls_failed(text, None) from None


def _versions(settings: TLSSettings) -> tuple[Any, Any]:
    lowest, highest = settings.ssl_minimum_version, settings.ssl_maximum_version
    if settings.ssl_version is None:
        return lowest, highest
    try:
        protocol = resolve_ssl_version(settings.ssl_version)
    except AttributeError:
        text = f"ssl_version={settings.ssl_version!r} is none of ssl's PROTOCOL_*"
        raise tls_failed(text, None) from None
    if protocol in (ssl.PROTOCOL_TLS, ssl.PROTOCOL_TLS_CLIENT):
        return lowest, highest
    if protocol not in ONE_VERSION:
        raise tls_failed(f"ssl_version={settings.ssl_version!r} is no version of TLS", None)
    if lowest is not None or highest is not None:
        raise tls_failed(
            "ssl_version says all that ssl_minimum_version and ssl_maximum_version say: "
            "they cannot be given together",
            None,
        )
    return ONE_VERSION[protocol], ONE_VERSION[protocol]


def _roots(settings: TLSSettings) -> TrustRoots:
    file, directory = _expanded(settings.ca_certs), _expanded(settings.ca_cert_dir)
    if file is None and not settings.ca_cert_data:
        return TrustRoots(directory or True)
    return TrustRoots(file or True, directory, settings.ca_cert_data or None)


def _expanded(path: str | None) -> str | None:
    return os.path.expanduser(os.fsdecode(path)) if path else None


def _cert(settings: TLSSettings) -> Cert:
    if not settings.cert_file:
        return None
    if settings.key_password is not None:
        # load_cert_chain() takes the certificate's own file where no key file is named.
        return (settings.cert_file, settings.key_file or settings.cert_file, settings.key_password)
    return (settings.cert_file, settings.key_file) if settings.key_file else settings.cert_file


def _server_name(name: str | None) -> str | None:
    # As for hosts: a last dot is for DNS (RFC 6066 section 3), brackets are for URLs.
    return name and (name.strip("[]").rstrip(".") or name)


def _refuse_contradictions(
    own: ssl.SSLContext, settings: TLSSettings, ask: TLSRequirements
) -> None:
    """Refuse a request that wants the adapter's own context otherwise: it is never changed."""
    if ask.verifies and not is_verifying(own):
        raise tls_failed(
            "verify=True cannot be honoured together with an ssl_context that does not verify "
            "(CERT_NONE): ask for verify=False as well",
            None,
        )
    if not ask.verifies and is_verifying(own) and ask.fingerprint is None:
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
    named = [settings.ca_certs, settings.ca_cert_dir]
    named = [path for path in named if path and path not in _of_the_environment()]
    if ask.verifies and (named or settings.ca_cert_data):
        raise tls_failed(
            f"verify={named[0] if named else 'ca_cert_data'!r} cannot be added to the ssl_context "
            "that was given: load it into the context itself",
            None,
        )


def _of_the_environment() -> tuple[str | None, ...]:
    # requests hands these in as `verify` where the program said nothing, and the program said
    # that its context is to decide.
    return os.environ.get("REQUESTS_CA_BUNDLE"), os.environ.get("CURL_CA_BUNDLE")


def context_for(plan: TLSPlan) -> ssl.SSLContext:
    """Return the context for `plan`; asked for at each request, because files may have changed.

    Raises urllib3's SSLError when a file cannot be loaded, or a caller's context cannot be made
    to do what is asked.
    """
    try:
        context: ssl.SSLContext = _make(plan)
        return context
    except (OSError, ValueError) as exc:  # ssl.SSLError is an OSError
        raise tls_failed(f"cannot prepare TLS: {exc}", exc) from exc


def _make(plan: TLSPlan) -> Any:
    try:
        context = _choose(plan)
    except OSError as exc:
        if plan.roots.verify is not True or not hasattr(exc, "variable"):
            raise
        # SSL_CERT_FILE or SSL_CERT_DIR points nowhere. requests does not look at them, so this
        # fails no request there.
        roots = plan.roots._replace(verify=certifi.where())
        verify = roots.verify if plan.verify is True else plan.verify
        context = _choose(plan._replace(verify=verify, roots=roots))
    return context


def _choose(plan: TLSPlan) -> ssl.SSLContext | FittedContext:
    if plan.simple:
        return httpcore.create_ssl_context(
            plan.verify, plan.cert, protocols=plan.ask.protocols or HTTP11_ONLY
        )
    return _ours(plan) if plan.given is None else _theirs(plan, plan.given)


def _ours(plan: TLSPlan) -> ssl.SSLContext | FittedContext:
    ask, roots = plan.ask, plan.roots
    context = httpcore.create_ssl_context(
        plan.verify,
        plan.cert,
        ca_dir=roots.ca_dir,
        ca_data=roots.ca_data,
        minimum_version=ask.minimum_version,
        maximum_version=ask.maximum_version,
        check_hostname=ask.by_openssl,
        protocols=ask.protocols or HTTP11_ONLY,
    )
    if ask.fingerprint is None and not ask.hostname:
        return context
    return adapt(context, ask._replace(protocols=None))  # it offers them already


def _theirs(plan: TLSPlan, given: ssl.SSLContext) -> FittedContext:
    ask = plan.ask
    if plan.settings.cert_reqs is None and is_verifying(given) is not ask.verifies:
        ask = ask._replace(verifies=not ask.verifies)  # changed by its owner since
    if given is plan.settings.ssl_context:
        return adapt_shared(given, ask, plan.roots, plan.cert)
    return adapt(given, ask, alone=True)
