"""The rules of ``no_proxy``.

Owns: `httpcore.bypasses_proxy`. How the command and the adapter come to ask it is in their tests.
"""

from __future__ import annotations

import pytest

from httpcore import bypasses_proxy


@pytest.mark.parametrize(
    ("rules", "host", "expected"),
    [
        ("", "example.com", False),
        # As the command line of curl 7.88 has it; the others as Go has them.
        ("127.0.0.0/8", "127.0.0.1", True),
        ("10.0.0.0/8,127.0.0.0/8", "127.0.0.1", True),
        ("10.0.0.0/8 127.0.0.0/8", "127.0.0.1", True),
        ("10.0.0.0/8, 127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1/32", "127.0.0.1", True),
        ("127.0.0.0/7", "127.0.0.1", True),
        ("128.0.0.0/8", "127.0.0.1", False),
        ("a.test  localhost", "localhost", True),
        (".localhost", "localhost", True),
        ("local", "localhost", False),
        ("LOCALHOST", "localhost", True),
        ("localhost,", "localhost", True),
        (" , ,", "example.com", False),
        ("*", "example.com", True),
        ("a.test *", "10.1.2.3", True),
        ("*:8080", "example.com", False),
        ("*:80", "example.com", True),
        ("example.com", "example.com", True),
        ("example.com", "EXAMPLE.com", True),
        ("Example.COM", "example.com", True),
        ("example.com", "example.com.", True),
        ("example.com.", "example.com", True),
        ("example.com", "www.example.com", True),
        ("example.com", "notexample.com", False),
        ("example.com", "example.com.evil.test", False),
        (".example.com", "example.com", True),
        (".example.com", "www.example.com", True),
        (".example.com", "notexample.com", False),
        ("*.example.com", "www.example.com", True),
        ("*.example.com", "notexample.com", False),
        ("www.example.com", "example.com", False),
        ("com", "example.com", True),
        ("other.test, example.com ,third.test", "example.com", True),
        ("other.test example.com", "example.com", True),
        ("other.test,\texample.com\n", "example.com", True),
        ("example.com:80", "example.com", True),
        ("example.com:80", "www.example.com", True),
        ("example.com:8080", "example.com", False),
        (".example.com:80", "www.example.com", True),
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.10", False),
        ("0.0.1", "10.0.0.1", False),
        (".1", "10.0.0.1", False),
        ("10.0.0.1:80", "10.0.0.1", True),
        ("10.0.0.1:81", "10.0.0.1", False),
        ("10.0.0.0/8", "10.200.3.4", True),
        ("10.0.0.1/8", "10.200.3.4", True),  # host bits set: still that network
        ("10.0.0.0/255.0.0.0", "10.200.3.4", True),
        ("10.0.0.0/8", "11.0.0.1", False),
        ("10.0.0.0/8", "ten.test", False),
        ("10.0.0.0/33", "10.0.0.1", False),
        ("10.0.0.0/8:80", "10.0.0.1", False),
        ("0.0.0.0/0", "192.0.2.1", True),
        ("0.0.0.0/0", "2001:db8::1", False),
        ("::1", "::1", True),
        ("::1", "[::1]", True),
        ("[::1]", "::1", True),
        ("[::1]:80", "::1", True),
        ("[::1]:81", "::1", False),
        ("0:0::1", "::1", True),
        ("2001:DB8::/32", "2001:db8:1::2", True),
        ("2001:db8::/32", "2001:db9::1", False),
        ("fe80::/10", "fe80::1%eth0", True),
        ("127.0.0.0/8", "::ffff:127.0.0.1", True),
        ("http://example.com/", "example.com", False),
        ("example.com:http", "example.com", False),
        ("[", "example.com", False),
        ("bücher.test", "bücher.test", True),
    ],
)
def test_rules_of_no_proxy(rules: str, host: str, expected: bool) -> None:
    assert bypasses_proxy(rules, host, 80) is expected


def test_rules_of_no_proxy_without_a_port() -> None:
    assert bypasses_proxy("example.com", "example.com", None)
    assert not bypasses_proxy("example.com:80", "example.com", None)
