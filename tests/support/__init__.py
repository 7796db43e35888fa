"""What the tests share. No test module imports another: what two of them need is here.

`servers`, `http2`, `proxies`, `programs`, `wire` and `tls` are the other side, and know nothing of
the packages under test; the rest helps on the client's side.
"""

from pathlib import Path

#: The folder of the checkout.
ROOT = Path(__file__).resolve().parent.parent.parent
