"""The response that sessions hand out: requests' own, with a faster `.content`.

Owns: reading a whole body at once, and leaving out work that was not asked for. Must not know:
connections, pools.

`requests.Response.content` joins pieces of 10 kB, which holds the body twice; here it is one
allocation. Cookies are taken from the head when `.cookies` is first looked at (the session's
own jar is filled by the session, as ever). It pickles and copies as a plain
`requests.Response`.
"""

from __future__ import annotations

import datetime
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import requests
import requests.models
import urllib3.exceptions
from requests.cookies import RequestsCookieJar, extract_cookies_to_jar
from requests.exceptions import (
    ChunkedEncodingError,
    ConnectionError,
    ContentDecodingError,
    SSLError,
)
from requests.structures import CaseInsensitiveDict
from requests.utils import get_encoding_from_headers

from ._errors import name_request, undecodable
from ._raw import RawResponse
from ._request import Spent, is_gone, is_replayable, was_taken
from ._unix import note_redirect

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpcore

_NO_TIME = datetime.timedelta(0)

# Redirects that ask for the method and the body once more (RFC 9110 sections 15.4.8 and 15.4.9).
_BODY_AGAIN = (307, 308)

# Handlers of authentication answer these with the same request (RFC 9110 sections 15.5.2 and
# 15.5.8): with what is left of an iterator, if they could.
_CHALLENGES = (401, 407)

# Content-Type to encoding. A crawler meets many values, so it is emptied at this many; a value
# longer than any sensible one is not kept.
_MAX_ENCODINGS = 256
_MAX_CONTENT_TYPE = 256
_encodings: dict[str, str | None] = {}

# requests' dict keeps {lower-case name: (name, value)} in `_store`; filling that directly saves
# three calls per header. Should it ever change, the public constructor does it.
_STORE_AS_KNOWN = vars(CaseInsensitiveDict({"A": "b"})) == {"_store": OrderedDict(a=("A", "b"))}


if TYPE_CHECKING:
    _Base = requests.Response
else:
    _Base = requests.models.Response

# requests' stubs leave out what is not public, and half of this is about that.
_Stock: Any = requests.Response
_models: Any = requests.models


class Response(_Base):
    """A `requests.Response` whose body is read in one go, and that says how it was made:
    ``timings`` and ``connection_info``.

    Code that may also meet plain responses (unpickled ones, those of mocks and of other adapters)
    asks with ``getattr(response, "timings", None)``.
    """

    _content: Any
    _content_consumed: bool
    _jar: RequestsCookieJar | None = None
    _cookie_source: Any = None
    _content_error: Exception | None = None

    @property
    def cookies(self) -> RequestsCookieJar:
        """The cookies that this response set."""
        jar = self._jar
        if jar is None:
            jar = RequestsCookieJar()
            if self._cookie_source is not None:
                extract_cookies_to_jar(jar, *self._cookie_source)  # type: ignore[no-untyped-call]
                self._cookie_source = None
            self._jar = jar
        return jar

    @cookies.setter
    def cookies(self, jar: RequestsCookieJar) -> None:
        self._jar = jar

    @property
    def timings(self) -> httpcore.Timings | Any:
        """Return how long each phase took, in seconds: ``queue``, ``dns``, ``connect``, ``tls``,
        ``send``, ``first_byte``, ``last_byte``, ``total``; None for what there was not. Each
        response of a redirect or a retry has its own. None where `raw` is not httpcore's."""
        return self._extension("timings")

    @property
    def connection_info(self) -> httpcore.ConnectionInfo | Any:
        """Return what it came over: ``protocol``, ``local_address``, ``remote_address``, ``alpn``,
        ``tls_version``, ``cipher``, ``certificate`` (DER). It stays as it is when the connection is
        closed. None where `raw` is not httpcore's. (``raw.reused`` says whether it was open.)
        """
        return self._extension("connection")

    def _extension(self, name: str) -> Any:
        return self.raw.extensions.get(name) if type(self.raw) is RawResponse else None

    @property
    def content(self) -> bytes:
        """The whole body; read on first use, kept afterwards.

        Raises requests' exceptions, and raises them again on every later use: a body that
        broke off is never mistaken for an empty one.
        """
        content: Any = self._content
        if content is not False:
            self._content_consumed = True
            return content  # type: ignore[no-any-return]
        if not self._content_consumed:
            if self._content_error is not None:
                raise self._content_error
            try:
                if self._reads_at_once():
                    data = self._read_rest()
                    self._content = data
                    self._content_consumed = True
                    return data
                else:
                    return self._join_pieces()
            except (requests.RequestException, OSError) as exc:
                self._content_error = exc
                raise
        return self._join_pieces()

    @property
    def is_redirect(self) -> bool:
        """Whether the response is a redirect that could be followed, as in requests."""
        return self.status_code in _models.REDIRECT_STATI and "location" in self.headers

    def _join_pieces(self) -> bytes:
        content: bytes = super().content
        return content

    def _reads_at_once(self) -> bool:
        return (
            type(self.raw) is RawResponse
            and bool(self.status_code)
            and type(self).iter_content is Response.iter_content
            and "iter_content" not in self.__dict__
        )

    def _read_rest(self) -> bytes:
        # The translation of requests.Response.iter_content.
        try:
            raw: Any = self.raw
            data: bytes = raw.read_rest()
            return data
        except urllib3.exceptions.ProtocolError as exc:
            raise self._explain(ChunkedEncodingError(exc)) from exc
        except urllib3.exceptions.DecodeError as exc:
            # The rest is of no use, and the caller of `session.get` has nothing to close.
            self.raw.close()
            error = self._explain(ContentDecodingError(exc))
            raise error from error.args[0]
        except urllib3.exceptions.ReadTimeoutError as exc:
            raise self._explain(ConnectionError(exc)) from exc
        except urllib3.exceptions.SSLError as exc:
            raise self._explain(SSLError(exc)) from exc

    def iter_content(self, chunk_size: int | None = 1, decode_unicode: bool = False) -> Any:
        """Give the body in pieces, as `requests.Response.iter_content` gives it.

        Raises requests' exceptions, with ``request`` and ``response`` (its head; no body). Where
        the body broke off that is `ChunkedEncodingError`, and its ``partial`` is the number of
        bytes that did arrive.
        """
        pieces = super().iter_content(chunk_size, decode_unicode)
        return pieces if self._content_consumed else self._explaining(pieces)

    def _explaining(self, pieces: Iterator[bytes | str]) -> Iterator[bytes | str]:
        try:
            yield from pieces
        except requests.RequestException as exc:
            if isinstance(exc, ContentDecodingError):
                self.raw.close()  # as in `_read_rest`
            self._content_error = self._explain(exc)
            raise exc from exc.args[0]

    def _explain(self, error: Any) -> Any:
        """Add what requests leaves out of `error` when it comes while a body is read."""
        if isinstance(error, ChunkedEncodingError):
            error.partial = getattr(error.args[0], "partial", None)  # type: ignore[attr-defined]
        if type(error.args[0]) is urllib3.exceptions.DecodeError:
            asked = name_request(self.request.method or "", self.request.path_url)
            error.args = (undecodable(error.args[0], asked),)
        error.request = self.request
        # Not `self`: handlers that log `error.response.text` would run into the same error.
        state = {name: getattr(self, name) for name in _Stock.__attrs__}
        error.response = _Stock()
        error.response.__setstate__({**state, "_content": b""})
        return error

    def __reduce__(self) -> Any:
        if type(self) is not Response:
            return super().__reduce__()
        stock: Any = super()
        return (requests.Response, (), stock.__getstate__())


def build(adapter: object, request: requests.PreparedRequest, raw: RawResponse) -> Response:
    """Do what `requests.adapters.HTTPAdapter.build_response` does, for a response of ours."""
    # Without requests.Response.__init__, which makes a jar and a dict that are replaced at once.
    response: Any = Response.__new__(Response)
    response._content = False
    response._content_consumed = False
    response._next = None
    response.history = []
    response.elapsed = _NO_TIME
    response.status_code = raw.status
    folded = raw.folded
    if _STORE_AS_KNOWN:
        headers: CaseInsensitiveDict[str] = CaseInsensitiveDict.__new__(CaseInsensitiveDict)
        headers._store = folded  # type: ignore[attr-defined]
    else:
        headers = CaseInsensitiveDict(folded.values())
    response.headers = headers
    response.encoding = _encoding(folded["content-type"][1]) if "content-type" in folded else None
    response.raw = raw
    response.reason = raw.reason or ""
    url = request.url
    response.url = url.decode("utf-8") if isinstance(url, bytes) else url
    if raw.sets_cookies:
        response._cookie_source = (request, raw)
    response.request = request
    response.connection = adapter
    if "location" in folded:
        note_redirect(request, folded["location"][1])
        if raw.status in _BODY_AGAIN and request.body is not None:
            _forbid_repeating(request, raw)
    if raw.status in _CHALLENGES and is_gone(request.body, raw.wire.sent):
        request.body = Spent("answer the challenge")  # type: ignore[assignment]
    return response  # type: ignore[no-any-return]


def _forbid_repeating(request: Any, raw: RawResponse) -> None:
    """Put a body that is gone out of the way, so that no redirect is followed with an empty one.

    requests would send what is left of an iterator (RFC 9110 section 15.4.8: the same body). It
    prepares the next request where it may not follow the redirect, too, for `Response.next`: so
    what is wrong is said when that is sent, and the response is not lost.
    """
    if not is_replayable(request.body, request._body_position) and was_taken(raw.wire.sent):
        request.body, request._body_position = Spent("follow the redirect"), None


def _encoding(content_type: str) -> str | None:
    try:
        return _encodings[content_type]
    except KeyError:
        pass
    found: str | None = get_encoding_from_headers({"content-type": content_type})
    if len(content_type) <= _MAX_CONTENT_TYPE:
        if len(_encodings) >= _MAX_ENCODINGS:
            _encodings.clear()
        _encodings[content_type] = found
    return found
