"""A program on the synchronous pool."""

from __future__ import annotations

import sys
from typing import Any

import httpcore
from httpcore.exceptions import NameResolutionError

events: list[str] = []


def note(name: str, details: dict[str, Any]) -> None:
    events.append(name)


def resolve(host: str, port: int, timeout: float | None) -> list[str]:
    if host == "nowhere.test":
        raise NameResolutionError("there is no such host")
    return ["127.0.0.1"]


def main(url: str) -> None:
    with httpcore.ConnectionPool(
        max_connections=10,
        timeout={"connect": 5.0, "total": 60.0},
        retries=httpcore.RetryConfig(2, statuses=[503]),
        trace=note,
        resolver=resolve,
    ) as pool:
        response: httpcore.Response = pool.request("GET", url, headers={"X-Name": "value"})
        timings: httpcore.Timings = response.extensions["timings"]
        over: httpcore.ConnectionInfo = response.extensions["connection"]
        print(response.status, len(response.content), over.protocol, timings.send is not None)
        with pool.stream(
            "GET", url + "/bytes/100000", extensions={"timeout": {"read": 5}}
        ) as large:
            print(sum(len(part) for part in large.iter_stream()))
        print(pool.stats()["totals"]["opened"], [each.is_idle() for each in pool.connections])
        try:
            pool.request("GET", "http://nowhere.test/")
        except httpcore.ConnectError as exc:
            print(type(exc).__name__, exc.phase)
    print("pool.assign" in events)

    request = httpcore.Request("GET", url, headers={"Host": "a"}, extensions={"trace": note})
    with httpcore.ConnectionPool(http2=True, keepalive_expiry=5) as pool:
        with_proxy: httpcore.Proxy | None = None
        request.extensions = {**request.extensions, "proxy": with_proxy}
        answer = pool.handle_request(request)
        body: bytes = answer.read()
        print(len(body), answer.extensions["reused"])

    old = httpcore.PoolManager(timeout=httpcore.TimeoutConfig(timeout=5.0))
    whole = old.request("GET", url)
    print(whole.status_code, len(whole.body))
    old.close()


if __name__ == "__main__":
    main(sys.argv[1])
