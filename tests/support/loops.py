"""The event loops that asynchronous tests run on.

Owns: the fixture `anyio_backend`, which anyio's pytest plugin asks for. A test that is marked
``anyio`` runs once on each. Must not know: the packages under test.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest

HAS_UVLOOP = find_spec("uvloop") is not None  # there is none for Windows

ASYNCIO = [
    pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio"),
    pytest.param(
        ("asyncio", {"use_uvloop": True}),
        id="uvloop",
        marks=pytest.mark.skipif(not HAS_UVLOOP, reason="uvloop is not installed"),
    ),
]
LOOPS = [*ASYNCIO, pytest.param(("trio", {}), id="trio")]


@pytest.fixture(params=LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param
