"""The tree of errors: its shape, what each says about the request, and that it travels.

Owns: `httpcore._exceptions`. Must not know: who raises what; the tests of the rooms say that.
"""

from __future__ import annotations

import pickle

import pytest

import httpcore
import httpcore.exceptions
from httpcore import _exceptions as ex

# Class, its bases, and its usual phase: the drawing on top of the module, as data.
TREE: list[tuple[type[Exception], tuple[type, ...], str]] = [
    (ex.ConnectionNotAvailable, (Exception,), "not_sent"),
    (ex.ProxyError, (Exception,), "not_sent"),
    (ex.UnsupportedProtocol, (Exception,), "not_sent"),
    (ex.ProtocolError, (Exception,), "maybe_processed"),
    (ex.RemoteProtocolError, (ex.ProtocolError,), "maybe_processed"),
    (ex.LocalProtocolError, (ex.ProtocolError,), "not_sent"),
    (ex.InvalidTimeout, (ex.LocalProtocolError, ValueError), "not_sent"),
    (ex.ServerDisconnected, (ex.RemoteProtocolError,), "maybe_processed"),
    (ex.IllegalStatusLine, (ex.RemoteProtocolError,), "response_started"),
    (ex.ConflictingLengths, (ex.RemoteProtocolError,), "response_started"),
    (ex.IncompleteBody, (ex.RemoteProtocolError,), "response_started"),
    (ex.TimeoutException, (Exception,), "maybe_processed"),
    (ex.PoolTimeout, (ex.TimeoutException,), "not_sent"),
    (ex.ConnectTimeout, (ex.TimeoutException,), "not_sent"),
    (ex.ProxyConnectTimeout, (ex.ConnectTimeout, ex.ProxyError), "not_sent"),
    (ex.ReadTimeout, (ex.TimeoutException,), "maybe_processed"),
    (ex.WriteTimeout, (ex.TimeoutException,), "maybe_processed"),
    (ex.NetworkError, (Exception,), "maybe_processed"),
    (ex.ConnectError, (ex.NetworkError,), "not_sent"),
    (ex.NameResolutionError, (ex.ConnectError,), "not_sent"),
    (ex.ProxyConnectError, (ex.ConnectError, ex.ProxyError), "not_sent"),
    (ex.TLSError, (ex.ConnectError,), "not_sent"),
    (ex.ReadError, (ex.NetworkError,), "maybe_processed"),
    (ex.WriteError, (ex.NetworkError,), "maybe_processed"),
    (ex.Aborted, (ex.ReadError, ex.WriteError), "maybe_processed"),
]

# Of these, the ones that HTTPX has a namesake for, plus what never leaves a pool.
PRIVATE = {
    "Aborted",
    "InvalidTimeout",
    "ServerDisconnected",
    "ConflictingLengths",
    "IllegalStatusLine",
    "IncompleteBody",
    "NameResolutionError",
    "ProxyConnectError",
    "ProxyConnectTimeout",
    "TLSError",
}


@pytest.mark.parametrize(("kind", "bases", "phase"), TREE)
def test_bases_and_usual_phase(kind: type[Exception], bases: tuple[type, ...], phase: str) -> None:
    assert kind.__bases__ == bases
    assert kind("why").phase == phase  # type: ignore[attr-defined]
    assert kind.__doc__


def test_the_tree_is_complete() -> None:
    defined = {
        value
        for value in vars(ex).values()
        if isinstance(value, type) and issubclass(value, Exception)
    }
    assert defined == {kind for kind, _, _ in TREE}


def test_phases_are_three_words() -> None:
    assert {ex.NOT_SENT, ex.MAYBE_PROCESSED, ex.RESPONSE_STARTED} == {phase for _, _, phase in TREE}


@pytest.mark.parametrize("kind", [kind for kind, _, _ in TREE])
def test_public_ones_are_public_and_the_finer_ones_are_not(kind: type[Exception]) -> None:
    name = kind.__name__
    if name in PRIVATE:
        assert name not in vars(httpcore)
        assert kind.__module__ == "httpcore.exceptions"
    else:
        assert getattr(httpcore, name) is kind
        assert name in httpcore.__all__
        assert kind.__module__ == "httpcore"
    assert getattr(httpcore.exceptions, name) is kind
    assert name in httpcore.exceptions.__all__


@pytest.mark.parametrize("kind", [kind for kind, _, _ in TREE])
def test_pickling_keeps_text_and_phase(kind: type[Exception]) -> None:
    error = kind("what happened")
    error.phase = "response_started"  # type: ignore[attr-defined]
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert str(copy) == "what happened"
    assert copy.phase == "response_started"


def test_setting_the_phase_of_one_leaves_the_class_alone() -> None:
    error = ex.ReadTimeout("late")
    error.phase = ex.RESPONSE_STARTED
    assert ex.ReadTimeout("another").phase == ex.MAYBE_PROCESSED


def test_incomplete_body_counts() -> None:
    error = ex.IncompleteBody("cut", 5, 10)
    assert (str(error), error.received, error.expected) == ("cut", 5, 10)
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.received, copy.expected) == ("cut", 5, 10)
    bare = ex.IncompleteBody()
    assert (str(bare), bare.received, bare.expected) == ("", 0, None)


def test_an_invalid_timeout_is_caught_as_value_error() -> None:
    with pytest.raises(ValueError, match="below zero"):
        raise ex.InvalidTimeout("below zero")


def test_a_kept_failure_is_raised_as_a_copy() -> None:
    """All of it but the frames, which stay with what was raised."""
    cause = ConnectionResetError("reset")
    kept = ex.explained(ex.ServerDisconnected("Server disconnected"), "before any byte")
    kept.phase, kept.__cause__ = "maybe_processed", cause
    for _ in range(2):
        with pytest.raises(ex.ServerDisconnected) as caught:
            raise ex.raised_anew(kept)
        assert (caught.value.args, caught.value.phase) == (kept.args, "maybe_processed")
        assert ex.explain(caught.value) == ex.explain(kept)
        assert caught.value.__cause__ is cause and caught.value is not kept
        assert kept.__traceback__ is cause.__traceback__ is None
    with pytest.raises(ex.IncompleteBody) as ended:
        raise ex.raised_anew(ex.IncompleteBody("ended", 5, 10))
    assert (str(ended.value), ended.value.received, ended.value.expected) == ("ended", 5, 10)
    assert not ended.value.__suppress_context__


class LineGone(ex.ReadError):
    """An error of a stream of another make, which is made by its own rules."""

    def __init__(self, device: str, code: int) -> None:
        super().__init__(f"{device} failed with {code}")
        self.device = device


def test_an_error_of_another_make_is_raised_as_a_copy() -> None:
    kept = LineGone("ttyS0", 5)
    copy = ex.raised_anew(kept)
    assert (type(copy), str(copy), copy.device) == (LineGone, "ttyS0 failed with 5", "ttyS0")
    renamed = ex.with_text(ex.explained(kept, "the line is dead"), "the text")
    assert (type(renamed), ex.explain(renamed), renamed.device) == (LineGone, "the text", "ttyS0")
    assert not hasattr(renamed, "__notes__")


def test_a_note_about_one_request_is_not_in_the_error_of_another() -> None:
    kept = ex.explained(ex.ReadError("reset"), "the line is dead")
    notes = list(getattr(kept, "__notes__", []))
    first = ex.raised_anew(kept)
    if hasattr(first, "add_note"):  # from Python 3.11 on
        first.add_note("while I read my letters")
    assert getattr(ex.raised_anew(kept), "__notes__", []) == notes
    assert getattr(kept, "__notes__", []) == notes


class OfTheSystem(ex.ReadError, OSError):
    def __init__(self, text: str, code: int) -> None:
        super().__init__(code, text)


class ByName(ex.ReadError):
    def __new__(cls, *, line: str) -> ByName:
        return super().__new__(cls, line)

    def __init__(self, *, line: str) -> None:
        super().__init__(f"lost {line}")


class WithSlots(ex.ReadError):
    __slots__ = ("code",)

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code

    def __str__(self) -> str:
        return f"{self.args[0]} ({self.code})"


@pytest.mark.parametrize(
    ("kept", "kind"),
    [
        (OfTheSystem("gone", 104), OfTheSystem),
        (ByName(line="ttyS0"), ex.ReadError),
        (WithSlots("gone", 7), WithSlots),
    ],
)
def test_errors_that_are_hard_to_copy(kept: ex.ReadError, kind: type) -> None:
    copy = ex.raised_anew(kept)
    assert (type(copy), str(copy)) == (kind, str(kept))
    assert getattr(copy, "errno", None) == getattr(kept, "errno", None)
