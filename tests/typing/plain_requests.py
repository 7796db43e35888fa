"""A program that knows requests only, and gives it our adapter and our timeouts."""

from __future__ import annotations

import sys

import requests
import urllib3

import httpcore_requests
from httpcore_requests import HTTPAdapter, Timeout


def fetch(session: requests.Session, url: str) -> bytes:
    response = session.get(url, timeout=Timeout(total=10, read=5, pool=1))
    response.raise_for_status()
    return response.content


def main(url: str) -> None:
    session = requests.Session()
    adapter = HTTPAdapter(max_retries=urllib3.Retry(3), timeout=urllib3.Timeout(connect=1, read=2))
    session.mount("http://", adapter)
    print(fetch(session, url))
    print(fetch(httpcore_requests.Session(), url))
    session.close()

    httpcore_requests.install(timeout=(3, 30), retries=2)
    print(requests.get(url, timeout=Timeout(None)).status_code)
    print(requests.post(url + "/echo", data=b"a", timeout=Timeout(10)).status_code)
    print(requests.request("GET", url, timeout=Timeout(10)).status_code)
    prepared = requests.Request("GET", url).prepare()
    with requests.Session() as other:
        print(other.send(prepared, timeout=Timeout(total=10)).status_code)
    httpcore_requests.uninstall()


if __name__ == "__main__":
    main(sys.argv[1])
