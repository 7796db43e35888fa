"""A program on `httpcore_requests.Session`: default timeouts, one request's own, what is known of a
response afterwards, and the pool underneath."""

from __future__ import annotations

import sys

import requests

import httpcore
import httpcore_requests
from httpcore_requests import HTTPAdapter, Response, Session, Timeout


class Client(Session):
    """A session with a base URL, as programs derive one."""

    def __init__(self, base: str) -> None:
        super().__init__(timeout=Timeout(total=30, connect=5), retries=2, pool_maxsize=4)
        self.base = base

    def fetch(self, path: str, *, seconds: float | None = None) -> Response:
        timeout = None if seconds is None else Timeout(seconds)
        return self.get(self.base + path, timeout=timeout, headers={"X-Name": "value"})


class Counting(HTTPAdapter):
    """An adapter that counts, as programs derive one."""

    sent = 0

    def send(
        self, request: requests.PreparedRequest, *args: object, **kwargs: object
    ) -> requests.Response:
        self.sent += 1
        return super().send(request, *args, **kwargs)  # type: ignore[arg-type]


def describe(response: Response) -> str:
    timings: httpcore.Timings = response.timings
    over: httpcore.ConnectionInfo = response.connection_info
    total: float | None = timings.total
    assert total is not None
    return f"{response.status_code} {len(response.content)} {over.protocol} {total < 60}"


def main(url: str) -> None:
    with Client(url) as client:
        print(describe(client.fetch("/bytes/4")))
        print(describe(client.fetch("/bytes/5", seconds=10)))
        answer: Response = client.post(url + "/echo", json={"a": [1]}, timeout=(3, 30))
        print(answer.json()["method"], answer.ok, answer.history)
        opened: int = client.get_adapter(url).pool.stats()["totals"]["opened"]
        print("opened", opened)
        adapter = Counting(timeout=5, http2=False, max_connections=3)
        client.mount("http://", adapter)
        stock: requests.Response = client.get(url, timeout=Timeout(None), stream=True)
        stock.close()
        for connection in adapter.pool.connections:
            print("sent", adapter.sent, connection.info())
    token = httpcore.CancelToken()
    token.cancel()
    try:
        with Session(http2=True) as session:
            session.get(url, timeout=Timeout(cancel=token))
    except requests.ConnectionError as exc:
        phase: str | None = httpcore_requests.phase(exc)
        print(phase)


if __name__ == "__main__":
    main(sys.argv[1])
