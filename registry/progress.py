"""The Progress value: how far a pull or a create has come. Who shows it, and how, is not known here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from registry.digests import Digest

_STEPS = 500
_STEP = 128 << 10


@dataclass(frozen=True, slots=True)
class Progress:
    """One step. `total` and `completed` are bytes of `digest`'s blob, 0 for a step without any.

    Per digest `completed` never falls, and ends at `total`.
    """

    status: str
    digest: Digest | None = None
    total: int = 0
    completed: int = 0


Report = Callable[[Progress], None]
Cancel = Callable[[], bool]


def is_news(before: int, count: int, size: int) -> bool:
    """Whether to tell of `count` bytes out of `size` after telling of `before` (-1 for nothing yet).

    Told are the first word, the last, and between them no more than anyone could watch.
    """
    return before < 0 or count - before >= max(size // _STEPS, _STEP) or before < count == size


def unheard(progress: Progress) -> None:
    """A Report for nobody."""


def never() -> bool:
    """A Cancel that doesn't."""
    return False
