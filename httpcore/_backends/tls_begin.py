"""Beginning TLS on a socket, with contexts and sockets of any make.

Owns: which arguments a context's `wrap_socket` gets, and what makes its result usable. Must not
know: streams, sessions, certificates, HTTP.

Programs hand in contexts that are not the ssl module's (pyOpenSSL's, mocks), or whose
`wrap_socket` was replaced by one that takes no more than urllib3 passes: the socket and
`server_hostname`. So two more arguments are passed only where they are accepted:

- ``do_handshake_on_connect=False``, so that another thread can end the handshake. Where a context
  does the handshake itself, it is ended through a second descriptor of the same socket.
- ``suppress_ragged_eofs=False``, so that an end without close_notify is seen. Sockets of the ssl
  module can be given that afterwards.

Sources: urllib3's `ssl_wrap_socket`, the ssl module's `SSLSocket`.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any

from .._ssl import offered, while_offering
from .interrupt import clear_waker, set_waker, shut_down

_WANTED = {"do_handshake_on_connect": False, "suppress_ragged_eofs": False}


def wrap_socket(
    context: Any,
    sock: Any,
    *,
    server_hostname: str | None = None,
    protocols: tuple[str, ...] | None = None,
) -> Any:
    """Put TLS on a connected socket, with a context of whatever make.

    Parameters:
        context: anything with a `wrap_socket` that urllib3 could use.
        sock: the socket; `ssl` takes its descriptor over, other makes may keep using it.
        server_hostname: for SNI and the check of the certificate.
        protocols: what the context has to offer by ALPN for this connection, best first; None
            for what this thread has just passed to `offer`, or else leaves it to the context.

    Returns what the context made of the socket. Its `do_handshake` has to be called; where the
    context did the handshake already, that does nothing.

    Raises what the context raises. Thread-safe.
    """
    if protocols is None:
        protocols = offered(context)
    wrap = context.wrap_socket
    options = _accepted(wrap)
    if "do_handshake_on_connect" not in options:
        wrapped = _shake_hands_too(context, sock, server_hostname, protocols)
    else:
        try:
            begin = partial(wrap, sock, server_hostname=server_hostname, **options)
            wrapped = while_offering(context, protocols, begin)
        except TypeError as exc:  # by a function that hands on all it gets to one that takes less
            if not any(name in str(exc) for name in options) or sock.fileno() < 0:
                raise
            wrapped = _shake_hands_too(context, sock, server_hostname, protocols)
    if isinstance(wrapped, ssl.SSLSocket):
        wrapped.suppress_ragged_eofs = False  # type: ignore[attr-defined]
        return wrapped
    return wrapped if _is_complete(wrapped) else ForeignSocket(wrapped, sock)


def wrap_bio(
    context: Any,
    incoming: ssl.MemoryBIO,
    outgoing: ssl.MemoryBIO,
    *,
    server_hostname: str | None = None,
    protocols: tuple[str, ...] | None = None,
) -> Any:
    """Do as `wrap_socket` does, for TLS that works on memory: an `ssl.SSLObject`.

    Raises ssl.SSLError where the context has no such thing, and what the context raises.
    """
    wrap = getattr(context, "wrap_bio", None)
    if wrap is None:
        text = (
            f"{type(context).__name__} cannot be used inside another TLS connection: "
            "use an ssl.SSLContext"
        )
        raise ssl.SSLError(ssl.SSL_ERROR_SSL, text)
    protocols = offered(context) if protocols is None else protocols
    begin = partial(wrap, incoming, outgoing, server_hostname=server_hostname)
    return while_offering(context, protocols, begin)


def _accepted(wrap: Callable[..., object]) -> dict[str, bool]:
    """Return those of the arguments beyond urllib3's that `wrap` takes, as far as it says so."""
    if getattr(wrap, "__func__", None) is ssl.SSLContext.__dict__.get("wrap_socket"):
        return _WANTED
    import inspect  # slow to import, and few contexts are not the ssl module's

    try:
        # What it wraps may take more than it does itself.
        parameters = inspect.signature(wrap, follow_wrapped=False).parameters
    except (TypeError, ValueError):
        return {}
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values()):
        return _WANTED
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {
        name: value
        for name, value in _WANTED.items()
        if name in parameters and parameters[name].kind in named
    }


def _shake_hands_too(
    context: Any, sock: Any, server_hostname: str | None, protocols: tuple[str, ...] | None
) -> Any:
    """Wrap with a context that does the handshake at once, and keeps the socket to itself."""
    # The lock of what is offered is not held for a handshake, which may take any time.
    while_offering(context, protocols, lambda: None)
    twin = _twin(sock)
    if twin is None:
        return context.wrap_socket(sock, server_hostname=server_hostname)
    set_waker(partial(shut_down, twin))
    try:
        return context.wrap_socket(sock, server_hostname=server_hostname)
    finally:
        clear_waker()
        twin.close()


def _twin(sock: Any) -> socket.socket | None:
    """Return a second descriptor of the connection that `sock` has; None where it has none."""
    try:
        number = os.dup(sock.fileno())
    except (AttributeError, TypeError, OSError):
        return None
    try:
        return socket.socket(fileno=number)
    except BaseException:
        os.close(number)
        raise


def _is_complete(wrapped: object) -> bool:
    names = ("do_handshake", "gettimeout", "recv", "recv_into", "send")
    return all(hasattr(wrapped, name) for name in names)


class ForeignSocket:
    """A socket of another make of TLS, completed to all that a stream needs of one.

    Parameters:
        wrapped: it can do at least what urllib3 asks of it; its handshake is over.
        below: the socket that it was made of, which answers for all that `wrapped` has not.
    """

    def __init__(self, wrapped: Any, below: Any) -> None:
        self._wrapped = wrapped
        self._below = below

    def do_handshake(self) -> None:
        """Do nothing: that is over."""

    def send(self, data: bytes | memoryview) -> int:
        self._wrapped.sendall(bytes(data))
        return len(data)

    def close(self) -> None:
        try:
            self._wrapped.close()
        finally:
            self._below.close()

    def shutdown(self, how: int) -> None:
        """End the connection below; the session's own shutdown would wake no reader."""
        shut_down(self._below)

    def __getattr__(self, name: str) -> Any:
        try:
            return getattr(self._wrapped, name)
        except AttributeError:
            return getattr(self._below, name)
