"""The same verb for several models: one that fails doesn't keep the others from their turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from runner.cli.failures import Failure, Unavailable
from runner.cli.output import report


def each(names: Sequence[str], act: Callable[[str], None]) -> None:
    """Do `act` for every name. Raises the last Failure; those before it are reported as they happen."""
    last: Failure | None = None
    for name in dict.fromkeys(names):
        try:
            act(name)
        except Unavailable:
            raise  # the others would fail alike
        except Failure as failure:
            if last is not None:
                report(last)
            last = failure
    if last is not None:
        raise last
