"""Every error this package raises, and what each says about the request.

Owns: the exception classes. Must not know: anything else of the package.

    Exception
    ├── ConnectionNotAvailable      this connection is busy or finished; never leaves a pool
    ├── ProxyError                  the proxy refused, failed or broke HTTP    not_sent
    ├── UnsupportedProtocol         a URL scheme we do not speak               not_sent
    ├── ProtocolError
    │   ├── LocalProtocolError      we were asked to send something invalid    not_sent
    │   │   └── InvalidTimeout      a negative, NaN or non-number timeout      not_sent
    │   └── RemoteProtocolError     the server broke HTTP                      maybe_processed
    │       ├── ServerDisconnected  closed before any byte of the answer       maybe_processed
    │       ├── IllegalStatusLine   the answer begins with something else      response_started
    │       ├── ConflictingLengths  two different Content-Lengths              response_started
    │       └── IncompleteBody      closed inside the body                     response_started
    ├── TimeoutException
    │   ├── PoolTimeout             no connection became free in time          not_sent
    │   ├── ConnectTimeout          TCP or TLS was not up in time              not_sent
    │   │   └── ProxyConnectTimeout … or the proxy's part (also a ProxyError)      not_sent
    │   ├── ReadTimeout             the server was silent for too long         maybe_processed
    │   └── WriteTimeout            the server stopped reading                 maybe_processed
    └── NetworkError
        ├── ConnectError            TCP or TLS failed                          not_sent
        │   ├── NameResolutionError the host name has no address               not_sent
        │   ├── ProxyConnectError   no connection to the proxy (a ProxyError)  not_sent
        │   └── TLSError            handshake or certificate refused           not_sent
        ├── ReadError               the network failed while reading           maybe_processed
        └── WriteError              the network failed while writing           maybe_processed
            └── Aborted             another thread said stop (also a ReadError) maybe_processed

`phase` says how far the request got, so that a retry can be decided on facts:

- ``not_sent``: no byte of it reached the wire; sending it again is always safe.
- ``maybe_processed``: the server may have acted on it; only an idempotent request
  (RFC 9110 section 9.2.2) may be sent again.
- ``response_started``: the answer began to arrive; the server did act.

The class gives the usual phase, and where the code knows better it sets the instance's.

Programs match the texts of httpcore 1.0, so an error that it knows has its text, word for word.
What else there is to say about one, such as who refused what, is attached by `explained`: a
traceback shows it as a note, and `explain` returns it.

HTTPX's tests fail on any public exception that HTTPX has no namesake for, so the finer
subclasses live here and stay out of the package's public names.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, TypeVar

NOT_SENT = "not_sent"
MAYBE_PROCESSED = "maybe_processed"
RESPONSE_STARTED = "response_started"


DISCONNECTED = "Server disconnected without sending a response."

_E = TypeVar("_E", bound=Exception)


def explained(error: _E, text: str) -> _E:
    """Attach `text`, a whole sentence about it, to `error`, and return it."""
    error.__dict__["explanation"] = text
    if hasattr(error, "add_note"):  # from Python 3.11 on
        error.add_note(text)
    return error


def explain(error: BaseException) -> str:
    """Return all that an error of this package has to say.

    That is its text, or where that is one of httpcore 1.0's short ones, such as ``403 Forbidden``
    for a tunnel, a sentence that also names what was asked of whom.
    """
    return str(error.__dict__.get("explanation") or error)


def caused(error: _E, cause: BaseException) -> _E:
    """Return `error` as `raise error from cause` leaves it.

    For a ``raise`` of what a function returns: a frame that has a name for what it raises is kept
    by it, through the traceback, until the garbage collector runs.
    """
    error.__cause__ = cause
    return error


def without_frames(exc: _E) -> _E:
    """Return `exc`, which is to be kept, without the frames that it and its causes came through.

    One of them has the response that owns the connection: kept with the connection, it would never
    be dropped.
    """
    each: BaseException | None = exc
    while each is not None:
        each.__traceback__ = each.__context__ = None
        each = each.__cause__
    return exc


def raised_anew(exc: _E) -> _E:
    """Return a copy of `exc`, which is kept, to be raised: what is raised gets the frames that it
    comes through, and `without_frames` says what these hold; and maybe notes, which are about one
    request."""
    raised = _like(exc, exc.args, vars(exc))
    if "__notes__" in raised.__dict__:
        raised.__dict__["__notes__"] = list(raised.__dict__["__notes__"])
    if exc.__cause__ is not None:
        raised.__cause__ = exc.__cause__
    return raised


def with_text(exc: _E, text: str) -> _E:
    """Return an error like `exc` that says `text`, and nothing else."""
    said = ("explanation", "__notes__")
    state = {name: value for name, value in vars(exc).items() if name not in said}
    return _like(exc, (text,), state)


def _like(exc: _E, args: tuple[object, ...], state: dict[str, object]) -> _E:
    """Return another error of its type, which may have a constructor of its own: a stream of
    another make raises errors of another make. So no constructor is called."""
    kind: Any = type(exc)
    try:
        made: _E = kind.__new__(kind, *args)
    except TypeError:  # it cannot be made without its constructor
        kind = next(each for each in kind.__mro__ if each.__module__.startswith("httpcore"))
        made = kind.__new__(kind, *args)
    made.args = args
    made.__dict__.update(state)
    for name in _kept_apart(exc):
        value = getattr(exc, name, None)
        if value is not None:
            with suppress(AttributeError):  # of `kind`, it may have no such place
                setattr(made, name, value)
    return made


def _kept_apart(exc: Exception) -> list[str]:
    """Return the names of attributes that are not in the dict of `exc`."""
    slots = [vars(each).get("__slots__", ()) for each in type(exc).__mro__]
    names = [name for each in slots for name in ([each] if isinstance(each, str) else each)]
    names = [name for name in names if not name.startswith("__")]
    return names + (["errno", "strerror", "filename"] if isinstance(exc, OSError) else [])


class ConnectionNotAvailable(Exception):
    """This connection cannot take another request; a pool picks another one."""

    phase = NOT_SENT


class ProxyError(Exception):
    """The proxy refused, failed, or broke its protocol.

    Attributes:
        status: what it answered to CONNECT, or None where there was no answer.
        headers, body: of that answer; the body as far as it came, 64 KiB at most.
    """

    phase = NOT_SENT

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self.status: int | None = None
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""


class UnsupportedProtocol(Exception):
    """The URL's scheme is missing or not one we speak."""

    phase = NOT_SENT


class ProtocolError(Exception):
    """HTTP was broken, by us or by the server."""

    phase = MAYBE_PROCESSED


class RemoteProtocolError(ProtocolError):
    """The server sent something that is not HTTP, or ended too early.

    Attributes:
        payload: bytes of the body that came before the fault, in the same piece, while the error
            is on its way to the reader of the body: it gives them first.
    """

    payload = b""


class LocalProtocolError(ProtocolError):
    """The request cannot be expressed in HTTP; nothing was sent."""

    phase = NOT_SENT


class InvalidTimeout(LocalProtocolError, ValueError):
    """A timeout that is negative or NaN."""


class ServerDisconnected(RemoteProtocolError):
    """The server closed the connection before the first byte of its answer."""


class IllegalStatusLine(RemoteProtocolError):
    """The answer does not begin as an HTTP/1 response does."""

    phase = RESPONSE_STARTED


class ConflictingLengths(RemoteProtocolError):
    """The response carries two different Content-Lengths (RFC 9112 section 6.3)."""

    phase = RESPONSE_STARTED


class IncompleteBody(RemoteProtocolError):
    """The connection ended inside the body.

    Attributes:
        received: body bytes that did arrive.
        expected: the Content-Length, or None where the length was not announced.
    """

    phase = RESPONSE_STARTED

    def __init__(self, message: str = "", received: int = 0, expected: int | None = None) -> None:
        super().__init__(message)
        self.received = received
        self.expected = expected


class TimeoutException(Exception):
    """Something took longer than the caller allowed."""

    phase = MAYBE_PROCESSED


class PoolTimeout(TimeoutException):
    """No connection became free within the pool timeout."""

    phase = NOT_SENT


class ConnectTimeout(TimeoutException):
    """The connection was not up within the connect timeout."""

    phase = NOT_SENT


class ReadTimeout(TimeoutException):
    """No byte arrived within the read timeout."""


class WriteTimeout(TimeoutException):
    """The peer accepted no byte within the write timeout."""


class NetworkError(Exception):
    """The operating system reported a failure of the network."""

    phase = MAYBE_PROCESSED


class ConnectError(NetworkError):
    """The connection could not be opened."""

    phase = NOT_SENT


class NameResolutionError(ConnectError):
    """The host name could not be resolved."""


class ProxyConnectError(ConnectError, ProxyError):
    """The connection to the proxy could not be opened."""


class ProxyConnectTimeout(ConnectTimeout, ProxyError):
    """The proxy was not reached, or did not answer CONNECT, within the connect timeout."""


class TLSError(ConnectError):
    """The TLS handshake failed or the certificate was refused."""


class ReadError(NetworkError):
    """Reading from the connection failed."""


class WriteError(NetworkError):
    """Writing to the connection failed."""


class Aborted(ReadError, WriteError):
    """Another thread closed the response or the pool, or cancelled the request."""


# Tracebacks and pickles show the path by which a program imports a class. Those that the package
# itself has show that: `httpcore` sees to it.
for _each in [*globals().values()]:
    if isinstance(_each, type) and issubclass(_each, Exception):
        _each.__module__ = "httpcore.exceptions"
del _each
