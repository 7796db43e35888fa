"""The list of a suite's tests that are not expected to pass, and why.

Owns: the file format. Must not know: pytest, suites.

A line is ``test id  # reason``; the sections say what kind of reason it is:

``[ours]``
    fails with our adapter and passes with stock, and is no defect of ours: it asserts on a
    private of urllib3, say.
``[http2]``
    fails with our adapter when HTTP/2 is on, and what it asserts is not so in HTTP/2.
``[session]``
    fails with our session, and asserts on how requests' own goes about it.
``[both]``
    fails with stock too, in the pinned environment.

``[both >= 3.12]`` holds for Python 3.12 and later; its tests pass before.
A listed test that passes fails the run: the list stays as short as it can be.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import NamedTuple

_match_section = re.compile(r"\[(ours|http2|session|both)(?: >= (\d+)\.(\d+))?\]").fullmatch


class Entry(NamedTuple):
    """One listed test: the section it stands in, and the reason given."""

    section: str
    reason: str


def read_list(path: Path) -> dict[str, Entry]:
    """The entries of the list at `path` that hold for this Python, by test id.

    Raises ValueError, naming file and line, for a line without a reason, an unknown section, or
    a test that is listed twice.
    """
    entries: dict[str, Entry] = {}
    section, holds = "", True
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        where = f"{path.name}:{number}"
        if line.startswith("["):
            found = _match_section(line)
            if found is None:
                raise ValueError(f"{where}: {line} is no section such as [ours] or [both >= 3.12]")
            section = found[1]
            holds = found[2] is None or sys.version_info >= (int(found[2]), int(found[3]))
            continue
        # Parametrised ids may have a # of their own, but not after two spaces.
        test, _, reason = line.partition("  # ")
        if not section or not reason.strip():
            raise ValueError(f"{where}: a line is 'test id  # reason', below a [section]")
        if test in entries:
            raise ValueError(f"{where}: {test} is listed twice")
        if holds:
            entries[test.strip()] = Entry(section, reason.strip())
    return entries
