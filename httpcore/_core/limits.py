"""Sizes and seconds that more than one module keeps to.

Owns: the numbers, each with its unit and its reason. Must not know: anything else. A number that
only one module uses stands there.
"""

from __future__ import annotations

ACK_PATIENCE = 3.0
"""Seconds in which a live path acknowledges a small request: three times the initial
retransmission timeout of RFC 6298, so that two packets may get lost."""
