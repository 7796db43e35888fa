"""What a process has open, and how much memory it takes.

Owns: reading that from the system, and the comparison. Must not know: what the process does.
"""

from __future__ import annotations

import ctypes
import gc
import os
import threading
from dataclasses import dataclass

from .plans import Tally

#: Bytes of a mebibyte.
MIB = 1 << 20


@dataclass
class Resources:
    """What a process has at one moment.

    Attributes:
        descriptors: open files and sockets; 0 where there is no /proc.
        threads: of Python.
        resident: bytes of memory; 0 where there is no /proc.
    """

    descriptors: int
    threads: int
    resident: int

    @classmethod
    def now(cls) -> Resources:
        """Return what this process has now, without its garbage, and without the memory that glibc
        keeps although it is free: after rounds of 1,000 tasks that is 40 MiB, in holes."""
        gc.collect()
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
        if trim is not None:
            trim(0)
        try:
            descriptors = len(os.listdir("/proc/self/fd"))
            with open("/proc/self/statm") as file:
                resident = int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")
        except OSError:
            descriptors = resident = 0
        return cls(descriptors, threading.active_count(), resident)

    def compare(self, before: Resources, tally: Tally) -> None:
        """Note in `tally` what there is more of than `before`, memory apart."""
        for name in ("descriptors", "threads"):
            had, has = getattr(before, name), getattr(self, name)
            if has > had:
                tally.object_to(f"{has} {name} are left, where there were {had}")

    def __str__(self) -> str:
        memory = f"{self.resident / MIB:.1f} MiB"
        return f"{self.descriptors} descriptors, {self.threads} threads, {memory}"
