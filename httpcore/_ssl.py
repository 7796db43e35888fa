"""TLS contexts: built once per (verify, cert, identity of the files), never changed after.

Owns: the cache of contexts and what goes into one. Must not know: connections or requests.

Loading a CA bundle costs milliseconds and a megabyte on OpenSSL 3 (python/cpython#95031), so
a context is built when the first TLS connection needs it and then shared. Changing a shared
context was the cause of wrong client certificates and crashes (psf/requests#6726), so nobody
does. A file that is rewritten in place has a new identity and so gets a new context.

Sources: RFC 8446, RFC 7301 (ALPN), OpenSSL's SSL_CTX_set_default_verify_paths(3) for
SSL_CERT_FILE and SSL_CERT_DIR.
"""

from __future__ import annotations

import os
import ssl
import threading
from typing import Union

import certifi

Verify = Union[bool, str, "os.PathLike[str]"]
Cert = Union[str, "os.PathLike[str]", tuple[str, str], tuple[str, str, str], None]

# How many contexts are kept, each about 1 MB with a full CA bundle. A process that rotates
# certificates for ever must not keep them all; the oldest goes first.
MAX_CONTEXTS = 64

_contexts: dict[object, ssl.SSLContext] = {}
_lock = threading.Lock()


def _renew_lock() -> None:
    """In the child of a fork, where the thread that holds the lock does not exist."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_renew_lock)


def default_ssl_context() -> ssl.SSLContext:
    """The context of a pool that was given none: verifies against certifi's roots, or those
    that SSL_CERT_FILE and SSL_CERT_DIR name.

    Returns a shared object: do not change it. Thread-safe.
    """
    return create_ssl_context()


def create_ssl_context(verify: Verify = True, cert: Cert = None) -> ssl.SSLContext:
    """The shared context for these settings; built on the first call for them.

    Parameters:
        verify: True verifies against certifi's roots (or SSL_CERT_FILE / SSL_CERT_DIR), a
            path against that bundle file or hashed directory, False not at all.
        cert: client certificate: a PEM file with the key inside, ``(cert, key)`` or
            ``(cert, key, password)``.

    Returns:
        A context that is never changed after this; do not change it either. A file that was
        rewritten since (other inode, size or modification time) leads to a new one.

    Raises:
        OSError: a file is missing, naming it. ssl.SSLError: a file is not what it should be.
        TypeError: `verify` or `cert` is of a wrong type.

    Thread-safe: each context is built once, however many threads ask.
    """
    key = _key(verify, cert)
    context = _contexts.get(key)
    if context is None:
        with _lock:
            context = _contexts.get(key)
            if context is None:
                context = _build(verify, cert)
                while len(_contexts) >= MAX_CONTEXTS:
                    del _contexts[next(iter(_contexts))]
                _contexts[key] = context
    return context


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
    return (ssl.SSLContext, roots, _cert_key(cert))


def _cert_key(cert: Cert) -> object:
    if cert is None:
        return None
    if isinstance(cert, (str, os.PathLike)):
        return _identity(os.fspath(cert))
    if isinstance(cert, (tuple, list)) and 2 <= len(cert) <= 3:
        password = cert[2] if len(cert) == 3 else None
        return (_identity(cert[0]), _identity(cert[1]), password)
    raise TypeError("cert must be a path, (cert, key) or (cert, key, password)")


def _identity(path: str | None) -> object:
    """What tells this file from another under the same name; None stands for no file."""
    if not path:
        return None
    try:
        status = os.stat(path)
    except OSError:
        return path  # building will say what is wrong
    return (path, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def _build(verify: Verify, cert: Cert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if verify is False or verify is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif verify is True:
        _load_default_roots(context)
    else:
        _load_roots(context, os.fspath(verify))
    # RFC 7301: without it, servers that speak more than HTTP/1.1 have to guess.
    context.set_alpn_protocols(["http/1.1"])
    key_log = os.environ.get("SSLKEYLOGFILE")
    if key_log:
        context.keylog_filename = key_log
    if cert is not None:
        _load_cert(context, cert)
    return context


def _load_default_roots(context: ssl.SSLContext) -> None:
    # As OpenSSL does: either variable replaces the built-in roots, which are certifi's here.
    file = os.environ.get("SSL_CERT_FILE") or None
    directory = os.environ.get("SSL_CERT_DIR") or None
    if file is None and directory is None:
        _load_roots(context, certifi.where())
        return
    if file is not None:
        _load_roots(context, file)
    if directory is not None:
        for part in directory.split(os.pathsep):
            if os.path.isdir(part):
                context.load_verify_locations(capath=part)


def _load_roots(context: ssl.SSLContext, path: str) -> None:
    if os.path.isdir(path):
        context.load_verify_locations(capath=path)
        return
    if not os.path.exists(path):
        raise FileNotFoundError(f"TLS CA bundle not found: {path}")
    context.load_verify_locations(cafile=path)


def _load_cert(context: ssl.SSLContext, cert: Cert) -> None:
    parts = [os.fspath(cert)] if isinstance(cert, (str, os.PathLike)) else list(cert or ())
    for path, what in zip(parts[:2], ("certificate", "key"), strict=False):
        if path and not os.path.exists(path):
            raise FileNotFoundError(f"TLS client {what} file not found: {path}")
    context.load_cert_chain(*parts)
