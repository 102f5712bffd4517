"""Brings prefixes into files: while nobody is there those that are worth it, at the end as many as there is time for.

What is worth it `farewell` decides; here the candidates are gathered, from cells and from RAM, and their writing is
ordered. Belongs to the loop; the clerk writes.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from runner.engine.clerk import MOST, Clerk
from runner.engine.farewell import Budget, Candidate, Rates, Use, worth_keeping
from runner.engine.pace import Pace
from runner.engine.shelf import Saved, Shelf
from runner.engine.slots import Slots
from runner.llama.state import Data
from runner.protocol.commands import Adapters, Why

# Seconds that an end may spend on files, and what they weigh. With somebody waiting it is a small part of any load that
# is worth to be called a swap; the process is given five seconds before it is ended.
_ENDS: dict[Why, tuple[float, float]] = {"wanted": (0.25, 1.0), "idle": (2.0, 0.0), "shutdown": (1.0, 0.0)}
_PRICE = 3e-9  # seconds of a core that a byte is worth while nobody waits: hashing, copying, and wear
_GROWN = 8  # a prefix that is in a file but for one part in so many is left at that
_TOKEN = 0.002  # seconds to compute a token, as long as nobody knows


class Memory(Protocol):
    """Tells and saves what a sequence has computed (`llama/state`)."""

    def size(self, seq: int) -> int: ...

    def save(self, seq: int) -> Data | None: ...


class Place(Protocol):
    """A lane, as far as its prefixes are concerned."""

    @property
    def slots(self) -> Slots: ...

    @property
    def memory(self) -> Memory | None: ...

    @property
    def pace(self) -> Pace: ...


@dataclass(frozen=True, slots=True)
class _Cells:
    """A prefix in the cells of a lane's sequence id."""

    place: Place
    seq: int


_Where = _Cells | Saved


class Keeper:
    """Looks after what stands in the cells of some places, and on the `shelf`."""

    def __init__(self, shelf: Shelf, clerk: Clerk, *, cuttable: bool) -> None:
        self._shelf = shelf
        self._clerk = clerk
        self._cuttable = cuttable
        self._under_way: tuple[array[int], Adapters] | None = None  # what was ordered last while nobody was there

    def hear(self, saved: Saved) -> None:
        """A file was written."""
        if (saved.tokens, saved.adapters) == self._under_way:
            self._under_way = None

    def rest(self, places: Sequence[Place]) -> bool:
        """Nobody is there: order a file for the one prefix that is most worth it. False when none is."""
        now = time.monotonic()
        grown = [
            candidate
            for candidate in self._candidates(places, now)
            if candidate.filed * _GROWN < len(candidate.tokens) * (_GROWN - 1)
        ]
        budget = Budget(float("inf"), min(self._clerk.room, MOST), weight=1.0)
        rates = Rates(_token(places), _PRICE)
        for candidate in worth_keeping(grown, budget, rates, now, cuttable=self._cuttable):
            if self._write(candidate):
                self._under_way = candidate.tokens, candidate.adapters
                return True
        return False

    def close(self, places: Sequence[Place], why: Why) -> None:
        """Everything has ended: write what is worth it, best first, and wait for that."""
        seconds, weight = _ENDS[why]
        now = time.monotonic()
        deadline = now + seconds
        budget = Budget(seconds, self._clerk.room, weight)
        rates = Rates(_token(places), self._clerk.pace)
        for candidate in worth_keeping(self._candidates(places, now), budget, rates, now, cuttable=self._cuttable):
            if time.monotonic() >= deadline:
                break
            self._write(candidate)
        self._clerk.close(max(0.0, deadline - time.monotonic()))

    def _candidates(self, places: Sequence[Place], now: float) -> list[Candidate[_Where]]:
        found: list[Candidate[_Where]] = []
        for place in places:
            if place.memory is None:
                continue
            for seq in place.slots.idle():
                tokens, adapters = place.slots.tokens_of(seq), place.slots.space_of(seq)
                use = place.slots.use_of(seq) or Use(at=now)
                filed = self._shelf.filed(tokens, adapters)
                if len(tokens) > filed and (tokens, adapters) != self._under_way:
                    size = place.memory.size(seq)
                    found.append(Candidate(_Cells(place, seq), tokens, size, filed, use, adapters))
        for saved in self._shelf.unfiled():
            filed = self._shelf.filed(saved.tokens, saved.adapters)
            if (saved.tokens, saved.adapters) != self._under_way:
                found.append(Candidate(saved, saved.tokens, saved.nbytes, filed, saved.use, saved.adapters))
        return found

    def _write(self, candidate: Candidate[_Where]) -> bool:
        """Order the file. False when the state can't be had, or too much is on its way already."""
        where = candidate.what
        instead = self._shelf.replaced(candidate.tokens, candidate.adapters)
        if isinstance(where, _Cells):
            assert where.place.memory is not None
            data = where.place.memory.save(where.seq)
            saved = Saved(candidate.tokens, data, None, candidate.adapters, candidate.use)
            return data is not None and self._clerk.write(saved, instead)
        return self._clerk.write(where, instead)


def _token(places: Sequence[Place]) -> float:
    """Seconds that a prompt's token takes, as the quickest lane has it."""
    return min([place.pace.token for place in places if place.pace.token is not None], default=_TOKEN)
