"""Gateways between the load and the servers that fail.

Owns: two processes of the gateway, one for upstreams of HTTP/1.1 and one for those of HTTP/2, and
what they hold when nothing is under way. Must not know: the load.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from ..support import guarded
from ..support.servers import closed_port
from .plans import Tally

#: Ways to servers on which no byte can be changed without notice.
UPSTREAMS = {
    "http11-gateway": ("http11", "http11-tls", "http11-tls-relay"),
    "http2-gateway": ("http2", "http2-relay", "http2-tls", "http2-tls-relay"),
}
#: Settings: timeouts below those of the load, and a breaker that is in nobody's way.
SETTINGS = """
admin_path = "/-"
access_log = "off"
[server]
port = {port}
stop_timeout = 5
[[routes]]
upstreams = [{upstreams}]
timeouts = {{connect = 1, read = 2, write = 2, queue = 2, client = 5}}
breaker = {{failures = 1000000}}
"""
#: Seconds for a gateway to start, to come to rest, and to end.
PATIENCE = 20.0
#: Descriptors that a gateway may have more than before: idle connections to upstreams.
IDLE = 450


class GatewayProcess:
    """One process.

    Parameters:
        name: one of UPSTREAMS.
        ports: of the servers.
        folder: for its files; has ca.pem.
    """

    def __init__(self, name: str, ports: dict[str, int], folder: Path) -> None:
        self.name = name
        self.port = closed_port()
        tables = []
        for way in UPSTREAMS[name]:
            secure = "tls" in way
            table = f'url = "http{"s" if secure else ""}://127.0.0.1:{ports[way]}"'
            if secure:
                table += f', ca = "{folder / "ca.pem"}"'
            tables.append(f"{{{table}, http2 = {str('http2' in way).lower()}}}")
        config = folder / f"{name}.toml"
        config.write_text(SETTINGS.format(port=self.port, upstreams=", ".join(tables)))
        self._output = (folder / f"{name}.txt").open("w+")
        self._process = guarded.start(
            [sys.executable, "-m", "httpcore_gateway", "--config", str(config)],
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )
        self._wait_for_start()

    def _wait_for_start(self) -> None:
        end = time.monotonic() + PATIENCE
        while True:
            try:
                self.stats()
                return
            except OSError:
                if time.monotonic() > end:
                    self.kill()
                    raise
                time.sleep(0.05)

    def stats(self) -> dict[str, Any]:
        """Return what it says of itself."""
        url = f"http://127.0.0.1:{self.port}/-/stats"
        with urllib.request.urlopen(url, timeout=PATIENCE) as response:
            found: dict[str, Any] = json.load(response)
        return found

    def busy(self) -> list[str]:
        """Return what it holds though no request is under way, but for the one that asks."""
        stats = self.stats()
        found = [f"{kind}: {n} in flight" for kind, n in stats["in_flight"].items() if n]
        for upstream in stats["upstreams"]:
            held = upstream["active"] or upstream["waiting"] or upstream["connections"]["active"]
            if held:
                found.append(f"{upstream}")
        return found

    def end(self, tally: Tally) -> None:
        """Look whether it has come to rest, and end it."""
        until = time.monotonic() + PATIENCE
        while (busy := self.busy()) and time.monotonic() < until:
            time.sleep(0.05)
        for text in busy:
            tally.object_to(f"{self.name} is not at rest: {text}")
        descriptors = len(os.listdir(f"/proc/{self._process.pid}/fd"))
        if descriptors > IDLE:
            tally.object_to(f"{self.name} has {descriptors} descriptors at rest")
        self._process.send_signal(signal.SIGTERM)
        status = self._process.wait(PATIENCE)
        self._output.seek(0)
        printed = self._output.read()
        if status not in (0, -signal.SIGTERM) or "Traceback" in printed:
            found = printed.find("Traceback")
            text = printed[max(found - 500, 0) : found + 3000]
            tally.object_to(f"{self.name} ended with status {status}: {text}")

    def kill(self) -> None:
        """End it if it has not ended, and let go of it."""
        self._process.kill()
        self._process.wait()
        guarded.release(self._process)
        self._output.close()


@contextmanager
def gateways(ports: dict[str, int], folder: Path, tally: Tally) -> Iterator[dict[str, int]]:
    """Run both meanwhile; yield their ports by name. What is wrong at the end goes to `tally`."""
    with ExitStack() as stack:
        running = []
        for name in UPSTREAMS:
            running.append(GatewayProcess(name, ports, folder))
            stack.callback(running[-1].kill)
        yield {each.name: each.port for each in running}
        for each in running:
            each.end(tally)
