"""When modules are loaded: whole, once, and before the first request.

Each test has a process of its own, in which nothing is loaded yet.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.servers import LocalServer

# Calls `strike` when the module is about to be loaded, as a signal or the collector might.
STRIKING = """
import sys
class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == wanted:
            sys.meta_path.remove(Finder)
            strike()
sys.meta_path.insert(0, Finder)
"""


def run(code: str, *arguments: str) -> list[str]:
    line = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("wanted", "use"),
    [
        ("httpcore._url", "httpcore.URL('http://a.test/')"),
        ("httpcore._sync.http11", "httpcore.ConnectionPool()"),
        ("httpcore._async.http11", "httpcore.AsyncHTTP11Connection"),
        ("httpcore._core.h2", "httpcore.ConnectionPool(http2=True)"),
        ("h2.connection", "httpcore.ConnectionPool(http2=True)"),
        ("httpcore._core.h1_repairs", "httpcore.ConnectionPool()"),
    ],
)
def test_nothing_is_loaded_twice(wanted: str, use: str) -> None:
    """... by code that interrupts the loading and wants the same."""
    code = f"""
import httpcore
wanted = {wanted!r}
def strike():
    try:
        {use}
    except ImportError as exc:
        print(exc)
{STRIKING}
{use}
{use}
print(httpcore.URL("http://a.test/") == httpcore.Request("GET", "http://a.test/").url)
"""
    refused, same = run(code)
    assert "cannot be loaded by a signal handler or a destructor" in refused
    assert same == "True"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.parametrize("wanted", ["httpcore._url", "httpcore._core.pool_base", "h2.connection"])
def test_a_fork_waits_until_all_is_loaded(wanted: str) -> None:
    """The child would wait for ever for the thread that was loading it."""
    code = f"""
import os, signal, threading
import httpcore
wanted = {wanted!r}
loading, forking = threading.Event(), threading.Event()
def strike():
    os.register_at_fork(before=forking.set)  # the last to be registered is the first
    loading.set()
    assert forking.wait(20)
{STRIKING}
thread = threading.Thread(target=lambda: httpcore.ConnectionPool(http2=True))
thread.start()
assert loading.wait(20)
child = os.fork()
if not child:
    signal.alarm(20)
    httpcore.ConnectionPool(http2=True)
    os._exit(0)
thread.join()
print(os.waitpid(child, 0)[1])
"""
    assert run(code) == ["0"]


@pytest.mark.parametrize("options", ["", "http2=True", "http2=True, timeout=5"])
@pytest.mark.parametrize("how", ["Session({})", "install({}) or requests.Session()"])
def test_no_request_of_a_session_loads_a_module(
    server: LocalServer, options: str, how: str
) -> None:
    """The first may come from a thread, a destructor or a signal handler."""
    code = f"""
import sys
import httpcore_requests, requests
from httpcore_requests import Session, install
session = {how.format(options)}
known = set(sys.modules)
assert session.get(sys.argv[1] + "/status/200").ok
print(*sorted(name for name in set(sys.modules) - known))
"""
    (loaded,) = run(code, server.url)
    ours = [name for name in loaded.split() if name.startswith(("httpcore", "h2", "h11", "hpack"))]
    assert ours == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.parametrize("first", ["httpcore.ConnectionPool()", ""])
def test_a_fork_while_a_log_is_configured(first: str) -> None:
    """A handler that makes a pool is made while a lock of logging is held, which a fork takes."""
    code = f"""
import logging, logging.config, os, threading
import httpcore
httpcore.URL  # it is known from here on that forks have to wait
{first}
begun, forking = threading.Event(), threading.Event()
class Shipping(logging.Handler):
    def __init__(self):
        super().__init__()
        begun.set()
        assert forking.wait(20)
        self.pool = httpcore.ConnectionPool(http2=True)
config = {{"version": 1, "handlers": {{"it": {{"()": Shipping}}}}, "root": {{"handlers": ["it"]}}}}
thread = threading.Thread(target=lambda: logging.config.dictConfig(config), daemon=True)
thread.start()
assert begun.wait(20)
os.register_at_fork(before=forking.set)
child = os.fork()
if not child:
    os._exit(0)
print(os.waitpid(child, 0)[1])
thread.join(20)
print(thread.is_alive())
"""
    assert run(code) == ["0", "False"]


def test_what_is_loaded_is_of_use_to_a_signal_handler() -> None:
    """... that has interrupted a pool's constructor."""
    code = """
import sys
import httpcore
httpcore.ConnectionPool(http2=True)
def strike(frame, event, argument):
    if frame.f_code.co_name in ("load_codecs", "load_once"):
        sys.setprofile(None)
        print(httpcore.ConnectionPool(http2=True).stats()["connections"])
sys.setprofile(strike)
httpcore.ConnectionPool(http2=True)
"""
    assert run(code) == ["0"]
