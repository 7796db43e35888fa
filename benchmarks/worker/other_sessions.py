"""Sessions like those of requests that others make.

Owns: one request through each, its body read. Must not know: threads, clocks, requests (which is
not installed beside them). The classes have the two verbs of `peers.Peer`.
"""

from __future__ import annotations

from typing import Any

from job import Job
from peers import Requester, check, check_version


class NiquestsGet:
    """`Session.get` of niquests, then `.content`.

    HTTP/3 is off, and HTTP/2 where the job does not ask for it: it would speak the best there is.
    """

    def __init__(self, job: Job) -> None:
        import niquests

        self.version = f"niquests {niquests.__version__}"
        self._session = niquests.Session(
            disable_http2=not job.http2, disable_http3=True, pool_maxsize=max(10, job.connections)
        )
        self._url = job.url
        if job.authorities:
            self._session.verify = job.authorities
            response = self._session.get(job.url)
            number = response.raw.version
            check_version("HTTP/2" if number == 20 else "HTTP/1", job)

    def requester(self) -> Requester:
        get, url = self._session.get, self._url

        def send() -> int:
            response = get(url)
            check(response.status_code)
            return len(response.content)

        return send


PROGRAMS: dict[str, Any] = {"niquests": NiquestsGet}
