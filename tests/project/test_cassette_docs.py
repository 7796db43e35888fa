"""docs/cassettes.rst, done as it says.

Owns: the page's code blocks. Must not know: what the parts do in detail.

A server of our own stands where the page has a real one.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import httpcore
from httpcore._testing.cassettes.file import read_contents
from tests.support import ROOT
from tests.support.servers import LocalServer, Peer, ScriptedServer

PAGE = ROOT / "docs" / "cassettes.rst"


class Block(NamedTuple):
    language: str
    caption: str
    text: str
    section: str


def blocks() -> Iterator[Block]:
    """The code blocks of the page."""
    pattern = re.compile(
        r"^\.\. code-block:: (\w+)\n((?:   :.*\n)*)\n((?:(?:   .*)?\n)+)|^(.+)\n-{3,}\n",
        re.MULTILINE,
    )
    section = ""
    for match in pattern.finditer(PAGE.read_text()):
        if match[4]:
            section = match[4]
            continue
        caption = re.search(r":caption: (.*)", match[2])
        text = textwrap.dedent(match[3]).strip() + "\n"
        yield Block(match[1], caption[1] if caption else "", text, section)


def in_section(name: str) -> list[Block]:
    return [block for block in blocks() if block.section == name]


def pytest_in(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """`pytest` as a user would call it, with no plugin but those that its conftest.py asks for."""
    command = [sys.executable, "-m", "pytest", *args]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    environment.pop("PYTEST_ADDOPTS", None)
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=50
    )


def test_all_blocks_are_found() -> None:
    assert PAGE.read_text().count(".. code-block::") == len(list(blocks())) == 15


def test_five_minutes(serve: Callable[..., ScriptedServer], tmp_path: Path) -> None:
    """Each step of the quick start, in its order."""
    import gzip

    def example_com(peer: Peer) -> None:
        while peer.recv_request() is not None:
            page = gzip.compress(b"<html>\n<title>Example Domain</title>\n</html>\n")
            peer.respond(200, page, [("Content-Encoding", "gzip")])

    server = serve(example_com)
    program, plugins, test, commands, error = in_section("Five minutes")
    for block in (program, plugins, test):
        (tmp_path / block.caption).write_text(block.text.replace("https://example.com", server.url))
    install, *runs = commands.text.splitlines()
    assert install.startswith("$ pip install") and [run[:8] for run in runs] == ["$ pytest"] * 2
    for number, run in enumerate(runs):
        done = pytest_in(tmp_path, *run.split()[2:])
        assert done.returncode == 0, done.stdout + done.stderr
        assert "1 passed" in done.stdout
        if number == 0:
            server.stop()
    cassette = tmp_path / "cassettes" / "test_titles" / "test_title.jsonl"
    assert '{"text": "<title>Example Domain</title>\\n"}' in cassette.read_text()
    # And what the page shows of a request that was not recorded.
    changed = (tmp_path / "test_titles.py").read_text().replace('/")', '/other")')
    (tmp_path / "test_titles.py").write_text(changed)
    done = pytest_in(tmp_path)
    assert done.returncode == 1
    shown = " ".join(error.text.replace("https://example.com", server.url).split())
    assert shown.partition(" ")[2] in " ".join(re.sub(r"(?m)^E +", "", done.stdout).split())


def test_the_mark(tmp_path: Path, server: LocalServer) -> None:
    for block in in_section("The mark"):
        text = block.text.replace("https://example.com", server.url)
        (tmp_path / block.caption).write_text(text)
    for args in (["--httpcore-cassettes=record"], []):
        done = pytest_in(tmp_path, *args)
        assert "1 passed" in done.stdout, done.stdout + done.stderr
    assert len(server.requests) == 1


def test_the_other_blocks_run(
    tmp_path: Path, server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    space: dict[str, Any] = {}
    count = 0
    sections = ("Without pytest", "Matching requests", "Logs", "Scripts")
    for block in blocks():
        if block.language == "python" and block.section in sections:
            text = block.text.replace("https://api.example.com", server.url)
            exec(
                compile(text.replace('mount("https://', 'mount("http://'), block.section, "exec"),
                space,
            )
            if "session" in space:
                space.pop("session").close()
            count += 1
    logging.getLogger("httpcore.network").setLevel(logging.NOTSET)
    assert count == 6 and len(server.requests) == 1
    assert "123" not in Path("cassette.jsonl").read_text()


def test_the_example_of_the_format_is_a_cassette() -> None:
    (block,) = in_section("The file")
    contents = read_contents(block.text.encode(), "example")
    (exchange,) = contents.exchanges
    assert exchange.asked.body == b'{"name": "pencil"}'
    assert exchange.answer is not None and exchange.answer.body == b"one line\nand another one"
    lengths = [value for name, value in exchange.asked.headers if name == b"Content-Length"]
    lengths += [value for name, value in exchange.answer.headers if name == b"Content-Length"]
    assert lengths == [b"18", b"24"]


def test_the_page_names_all_there_is() -> None:
    text = PAGE.read_text()
    for keyword in httpcore.RecordingBackend.__init__.__kwdefaults__:
        assert f"{keyword}=" in text, keyword
    from httpcore._testing.cassettes.file import _EVENTS
    from httpcore._testing.cassettes.matching import _MATCHERS
    from httpcore.pytest_plugin import MODES

    for name in (*_EVENTS, *_MATCHERS, *MODES):
        assert f"``{name}``" in text, name
