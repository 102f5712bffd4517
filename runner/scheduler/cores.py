"""Which workers share the processor at the moment, and who has to be told. Pure.

A worker takes all cores while it is alone. It can't see others, so it hears how many there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from runner.scheduler.fleet import Member


class Sharing:
    """What each worker has been told, by its run. A worker that was told nothing takes itself to be alone."""

    def __init__(self) -> None:
        self._told: dict[int, int] = {}

    def changes(self, members: Iterable[Member]) -> Iterator[tuple[int, int]]:
        """The runs that have to hear of another number of workers, and that number.

        Only those that have requests count and only they are told: the others compute nothing until they have, too.
        """
        there = list(members)
        busy = [member for member in there if member.inside and _computes_here(member)]
        self._told = {member.run: self._told.get(member.run, 1) for member in there}
        for member in busy:
            if self._told[member.run] != len(busy):
                self._told[member.run] = len(busy)
                yield member.run, len(busy)


def _computes_here(member: Member) -> bool:
    """Whether the processor has any part in it: llama.cpp counts the output as one more layer."""
    return member.ready is None or member.ready.gpu_layers <= member.ready.layers
