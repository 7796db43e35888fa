"""Finds the recorded exchange that answers a request.

Owns: what "the same request" means, and the error when there is none. Must not know: how
exchanges are read, or played.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from typing import Protocol

from ... import _redact
from ..._redact import FILTERED
from ...rules import DEFAULT_PORTS
from .bodies import Bodies
from .exchange import (
    MARK,
    Asked,
    Exchange,
    coding_of,
    decompressed,
    joined,
    to_bytes,
    to_text,
)
from .file import Contents
from .filters import Filters

DEFAULT_MATCH = ("method", "url", "body")

# Characters of two bodies that an error shows around the place where they differ.
EXCERPT = 40

# Characters of two URLs that are compared for how alike they are; it takes time by the square.
COMPARED = 500

_find_filtered = re.compile(r"[?&]([^=&#]+)=\[filtered\]").findall

Matcher = Callable[[Asked, Asked], bool]


def fits(recorded: bytes, sent: bytes) -> bool:
    """Return whether they are equal, where FILTERED in what was recorded stands for anything."""
    if recorded == sent:
        return True
    # JSON has it in quotes where a number was; escaped ones in a string that is JSON.
    first, *others = re.split(rb'(?:\\*")?\[filtered\](?:\\*")?', recorded)
    if not others or not sent.startswith(first):
        return False
    position = len(first)
    for part in others[:-1]:
        position = sent.find(part, position) + len(part)
        if position < len(part):
            return False
    return len(sent) - position >= len(others[-1]) and sent.endswith(others[-1])


def _same_url(recorded: Asked, sent: Asked) -> bool:
    return fits(to_bytes("".join(_split(recorded.url))), to_bytes("".join(_split(sent.url))))


def _split(url: str) -> tuple[str, str, str, str]:
    """Return scheme, host with port, path and query, in the one spelling that they all have
    here."""
    match = re.match(r"(?:([^/?#]*)://)?([^/?#*]*)([^?#]*)(.*)", url, re.DOTALL)
    assert match is not None
    scheme = (match[1] or "").lower()
    host = match[2].lower().removesuffix(f":{DEFAULT_PORTS.get(to_bytes(scheme))}")
    return scheme, host, match[3] or "/", match[4]


def _same_query(recorded: Asked, sent: Asked) -> bool:
    pairs = [sorted(_split(each.url)[3][1:].split("&")) for each in (recorded, sent)]
    return len(pairs[0]) == len(pairs[1]) and all(
        fits(to_bytes(one), to_bytes(other)) for one, other in zip(*pairs, strict=True)
    )


def _same_body(recorded: Asked, sent: Asked) -> bool:
    # Where the answer came before the body was sent, the rest of it is unknown.
    return recorded.stopped or fits(_plain_body(recorded), _plain_body(sent))


def _plain_body(asked: Asked) -> bytes:
    """Return the body, uncompressed; a multipart one without its boundary, which is another each
    time."""
    body = asked.body
    plain = decompressed(body, coding_of(asked.headers))
    if plain is not None:
        body = plain
    kind = joined(asked.headers, b"content-type")
    match = re.match(rb'(?i)multipart/[^;]*;.*?boundary="?([^";,\s]+)', kind)
    return body if match is None else body.replace(match[1], b"boundary")


def _same_headers(recorded: Asked, sent: Asked) -> bool:
    names = {name.lower() for name, _ in [*recorded.headers, *sent.headers]}
    return all(_same_header(name)(recorded, sent) for name in names)


def _same_header(name: bytes) -> Matcher:
    def same(recorded: Asked, sent: Asked) -> bool:
        return fits(joined(recorded.headers, name), joined(sent.headers, name))

    return same


_MATCHERS: dict[str, Matcher] = {
    "method": lambda recorded, sent: recorded.method == sent.method,
    "url": _same_url,
    "scheme": lambda recorded, sent: _split(recorded.url)[0] == _split(sent.url)[0],
    "host": lambda recorded, sent: _split(recorded.url)[1] == _split(sent.url)[1],
    "path": lambda recorded, sent: fits(
        to_bytes(_split(recorded.url)[2]), to_bytes(_split(sent.url)[2])
    ),
    "query": _same_query,
    "headers": _same_headers,
    "body": _same_body,
}


def read_match(names: Iterable[str]) -> dict[str, Matcher]:
    """Return the matchers of these names, "order" left out.

    Raises TypeError or ValueError for what is no name of one.
    """
    if isinstance(names, str):
        raise TypeError(f"match must be a list of names, not {names!r}")
    found: dict[str, Matcher] = {}
    for name in names:
        if name in _MATCHERS:
            found[name] = _MATCHERS[name]
        elif isinstance(name, str) and name.startswith("header:") and len(name) > 7:
            found[name] = _same_header(name[7:].strip().lower().encode("ascii"))
        elif name != "order":
            known = ", ".join([*_MATCHERS, "header:NAME", "order"])
            raise ValueError(f"match has {name!r}; there are {known}")
    return found


class Answers(Protocol):
    """The source of a `Player`'s answers: a `Cassette`, or an object with a lock around one."""

    def find(self, asked: Asked, partial: bool = False) -> Exchange | None: ...

    def explain(self, asked: Asked) -> str: ...


class Cassette:
    """Recorded exchanges, each given once as an answer.

    Parameters:
        name: of the file, for error texts.
        contents: what was read from it.
        match: what of a request has to be the same, see `read_match`; "order" says that only the
            first exchange that was not used yet can be the answer.
        repeat: where all exchanges that match were used, the last of them is given again.

    Attributes:
        missed: what `explain` has said: a text for each request that has no answer, once each.

    Raises TypeError or ValueError for a `match` that cannot be.
    """

    def __init__(
        self,
        name: str,
        contents: Contents,
        match: Iterable[str] = DEFAULT_MATCH,
        repeat: bool = False,
    ) -> None:
        match = match if isinstance(match, str) else list(match)
        self.name = name
        self.exchanges = contents.exchanges
        self._torn = contents.torn
        self._matchers = read_match(match)
        self._ordered = "order" in match
        self._repeat = repeat
        self.missed: list[str] = []

    def find(self, asked: Asked, partial: bool = False) -> Exchange | None:
        """Return the exchange to answer with, used from now on; None where there is none.

        Parameters:
            asked: the request.
            partial: its body has not been sent yet; what is found is then used up only if its
                answer came before the body, too.
        """
        fresh = (exchange for exchange in self.exchanges if not exchange.used)
        for exchange in fresh:
            if self._matches(exchange.asked, asked, partial):
                exchange.used = exchange.asked.stopped if partial else True
                return exchange
            if self._ordered:
                break
        if self._repeat:
            for exchange in reversed(self.exchanges):
                if exchange.used and self._matches(exchange.asked, asked, partial):
                    return exchange
        return None

    def _matches(self, recorded: Asked, asked: Asked, partial: bool) -> bool:
        return all(
            same(recorded, asked)
            for name, same in self._matchers.items()
            if not (partial and name == "body")
        )

    @property
    def unused(self) -> list[Exchange]:
        """Return the exchanges that were not asked for."""
        return [exchange for exchange in self.exchanges if not exchange.used]

    def explain(self, asked: Asked) -> str:
        """Return why there is no answer for `asked`, with the nearest request that there is.

        The text is kept in `missed`: the program that asks may catch the error.
        """
        text = self._explain(asked)
        if text not in self.missed:  # else it is a retry
            self.missed.append(text)
        return text

    def _explain(self, asked: Asked) -> str:
        count, unused = len(self.exchanges), len(self.unused)
        lines = [
            f"{self.name} has no answer for {asked.method} {self._shown(asked.url)}: {unused} of "
            f"its {count} exchanges were not used yet, and none of these matches"
        ]
        if self._torn:
            lines.append(f"(its end is missing: {self._torn})")
        nearest = max(self.exchanges, key=lambda one: self._nearness(one, asked), default=None)
        if nearest is None:
            return "\n".join(lines)
        lines.append(f"the nearest, in line {nearest.line}, is {nearest.asked}")
        differing = [
            name for name, same in self._matchers.items() if not same(nearest.asked, asked)
        ]
        for name in differing:
            lines.append(f"  {name} differs:{self._difference(name, nearest.asked, asked)}")
        if not differing and nearest.used:
            lines.append(
                "  it matches, but was given as an answer already; repeat=True allows more"
            )
        elif not differing:
            lines.append("  it matches, but is not the next one, and the order is to be the same")
        return "\n".join(lines)

    def _nearness(self, exchange: Exchange, asked: Asked) -> tuple[float, bool]:
        recorded = exchange.asked
        equal = sum(same(recorded, asked) for same in self._matchers.values())
        one, other = recorded.url[:COMPARED], asked.url[:COMPARED]
        alike = difflib.SequenceMatcher(None, one, other, autojunk=False).ratio()
        return equal + 2 * alike + (recorded.method == asked.method), not exchange.used

    def _difference(self, name: str, recorded: Asked, asked: Asked) -> str:
        if name == "method":
            return f" recorded {recorded.method}, sent {asked.method}"
        if name == "body":
            return _body_difference(_plain_body(recorded), _plain_body(asked))
        if name.startswith("header"):
            names = _different_headers(name, recorded, asked)
            return f" {names} is not the same"  # without values: they may be secrets
        return f"\n    recorded {recorded.url}\n    sent     {self._shown(asked.url)}"

    def _shown(self, url: str) -> str:
        """Return `url` as an error may show it: what is filtered in the cassette is filtered
        here."""
        recorded = [exchange.asked.url for exchange in self.exchanges]
        found = [name for one in recorded for name in _find_filtered(one)]
        if any(FILTERED in _split(one)[2] for one in recorded):
            scheme, host, _, _ = _split(url)
            url = f"{scheme}://{host}/..."
        return _redact.hide_pairs(Filters(query=set(found)).url(url), _redact.SUSPECT, FILTERED)


def _body_difference(recorded: bytes, sent: bytes) -> str:
    if MARK in recorded:
        return f" recorded {len(recorded)} bytes (filtered), sent {len(sent)} bytes"
    # Neither side may show a secret, whether or not a rule was there when it was recorded.
    hidden = [_hide(data) for data in (recorded, sent)]
    if hidden[0] == hidden[1]:
        return " in a value that may be secret"
    recorded, sent = hidden
    pairs = zip(recorded, sent, strict=False)
    at = next((i for i, (one, other) in enumerate(pairs) if one != other), None)
    if at is None:
        at = min(len(recorded), len(sent))
    start = max(0, at - EXCERPT // 2)
    parts = [data[start : start + EXCERPT] for data in (recorded, sent)]
    return f" at byte {at}\n    recorded {parts[0]!r}\n    sent     {parts[1]!r}"


def _hide(body: bytes) -> bytes:
    return to_bytes(_suspect_bodies.text(to_text(body)))


_suspect_bodies = Bodies(_redact.SUSPECT, _redact.SUSPECT)


def _different_headers(name: str, recorded: Asked, asked: Asked) -> str:
    if name != "headers":
        return name.removeprefix("header:")
    keys = {key.lower() for key, _ in [*recorded.headers, *asked.headers]}
    return ", ".join(sorted(to_text(k) for k in keys if not _same_header(k)(recorded, asked)))
