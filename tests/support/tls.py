"""Certificates for loopback servers, made anew for each test run.

Owns: the test CA and what it issues. Must not know: servers, clients.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import NamedTuple

import trustme

# "example.test" is for SNI and name checks that must differ from the address (RFC 6761: .test).
SERVER_NAMES = ("localhost", "127.0.0.1", "::1", "example.test", "*.example.test")


class ClientCert(NamedTuple):
    """Paths of one client certificate: as two files, and as one that holds both."""

    cert: str
    key: str
    combined: str


def server_context(ca: trustme.CA, *, ask_client: bool = False) -> ssl.SSLContext:
    """A server-side context for SERVER_NAMES; with `ask_client` it insists on a client
    certificate of the same CA. TLS session tickets stay on, as servers have them."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(*SERVER_NAMES).configure_cert(context)
    context.set_alpn_protocols(["http/1.1"])
    if ask_client:
        context.verify_mode = ssl.CERT_REQUIRED
        ca.configure_trust(context)
    return context


def write_client_cert(
    ca: trustme.CA, folder: Path, name: str = "client@example.test"
) -> ClientCert:
    """Issue a client certificate for `name` and write it into `folder`."""
    issued = ca.issue_cert(name)
    stem = name.partition("@")[0]
    paths = [folder / f"{stem}.{kind}.pem" for kind in ("cert", "key", "combined")]
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    paths[0].write_bytes(chain)
    paths[1].write_bytes(issued.private_key_pem.bytes())
    paths[2].write_bytes(issued.private_key_pem.bytes() + chain)
    return ClientCert(*map(str, paths))


def write_server_cert(ca: trustme.CA, folder: Path) -> tuple[Path, Path]:
    """Issue a certificate for SERVER_NAMES into `folder`; the paths of its chain and its key."""
    issued = ca.issue_cert(*SERVER_NAMES)
    chain, key = folder / "server.cert.pem", folder / "server.key.pem"
    chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    return chain, key
