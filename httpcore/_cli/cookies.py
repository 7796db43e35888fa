"""Cookies: those of ``-b``, and the file of ``-c``.

Owns: the jar, which is `http.cookiejar`'s, decides which cookie goes where, and is kept in
Mozilla's file, as curl's. Must not know: options, connections.
"""

from __future__ import annotations

import os
from email.message import Message
from http.cookiejar import LoadError, MozillaCookieJar
from types import SimpleNamespace
from typing import Any
from urllib.request import Request

import httpcore

from .exits import Exit, Problem, unreadable, unwritable
from .text import of_bytes

# Only the user may read cookies.
_PRIVATE = 0o600


class Cookies:
    """The cookies of one run, over all its URLs; from the file `source` to the file `target`, if
    there is one."""

    def __init__(self, source: str | None, target: str | None) -> None:
        self._jar, self._target = MozillaCookieJar(), target
        if source is None or (source == target and not os.path.exists(source)):
            return
        try:
            self._jar.load(source, ignore_discard=True)
        except LoadError as exc:
            raise Problem(Exit.READ, f"{source} is no file of cookies (Netscape format)") from exc
        except (OSError, ValueError) as exc:
            raise unreadable(source, exc) from exc

    def field(self, url: httpcore.URL) -> bytes:
        """Return the value of Cookie for a request to `url`; empty for none."""
        request = Request(str(url))  # noqa: S310 - opens nothing: the jar reads the URL
        self._jar.add_cookie_header(request)
        return request.get_header("Cookie", "").encode("utf-8")

    def take(self, url: httpcore.URL, response: httpcore.Response) -> None:
        """Keep what a response to a request for `url` sets."""
        fields = Message()
        for name, value in response.headers:
            if name.lower().startswith(b"set-cookie"):
                fields[name.decode("latin-1")] = of_bytes(value)
        shown: Any = SimpleNamespace(info=lambda: fields)  # all that the jar asks for
        self._jar.extract_cookies(shown, Request(str(url)))  # noqa: S310 - as above

    def save(self) -> None:
        """Write the file, if one was asked for."""
        if self._target is None:
            return
        try:
            os.close(os.open(self._target, os.O_WRONLY | os.O_CREAT, _PRIVATE))
            self._jar.save(self._target, ignore_discard=True)
        except (OSError, ValueError) as exc:
            raise unwritable(self._target, exc) from exc
