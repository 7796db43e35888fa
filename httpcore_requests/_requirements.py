"""Checks that there is a requests, and none that is too old.

Owns: the oldest version of requests, and the sentence about it. Must not know: anything else of
the package. Importing it is the check.
"""

from __future__ import annotations

import re

# Older ones may send the credentials of .netrc to another host (CVE-2024-47081). setup.cfg has it,
# too, for pip; but that is not looked at where requests is replaced later, or copied.
OLDEST = "2.32.4"


def _complain(found: str) -> str:
    return (
        f"httpcore_requests needs requests {OLDEST} or later, and {found}: "
        "pip install 'httpcore[requests]'"
    )


def _numbers(version: str) -> list[int]:
    return [int(each) for each in re.findall(r"\d+", version)[:3]]


try:
    import requests
except ModuleNotFoundError as exc:
    if exc.name != "requests":  # requests is there, and something that it needs is not
        raise
    raise ModuleNotFoundError(_complain("there is none"), name="requests") from None

if _numbers(requests.__version__) < _numbers(OLDEST):
    raise ImportError(_complain(f"this is {requests.__version__}"), name="requests")
