"""Large pages for large buffers, where the system has them.

Owns: the one call that asks for them. Must not know: HTTP, what is in the buffer.

Memory that is new to a process comes in pages of 4 KiB, and the first byte written to each is a
fault that the kernel has to serve: 25,600 of them for a body of 100 MiB, which take longer than
copying it. Linux has pages of 2 MiB (512 KiB to 32 MiB elsewhere) for whoever asks, and then it is
50 faults. Asking is advice: wherever it cannot be given, is refused, or is of no use, everything
goes on as without it. Nothing is committed by it either: a page is still taken when its first byte
is written, so a body that was announced and does not come takes no more than one of them.

Python's `mmap` objects can give that advice, but no `bytes` comes out of them without a copy. So
it is given by the address, with the compiled half of `ctypes`, which is loaded with the first such
buffer. The other half, in Python, would add 160 kB for types that are of no use here.

Where the machine is a virtual one that returns free memory to its host, a page that was free for a
second or two is fetched again when it is written to, whatever its size; no advice saves that.

Sources: madvise(2), Linux' Documentation/admin-guide/mm/transhuge.rst, CPython's
Modules/_ctypes (the names used here have been there since Python 2.5).
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

HUGE_FROM = 8 * 1024 * 1024
"""Bytes. Smaller buffers have too few faults to be worth a call, and both ends of a buffer, as far
as they do not fill a large page, keep small ones."""

Advise = Callable[[memoryview], None]


def use_huge_pages(view: memoryview) -> None:
    """Ask for large pages for a buffer that nothing was written to yet. Never raises what comes of
    it; never changes the bytes. Thread-safe.

    Parameters:
        view: the whole buffer, writable, contiguous, in bytes; left alone below HUGE_FROM.
    """
    if len(view) >= HUGE_FROM:
        advise = _find_advice()
        if advise is not None:
            with contextlib.suppress(Exception):
                advise(view)


@cache
def _find_advice() -> Advise | None:
    """Return what gives the advice; None where there is no way to."""
    # Another interpreter may move what it holds, or keep the export of the buffer for a while.
    if sys.platform != "linux" or sys.implementation.name != "cpython":
        return None
    try:
        import mmap
        from _ctypes import FUNCFLAG_CDECL, CFuncPtr, _SimpleCData, addressof, dlopen, dlsym

        char: Any = _make("c", _SimpleCData)
        number, size = _make("i", _SimpleCData), _make("L", _SimpleCData)
        function: Any = type(
            "_Function",
            (CFuncPtr,),
            # An address is an unsigned long on every Linux.
            {"_flags_": FUNCFLAG_CDECL, "_argtypes_": (size, size, number), "_restype_": number},
        )
        advice, page = mmap.MADV_HUGEPAGE, mmap.PAGESIZE
        libraries: Any = None  # all that the process has loaded; typeshed knows only paths
        madvise = function(dlsym(dlopen(libraries, 0), "madvise"))
        locate = char.from_buffer
    except Exception:  # hardened systems refuse parts of it, each in its own way
        return None

    def advise(view: memoryview) -> None:
        # In one expression: what exports the buffer must be in no variable, which the traceback of
        # an interrupt would keep, and the view could not be released.
        start = addressof(locate(view))
        first = -(-start // page) * page
        end = (start + len(view)) // page * page
        madvise(first, end - first, advice)  # whether it was taken does not matter

    return advise


def _make(code: str, base: type) -> type:
    """Return the type for a value in C that `struct` calls `code`."""
    return type("_Value", (base,), {"_type_": code})
