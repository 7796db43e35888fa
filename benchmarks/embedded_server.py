"""A small HTTP/1.1 server in a process of its own, for machines without nginx.

Also the sink of the memory checks: unlike nginx's `return`, it reads a whole upload before it
answers. Started by its path with the file of a certificate and key; prints its two ports as
JSON and ends when its standard input does, so it cannot outlive the runner.

Owns: just enough of RFC 9112 for the benchmark's own clients. Must not know: this package.

    GET /small, GET /cookie, GET /redirect (to /small), GET /body/<bytes>, POST /sink
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import sys
import threading

SMALL_BODY = b"Hello, world!"
SINK_BODY = b"ok"

#: Bytes of one send and one receive: large enough that the interpreter is not what is measured.
BLOCK = 256 * 1024
_ZEROS = memoryview(bytes(BLOCK))

_COMMON = (
    b"HTTP/1.1 200 OK\r\nServer: embedded\r\nDate: Tue, 01 Jan 2030 00:00:00 GMT\r\n"
    b"Content-Type: text/plain\r\nConnection: keep-alive\r\n"
)
_COOKIE = b"Set-Cookie: session=0123456789abcdef; Path=/\r\n"


def _answer(body: bytes, extra: bytes = b"") -> bytes:
    return b"%s%sContent-Length: %d\r\n\r\n%s" % (_COMMON, extra, len(body), body)


_REDIRECT = _answer(b"", b"Location: /small\r\n").replace(b"200 OK", b"302 Found", 1)

_FIXED = {
    b"/small": _answer(SMALL_BODY),
    b"/cookie": _answer(SMALL_BODY, _COOKIE),
    b"/redirect": _REDIRECT,
    b"/sink": _answer(SINK_BODY),
}


class _Connection:
    """One client, served by one thread until it goes away."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = bytearray()

    def serve(self) -> None:
        try:
            while (head := self._until(b"\r\n\r\n")) is not None:
                self._read_body(head.lower())
                self._respond(head.split(b" ", 2)[1])
        except (OSError, EOFError):
            pass
        finally:
            self._sock.close()

    def _respond(self, path: bytes) -> None:
        answer = _FIXED.get(path)
        if answer is not None:
            self._sock.sendall(answer)
            return
        remaining = int(path.rpartition(b"/")[2])
        self._sock.sendall(b"%sContent-Length: %d\r\n\r\n" % (_COMMON, remaining))
        while remaining:
            block = _ZEROS[: min(remaining, BLOCK)]
            self._sock.sendall(block)
            remaining -= len(block)

    def _read_body(self, head: bytes) -> None:
        if b"\r\ntransfer-encoding: chunked" in head:
            while (size := int(self._line(), 16)) > 0:
                self._skip(size + 2)
            self._line()
            return
        _, found, rest = head.partition(b"\r\ncontent-length:")
        if found:
            self._skip(int(rest.partition(b"\r\n")[0]))

    def _line(self) -> bytes:
        line = self._until(b"\r\n")
        if line is None:
            raise EOFError
        return line

    def _until(self, mark: bytes) -> bytes | None:
        """What comes before `mark`; None when the client left before it."""
        while (end := self._buffer.find(mark)) < 0:
            if not self._fill():
                return None
        found = bytes(self._buffer[:end])
        del self._buffer[: end + len(mark)]
        return found

    def _skip(self, count: int) -> None:
        while count > len(self._buffer):
            count -= len(self._buffer)
            self._buffer.clear()
            if not self._fill():
                raise EOFError
        del self._buffer[:count]

    def _fill(self) -> bool:
        data = self._sock.recv(BLOCK)
        self._buffer += data
        return bool(data)


def _handle(sock: socket.socket, context: ssl.SSLContext | None) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if context is not None:
        try:
            sock = context.wrap_socket(sock, server_side=True)
        except OSError:
            return
    _Connection(sock).serve()


def _accept(listener: socket.socket, context: ssl.SSLContext | None) -> None:
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=_handle, args=(sock, context), daemon=True).start()


def _listen(context: ssl.SSLContext | None) -> int:
    """Serve on a free port of the loopback interface; the port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    threading.Thread(target=_accept, args=(listener, context), daemon=True).start()
    port: int = listener.getsockname()[1]
    return port


def main() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1])
    print(json.dumps({"http": _listen(None), "https": _listen(context)}), flush=True)
    sys.stdin.read()
    os._exit(0)  # the threads hold nothing that needs an orderly end


if __name__ == "__main__":
    main()
