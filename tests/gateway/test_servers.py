"""The gateway under each server that runs it: the whole path, once.

Owns: that uvicorn, granian and hypercorn serve it. Must not know: private parts of the packages.
"""

from __future__ import annotations

import http.client
import json

import pytest

from tests.support import gateways, servers


def get(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


@pytest.mark.parametrize("use_uvloop", [False, True])
@pytest.mark.parametrize("kind", gateways.SERVERS)
def test_in_this_process(
    kind: str,
    use_uvloop: bool,
    server: servers.LocalServer,
    serve_gateway: gateways.ServeGateway,
) -> None:
    served = serve_gateway(server.url, server=kind, use_uvloop=use_uvloop)
    status, body = get(served.port, "/echo?a=b")
    assert status == 200
    assert json.loads(body)["target"] == "/echo?a=b"
    assert served.active() == [0]


@pytest.mark.parametrize("kind", gateways.PROGRAMS)
def test_in_a_process_of_its_own(
    kind: str, server: servers.LocalServer, start_gateway: gateways.StartGateway
) -> None:
    program = start_gateway(server.url, server=kind)
    status, body = get(program.ports[0], "/bytes/100000")
    assert status == 200
    assert body == servers.pattern(100000)
