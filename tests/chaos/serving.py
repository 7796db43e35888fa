"""The process with all the servers: ``python -m tests.chaos.serving SEED RATE FOLDER``.

Owns: that process, from its ports, which it prints as JSON, to the mistakes of clients, which it
prints when its standard input ends. Must not know: the client.

FOLDER gets ca.pem, the authority of its certificates. A process of its own: the load's interpreter
is busy enough, and what it forks must not inherit the servers.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trustme

from .faults import Chance
from .http2 import Server2
from .http11 import Server11
from .links import port_of, serve
from .relays import Proxy, Relay

#: Seconds in which the process has to end once its input has.
END = 60.0


class Serving:
    """The process, seen from outside.

    Parameters:
        seed, rate: of the faults that come by chance.
        folder: for ca.pem.

    Attributes:
        ports: name of a way to a server -> port.
        mistakes: what clients did that none may do; after the end.
    """

    def __init__(self, seed: int, rate: float, folder: Path) -> None:
        command = [sys.executable, "-m", __name__, str(seed), str(rate), str(folder)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.ports: dict[str, int] = json.loads(self._process.stdout.readline())
        self.mistakes: list[str] = []

    def end(self) -> None:
        """End the process."""
        try:
            out, _ = self._process.communicate(timeout=END)
        finally:
            self._process.kill()
        self.mistakes = json.loads(out)


@contextmanager
def serving(seed: int, rate: float, folder: Path) -> Iterator[Serving]:
    """Run the servers meanwhile."""
    process = Serving(seed, rate, folder)
    try:
        yield process
    finally:
        process.end()


def _contexts(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return the TLS contexts for HTTP/1.1 and for HTTP/2."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    contexts = []
    for protocol in ("http/1.1", "h2"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert("localhost", "127.0.0.1").configure_cert(context)
        context.set_alpn_protocols([protocol])
        contexts.append(context)
    return contexts[0], contexts[1]


async def _run(seed: int, rate: float, folder: Path) -> None:
    chance = Chance(random.Random(seed), rate)
    secure11, secure2 = _contexts(folder)
    server11, server2 = Server11(chance), Server2(chance)
    servers = {
        "http11": await serve(server11.talk),
        "http11-tls": await serve(server11.talk, ssl=secure11),
        "http2": await serve(server2.talk),
        "http2-tls": await serve(server2.talk, ssl=secure2),
    }
    ports = {name: port_of(server) for name, server in servers.items()}
    for name, port in list(ports.items()):
        # Bytes of HTTP/2 without TLS that were changed can name another stream, and nobody can see
        # that its frames went astray.
        relay = Relay(port, chance, garbles=name != "http2")
        ports[f"{name}-relay"] = port_of(await serve(relay.talk))
    ports["proxy"] = port_of(await serve(Proxy(set(ports.values()), chance).talk))
    print(json.dumps(ports), flush=True)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    reading = threading.Thread(
        target=lambda: (sys.stdin.read(), loop.call_soon_threadsafe(ended.set)), daemon=True
    )
    reading.start()
    await ended.wait()
    print(json.dumps(server11.mistakes), flush=True)


def main() -> None:
    """Serve until standard input ends."""
    # asyncio logs each connection that was lost, and what is still open at the end is not ours.
    logging.disable()
    sys.unraisablehook = lambda unraisable: None
    seed, rate, folder = sys.argv[1:]
    asyncio.run(_run(int(seed), float(rate), Path(folder)))


if __name__ == "__main__":
    main()
