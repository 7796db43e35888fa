"""Real programs on loopback, each a process of its own: proxies and servers.

Owns: their command lines, free ports, waiting until they listen, what they print, their end. Must
not know: the packages under test.
Sources: `python -m proxy --help`, `python -m pproxy --help`, nginx.org/en/docs, `nghttpd --help`,
`python -m hypercorn --help`.

A server of ours understands HTTP and SOCKS as we do; these do not share our mistakes.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.support import guarded
from tests.support.servers import closed_port

# Seconds until a program that does not listen is given up: a slow machine importing much Python.
START_TIMEOUT = 20.0
# Seconds between two looks whether it listens by now.
LOOK_AGAIN = 0.02
# Seconds that it has to end by itself once it is told to.
END_TIMEOUT = 5.0
# Another process may take a port between our finding it free and the program's bind.
ATTEMPTS = 3

USER, PASSWORD = "user", "secret"


def has_module(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def nginx_path() -> str | None:
    """Where nginx is; Debian keeps it outside of most users' PATH."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def nginx_with_http2() -> str | None:
    """Where nginx is, if it is there and was built with HTTP/2."""
    path = nginx_path()
    if path is None:
        return None
    said = subprocess.run([path, "-V"], capture_output=True, text=True, check=True).stderr
    return path if "--with-http_v2_module" in said else None


def nghttpd_path() -> str | None:
    """Where nghttpd is (Debian: package nghttp2-server)."""
    return shutil.which("nghttpd") or shutil.which("nghttpd", path="/usr/sbin:/usr/local/sbin")


class Program:
    """One process, and the ports on which it listens.

    Parameters:
        command: makes the command line from the ports.
        folder: of its own: working directory, HOME, and `output.txt`, which is what it prints.
        count: how many ports it is to have.
    """

    def __init__(
        self, command: Callable[[list[int]], Sequence[str]], folder: Path, count: int = 1
    ) -> None:
        self.ports: list[int] = []
        self.output = folder / "output.txt"
        self._command = command
        self._folder = folder
        self._count = count
        self._process: subprocess.Popen[bytes] | None = None

    def resident(self) -> int:
        """Return the bytes of memory that it and its children have now (Linux)."""
        assert self._process is not None
        total = 0
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                with contextlib.suppress(OSError):  # it has ended meanwhile
                    if os.getpgid(int(folder.name)) == self._process.pid:
                        pages = int((folder / "statm").read_text().split()[1])
                        total += pages * os.sysconf("SC_PAGESIZE")
        return total

    def __enter__(self) -> Program:
        for attempt in range(ATTEMPTS):
            self.ports = [closed_port() for _ in range(self._count)]
            self._start()
            try:
                if all(self._listens(port) for port in self.ports):
                    return self
                printed = self.output.read_text("utf-8", "replace")
            except BaseException:
                self.stop()
                raise
            self.stop()
            if attempt == ATTEMPTS - 1:
                raise RuntimeError(f"{self} does not listen; it printed:\n{printed}")
        raise AssertionError("unreachable")

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def __str__(self) -> str:
        return " ".join(self._command(self.ports))

    def _start(self) -> None:
        # A file, not a pipe: a program that prints much would block on a pipe that nobody reads.
        with self.output.open("wb") as output:
            self._process = guarded.start(
                self._command(self.ports),
                cwd=self._folder,
                env={**os.environ, "HOME": str(self._folder), "PYTHONUNBUFFERED": "1"},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def _listens(self, port: int) -> bool:
        """Wait until a connect to `port` succeeds; False when the program ends instead."""
        assert self._process is not None
        end = time.monotonic() + START_TIMEOUT
        while time.monotonic() < end:
            with socket.socket() as sock:
                sock.settimeout(START_TIMEOUT)
                if sock.connect_ex(("127.0.0.1", port)) == 0:
                    return True
            try:
                self._process.wait(LOOK_AGAIN)
            except subprocess.TimeoutExpired:
                continue
            return False
        return False

    def stop(self) -> None:
        """End it and its children. Idempotent."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(END_TIMEOUT)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(process.pid, signal.SIGKILL)  # whoever did not listen
        except ProcessLookupError:
            pass
        process.wait()
        guarded.release(process)


def proxy_py(
    folder: Path, *, auth: bool = False, cert: Path | None = None, key: Path | None = None
) -> Program:
    """An HTTP proxy by proxy.py, over TLS if it is given a certificate; asks for USER and PASSWORD
    with `auth`."""

    def command(ports: list[int]) -> list[str]:
        words = [sys.executable, "-m", "proxy", "--hostname", "127.0.0.1", "--port", str(ports[0])]
        words += ["--num-acceptors", "1", "--num-workers", "1", "--log-level", "WARNING"]
        words += ["--data-dir", str(folder)]
        if auth:
            words += ["--basic-auth", f"{USER}:{PASSWORD}"]
        if cert is not None:
            words += ["--cert-file", str(cert), "--key-file", str(key)]
        return words

    return Program(command, folder)


# pproxy takes the thread's event loop, which neither Python 3.14 nor uvloop makes by itself; and it
# takes uvloop where it is installed.
_PPROXY = (
    "import sys; sys.modules['uvloop'] = None; "
    "import asyncio; asyncio.set_event_loop(asyncio.new_event_loop()); "
    "import pproxy.server; pproxy.server.main()"
)


def pproxy(folder: Path) -> Program:
    """SOCKS 4, 4A, 5 and HTTP by pproxy. The first of its ports is open, the second one asks for
    USER and PASSWORD (SOCKS 5 and HTTP only)."""

    def command(ports: list[int]) -> list[str]:
        words = [sys.executable, "-c", _PPROXY, "-v"]
        words += ["-l", f"socks4+socks5+http://127.0.0.1:{ports[0]}"]
        words += ["-l", f"socks5+http://127.0.0.1:{ports[1]}#{USER}:{PASSWORD}"]
        # Else it remembers an address that logged in, and lets it in with any password.
        return [*words, "--auth=-1"]

    return Program(command, folder, count=2)


_NGINX_BEGIN = """
daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
events {{ worker_connections 256; }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
"""

_NGINX = (
    _NGINX_BEGIN
    + """\
    server {{
        listen 127.0.0.1:{ports[0]};
        keepalive_requests 10;
        client_max_body_size 1m;
        location / {{ return 200 "connection $connection request $connection_requests"; }}
        location /files/ {{ alias {folder}/files/; dav_methods PUT; create_full_put_path on; }}
    }}
    server {{
        listen 127.0.0.1:{ports[1]} ssl;
        ssl_protocols TLSv1.2;
        ssl_session_cache shared:ids:1m;
        ssl_session_tickets off;
        {tls}
    }}
    server {{
        listen 127.0.0.1:{ports[2]} ssl;
        ssl_protocols TLSv1.2;
        ssl_session_tickets on;
        {tls}
    }}
    server {{
        listen 127.0.0.1:{ports[3]} ssl;
        ssl_protocols TLSv1.3;
        ssl_session_tickets on;
        {tls}
    }}
}}
"""
)


def nginx(folder: Path, cert: Path, key: Path) -> Program:
    """nginx on four ports: plain, and over TLS 1.2 by session id, TLS 1.2 by ticket, TLS 1.3.

    Plain: no more than 10 requests for a connection, no body over 1 MB; says which connection and
    which request it is; PUT to ``/files/``. Over TLS: says ``.`` for a new session, ``r`` for a
    resumed one.
    """
    path = nginx_path()
    assert path is not None
    tls = (
        f"ssl_certificate {cert}; ssl_certificate_key {key}; "
        "location / { return 200 $ssl_session_reused; }"
    )

    def command(ports: list[int]) -> list[str]:
        (folder / "files").mkdir(exist_ok=True)
        config = folder / "nginx.conf"
        config.write_text(_NGINX.format(folder=folder, ports=ports, tls=tls))
        return [path, "-c", str(config), "-p", str(folder), "-e", str(folder / "error.log")]

    return Program(command, folder, count=4)


# The limits are low, so that a test of seconds meets them.
_NGINX_HTTP2 = (
    _NGINX_BEGIN
    + """\
    keepalive_requests 50;
    http2_max_concurrent_streams 8;
    client_max_body_size 1m;
    server {{
        listen 127.0.0.1:{ports[0]} ssl http2;
        listen 127.0.0.1:{ports[1]} http2;
        ssl_certificate {cert};
        ssl_certificate_key {key};
        location / {{
            add_header x-nonce $http_x_nonce;
            return 200 "$server_protocol connection $connection request $connection_requests";
        }}
        location /files/ {{ alias {folder}/files/; dav_methods PUT; create_full_put_path on; }}
    }}
}}
"""
)

NGINX_FILE = b"".join(b"%015d\n" % number for number in range(65536))  # 1 MiB


def nginx_http2(folder: Path, cert: Path, key: Path) -> Program:
    """nginx that speaks HTTP/2 on two ports: over TLS (and HTTP/1.1 there), and with prior
    knowledge.

    No more than 50 requests for a connection and 8 at once, no body over 1 MB. ``/`` says which
    connection and request it is and repeats ``x-nonce``, ``/files/large`` is NGINX_FILE; PUT to
    ``/files/``.
    """
    path = nginx_with_http2()
    assert path is not None

    def command(ports: list[int]) -> list[str]:
        (folder / "files").mkdir(exist_ok=True)
        (folder / "files" / "large").write_bytes(NGINX_FILE)
        config = folder / "nginx.conf"
        config.write_text(_NGINX_HTTP2.format(folder=folder, ports=ports, cert=cert, key=key))
        return [path, "-c", str(config), "-p", str(folder), "-e", str(folder / "error.log")]

    return Program(command, folder, count=2)


def nghttpd(folder: Path, cert: Path | None = None, key: Path | None = None) -> Program:
    """nghttpd, over TLS if it is given a certificate, else with prior knowledge.

    ``/large`` is NGINX_FILE; a POST or PUT gets its body back, then the trailer ``x-end: yes``;
    DATA and HEADERS are padded; 20 streams at once.
    """
    path = nghttpd_path()
    assert path is not None
    (folder / "large").write_bytes(NGINX_FILE)

    def command(ports: list[int]) -> list[str]:
        words = [path, "--address=127.0.0.1", f"--htdocs={folder}", "--echo-upload"]
        words += ["--trailer=x-end: yes", "--padding=100", "--max-concurrent-streams=20"]
        if cert is None:
            return [*words, "--no-tls", str(ports[0])]
        return [*words, str(ports[0]), str(key), str(cert)]

    return Program(command, folder)


def hypercorn(folder: Path, cert: Path, key: Path) -> Program:
    """hypercorn with `asgi_app` on two ports: over TLS, and plain, where it takes HTTP/2 with
    prior knowledge."""
    app = Path(__file__).with_name("asgi_app.py")

    def command(ports: list[int]) -> list[str]:
        words = [sys.executable, "-m", "hypercorn", "--certfile", str(cert), "--keyfile", str(key)]
        words += ["--bind", f"127.0.0.1:{ports[0]}", "--insecure-bind", f"127.0.0.1:{ports[1]}"]
        return [*words, f"{app}:app"]

    return Program(command, folder, count=2)
