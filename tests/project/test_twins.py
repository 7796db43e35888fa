"""What waits is written twice, and reads the same both times.

Owns: comparing the functions of ``httpcore/_sync`` with their twins in ``httpcore/_async``, and the
list of those that may differ, each with its reason. Must not know: what they do.

Both files are parsed. ``async`` and ``await``, docstrings, comments and types are dropped; the
names of the asynchronous half become those of the synchronous one (`NAMES`). What is then left of
each function has to be equal. A function that is on one side only counts as a difference, too.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

import httpcore

PACKAGE = Path(httpcore.__file__).parent
SYNC, ASYNC = PACKAGE / "_sync", PACKAGE / "_async"

#: Names of the asynchronous half that do not only begin with ``Async``.
NAMES = {
    "aclose": "close",
    "anext": "next",
    "aread": "read",
    "asleep": "sleep",
    "asynccontextmanager": "contextmanager",
    "AutoBackend": "SyncBackend",
    "AwaitingAdapter": "BlockingAdapter",
    "awaited": "combined",
    "begin_in_task": "begin",
    "end_in_task": "end",
    "handle_async_request": "handle_request",
    "LoopSlots": "PoolSlots",
    "StopAsyncIteration": "StopIteration",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "__anext__": "__next__",
}

#: Files without a twin, and why.
ALONE = {
    "_async/body_parts.py": "the synchronous half takes them from iterators, in `_core.prepared`",
    "_async/contexts.py": "a thread may block while it makes a TLS context",
    "_async/loop_slots.py": "threads have no event loop that a connection belongs to",
    "_async/part_watches.py": "a thread that asks an iterable for a part waits for nothing else",
    "_async/task_lock.py": "threads have `threading.RLock`",
}

#: Files that are not compared, and why.
APART = {
    "http2.py": "threads elect one of them to read; an event loop calls back what has arrived",
}

#: At most so many functions may differ.
MOST = 15

#: Functions that differ, or that one side has not, and why.
_FORK = "an event loop does not outlive a fork; its sockets are closed in the child"
_HANDLER = "no signal handler sends requests here: it cannot run the event loop that it interrupted"
_ONE_LOOP = "within one loop, taking the connection needs no lock"
EXCEPTIONS = {
    "connection.HTTPConnection._set_up": "tasks take turns by a lock of their own",
    "connection.HTTPConnection.handle_request": _HANDLER,
    "connection.HTTPConnection._renew_in_child": _FORK,
    "connection.HTTPConnection.connect": "making a TLS context has a thread",
    "connection_pool.ConnectionPool._check_out": f"it enters the event loop; {_HANDLER}",
    "connection_pool.ConnectionPool._check_out_aside": _HANDLER,
    "connection_pool.ConnectionPool.__enter__": "a closed pool of threads takes requests as it is",
    "connection_pool.ConnectionPool._queue": _HANDLER,
    "connection_pool.ConnectionPool._wait": "a task that is served is always woken",
    "http11.HTTP11Connection.__init__": _ONE_LOOP,
    "http11.HTTP11Connection._end_if_idle": "an event loop notices it; threads look at checkout",
    "http11.HTTP11Connection.handle_prepared": _ONE_LOOP,
    "http11.HTTP11Connection._renew_in_child": _FORK,
    "http2_exchange.SharedConnection.drain": "the stream of a thread has taken what it was given",
    "request_body.Upload.lose": _FORK,
}


class Normal(ast.NodeTransformer):
    """Brings a function to the form in which both are compared."""

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> Any:
        return self.visit_FunctionDef(ast.FunctionDef(**vars(node)))

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:
        node.name = renamed(node.name)
        node.returns = None
        if ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> Any:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> Any:
        if node.value is None:
            return None
        return self.visit(ast.Assign(targets=[node.target], value=node.value))

    def visit_Await(self, node: ast.Await) -> Any:
        return self.visit(node.value)

    def visit_AsyncFor(self, node: ast.AsyncFor) -> Any:
        return self.generic_visit(ast.For(**vars(node)))

    def visit_AsyncWith(self, node: ast.AsyncWith) -> Any:
        return self.generic_visit(ast.With(**vars(node)))

    def visit_Name(self, node: ast.Name) -> Any:
        node.id = renamed(node.id)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> Any:
        node.attr = renamed(node.attr)
        return self.generic_visit(node)

    def visit_If(self, node: ast.If) -> Any:
        # A stream of another make may have to be awaited to be closed or written to, and so may an
        # async generator of a body, to be closed.
        test = ast.unparse(node.test)
        if test == "unclosed" or ".io.pending" in test or ".abandon()" in ast.unparse(node.body[0]):
            return None
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> Any:
        if ast.unparse(node.func) == "close_stream":
            node = ast.Call(ast.Attribute(node.args[0], "close"), [], [])
        if ast.unparse(node.func) in ("body_parts", "parts"):
            del node.args[1:]  # what a task keeps in view while it waits for a part
        return self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> Any:
        if isinstance(node.value, str):  # of an error
            node.value = node.value.replace("handle_async_request", "handle_request")
            node.value = node.value.replace(" aclose()", " close()")
        return node


def renamed(name: str) -> str:
    return NAMES.get(name, name.removeprefix("Async"))


#: `aclose` of what can be closed without waiting: there, `close` is the twin.
CLOSED_ALREADY = "self.close()\nif unclosed:\n    await close_rest()"


def closes_at_once(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return "\n".join(map(ast.unparse, node.body[-2:])) == CLOSED_ALREADY


def functions(path: Path) -> dict[str, str]:
    """The functions of a file by their names, in the form in which they are compared."""
    found: dict[str, str] = {}

    def collect(node: ast.AST, where: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef):
                collect(child, f"{where}{renamed(child.name)}.")
            elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                name = where + renamed(child.name)
                if child.name == "aclose" and closes_at_once(child):
                    continue
                found[name] = ast.unparse(ast.fix_missing_locations(Normal().visit(child)))

    collect(ast.parse(path.read_text()), f"{path.stem}.")
    return found


def files_of(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*.py") if path.name != "__init__.py"}


def test_every_file_has_a_twin() -> None:
    here = {f"_async/{name}" for name in files_of(ASYNC) - files_of(SYNC)}
    there = {f"_sync/{name}" for name in files_of(SYNC) - files_of(ASYNC)}
    assert here | there == set(ALONE)


def differences(name: str) -> dict[str, tuple[str | None, str | None]]:
    ours, theirs = functions(SYNC / name), functions(ASYNC / name)
    return {
        each: (ours.get(each), theirs.get(each))
        for each in ours.keys() | theirs.keys()
        if ours.get(each) != theirs.get(each)
    }


@pytest.mark.parametrize("name", sorted((files_of(SYNC) & files_of(ASYNC)) - set(APART)))
def test_twins_are_equal(name: str) -> None:
    found = differences(name)
    unexpected = {each: pair for each, pair in found.items() if each not in EXCEPTIONS}
    text = "\n\n".join(
        f"{each}\n--- _sync\n{ours}\n--- _async\n{theirs}"
        for each, (ours, theirs) in unexpected.items()
    )
    assert not unexpected, text
    mine = {each for each in EXCEPTIONS if each.startswith(f"{Path(name).stem}.")}
    assert mine <= set(found), "these are equal by now: take them off the list"


def test_few_may_differ() -> None:
    assert len(EXCEPTIONS) <= MOST
    assert all(EXCEPTIONS.values())


def test_what_is_compared() -> None:
    source = '''
class AsyncBody:
    async def aclose(self, pool: AsyncPool) -> None:
        """Close it."""
        part: bytes = await self.pool.aread()
        async with pool as AsyncThing:
            pass
        async for each in self.parts:
            close_stream(self.stream)
        if unclosed:
            await close_rest()
'''
    tree = Normal().visit(ast.parse(source))
    assert ast.unparse(ast.fix_missing_locations(tree)) == ast.unparse(
        ast.parse(
            """
class AsyncBody:
    def close(self, pool):
        part = self.pool.read()
        with pool as Thing:
            pass
        for each in self.parts:
            self.stream.close()
"""
        )
    )
