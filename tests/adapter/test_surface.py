"""What programs hand to requests and get back from it, beside the stock adapter.

Owns: inputs that are valid for requests though they are unusual, and the shape of what comes back.
Must not know: how it is done. Each test sends the same thing over both adapters and compares.
"""

from __future__ import annotations

import codecs
import collections
import io
import ssl
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import multidict
import pytest
import requests
import urllib3
from requests.exceptions import FileModeWarning
from urllib3.exceptions import InsecureRequestWarning

import httpcore
from httpcore_requests import HTTPAdapter
from tests.support.proxies import ProxyServer
from tests.support.servers import LocalServer, Peer, ReceivedRequest, Serve


@pytest.fixture
def stock() -> Iterator[requests.Session]:
    with requests.Session() as made:
        yield made


@pytest.fixture
def recorder(serve: Serve) -> tuple[str, list[ReceivedRequest]]:
    """The URL of a server that answers 200 to everything, and what it has received."""
    received: list[ReceivedRequest] = []

    def handler(peer: Peer) -> None:
        while (request := peer.recv_request()) is not None:
            received.append(request)
            peer.respond(200, b"")

    return serve(handler).url, received


# --- request headers -------------------------------------------------------------------------


class Pairs(dict[str, Any]):
    """A mapping of somebody's own whose items() repeats names, and differs in their case."""

    def __init__(self, pairs: list[tuple[Any, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs

    def items(self) -> Any:
        return iter(self.pairs)

    def copy(self) -> Pairs:
        return Pairs(self.pairs)


def header_dict(pairs: list[tuple[Any, Any]]) -> urllib3.HTTPHeaderDict:
    made = urllib3.HTTPHeaderDict()
    for name, value in pairs:
        made.add(name, value)
    return made


REPEATED = [
    ("X-A", "one"),
    ("X-B", b"between"),
    ("x-a", "two"),
    ("X-A", "two"),
    ("Cookie", "a=b"),
    ("Cookie", "c=d"),
]


@pytest.mark.parametrize("framing", ["none", "length", "chunked"])
@pytest.mark.parametrize(
    "make",
    [header_dict, multidict.CIMultiDict, multidict.MultiDict, Pairs],
    ids=["HTTPHeaderDict", "CIMultiDict", "MultiDict", "own class"],
)
def test_repeated_headers_are_all_sent_in_order(
    session: requests.Session,
    stock: requests.Session,
    recorder: tuple[str, list[ReceivedRequest]],
    make: Callable[[list[tuple[Any, Any]]], Any],
    framing: str,
) -> None:
    url, received = recorder
    for sender in (session, stock):
        data = {"none": None, "length": b"body", "chunked": iter([b"body"])}[framing]
        prepared = sender.prepare_request(requests.Request("POST", url, data=data))
        prepared.headers = make([*prepared.headers.items(), *REPEATED])
        sender.send(prepared)
    ours, theirs = (request.headers for request in received)
    assert sorted(ours) == sorted(theirs)
    wanted = (b"x-a", b"x-b", b"cookie")
    values = [value for name, value in ours if name.lower() in wanted]
    assert values == [value for name, value in theirs if name.lower() in wanted]
    assert b"two" in values


def test_repeated_headers_that_are_skipped_or_overruled(
    session: requests.Session,
    stock: requests.Session,
    recorder: tuple[str, list[ReceivedRequest]],
) -> None:
    url, received = recorder
    skipped = urllib3.util.SKIP_HEADER
    for sender in (session, stock):
        prepared = requests.Request("GET", url).prepare()
        prepared.headers = Pairs(  # type: ignore[assignment]
            [("User-Agent", skipped), ("user-agent", skipped), ("X-A", "1"), ("X-A", "2")]
        )
        sender.send(prepared)
    assert sorted(received[0].headers) == sorted(received[1].headers)
    prepared = requests.Request("POST", url, data=iter([b"four"])).prepare()
    prepared.headers = Pairs(  # type: ignore[assignment]
        [("Transfer-Encoding", "chunked"), ("transfer-encoding", "x"), ("Content-Length", "4")]
    )
    session.send(prepared)
    assert received[2].header("transfer-encoding") is None
    assert received[2].body == b"four"


# Visible ASCII that RFC 9110 has in no field name; the colon would end the name.
ODD_CHARACTERS = '"(),/;<=>?@[\\]{}'


@pytest.mark.parametrize("name", ["a[0]", "[", *(f"X{odd}" for odd in ODD_CHARACTERS)])
def test_names_that_are_no_tokens_are_sent(
    session: requests.Session,
    stock: requests.Session,
    recorder: tuple[str, list[ReceivedRequest]],
    name: str,
) -> None:
    url, received = recorder
    for sender in (session, stock):
        sender.get(url, headers={name: "value", "X-Other": "b"})
    assert sorted(received[0].headers) == sorted(received[1].headers)
    assert (name.encode(), b"value") in received[0].headers


@pytest.mark.parametrize("odd", ["\r", "\n", "\0", ":", " ", "\t", "\x0b", "\x7f", "\x1f"])
def test_names_that_could_be_taken_for_something_else_are_not_sent(
    session: requests.Session, recorder: tuple[str, list[ReceivedRequest]], odd: str
) -> None:
    url, received = recorder
    for name in (f"a{odd}b", f"{odd}b", f"a{odd}", f"Transfer-Encoding{odd}"):
        prepared = requests.Request("GET", url).prepare()
        prepared.headers[name] = "chunked"
        with pytest.raises(requests.exceptions.InvalidHeader, match="illegal header name"):
            session.send(prepared)
    assert received == []


def test_a_strict_adapter_sends_tokens_only(recorder: tuple[str, list[ReceivedRequest]]) -> None:
    url, received = recorder
    with requests.Session() as strict:
        strict.mount("http://", HTTPAdapter(parsing="strict"))
        with pytest.raises(requests.exceptions.InvalidHeader, match="illegal header name"):
            strict.get(url, headers={"a[0]": "x"})
    assert received == []


# --- bodies that give text -------------------------------------------------------------------

TEXT = "ab gr\u00f6\u00dfe \u20ac " * 30_000  # more than is read at a time


class Reader:
    """A wrapper of somebody's own that has read() and nothing else."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def read(self, size: int = -1) -> Any:
        return self._file.read(size)


class IterableReader(Reader):
    def __iter__(self) -> Iterator[Any]:
        return iter(self._file)


class Delegate(IterableReader):
    """One that passes on all attributes, as progress bars do."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class NoneAtEnd(Reader):
    def read(self, size: int = -1) -> Any:
        return super().read(size) or None


def temporary(make: Callable[..., Any], *args: Any, **options: Any) -> Any:
    file = make(*args, mode="w+", encoding="utf-8", **options)
    file.write(TEXT)
    file.seek(0)
    return file


def open_codecs(path: Path) -> Any:
    with path.open("rb") as file:
        return codecs.getreader("utf-8")(io.BytesIO(file.read()))


def open_both_ways(path: Path) -> Any:
    """Return what `codecs.open` gives, which is deprecated from Python 3.14 on."""
    utf8 = codecs.lookup("utf-8")
    file = codecs.StreamReaderWriter(path.open("rb"), utf8.streamreader, utf8.streamwriter)
    file.encoding = "utf-8"
    return file


TEXT_FILES: dict[str, Callable[[Path], Any]] = {
    "open": lambda path: path.open(encoding="utf-8"),
    "TextIOWrapper": lambda path: io.TextIOWrapper(io.BytesIO(path.read_bytes()), "utf-8"),
    "StringIO": lambda path: io.StringIO(TEXT),
    "codecs.open": open_both_ways,
    "StreamReader": open_codecs,
    "NamedTemporaryFile": lambda path: temporary(tempfile.NamedTemporaryFile),
    "TemporaryFile": lambda path: temporary(tempfile.TemporaryFile),
    "SpooledTemporaryFile": lambda path: temporary(tempfile.SpooledTemporaryFile),
    "SpooledTemporaryFile on disk": lambda path: temporary(tempfile.SpooledTemporaryFile, 1),
    "wrapper": lambda path: Reader(io.StringIO(TEXT)),
    "iterable wrapper": lambda path: IterableReader(io.StringIO(TEXT)),
    "delegate": lambda path: Delegate(path.open(encoding="utf-8")),
    "None at the end": lambda path: NoneAtEnd(io.StringIO(TEXT)),
}


@pytest.fixture
def text_path(tmp_path: Path) -> Path:
    path = tmp_path / "text"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.mark.filterwarnings("ignore::requests.exceptions.FileModeWarning")
@pytest.mark.parametrize("offset", [0, 3])
@pytest.mark.parametrize("name", TEXT_FILES)
def test_text_from_files_of_any_class_is_sent_as_utf8(
    session: requests.Session,
    stock: requests.Session,
    recorder: tuple[str, list[ReceivedRequest]],
    text_path: Path,
    name: str,
    offset: int,
) -> None:
    url, received = recorder
    # requests counts the characters of a StringIO; what urllib3 then sends is longer than that.
    # A reader of `codecs` reads ahead, and then it says that it stands at the end.
    comparable = name != "StringIO" and not (offset and name in ("StreamReader", "codecs.open"))
    for sender in (session, stock) if comparable else (session,):
        body = TEXT_FILES[name](text_path)
        body.read(offset)
        try:
            assert sender.post(url, data=body).ok
        finally:
            getattr(body, "close", getattr(getattr(body, "_file", None), "close", None))()
    sent = TEXT[offset:].encode()
    for request in received:
        assert request.body == sent
        assert request.header("content-length") in (None, str(len(sent)).encode())
    framings = {request.header("content-length") for request in received}
    assert len(framings) == 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: iter(["gr\u00f6", "", b"bytes", "\u00dfe"]),
        lambda: (piece for piece in ["gr\u00f6", "", b"bytes", "\u00dfe"]),
        lambda: map(str, ["gr\u00f6", "bytes", "\u00dfe"]),
        lambda: collections.deque(["gr\u00f6", b"bytes", "\u00dfe"]),
    ],
    ids=["iterator", "generator", "map", "deque"],
)
def test_text_from_iterables_is_sent_as_utf8(
    session: requests.Session,
    stock: requests.Session,
    recorder: tuple[str, list[ReceivedRequest]],
    make: Callable[[], Any],
) -> None:
    url, received = recorder
    for sender in (session, stock):
        # Only the last has a length, and requests announces it: the number of its pieces.
        prepared = requests.Request("POST", url, data=iter(())).prepare()
        prepared.body = make()
        assert sender.send(prepared).ok
    assert [request.body for request in received] == ["gr\u00f6bytes\u00dfe".encode()] * 2


@pytest.mark.filterwarnings("ignore::requests.exceptions.FileModeWarning")
@pytest.mark.parametrize(
    "name", [name for name in TEXT_FILES if "wrapper" not in name and "None" not in name]
)
def test_text_is_sent_again_from_where_it_was(serve: Serve, text_path: Path, name: str) -> None:
    bodies: list[bytes] = []

    def handler(peer: Peer) -> None:
        while (request := peer.recv_request()) is not None:
            bodies.append(request.body)
            peer.respond(503 if len(bodies) == 1 else 200, b"")

    retry = urllib3.Retry(1, status_forcelist=[503], allowed_methods=None)
    with requests.Session() as session:
        session.mount("http://", HTTPAdapter(max_retries=retry))
        body = TEXT_FILES[name](text_path)
        assert session.post(serve(handler).url, data=body).ok
        body.close()
    assert bodies == [TEXT.encode()] * 2


def test_text_in_another_encoding_than_its_files_is_never_cut(
    session: requests.Session, recorder: tuple[str, list[ReceivedRequest]], tmp_path: Path
) -> None:
    """requests announces the size of the file, which here is that of another encoding. urllib3
    sends more than that, and the rest is taken for the next request."""
    url, received = recorder
    path = tmp_path / "latin"
    path.write_text("gr\u00f6\u00dfe", encoding="latin-1")
    with path.open(encoding="latin-1") as file:
        with pytest.warns(FileModeWarning):
            prepared = requests.Request("POST", url, data=file).prepare()
        with pytest.raises(requests.RequestException, match="longer than its announced 5 bytes"):
            session.send(prepared)
    assert received == []


# --- the response's head ---------------------------------------------------------------------


@pytest.mark.parametrize("line", [b"200  OK ", b"200 OK\t", b"200 \xa0Sure\x85 ", b"200", b"200 "])
def test_the_reason_is_stripped(
    session: requests.Session, stock: requests.Session, serve: Serve, line: bytes
) -> None:
    def handler(peer: Peer) -> None:
        peer.recv_request()
        peer.send(b"HTTP/1.1 " + line + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    url = serve(handler).url
    ours, theirs = session.get(url), stock.get(url)
    assert ours.reason == theirs.reason
    assert ours.raw._original_response.reason == theirs.reason


# Known, unknown, unasked; with fields that are wrong in an interim response.
INTERIM_ALONE = [b"101 Switching", b"102 Processing", b"103 Hints", b"150 Odd", b"199 Odd"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fields", [b"", b"Content-Length: 5\r\nConnection: close\r\n"])
@pytest.mark.parametrize("line", INTERIM_ALONE)
def test_an_interim_response_that_nothing_follows_is_the_response(
    session: requests.Session,
    stock: requests.Session,
    serve: Serve,
    line: bytes,
    fields: bytes,
    stream: bool,
) -> None:
    def handler(peer: Peer) -> None:
        peer.recv_request()
        peer.send(b"HTTP/1.1 " + line + b"\r\nX-A: b\r\n" + fields + b"\r\n")

    url = serve(handler).url
    for sender in (stock, session):
        with sender.get(url, stream=stream, timeout=5) as response:
            assert response.status_code == int(line[:3])
            assert response.reason == line[4:].decode()
            assert response.headers["X-A"] == "b"
            assert (response.raw._fp.fp is None) is not stream
            assert response.content == b""
            assert response.raw._fp.fp is None


@pytest.mark.parametrize("line", [b"101 Switching", b"150 Odd"])
def test_a_server_that_keeps_silent_after_it_is_not_waited_for(
    session: requests.Session, serve: Serve, line: bytes
) -> None:
    closed: list[bytes] = []

    def handler(peer: Peer) -> None:
        peer.recv_request()
        peer.send(b"HTTP/1.1 " + line + b"\r\n\r\n")
        closed.append(peer.wait_closed())

    server = serve(handler)
    assert session.get(server.url).status_code == int(line[:3])
    # Nobody asked for its socket, and the body was read: the connection is closed.
    assert server.wait_for(lambda: bool(closed))


@pytest.mark.parametrize("line", [b"100 Continue", *INTERIM_ALONE[1:]])
def test_an_interim_response_that_something_follows_is_none(
    session: requests.Session, serve: Serve, line: bytes
) -> None:
    def handler(peer: Peer) -> None:
        while peer.recv_request() is not None:
            peer.send(b"HTTP/1.1 " + line + b"\r\n\r\n")
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    server = serve(handler)
    assert [session.get(server.url).text for _ in range(2)] == ["ok", "ok"]
    assert server.accepted == 1


def test_only_100_then_nothing_is_a_failure(
    session: requests.Session, stock: requests.Session, serve: Serve
) -> None:
    def handler(peer: Peer) -> None:
        peer.recv_request()
        peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    url = serve(handler).url
    for sender in (stock, session):
        with pytest.raises(requests.ConnectionError):
            sender.get(url)


@pytest.mark.parametrize("line", INTERIM_ALONE)
def test_the_core_and_a_strict_adapter_refuse_it(serve: Serve, line: bytes) -> None:
    def handler(peer: Peer) -> None:
        peer.recv_request()
        peer.send(b"HTTP/1.1 " + line + b"\r\n\r\n")

    url = serve(handler).url
    with pytest.raises(httpcore.RemoteProtocolError):
        httpcore.request("GET", url)
    with requests.Session() as strict:
        strict.mount("http://", HTTPAdapter(parsing="strict"))
        with pytest.raises(requests.ConnectionError):
            strict.get(url)


# --- warnings --------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["direct", "tunnel", "https proxy"])
@pytest.mark.parametrize(
    "filters",
    [
        {"module": "urllib3.connectionpool"},
        {"module": r"urllib3\.connectionpool$"},
        {"module": "urllib3"},
        {"message": "Unverified HTTPS request"},
        {"category": urllib3.exceptions.InsecureRequestWarning},
        {"category": urllib3.exceptions.HTTPWarning},
    ],
    ids=lambda filters: "-".join(
        f"{key} {getattr(it, '__name__', it)}" for key, it in filters.items()
    ),
)
def test_an_unverified_request_is_warned_of_by_urllib3s_pool(
    session: requests.Session,
    tls_server: LocalServer,
    server_tls_context: ssl.SSLContext,
    way: str,
    filters: dict[str, Any],
) -> None:
    session.verify = False
    url = tls_server.url
    with ExitStack() as stack:
        if way != "direct":
            secure = way == "https proxy"
            through = stack.enter_context(ProxyServer(tls=server_tls_context if secure else None))
            session.proxies = {"https": through.url}
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            assert session.get(url).ok
        assert seen
        assert {warning.filename for warning in seen} == {urllib3.connectionpool.__file__}
        assert {warning.category for warning in seen} == {InsecureRequestWarning}
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            warnings.filterwarnings("ignore", **filters)
            assert session.get(url).ok
        assert [str(w.message) for w in seen if "message" not in filters] == []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", **filters)
            with pytest.raises(InsecureRequestWarning):
                session.get(url)


def test_an_unverified_request_is_warned_of_once_for_each_host(
    session: requests.Session, tls_server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(vars(urllib3.connectionpool), "__warningregistry__", {})
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("default")
        for _ in range(3):
            assert session.get(tls_server.url, verify=False).ok
    assert len(seen) == 1
