"""The functions by which a library on top of this one keeps secrets out of its texts.

Owns: the public names. Must not know: any rule; all of them stand in `_redact`.
"""

from __future__ import annotations

from ._redact import plain_start, redact_url, without_query

__all__ = ["plain_start", "redact_url", "without_query"]
