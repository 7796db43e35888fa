"""The facts of a request afterwards: how long each phase took, and over which connection.

Owns: `Timings` and `ConnectionInfo`. Must not know: a clock, sockets.

Sources: curl's ``--write-out`` (which times people want).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from .rules import host_and_port

if TYPE_CHECKING:
    from datetime import datetime  # loaded where it is asked for


class _Stream(Protocol):
    """The part of a stream that is asked here, of either world."""

    def get_extra_info(self, info: str, /) -> Any: ...


class Opening:
    """The time that it took to open a connection, in seconds.

    Attributes:
        dns: the look-up; None where there was none, or it was not measured.
        connect: TCP or the Unix socket, and the dialogue with a proxy.
        tls: handshakes; None without TLS.
    """

    __slots__ = ("connect", "dns", "tls")

    def __init__(self) -> None:
        self.dns: float | None = None
        self.connect = 0.0
        self.tls: float | None = None


class Timings:
    """The time that each phase of a request took, in seconds; in
    ``response.extensions["timings"]``.

    They follow one another; None for a phase that the request did not have (a reused connection is
    not opened) or that is not over (the body is not read). Of a request that was sent more than
    once, they are those of the last time, and `queue` has what came before.

    Attributes:
        queue: until there was a connection, or leave to open one; with attempts to open one that
            failed, and the pauses between them.
        dns, connect, tls: opening the connection, see `Opening`.
        send: until the request was written.
        first_byte: from then until the head of the response was there.
        last_byte: from then until the end of its body.
        total: all of it, as far as it is over.

    The readings of `time.monotonic` that these are differences of; None for what has not happened.
    The class has no constructor, which would be a call for each request: `ResponseBody` sets all.

    Attributes:
        began: the request came.
        ready: there was a connection.
        sent: the request was written.
        headed: the response's head was there.
        ended: its body was, too.
        opening: how the connection was opened, if it was opened for this request.
    """

    __slots__ = ("began", "ended", "headed", "opening", "ready", "sent")

    began: float | None
    ready: float | None
    sent: float | None
    headed: float | None
    ended: float | None
    opening: Opening | None

    @property
    def queue(self) -> float | None:
        waited = _between(self.began, self.ready)
        opening = self.opening
        if waited is None or opening is None:
            return waited
        return max(0.0, waited - opening.connect - (opening.dns or 0.0) - (opening.tls or 0.0))

    @property
    def dns(self) -> float | None:
        opening = self.opening
        return None if opening is None else opening.dns

    @property
    def connect(self) -> float | None:
        opening = self.opening
        return None if opening is None else opening.connect

    @property
    def tls(self) -> float | None:
        opening = self.opening
        return None if opening is None else opening.tls

    @property
    def send(self) -> float | None:
        return _between(self.ready, self.sent)

    @property
    def first_byte(self) -> float | None:
        return _between(self.sent, self.headed)

    @property
    def last_byte(self) -> float | None:
        return _between(self.headed, self.ended)

    @property
    def total(self) -> float | None:
        return _between(self.began, self.ended or self.headed)

    def as_dict(self) -> dict[str, float | None]:
        """Return all of them by name, in order."""
        return {name: getattr(self, name) for name in PHASES}

    def __repr__(self) -> str:
        shown = [f"{n} {1000 * s:.3g}" for n, s in self.as_dict().items() if s is not None]
        return f"<{type(self).__name__} [{', '.join(shown)} ms]>"


PHASES = ("queue", "dns", "connect", "tls", "send", "first_byte", "last_byte", "total")


def _between(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else max(0.0, end - start)


class ConnectionInfo:
    """The connection that a response came over; in ``response.extensions["connection"]``. It stays
    true after the connection was closed.

    Attributes:
        protocol: ``"HTTP/1.1"`` or ``"HTTP/2"``.
        local_address, remote_address: as sockets have them; None where the stream does not say.
            Behind a proxy, `remote_address` is the proxy's.
        alpn: what was agreed on by ALPN, or None.
        tls_version, cipher: as `ssl.SSLSocket.version` and ``cipher()[0]`` have them; None without
            TLS.
        certificate: the server's, DER; None without TLS.
        verified: the certificate was verified. Only then is known what stands in it:
        subject, issuer: the certificate's, in short (common name, else organisation, else all of
            it), as it is there: with control characters, if it has some; else None.
        expires: until when the certificate holds, in UTC; else None.
    """

    __slots__ = (
        "_not_after",
        "alpn",
        "certificate",
        "cipher",
        "issuer",
        "local_address",
        "protocol",
        "remote_address",
        "subject",
        "tls_version",
        "verified",
    )

    def __init__(self, stream: _Stream, protocol: str) -> None:
        self.protocol = protocol
        self.local_address = stream.get_extra_info("client_addr")
        self.remote_address = stream.get_extra_info("server_addr")
        tls = stream.get_extra_info("ssl_object")
        self.alpn: str | None = _ask(tls, "selected_alpn_protocol")
        self.tls_version: str | None = _ask(tls, "version")
        cipher = _ask(tls, "cipher")
        self.cipher: str | None = cipher[0] if cipher else None
        self.certificate: bytes | None = _ask(tls, "getpeercert", True)
        fields = _ask(tls, "getpeercert") or {}  # empty where it was not verified
        self.verified = bool(fields)
        self.subject = _name(fields.get("subject"))
        self.issuer = _name(fields.get("issuer"))
        self._not_after: str | None = fields.get("notAfter")

    @property
    def expires(self) -> datetime | None:
        if self._not_after is None:
            return None
        from email.utils import parsedate_to_datetime  # its months are English in any locale

        return parsedate_to_datetime(self._not_after)

    def __repr__(self) -> str:
        parts = [self.protocol]
        if self.remote_address is not None:
            parts.append(f"to {_shown(self.remote_address)}")
        if self.tls_version is not None:
            parts.append(f"{self.tls_version} {self.cipher}")
        return f"<{type(self).__name__} [{', '.join(parts)}]>"


def _ask(tls: object, name: str, *arguments: object) -> Any:
    """Return what the TLS object reports; it may be of any make, and its connection gone
    already."""
    method = getattr(tls, name, None)
    try:
        return None if method is None else method(*arguments)
    except (OSError, ValueError, AttributeError):  # the last one: an SSLSocket that was closed
        return None


def _name(parts: Any) -> str | None:
    """Return a distinguished name in short, as `ConnectionInfo` has it."""
    found = {key: value for part in parts or () for key, value in part}
    short = found.get("commonName") or found.get("organizationName") or ", ".join(found.values())
    return short or None


def _shown(address: object) -> str:
    if isinstance(address, tuple) and len(address) >= 2:
        return host_and_port(str(address[0]), address[1])
    return str(address)
