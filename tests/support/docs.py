"""What the pages of the documentation need to be run: their code blocks, and an internet.

Owns: finding code blocks in reStructuredText, comparing what they print, and the servers that stand
on this machine where the pages name real ones. Must not know: the packages under test, single
pages.

`Internet` is made of loopback servers on ports of their own. `redirect` sends connects to
well-known ports there, by whatever name or address: ``https://example.com`` (443), ``http://``
(80), an HTTP proxy (3128), a SOCKS proxy (1080), and a Unix socket. Names outside `NAMES` do not
resolve, and no other port can be reached, so that a page that needs the real internet fails. It
changes `socket` in the process that calls it; ``python -m pytest -p tests.support.docs`` does the
same in a process that a page starts, by the variable `VARIABLE`.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import socket
import ssl
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from email.utils import formatdate
from pathlib import Path
from typing import Any, NamedTuple

import trustme

from tests.support.http2 import FrameServer, Stream, routes
from tests.support.proxies import ProxyServer, SocksServer
from tests.support.servers import Answer, LocalServer, Peer, ScriptedServer, pattern

NAMES = re.compile(r"([\w-]+\.)*example\.(com|org|net)|localhost|[\d.]+|[\da-f:]+")
VARIABLE = "HTTPCORE_DOCS_INTERNET"
DOCKER = "/run/docker.sock"


# --- pages ---


class Block(NamedTuple):
    """One code block of a page.

    Attributes:
        language: python, console, text, ...
        caption: the name of the file that it is, or "".
        text: what it says, without its indentation.
        line: where it begins in the page, from 1.
        left_out: why it is not run, or "".
    """

    language: str
    caption: str
    text: str
    line: int
    left_out: str


_DIRECTIVE = re.compile(r"( *)\.\. code-block:: *(\S*)")
_NOT_RUN = re.compile(r" *\.\. not run: (.+)")


def blocks(page: Path) -> Iterator[Block]:
    """The code blocks of a page, in order. A comment ``.. not run: why`` before one leaves it
    out."""
    lines = page.read_text().splitlines()
    left_out = ""
    for number, line in enumerate(lines):
        if match := _NOT_RUN.match(line):
            left_out = match[1]
        elif match := _DIRECTIVE.match(line):
            yield _block(lines, number + 1, len(match[1]), match[2], left_out)
            left_out = ""
        elif line.strip():
            left_out = ""


def _block(lines: list[str], at: int, indent: int, language: str, left_out: str) -> Block:
    caption = ""
    while at < len(lines) and lines[at].strip().startswith(":"):
        name, _, value = lines[at].strip()[1:].partition(": ")
        caption = value if name == "caption" else caption
        at += 1
    while at < len(lines) and not lines[at].strip():
        at += 1
    end = at
    while end < len(lines) and (
        not lines[end].strip() or len(lines[end]) - len(lines[end].lstrip()) > indent
    ):
        end += 1
    text = textwrap.dedent("\n".join(lines[at:end])).rstrip() + "\n"
    return Block(language, caption, text, at + 1, left_out)


# Not parts of names: HTTP/1.1, TLSv1.3, 127.0.0.1.
_LOOSE = re.compile(r"(\.\.\.|(?<![\w./])\d+\.\d+(?![\w.]))")


def agrees(shown: str, printed: str) -> bool:
    """Whether a page shows what was printed: ``...`` stands for anything, and a number with a
    fraction for any other: those are times and sizes."""
    pattern = ""
    for part in _LOOSE.split(" ".join(shown.split())):
        if part == "...":
            pattern += ".*"
        elif _LOOSE.fullmatch(part):
            pattern += r"[\d.]+(e-\d+)?"
        else:
            pattern += re.escape(part)
    return re.fullmatch(pattern, " ".join(printed.split())) is not None


# --- the internet ---


def redirect(ports: Mapping[int, int], unix: Mapping[str, str], patch: Any) -> None:
    """Send connects to `ports` and `unix` elsewhere, and know `NAMES` only.

    Parameters: `patch`, a `pytest.MonkeyPatch` that takes it back.
    """
    look_up, connect, connect_ex = (
        socket.getaddrinfo,
        socket.socket.connect,
        socket.socket.connect_ex,
    )

    def looked_up(host: Any, port: Any, *args: Any, **keywords: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host or "localhost"
        if NAMES.fullmatch(name) is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        literal = re.fullmatch(r"[\d.]+|[\da-f:]*:[\da-f:]*", name)
        return look_up(name if literal else "127.0.0.1", port, *args, **keywords)

    def elsewhere(address: Any) -> Any:
        if isinstance(address, str):
            return unix.get(address, address)
        if address[1] in ports:
            return ("127.0.0.1", ports[address[1]])
        if address[1] not in ports.values():
            raise ConnectionRefusedError(111, "Connection refused")
        return address

    patch.setattr(socket, "getaddrinfo", looked_up)
    patch.setattr(socket.socket, "connect", lambda sock, to: connect(sock, elsewhere(to)))
    patch.setattr(socket.socket, "connect_ex", lambda sock, to: connect_ex(sock, elsewhere(to)))


DOCUMENTS = {
    "/": (
        200,
        "text/html",
        b"<!doctype html>\n<html>\n<title>Example Domain</title>\n<p>Hello.</p>\n</html>\n",
    ),
    "/large": (200, "application/octet-stream", bytes(1_000_000)),
    "/pay": (201, "application/json", b'{"paid": true}\n'),
    "/version": (200, "application/json", b'{"Version": "27.1"}\n'),
    "/books": (200, "application/json", b'[{"id": 1, "title": "Emma"}]\n'),
}


class Site(LocalServer):
    """What stands where the pages say https://example.com: `DOCUMENTS`, the routes of
    `LocalServer`, and a few more. Over TLS it speaks HTTP/2 with those who ask for it.

    ====================  =====================================================================
    ``/busy``             503 with ``Retry-After: 0`` every other time
    ``/events``           a line every 10 ms, for ever
    ``/news``             a text that may be kept for a minute
    ``/cut.gz``           the first 60 bytes of something in gzip, said to be all of it
    ``/archive.zip``      100,000 bytes with an ETag; ``Range`` is honoured, and ``If-Range``
    ``/attach``           101; then a prompt, and "bye" to whatever is typed
    ====================  =====================================================================
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # Not started: its connections come from here.
        self.frames = FrameServer(lambda link: link.serve(_answer_frames), tls=self.tls)
        self.busy = False

    def _converse(self, peer: Peer) -> None:
        if isinstance(peer.sock, ssl.SSLSocket) and peer.sock.selected_alpn_protocol() == "h2":
            self.frames._converse(peer)
        else:
            super()._converse(peer)

    def _answer(self, answer: Answer) -> None:
        path = answer.request.path
        if path in DOCUMENTS:
            status, kind, body = DOCUMENTS[path]
            answer.send(status, body, [("Content-Type", kind)])
        elif path == "/busy":
            self.busy = not self.busy
            answer.send(503 if self.busy else 200, b"", [("Retry-After", "0")])
        elif path == "/news":
            now = formatdate(usegmt=True)
            answer.send(200, b"Nothing new.", [("Date", now), ("Cache-Control", "max-age=60")])
        elif path == "/cut.gz":
            part = gzip.compress(pattern(1000))[:60]
            answer.send(200, part, [("Content-Encoding", "gzip")])
        elif path == "/archive.zip":
            _send_part(answer)
        elif path == "/events":
            stopped = self.event()
            ticks = iter(lambda: b"" if stopped.wait(0.01) else b"tick\n", b"")
            answer.send(200, ticks, [("Content-Type", "text/plain")])
        elif path == "/attach":
            upgrade = [("Connection", "Upgrade"), ("Upgrade", "tcp")]
            answer.peer.respond(101, b"$ ", upgrade, framing="close")
            answer.peer.recv_until(b"\n")
            answer.peer.send(b"bye\n")
            answer.peer.close()
        else:
            super()._answer(answer)


def _send_part(answer: Answer) -> None:
    """Answer with a file, or with the part from ``Range: bytes=N-`` on."""
    body, tag = pattern(100_000), b'"v1"'
    headers: list[tuple[bytes | str, bytes | str]] = [("ETag", tag), ("Accept-Ranges", "bytes")]
    wanted = re.fullmatch(rb"bytes=(\d+)-", answer.request.header("Range") or b"")
    if wanted is None or answer.request.header("If-Range") not in (None, tag):
        answer.send(200, body, headers)
        return
    begin = int(wanted[1])
    place = f"bytes {begin}-{len(body) - 1}/{len(body)}"
    answer.send(206, body[begin:], [*headers, ("Content-Range", place)])


def _answer_frames(stream: Stream) -> None:
    path = stream.path.partition("?")[0]
    if path in DOCUMENTS:
        status, kind, body = DOCUMENTS[path]
        stream.respond(status, body, [("content-type", kind)])
    elif path == "/events":
        stream.head(200, [("content-type", "text/plain")])
        _tick(stream)
    else:
        routes(stream)


def _tick(stream: Stream) -> None:
    if not stream.closed:
        stream.write(b"tick\n")
        stream.link.later(0.01, lambda: _tick(stream))


class Internet:
    """Servers for `redirect`, and the files that the pages name, in `folder`. A context manager.

    ================  ==========================================================================
    80                a `Site`
    443               the same with TLS, by the test CA; ``intranet.example.com`` by another one,
                      which is in ``corporate-ca.pem``; ``old.example.com`` speaks no HTTP/2
    8443              wants the client certificate that is in ``client.pem`` and ``client.key``
    3128, 3129, 3130  HTTP proxies; the second one behind TLS, the third one asks for user:pass
    1080              a SOCKS proxy
    `DOCKER`          a Unix socket
    ================  ==========================================================================
    """

    def __init__(self, ca: trustme.CA, folder: Path) -> None:
        self.ca = ca
        self.folder = folder
        self.ports: dict[int, int] = {}
        self.unix = {DOCKER: str(folder / "docker.sock")}
        self.servers: dict[int | str, ScriptedServer] = {}  # by port, or path
        self._open = ExitStack()

    def __enter__(self) -> Internet:
        files = self._write_files()
        public = _context(self.ca, "example.com", "*.example.com", "example.org", "*.example.org")
        old = _context(self.ca, "old.example.com")
        old.set_alpn_protocols(["http/1.1"])
        by_name = {"intranet.example.com": _context(files, "intranet.example.com")}
        by_name["old.example.com"] = old

        def choose(sock: Any, name: str | None, _: ssl.SSLContext) -> None:
            sock.context = by_name.get(name or "", sock.context)

        public.sni_callback = choose
        picky = _context(self.ca, "secure.example.com")
        picky.verify_mode = ssl.CERT_REQUIRED
        self.ca.configure_trust(picky)
        self._start(80, Site())
        self._start(443, Site(tls=public))
        self._start(8443, Site(tls=picky))
        self._start(3128, ProxyServer())
        self._start(3129, ProxyServer(tls=_context(self.ca, "proxy.example.com", http2=False)))
        strict = ProxyServer()
        strict.credentials = ("user", "pass")
        self._start(3130, strict)
        self._start(1080, SocksServer())
        self.servers[DOCKER] = self._open.enter_context(Site(uds=self.unix[DOCKER]))
        return self

    def _write_files(self) -> trustme.CA:
        corporate = trustme.CA()
        corporate.cert_pem.write_to_path(str(self.folder / "corporate-ca.pem"))
        self.ca.cert_pem.write_to_path(str(self.folder / "public-ca.pem"))
        client = self.ca.issue_cert("client@example.com")
        client.private_key_pem.write_to_path(str(self.folder / "client.key"))
        chain = b"".join(blob.bytes() for blob in client.cert_chain_pems)
        (self.folder / "client.pem").write_bytes(chain)
        return corporate

    def _start(self, port: int, server: Any) -> None:
        self._open.enter_context(server)
        self.ports[port] = server.port
        self.servers[port] = server

    def __exit__(self, *exc_info: object) -> None:
        self._open.close()

    @property
    def environment(self) -> dict[str, str]:
        """Variables by which this process, and those it starts, trust the servers and find them."""
        trusted = str(self.folder / "public-ca.pem")
        told = json.dumps({"ports": self.ports, "unix": self.unix})
        return {"SSL_CERT_FILE": trusted, "REQUESTS_CA_BUNDLE": trusted, VARIABLE: told}


def _context(ca: trustme.CA, *names: str, http2: bool = True) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(*names).configure_cert(context)
    context.set_alpn_protocols(["h2", "http/1.1"] if http2 else ["http/1.1"])
    return context


def pytest_configure(config: Any) -> None:
    """As a plugin of a pytest that a page starts."""
    import pytest

    patch = pytest.MonkeyPatch()
    config.add_cleanup(patch.undo)
    told = json.loads(os.environ[VARIABLE])
    redirect({int(port): to for port, to in told["ports"].items()}, told["unix"], patch)
