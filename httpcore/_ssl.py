"""TLS contexts: built once per (settings, identity of the files), never changed after.

Owns: the cache of contexts, what goes into one, which roots `verify` means, and which protocols a
context offers. Must not know: connections or requests.

Loading a CA bundle costs milliseconds and a megabyte on OpenSSL 3 (python/cpython#95031), so
a context is built when the first TLS connection needs it and then shared. Changing a shared
context was the cause of wrong client certificates and crashes (psf/requests#6726), so nothing
does. A file that is rewritten in place has a new identity and so gets a new context.

Which protocols are offered (ALPN) belongs to a context in Python, not to a connection, and a
context cannot be copied. So each set of protocols has contexts of its own. One that the caller
made is changed in this alone, and only when HTTP/2 is to be offered: see `while_offering`. This
module alone keeps what each context offers, for both packages.

TLS sessions are resumed on the contexts that are made here, because they never change; on one
that the caller made only if he says that he will not change it: see `resume_tls_sessions`.

`ssl.SSLContext` is looked up at each call, because truststore.inject_into_ssl() replaces it.

Sources: RFC 8446, RFC 7301 (ALPN), RFC 9110 section 4.3.4 (no common names), OpenSSL's
SSL_CTX_set_default_verify_paths(3) for SSL_CERT_FILE and SSL_CERT_DIR,
`ssl.create_default_context` for the verify flags.
"""

from __future__ import annotations

import contextlib
import os
import ssl
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any, TypeVar, Union

from .rules import HTTP11_ONLY, UNTRUSTED

Verify = Union[bool, str, "os.PathLike[str]"]
Pem = Union[str, bytes, "os.PathLike[str]"]  # a file, or its text
Cert = Pem | tuple[Pem, Pem] | tuple[Pem, Pem, str] | None
Directory = Union[str, "os.PathLike[str]", None]

# How many contexts are kept that are not in use, each about 1 MB with a full CA bundle. A process
# that rotates certificates for ever must not keep them all; the oldest goes first.
MAX_CONTEXTS = 64

# What `ssl.create_default_context` sets beyond OpenSSL's own defaults, since Python 3.13.
_VERIFY_FLAGS = (
    ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VERIFY_X509_STRICT if sys.version_info >= (3, 13) else 0
)


# OpenSSL's reasons where what came is no TLS record (SSL_R_ in its sslerr.h; which one depends on
# its version and on the bytes).
_NOT_TLS = frozenset(
    ["WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "UNKNOWN_PROTOCOL"]
)

# What to try, put behind the text of such an error.
TRUST_ITS_CA = (
    "; the certificate was not issued by a CA that is trusted here: "
    "to trust its CA, pass the path of that CA's certificate as verify="
)
USE_PLAIN_HTTP = (
    "; the answer is not TLS: for a server that speaks plain HTTP, write http:// in its URL"
)

# The arguments of `create_ssl_context` after the first two, where they are not given.
_NOTHING_MORE = (None, None, None, None, True, HTTP11_ONLY)

_contexts: dict[object, ssl.SSLContext] = {}
# All that are in use, so that past MAX_CONTEXTS too equal settings find the same context, and
# by it the connections that were made with it.
_in_use: weakref.WeakValueDictionary[object, ssl.SSLContext] = weakref.WeakValueDictionary()
# What each context offers, as far as we have set it.
_offers: weakref.WeakKeyDictionary[object, _Offer] = weakref.WeakKeyDictionary()
# Contexts on which sessions may be resumed: all of ours, and those whose owner said so.
_resumable: weakref.WeakSet[object] = weakref.WeakSet()
# Both kinds of lock may be taken again by their own thread: a signal handler may make a request.
_lock = threading.RLock()

AnyContext = TypeVar("AnyContext")
_T = TypeVar("_T")


class _Offer:
    """The protocols that one context offers since we last set them: None before, () while that is
    being done."""

    __slots__ = ("lock", "protocols")

    def __init__(self, protocols: tuple[str, ...] | None = None) -> None:
        self.protocols = protocols
        self.lock = threading.RLock()


def _renew_lock() -> None:
    """Make a new lock in the child of a fork, where the thread that holds the old one does not
    exist."""
    global _lock
    _lock = threading.RLock()
    for offer_ in list(_offers.values()):
        offer_.lock = threading.RLock()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_renew_lock)


def default_ssl_context(protocols: tuple[str, ...] = HTTP11_ONLY) -> ssl.SSLContext:
    """Return the context of a pool that was given none: verifies against certifi's roots, or those
    that SSL_CERT_FILE and SSL_CERT_DIR name.

    Parameters: `protocols`: what to offer, see `create_ssl_context`.

    Returns a shared object: do not change it. Thread-safe.
    """
    return create_ssl_context(protocols=protocols)


def create_ssl_context(
    verify: Verify = True,
    cert: Cert = None,
    *,
    ca_dir: Directory = None,
    ca_data: str | bytes | None = None,
    minimum_version: int | None = None,
    maximum_version: int | None = None,
    check_hostname: bool = True,
    protocols: tuple[str, ...] = HTTP11_ONLY,
) -> ssl.SSLContext:
    """Return the shared context for these settings; built on the first call for them.

    Parameters:
        verify: True verifies against certifi's roots (or SSL_CERT_FILE / SSL_CERT_DIR, or the
            system's where truststore was injected), a path against that bundle file or hashed
            directory, False not at all.
        cert: client certificate: a PEM file with the key inside, ``(cert, key)`` or
            ``(cert, key, password)``; bytes in place of a path are the PEM text itself.
        ca_dir: a hashed directory to trust, too; where `verify` is True, in place of its roots.
        ca_data: certificates to trust, PEM text or DER bytes, likewise.
        minimum_version, maximum_version: `ssl.TLSVersion`; None for Python's own, which are
            TLS 1.2 and the newest.
        check_hostname: False verifies that the certificate is good, not that it is the host's.
        protocols: what to offer by ALPN, best first: ``("h2", "http/1.1")`` for a pool that
            speaks HTTP/2.

    Returns:
        A context that is never changed after this; do not change it either. A file that was
        rewritten since (other inode, size or time) leads to a new one.

    Raises:
        OSError: a file is missing, naming it. Where SSL_CERT_FILE or SSL_CERT_DIR named it, the
            text says so, and the error's ``variable`` is that name.
        ssl.SSLError: a file is not what it should be.
        TypeError: `verify`, `cert` or `protocols` is of a wrong type.

    Thread-safe: each context is built once, however many threads ask.
    """
    if type(protocols) is not tuple:
        raise TypeError(f"protocols must be a tuple of str, not {type(protocols).__name__}")
    key = _key(verify, cert)
    more = (ca_dir, ca_data, minimum_version, maximum_version, check_hostname, protocols)
    if more != _NOTHING_MORE:
        key = (key, _identity(None if ca_dir is None else os.fspath(ca_dir)), *more[1:])
    context = _contexts.get(key)
    if context is None:
        with _lock:
            context = _contexts.get(key)
            if context is None:
                context = _in_use.get(key)
                if context is None:
                    context = _in_use.setdefault(key, _build(verify, cert, *more))
                while len(_contexts) >= MAX_CONTEXTS:
                    _contexts.pop(next(iter(_contexts), None), None)
                _contexts[key] = context
    return context


def offer(context: object, protocols: tuple[str, ...] | None) -> None:
    """Make `context` offer `protocols` from its next handshake on. Call it right before one.

    Parameters:
        context: of whatever make. One of ours offers them already. One that the caller made is
            changed where it has to offer HTTP/2, or did for us and now must not; it is left as it
            is as long as no more than HTTP/1.1 is asked for. So is one that has no
            `set_alpn_protocols`: the server is then offered nothing, and uses HTTP/1.1.
        protocols: best first; None for HTTP/1.1.

    Thread-safe. Two pools that share a context and offer different things may dial at the same
    time: the streams of this package ask `offered`, and hold the context as long as it matters.
    Streams of other makes do not, so that one of them may offer what the other wants.
    """
    protocols = HTTP11_ONLY if protocols is None else protocols
    while_offering(context, protocols, lambda: None)
    if isinstance(context, ssl.SSLContext):  # others may shake hands while they wrap
        _last.offer = weakref.ref(context), protocols


class _Last(threading.local):
    offer: tuple[Callable[[], object], tuple[str, ...]] | None = None


# Of each thread: what `offer` was called with, until a stream has asked. A stream's `start_tls`,
# which is public, has no argument for it.
_last = _Last()


def offered(context: object) -> tuple[str, ...] | None:
    """Return what this thread has just passed to `offer` for `context`; None where it has not. The
    next call returns None."""
    last, _last.offer = _last.offer, None
    return last[1] if last is not None and last[0]() is context else None


def while_offering(context: object, protocols: tuple[str, ...] | None, act: Callable[[], _T]) -> _T:
    """Make `context` offer `protocols`, as `offer` does, and return what `act()` does, while no
    other thread can change that: what a connection offers is settled when its socket is wrapped.

    No context manager: that of a generator takes the lock before its block begins, and an interrupt
    in between would leave it taken until the exception and its frames are gone.

    Parameters: as of `offer`; with None for `protocols`, nothing is changed and no lock is held.
    """
    if protocols is None:
        return act()
    try:
        held = _offers.setdefault(context, _Offer())
    except TypeError:  # of a make that cannot be a key: it is set each time
        held = _Offer()
    with held.lock:
        # A context that was never changed is left to its owner where HTTP/1.1 will do.
        if held.protocols != protocols and (held.protocols, protocols) != (None, HTTP11_ONLY):
            _set_protocols(context, held, protocols)
        return act()


def _set_protocols(context: object, held: _Offer, protocols: tuple[str, ...]) -> None:
    set_protocols = getattr(context, "set_alpn_protocols", None)
    if set_protocols is not None:
        held.protocols = ()  # or a fork or an interrupt in between would leave a lie
        set_protocols(list(protocols))
        held.protocols = protocols


def resume_tls_sessions(context: AnyContext) -> AnyContext:
    """Let new connections made with `context` resume TLS sessions of earlier ones.

    A resumed handshake is shorter, and skips the certificates of both sides. So ask for it when
    the context is set up, and neither load a client certificate into it nor take trust from it
    afterwards: new connections might not see that. (Its `verify_mode`, `check_hostname`,
    `verify_flags`, `options` and versions are looked at each time: a session is not resumed when
    one of them has changed.)

    Parameters:
        context: one that you made, for a pool, a request, a proxy or an adapter. Those from
            `create_ssl_context` and `default_ssl_context` are resumed without this.

    Returns `context`. Raises TypeError when it is of a make whose objects cannot be distinguished.
    """
    try:
        _resumable.add(context)
    except TypeError as exc:
        raise TypeError(
            f"TLS sessions of a {type(context).__name__} cannot be resumed: {exc}"
        ) from exc
    return context


def resumes_tls_sessions(context: object) -> bool:
    """Return whether new connections made with `context` may resume sessions: it was made by
    `create_ssl_context`, or `resume_tls_sessions` was called with it."""
    try:
        return context in _resumable
    except TypeError:
        return False


def explain_handshake(exc: BaseException) -> str:
    """Return what to try after the failed handshake `exc`, to be put behind its text; or nothing.

    Code that knew more and added it to the text sets ``explained`` on `exc`.
    """
    if not isinstance(exc, ssl.SSLError) or getattr(exc, "explained", False):
        return ""
    if getattr(exc, "verify_code", None) in UNTRUSTED:
        return TRUST_ITS_CA
    # One that was made by hand has no reason.
    return USE_PLAIN_HTTP if getattr(exc, "reason", None) in _NOT_TLS else ""


def load_roots(
    context: ssl.SSLContext,
    verify: Verify = True,
    *,
    ca_dir: Directory = None,
    ca_data: str | bytes | None = None,
) -> None:
    """Make `context`, which the caller made, trust what `create_ssl_context` would.

    Parameters: see `create_ssl_context`. Roots add up to those that `context` has. Where `verify`
    is True and nothing else is given, a context that has the system's trust (truststore's) is left
    as it is.

    Raises OSError and ssl.SSLError as `create_ssl_context` does. Thread-safe unless `context`
    is in use elsewhere.
    """
    if verify is False or verify is None:
        return
    if verify is not True:
        _load_roots(context, os.fspath(verify))
    elif not ca_dir and not ca_data:
        _load_default_roots(context)
    if ca_dir:
        _load_roots(context, os.fspath(ca_dir))
    if ca_data:
        context.load_verify_locations(cadata=ca_data)


def _key(verify: Verify, cert: Cert) -> object:
    # `ssl.SSLContext` is part of it: truststore.inject_into_ssl() replaces the class.
    if verify is True:
        env = os.environ
        roots: object = (
            _identity(env.get("SSL_CERT_FILE")),
            _identity(env.get("SSL_CERT_DIR")),
        )
    elif verify is False or verify is None:
        roots = False
    elif isinstance(verify, (str, os.PathLike)):
        roots = _identity(os.fspath(verify))
    else:
        raise TypeError(f"verify must be a bool or a path, not {type(verify).__name__}")
    # Keys of sessions are written where the variable says now, or not at all.
    return (ssl.SSLContext, roots, _cert_key(cert), os.environ.get("SSLKEYLOGFILE") or None)


def _cert_key(cert: Cert) -> object:
    if cert is None:
        return None
    if isinstance(cert, (str, bytes, os.PathLike)):
        return _part_key(cert)
    if isinstance(cert, (tuple, list)) and 2 <= len(cert) <= 3:
        password = cert[2] if len(cert) == 3 else None
        return (_part_key(cert[0]), _part_key(cert[1]), password)
    raise TypeError("cert must be a path or PEM bytes, (cert, key) or (cert, key, password)")


def _part_key(part: str | bytes | os.PathLike[str] | None) -> object:
    # A digest, so that no private key stays in memory for being a key of the cache.
    if isinstance(part, bytes):
        import hashlib  # few certificates are bytes

        return hashlib.sha256(part).digest()
    return _identity(None if part is None else os.fspath(part))


def _identity(path: str | None) -> object:
    """Return what distinguishes this file from another under the same name; None stands for no
    file."""
    if not path:
        return None
    try:
        status = os.stat(path)
    except OSError:
        return path  # building will say what is wrong
    # The last one shows a rewrite whose writer put the old time back.
    return (
        path, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
    )  # fmt: skip


def _build(
    verify: Verify,
    cert: Cert,
    ca_dir: Directory,
    ca_data: str | bytes | None,
    minimum_version: Any,
    maximum_version: Any,
    check_hostname: bool,
    protocols: tuple[str, ...],
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if minimum_version is not None:
        context.minimum_version = minimum_version
    if maximum_version is not None:
        context.maximum_version = maximum_version
    context.verify_flags |= _VERIFY_FLAGS
    if ssl.HAS_NEVER_CHECK_COMMON_NAME:
        context.hostname_checks_common_name = False
    if verify is False or verify is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context.check_hostname = check_hostname
        load_roots(context, verify, ca_dir=ca_dir, ca_data=ca_data)
    # RFC 7301: without it, servers that support more than HTTP/1.1 have to guess.
    context.set_alpn_protocols(list(protocols))
    _offers[context] = _Offer(protocols)
    # RFC 8446 section 4.6.2: servers that ask for a certificate for some paths only.
    context.post_handshake_auth = True
    key_log = os.environ.get("SSLKEYLOGFILE")
    if key_log:
        context.keylog_filename = key_log
    if cert is not None:
        _load_cert(context, cert)
    # Not truststore's, which verifies the server's chain anew: a resumed session has none.
    if not _trusts_the_system(context):
        _resumable.add(context)
    return context


def _load_default_roots(context: ssl.SSLContext) -> None:
    if _trusts_the_system(context):
        return
    # As OpenSSL does: either variable replaces the built-in roots, which are certifi's here.
    file = os.environ.get("SSL_CERT_FILE") or None
    directory = os.environ.get("SSL_CERT_DIR") or None
    if file is None and directory is None:
        import certifi  # on its way to the file it imports a good deal

        _load_roots(context, certifi.where())
        return
    if file is not None:
        try:
            _load_roots(context, file)
        except OSError as exc:  # ssl.SSLError is one
            raise _bad_variable("SSL_CERT_FILE", file, exc) from exc
    folders = [each for each in (directory or "").split(os.pathsep) if os.path.isdir(each)]
    for folder in folders:
        context.load_verify_locations(capath=folder)
    if file is None and not folders:
        missing = FileNotFoundError("no such directory")
        raise _bad_variable("SSL_CERT_DIR", directory or "", missing)


def _bad_variable(name: str, value: str, cause: OSError) -> OSError:
    """Return `cause` under its own type, with a text that says where the path comes from.

    Its ``variable`` is the name: so the adapter knows it again.
    """
    why = "not found" if isinstance(cause, FileNotFoundError) else cause.strerror or str(cause)
    text = (
        f"cannot load the TLS CA certificates that the environment names, {name}={value}: {why}; "
        f"correct {name} or unset it"
    )
    error = type(cause)(
        *((ssl.SSL_ERROR_SSL, text) if isinstance(cause, ssl.SSLError) else (text,))
    )
    error.variable = name  # type: ignore[attr-defined]  # OSError has no such attribute by itself
    return error


def _trusts_the_system(context: object) -> bool:
    """Return whether the trust of a context is not loaded into it: truststore's says so in this
    way."""
    stats = getattr(context, "cert_store_stats", None)
    if stats is not None:
        try:
            stats()
        except NotImplementedError:
            return True
    return False


def _load_roots(context: ssl.SSLContext, path: str) -> None:
    if os.path.isdir(path):
        context.load_verify_locations(capath=path)
        return
    if not os.path.exists(path):
        raise FileNotFoundError(f"TLS CA bundle not found: {path}")
    _check_readable(path)
    try:
        context.load_verify_locations(cafile=path)
    except ssl.SSLError as exc:
        text = f"cannot load the TLS CA bundle {path}: {exc.strerror or exc}"
        raise ssl.SSLError(exc.errno, text) from exc


def _check_readable(path: str | os.PathLike[str]) -> None:
    """Raise the OSError of a file that cannot be read, with its name, which that of `ssl` lacks."""
    with open(path, "rb"):
        pass


def _load_cert(context: ssl.SSLContext, cert: Cert) -> None:
    parts: list[Any] = list(cert) if isinstance(cert, (tuple, list)) else [cert]
    file, key, password = (*parts, None, None)[:3]
    for path, what in ((file, "certificate"), (key, "key")):
        if path and not isinstance(path, bytes):
            if not os.path.exists(path):
                raise FileNotFoundError(f"TLS client {what} file not found: {path}")
            _check_readable(path)
    where = "memory" if isinstance(key or file, bytes) else key or file

    locked = f"the TLS client key in {where} is encrypted: give its password"

    def no_password() -> str:  # without this, OpenSSL asks for it on the terminal
        raise ssl.SSLError(ssl.SSL_ERROR_SSL, locked)

    with contextlib.ExitStack() as files:
        paths = [_as_file(part, files) for part in (file, key)]
        try:
            context.load_cert_chain(
                paths[0], paths[1], no_password if password is None else password
            )
        except ssl.SSLError as exc:
            if exc.strerror == locked:
                raise
            text = f"cannot load the TLS client certificate: {exc.strerror or exc}"
            raise ssl.SSLError(exc.errno, f"{text}; {_what_is_wrong(file, key, paths)}") from exc


def _what_is_wrong(file: Pem, key: Pem | None, paths: list[Any]) -> str:
    """Return which of the files of a client certificate lacks what it needs."""
    cert_in, key_in = (
        "the PEM text" if isinstance(part, bytes) else os.fspath(part)
        for part in (file, key or file)
    )
    if not _contains(paths[0], b"CERTIFICATE-----"):
        return f"{cert_in} contains no certificate in PEM format"
    if not _contains(paths[1] or paths[0], b"PRIVATE KEY-----"):
        more = "" if key else ": pass the pair (certificate, key), or one file that holds both"
        return f"{key_in} contains no private key in PEM format{more}"
    return f"check that the password is right and that the key in {key_in} is that of {cert_in}"


def _contains(path: str | os.PathLike[str], mark: bytes) -> bool:
    try:
        with open(path, "rb") as file:
            return mark in file.read()
    except OSError:
        return True  # that cannot be known


def _as_file(part: object, files: contextlib.ExitStack) -> Any:
    """Return a path for PEM bytes, for as long as `files` is open: the ssl module reads only files.

    Where the system has it, the file is in memory and has no name; else only we may read it.
    """
    if not isinstance(part, bytes):
        return part
    if hasattr(os, "memfd_create"):
        number = os.memfd_create("pem", os.MFD_CLOEXEC)
        files.callback(os.close, number)
        os.write(number, part)
        return f"/proc/self/fd/{number}"
    import tempfile  # pragma: no cover

    made = tempfile.NamedTemporaryFile()  # noqa: SIM115  # pragma: no cover - `files` closes it
    file = files.enter_context(made)  # pragma: no cover
    file.write(part)  # pragma: no cover
    file.flush()  # pragma: no cover
    return file.name  # pragma: no cover
