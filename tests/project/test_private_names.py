"""No object reaches into another one's private attributes from another module.

Owns: the rule and the exceptions from it, each with its reason. ``x._y`` is a private touch where
``x`` is neither ``self`` nor ``cls`` and the module defines no ``_y`` itself. What Python documents
under such a name (a NamedTuple's ``_replace``, ``sys._getframe``) is public, underscore or not.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import httpcore
import httpcore_gateway
import httpcore_requests

CORE = Path(httpcore.__file__).parent
ADAPTER = Path(httpcore_requests.__file__ or "").parent
GATEWAY = Path(httpcore_gateway.__file__ or "").parent

DOCUMENTED = {"_replace", "_fields", "_asdict", "_make", "_field_defaults", "_getframe"}
DOCUMENTED.add("_current_frames")
DOCUMENTED.add("_get_running_loop")  # asyncio has it in its `__all__`

# The exceptions, by module and attribute: how often, and why.
ALLOWED_IN_CORE = {
    ("_backends/asyncio_loop.py", "_asyncio_future_blocking"): (
        1,
        "how a Future tells its Task that it is waited for, the same in all its makes",
    ),
    ("decoders.py", "_decoders"): (4, "each coding has its own end, and may be gzip"),
    ("_shared/deferred.py", "_is_owned"): (1, "`OwnedLock` gives it a public name, for all others"),
}

_STORE = "filling requests' dict of headers by its methods costs three calls for each field"
_RETRY = "urllib3's urlopen asks the policy the same, and subclasses override it"
_JAR = "making a jar by its constructor, and asking it cookie by cookie, takes as long as the rest"
_PREPARED = "its constructor makes what is replaced at once"
ALLOWED_IN_ADAPTER = {
    ("_host_pool.py", "_validate_conn"): (1, "its line number, which is where warnings come from"),
    ("_request.py", "_connect"): (1, "the property subtracts the time since start_connect()"),
    ("_request.py", "_read"): (1, "the property subtracts the time since start_connect()"),
    ("_request.py", "_store"): (1, _STORE),
    ("_response.py", "_store"): (1, _STORE),
    ("_response.py", "_next"): (1, "requests sets it on each response in place of __init__"),
    ("_response.py", "_body_position"): (2, "requests keeps there where a body began"),
    ("_retry_policy.py", "_is_connection_error"): (1, _RETRY),
    ("_retry_policy.py", "_is_method_retryable"): (1, _RETRY),
    ("_retry_policy.py", "_is_read_error"): (1, _RETRY),
    ("_session.py", "_next"): (1, "requests sets it where a redirect is not followed"),
    ("_session_cookies.py", "_cookies"): (5, _JAR),
    ("_session_cookies.py", "_cookies_lock"): (1, _JAR),
    ("_session_cookies.py", "_policy"): (1, _JAR),
    ("_session_environment.py", "_data"): (1, "the variables as bytes, compared at once"),
    ("_session_environment.py", "_Environ"): (1, "the type of `os.environ`, to see that it is"),
    ("_session_prepare.py", "_body_position"): (1, _PREPARED),
    ("_session_prepare.py", "_cookies"): (2, _PREPARED),
    ("_session_prepare.py", "_encode_params"): (1, "requests' own encoding of parameters"),
    ("_session_prepare.py", "_store"): (5, _STORE),
    ("_wire.py", "_headers"): (1, "adding fields to a Message one by one is four calls for each"),
}


def own_names(tree: ast.AST) -> Iterator[str]:
    """What a module defines: functions, classes, attributes of its own objects, slots."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Attribute):
            if isinstance(node.ctx, ast.Store) and is_own(node):
                yield node.attr
        elif isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Store):
                yield node.id
        elif isinstance(node, ast.Assign) and "__slots__" in ast.unparse(node.targets[0]):
            yield from (
                part.value
                for part in ast.walk(node.value)
                if isinstance(part, ast.Constant) and isinstance(part.value, str)
            )


def is_own(node: ast.Attribute) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")


def touches(text: str) -> list[str]:
    """The private attributes of others that a module touches, one for each place."""
    tree = ast.parse(text)
    known = {*own_names(tree), *DOCUMENTED}
    return [
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
        and node.attr not in known
        and not is_own(node)
    ]


def counted(root: Path) -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = {}
    for path in sorted(root.rglob("*.py")):
        for name in touches(path.read_text()):
            key = (path.relative_to(root).as_posix(), name)
            found[key] = found.get(key, 0) + 1
    return found


@pytest.mark.parametrize(
    ("root", "allowed"), [(CORE, ALLOWED_IN_CORE), (ADAPTER, ALLOWED_IN_ADAPTER), (GATEWAY, {})]
)
def test_private_attributes_are_left_to_their_objects(
    root: Path, allowed: dict[tuple[str, str], tuple[int, str]]
) -> None:
    most = {key: count for key, (count, _) in allowed.items()}
    too_many = {key: n for key, n in counted(root).items() if n > most.get(key, 0)}
    assert too_many == {}, "give the attribute a public name, or a method that does what is wanted"


def test_the_exceptions_of_the_core_are_few() -> None:
    assert sum(count for count, _ in ALLOWED_IN_CORE.values()) <= 12


def test_what_counts() -> None:
    text = """
class Own:
    __slots__ = ("_a",)
    _b: int
    def _c(self):
        self._d = self._theirs
def look(other, point):
    other._a, other._b, other._c(), other._d, other.__dict__, point._replace(x=1)
    return other._e, other._theirs, other.f._g
"""
    assert sorted(touches(text)) == ["_e", "_g", "_theirs"]
