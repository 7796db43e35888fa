"""What is seen of a gateway from outside, through real servers.

Owns: the admin path and the admin application, the access log of real requests, and that neither
is to be had by tricks. Must not know: private parts of the packages.
"""

from __future__ import annotations

import json
import logging
import re
import socket
from collections.abc import Iterator

import pytest
from websockets.exceptions import InvalidStatus

from httpcore_gateway import Breaker
from tests.support import PATIENCE, gateways
from tests.support.servers import LocalServer
from tests.support.threads import until
from tests.support.web_sockets import WebSocketServer, connect, echo

PAGES = ("health", "stats", "metrics")


def ask(port: int, target: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    """Send the target as it is, which no HTTP library does; return status, fields and body."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
        head = f"{method} {target} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"
        sock.sendall(head.encode("latin-1"))
        data = b""
        while part := sock.recv(65536):
            data += part
    first, _, body = data.partition(b"\r\n\r\n")
    line, *lines = first.decode("latin-1").split("\r\n")
    fields = dict(re.split(": *", each.lower(), maxsplit=1) for each in lines)
    return int(line.split()[1]), fields, body


# --- the path ---


@pytest.mark.parametrize("kind", gateways.PROGRAMS)
def test_under_each_server(
    kind: str, server: LocalServer, start_gateway: gateways.StartGateway
) -> None:
    gateway = start_gateway(server.url, server=kind, admin_path="/-")
    assert ask(gateway.ports[0], "/bytes/10")[0] == 200
    for page in PAGES:
        status, fields, body = ask(gateway.ports[0], f"/-/{page}")
        assert (status, fields["cache-control"]) == (200, "no-store")
        assert fields["content-length"] == str(len(body))
        status, head, nothing = ask(gateway.ports[0], f"/-/{page}", "HEAD")
        assert (status, nothing) == (200, b"")
        assert head["content-type"] == fields["content-type"]
        assert ask(gateway.ports[0], f"/-/{page}", "PUT")[0] == 405
    stats = json.loads(ask(gateway.ports[0], "/-/stats")[2])
    assert stats["routes"][0]["requests"]["2xx"] == 1  # those for the pages are not counted
    assert [request.path for request in server.requests] == ["/bytes/10"]


def test_off_by_default(server: LocalServer, serve_gateway: gateways.ServeGateway) -> None:
    """The paths are the upstream's then."""
    served = serve_gateway(server.url)
    for page in PAGES:
        status, _, body = ask(served.port, f"/-/{page}?a=b")
        assert (status, body) == (404, f"no such route: /-/{page}?a=b".encode())
    assert len(server.requests) == len(PAGES)


SPELLINGS = (
    "/-/health/",
    "//-/health",
    "/-//health",
    "/%2D/health",
    "/%2d/%68ealth",
    "/-%2Fhealth",
    "/-/HEALTH",
    "/-/./health",
    "/a/../-/health",
    "/-/health;a=b",
    "/-/health%00",
    "/-/healthy",
    "/-/",
    "/-",
)


@pytest.mark.parametrize("admin_path", [None, "/-"])
@pytest.mark.parametrize("kind", gateways.SERVERS)
def test_other_spellings_go_to_the_upstream(
    kind: str,
    admin_path: str | None,
    server: LocalServer,
    serve_gateway: gateways.ServeGateway,
) -> None:
    """Unchanged, whether there is an admin path or not."""
    served = serve_gateway(server.url, server=kind, admin_path=admin_path)
    for spelling in SPELLINGS:
        status, _, body = ask(served.port, spelling)
        assert (status, body) == (404, b"no such route: " + spelling.encode())
    assert [request.target.decode() for request in server.requests] == list(SPELLINGS)


def test_a_query_is_no_part_of_the_path(
    server: LocalServer, serve_gateway: gateways.ServeGateway
) -> None:
    served = serve_gateway(server.url, admin_path="/-")
    assert ask(served.port, "/-/health?verbose")[0] == 200
    assert ask(served.port, "/bytes/1?/-/health")[0] == 200
    assert len(server.requests) == 1


def test_on_a_port_of_its_own(server: LocalServer, serve_gateway: gateways.ServeGateway) -> None:
    """The application `admin` passes nothing on; the gateway itself shows nothing."""
    served = serve_gateway(server.url, wrap=lambda gateway: gateway.admin)
    for page in PAGES:
        assert ask(served.port, f"/{page}")[0] == ask(served.port, f"/-/{page}")[0] == 200
    assert ask(served.port, "/bytes/10")[0] == 404
    assert server.requests == []


# --- what it shows ---


def test_health_follows_the_upstreams(
    server: LocalServer, closed_port: int, serve_gateway: gateways.ServeGateway
) -> None:
    served = serve_gateway(
        f"http://127.0.0.1:{closed_port}",
        admin_path="/-",
        breaker=Breaker(failures=1, seconds=1000.0, longest=1000.0),
    )
    assert ask(served.port, "/-/health")[0] == 200
    assert ask(served.port, "/")[0] == 502
    status, _, body = ask(served.port, "/-/health")
    assert status == 503
    assert json.loads(body)["routes"] == ["*/"]
    stats = served.gateway.stats()  # from this thread
    assert stats["routes"][0]["upstreams"][0]["breaker"] == "open"
    assert stats["routes"][0]["failures"] == {"connect_error": 1}


def test_requests_under_way(server: LocalServer, serve_gateway: gateways.ServeGateway) -> None:
    served = serve_gateway(server.url)
    with socket.create_connection(("127.0.0.1", served.port), PATIENCE) as sock:
        sock.sendall(b"GET /hang HTTP/1.1\r\nHost: a.test\r\n\r\n")
        until(lambda: server.requests)
        stats = served.gateway.stats()
        assert stats["in_flight"]["http"] == 1
        assert stats["upstreams"][0]["active"] == 1
        assert stats["upstreams"][0]["connections"]["active"] == 1
    until(lambda: served.gateway.stats()["in_flight"]["http"] == 0)
    stats = served.gateway.stats()
    assert stats["routes"][0]["client_left"] == 1
    assert stats["routes"][0]["requests"]["none"] == 1
    assert stats["upstreams"][0]["active"] == 0


# --- the access log ---


class Kept(logging.Handler):
    """A handler that keeps what it would write."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def kept() -> Iterator[Kept]:
    handler, logger = Kept(), logging.getLogger("httpcore_gateway.access")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.setLevel(logging.NOTSET)
    logger.removeHandler(handler)


def test_text_lines(kept: Kept, server: LocalServer, serve_gateway: gateways.ServeGateway) -> None:
    served = serve_gateway(server.url, access_log="text", admin_path="/-")
    ask(served.port, '/bytes/10?token=hunter2&"a"')
    ask(served.port, '/a"%20b%0a', "HEAD")
    ask(served.port, "/-/health")  # not logged
    until(lambda: len(kept.lines) == 2)
    front, back = r"\S+Z 127\.0\.0\.1 ", rf" [\d.]+ms upstream={server.url} attempts=1 id=[0-9a-f]+"
    first = r'"GET /bytes/10\?token=\[secure\]&\[secure\] HTTP/1\.1" 200 10'
    assert re.fullmatch(front + first + back, kept.lines[0]), kept.lines
    second = r'"HEAD /a\\"%20b%0a HTTP/1\.1" 404 0'
    assert re.fullmatch(front + second + back, kept.lines[1]), kept.lines


def test_json_lines(kept: Kept, server: LocalServer, serve_gateway: gateways.ServeGateway) -> None:
    served = serve_gateway(server.url, access_log="json")
    _, fields, body = ask(served.port, "/chunked/1000?key=hunter2")
    until(lambda: kept.lines)
    found = json.loads(kept.lines[0])
    assert found["request_id"] == fields["x-request-id"]
    assert (found["status"], found["sent"], found["client_left"]) == (200, 1000, False)
    assert (found["path"], found["upstream"]) == ("/chunked/1000?key=[secure]", server.url)
    assert len(body) > 1000


def test_a_line_for_a_websocket(kept: Kept, serve_gateway: gateways.ServeGateway) -> None:
    """While it is open it is counted as under way; its time is no measure of requests."""
    with WebSocketServer(echo) as upstream:
        served = serve_gateway(
            upstream.url, access_log="json", admin_path="/-", ws="websockets-sansio"
        )
        with connect(served.port, "/socket?key=hunter2") as client:
            client.send("one")
            assert client.recv(PATIENCE) == "one"
            assert served.gateway.stats()["in_flight"] == {"http": 0, "websocket": 1}
        until(lambda: kept.lines)
        found = json.loads(kept.lines[0])
        expected = {"type": "websocket", "method": None, "path": "/socket?key=[secure]"}
        expected |= {"status": 101, "received": 3, "sent": 3, "failure": None, "client_left": False}
        assert {key: found[key] for key in expected} == expected
        # The line is written before the last of the connections is closed.
        until(lambda: served.gateway.stats()["in_flight"]["websocket"] == 0)
        stats = served.gateway.stats()
        assert stats["routes"][0]["requests"]["1xx"] == 1
        assert stats["routes"][0]["durations"]["count"] == 0
        with pytest.raises(InvalidStatus, match="403"):  # no WebSocket is there
            connect(served.port, "/-/health").__enter__()


def test_no_lines_by_default(
    kept: Kept, server: LocalServer, serve_gateway: gateways.ServeGateway
) -> None:
    served = serve_gateway(server.url)
    assert ask(served.port, "/bytes/10")[0] == 200
    served.stop()
    assert kept.lines == []
