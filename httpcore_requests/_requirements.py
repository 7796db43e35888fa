"""Checks that there are a requests and a urllib3, and none that is too old.

Owns: the oldest versions of the two, and the sentence about them. Must not know: anything else of
the package. Importing it is the check.
"""

from __future__ import annotations

import re

# setup.cfg has both, too, for pip; but that is not looked at where one of them is replaced later,
# or copied.

# Older ones may send the credentials of .netrc to another host (CVE-2024-47081).
OLDEST = "2.32.4"
# Older ones decompress without bound what brotli made (CVE-2026-44432), or lose some of it.
OLDEST_URLLIB3 = "2.7"


def _complain(found: str, name: str = "requests", oldest: str = OLDEST) -> str:
    return (
        f"httpcore_requests needs {name} {oldest} or later, and {found}: "
        "pip install 'httpcore[requests]'"
    )


def _numbers(version: str) -> list[int]:
    return [int(each) for each in re.findall(r"\d+", version)[:3]]


def _refuse_older(name: str, oldest: str, version: str) -> None:
    if _numbers(version) < _numbers(oldest):
        raise ImportError(_complain(f"this is {version}", name, oldest), name=name)


try:
    import requests
except ModuleNotFoundError as exc:
    if exc.name != "requests":  # requests is there, and something that it needs is not
        raise
    raise ModuleNotFoundError(_complain("there is none"), name="requests") from None

_refuse_older("requests", OLDEST, requests.__version__)

import urllib3  # noqa: E402 - requests, where it is new enough, has loaded it

_refuse_older("urllib3", OLDEST_URLLIB3, urllib3.__version__)  # type: ignore[attr-defined]
