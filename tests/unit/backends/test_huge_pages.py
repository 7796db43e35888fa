"""Large pages for large buffers: that they are asked for, and that nothing depends on the answer.

Owns: `httpcore._backends.huge_pages`. Must not know: what is read into the buffer.
"""

from __future__ import annotations

import ctypes
import mmap
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from httpcore._backends import huge_pages
from httpcore._backends.huge_pages import HUGE_FROM, use_huge_pages
from tests.support.interrupting import interrupt_at

MAPS = Path("/proc/self/smaps")
SWITCH = Path("/sys/kernel/mm/transparent_hugepage/enabled")


@pytest.fixture(autouse=True)
def found_anew() -> Iterator[None]:
    """How the advice is given is looked up once for each process; here, once for each test."""
    huge_pages._find_advice.cache_clear()
    yield
    huge_pages._find_advice.cache_clear()


def flags_at(address: int) -> list[str]:
    """What the kernel notes of the mapping that has this address."""
    inside = False
    for line in MAPS.read_text().splitlines():
        bounds = re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line)
        if bounds is not None:
            inside = int(bounds[1], 16) <= address < int(bounds[2], 16)
        elif inside and line.startswith("VmFlags:"):
            return line.split()[1:]
    raise AssertionError(f"no mapping has {address:#x}")


@pytest.mark.skipif(not SWITCH.exists(), reason="this system has no transparent huge pages")
def test_the_kernel_is_asked() -> None:
    # Memory of its own: what `bytearray` gets may have been advised in its last life.
    with mmap.mmap(-1, 2 * HUGE_FROM) as memory, memoryview(memory) as view:
        middle = ctypes.addressof(ctypes.c_char.from_buffer(view)) + HUGE_FROM
        assert "hg" not in flags_at(middle)
        use_huge_pages(view)
        assert "hg" in flags_at(middle)
        assert bytes(view) == bytes(2 * HUGE_FROM)
        view[-1] = 1


@pytest.mark.parametrize(("size", "asked"), [(HUGE_FROM - 1, 0), (HUGE_FROM, 1)])
def test_from_which_size_on(size: int, asked: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[memoryview] = []
    monkeypatch.setattr(huge_pages, "_find_advice", NotCached(seen.append))
    with memoryview(bytearray(size)) as view:
        use_huge_pages(view)
    assert len(seen) == asked


class NotCached:
    """Stands in for `_find_advice`."""

    def __init__(self, advice: Any) -> None:
        self.advice = advice

    def __call__(self) -> Any:
        return self.advice

    def cache_clear(self) -> None:
        """Nothing is kept."""


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_other_systems_are_not_asked(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert huge_pages._find_advice() is None
    with memoryview(bytearray(HUGE_FROM)) as view:
        use_huge_pages(view)


@pytest.mark.skipif(not SWITCH.exists(), reason="this system has no transparent huge pages")
def test_the_python_half_of_ctypes_is_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be most of what a large body takes beyond itself."""
    monkeypatch.setitem(sys.modules, "ctypes", None)
    assert huge_pages._find_advice() is not None


@pytest.mark.parametrize("module", ["_ctypes", "mmap"])
def test_a_python_without_the_means(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setitem(sys.modules, module, None)
    assert huge_pages._find_advice() is None
    with memoryview(bytearray(HUGE_FROM)) as view:
        use_huge_pages(view)


def test_a_failure_is_no_failure_of_the_body(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(view: memoryview) -> None:
        raise OSError("not permitted")

    monkeypatch.setattr(huge_pages, "_find_advice", NotCached(refuse))
    with memoryview(bytearray(HUGE_FROM)) as view:
        use_huge_pages(view)


def test_an_interrupt_leaves_the_buffer_free() -> None:
    """The view is released by the reader of a body while the interrupt is on its way."""
    point = 1
    while True:
        buffer = bytearray(HUGE_FROM)
        view = memoryview(buffer)
        struck = interrupt_at(point, lambda view=view: use_huge_pages(view))  # type: ignore[misc]
        view.release()
        buffer.append(1)  # BufferError, if anything still exported it
        if not struck:
            break
        point += 1
    assert point > 2
