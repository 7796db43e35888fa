"""What the tests share. No test module imports another: what two of them need is here.

`servers`, `http2`, `proxies`, `programs`, `wire` and `tls` are the other side, and know nothing of
the packages under test; the rest helps on the client's side.
"""

from pathlib import Path

#: Seconds after which what a test waits for will not come. A bound against hangs: below that of a
#: whole test, and no test passes by it.
PATIENCE = 20.0
MIB = 1024 * 1024
#: The folder of the checkout.
ROOT = Path(__file__).resolve().parent.parent.parent
