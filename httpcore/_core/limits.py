"""Sizes and seconds that more than one module keeps to.

Owns: the numbers, each with its unit and its reason. Must not know: anything else. A number that
only one module uses stands there.
"""

from __future__ import annotations

READ_SIZE = 65536
"""Bytes asked for in one read. 64 KiB holds every usual head with a small body in one call, and is
what the kernel hands out on a busy connection."""

MAX_READ_SIZE = 262144
"""Bytes asked for in one read of a body whose caller takes more than READ_SIZE at once. With 1 MB
bodies, 256 KiB saved a fifth of the CPU of a gateway, and 128 KiB a third of that."""

WRITE_SIZE = 131072
"""Bytes per write of a body, and the largest body that leaves together with its head. Copying this
much costs less than a second system call and a second packet."""

ACK_PATIENCE = 3.0
"""Seconds in which a live path acknowledges a small request: three times the initial
retransmission timeout of RFC 6298, so that two packets may get lost."""

CONTINUE_PATIENCE = 1.0
"""Seconds that a server has to say "100 Continue" before the body is sent all the same: many do not
know it. RFC 9110 section 10.1.1 forbids to wait for ever; curl waits as long."""

MAX_FIELDS = 1000
"""Fields in one head, header block or trailer section. Responses have some dozens, and http.client
refuses more than 100; each costs a hundred times the six bytes that it may have on the wire."""
