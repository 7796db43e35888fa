"""What the load has started ends with the process that started it, also when that one is killed.

Owns: killing such a process. Must not know: the load.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.support.raw_http import until_refused

#: Each of them starts something, prints its ports, and waits for its end.
SERVERS = """
import sys
from pathlib import Path
from tests.chaos.serving import serving
with serving(1, 0.0, Path(sys.argv[1])) as servers:
    print(*servers.ports.values(), flush=True)
    sys.stdin.read()
"""
GATEWAYS = """
import sys
from pathlib import Path
from tests.chaos.gateways import UPSTREAMS, gateways
from tests.chaos.plans import Tally
from tests.support.servers import closed_port
folder = Path(sys.argv[1])
(folder / "ca.pem").write_text(sys.argv[2])
ways = {way: closed_port() for ways in UPSTREAMS.values() for way in ways}
with gateways(ways, folder, Tally()) as ports:
    print(*ports.values(), flush=True)
    sys.stdin.read()
"""
PROGRAMS = """
import sys
from pathlib import Path
from tests.support.programs import Program
code = '''
import os, socket, sys
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
os.fork()  # of a program's own children none is left either
while True:
    server.accept()[0].close()
'''
with Program(lambda ports: [sys.executable, "-c", code, str(ports[0])], Path(sys.argv[1])) as one:
    print(*one.ports, flush=True)
    sys.stdin.read()
"""


@pytest.mark.no_cover
@pytest.mark.parametrize("killed", [True, False], ids=["killed", "ended"])
@pytest.mark.parametrize(
    "code", [SERVERS, GATEWAYS, PROGRAMS], ids=["servers", "gateways", "programs"]
)
def test_nothing_outlives_the_process_that_started_it(
    code: str, killed: bool, ca_bundle: str, tmp_path: Path
) -> None:
    words = [sys.executable, "-c", code, str(tmp_path), Path(ca_bundle).read_text()]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(words, cwd=ROOT, text=True, **pipes) as process:
        assert process.stdout is not None
        ports = [int(word) for word in process.stdout.readline().split()]
        try:
            for port in ports:
                socket.create_connection(("127.0.0.1", port)).close()
        finally:
            if killed:
                process.kill()
            process.communicate()
    assert ports
    for port in ports:
        until_refused(port)
