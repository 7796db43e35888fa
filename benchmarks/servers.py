"""The server that all contestants talk to.

Owns: starting and stopping nginx or the embedded server, and the link with delay before it;
the files they serve, the certificates. Must not know: who asks.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import trustme

from . import cases

_EMBEDDED = Path(__file__).with_name("embedded_server.py")
_LINK = Path(__file__).with_name("link.py")

#: Seconds for a server process to start or stop before something must be wrong.
_PATIENCE = 10.0
#: Seconds between two looks at a starting server.
_POLL = 0.02

#: One worker process, no master: one process to start, measure against and stop. Connections
#: stay open for the whole run, so that keep-alive is never the server's decision. HTTP/2 has a
#: listener of its own, so that no other case meets it by ALPN; nginx 1.22 knows only this way to
#: ask for it, later ones know it too.
_NGINX_CONF = """\
daemon off;
master_process off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log error;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    default_type text/plain;
    sendfile on;
    tcp_nodelay on;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    client_max_body_size 0;
    client_body_temp_path {directory}/client;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{http} backlog=1024;
        listen 127.0.0.1:{https} ssl backlog=1024;
        {http2_listener}
        ssl_certificate {directory}/server.pem;
        ssl_certificate_key {directory}/server.pem;
        root {directory}/files;
        location = /small {{ return 200 "{small}"; }}
        location = /cookie {{
            add_header Set-Cookie "session=0123456789abcdef; Path=/";
            return 200 "{small}";
        }}
        location = /redirect {{ return 302 /small; }}
        location = /sink {{ return 200 "{sink}"; }}
    }}
}}
"""


#: nginx as a gateway, set up like the others: HTTP/1.1 and open connections to what stands behind,
#: the Host of the client, and no file between the two where the client is slow.
_NGINX_GATEWAY_CONF = """\
daemon off;
master_process off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log error;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    tcp_nodelay on;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    client_max_body_size 0;
    client_body_temp_path {directory}/client;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    upstream behind {{
        server 127.0.0.1:{upstream};
        keepalive 256;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location / {{
            proxy_pass http://behind;
            proxy_http_version 1.1;
            proxy_max_temp_file_size 0;
            proxy_request_buffering off;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Host $http_host;
        }}
    }}
}}
"""

#: 128 streams at once are what nginx allows unless it is told otherwise.
_NGINX_HTTP2 = "listen 127.0.0.1:{port} ssl http2 backlog=1024; http2_max_concurrent_streams 128;"


class Server(NamedTuple):
    """A running server.

    Parameters:
        name: what it is, with its version.
        process: its process.
        http: the port of the plain listener.
        https: the port of the TLS listener.
        http2: the port of the TLS listener that also speaks HTTP/2; None without HTTP/2.
    """

    name: str
    process: subprocess.Popen[str]
    http: int
    https: int
    http2: int | None = None

    def url(self, path: str, tls: bool = False, http2: bool = False) -> str:
        if http2:
            assert self.http2 is not None
            return f"https://127.0.0.1:{self.http2}{path}"
        if tls:
            return f"https://127.0.0.1:{self.https}{path}"
        return f"http://127.0.0.1:{self.http}{path}"

    def stop(self) -> None:
        _stop(self.process)


class Link(NamedTuple):
    """A running link to a TLS listener; clients connect to `port`."""

    process: subprocess.Popen[str]
    port: int

    def url(self, path: str) -> str:
        return f"https://127.0.0.1:{self.port}{path}"

    def stop(self) -> None:
        _stop(self.process)


def _stop(process: subprocess.Popen[str]) -> None:
    if process.stdin is not None:
        process.stdin.close()
    process.terminate()
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def make_certificates(directory: Path) -> Path:
    """Write `server.pem` (certificate and key), and the bundle that clients verify with.

    The bundle is certifi's plus our own authority: as large as the one that a client reads in
    real life. Returns its path.
    """
    import certifi

    authority = trustme.CA()
    authority.issue_cert("127.0.0.1", "localhost").private_key_and_cert_chain_pem.write_to_path(
        directory / "server.pem"
    )
    bundle = directory / "authorities.pem"
    bundle.write_bytes(Path(certifi.where()).read_bytes() + authority.cert_pem.bytes())
    return bundle


def make_body(directory: Path, size: int) -> str:
    """Write a file of `size` bytes; the path it is served at.

    Up to 100 MB it is filled with bytes that are really there. Beyond, it is sparse: the
    memory checks move a gigabyte that needs no place on the disk.
    """
    file = directory / "files" / "body" / str(size)
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("wb") as writer:
            if size <= 100 * cases.MEGA:
                block = os.urandom(cases.MEGA)
                for start in range(0, size, cases.MEGA):
                    writer.write(block[: size - start])
            writer.truncate(size)
    return f"/body/{size}"


def nginx_path() -> str | None:
    """Where nginx is; it is often installed where only root's PATH looks."""
    places = [os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]
    return shutil.which("nginx", path=os.pathsep.join(places))


def start_nginx(directory: Path, program: str) -> Server:
    """Serve `directory`/files with nginx on two free ports.

    Raises:
        RuntimeError: it did not start; the text is its own explanation.
    """
    http, https, http2 = free_ports(3)
    version, has_http2 = ask_nginx(program)
    conf = _NGINX_CONF.format(
        directory=directory,
        http=http,
        https=https,
        http2_listener=_NGINX_HTTP2.format(port=http2) if has_http2 else "",
        small=cases.SMALL_BODY.decode(),
        sink=cases.SINK_BODY.decode(),
    )
    process = _run_nginx(directory, program, conf, https)
    return Server(version, process, http, https, http2 if has_http2 else None)


def start_nginx_gateway(directory: Path, program: str, upstream: int, port: int) -> Server:
    """Pass on with nginx what comes to `port`, to the server at the port `upstream`.

    Raises:
        RuntimeError: it did not start; the text is its own explanation.
    """
    conf = _NGINX_GATEWAY_CONF.format(directory=directory, upstream=upstream, port=port)
    process = _run_nginx(directory, program, conf, port)
    return Server(f"{ask_nginx(program)[0]} proxy_pass", process, port, 0)


def _run_nginx(directory: Path, program: str, conf: str, port: int) -> subprocess.Popen[str]:
    """Start nginx with this configuration and wait until it listens on `port`."""
    file, log = directory / "nginx.conf", directory / "error.log"
    file.write_text(conf)
    process = subprocess.Popen(
        [program, "-p", str(directory), "-c", str(file), "-e", str(log)],
        stdin=subprocess.DEVNULL,
        text=True,
    )
    try:
        wait_until_listening(process, port)
    except RuntimeError as error:
        _stop(process)
        raise RuntimeError(f"nginx: {error}: {log.read_text() if log.exists() else 'no log'}")
    return process


def ask_nginx(program: str) -> tuple[str, bool]:
    """Its name with the version, and whether it was built with HTTP/2."""
    answer = subprocess.run([program, "-V"], capture_output=True, text=True, check=True).stderr
    return answer.partition("\n")[0].rpartition(": ")[2], "http_v2_module" in answer


def start_embedded(directory: Path) -> Server:
    """Serve the same paths with the embedded server.

    Raises:
        RuntimeError: it did not start; it has said why on standard error.
    """
    process, ports = _start_program(_EMBEDDED, str(directory / "server.pem"))
    return Server(f"embedded, Python {sys.version.split()[0]}", process, **ports)


def start_link(server: Server, delay: float, rate: float = 0.0) -> Link:
    """Put a link before the HTTP/2 listener.

    It adds `delay` seconds to each way and carries `rate` bytes a second, 0 for as many as come.

    Raises:
        RuntimeError: it did not start; it has said why on standard error.
    """
    process, ports = _start_program(_LINK, str(server.http2), str(delay), str(rate))
    return Link(process, **ports)


def _start_program(program: Path, *arguments: str) -> tuple[subprocess.Popen[str], dict[str, int]]:
    """One of our own, which prints its ports; it ends with its standard input."""
    process = subprocess.Popen(
        [sys.executable, str(program), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        _stop(process)
        raise RuntimeError(f"{program.name} did not start")
    return process, json.loads(line)


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback interface on which nothing listens now."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


def wait_until_listening(process: subprocess.Popen[str], port: int) -> None:
    """Wait until a process accepts connections on a port.

    Raises:
        RuntimeError: it ended, or took too long.
    """
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"it ended with status {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
            return
        except OSError:
            time.sleep(_POLL)
    raise RuntimeError(f"it did not listen on port {port} within {_PATIENCE} seconds")
