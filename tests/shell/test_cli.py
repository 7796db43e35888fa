"""The command line: what it sends, what it writes where, and with which code it ends.

Owns: runs of the command, in this process (`run`), on a pseudo-terminal (`Screen`) and as a process
of its own (`start`). Must not know: how it is built, but for the parts that cannot be reached so.
"""

from __future__ import annotations

import base64
import configparser
import contextlib
import gzip
import io
import json
import os
import re
import runpy
import signal
import socket
import ssl
import subprocess
import sys
import threading
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import click
import pytest
import urllib3
from click.testing import CliRunner

import httpcore
from httpcore._cli import command, decoding, main, output, reading, report, talk
from httpcore._cli import run as running
from httpcore._cli import text as cli_text
from httpcore._cli.exits import Exit, Problem, explain
from httpcore._cli.output import Terminal
from tests.support import ROOT, http2
from tests.support.codings import BODY, compress
from tests.support.command import (
    Done,
    answering,
    needs_pty,
    on_screen,
    other_server,
    plain,
    run,
    run_apart,
    start,
)
from tests.support.proxies import ProxyServer, SocksServer
from tests.support.servers import LocalServer, Peer, Serve, pattern
from tests.support.tls import ClientCert

__all__ = ["on_screen", "other_server"]  # fixtures

LARGE = 20_000_000  # bytes


# --- what is sent ---


def test_the_simplest_run(server: LocalServer) -> None:
    assert run(server.url) == (0, b"hello from the local server\n", "")
    [request] = server.requests
    assert request.method == b"GET"
    assert request.headers == [
        (b"Host", f"127.0.0.1:{server.port}".encode()),
        (b"User-Agent", f"httpcore/{httpcore.__version__}".encode()),
        (b"Accept", b"*/*"),
    ]


@pytest.mark.parametrize(
    ("arguments", "method"),
    [
        ((), b"GET"),
        (("-d", "x"), b"POST"),
        (("--data-json", "1"), b"POST"),
        (("-d", "x", "-X", "PATCH"), b"PATCH"),
        (("--request", "DELETE"), b"DELETE"),
        (("-I",), b"HEAD"),
    ],
)
def test_the_method(server: LocalServer, arguments: tuple[str, ...], method: bytes) -> None:
    assert run(*arguments, server.url).code == 0
    assert server.requests[0].method == method


def test_headers(server: LocalServer) -> None:
    lines = ("X-One: 1", "X-Two:  a: b ", "X-Empty;", "User-Agent: mine", "Accept:", "X-Ü: ü")
    arguments = [part for line in lines[:-1] for part in ("-H", line)]
    assert run(*arguments, "-H", "X-Umlaut: ü", server.url).code == 0
    assert server.requests[0].headers[1:] == [
        (b"X-One", b"1"),
        (b"X-Two", b"a: b"),
        (b"X-Empty", b""),
        (b"User-Agent", b"mine"),
        (b"X-Umlaut", "ü".encode()),
    ]


def test_data_is_a_form_and_is_joined(server: LocalServer, tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(b"b=\n\x00")
    done = run("-d", "a=1", "-d", f"@{tmp_path / 'part'}", "-d", "@-", server.url, stdin=b"c=3")
    assert done.code == 0
    [request] = server.requests
    assert request.body == b"a=1&b=\n\x00&c=3"
    assert request.header("content-type") == b"application/x-www-form-urlencoded"


def test_data_json(server: LocalServer) -> None:
    assert run("--data-json", '{"a": 1.50}', server.url).code == 0
    [request] = server.requests
    assert request.body == b'{"a": 1.50}'
    assert request.header_all("content-type") == [b"application/json"]
    run("--data-json", "[]", "-H", "content-type: application/x.y+json", server.url)
    assert server.requests[1].header_all("content-type") == [b"application/x.y+json"]


@pytest.mark.parametrize("size", [0, 10, 3_000_000])
def test_a_file_is_streamed(server: LocalServer, tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(pattern(size))
    done = run("-T", path, f"{server.url}/upload")
    assert done.code == 0
    assert done.json["length"] == size
    assert done.json["framing"] == "length"
    assert server.requests[0].method == b"PUT"


def test_a_file_with_an_equals_sign_in_its_name(
    server: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a=b"
    path.write_bytes(b"content")
    monkeypatch.chdir(tmp_path)
    assert run("-T", "a=b", f"{server.url}/upload").json["length"] == len(b"content")


def test_standard_input_is_streamed(server: LocalServer) -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as file:
        file.write(pattern(50_000))
    line = [sys.executable, "-m", "httpcore", "--upload-file", "-", f"{server.url}/upload"]
    done = subprocess.run(line, stdin=reader, capture_output=True, check=True, timeout=30)
    os.close(reader)
    told = json.loads(done.stdout)
    assert (told["length"], told["framing"]) == (50_000, "chunked")


@needs_pty  # where there are these, there are paths of pipes
def test_a_pipe_that_has_a_path_is_streamed(server: LocalServer) -> None:
    """As a shell makes it of ``-T <(command)``."""
    reader, writer = os.pipe()
    os.write(writer, b"typed")
    os.close(writer)
    done = run("-T", f"/dev/fd/{reader}", "-w", " %{size_upload}", f"{server.url}/upload")
    os.close(reader)
    assert (done.code, done.err) == (0, "")
    told, size = done.out.rsplit(b" ", 1)
    assert (json.loads(told)["framing"], size) == ("chunked", b"5")


@needs_pty
def test_a_pipe_that_has_a_path_is_sent_once(server: LocalServer) -> None:
    """Opened again, it would be empty."""
    reader, writer = os.pipe()
    os.write(writer, b"typed")
    os.close(writer)
    path, url = f"/dev/fd/{reader}", f"{server.url}/redirect-to?status=307&url=/upload"
    done = run("-L", "-T", path, url)
    os.close(reader)
    assert (done.code, len(server.requests)) == (Exit.READ, 1)
    assert done.err == f"httpcore: 307 asks again for {path}, which is read only once\n"


def test_standard_input_in_this_process(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"typed")
    os.close(writer)
    with CliRunner().isolation() as streams, open(reader, encoding="ascii") as pipe:
        monkeypatch.setattr(sys, "stdin", pipe)
        assert main(["-T", "-", "--json", f"{server.url}/upload"]) == 0
        told = json.loads(streams[0].getvalue())
    monkeypatch.undo()
    assert told["sizes"]["request_body"] == len(b"typed")


@pytest.mark.parametrize("place", ["option", "url", "both"])
def test_basic_authentication(server: LocalServer, place: str) -> None:
    url = server.url + "/basic-auth/us%20er/p:w"
    inside = url.replace("//", "//us%20er:wrong@" if place == "both" else "//us%20er:p%3Aw@")
    user = base64.b64encode(b"us er:p:w")
    options = [] if place == "url" else ["-u", "us er:p:w"]
    run(*options, url if place == "option" else inside)
    assert server.requests[0].header("authorization") == b"Basic " + user
    assert server.requests[0].header("host") == f"127.0.0.1:{server.port}".encode()


def test_a_password_is_asked_for(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run("-u", "me", server.url)
    assert done.code == Exit.USAGE
    assert "no terminal to ask" in done.err
    asked = []

    def prompt(text: str, **options: Any) -> str:
        assert options["hide_input"] and options["err"]
        asked.append(text)
        return "secret"

    monkeypatch.setattr(click, "prompt", prompt)
    monkeypatch.setattr(command, "sys", SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True)))
    assert run("-u", "me", server.url).code == 0
    assert asked == ["Password for me"]
    assert server.requests[0].header("authorization") == b"Basic " + base64.b64encode(b"me:secret")


def test_ctrl_c_while_a_password_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def prompt(text: str, **options: Any) -> str:
        raise click.Abort

    monkeypatch.setattr(click, "prompt", prompt)
    monkeypatch.setattr(command, "sys", SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True)))
    assert run("-u", "me", "http://127.0.0.1").code == Exit.INTERRUPTED


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("example.com", "http://example.com/"),
        ("localhost:8080/a?b", "http://localhost:8080/a?b"),
        (":8080", "http://localhost:8080/"),
        (":8080/a", "http://localhost:8080/a"),
        (":/a", "http://localhost/a"),
        ("HTTPS://Example.com", "https://example.com/"),
        ("bücher.example/ü#f", "http://xn--bcher-kva.example/%C3%BC"),
        ("[::1]:80", "http://[::1]:80/"),
    ],
)
def test_urls_as_people_type_them(text: str, url: str) -> None:
    assert str(reading.read_url(text)[0]) == url


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ftp://h"], "the URL scheme 'ftp' is not supported"),
        (["http://h:99999"], "above 65535"),
        (["http://h/\udcff"], "surrogates"),
        (["http://u:secret@:x/"], "malformed"),
        (["-o", "f", "a", "b"], "-o is one file for several URLs"),
        (["--json", '{"a": 1}', "h"], "--json prints a report and takes no value"),
        (["--json", "[1]", "h"], "--json prints a report and takes no value"),
        (["-H", "secret", "h"], "header number 1 is neither"),
        (["-H", "secret", "h", "i"], "header number 1 is neither"),
        (["-d", "a", "-T", "b", "h"], "--data and --upload-file exclude each other"),
        (["-F", "secret", "h"], "-F number 1 is neither NAME=VALUE nor NAME=@FILE"),
        (["-F", "a=secret", "-F", "=secret", "h"], "-F number 2 is neither"),
        (["-F", "a=@f;secret", "h"], "only ;type= and ;filename= can stand"),
        (["-d", "a", "-F", "b=c", "h"], "--data and --form exclude each other"),
        (["-F", "b=c", "h", "a=b"], "--form and name=value exclude each other"),
        (["h", "a:=secret"], "a:= takes JSON"),
        (["-T", "-", "h", "i"], "standard input is sent to one URL only"),
        (["-C", "-", "h"], "-C - needs the file"),
        (["-O", "h/"], "-O needs a file name"),
        (["-O", "-o", "f", "h/a"], "--output and --remote-name exclude each other"),
        (["--bearer", "secret", "-u", "a:b", "h"], "--bearer and --user exclude each other"),
        (["--bearer", "secret", "--digest", "h"], "--bearer and --digest exclude each other"),
        (["-w", "%{http_cod}", "h"], "the variable 'http_cod' is not known"),
        (["--data-json", "{", "h"], "--data-json is no JSON"),
        (["--data-json", "[" * 100_000, "h"], "--data-json is no JSON"),
        (["h", "a:=" + "[" * 100_000], "a:= takes JSON"),
        (["--http2", "--http1.1", "h"], "--http1.1 and --http2 exclude each other"),
        (["--json", "-i", "h"], "--json and --include exclude each other"),
        (["--json", "-o", "-", "h"], "are both for standard output"),
        (["--key", "k", "h"], "--key needs --cert"),
        (["--resolve", "h:1", "h"], "--resolve takes HOST:PORT:ADDRESS"),
        (["--resolve", "h:1:secret", "h"], "the address of 'h:1' is none"),
        (["--resolve", "h:1:secret", "h", "i"], "the address of 'h:1' is none"),
        (["-x", "ftp://p", "h"], "--proxy: the proxy scheme 'ftp' is not supported"),
        (["-x", "http://u:secret@:x", "h"], "--proxy: URL 'http://[secure]@:x' is malformed"),
        (["-m", "0", "h"], "--max-time"),
        (["-m", "nan", "http://127.0.0.1:1"], "NaN"),
        (["--retry", "-1", "h"], "--retry"),
        (["--color", "blue", "h"], "--color"),
        (["--nonsense", "h"], "--nonsense"),
        (["-X", "É", "h"], "illegal character in the method"),
        (["-H", "a b: c", "h"], "illegal header name"),
        (["-v"], "the URL is missing"),
    ],
)
def test_what_cannot_be_asked_for(arguments: list[str], words: str) -> None:
    done = run(*arguments)
    assert done.code == Exit.USAGE
    assert words in done.err
    assert done.err.count("\n") == 1 and done.err.startswith("httpcore: ")
    assert done.out == b""
    if "h:1:secret" not in arguments:
        assert "secret" not in done.err


def test_as_a_module(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """``python -m httpcore``: the same, and its exit code is that of the process."""
    monkeypatch.setattr(sys, "argv", ["httpcore", "--version"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("httpcore", run_name="__main__")
    assert not ended.value.code
    assert capsys.readouterr().out == f"httpcore {httpcore.__version__}\n"
    assert runpy.run_module("httpcore.__main__", run_name="elsewhere")["main"] is main


def test_help_and_version() -> None:
    shown = run("-h")
    assert shown.code == 0
    text = shown.out.decode()
    assert max(map(len, text.splitlines())) <= 80
    for section in [*command.SECTIONS, "About"]:
        assert f"\n{section}:\n" in text
    assert run("--version") == (0, f"httpcore {httpcore.__version__}\n".encode(), "")
    assert run() == (Exit.USAGE, b"", "httpcore: the URL is missing (see httpcore --help)\n")


def test_the_console_script() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    scripts = config["options.entry_points"]["console_scripts"].split()
    assert scripts == ["httpcore", "=", "httpcore._cli:main"]
    done = run_apart("--version")
    assert (done.code, done.out) == (0, f"httpcore {httpcore.__version__}\n".encode())


def test_every_exit_code_is_documented() -> None:
    page = (ROOT / "docs" / "cli.rst").read_text()
    table = page[page.index("Exit codes\n") :]
    documented = {int(code) for code in re.findall(r"^   \* - (\d+)$", table, re.MULTILINE)}
    assert documented == set(Exit)


def test_every_option_is_documented() -> None:
    page = (ROOT / "docs" / "cli.rst").read_text()
    for option in command.command.params:
        for name in option.opts:
            assert not name.startswith("-") or f"``{name}" in page, name


# --- where it goes ---


def test_resolve_and_a_certificate_for_the_name(tls_server: LocalServer, ca_bundle: str) -> None:
    place = f"example.test:{tls_server.port}"
    done = run("--cacert", ca_bundle, "--resolve", f"{place}:127.0.0.1", f"https://{place}/echo")
    assert done.code == 0
    assert dict(done.json["headers"])["Host"] == place


def test_unix_socket(tmp_path: Path) -> None:
    with LocalServer(uds=tmp_path / "socket") as server:
        done = run("--unix-socket", tmp_path / "socket", "-v", "http://some.host/")
        assert done.out == b"hello from the local server\n"
        assert "* connected to the Unix socket\n" in done.err
        assert server.requests[0].header("host") == b"some.host"
        told = run("--unix-socket", tmp_path / "socket", "--json", "http://some.host/").json
    assert told["remote_address"] == f"unix:{tmp_path / 'socket'}"


def test_http_proxy(server: LocalServer, proxy: ProxyServer) -> None:
    proxy.credentials = ("user", "pass")
    place = f"user:pass@127.0.0.1:{proxy.port}"
    done = run("-x", place, "--json", server.url)
    assert done.json["status"] == 200
    assert done.json["proxy"] == f"http://127.0.0.1:{proxy.port}"
    assert proxy.requests[0].line.startswith(b"GET http://")
    assert b"pass" not in done.out


def test_a_tunnel_has_its_place_in_the_waterfall(
    tls_server: LocalServer, proxy: ProxyServer, ca_bundle: str
) -> None:
    proxy.credentials = ("user", "secret")
    place = f"http://user:secret@127.0.0.1:{proxy.port}"
    done = run("-x", place, "--cacert", ca_bundle, "--timing", "--trace", "-v", tls_server.url)
    assert done.code == 0
    assert "secret" not in done.err and "dXNlcjpzZWNyZXQ" not in done.err
    assert proxy.tunnels == 1
    rows = [line.split()[0] for line in done.err.splitlines() if line.endswith(" ms")]
    assert rows == ["connect", "tunnel", "tls", "send", "wait", "receive", "total"]
    assert "> CONNECT 127.0.0.1" in done.err


def test_tls_to_the_proxy_and_within(
    tls_server: LocalServer, server_tls_context: ssl.SSLContext, ca_bundle: str
) -> None:
    with ProxyServer(tls=server_tls_context) as proxy:
        place = f"https://127.0.0.1:{proxy.port}"
        done = run("-x", place, "--cacert", ca_bundle, "--timing", tls_server.url)
    assert done.code == 0
    names = [line[:11].strip() for line in done.err.splitlines()[1:]]
    assert names == ["connect", "proxy tls", "tunnel", "tls", "send", "wait", "receive", "total"]


def test_socks_proxy(server: LocalServer, socks: SocksServer) -> None:
    socks.credentials = ("user", "secret")
    place = f"socks5h://user:secret@{socks.address}"
    done = run("-x", place, "--timing", "--trace", "-v", server.url)
    assert done.code == 0
    assert "secret" not in done.err
    assert [asked.port for asked in socks.requests] == [server.port]
    assert "\ntunnel " in done.err


@pytest.mark.parametrize(
    ("variables", "options", "used"),
    [
        ({"http_proxy": "PROXY"}, [], True),
        ({"all_proxy": "PROXY"}, [], True),
        ({"https_proxy": "PROXY"}, [], False),
        ({"http_proxy": "PROXY", "no_proxy": "127.0.0.1"}, [], False),
        ({"http_proxy": "PROXY", "no_proxy": "10.0.0.0/8 127.0.0.0/8"}, [], False),
        ({"http_proxy": "PROXY", "NO_PROXY": "a.test, 127.0.0.1:PORT"}, [], False),
        ({"http_proxy": "PROXY", "no_proxy": "127.0.0.1:1, 10.0.0.0/8"}, [], True),
        ({"http_proxy": "PROXY"}, ["-x", ""], False),
        ({"http_proxy": "http://127.0.0.1:1"}, ["-x", "PROXY"], True),
    ],
)
def test_proxies_of_the_environment(
    server: LocalServer,
    proxy: ProxyServer,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    options: list[str],
    used: bool,
) -> None:
    place = f"http://127.0.0.1:{proxy.port}"
    for name, value in variables.items():
        value = value.replace("PROXY", place).replace("PORT", str(server.port))
        monkeypatch.setenv(name, value)
    done = run(*[each.replace("PROXY", place) for each in options], server.url)
    assert done.code == 0
    assert len(proxy.requests) == used


def test_a_broken_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "ftp://p")
    done = run("http://127.0.0.1:1")
    assert done.code == Exit.USAGE
    assert "the environment's proxy" in done.err


def test_insecure(tls_server: LocalServer) -> None:
    done = run("-k", "-v", tls_server.url)
    assert done.code == 0
    assert "* the certificate was NOT verified\n" in done.err
    assert run("-k", "--json", tls_server.url).json["tls"]["verified"] is False


def test_a_certificate_that_nobody_trusts(tls_server: LocalServer) -> None:
    done = run(tls_server.url)
    assert done.code == Exit.CERTIFICATE
    assert "CERTIFICATE_VERIFY_FAILED" in done.err
    assert "--cacert FILE; -k (--insecure)" in done.err
    assert "verify=" not in done.err
    tls_server.handshake_errors.clear()


def test_a_certificate_for_another_name(tls_server: LocalServer, ca_bundle: str) -> None:
    place = ("--resolve", f"other.example:{tls_server.port}:127.0.0.1")
    url = f"https://other.example:{tls_server.port}/"
    done = run("--cacert", ca_bundle, *place, url)
    assert done.code == Exit.CERTIFICATE
    assert "certificate is not valid for 'other.example'" in done.err
    assert "ask for a name that it has, with --resolve" in done.err and "--cacert" not in done.err
    assert run("-k", *place, url).code == 0
    tls_server.handshake_errors.clear()


def test_a_certificate_that_cannot_be_used_says_what_would_help() -> None:
    error = httpcore.exceptions.TLSError("the certificate has expired")
    error.__cause__ = ssl.SSLCertVerificationError()
    problem = explain(error)
    assert problem is not None and problem.code is Exit.CERTIFICATE
    assert problem.text == "the certificate has expired; -k (--insecure) does not verify at all"


def test_a_client_certificate_without_its_key(client_cert: ClientCert) -> None:
    done = run("-E", client_cert.cert, "https://127.0.0.1:1")
    assert done.code == Exit.READ
    assert f"{client_cert.cert} contains no private key" in done.err


def test_a_stale_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/no/such/file")
    done = run("https://127.0.0.1:1")
    assert done.code == Exit.READ
    assert "SSL_CERT_FILE=/no/such/file: not found" in done.err


def test_client_certificates(
    serve: Serve, mutual_tls_context: ssl.SSLContext, ca_bundle: str, client_cert: ClientCert
) -> None:
    server = serve(answering(plain(b"known")), tls=mutual_tls_context)
    good = ["--cacert", ca_bundle]
    assert run(*good, "-E", client_cert.combined, server.url).out == b"known"
    done = run(*good, "--cert", client_cert.cert, "--key", client_cert.key, server.url)
    assert done.out == b"known"
    # TLS 1.3 tells a client after its handshake, and a reset may overtake that.
    assert run(*good, server.url).code in (Exit.TLS, Exit.SEND, Exit.RECEIVE)


def test_files_that_are_no_certificates(tmp_path: Path, ca_bundle: str) -> None:
    path = tmp_path / "no.pem"
    path.write_text("nothing")
    for options in (["--cacert", path], ["-E", path], ["-E", ca_bundle, "--key", path]):
        done = run(*options, "https://127.0.0.1:1")
        assert done.code == Exit.READ
        assert f"{path}" in done.err
    done = run("--cacert", tmp_path / "missing", "https://127.0.0.1:1")
    assert done.code == Exit.READ
    assert "missing" in done.err
    done = run("-E", tmp_path, "https://127.0.0.1:1")
    assert done.code == Exit.READ
    assert done.err.startswith(f"httpcore: read {tmp_path} failed: ")


def test_http2(serve_h2: Callable[..., http2.FrameServer], ca_bundle: str) -> None:
    server = serve_h2(secure=True)
    done = run("--http2", "--cacert", ca_bundle, "-iv", "--trace", "--timing", server.url)
    assert done.code == 0
    head, _, body = done.out.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/2 200\r\n")
    assert body == b"hello over HTTP/2\n"
    assert "> GET / HTTP/2\n" in done.err and "< HTTP/2 200\n" in done.err
    assert "ALPN h2\n" in done.err
    assert "http2.receive_response_headers.complete" in done.err
    assert "\nwait " in done.err
    told = run("--http2", "--cacert", ca_bundle, "--json", "-d", "abc", f"{server.url}/echo").json
    assert (told["http_version"], told["reason"]) == ("HTTP/2", None)
    assert told["tls"]["alpn"] == "h2"
    assert told["sizes"]["request_body"] == 3


def test_http2_by_prior_knowledge(serve_h2: Callable[..., http2.FrameServer]) -> None:
    server = serve_h2()
    assert run("--http2-prior-knowledge", server.url).out == b"hello over HTTP/2\n"


def test_a_length_that_is_too_long_for_a_number(
    serve_h2: Callable[..., http2.FrameServer], tmp_path: Path
) -> None:
    """It only serves the progress bar."""

    def answer(request: http2.Stream) -> None:
        request.head(200, [("content-length", "5".zfill(5000))])
        request.write(b"hello", end=True)

    server, path = serve_h2(lambda link: link.serve(answer)), tmp_path / "f"
    assert run("--http2-prior-knowledge", "-o", path, server.url).code == 0
    assert path.read_bytes() == b"hello"


def test_http2_where_the_server_has_none(tls_server: LocalServer, ca_bundle: str) -> None:
    done = run("--http2", "--cacert", ca_bundle, "--json", tls_server.url)
    assert done.json["http_version"] == "HTTP/1.1"
    assert done.json["tls"]["alpn"] == "http/1.1"


# --- again, and elsewhere ---


def test_retry(serve: Serve) -> None:
    busy = b"HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n"
    answers = iter([busy, plain(b"x")])

    def handler(peer: Peer) -> None:
        while peer.recv_request() is not None:
            peer.send(next(answers))

    server = serve(handler)
    told = run("--retry", "2", "--json", server.url).json
    assert (told["status"], told["attempts"]) == (200, 2)


def test_no_retry_unless_asked_for(server: LocalServer) -> None:
    assert run(f"{server.url}/status/503").out == b"status 503"
    assert len(server.requests) == 1


def test_redirects_are_followed_when_asked_for(server: LocalServer) -> None:
    url = f"{server.url}/redirect/2"
    assert run("-i", url).out.startswith(b"HTTP/1.1 302")
    done = run("-iL", "--timing", url)
    assert re.findall(rb"HTTP/1.1 (\d+)", done.out) == [b"302", b"302", b"200"]
    assert done.err.count("GET http://") == 3
    told = run("-L", "--json", url).json
    assert [each["url"] for each in told["redirects"]] == [url, f"{server.url}/redirect/1"]
    assert told["url"] == f"{server.url}/echo"
    assert told["error"] is None


def test_no_more_than_twenty_redirects(server: LocalServer) -> None:
    done = run("-L", f"{server.url}/redirect/21")
    assert done.code == Exit.REDIRECTS
    assert "more than 20 redirects" in done.err
    assert run("-L", f"{server.url}/redirect/20").code == 0


@pytest.mark.parametrize(
    ("status", "method", "then", "body"),
    [
        (301, "POST", b"GET", b""),
        (302, "POST", b"GET", b""),
        (302, "PUT", b"PUT", b"abc"),
        (303, "PUT", b"GET", b""),
        (303, "HEAD", b"HEAD", b"abc"),
        (307, "POST", b"POST", b"abc"),
        (308, "DELETE", b"DELETE", b"abc"),
    ],
)
def test_the_method_after_a_redirect(
    server: LocalServer, status: int, method: str, then: bytes, body: bytes
) -> None:
    url = f"{server.url}/redirect-to?status={status}&url=/echo"
    done = run("-L", "-X", method, "-d", "abc", "-H", "Content-Type: text/x", url)
    assert done.code == 0
    last = server.requests[-1]
    assert (last.method, last.body) == (then, body)
    assert (last.header("content-type") is not None) == bool(body)


def test_files_are_sent_again_after_a_redirect(server: LocalServer, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(pattern(200_000))
    url = f"{server.url}/redirect-to?status=307&url=/upload"
    assert run("-L", "-T", path, url).json["length"] == 200_000
    done = run("-L", "-T", "-", url, stdin=b"x")
    assert done.code == Exit.READ
    assert "standard input, which is read only once" in done.err


def test_secrets_are_not_taken_to_another_origin(
    server: LocalServer, other_server: LocalServer
) -> None:
    back = f"{server.url}/echo"
    url = f"{server.url}/redirect-to?url={other_server.url}/redirect-to?url={back}"
    secrets = ["Cookie: secret=1", "X-Api-Key: secret", "Private-Token: secret"]
    options = [part for line in [*secrets, "X-Plain: 1", "Host: fake"] for part in ("-H", line)]
    assert run("-L", "-u", "me:secret", *options, url).code == 0
    [elsewhere] = other_server.requests
    assert b"secret" not in elsewhere.head
    assert elsewhere.header("authorization") is None
    assert elsewhere.header("x-plain") == b"1"
    assert elsewhere.header("host") == f"127.0.0.1:{other_server.port}".encode()
    for request in server.requests:  # to which it came back
        assert request.header("authorization") and request.header("x-api-key")


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("ftp://h/", "use http or https"),
        ("http://a%20b:x/", "malformed"),
        ("http://[", "Invalid IPv6 URL"),
        ("http://h:70000/", "above 65535"),
    ],
)
def test_places_that_cannot_be_gone_to(serve: Serve, location: str, words: str) -> None:
    answer = f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
    done = run("-L", serve(answering(answer.encode())).url)
    assert done.code == Exit.PROTOCOL
    assert "which cannot be requested: " in done.err and words in done.err


def test_a_redirect_without_a_place(server: LocalServer) -> None:
    assert run("-L", f"{server.url}/status/302").out == b"status 302"


# Each as browsers and curl (since 8.0) follow it, but that curl makes "+" of a blank in a query.
# From /dir/page?old=1.
PLACES = [
    (b"/My Docs/a b.html?q=x y", b"/My%20Docs/a%20b.html?q=x%20y"),
    (b"a b?c d?e f", b"/dir/a%20b?c%20d?e%20f"),
    (b"?x y", b"/dir/page?x%20y"),
    (b"/a\x7fb", b"/a%7Fb"),
    (b"/a\tb?c\td", b"/a%09b?c%09d"),
    ("/ü?ü".encode(), b"/%C3%BC?%C3%BC"),
    (b"/\xfc?\xfc", b"/%FC?%FC"),
    (b'/a|b"<c>^`{}', b'/a|b"<c>^`{}'),
    (b"/100%?a%zz=%20", b"/100%?a%zz=%20"),
    (b"  /b  ", b"/b"),
    (b"/b#a b", b"/b"),
    (b"../b/./c", b"/b/c"),
    (b"//HOST/b c", b"/b%20c"),
    (b"http://HOST?b c", b"/?b%20c"),
    (b"HTTP://HOST/b", b"/b"),
]


@pytest.mark.parametrize(("location", "target"), PLACES)
def test_places_are_followed_as_browsers_do(serve: Serve, location: bytes, target: bytes) -> None:
    def redirect(peer: Peer) -> None:
        while (request := peer.recv_request()) is not None:
            targets.append(request.target)
            if len(targets) == 1:
                place = location.replace(b"HOST", b"127.0.0.1:%d" % server.port)
                answer = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: %b\r\n\r\n"
                peer.send(answer % place)
            else:
                peer.respond(200, b"there")

    targets: list[bytes] = []
    server = serve(redirect)
    assert run("-L", f"{server.url}/dir/page?old=1") == (0, b"there", "")
    assert targets[1:] == [target]


@pytest.mark.parametrize("location", ["", " ", "\t"])
def test_an_empty_place_is_none(serve: Serve, location: str) -> None:
    answer = f"HTTP/1.1 302 Found\r\nLocation:{location}\r\nContent-Length: 3\r\n\r\nred"
    assert run("-L", serve(answering(answer.encode())).url) == (0, b"red", "")


@pytest.mark.parametrize(
    ("variables", "location", "code"),
    [
        ({}, "http://a b/", Exit.PROTOCOL),
        ({}, "http://h:99999999999/", Exit.PROTOCOL),
        ({"https_proxy": "ftp://p"}, "https://127.0.0.1:1/", Exit.PROXY),
    ],
)
def test_usage_is_only_said_when_nothing_was_sent(
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    location: str,
    code: Exit,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    answer = f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
    done = run("-L", serve(answering(answer.encode())).url)
    assert done.code == code
    assert "redirect" in done.err and done.err.count("\n") == 1


def test_a_time_limit_is_said_as_it_was_given(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 0.0000123])
    monkeypatch.setattr(running, "monotonic", lambda: next(clock))
    done = run("-m", "0.05", f"{server.url}/hang")
    assert done.code == Exit.TIMEOUT
    assert "total of 0.05 s is over" in done.err


def test_one_time_limit_for_all_redirects(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second request has what the first has left: here nothing."""
    clock = iter([0.0, 0.0, 10.0])
    monkeypatch.setattr(running, "monotonic", lambda: next(clock))
    answer = b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"
    done = run("-L", "-m", "10", serve(answering(answer)).url)
    assert done.code == Exit.TIMEOUT
    assert "total of 0 s is over" in done.err


def test_what_is_left_for_the_second_request(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 0.0, 1.0])
    monkeypatch.setattr(running, "monotonic", lambda: next(clock))
    assert run("-L", "-m", "10", f"{server.url}/redirect/1").code == 0


# --- what is written ---


def test_bytes_are_piped_as_they_are(server: LocalServer) -> None:
    done = run_apart(f"{server.url}/bytes/300000")
    assert done == (0, pattern(300_000), "")
    packed = run_apart(f"{server.url}/gzip/1000").out
    assert packed[:2] == b"\x1f\x8b"


def test_a_file(server: LocalServer, tmp_path: Path) -> None:
    path = tmp_path / "out"
    done = run("-o", path, "-i", f"{server.url}/bytes/100000")
    assert path.read_bytes() == pattern(100_000)
    assert done.out.startswith(b"HTTP/1.1 200 OK\r\n") and done.out.endswith(b"\r\n\r\n")
    assert done.err == ""


def test_a_file_name_from_the_server_is_not_used(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    head = 'Content-Disposition: attachment; filename="../evil"\r\n'
    server = serve(answering(plain(b"x", head)))
    here = {**os.environ, "PYTHONPATH": os.getcwd()}
    done = run_apart(server.url, cwd=tmp_path / "work", env=here)
    assert done.out == b"x"
    assert list(tmp_path.rglob("*")) == [tmp_path / "work"]


def test_an_old_file_survives_a_request_that_fails(
    server: LocalServer, closed_port: int, tmp_path: Path
) -> None:
    path = tmp_path / "out"
    path.write_text("old")
    assert run("-o", path, f"http://127.0.0.1:{closed_port}").code == Exit.CONNECT
    assert run("-f", "-o", path, f"{server.url}/status/404").code == Exit.STATUS
    assert path.read_text() == "old"


def test_a_file_that_cannot_be_written(server: LocalServer, tmp_path: Path) -> None:
    done = run("-o", tmp_path / "no" / "out", server.url)
    assert (done.code, done.out) == (Exit.WRITE, b"")
    assert f"write to {tmp_path / 'no' / 'out'} failed: No such file" in done.err
    assert run("-o", "nul\0", server.url).code == Exit.WRITE


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
@pytest.mark.parametrize("size", [10, 5_000_000])
def test_a_full_disk(server: LocalServer, size: int) -> None:
    done = run("-o", "/dev/full", f"{server.url}/bytes/{size}")
    assert done.code == Exit.WRITE
    assert done.err == "httpcore: write to /dev/full failed: No space left on device\n"
    with open("/dev/full", "wb") as full:
        done = run_apart(f"{server.url}/bytes/{size}", stdout=full)
    assert done.code == Exit.WRITE
    assert done.err == "httpcore: write to standard output failed: No space left on device\n"


def run_without(closed: str, *arguments: object) -> Done:
    """Return what comes of a run whose shell closed some of its streams."""
    words = [sys.executable, "-m", "httpcore", *map(str, arguments)]
    shell = ["sh", "-c", f'exec "$@" {closed}', "sh", *words]
    found = subprocess.run(shell, stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
    return Done(found.returncode, found.stdout, found.stderr.decode())


UNWRITABLE = "httpcore: write to standard output failed: Bad file descriptor\n"
UNREADABLE = "httpcore: read the body failed: Bad file descriptor\n"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no sh")
@pytest.mark.parametrize(
    ("closed", "options", "code", "said"),
    [
        (">&-", [], Exit.WRITE, UNWRITABLE),
        (">&-", ["--json"], Exit.WRITE, UNWRITABLE),
        (">&-", ["--help"], Exit.WRITE, UNWRITABLE),
        (">&-", ["-o", "{path}"], Exit.OK, ""),
        ("2>&-", ["-v", "-o", "{path}"], Exit.OK, ""),
        ("<&-", [], Exit.OK, ""),
        ("<&-", ["-T", "-"], Exit.READ, UNREADABLE),
        ("<&-", ["-d", "@-"], Exit.READ, UNREADABLE),
        ("<&-", ["-F", "x=@-"], Exit.READ, UNREADABLE),
        ("<&- >&- 2>&-", ["{url}"], Exit.WRITE, ""),
    ],
)
def test_streams_that_are_closed(
    server: LocalServer, tmp_path: Path, closed: str, options: list[str], code: Exit, said: str
) -> None:
    path = tmp_path / "body"
    words = [each.format(path=path, url=server.url) for each in options]
    done = run_without(closed, f"{server.url}/bytes/10", *words)
    assert (done.code, done.err) == (code, said)
    assert not path.exists() or path.stat().st_size == 10


def test_streams_that_are_closed_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    pipes: list[tuple[int, int]] = []
    make = os.pipe

    def pipe() -> tuple[int, int]:
        pipes.append(make())
        return pipes[-1]

    with monkeypatch.context() as patch:
        patch.setattr(os, "pipe", pipe)
        for name in ("stdin", "stdout", "stderr"):
            patch.setattr(sys, name, None)
        assert main(["--version"]) == Exit.WRITE
        opened = sys.stdin, sys.stdout, sys.stderr
    with opened[0], opened[1], opened[2], pytest.raises(OSError, match="Bad file descriptor"):
        opened[0].read()
    os.close(pipes[0][0])
    os.close(pipes[1][1])


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_on_a_full_disk(option: str) -> None:
    with open("/dev/full", "wb") as full:
        done = run_apart(option, stdout=full)
    assert done.code == Exit.WRITE
    assert done.err == "httpcore: write to standard output failed: No space left on device\n"


def test_ctrl_c_while_the_modules_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(arguments: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "run_command", interrupt)
    assert main([]) == Exit.INTERRUPTED


@pytest.mark.parametrize("words", [[], ["--help"]])
@pytest.mark.parametrize(
    ("failure", "code", "said"),
    [
        (BrokenPipeError(32, "Broken pipe"), Exit.PIPE, ""),
        (OSError(28, "No space"), Exit.WRITE, "write to standard output failed: No space\n"),
    ],
)
def test_standard_output_that_fails(
    server: LocalServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    failure: OSError,
    code: Exit,
    said: str,
    words: list[str],
) -> None:
    """In this process; the two tests below see that a real one ends without a word."""

    class Broken(io.BytesIO):
        number = os.open(tmp_path / "out", os.O_CREAT | os.O_WRONLY)

        def write(self, data: Any) -> int:
            raise failure

        def fileno(self) -> int:
            return self.number

    broken = Broken()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", io.TextIOWrapper(broken))
        assert main(words or [server.url]) == code
    assert os.path.samestat(os.fstat(broken.number), os.stat(os.devnull))
    os.close(broken.number)
    assert capsys.readouterr().err.removeprefix("httpcore: ") == said


def test_nobody_reads_the_output(server: LocalServer) -> None:
    with start(f"{server.url}/bytes/{LARGE}") as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.read(10) == pattern(10)
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == Exit.PIPE


def test_nobody_reads_the_notes(server: LocalServer) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = run_apart("-v", "--timing", server.url, stderr=writer)
    os.close(writer)
    assert done.code == 0
    assert done.out == b"hello from the local server\n"


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux only")
def test_a_large_body_takes_no_memory(server: LocalServer, tmp_path: Path) -> None:
    code = (
        "import resource, sys; from httpcore._cli import main; main(sys.argv[1:]); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    peaks = []
    for size in (10, LARGE):
        path = tmp_path / str(size)
        line = [sys.executable, "-c", code, "-o", str(path), f"{server.url}/bytes/{size}"]
        done = subprocess.run(line, capture_output=True, check=True, timeout=30)
        assert path.stat().st_size == size
        peaks.append(int(done.stdout))
    assert peaks[1] - peaks[0] < 8192, peaks  # KiB


def test_a_plain_request_loads_only_what_it_needs(server: LocalServer) -> None:
    """Start-up is most of the CPU time of a command, and imports are most of start-up."""
    code = (
        "import sys; from httpcore._cli import main; main(sys.argv[1:]); "
        "rest = {'requests', 'urllib3', 'pygments', 'rich.progress', 'mimetypes', 'asyncio'}; "
        "rest |= {'urllib.request', 'http.cookiejar', 'concurrent.futures'}; "
        "print(sorted(rest & sys.modules.keys()))"
    )
    line = [sys.executable, "-c", code, server.url]
    done = subprocess.run(line, capture_output=True, check=True, timeout=30)
    assert done.stdout == b"hello from the local server\n[]\n"


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_compressed(server: LocalServer, coding: str, tmp_path: Path) -> None:
    url = f"{server.url}/{coding}/100000"
    assert run("--compressed", url).out == pattern(100_000)
    assert b"gzip,deflate" in (server.requests[0].header("accept-encoding") or b"")
    assert run("--compressed", "-o", tmp_path / "out", url).code == 0
    assert (tmp_path / "out").read_bytes() == pattern(100_000)
    told = run("--compressed", "--json", "-o", tmp_path / "out", url).json
    assert told["sizes"]["output"] == 100_000
    assert told["sizes"]["response_body"] == len(run(url).out)


def test_an_encoding_that_nobody_knows(serve: Serve) -> None:
    server = serve(answering(plain(b"xyz", "Content-Encoding: new\r\n")))
    done = run("--compressed", server.url)
    assert (done.code, done.out) == (0, b"xyz")
    assert done.err.startswith("note: the content encoding 'new' is not known: the body is left ")
    assert run("--compressed", "-s", server.url).err == ""


def test_a_broken_encoding(serve: Serve) -> None:
    server = serve(answering(plain(b"no gzip", "Content-Encoding: gzip\r\n")))
    done = run("--compressed", server.url)
    assert done.code == Exit.ENCODING
    assert done.err.startswith("httpcore: the body is no valid gzip: ")


def test_fail(server: LocalServer) -> None:
    done = run("-f", f"{server.url}/status/404")
    assert (done.code, done.out) == (Exit.STATUS, b"")
    answer = "was answered HTTP/1.1 404 Not Found\n"
    assert done.err == f"httpcore: GET {server.url}/status/404 {answer}"
    assert run(f"{server.url}/status/404") == (0, b"status 404", "")
    assert run("-f", f"{server.url}/status/302").code == 0


def test_head(server: LocalServer) -> None:
    done = run("-I", f"{server.url}/bytes/100")
    assert done.out.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Length: 100\r\n" in done.out and done.out.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("options", [["-X", "GET"], ["-d", "a", "-X", "POST"], ["-X", "HEAD"]])
def test_the_head_of_another_method(
    server: LocalServer, options: list[str], tmp_path: Path
) -> None:
    done = run("-I", *options, f"{server.url}/bytes/5000000")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(b"HTTP/1.1 200 OK\r\n") and done.out.endswith(b"\r\n\r\n")
    assert server.requests[-1].method == options[-1].encode()


def test_a_body_that_tls_may_have_cut_short(
    serve: Serve, server_tls_context: ssl.SSLContext, ca_bundle: str
) -> None:
    def handler(peer: Peer) -> None:
        peer.recv_request()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\nsome")
        peer.close(notify=False)

    done = run("--cacert", ca_bundle, serve(handler, tls=server_tls_context).url)
    assert (done.code, done.out) == (0, b"some")
    assert "may have been cut short" in done.err


# --- the report ---


def test_the_report(tls_server: LocalServer, ca_bundle: str) -> None:
    url = tls_server.url.replace("127.0.0.1", "localhost") + "/bytes/10"
    done = run("--json", "--cacert", ca_bundle, "-u", "me:secret", url)
    assert done.code == 0 and done.out.count(b"\n") == 1
    assert b"secret" not in done.out and done.err == ""
    told = done.json
    assert (told["url"], told["method"], told["status"], told["reason"]) == (url, "GET", 200, "OK")
    assert told["http_version"] == "HTTP/1.1"
    assert ["Content-Type", "application/octet-stream"] in told["headers"]
    assert told["remote_address"].endswith(f":{tls_server.port}")
    assert told["local_address"]
    assert told["tls"]["version"] == "TLSv1.3" and told["tls"]["verified"] is True
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", told["tls"]["expires"])
    parts = [told["timings"][name] for name in ("dns", "connect", "tls", "send", "first_byte")]
    assert all(part >= 0 for part in parts)
    assert sum(parts) <= told["timings"]["total"]
    assert told["sizes"] == {"request_body": 0, "response_body": 10, "output": 0}
    assert (told["attempts"], told["redirects"], told["error"]) == (1, [], None)


def test_the_report_of_a_failure(closed_port: int) -> None:
    done = run("--json", "-d", "x", f"http://127.0.0.1:{closed_port}/a")
    assert done.code == Exit.CONNECT
    told = done.json
    assert told["status"] is None and told["headers"] == []
    assert told["attempts"] == 1
    error = told["error"]
    assert (error["exit_code"], error["type"], error["phase"]) == (7, "ConnectError", "not_sent")
    assert done.err == f"httpcore: {error['message']}\n"


def test_the_report_after_a_redirect_that_fails(server: LocalServer, closed_port: int) -> None:
    url = f"{server.url}/redirect-to?url=http://127.0.0.1:{closed_port}/"
    told = run("--json", "-L", url).json
    assert told["status"] is None
    assert told["redirects"] == [{"url": url, "status": 302}]
    assert told["url"] == f"http://127.0.0.1:{closed_port}/"


def test_the_report_before_anything_was_sent() -> None:
    told = run("--json", "--cacert", "/missing", "https://h").json
    assert told["error"]["type"] is None
    assert told["timings"]["dns"] is None and told["attempts"] == 0


def test_the_report_has_no_control_characters(serve: Serve) -> None:
    server = serve(answering(plain(b"", "X-Evil: a\x9b\xfc\r\n")))
    done = run("--json", server.url)
    assert all(0x20 <= byte < 0x7F for byte in done.out.rstrip(b"\n"))


# --- what is said ---


def test_verbose(server: LocalServer) -> None:
    url = f"{server.url}/cookies/set?b=secret"
    done = run("-v", "-u", "me:secret", "-H", "Cookie: a=secret", url)
    assert done.code == 0
    said = done.err.splitlines()
    assert said[0] == f"* connecting to 127.0.0.1 port {server.port}"
    assert said[1].startswith(f"* connected to 127.0.0.1 port {server.port}, from port ")
    assert said[2] == "> GET /cookies/set?b=secret HTTP/1.1"
    assert "> Authorization: Basic [filtered]" in said
    assert "> Cookie: a=[filtered]" in said
    assert "< HTTP/1.1 200 OK" in said
    assert "< Set-Cookie: b=[filtered]; Path=/" in said
    assert done.err.count("secret") == 1  # in the URL, as it was typed


@pytest.mark.parametrize("option", ["-v", "--trace", "--timing"])
def test_what_was_sent_is_shown_without_secrets_in_its_query(
    option: str, server: LocalServer
) -> None:
    """Those that a server put into a redirect, too."""
    there = quote("/echo?code=s3cret&a=1&state=x#id_token=s3cret")
    done = run(option, "-L", f"{server.url}/redirect-to?token=s3cret&url={there}")
    assert (done.code, server.requests[1].target) == (0, b"/echo?code=s3cret&a=1&state=x")
    assert "s3cret" not in done.err
    done = run("-f", f"{server.url}/status/500?token=s3cret")
    assert "/status/500?token=[secure] was answered HTTP/1.1 500" in done.err
    if option == "-v":
        done = run(option, f"{server.url}/echo?code=s3cret&a=1&state=x")
        assert "> GET /echo?code=[filtered]&a=1&state=[filtered] HTTP/1.1" in done.err


def test_verbose_shows_interim_responses_and_failures(serve: Serve, closed_port: int) -> None:
    hint = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    done = run("-v", serve(answering(hint + plain(b"x"))).url)
    assert "< 103\n< Link: </a>\n<\n< HTTP/1.1 200 OK\n" in done.err
    done = run("-v", f"http://127.0.0.1:{closed_port}")
    assert "* connect tcp failed: ConnectError: connect to" in done.err


def test_trace(server: LocalServer) -> None:
    options = ["-u", "me:secret", "-H", "X-Api-Key: secret", "-H", "Authorized-By: secret"]
    done = run("--trace", *options, f"{server.url}/cookies/set?a=1")
    lines = done.err.splitlines()
    times = [float(line.split()[0]) for line in lines if " ms  " in line]
    assert times[0] == 0.0 and times == sorted(times)
    names = [line.split()[2] for line in lines if " ms  " in line]
    assert names[:2] == ["connection.connect_tcp.started", "connection.connect_tcp.complete"]
    assert "http11.receive_response_headers.complete" in names
    assert f" host='127.0.0.1' port={server.port} " in lines[0] and "timeout=60" in lines[0]
    assert "secret" not in done.err and "bWU6c2VjcmV0" not in done.err


def test_trace_of_what_fails_and_of_tls(tls_server: LocalServer, closed_port: int) -> None:
    done = run("--trace", "-k", tls_server.url)
    assert "connection.start_tls.started " in done.err
    assert " server_hostname='127.0.0.1' " in done.err
    done = run("--trace", f"http://127.0.0.1:{closed_port}")
    assert "connection.connect_tcp.failed exception=ConnectError('connect to 127" in done.err


def test_timing_is_drawn_to_scale(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")  # else rich asks the terminal that the tests run in

    def handler(peer: Peer) -> None:
        peer.recv_request()
        peer.server.event().wait(0.1)
        peer.send(plain(b"x"))

    done = run("--timing", serve(handler).url)
    lines = done.err.splitlines()
    assert [line.split()[0] for line in lines] == [
        *("GET", "connect", "send", "wait", "receive", "total"),
    ]
    assert all(len(line) == 80 for line in lines)
    assert lines[0].startswith("GET http://") and lines[0].endswith("HTTP/1.1 200 OK")
    waits = lines[3]
    share = float(waits.split()[-2]) / float(lines[-1].split()[-2])
    assert abs(waits.count("█") / 57 - share) < 0.05


def test_timing_of_what_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **keywords: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    done = run("--timing", "http://nowhere.test")
    assert done.code == Exit.RESOLVE
    lines = done.err.splitlines()
    assert lines[0].endswith(" failed") and lines[1].startswith("dns ")
    assert lines[-1].startswith("httpcore: look up nowhere.test failed: ")


def test_the_look_up_has_its_own_bar(server: LocalServer) -> None:
    done = run("--timing", server.url.replace("127.0.0.1", "localhost"))
    assert done.err.splitlines()[1].startswith("dns ")


# --- how it ends ---


def test_exit_codes_of_the_network(
    server: LocalServer,
    tls_server: LocalServer,
    proxy: ProxyServer,
    closed_port: int,
    serve: Serve,
) -> None:

    def no_tls(peer: Peer) -> None:
        peer.recv()
        peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    proxy.refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
    cases: list[tuple[Exit, list[object]]] = [
        (Exit.CONNECT, [f"http://127.0.0.1:{closed_port}"]),
        (Exit.CONNECT, ["--unix-socket", "/nowhere", "http://h"]),
        (Exit.PROTOCOL, [serve(answering(b"SSH-2.0-OpenSSH\r\n\r\n")).url]),
        (Exit.INCOMPLETE, [f"{server.url}/truncated/100"]),
        (Exit.TIMEOUT, ["-m", "0.1", f"{server.url}/hang"]),
        (Exit.TIMEOUT, ["-m", "0.1", f"{server.url}/drip/100?delay=0.05"]),
        (Exit.TLS, [serve(no_tls).url.replace("http", "https")]),
        (Exit.EMPTY, [f"{server.url}/drop"]),
        (Exit.CERTIFICATE, [tls_server.url]),
        (Exit.PROXY, ["-x", f"127.0.0.1:{proxy.port}", tls_server.url]),
        (Exit.PROXY, ["-x", f"127.0.0.1:{closed_port}", server.url]),
    ]
    for code, arguments in cases:
        done = run(*arguments)
        assert done.code == code, (arguments, done)
        assert done.err.startswith("httpcore: ") and done.err.count("\n") == 1, done.err
    server.errors.clear()
    tls_server.handshake_errors.clear()


def test_connect_timeout(black_hole: tuple[str, int]) -> None:
    done = run("--connect-timeout", "0.1", "http://{}:{}".format(*black_hole))
    assert done.code == Exit.TIMEOUT
    assert "timed out after 0.1 s" in done.err


def test_a_reset_while_receiving(serve: Serve) -> None:
    def handler(peer: Peer) -> None:
        peer.recv_request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        peer.reset()

    done = run("-o", os.devnull, serve(handler).url)
    assert done.code in (Exit.RECEIVE, Exit.INCOMPLETE)


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (httpcore.WriteError("w"), Exit.SEND),
        (httpcore.ReadError("r"), Exit.RECEIVE),
        (httpcore.PoolTimeout("p"), Exit.TIMEOUT),
        (httpcore.UnsupportedProtocol("u"), Exit.USAGE),
        (httpcore.exceptions.ProxyConnectTimeout("p"), Exit.TIMEOUT),
        (httpcore.exceptions.ProxyConnectError("p"), Exit.PROXY),
    ],
)
def test_exit_codes_of_failures(raised: Exception, code: Exit) -> None:
    problem = explain(raised)
    assert problem is not None
    assert (problem.code, problem.text, problem.cause) == (code, str(raised), raised)


def test_a_refused_client_certificate_is_a_failure_of_tls() -> None:
    failure = httpcore.ReadError("read failed: certificate required")
    failure.__cause__ = ssl.SSLError(1, "alert certificate required")
    problem = explain(failure)
    assert problem is not None and problem.code == Exit.TLS


def test_what_should_not_happen_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any) -> Any:
        raise RuntimeError("a bug")

    monkeypatch.setattr(running.Run, "_send", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        run("http://127.0.0.1")


@pytest.mark.parametrize("how", ["missing", "folder"])
def test_files_that_cannot_be_read(tmp_path: Path, how: str) -> None:
    path = tmp_path if how == "folder" else tmp_path / "missing"
    for options in (["-T", path], ["-d", f"@{path}"], ["--data-json", f"@{path}"]):
        done = run(*options, "http://127.0.0.1:1")
        assert done.code == Exit.READ
        assert done.err.startswith(f"httpcore: read {path} failed: ")


def test_a_file_that_fails_while_it_is_sent(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            raise OSError(5, "Input/output error")

    with CliRunner().isolation() as streams:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(Broken())))
        code = main(["-T", "-", f"{server.url}/upload"])
        err = streams[1].getvalue()
    monkeypatch.undo()
    assert code == Exit.READ
    assert err == b"httpcore: read the body failed: Input/output error\n"


@pytest.mark.parametrize(("option", "value"), [("-T", "{}"), ("-F", "a=@{}")])
def test_a_file_that_shrinks_while_it_is_sent(
    option: str, value: str, serve: Serve, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(pattern(8_000_000))

    def handler(peer: Peer) -> None:
        peer.recv_request_head()
        os.truncate(path, 10)
        peer.wait_closed()

    done = run(option, value.format(path), serve(handler).url)
    assert done.code == Exit.READ
    assert "the body ended after" in done.err


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_ctrl_c(serve: Serve) -> None:
    def heed() -> None:
        """Where the tests run in the background, the shell has them ignore it."""
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    asked = threading.Event()

    def handler(peer: Peer) -> None:
        peer.recv_request()
        asked.set()
        peer.wait_closed()

    with start("--json", serve(handler).url, preexec_fn=heed) as process:
        assert asked.wait(20)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == Exit.INTERRUPTED
    assert err == b"httpcore: interrupted\n"
    assert json.loads(out)["error"]["exit_code"] == 130


def test_without_the_extra_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for missing, code in (("click", Exit.OTHER), ("json", None)):
        with monkeypatch.context() as patch:
            for name in ("command", "reading", "report", "output"):
                patch.delitem(sys.modules, f"httpcore._cli.{name}", raising=False)
            patch.setitem(sys.modules, missing, None)
            if code is None:
                with pytest.raises(ModuleNotFoundError):
                    run("http://h")
            else:
                assert run("http://h").code == code


def test_an_interruption_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(running.Run, "_send", interrupted)
    done = run("--timing", "http://127.0.0.1")
    assert done.code == Exit.INTERRUPTED
    assert done.err.splitlines()[-1] == "httpcore: interrupted"


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_the_extra(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from httpcore._cli import main; "
    line = [sys.executable, "-c", code + "sys.exit(main(['http://h']))"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=30)
    assert done.returncode == Exit.OTHER
    assert done.stderr == (
        f"httpcore: the command line needs the package {missing!r}, which is not installed; "
        "run: pip install 'httpcore[cli]'\n"
    )


def test_another_module_that_is_missing_is_not_blamed_on_the_extra() -> None:
    code = "import sys; sys.modules['json'] = None; from httpcore._cli import main; main(['h'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert "Traceback" in done.stderr and "httpcore[cli]" not in done.stderr


# --- on a terminal ---

EVIL = b"\x1b]0;owned\x07\x1b[2J\x9b31m\rover\xe2\x80\xae"


@needs_pty
def test_a_terminal_gets_readable_json(serve: Serve, on_screen: Any) -> None:
    body = b'{"a":[1.50,{"b":null}],"e":[],"o":{},"s":"x,[y]\\"","a":2}'
    server = serve(answering(plain(body, "Content-Type: application/json\r\n")))
    code, screen = on_screen("-i", server.url)
    assert code == 0
    head, _, shown = screen.plain.partition("\n\n")
    assert head.startswith("HTTP/1.1 200 OK\nContent-Length: ")
    assert shown == (
        '{\n  "a": [\n    1.50,\n    {\n      "b": null\n    }\n  ],\n  "e": [],\n  "o": {},\n'
        '  "s": "x,[y]\\"",\n  "a": 2\n}\n'
    )
    assert "\x1b[36m200\x1b[39;49;00m OK\n" in screen.seen


@needs_pty
@pytest.mark.parametrize(
    ("options", "environment", "colored"),
    [
        ([], {}, True),
        ([], {"NO_COLOR": "1"}, False),
        ([], {"NO_COLOR": ""}, True),
        ([], {"TERM": "dumb"}, False),
        (["--color", "never"], {}, False),
        (["--color", "always"], {"NO_COLOR": "1"}, True),
    ],
)
def test_colours(
    server: LocalServer,
    on_screen: Any,
    options: list[str],
    environment: dict[str, str],
    colored: bool,
) -> None:
    code, screen = on_screen(*options, "-iv", "--timing", f"{server.url}/echo", **environment)
    assert code == 0
    assert ("\x1b[" in screen.seen) == colored
    assert '\n  "method": "GET",\n' in screen.plain


def test_colours_in_a_pipe_when_asked_for(server: LocalServer) -> None:
    done = run("--color", "always", "-iv", f"{server.url}/echo")
    assert b"\x1b[36mContent-Type" in done.out and b"\n\x1b[" in done.out
    assert "\x1b[2m* connecting" in done.err
    assert run("--color", "always", f"{server.url}/bytes/1000").out == pattern(1000)


@needs_pty
def test_a_server_cannot_steer_the_terminal(serve: Serve, on_screen: Any) -> None:
    fields = "X-Evil: a\x9b31mb\r\nContent-Type: text/{}; charset=utf-8\r\n"
    for kind in ("plain", "html", "json", "event-stream"):
        answer = plain(EVIL, fields.format(kind))
        server = serve(answering(answer))
        code, screen = on_screen("-iv", "--trace", "--timing", "--color", "never", server.url)
        assert code == 0
        assert not set(screen.seen) & set("\x1b\x07\x9b\r\u202e"), screen.seen
        assert "\\x1b]0;owned\\x07\\x1b[2J" in screen.seen
        assert "X-Evil: a\\x9b31mb" in screen.seen


@needs_pty
def test_binary_bodies_are_not_shown(server: LocalServer, on_screen: Any) -> None:
    url = f"{server.url}/bytes/3000000"
    code, screen = on_screen("--timing", url)
    assert code == 0
    said = " ".join(screen.plain.split())
    assert said.startswith(
        "note: the body is binary (application/octet-stream) and not shown: "
        "-o FILE saves it, -o - shows it"
    )
    assert len(screen.seen) < 2000
    code, screen = on_screen("-s", "-f", f"{server.url}/chunked/100")
    assert (code, screen.seen) == (0, "")
    code, screen = on_screen("-o", "-", f"{server.url}/bytes/10")
    assert screen.seen.encode("utf-8", "surrogateescape")[:3] != b"not"


@needs_pty
def test_compressed_bodies_are_decoded(serve: Serve, on_screen: Any) -> None:
    fields = "Content-Type: text/plain\r\nContent-Encoding: gzip\r\n"
    server = serve(answering(plain(gzip.compress(b"line one\r\nline two"), fields)))
    code, screen = on_screen(server.url)
    assert (code, screen.seen) == (0, "line one\nline two\n")


@needs_pty
def test_long_documents_are_shown_as_they_come(serve: Serve, on_screen: Any) -> None:
    body = b"[" + b"1," * 600_000 + b"1]"
    server = serve(answering(plain(body, "Content-Type: application/json\r\n")))
    code, screen = on_screen(server.url)
    assert (code, screen.seen) == (0, body.decode() + "\n")


@needs_pty
def test_progress_of_a_download(server: LocalServer, tmp_path: Path, on_screen: Any) -> None:
    code, screen = on_screen("-o", tmp_path / "a[red]b", f"{server.url}/bytes/3000000")
    assert code == 0
    last = screen.plain.rstrip("\n").rpartition("\n")[2]
    assert "a[red]b" in last and "100%" in last and "3.0/3.0 MB" in last
    assert (tmp_path / "a[red]b").read_bytes() == pattern(3_000_000)
    code, screen = on_screen("-o", tmp_path / ("long" * 20), f"{server.url}/chunked/200000")
    assert "longlonglonglonglon" in screen.plain and "200.0/200.0 kB" in screen.plain
    assert "long" * 6 not in screen.plain
    code, screen = on_screen("-s", "-o", tmp_path / "c", f"{server.url}/bytes/10")
    assert (code, screen.seen) == (0, "")


@needs_pty
@pytest.mark.parametrize("secure", [False, True])
def test_progress_of_an_upload(
    server: LocalServer,
    tls_server: LocalServer,
    tmp_path: Path,
    on_screen: Any,
    secure: bool,
    ca_bundle: str,
) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(pattern(3_000_000))
    url = (tls_server if secure else server).url
    code, screen = on_screen("-T", path, "--cacert", ca_bundle, f"{url}/upload")
    assert code == 0
    assert "file.bin" in screen.plain and "3.0/3.0 MB" in screen.plain
    assert '"length": 3000000,' in screen.plain


@needs_pty
def test_notes_stand_above_the_bar(server: LocalServer, tmp_path: Path, on_screen: Any) -> None:
    code, screen = on_screen("-v", "-o", tmp_path / "out", f"{server.url}/bytes/1000")
    assert code == 0
    assert "< HTTP/1.1 200 OK" in screen.plain
    assert screen.plain.rstrip("\n").rpartition("\n")[2].startswith("out ")


@needs_pty
def test_no_bar_on_a_dumb_terminal(server: LocalServer, tmp_path: Path, on_screen: Any) -> None:
    code, screen = on_screen("-o", tmp_path / "out", f"{server.url}/bytes/10", TERM="dumb")
    assert (code, screen.seen) == (0, "")


@needs_pty
def test_errors_are_wrapped_between_words(closed_port: int, on_screen: Any) -> None:
    code, screen = on_screen(f"http://127.0.0.1:{closed_port}", "--unix-socket", "/no/" + "x " * 60)
    assert code == Exit.CONNECT
    assert all(len(line) <= 80 for line in screen.plain.splitlines())


@needs_pty
def test_utf_16_without_its_mark(serve: Serve, on_screen: Any) -> None:
    server = serve(answering(plain(b"a\0b\0", "Content-Type: text/plain; charset=utf-16\r\n")))
    code, screen = on_screen(server.url)
    assert code == 0
    assert screen.plain.startswith("note: the body is binary (text/plain)")


@needs_pty
def test_an_empty_body_of_utf_16_is_only_said_to_be_empty(serve: Serve, on_screen: Any) -> None:
    server = serve(answering(plain(b"", "Content-Type: text/plain; charset=utf-16\r\n")))
    _, screen = on_screen(server.url)
    assert screen.plain == "note: HTTP/1.1 200 OK, without a body\n"


CUT = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 20\r\n\r\n"


@needs_pty
@pytest.mark.parametrize("body", [b"no line's end", b"a line\n"])
def test_an_error_begins_on_its_own_line(serve: Serve, on_screen: Any, body: bytes) -> None:
    code, screen = on_screen(serve(answering(CUT + body)).url)
    assert code == Exit.INCOMPLETE
    first, second = screen.plain.split("\n")[:2]
    assert (first, second[:10]) == (body.decode().strip(), "httpcore: ")


@needs_pty
def test_a_real_terminal_asks_for_the_password(server: LocalServer) -> None:
    pty = pytest.importorskip("pty")
    master, slave = pty.openpty()
    name = os.ttyname(slave)
    # The first terminal that the leader of a session opens becomes its own.
    line = f"exec <{name} >{name} 2>&1 && exec {sys.executable} -m httpcore -u me {server.url}"
    with subprocess.Popen(["sh", "-c", line], start_new_session=True) as process:
        seen = b""
        with contextlib.suppress(OSError):
            while part := os.read(master, 4096):
                seen += part
                if seen.endswith(b"Password for me: "):
                    os.write(master, b"secret\n")
                    os.close(slave)  # not before the process has opened it
    os.close(master)
    assert process.returncode == 0
    assert b"hello from the local server" in seen and b"secret" not in seen
    assert server.requests[0].header("authorization") == b"Basic " + base64.b64encode(b"me:secret")


# --- parts ---


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_decoding_in_pieces(size: int) -> None:
    body = pattern(30_000) + b"x" * 1_000_000
    raw = zlib.compressobj(wbits=-15)
    cases = {
        "gzip": gzip.compress(body) + gzip.compress(b"more") + b"\0\0 padding",
        "deflate": zlib.compress(body) + b"surplus",
    }
    assert b"".join(decoding.decoded(pieces(cases["gzip"], size), ["gzip"])) == body + b"more"
    assert b"".join(decoding.decoded(pieces(cases["deflate"], size), ["deflate"])) == body
    bare = raw.compress(body) + raw.flush()
    assert b"".join(decoding.decoded(pieces(bare, size), ["deflate"])) == body
    twice = zlib.compress(gzip.compress(body))
    assert b"".join(decoding.decoded(pieces(twice, size), ["gzip", "deflate"])) == body


@pytest.mark.parametrize("size", [3, 100_000])
def test_decoding_with_packages(size: int) -> None:
    body = pattern(3_000) + b"x" * 1_000_000
    packed = compress("br", [body])
    assert b"".join(decoding.decoded(pieces(packed, size), ["br"])) == body
    packed = compress("zstd", [body]) + compress("zstd", [b"more"])
    assert b"".join(decoding.decoded(pieces(packed, size), ["zstd"])) == body + b"more"
    assert decoding.accepted() == b"gzip,deflate,br,zstd"


def test_decoding_without_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urllib3.HTTPResponse, "CONTENT_DECODERS", ["gzip", "deflate"])
    with pytest.raises(decoding.Undecodable, match="'br' needs the package brotli"):
        decoding.decoded(iter([]), ["br"])


@pytest.mark.parametrize("names", [["gzip"], ["deflate"], ["br"], ["zstd"], ["gzip", "deflate"]])
def test_a_body_that_ends_in_the_middle(names: list[str]) -> None:
    data = BODY
    for name in names:
        data = compress(name, [data])
    for part in (data[:1], data[: len(data) // 2], data[:-3]):
        given: list[bytes] = []
        with pytest.raises(Problem, match="it was cut short") as caught:
            given.extend(decoding.decoded(pieces(part, 100), names))
        assert caught.value.code == Exit.ENCODING
        assert BODY.startswith(b"".join(given))
    assert list(decoding.decoded(iter([]), names)) == []


def test_a_second_member_that_is_broken() -> None:
    data = gzip.compress(b"abc") + gzip.compress(pattern(10_000))[:500] + b"\xff" * 500
    with pytest.raises(Problem, match="or is broken"):
        list(decoding.decoded(pieces(data, 100), ["gzip"]))


@pytest.mark.parametrize("name", ["gzip", "deflate", "br", "zstd"])
def test_a_body_that_is_broken(name: str) -> None:
    with pytest.raises(Problem, match=f"the body is no valid {name}: ") as caught:
        list(decoding.decoded(pieces(b"\xff" * 100, 10), [name]))
    assert caught.value.code == Exit.ENCODING


def test_codings() -> None:
    headers = [(b"Content-Encoding", b"GZIP, identity"), (b"content-encoding", b"br,")]
    assert decoding.codings(headers) == ["gzip", "br"]
    with pytest.raises(decoding.Undecodable, match="6 content encodings"):
        decoding.decoded(iter([]), ["gzip"] * 6)


@pytest.mark.parametrize("names", [["gzip"], ["deflate", "gzip"], ["br"], ["zstd"]])
def test_a_bomb_is_decoded_in_pieces(names: list[str]) -> None:
    bomb = b"\0" * 50_000_000
    for name in names:
        bomb = compress(name, [bomb])
    sizes = [len(part) for part in decoding.decoded(iter([bomb]), names)]
    assert sum(sizes) == 50_000_000 and all(sizes)
    assert max(sizes) <= 2 * decoding.PIECE  # brotli gives what it has, which is somewhat more


def test_codings_over_each_other_take_no_memory() -> None:
    """A coding is given no more by the one around it than it has room for."""
    bomb = compress("gzip", [compress("gzip", [b"\0" * 200_000_000])])
    parts = decoding.decoded(iter([bomb]), ["gzip", "gzip"])
    next(parts)
    tracemalloc.start()
    try:
        assert sum(len(next(parts)) for _ in range(100)) == 100 * decoding.PIECE
        assert tracemalloc.get_traced_memory()[1] < 8 * decoding.PIECE
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("kind", "sample", "is_text"),
    [
        ("", b"plain", True),
        ("", b"\xff\xfe", False),
        ("", "ü".encode()[:1], True),  # cut in the middle of a character
        ("application/octet-stream", b"abc", True),
        ("image/png", b"\x89PNG", False),
        ("text/plain; charset=latin-1", b"\xfc", True),
        ("text/plain; charset=utf-16", "a".encode("utf-16"), True),
        ("text/plain; charset=utf-16", b"a", False),  # too little to have a mark
        ("text/plain; charset=utf-16", b"a\0", False),  # which byte comes first, is not said
        ("text/plain; charset=utf-16", b"", True),
        ("text/plain; charset=utf-16le", b"a\0", True),
        ("text/plain; charset=utf-16be", b"\0a", True),
        ("text/plain", b"a\0", False),
        ("application/problem+json; charset=hex", b"{}", True),
        ("text/html; charset=idna", b"\xff", True),
        ("application/x-www-form-urlencoded", b"a=b", True),
    ],
)
def test_what_is_text(kind: str, sample: bytes, is_text: bool) -> None:
    assert output.is_text([(b"Content-Type", kind.encode())] if kind else [], sample) == is_text


def test_text_in_other_charsets(monkeypatch: pytest.MonkeyPatch) -> None:
    with CliRunner().isolation() as streams:
        terminal = Terminal("never")
        for charset in ("latin-1", "utf-16", "utf-8-sig"):
            headers = [(b"Content-Type", f"application/json; charset={charset}".encode())]
            output.write_readable(terminal, headers, iter(['["ü"]'.encode(charset)]))
        shown = streams[0].getvalue().decode()
    assert shown == '[\n  "ü"\n]\n' * 3


@pytest.mark.parametrize("text", ["", "{", "[1,]", "nonsense", "[" * 100_000])
def test_what_is_no_json_stays_as_it_is(text: str) -> None:
    assert output.indented(text) == text


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("json", '{"a": 1}\n'),
        ("html", "<b>x</b>"),
        ("xml", "<b/>"),
        ("css", "a { color: red }"),
        ("javascript", "var a"),
        ("yaml", "a: 1"),
        ("toml", "a = 1"),
    ],
)
def test_what_has_a_grammar_is_coloured(language: str, text: str) -> None:
    shown = output.colored(text, language)
    assert "\x1b[" in shown
    assert re.sub(r"\x1b\[[0-9;]*m", "", shown) == text


def test_deep_json_does_not_grow_without_bound() -> None:
    text = "[" * 500 + "1" + ",1" * 1000 + "]" * 500
    shown = output.indented(text)
    assert json.loads(shown) == json.loads(text)
    assert len(shown) < 100 * 2500


def test_harmless_text() -> None:
    assert cli_text.line("a\n\t\x00\x7f\u202e\udcff") == "a\\n\\t\\x00\\x7f\\u202e\\udcff"
    assert cli_text.lines("a\r\nb\tc\r\x1b") == "a\nb\tc\\r\\x1b"
    assert cli_text.of_bytes(b"\xfc\xc3\xbc") == "üÃ¼"
    for name in (b"Authorization", b"X-Api-Key", b"X-Auth-Token", b"Session-Id", b"Password"):
        assert cli_text.is_secret(name)
    for name in (b"Ocp-Apim-Subscription-Key", b"X-Goog-Encryption-Key", b"X-JWT-Assertion"):
        assert cli_text.is_secret(name)
    for name in (b"Idempotency-Key", b"Sec-WebSocket-Key", b"Surrogate-Key", b"X-Cache-Key"):
        assert not cli_text.is_secret(name)
    for name in (b"WWW-Authenticate", b"Access-Control-Allow-Credentials", b"Content-Type"):
        assert not cli_text.is_secret(name)


@pytest.mark.parametrize(
    ("start_at", "end", "bar"),
    [
        (0.0, 1.0, "█" * 10),
        (0.0, 0.0, "▏"),
        (0.5, 0.55, "     ▌"),
        (0.25, 0.5, "  ██▌"),
        (0.96, 1.0, "         ▍"),
        (1.0, 1.0, "         ▏"),
    ],
)
def test_bars(start_at: float, end: float, bar: str) -> None:
    assert report._bar(start_at, end, 10) == bar


def facts_of(*clock: float) -> report.Facts:
    url = httpcore.URL("http://" + "example.test/" * 20)
    options = reading.Options(url=url, method="GET", output=None)
    return report.Facts(options, iter(clock).__next__)


def test_the_waterfall_fits_any_terminal() -> None:
    facts = facts_of(0.0, 0.0, 1.0, 2.0)
    facts.begin(report.Leg("GET", facts.options.url))
    timeline, request = facts.last.timeline, httpcore.Request("GET", "http://h/")
    timeline("http11.send_request_headers.started", {"request": request})
    timeline("http11.send_request_body.complete", {"request": request})
    timeline("http11.receive_response_headers.failed", {"request": request})
    for asked, width in ((20, 40), (80, 80), (300, 100)):
        drawn = report.waterfall(facts, asked, "ascii").plain.splitlines()
        assert {len(line) for line in drawn} == {width}
        assert "…" in drawn[0] and drawn[0].endswith(" failed")
        assert [line.split()[0] for line in drawn[1:]] == ["send", "wait", "total"]
        assert drawn[2].count("#") == pytest.approx((width - 23) / 2, abs=1)
    assert "█" in report.waterfall(facts, 80, "utf-8").plain


def test_options_do_not_show_their_secrets() -> None:
    assert "secret" not in repr(reading.Options(bearer="secret"))


def test_the_report_of_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with LocalServer(uds=path):
        told = json.loads(run("--json", "--unix-socket", path, "http://h/").out)
    assert (told["remote_address"], told["local_address"]) == (f"unix:{path}", None)


def test_trace_of_a_stream_with_a_number() -> None:
    said: list[Any] = []
    options = reading.Options(verbose=False, trace=True)
    facts = facts_of(0.0, 0.0)
    facts.begin(report.Leg("GET", facts.options.url))
    trace = talk.Talk(said.append, facts, options)
    request = httpcore.Request("GET", "http://h/")
    trace.note("http2.receive_response_headers.started", {"request": request, "stream_id": 3})
    name = "http2.receive_response_headers.started"
    assert said == [f"      0.000 ms  {name} request=<Request [b'GET']> stream_id=3"]
