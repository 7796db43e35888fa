"""Bodies and queries that are put together from several options.

Owns: the parts of a form, ``--data-urlencode``, and HTTPie's items. Must not know: click, where a
body goes. The heads of the parts are urllib3's, which is loaded when a form is sent.

Sources: curl(1) for ``-F`` and ``--data-urlencode``, HTTPie's manual for the items, RFC 7578.
"""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO
from urllib.parse import quote

from .options import JSON, Body, read_data, to_bytes, usage

# An item is a name, one of these, and a value; the first that occurs counts, the longest of those
# at one place.
_ITEM = re.compile(r"(?P<name>[^:=@]+)(?P<how>:=@|=@|:=|==|=|:(?!//)|;$)(?P<value>.*)", re.DOTALL)


@dataclass
class Items:
    """What the arguments after the URL ask for.

    Attributes:
        urls: further URLs.
        headers: lines as for ``-H``.
        query: what is added to the URL's query, percent-encoded.
        members: of the JSON object to send, the values as JSON.
    """

    urls: list[str] = field(default_factory=list)
    headers: list[str] = field(default_factory=list)
    query: list[str] = field(default_factory=list)
    members: dict[str, str] = field(default_factory=dict)


def read_items(arguments: Sequence[str]) -> Items:
    """Read the arguments; the first is a URL, and of the others those that are no items."""
    found = Items(urls=list(arguments[:1]))
    for text in arguments[1:]:
        match = _ITEM.fullmatch(text)
        if match is None or _is_host(match["name"], match["how"]):
            found.urls.append(text)
            continue
        name, how, value = match["name"], match["how"], match["value"]
        if how in (":", ";"):
            found.headers.append(text)
        elif how == "==":
            found.query.append("=".join(quote(to_bytes(part), "") for part in (name, value)))
        else:
            found.members[name] = _member(name, how, value)
    return found


def _is_host(name: str, how: str) -> bool:
    """Return whether what looks like an item is a URL without a scheme."""
    if any(mark in name for mark in "/?["):
        return True
    return how == ":" and ("." in name or name == "localhost")


def _member(name: str, how: str, value: str) -> str:
    if how.endswith("@"):
        value = read_data(f"@{value}").decode("utf-8", "replace")
    if not how.startswith(":"):
        return json.dumps(value)
    try:
        return json.dumps(json.loads(value))
    except (ValueError, RecursionError) as exc:
        raise usage(f"{name}:= takes JSON, and its value is none: {exc}") from exc


def json_body(members: dict[str, str]) -> Body:
    """Return the body that HTTPie's items make."""
    shown = ", ".join(f"{json.dumps(name)}: {value}" for name, value in members.items())
    return Body(f"{{{shown}}}".encode("ascii"), content_type=JSON)


def url_encoded(text: str) -> bytes:
    """Read a value of ``--data-urlencode``: ``content``, ``=content``, ``name=content``, ``@file``
    or ``name@file``; what is the content is percent-encoded."""
    match = re.match(r"[^=@]*[=@]", text)
    if match is None:
        return quote(to_bytes(text), "").encode("ascii")
    name, mark = match[0][:-1], match[0][-1]
    content = text[match.end() :]
    data = read_data(f"@{content}") if mark == "@" else to_bytes(content)
    return to_bytes(f"{name}=" if name else "") + quote(data, "").encode("ascii")


def multipart(texts: Sequence[str]) -> Body:
    """Return the form that the values of ``-F`` make. Files are read when it is sent."""
    parts = [_part(number, text) for number, text in enumerate(texts, 1)]
    try:
        from urllib3.fields import RequestField
        from urllib3.filepost import choose_boundary
    except ModuleNotFoundError as exc:
        raise usage(f"-F needs the package {exc.name!r}: pip install 'httpcore[cli]'") from exc
    boundary = choose_boundary()
    found: list[bytes | str] = []
    for name, filename, kind, content in parts:
        head = RequestField(name, b"", filename)
        head.make_multipart(content_type=kind)
        found += [f"--{boundary}\r\n{head.render_headers()}".encode(), content, b"\r\n"]
    found.append(f"--{boundary}--\r\n".encode())
    content_type = f"multipart/form-data; boundary={boundary}".encode()
    data = [each for each in found if isinstance(each, bytes)]
    if len(data) == len(found):
        return Body(b"".join(data), content_type=content_type)
    return Body(parts=found, content_type=content_type)


def _part(number: int, text: str) -> tuple[str, str | None, str | None, bytes | str]:
    """Read ``name=value``, ``name=@file`` or ``name=<file``, the latter two with ``;type=`` and
    ``;filename=``; the last of what is returned is the content, or the path of a file with it."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        # Not shown: the value of a field may be a secret.
        raise usage(
            f"-F number {number} is neither NAME=VALUE nor NAME=@FILE; -T FILE sends a file"
        )
    if not value.startswith(("@", "<")):
        return name, None, None, to_bytes(value)
    path, *settings = value[1:].split(";")
    told = dict(setting.strip().partition("=")[::2] for setting in settings)
    if not told.keys() <= {"type", "filename"}:
        raise usage(f"-F {name}=@...: after the file, only ;type= and ;filename= can stand")
    # What is no file on a disk can be read only once, and its length is not known before.
    content = path if os.path.isfile(path) else read_data(f"@{path}")
    if value.startswith("<"):
        return name, told.get("filename"), told.get("type"), content
    filename = told.get("filename", os.path.basename(path))
    import mimetypes  # takes as long to load as click

    guessed = mimetypes.guess_type(filename)[0] or "application/octet-stream"
    return name, filename, told.get("type", guessed), content


class Joined(io.RawIOBase):
    """Several files, read as one."""

    def __init__(self, files: Sequence[BinaryIO]) -> None:
        self._files = [(file, file.seek(0, os.SEEK_END)) for file in files]
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        size = sum(size for _, size in self._files)
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        start = 0
        for file, size in self._files:
            if self._at < start + size:
                file.seek(self._at - start)
                data = file.read(min(len(buffer), start + size - self._at))
                buffer[: len(data)] = data
                self._at += len(data)
                return len(data)
            start += size
        return 0
