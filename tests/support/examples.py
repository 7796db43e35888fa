"""How many examples a property test tries: few in the ordinary run, all in a long one.

Owns: the profile of hypothesis that says so. Must not know: the tests. The long run is
``scripts/test tests/unit --hypothesis-profile long``; an example that it finds goes into a test of
its own.
"""

from __future__ import annotations

from hypothesis import settings

#: The name of the profile in which all examples are tried.
LONG = "long"

# The ordinary run tries one example of so many, so that it takes seconds.
SHARE = 4

# Machines stand still for a moment, and that is no fault of the code: no deadline for an example.
settings.register_profile(LONG, deadline=None)
settings.register_profile("ordinary", deadline=None)
settings.load_profile("ordinary")


def examples(many: int) -> int:
    """Return how many of `many` examples to try. Asked when a test module is imported."""
    return many if settings.get_current_profile_name() == LONG else many // SHARE
