"""The exit codes of the command, and which failure has which.

Owns: the codes and the one line that is said about a failure. Must not know: options, terminals.

The numbers are those of curl (curl(1), "EXIT CODES") where it has one for the same thing, so that
scripts need not learn new ones.
"""

from __future__ import annotations

import contextlib
import os
import ssl
import sys
from enum import IntEnum

import httpcore
from httpcore import exceptions

from .._exceptions import NOT_SENT
from .._ssl import TRUST_ITS_CA


class Exit(IntEnum):
    """The exit codes of the command."""

    OK = 0
    OTHER = 1  # something that has no code of its own
    USAGE = 2  # wrong options, or a request that cannot be expressed; nothing was sent
    RESOLVE = 6  # the host name has no address
    CONNECT = 7  # no connection
    PROTOCOL = 8  # the server broke HTTP
    INCOMPLETE = 18  # the body ended too early
    STATUS = 22  # --fail, and the status is 400 or above
    WRITE = 23  # the body cannot be written
    READ = 26  # a local file cannot be read
    TIMEOUT = 28  # any time limit
    TLS = 35  # the handshake failed
    REDIRECTS = 47  # too many
    EMPTY = 52  # the server closed without a byte
    SEND = 55  # the network failed while sending
    RECEIVE = 56  # the network failed while receiving
    CERTIFICATE = 60  # the server's certificate was refused
    ENCODING = 61  # the body's content encoding is broken
    PROXY = 97  # the proxy refused or failed
    INTERRUPTED = 130  # Ctrl-C; 128 + SIGINT, as shells count
    PIPE = 141  # nobody reads the output any more; 128 + SIGPIPE


class Problem(Exception):
    """The command cannot go on. It returns `code`, and says `text` if there is any; `cause` is the
    exception of the package that it came from, if it was one."""

    def __init__(self, code: Exit, text: str, cause: BaseException | None = None) -> None:
        super().__init__(text)
        self.code, self.text, self.cause = code, text, cause


def usage(text: str) -> Problem:
    return Problem(Exit.USAGE, text)


def unwritable(path: str, exc: Exception) -> Problem:
    return Problem(Exit.WRITE, f"write to {path} failed: {getattr(exc, 'strerror', None) or exc}")


def stdout_failed(exc: OSError) -> Problem:
    """Return what to say about it, and write nothing more there: Python tries again at its end."""
    with contextlib.suppress(OSError, ValueError), open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
    is_pipe = isinstance(exc, BrokenPipeError)
    return Problem(Exit.PIPE, "") if is_pipe else unwritable("standard output", exc)


# The first that fits: what is more special, or says more to a script, stands above.
_FAILURES: dict[Exit, type[Exception] | tuple[type[Exception], ...]] = {
    Exit.TIMEOUT: httpcore.TimeoutException,
    Exit.PROXY: httpcore.ProxyError,
    Exit.RESOLVE: exceptions.NameResolutionError,
    Exit.TLS: exceptions.TLSError,
    Exit.CONNECT: httpcore.ConnectError,
    Exit.EMPTY: exceptions.ServerDisconnected,
    Exit.INCOMPLETE: exceptions.IncompleteBody,
    Exit.USAGE: (httpcore.LocalProtocolError, httpcore.UnsupportedProtocol),
    Exit.PROTOCOL: httpcore.ProtocolError,
    Exit.SEND: httpcore.WriteError,
    Exit.RECEIVE: httpcore.NetworkError,
}


# OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH.
_MISMATCHES = (62, 64)


def explain(exc: BaseException) -> Problem | None:
    """Return `exc` as what the command says and returns; None for one that should not have
    happened."""
    if isinstance(exc, Problem):
        return exc
    if isinstance(exc, KeyboardInterrupt):
        return Problem(Exit.INTERRUPTED, "interrupted")
    code = next((code for code, kinds in _FAILURES.items() if isinstance(exc, kinds)), None)
    if code is None:
        if not isinstance(exc, OSError):
            return None
        # Of a local file: the network's are the package's own. Those of TLS say which file it is.
        is_said = exc.errno is None or isinstance(exc, ssl.SSLError)
        text = str(exc) if is_said else f"read {exc.filename or 'the body'} failed: {exc.strerror}"
        return Problem(Exit.READ, text)
    cause = exc.__cause__
    if code is Exit.TLS and isinstance(cause, ssl.SSLCertVerificationError):
        code = Exit.CERTIFICATE
    elif code in (Exit.SEND, Exit.RECEIVE) and isinstance(cause, ssl.SSLError):
        code = Exit.TLS  # TLS 1.3: a refused client certificate is reported after the handshake
    elif code is Exit.USAGE and getattr(exc, "phase", NOT_SENT) != NOT_SENT:
        code = Exit.READ  # a file that changed its length while it was sent
    text = exceptions.explain(exc).replace(TRUST_ITS_CA, "; to trust its CA, use --cacert FILE")
    if code is Exit.CERTIFICATE:
        if getattr(cause, "verify_code", None) in _MISMATCHES:
            text += "; ask for a name that it has, with --resolve if that leads elsewhere"
        text += "; -k (--insecure) does not verify at all"
    return Problem(code, text, exc)
