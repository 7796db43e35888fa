"""Tests of what only newer versions of a dependency do.

Owns: how such a test is left out where scripts/oldest runs it. Must not know: what that is.
"""

from __future__ import annotations

from importlib import metadata

import pytest
from packaging.version import Version


def needs(package: str, version: str) -> pytest.MarkDecorator:
    """Return a mark that skips a test where `package` is older than `version`."""
    older = Version(metadata.version(package)) < Version(version)
    return pytest.mark.skipif(older, reason=f"{package} before {version} does something else")
