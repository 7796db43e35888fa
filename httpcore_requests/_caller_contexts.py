"""TLS contexts that are not ours to change: how requests get what they ask of one all the same.

Owns: a caller's `ssl.SSLContext` (or what looks like one) and how it is fitted to a request, and
the checks after a handshake that OpenSSL does not do. Must not know: urllib3's names for settings,
pools, requests.

There are two doors for a caller's context, and urllib3 is the reason.

``HTTPAdapter(ssl_context=...)`` is ours. What comes in there is never changed and nothing is
loaded into it; a request that contradicts it is refused (by `_tls_settings`).

The keyword ``ssl_context`` of pool managers is urllib3's, and urllib3 changes the context at each
connection: mode and name check, the roots of `verify`, the certificate of `cert`, one on top of
the other. The adapters of the world count on the outcome: most of them hand in a context for its
ciphers alone, without any root. So here a request gets what it asks, in one of three ways:

1. The context as it is, where it does what is asked. A name that it does not check is checked
   after the handshake, as urllib3 does: `check_hostname=False` on a context switches nothing off.
2. Where mode, name check or versions differ, a connection begins with a new context that has the
   settings of the given one and these, and is then handed over to the given one: trust and client
   certificate belong to the context that a connection is with when the handshake begins, all else
   to the one it was made by (`SSLSocket.context`, OpenSSL's SSL_set_SSL_CTX). So nothing is
   changed, and nothing lost.
3. Where roots or a client certificate are asked for, what the context holds has to differ. The
   first set of roots that is asked of a context is loaded into it, once, because a client
   certificate in it can be neither read nor detected, and a copy would come without; where the
   context has roots of its own, `verify=True` adds none to them. Every other set of roots, and
   every `cert`, gets a copy: the context's settings and own roots, and what is asked, so that
   trust never adds up and no certificate goes where it was not meant for. Such a copy has no
   client certificate but that of `cert`, and the curves of OpenSSL's defaults.

One thing is changed in a given context: the protocols that it offers (ALPN), which Python has for
whole contexts only. An adapter that speaks HTTP/2 sets them before it makes a connection, and one
that does not puts that right where it shares the context. As long as no adapter with HTTP/2 has it,
the protocols are its owner's. httpcore keeps the account of that, for its own pools too.

What cannot be copied (pyOpenSSL's, or one whose `wrap_socket` was replaced on the instance) is
used as it is; it is made to verify where it does not and a request asks for it, and refused where
it would have to become anything else.

Sources: urllib3's `HTTPSConnection.connect` for what a context has to become, RFC 9110 section
4.3.4 for why a host name must be checked, OpenSSL's SSL_set_SSL_CTX(3), RFC 7301 (ALPN).
"""

from __future__ import annotations

import ssl
import sys
import threading
import weakref
from typing import Any, NamedTuple

import urllib3.exceptions
from urllib3.util.ssl_ import assert_fingerprint
from urllib3.util.ssl_match_hostname import match_hostname

import httpcore
from httpcore.rules import HTTP11_ONLY, UNTRUSTED

from ._fork import renew_in_child

# How many copies of one context are kept, each about 1 MB with a full CA bundle; past it, what is
# asked gets a new one, and new connections.
MAX_COPIES = 64

# Contexts of old that speak one version, by protocol; what they say themselves is "any".
ONE_VERSION = {
    getattr(ssl, f"PROTOCOL_{name}"): getattr(ssl.TLSVersion, name)
    for name in ("TLSv1", "TLSv1_1", "TLSv1_2")
    if hasattr(ssl, f"PROTOCOL_{name}")
}


# A client certificate as `httpcore.create_ssl_context` takes it: the file, or with that of its key
# and the password.
Cert = str | tuple[str, str] | tuple[str, str, str] | None


class TLSRequirements(NamedTuple):
    """The requirements of a request for its connection's context.

    Attributes:
        verifies: whether the server's certificate is to be verified.
        hostname: the name to find in it; None for the one connected to, False for any.
        fingerprint: of the certificate, in hexadecimal; it then stands in place of a name.
        minimum_version, maximum_version: `ssl.TLSVersion`; None for the context's own.
        protocols: what may be agreed on by ALPN; None for what the context offers, whatever.
    """

    verifies: bool
    hostname: str | bool | None = None
    fingerprint: str | None = None
    minimum_version: ssl.TLSVersion | None = None
    maximum_version: ssl.TLSVersion | None = None
    protocols: tuple[str, ...] | None = HTTP11_ONLY

    @property
    def by_openssl(self) -> bool:
        """Whether OpenSSL's own check of the name is the right one."""
        return self.verifies and self.hostname is None and self.fingerprint is None

    @property
    def mode(self) -> ssl.VerifyMode:
        return ssl.CERT_REQUIRED if self.verifies else ssl.CERT_NONE


class TrustRoots(NamedTuple):
    """The authorities to trust: arguments of `httpcore.create_ssl_context`."""

    verify: bool | str = True
    ca_dir: str | None = None
    ca_data: str | bytes | None = None


class FittedContext:
    """A context, made to do what requests ask.

    Parameters:
        context: it is not changed.
        ask: what connections made by this have to fulfil.
        alone: its own roots are all that is trusted; said when they do not suffice.

    To a connection it looks like an `ssl.SSLContext`; what is not defined here is the context's.
    """

    def __init__(self, context: ssl.SSLContext, ask: TLSRequirements, alone: bool = False) -> None:
        self._context = context
        self._ask = ask
        self._alone = alone
        self._lends = _holdings(context) is not None
        self._base()  # what cannot be is said here, not when a connection is open
        if httpcore.resumes_tls_sessions(context):
            httpcore.resume_tls_sessions(self)

    def wrap_socket(
        self,
        sock: Any,
        *,
        server_hostname: str | None = None,
        do_handshake_on_connect: bool = True,
    ) -> ssl.SSLSocket:
        """Wrap as `ssl.SSLContext.wrap_socket` does."""
        wrapped = self._begin(httpcore.wrap_socket, server_hostname, sock)
        if do_handshake_on_connect:
            try:
                wrapped.do_handshake()
            except BaseException:
                wrapped.close()
                raise
        return wrapped  # type: ignore[no-any-return]

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        *,
        server_hostname: str | None = None,
    ) -> ssl.SSLObject:
        """Wrap as `ssl.SSLContext.wrap_bio` does."""
        return self._begin(httpcore.wrap_bio, server_hostname, incoming, outgoing)  # type: ignore[no-any-return]

    def _begin(self, wrap: Any, hostname: str | None, *arguments: object) -> Any:
        base = self._base()
        named = getattr(base, "check_hostname", False)
        try:
            wrapped = wrap(
                base, *arguments, server_hostname=hostname, protocols=self._to_offer(base)
            )
        except ssl.SSLCertVerificationError as exc:  # of a context that shakes hands at once
            self._explain(exc)
            raise
        try:
            if base is not self._context:
                if self._lends:
                    self._hand_over(wrapped)
            elif not _fits(base, self._ask):
                raise _error("the ssl_context was changed while a connection was made by it")
            # cloudscraper's contexts change their mind while they wrap.
            named = named and getattr(base, "check_hostname", False)
            self._check_after_handshake(wrapped, base, None if named else hostname)
        except BaseException:
            if wrap is httpcore.wrap_socket:  # the socket that was given is empty by now
                wrapped.close()
            raise
        return wrapped

    def _hand_over(self, wrapped: Any) -> None:
        if isinstance(wrapped, ssl.SSLSocket) and wrapped.version() is not None:
            raise _cannot_fit(self._context)  # too late: its wrap_socket does the handshake, too
        wrapped.context = self._context

    def _to_offer(self, base: ssl.SSLContext) -> tuple[str, ...] | None:
        """Return the protocols to set on `base`; None for those that it has."""
        # A copy was made with them. What cannot be copied may give a stream that HTTP/2 cannot use.
        return None if base is not self._context or _is_foreign(base) else self._ask.protocols

    def set_alpn_protocols(self, alpn_protocols: object) -> None:
        """Do nothing: it offers what it was made for."""

    def _base(self) -> ssl.SSLContext:
        """Return what a connection begins with."""
        return self._context if _fits(self._context, self._ask) else _like(self._context, self._ask)

    def _check_after_handshake(
        self, wrapped: Any, base: ssl.SSLContext, hostname: str | None
    ) -> None:
        see = weakref.ref(wrapped)  # or it would hold itself
        lent = self._lends and base is not self._context

        def do_handshake(*arguments: object) -> None:
            sock: Any = see()
            try:
                type(sock).do_handshake(sock, *arguments)
            except ssl.SSLCertVerificationError as exc:
                self._explain(exc)
                raise
            if lent and self._ask.verifies and not is_verifying(self._context):
                # getpeercert() says nothing of a certificate where the context verifies none.
                sock.context = base
            self._check(sock, hostname)

        wrapped.do_handshake = do_handshake

    def _check(self, sock: Any, hostname: str | None) -> None:
        ask = self._ask
        chosen = getattr(sock, "selected_alpn_protocol", _nothing)()
        ours = isinstance(sock, (ssl.SSLSocket, ssl.SSLObject))
        if chosen == "h2" and (ask.protocols == HTTP11_ONLY or not ours):
            raise _error(
                "the server chose HTTP/2, which the ssl_context that was given offers and which is "
                'not supported here: call its set_alpn_protocols(["http/1.1"])'
            )
        if ask.fingerprint is not None:
            try:
                assert_fingerprint(sock.getpeercert(binary_form=True), ask.fingerprint)
            except urllib3.exceptions.SSLError as exc:
                raise _error(str(exc)) from exc
            return
        name: Any = hostname if ask.hostname is None else ask.hostname
        if not ask.verifies or not name:
            return
        names_of_old = getattr(self._context, "hostname_checks_common_name", False)
        try:
            match_hostname(sock.getpeercert(), name.strip("[]"), names_of_old)
        except ValueError as exc:  # urllib3's CertificateError
            raise _error(str(exc), ssl.SSLCertVerificationError) from exc

    def _explain(self, exc: ssl.SSLCertVerificationError) -> None:
        held = _holdings(self._context) if self._alone else None
        if held is None or exc.verify_code not in UNTRUSTED:
            return
        exc.strerror = f"{exc.strerror}; " + (
            "the ssl_context that was given trusts its own roots only, and verify=True adds none"
            if held
            else "the ssl_context that was given holds no CA certificate: call its "
            "load_default_certs(), or load_verify_locations(certifi.where())"
        )
        exc.explained = True  # type: ignore[attr-defined]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)


def _nothing() -> None:
    """Stand in for `selected_alpn_protocol` of a socket that has none."""


def _cannot_fit(given: ssl.SSLContext) -> ssl.SSLError:
    return _error(
        f"the ssl_context that was given, {type(given).__name__}, cannot be fitted to what the "
        "request asks of it (verify, cert, assert_hostname, TLS versions), because it cannot "
        "be copied: set it up so before it is handed over"
    )


def _error(text: str, kind: type[ssl.SSLError] = ssl.SSLError) -> ssl.SSLError:
    return kind(ssl.SSL_ERROR_SSL, text)  # of one argument, its text would be a tuple's


# -- reading contexts


def _fits(context: ssl.SSLContext, ask: TLSRequirements) -> bool:
    """Return whether a connection that `context` makes does what is asked."""
    return bool(
        getattr(context, "verify_mode", ask.mode) == ask.mode
        and (ask.by_openssl or not getattr(context, "check_hostname", False))
        and ask.minimum_version in (None, getattr(context, "minimum_version", None))
        and ask.maximum_version in (None, getattr(context, "maximum_version", None))
    )


def is_verifying(context: ssl.SSLContext) -> bool:
    """Return whether `context` as it is verifies servers."""
    return getattr(context, "verify_mode", ssl.CERT_REQUIRED) != ssl.CERT_NONE


def _holdings(context: ssl.SSLContext) -> int | None:
    """Return how many certificates it trusts, those of directories not counted; None where it does
    not say, as truststore's, whose trust is the system's."""
    try:
        number: int = context.cert_store_stats()["x509"]
    except (AttributeError, NotImplementedError):
        return None
    return number


def _roots_of(context: ssl.SSLContext) -> bytes:
    try:
        return b"".join(context.get_ca_certs(binary_form=True))
    except (AttributeError, NotImplementedError):
        return b""


def _is_foreign(context: ssl.SSLContext) -> bool:
    """Return whether there is no making another one like it."""
    return "wrap_socket" in getattr(context, "__dict__", ()) or not hasattr(context, "get_ciphers")


def _like(given: ssl.SSLContext, ask: TLSRequirements) -> ssl.SSLContext:
    """Return a new context with the settings of `given`, except where `ask` says otherwise.

    Raises ssl.SSLError where that cannot be made.
    """
    if not _is_foreign(given):
        try:
            copy = type(given)(ssl.PROTOCOL_TLS_CLIENT)
            _set_up(copy, given, ask)
            return copy
        # The last one is Python's for contexts from before truststore was injected.
        except (AttributeError, TypeError, RecursionError):
            pass
    raise _cannot_fit(given)


def _set_up(copy: ssl.SSLContext, given: ssl.SSLContext, ask: TLSRequirements) -> None:
    copy.check_hostname = False
    copy.verify_mode = ask.mode
    copy.check_hostname = ask.by_openssl
    only = ONE_VERSION.get(given.protocol)
    copy.minimum_version = ask.minimum_version or only or given.minimum_version
    copy.maximum_version = ask.maximum_version or only or given.maximum_version
    copy.options = given.options
    copy.verify_flags = given.verify_flags
    copy.post_handshake_auth = given.post_handshake_auth
    if ssl.HAS_NEVER_CHECK_COMMON_NAME:
        copy.hostname_checks_common_name = given.hostname_checks_common_name
    if given.keylog_filename:
        copy.keylog_filename = given.keylog_filename
    # Suites of TLS 1.3 are on another list, which Python can neither read apart nor set.
    suites = [suite["name"] for suite in given.get_ciphers() if suite["protocol"] != "TLSv1.3"]
    copy.set_ciphers(":".join([f"@SECLEVEL={given.security_level}", *suites]))
    for name in ("sslsocket_class", "sslobject_class"):
        if name in vars(given):
            setattr(copy, name, vars(given)[name])
    copy.set_alpn_protocols(list(ask.protocols or HTTP11_ONLY))


# -- finding them again


class _SharedContext:
    """The state of a context that came in by urllib3's API.

    Attributes:
        empty: it held no certificate when it came.
        settled: a request that verifies has been made with it; `roots` says what for.
        claims: what the first such request wants it to hold, before it does.
        roots: httpcore's context for the roots that were loaded into it; None for none.
        own: the roots that it had before.
        copies: by what is asked. None of them leads back to the context, or it would live for ever.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        held = _holdings(context)
        # pyOpenSSL's do not say; urllib3 loads into it, and it comes without.
        self.empty = not held if held is not None else not hasattr(context, "cert_store_stats")
        self.settled = False
        # At most one entry, put in by `setdefault`: one step, so no thread comes between.
        self.claims: dict[str, ssl.SSLContext | None] = {}
        self.own: bytes | None = None
        self.copies: dict[object, FittedContext] = {}

    @property
    def roots(self) -> ssl.SSLContext | None:
        return self.claims.get("roots")


_lent: weakref.WeakKeyDictionary[ssl.SSLContext, _SharedContext] = weakref.WeakKeyDictionary()
# One for all requests that ask the same, because connections are found by it.
_fitted: weakref.WeakValueDictionary[object, FittedContext] = weakref.WeakValueDictionary()
# A signal handler may make a request, and take it again in the thread that it has interrupted
# anywhere inside: each step leaves a state in which another request may begin.
_lock = threading.RLock()
renew_in_child(sys.modules[__name__], "_lock", threading.RLock)


def adapt(context: ssl.SSLContext, ask: TLSRequirements, alone: bool = False) -> FittedContext:
    """Return `context`, made to do what is asked; for equal arguments the same object, while in
    use.

    Raises ssl.SSLError where that cannot be. Thread-safe.
    """
    key = (context, ask, alone)
    fitted = _fitted.get(key)
    if fitted is None:
        # Without the lock: truststore's contexts cannot be read during a handshake.
        made = FittedContext(context, ask, alone)
        with _lock:
            fitted = _fitted.setdefault(key, made)
    return fitted


def adapt_shared(
    given: ssl.SSLContext, ask: TLSRequirements, roots: TrustRoots, cert: Cert
) -> FittedContext:
    """Return `given`, which came in by urllib3's door, made to do what is asked; see above.

    Parameters:
        roots: the authorities to trust; not looked at where nothing is verified.
        cert: the client certificate, as `httpcore.create_ssl_context` takes it, or None.

    Raises OSError, ssl.SSLError. Thread-safe.
    """
    with _lock:
        lent = _lent.get(given)
        if lent is None:
            lent = _lent.setdefault(given, _SharedContext(given))
    # httpcore's contexts for the same files stand for what is in these files now.
    trusted = shown = None
    if ask.verifies and (lent.empty or roots != TrustRoots()):
        trusted = httpcore.create_ssl_context(
            roots.verify, ca_dir=roots.ca_dir, ca_data=roots.ca_data
        )
    if cert is not None:
        shown = httpcore.create_ssl_context(False, cert)
    with _lock:
        if ask.verifies and shown is None and not lent.settled:
            if lent.claims.setdefault("roots", trusted) is trusted:
                _settle(given, lent, roots, trusted)
        if shown is not None or (ask.verifies and lent.roots is not trusted):
            key = (ask, trusted, shown)
            fitted = lent.copies.get(key)
            if fitted is None:
                copy = _copy(given, lent, ask, None if trusted is None else roots, cert)
                fitted = FittedContext(copy, ask)
                while len(lent.copies) >= MAX_COPIES:
                    lent.copies.pop(next(iter(lent.copies), None), None)
                lent.copies[key] = fitted
            return fitted
    return adapt(given, ask, alone=trusted is None)


def _settle(
    given: ssl.SSLContext, lent: _SharedContext, roots: TrustRoots, trusted: ssl.SSLContext | None
) -> None:
    """Let the first request that verifies decide what the context holds from now on."""
    if trusted is not None:
        own = _roots_of(given)
        if lent.own is None:  # else this was interrupted, and some of the new ones may be in
            lent.own = own
        httpcore.load_roots(given, roots.verify, ca_dir=roots.ca_dir, ca_data=roots.ca_data)
    if _is_foreign(given) and not is_verifying(given):
        given.verify_mode = ssl.CERT_REQUIRED
    lent.settled = True


def _copy(
    given: ssl.SSLContext,
    lent: _SharedContext,
    ask: TLSRequirements,
    roots: TrustRoots | None,
    cert: Cert,
) -> ssl.SSLContext:
    copy = _like(given, ask)
    own = _roots_of(given) if lent.own is None else lent.own
    if own:
        copy.load_verify_locations(cadata=own)
    if roots is not None:
        httpcore.load_roots(copy, roots.verify, ca_dir=roots.ca_dir, ca_data=roots.ca_data)
    if cert is not None:
        copy.load_cert_chain(*((cert,) if isinstance(cert, str) else cert))
    return copy
