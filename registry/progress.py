"""The Progress value: how far a pull or a create has come. Who shows it, and how, is not known here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from registry.digests import Digest


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


def unheard(progress: Progress) -> None:
    """A Report for nobody."""


def never() -> bool:
    """A Cancel that doesn't."""
    return False
