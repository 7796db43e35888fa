"""requests, with its own session and adapter and with ours.

Owns: one request through `requests`, its body read. Must not know: threads, clocks.
The classes have the two verbs of `peers.Peer`.
"""

from __future__ import annotations

from typing import Any

import requests
from job import Job
from peers import Requester, check, check_version
from requests.adapters import HTTPAdapter

#: What requests keeps for each host unless it is told otherwise.
_DEFAULT_SIZE = 10


def make_adapter(peer: str, connections: int = 1, http2: bool = False) -> tuple[HTTPAdapter, str]:
    """The adapter of `peer` with room for that many connections, and which version it is."""
    size = max(_DEFAULT_SIZE, connections)
    if peer == "ours":
        import httpcore
        import httpcore_requests

        ours = httpcore_requests.HTTPAdapter(pool_maxsize=size, http2=http2)
        return ours, f"httpcore {httpcore.__version__}"
    import urllib3

    version = f"requests {requests.__version__}, urllib3 {urllib3.__version__}"
    return HTTPAdapter(pool_maxsize=size), version


def make_session(
    peer: str, connections: int = 1, http2: bool = False
) -> tuple[requests.Session, str]:
    """The session of `peer` with its adapter mounted, and the version of that."""
    adapter, version = make_adapter(peer, connections, http2)
    if peer == "ours":
        import httpcore_requests

        session: requests.Session = httpcore_requests.Session()
    else:
        session = requests.Session()
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session, version


class AdapterSend:
    """`adapter.send` of one request that was prepared before, then `.content`."""

    def __init__(self, job: Job) -> None:
        self._adapter, self.version = make_adapter(job.peer)
        self._prepared = requests.Session().prepare_request(requests.Request("GET", job.url))

    def requester(self) -> Requester:
        adapter_send, prepared = self._adapter.send, self._prepared

        def send() -> int:
            response = adapter_send(prepared)
            check(response.status_code)
            return len(response.content)

        return send


class SessionGet:
    """`Session.get`, then `.content`: what most programs do."""

    def __init__(self, job: Job) -> None:
        self._session, self.version = make_session(job.peer, job.connections, job.http2)
        self._url = job.url
        if job.authorities:
            self._session.verify = job.authorities
        if job.http2:
            number = self._session.get(job.url).raw.version
            check_version("HTTP/2" if number == 20 else "HTTP/1", job)

    def requester(self) -> Requester:
        get, url = self._session.get, self._url

        def send() -> int:
            response = get(url)
            check(response.status_code)
            return len(response.content)

        return send


class NewSession:
    """A new `Session` for each HTTPS request, as `requests.get` makes one.

    Ours is installed, so that every session has it; nothing else is kept between requests.
    """

    def __init__(self, job: Job) -> None:
        _, self.version = make_adapter(job.peer)
        if job.peer == "ours":
            import httpcore_requests

            httpcore_requests.install(session=True)
        self._job = job

    def requester(self) -> Requester:
        url, authorities = self._job.url, self._job.authorities

        def send() -> int:
            with requests.Session() as session:
                response = session.get(url, verify=authorities)
                check(response.status_code)
                return len(response.content)

        return send


PROGRAMS: dict[str, Any] = {
    "adapter-send": AdapterSend,
    "session": SessionGet,
    "session-new": NewSession,
}
