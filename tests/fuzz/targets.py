"""Which targets there are, and how their inputs are made where no coverage leads.

Owns: names, seeds on disk, mutation by hypothesis. Must not know: what a target checks.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

SEEDS = Path(__file__).parent / "seeds"

#: The modules by the names that the command takes.
TARGETS = {
    path.stem.replace("_", "-"): f"{__package__}.{path.stem}"
    for path in sorted(Path(__file__).parent.glob("target_*.py"))
}
TARGETS = {name.removeprefix("target-"): module for name, module in TARGETS.items()}

#: Bytes of an input. Limits that take more are reached by repeating a part of it.
MAX_INPUT = 4096


class Target(NamedTuple):
    """A target, loaded.

    Attributes:
        name: as the command takes it.
        one: tries one input; raises AssertionError, or what the code under test lets through.
        tokens: pieces that its inputs are made of.
        seeds: inputs to begin with.
    """

    name: str
    one: Callable[[bytes], None]
    tokens: tuple[bytes, ...]
    seeds: list[bytes]


def load(name: str) -> Target:
    """Return the target of this name with the seeds on disk."""
    module = import_module(TARGETS[name])
    files = sorted((SEEDS / name).iterdir())
    return Target(name, module.one, module.TOKENS, [path.read_bytes() for path in files])


@st.composite
def mutated(draw: Any, target: Target) -> bytes:
    """A seed with some bytes or tokens put in, taken out, exchanged or repeated."""
    data = draw(st.sampled_from(target.seeds))
    piece = st.one_of(st.sampled_from([b"", *target.tokens]), st.binary(max_size=3))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.sampled_from([0, 1, 1, 2, 8, 64])))
        part = draw(st.one_of(piece, piece, st.just(data[start:end] * 2)))
        data = data[:start] + part + data[end:]
    return data[:MAX_INPUT]


def try_examples(
    target: Target, one: Callable[[bytes], None], count: int, seed: int | None = None
) -> None:
    """Try `count` mutated inputs; the same ones each time where there is no `seed`.

    Nothing is made smaller: whoever wants that has the input.
    """

    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=seed is None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(mutated(target))
    def run(data: bytes) -> None:
        one(data)

    if seed is not None:
        run = seeded(seed)(run)
    run()
