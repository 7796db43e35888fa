"""Mistakes, each of which a type checker must find: mypy says so of a ``type: ignore`` that it does
not need. It is not run."""

from __future__ import annotations

import requests

import httpcore
import httpcore_requests
from httpcore_requests import HTTPAdapter, Session, Timeout

Session(timeout="5")  # type: ignore[arg-type]
Session(time_out=5)  # type: ignore[call-arg]
HTTPAdapter(timeout=[3, 30])  # type: ignore[arg-type]
HTTPAdapter(http2="yes")  # type: ignore[arg-type]
httpcore_requests.install(retries="3")  # type: ignore[arg-type]
Timeout(total="5")  # type: ignore[arg-type]
Timeout(5, 5, 5, 5)  # type: ignore[call-arg]

session = Session()
session.gett("https://example.com/")  # type: ignore[attr-defined]
session.get("https://example.com/", timeout="5")  # type: ignore[arg-type]
session.get("https://example.com/", tiemout=5)  # type: ignore[call-arg]
response = session.get("https://example.com/")
response.timing  # type: ignore[attr-defined]  # noqa: B018
response.timings.totals  # type: ignore[union-attr]  # noqa: B018
response.connection_info.protocoll  # type: ignore[union-attr]  # noqa: B018
plain = requests.get("https://example.com/", timeout=Timeout(5))
plain.timings  # type: ignore[attr-defined]  # noqa: B018

pool = httpcore.ConnectionPool(max_conections=5)  # type: ignore[call-arg]
pool.request("GET", 5)  # type: ignore[arg-type]
pool.request("GET", "https://example.com/").contents  # type: ignore[attr-defined]  # noqa: B018
httpcore.AsyncConnectionPool(network_backend=httpcore.SyncBackend())  # type: ignore[arg-type]
httpcore.NoSuchName  # type: ignore[attr-defined]  # noqa: B018
