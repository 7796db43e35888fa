"""Functions that a program has put in the place of urllib3's `urlopen`.

Owns: noticing it, and sending the request through that function. Must not know: how a request is
sent, what is retried.

Tracers (OpenTelemetry, Elastic APM), mocks and unit tests replace or wrap
``urllib3.HTTPConnectionPool.urlopen``. `HostPool` overrides that method, so they would see
nothing of it. Where the attribute is not urllib3's own function, `HostPool.urlopen` calls it, as
urllib3's pools would; a wrapper then calls the original, and that comes back here through the
two methods by which it takes a connection and makes a request. Retries stay ours: the original
is given a policy that never retries.
"""

from __future__ import annotations

import types
from typing import Any, NoReturn

import urllib3.connectionpool
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.util.retry import Retry


def _genuine() -> Any:
    """Return urllib3's own function; None when it was replaced before we were imported."""
    found = vars(HTTPConnectionPool)["urlopen"]
    # A wrapper may copy every name, but not the module that its code runs in.
    own = isinstance(found, types.FunctionType) and found.__globals__ is vars(
        urllib3.connectionpool
    )
    return found if own else None


GENUINE = _genuine()


class Delegated(Retry):
    """The policy that urllib3's loop is given: it never retries, because ours does.

    Parameters:
        ours: the keywords for our own `urlopen` that the original does not pass on.
    """

    def __init__(self, ours: dict[str, Any]) -> None:
        super().__init__(0)
        self.ours = ours

    def is_retry(self, method: str, status_code: int, has_retry_after: bool = False) -> bool:
        return False

    def increment(
        self, *args: object, error: Exception | None = None, **kwargs: object
    ) -> NoReturn:
        raise error or RuntimeError("urllib3 asked for a retry without an error")


class NoConnection:
    """The connection that urllib3's `urlopen` holds while the request is made: our connections are
    not here."""

    proxy = None
    is_closed = False
    timeout: object = None

    def close(self) -> None:
        """Do nothing: there is nothing to close."""


def through(theirs: Any, method: str, url: str, ours: dict[str, object], **seen: object) -> Any:
    """Return the response for a request made by `theirs`, which stands in urllib3's place.

    Parameters:
        ours: arguments of `urlopen` that are kept for our own loop.
        seen: the others, which that function may look at and change.
    """
    return theirs(method, url, retries=Delegated(ours), redirect=False, **seen)


def ours_of(retries: object) -> dict[str, Any]:
    """Return the keywords for our own `urlopen`, from the policy that came through urllib3's."""
    if isinstance(retries, Delegated):
        return retries.ours
    return {"retries": Retry(0, read=False)}  # the caller's own loop does the rest
