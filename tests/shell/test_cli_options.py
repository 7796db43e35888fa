"""The command line's habits of curl and HTTPie: forms, cookies, resuming, Digest, several URLs.

Owns: what these options send and write. Must not know: how the command is built.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import signal
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest

import httpcore
from httpcore._cli import reading, report, sending
from httpcore._cli.exits import Exit
from tests.support.command import answering, on_screen, other_server, plain, run, start
from tests.support.servers import LocalServer, Peer, Serve, pattern

__all__ = ["on_screen", "other_server"]  # fixtures

PATIENCE = 20  # seconds, for what happens at once unless something is broken


# --- bodies ---


def test_a_multipart_form(server: LocalServer, tmp_path: Path) -> None:
    photo, note = tmp_path / "me.png", tmp_path / "note"
    photo.write_bytes(b"\x89PNG\r\n\x00")
    note.write_bytes(b"a note")
    parts = ("text=hällo", f"photo=@{photo}", f"note=<{note}", f"x=@{note};type=a/b;filename=c")
    done = run(*(word for part in parts for word in ("-F", part)), server.url)
    assert done.code == 0
    [request] = server.requests
    assert request.method == b"POST"
    kind = (request.header("content-type") or b"").decode()
    assert kind.startswith("multipart/form-data; boundary=")
    boundary = kind.partition("boundary=")[2].encode()
    found = [part.strip(b"\r\n-") for part in request.body.split(b"--" + boundary)][1:-1]
    assert [part.split(b"\r\n")[0] for part in found] == [
        b'Content-Disposition: form-data; name="text"',
        b'Content-Disposition: form-data; name="photo"; filename="me.png"',
        b'Content-Disposition: form-data; name="note"',
        b'Content-Disposition: form-data; name="x"; filename="c"',
    ]
    assert found[0].endswith("\r\n\r\nhällo".encode())
    assert b"Content-Type: image/png" in found[1] and b"\x89PNG\r\n\x00" in found[1]
    assert found[2].endswith(b"\r\n\r\na note")
    assert b"Content-Type: a/b" in found[3]


def test_a_value_of_a_form_with_a_type(server: LocalServer) -> None:
    parts = ('meta={"a": 1};type=application/json', "plain=a;b", "typed=a;type=b;type=c/d")
    assert run("-sS", *(word for part in parts for word in ("-F", part)), server.url).code == 0
    body = server.requests[0].body
    assert b'name="meta"\r\nContent-Type: application/json\r\n\r\n{"a": 1}\r\n' in body
    assert b'name="plain"\r\n\r\na;b\r\n' in body
    assert b'name="typed"\r\nContent-Type: c/d\r\n\r\na;type=b\r\n' in body


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/folder/", b"/folder/a%20%26%20b"),
        ("/folder/?x=1", b"/folder/a%20%26%20b?x=1"),
        ("", b"/a%20%26%20b"),
        ("/folder/c", b"/folder/c"),
        ("/?x=/", b"/a%20%26%20b?x=/"),
    ],
)
def test_a_file_is_sent_to_a_folder(
    server: LocalServer, tmp_path: Path, path: str, expected: bytes
) -> None:
    (tmp_path / "a & b").write_bytes(b"content")
    run("-T", tmp_path / "a & b", server.url + path)
    assert [request.target for request in server.requests] == [expected]


def test_cookies_without_any_to_begin_with(serve: Serve) -> None:
    def handler(peer: Peer) -> None:
        while (request := peer.recv_request()) is not None:
            if request.path == "/":
                peer.respond(302, b"", [("Set-Cookie", "a=1; Path=/"), ("Location", "/next")])
            else:
                peer.respond(200, request.header("cookie") or b"none")

    url = serve(handler).url
    assert run("-b", "", "-L", url).out == b"a=1"
    assert run("-L", url).out == b"none"


def test_a_jar_on_standard_output(server: LocalServer, tmp_path: Path) -> None:
    done = run("-c", "-", server.url)
    assert done.code == Exit.USAGE and "/dev/stdout" in done.err
    assert server.requests == []


@pytest.mark.skipif(sys.platform == "win32", reason="names are text there")
def test_a_form_with_names_that_are_no_utf_8(server: LocalServer, tmp_path: Path) -> None:
    file = tmp_path / os.fsdecode(b"caf\xe9")
    file.write_bytes(b"x")
    done = run("-F", os.fsdecode(b"na\xefve=1"), "-F", f"file=@{file}", server.url)
    assert done.code == 0
    body = server.requests[0].body
    assert b'; name="na\xefve"\r\n' in body and b'; filename="caf\xe9"\r\n' in body


def test_items_make_json(server: LocalServer, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("from a file")
    items = ("name=Ann", "age:=30", "tags:=[1, null]", f"bio=@{text}", "q==a b&c", "X-One:1")
    assert run(f"{server.url}/echo?old=1#part", *items).code == 0
    [request] = server.requests
    assert request.method == b"POST"
    assert request.target == b"/echo?old=1&q=a%20b%26c"
    assert request.header("x-one") == b"1"
    assert request.header("content-type") == b"application/json"
    assert json.loads(request.body) == {
        "name": "Ann",
        "age": 30,
        "tags": [1, None],
        "bio": "from a file",
    }


def test_a_query_alone_is_a_get(server: LocalServer) -> None:
    assert run(server.url, "q==1").code == 0
    assert (server.requests[0].method, server.requests[0].target) == (b"GET", b"/?q=1")


def test_which_arguments_are_urls() -> None:
    urls = ["a", "http://b/?x=1", "example.com:80", "localhost:1", ":8080/x", "b/?y=2", "[::1]:1"]
    assert reading.read_items([*urls, "X-Id:5"]).urls == urls
    assert reading.read_items(["a=b"]).urls == ["a=b"]  # the first is always one


def test_data_in_the_query(server: LocalServer, tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"x\n\xff")
    encoded = ("a b", "=c&d", "n=e f", f"@{path}", f"m@{path}")
    words = [word for text in encoded for word in ("--data-urlencode", text)]
    expected = b"p=1&a%20b&c%26d&n=e%20f&x%0A%FF&m=x%0A%FF"
    assert run("-G", "-d", "p=1", *words, f"{server.url}/").code == 0
    assert (server.requests[0].method, server.requests[0].target) == (b"GET", b"/?" + expected)
    assert run("-d", "p=1", *words, server.url).code == 0
    assert (server.requests[1].method, server.requests[1].body) == (b"POST", expected)


def test_user_agent(server: LocalServer) -> None:
    run("-A", "mine", server.url)
    run("-A", "", server.url)
    assert [request.header_all("user-agent") for request in server.requests] == [[b"mine"], []]


# --- who is there ---


def test_digest(server: LocalServer) -> None:
    done = run("--digest", "-u", "me:secret", f"{server.url}/digest-auth/me/secret", "-d", "x")
    assert (done.code, done.out) == (0, b"welcome")
    first, second = server.requests
    assert first.header("authorization") is None and second.body == b"x"
    done = run("--digest", "-w", "%{http_code}", "-u", "me:no", f"{server.url}/digest-auth/me/yes")
    assert done.out.endswith(b"401")
    assert len(server.requests) == 4


MADE_UP = 'Digest realm="r", nonce="n", algorithm=MADE-UP'
GOOD = 'Digest realm="Basic, and more", nonce="n", qop="auth,auth-int"'


@pytest.mark.parametrize(
    "fields",
    [
        [f'Basic realm="Digest nonce=x", {GOOD}'],
        [f"Negotiate, {GOOD}"],
        [f'Negotiate abc==,{GOOD},Basic realm="x"'],
        ['Basic realm="never closed', GOOD],
        [f"{MADE_UP}, {GOOD}"],
        [MADE_UP, GOOD],
    ],
)
def test_digest_among_other_challenges(serve: Serve, fields: list[str]) -> None:
    """RFC 9110 section 11.6.1: one field may have several, and there may be several fields."""

    def handler(peer: Peer) -> None:
        while (request := peer.recv_request()) is not None:
            answer = request.header("authorization")
            if answer is None:
                peer.respond(401, b"", [("WWW-Authenticate", field) for field in fields])
            else:
                assert b'realm="Basic, and more", nonce="n"' in answer and b"qop" in answer
                peer.respond(200, b"welcome")

    done = run("--digest", "-u", "me:secret", serve(handler).url)
    assert (done.code, done.out) == (0, b"welcome"), done.err


@pytest.mark.parametrize(
    "challenge", [b"realm=x", b"nonce=x", b"realm=x, nonce", b"realm, nonce=x", b"", b"=,=x"]
)
def test_a_challenge_that_cannot_be_answered(serve: Serve, challenge: bytes) -> None:
    head = b"HTTP/1.1 401 No\r\nWWW-Authenticate: Digest %s\r\nContent-Length: 0\r\n\r\n"
    done = run("--digest", "-u", "me:secret", serve(answering(head % challenge)).url)
    assert done.code == Exit.PROTOCOL
    assert "Digest" in done.err and "secret" not in done.err


def test_digest_of_what_is_no_utf_8(server: LocalServer) -> None:
    place = server.url.replace("://", "://m%ff:secret@")
    for words in (["-u", os.fsdecode(b"m\xe9:secret"), server.url], [place]):
        done = run("--digest", *words)
        assert done.code == Exit.USAGE
        assert "in UTF-8" in done.err and "secret" not in done.err
    assert server.requests == []


@pytest.mark.parametrize(
    "options", [("--bearer", "secret"), ("-b", "session=secret"), ("--digest", "-u", "me:secret")]
)
def test_credentials_stay_with_their_origin(
    server: LocalServer, other_server: LocalServer, options: tuple[str, ...]
) -> None:
    place = f"{other_server.url}/digest-auth/me/secret"
    done = run("-v", "-L", *options, f"{server.url}/redirect-to?url={place}")
    assert done.code == 0
    assert "secret" not in done.err.replace("/digest-auth/me/secret", "")
    assert len(other_server.requests) == 1
    for name in ("authorization", "cookie"):
        assert other_server.requests[0].header(name) is None
    if "--digest" not in options:
        sent = [server.requests[0].header(name) for name in ("authorization", "cookie")]
        assert b"Bearer secret" in sent or b"session=secret" in sent


@pytest.mark.parametrize(
    "line", ["x", "h\tFALSE\t/\tFALSE\tsoon\ta\tb", "h\tFALSE\t/\tFALSE\tnan\ta\tb"]
)
def test_a_broken_file_of_cookies(server: LocalServer, tmp_path: Path, line: str) -> None:
    jar = tmp_path / "jar"
    jar.write_text(f"# Netscape HTTP Cookie File\n{line}\n")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        done = run("-b", jar, server.url)
    assert done.code == Exit.READ
    assert done.err == f"httpcore: {jar} is no file of cookies (Netscape format)\n"
    assert warned == []  # the jar's has a traceback


def test_cookies_are_kept_in_a_file(
    server: LocalServer, other_server: LocalServer, tmp_path: Path
) -> None:
    jar = tmp_path / "jar"
    assert run("-b", jar, "-c", jar, f"{server.url}/cookies/set?a=1").code == 0
    assert jar.read_text().startswith("# Netscape HTTP Cookie File")
    assert jar.stat().st_mode & 0o077 == 0
    assert run("-b", jar, "-b", "b=2", f"{server.url}/cookies").json == {"a": "1", "b": "2"}
    (tmp_path / "other").write_text(jar.read_text().replace("\ta\t1", "\tc\t3"))
    both = run("-b", jar, "-b", tmp_path / "other", f"{server.url}/cookies")
    assert both.json == {"a": "1", "c": "3"}
    name = server.url.replace("127.0.0.1", "localhost")
    assert run("-b", jar, f"{name}/cookies").json == {}


def test_cookies_within_one_run(server: LocalServer, serve: Serve, tmp_path: Path) -> None:
    def handler(peer: Peer) -> None:
        peer.recv_request()
        fields = "Set-Cookie: a=1; Path=/\r\nLocation: /next\r\nContent-Length: 0\r\n"
        peer.send(f"HTTP/1.1 302 Found\r\n{fields}\r\n".encode())
        request = peer.recv_request()
        assert request is not None
        peer.send(plain(request.header("cookie") or b"none"))

    assert run("-L", "-c", tmp_path / "jar", serve(handler).url).out == b"a=1"


def test_files_that_hold_no_cookies(server: LocalServer, tmp_path: Path) -> None:
    path = tmp_path / "jar"
    assert run("-b", path, server.url).code == Exit.READ
    path.write_text("something else\n")
    assert run("-b", path, server.url).code == Exit.READ
    assert server.requests == []
    assert run("-c", tmp_path / "no" / "jar", server.url).code == Exit.WRITE


def test_cookies_are_kept_after_a_failure(server: LocalServer, tmp_path: Path) -> None:
    jar = tmp_path / "jar"
    assert run("-f", "-c", jar, f"{server.url}/status/404").code == Exit.STATUS
    assert jar.exists()


# --- files ---


def test_the_name_of_the_url(
    server: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("-O", f"{server.url}/bytes/10?x=/y").out == b""
    assert (tmp_path / "10").read_bytes() == pattern(10)


WHOLE = b"0123456789"


def partly(peer: Peer) -> None:
    """Send what is missing, as servers of files do."""
    request = peer.recv_request()
    if request is None:
        return
    asked = re.fullmatch(rb"bytes=(\d+)-", request.header("range") or b"")
    if asked is None:
        peer.send(plain(WHOLE))
    elif int(asked[1]) >= len(WHOLE):
        place = f"Content-Range: bytes */{len(WHOLE)}\r\n"
        peer.send(f"HTTP/1.1 416 No\r\n{place}Content-Length: 0\r\n\r\n".encode())
    else:
        rest = WHOLE[int(asked[1]) :]
        head = f"Content-Range: bytes {int(asked[1])}-9/10\r\nContent-Length: {len(rest)}\r\n"
        peer.send(f"HTTP/1.1 206 Partial Content\r\n{head}\r\n".encode() + rest)


@pytest.mark.parametrize("there", [None, b"", b"01234", WHOLE])
def test_what_is_missing_is_fetched(serve: Serve, tmp_path: Path, there: bytes | None) -> None:
    path = tmp_path / "file"
    if there is not None:
        path.write_bytes(there)
    done = run("-C", "-", "-o", path, serve(partly).url)
    assert done.code == 0
    assert path.read_bytes() == WHOLE
    assert ("complete already" in done.err) == (there == WHOLE)


@pytest.mark.parametrize(
    ("head", "code", "left"),
    [
        ("HTTP/1.1 200 OK", Exit.OK, b"new"),
        ("HTTP/1.1 404 Not Found", Exit.STATUS, b"old!"),
        ("HTTP/1.1 416 No\r\nContent-Range: bytes */3", Exit.STATUS, b"old!"),
        ("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 2-4/5", Exit.PROTOCOL, b"old!"),
    ],
)
def test_a_file_that_cannot_be_resumed(
    serve: Serve, tmp_path: Path, head: str, code: Exit, left: bytes
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old!")
    answer = answering(f"{head}\r\nContent-Length: 3\r\n\r\nnew".encode())
    assert run("-C", "-", "-o", path, serve(answer).url).code == code
    assert path.read_bytes() == left


# --- what is said ---


def test_write_out(server: LocalServer, closed_port: int) -> None:
    names = ("http_code", "size_download", "remote_ip", "num_connects", "content_type", "method")
    template = "|".join(f"%{{{name}}}" for name in names)
    done = run("-L", "-w", rf"\n%%{template}\t%{{url_effective}}\n", f"{server.url}/redirect/1")
    last = done.out.decode().splitlines()[-1]
    values, url = last.split("\t")
    body = len(done.out) - len(f"\n{last}\n")
    assert values.split("|")[:4] == ["%200", str(body), "127.0.0.1", "1"]
    assert url == f"{server.url}/echo"
    times = ("namelookup", "connect", "pretransfer", "starttransfer", "total")
    template = " ".join(f"%{{time_{name}}}" for name in times)
    numbers = [
        float(each) for each in run("-o", "/dev/null", "-w", template, server.url).out.split()
    ]
    assert numbers == sorted(numbers) and numbers[-1] > 0
    done = run("-w", "%{http_code} %{errors}", "h")
    assert done.code == Exit.USAGE
    assert run("-w", "%{http_code}", f"http://127.0.0.1:{closed_port}").out == b"000"


def test_every_variable_is_documented_and_works(server: LocalServer) -> None:
    page = (Path(__file__).parents[2] / "docs" / "cli.rst").read_text()
    blank = reading.Options(url="", method="", output=None)
    variables = report.variables(report.Facts(blank))
    for name in variables:
        assert f"``{name}``" in page, name
    template = "".join(f"{name}=%{{{name}}}\\n" for name in variables)
    assert run("-w", template, server.url).code == 0
    assert run("-w", template, "http://127.0.0.1:1/").code == Exit.CONNECT


def test_a_terminal_shows_how_an_empty_answer_came(server: LocalServer, on_screen: Any) -> None:
    code, screen = on_screen(f"{server.url}/redirect-to?url=/next%3Ftoken=secret")
    assert code == 0
    shown = " ".join(screen.plain.split())
    assert "HTTP/1.1 302" in shown and "Location: /next" in shown and "-L follows it" in shown
    assert run(f"{server.url}/redirect-to?url=/next").err == ""
    code, screen = on_screen(f"{server.url}/status/204")
    assert (code, screen.plain) == (0, "note: HTTP/1.1 204 No Content, without a body\n")
    code, screen = on_screen("-i", f"{server.url}/status/204")
    assert code == 0 and "note: " not in screen.plain


# --- several URLs ---


def test_urls_are_fetched_together_and_written_in_order(serve: Serve) -> None:
    """The first is answered when the second has been: one after the other, it never would be."""
    second = threading.Event()

    def handler(peer: Peer) -> None:
        request = peer.recv_request()
        if request is None:
            return
        if request.target == b"/1":
            assert second.wait(PATIENCE)
        peer.send(plain(request.target * 300_000))
        second.set()

    running = serve(handler)
    done = run(f"{running.url}/1", f"{running.url}/2")
    assert done == (0, b"/1" * 300_000 + b"/2" * 300_000, "")


def test_many_urls_share_connections(server: LocalServer) -> None:
    done = run("-w", "%{http_code}\n", *(f"{server.url}/bytes/{n}" for n in range(30)))
    assert done.code == 0
    assert done.out == b"".join(pattern(n) + b"200\n" for n in range(30))
    assert len(server.requests) == 30


def test_the_first_failure_is_the_exit_code(server: LocalServer, closed_port: int) -> None:
    closed = f"http://127.0.0.1:{closed_port}"
    done = run("-f", server.url, f"{server.url}/status/404", closed)
    assert done.code == Exit.STATUS
    assert done.out == b"hello from the local server\n"
    assert len(done.err.splitlines()) == 2


def test_bars_of_several_files(
    server: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_screen: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    code, screen = on_screen("-O", f"{server.url}/bytes/300001", f"{server.url}/bytes/300002")
    assert code == 0
    assert {path.name for path in tmp_path.iterdir()} == {"300001", "300002"}
    for name in ("300001", "300002"):
        assert re.search(rf"{name} +━+.*100%", screen.plain)


def test_a_file_goes_to_several_urls(server: LocalServer, tmp_path: Path, on_screen: Any) -> None:
    path = tmp_path / "file"
    path.write_bytes(pattern(200_000))
    code, screen = on_screen("-T", path, f"{server.url}/upload?1", f"{server.url}/upload?2")
    assert code == 0
    assert [request.method for request in server.requests] == [b"PUT", b"PUT"]
    assert screen.plain.count('"length": 200000') == 2


def test_a_token_that_cannot_be_sent_is_not_shown(server: LocalServer) -> None:
    done = run("--bearer", "secret\nx", server.url)
    assert done.code == Exit.USAGE and "secret" not in done.err


def test_a_run_that_was_cancelled_says_nothing(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = httpcore.CancelToken()
    token.cancel()
    monkeypatch.setattr(httpcore, "CancelToken", lambda: token)
    assert run(server.url) == (Exit.INTERRUPTED, b"", "")
    assert server.requests == []


def test_ctrl_c_ends_all(serve: Serve) -> None:
    arrived = [threading.Event(), threading.Event()]

    def handler(peer: Peer) -> None:
        request = peer.recv_request()
        if request is not None:
            arrived[int(request.target[1:])].set()
            peer.wait_closed()

    running = serve(handler)
    with start(f"{running.url}/0", f"{running.url}/1") as process:
        try:
            assert all(each.wait(PATIENCE) for each in arrived)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()  # nothing, if it has ended
    assert (process.returncode, out) == (Exit.INTERRUPTED, b"")
    assert err == b"httpcore: interrupted\n"  # once for all


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("requests.auth", ("--digest", "-u", "me:secret")),
        ("urllib3.fields", ("-F", "a=b")),
    ],
)
def test_a_package_that_is_not_installed_is_named(
    serve: Serve, missing: str, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    head = (
        b"HTTP/1.1 401 No\r\nWWW-Authenticate: Digest realm=x, nonce=y\r\nContent-Length: 0\r\n\r\n"
    )
    monkeypatch.setitem(sys.modules, missing, None)
    done = run(*words, serve(answering(head)).url)
    assert done.code == Exit.OTHER
    assert f"needs the package '{missing.partition('.')[0]}'" in done.err
    assert "pip install 'httpcore[cli]'" in done.err
    assert "secret" not in done.err


def test_a_challenge_by_another_scheme_is_left(serve: Serve) -> None:
    head = b"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n"
    done = run("-i", "--digest", "-u", "me:secret", serve(answering(head)).url)
    assert b" 401 " in done.out
    assert "secret" not in done.err


# --- offsets, and a file for each URL ---


def test_an_offset(serve: Serve, tmp_path: Path) -> None:
    url = serve(partly).url
    assert run("-C", "4", url) == (0, WHOLE[4:], "")
    path = tmp_path / "file"
    path.write_bytes(b"0123")
    assert run("-C", "4", "-o", path, url).code == 0
    assert path.read_bytes() == WHOLE
    assert run("-C", "0", url).out == WHOLE
    done = run("-C", "10", url)
    assert (done.code, done.out) == (0, b"") and "complete already" in done.err


def test_a_server_that_knows_no_offsets(serve: Serve) -> None:
    server = serve(answering(plain(WHOLE)))
    assert run("-C", "0", server.url).out == WHOLE
    done = run("-C", "4", server.url)
    assert (done.code, done.out) == (Exit.PROTOCOL, b"")
    assert "HTTP/1.1 200 OK is not what is missing of standard output" in done.err


@pytest.mark.parametrize("before", [None, b""])
@pytest.mark.parametrize("offset", ["-", "0"])
def test_no_error_page_begins_a_download(
    server: LocalServer, tmp_path: Path, before: bytes | None, offset: str
) -> None:
    """The next run would go on behind it."""
    path = tmp_path / "file"
    if before is not None:
        path.write_bytes(before)
    done = run("-C", offset, "-o", path, f"{server.url}/status/404")
    assert done.code == Exit.STATUS
    assert f"404 Not Found is not what is missing of {path}" in done.err
    assert (path.read_bytes() if path.exists() else None) == before


@pytest.mark.parametrize("offset", ["x", "-1", "²", "9" * 5000])
def test_what_is_no_offset(offset: str) -> None:
    done = run(f"--continue-at={offset}", "http://h")
    assert done.code == Exit.USAGE
    assert "neither - nor a number of bytes" in done.err


def test_a_file_for_each_url(server: LocalServer, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    assert run("-o", one, f"{server.url}/bytes/10", "-o", two, f"{server.url}/bytes/20").code == 0
    assert (one.read_bytes(), two.read_bytes()) == (pattern(10), pattern(20))
    done = run("-o", one, "-o", two, server.url)
    assert done.code == Exit.USAGE
    assert "-o is given more often than there are URLs" in done.err


# --- forms ---


def test_a_form_is_not_read_into_memory(
    server: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "large"
    path.write_bytes(pattern(3_000_000))
    monkeypatch.setattr(reading, "read_data", None)  # which does
    url = f"{server.url}/redirect-to?status=307&url=/upload"
    told = run("-L", "-F", f"a=@{path};type=x/y", "-F", f"b=<{path}", url).json
    boundary = (server.requests[1].header("content-type") or b"").partition(b"boundary=")[2]
    head = b"--%b\r\nContent-Disposition: form-data; name=" % boundary
    first = head + b'"a"; filename="large"\r\nContent-Type: x/y\r\n\r\n'
    second = head + b'"b"\r\n\r\n'
    end = b"--%b--\r\n" % boundary
    body = b"".join([first, pattern(3_000_000), b"\r\n", second, pattern(3_000_000), b"\r\n", end])
    digest = hashlib.sha256(body).hexdigest()
    assert told == {"length": len(body), "sha256": digest, "framing": "length"}


def test_a_file_of_a_form_that_grows_is_not_gone_back_to() -> None:
    first, second = io.BytesIO(b"ab"), io.BytesIO(b"cd")
    moved: list[int] = []
    upload = sending.Upload(report.Leg("POST", httpcore.URL("http://h/")), [first, second])
    upload.moved = moved.append
    assert (upload.read(10), upload.read(1)) == (b"ab", b"c")
    first.write(b"x")
    first.seek(2)
    assert (upload.read(10), upload.read(10)) == (b"d", b"")
    assert moved == [2, 3, 4, 4]


def test_a_form_from_standard_input(server: LocalServer) -> None:
    assert run("-F", "a=@-;filename=b", server.url, stdin=b"typed").code == 0
    assert b'filename="b"' in server.requests[0].body and b"typed" in server.requests[0].body


def test_progress_of_a_form(server: LocalServer, tmp_path: Path, on_screen: Any) -> None:
    path = tmp_path / "file"
    path.write_bytes(pattern(3_000_000))
    code, screen = on_screen("-F", f"a=@{path}", f"{server.url}/upload")
    assert code == 0
    assert re.search(r"form +━+.*100%.*3\.0/3\.0 MB", screen.plain)
    code, screen = on_screen("-F", "a=b", f"{server.url}/upload")
    assert code == 0 and "form" not in screen.plain


def test_a_file_of_a_form_that_is_missing(server: LocalServer, tmp_path: Path) -> None:
    done = run("-F", f"a=@{tmp_path / 'missing'}", server.url)
    assert done.code == Exit.READ
    assert done.err.startswith(f"httpcore: read {tmp_path / 'missing'} failed: ")
    assert server.requests == []
