"""Small rules of the adapter's modules, each asked by itself.

Owns: what no request shows, or only a rare one: bodies of mocks, values of other types than the
announced ones, caches that are full, pools that another thread closes. Must not know: servers.
"""

from __future__ import annotations

import pickle
import ssl
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import pytest
import requests
import urllib3
from requests.structures import CaseInsensitiveDict
from urllib3.exceptions import (
    InvalidHeader,
    LocationParseError,
    LocationValueError,
    MaxRetryError,
    ProtocolError,
    SSLError,
)
from urllib3.util import Retry

import httpcore
import httpcore_requests
from httpcore_requests import _errors, _proxies, _response, _retry_policy
from httpcore_requests._adapter import _MAX_FOUND, _Found
from httpcore_requests._host_pool import check_host
from httpcore_requests._request import _line, encode_target
from httpcore_requests._settings import Settings, Transports
from httpcore_requests._wire import BodyFile, Connection, OriginalResponse

POOL = urllib3.HTTPConnectionPool("example.com", 80)


# -- the body and what stands around it


class Body:
    """The body of an `httpcore.Response`, with what is needed of it."""

    buffered = 0
    closed = False
    remaining = None

    def __init__(self, data: bytes, failure: Exception | None = None) -> None:
        self.data = data
        self.failure = failure

    def read(self, amt: int | None = None) -> bytes:
        amt = len(self.data) if amt is None else amt
        data, self.data = self.data[:amt], self.data[amt:]
        if not data and self.failure is not None:
            raise self.failure
        return data

    read1 = read

    def readinto(self, buffer: memoryview) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self.closed = True


def wire(
    data: bytes = b"", failure: Exception | None = None, enforce: bool = True, **extensions: Any
) -> BodyFile:
    response: Any = SimpleNamespace(
        stream=Body(data, failure), status=200, headers=[], extensions=extensions
    )
    pool: Any = POOL
    fields: Any = []
    return BodyFile(response, None, enforce, pool, fields, "GET", "/")


def test_a_wire_is_read_by_an_iterator() -> None:
    assert list(wire(b"abc")) == [b"abc"]


def test_a_wire_that_was_read_gives_nothing_more() -> None:
    file = wire(b"abc")
    assert file.read() == b"abc"
    assert file.closed
    assert (file.read(), file.read1(), file.readinto(bytearray(1))) == (b"", b"", 0)


@pytest.mark.parametrize("method", ["read1", "readinto"])
def test_a_body_that_broke_off_is_an_end_where_its_length_is_not_enforced(method: str) -> None:
    argument = bytearray(9) if method == "readinto" else 9
    failure = httpcore.RemoteProtocolError("reset")
    short = _errors.finer.IncompleteBody("short")
    with pytest.raises(ProtocolError):
        getattr(wire(b"", short), method)(argument)
    file = wire(b"", short, enforce=False)
    assert not getattr(file, method)(argument)
    assert file.closed
    with pytest.raises(ProtocolError):
        getattr(wire(b"", failure, enforce=False), method)(argument)


@pytest.mark.parametrize("info", [{}, {"socket": None, "ssl_object": None}])
def test_a_stream_without_a_socket_has_none(info: dict[str, object]) -> None:
    file = wire(b"abc", network_stream=SimpleNamespace(get_extra_info=info.get))
    assert file.sock is None
    connection = Connection(file, POOL)  # type: ignore[arg-type]
    assert connection.is_closed and not connection.is_connected
    with pytest.raises(OSError, match="no socket any more"):
        OriginalResponse(file, True).fileno()


def test_the_original_response_reads_the_same_body() -> None:
    file = wire(b"abcdef")
    original = OriginalResponse(file, True)
    buffer = bytearray(1)
    assert (original.read(2), original.read1(2), original.readinto(buffer)) == (b"ab", b"cd", 1)
    assert buffer == b"e" and not original.isclosed()
    original.close()
    assert original.isclosed() and original.closed and file.given_up


def test_an_unasked_change_of_protocols_is_closed_by_its_reader() -> None:
    for unasked in (False, True):
        file = wire(b"", unasked=unasked)
        file.response.status = 101
        file.read()
        assert file.closed and file.body.closed == unasked


# -- responses


def test_a_jar_can_be_put_in() -> None:
    response = _response.Response.__new__(_response.Response)
    jar = requests.cookies.RequestsCookieJar()
    response.cookies = jar
    assert response.cookies is jar


def test_encodings_are_kept_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_response, "_encodings", {})
    monkeypatch.setattr(_response, "_MAX_ENCODINGS", 2)
    for number in range(3):
        assert _response._encoding(f"text/plain; charset=a{number}") == f"a{number}"
    assert list(_response._encodings) == ["text/plain; charset=a2"]
    long = "text/plain; charset=utf-8; x=" + "y" * _response._MAX_CONTENT_TYPE
    assert _response._encoding(long) == "utf-8"
    assert long not in _response._encodings


class OwnResponse(_response.Response):
    """As programs derive from the class of the responses that they get."""


def test_a_subclass_is_pickled_as_what_it_is() -> None:
    for made, kept in ((_response.Response, requests.Response), (OwnResponse, OwnResponse)):
        response = made()
        response._content = b"x"
        copy = pickle.loads(pickle.dumps(response))
        assert type(copy) is kept and copy.content == b"x"


def test_an_error_of_tls_while_the_body_is_read_is_one_of_requests() -> None:
    response = _response.Response()
    failure = SSLError("bad record")
    response.raw = SimpleNamespace(read_rest=lambda: _raise(failure))
    with pytest.raises(requests.exceptions.SSLError) as raised:
        response._read_rest()
    assert raised.value.response is not None and raised.value.response.content == b""


def test_a_body_that_is_there_is_joined_by_requests() -> None:
    response = _response.Response()
    response._content_consumed = True  # `iter_content` was read
    with pytest.raises(RuntimeError, match="already consumed"):
        _ = response.content


def test_headers_are_made_by_requests_where_its_dict_is_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_response, "_STORE_AS_KNOWN", False)
    raw: Any = SimpleNamespace(status=200, folded={"a": ("A", "b")}, reason="", sets_cookies=False)
    request = requests.Request("GET", "http://example.com/").prepare()
    response = _response.build(None, request, raw)
    assert response.headers == CaseInsensitiveDict(A="b")
    assert list(response.headers) == ["A"]


def _raise(failure: Exception) -> Any:
    raise failure


# -- requests


def test_a_target_that_is_not_ascii_is_no_url() -> None:
    assert encode_target("/p\xe4th") == b"/p%C3%A4th"
    with pytest.raises(LocationParseError):
        encode_target("http://h\udcff/path")


def test_numbers_are_header_values() -> None:
    assert _line("X-Count", 5) == (b"X-Count", b"5")
    assert _line(b"X-Count", b"5 ") == (b"X-Count", b"5")
    with pytest.raises(InvalidHeader):
        _line("X-Count", object())


@pytest.mark.parametrize("host", ["m\xfcnchen.example", "a..b", "a" * 64])
def test_a_name_that_dns_cannot_have(host: str) -> None:
    with pytest.raises(LocationParseError):
        check_host(host)


# -- proxies


def test_what_is_forwarded() -> None:
    assert _proxies.is_forwarded("http://h/", "http://proxy")
    assert not _proxies.is_forwarded("https://h/", "http://proxy")
    for url, proxy in ((b"http://h/", "http://proxy"), ("http://h/", b"http://proxy")):
        assert not _proxies.is_forwarded(url, proxy)  # type: ignore[arg-type]


def test_a_port_that_is_none_exempts_nothing() -> None:
    rules = {"no_proxy": "h"}
    assert _proxies.is_exempt("http://h/", rules)
    assert not _proxies.is_exempt("http://h:99999/", rules)


def test_credentials_that_requests_cannot_send_are_nobodys() -> None:
    headers = {"Proxy-Authorization": "Basic YTpi"}
    proxies = {"http": "http://proxy", "https": "http://[", "all": "http://\u20ac:b@other"}
    _proxies.withhold(headers, "http://proxy", proxies)
    assert headers
    _proxies.withhold(headers, "http://proxy", {**proxies, "ftp": "http://a:b@other"})
    assert not headers


def test_a_forwarded_url_has_a_host() -> None:
    with pytest.raises(LocationValueError):
        _proxies.split_absolute(b"http://:80/")


def test_proxies_are_found_anew_when_too_many_are_known() -> None:
    with closing(httpcore_requests.HTTPAdapter()) as adapter:
        adapter._found_through = {
            str(number): _Found(adapter.poolmanager) for number in range(_MAX_FOUND)
        }
        adapter.proxy_manager_for("http://proxy")
        pool: Any = object()
        adapter._remember("key", pool, "http://proxy")
        assert list(adapter._found_through) == ["http://proxy"]
        adapter._forget_proxy("http://proxy")
        adapter._forget_proxy("http://proxy")  # by another thread, before
        assert not adapter._found_through and not adapter.proxy_manager


def test_what_a_key_cannot_be_made_of_is_no_url(monkeypatch: pytest.MonkeyPatch) -> None:
    failure = ValueError("no port")
    with closing(httpcore_requests.HTTPAdapter()) as adapter:
        monkeypatch.setattr(
            adapter, "build_connection_pool_key_attributes", lambda *_: _raise(failure)
        )
        request = requests.Request("GET", "http://h/").prepare()
        with pytest.raises(requests.exceptions.InvalidURL) as raised:
            adapter._key_attributes(request, True, None)
    assert raised.value.request is request


# -- settings and pools


def test_settings_are_not_changed() -> None:
    settings = Settings()
    with pytest.raises(AttributeError, match="the settings of an adapter are not changed"):
        settings.trace = print


def test_a_pool_that_another_thread_takes_is_closed_by_that() -> None:
    class Open(dict[Any, Any]):
        def pop(self, key: Any, default: Any = None) -> Any:
            super().pop(key, None)
            return default

    transports = Transports(Settings(), 10)
    retired: list[object] = []
    pool = SimpleNamespace(retire=lambda: retired.append(1))
    transports.open = Open(key=pool)
    transports.close()
    assert not transports.open and not retired
    transports.open = {"key": pool}  # type: ignore[dict-item]
    transports.close()
    assert retired == [1]


# -- errors and retries


def test_words_about_a_proxy() -> None:
    pool: Any = SimpleNamespace(proxy=object())
    failure = httpcore.ProxyError("it failed")
    plain = _errors._proxy_words(failure, None, pool)
    assert plain == _errors._PROXY
    failure.__cause__ = httpcore.ReadError("reset")
    assert _errors._proxy_words(failure, None, pool)[-1] == "ReadError"
    failure.__cause__.__cause__ = ConnectionResetError()
    assert _errors._proxy_words(failure, None, pool)[-1] == "ConnectionResetError"
    refusal = httpcore.ProxyError("CONNECT h:443 was refused: 407 Who")
    words = _errors._proxy_words(refusal, 407, pool)
    assert words[-1] == "Tunnel connection failed: 407 Who"


def test_a_scheme_that_is_not_known_is_no_location() -> None:
    failure = httpcore.UnsupportedProtocol("use http:// or https://")
    translate: Any = _errors._translator_for(failure)
    error = translate(failure, "use http:// or https://", "not_sent", None)
    assert type(error) is LocationValueError and str(error) == "use http:// or https://"


def test_a_body_that_tls_broke_off() -> None:
    failure = httpcore.ReadError("bad record")
    failure.__cause__ = ssl.SSLError(1, "[SSL] bad record")
    error = _errors.from_body(failure, None, "GET /")
    assert isinstance(error, SSLError) and "GET /" in str(error)


class Unforgiving(Retry):
    """As programs derive from it: it raises what it was asked about."""

    def increment(self, *args: Any, **kwargs: Any) -> Any:
        raise ProtocolError("enough")


def test_a_policy_that_raises_an_error_of_its_own() -> None:
    raw: Any = SimpleNamespace(status=503, folded={}, headers={})
    retries: Any = Unforgiving(status=1, status_forcelist=[503])
    with pytest.raises(ProtocolError, match="enough"):
        _retry_policy.after_status(raw, POOL, retries, "GET", "/", None, None)  # type: ignore[arg-type]
    with pytest.raises(ProtocolError, match="enough"):
        _retry_policy.after_redirect(raw, POOL, retries, "GET", "/", "/x", None, None)  # type: ignore[arg-type]


def test_what_is_reported_has_a_phase_if_it_can() -> None:
    without = ValueError("no phase")
    pool: Any = POOL
    assert _retry_policy._reported(without, pool, "GET", "/", Retry(1)) is without
    assert not hasattr(without, "phase")
    failure = httpcore.ReadError("reset")
    assert _retry_policy._reported(failure, pool, "GET", "/", Retry(1), "not_sent") is failure
    assert failure.phase == "not_sent"
    retried = _retry_policy._reported(MaxRetryError(POOL, "/", None), pool, "GET", "/", Retry(1))
    assert isinstance(retried, MaxRetryError)
