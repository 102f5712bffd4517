"""Where a sequence begins: in cells that stand there, with a state that was saved, or from nothing.

Joins the slots and the shelf: what loses its cells is saved if it is long enough, and what is found is brought back.
Belongs to the loop; files are read and written by the clerk.
"""

from __future__ import annotations

import time
from array import array
from dataclasses import dataclass
from typing import Protocol

from runner.engine.clerk import Clerk, Filed, Listed, News
from runner.engine.sequence import Sequence
from runner.engine.shelf import Awaited, Saved, Shelf
from runner.engine.slots import Slots
from runner.llama.state import Data

# Restoring a token costs some microseconds (its bytes are copied once), computing it a hundred times that at the least
# on any machine that was measured (docs/benchmarks.md). So it is not the token that decides but the call: saving,
# claiming and cutting take about a millisecond, which this many tokens are worth on a fast GPU.
LEAST = 64
_CLOSING = 1.5  # seconds that the end of a worker may take for what is to survive it: somebody waits for the memory
_OWN = 4  # and it is saved if at least one part in so many of its tokens stands nowhere else


class Memory(Protocol):
    """Saves and restores what a sequence has computed (`llama/state`)."""

    def save(self, seq: int) -> Data | None: ...

    def restore(self, seq: int, data: Data) -> bool: ...


@dataclass(slots=True)
class Counts:
    """Tokens that needed no computing, by where they came from, and how many states were saved."""

    cells: int = 0
    ram: int = 0
    disk: int = 0
    demotions: int = 0


class Reuse:
    """Without a `memory` and a `shelf`, only what stands in cells is used again; without a `clerk`, no files are."""

    def __init__(
        self, slots: Slots, memory: Memory | None = None, shelf: Shelf | None = None, clerk: Clerk | None = None
    ) -> None:
        self.counts = Counts()
        self._slots = slots
        self._memory = memory
        self._shelf = shelf
        self._clerk = clerk
        self._reading: dict[Saved, Awaited] = {}
        slots.save = self._demote

    def look(self, sequence: Sequence) -> None:
        """A sequence has come: order what it could begin with, if that is in a file."""
        if self._shelf is None or self._clerk is None:
            return
        tokens, most = sequence.tokens, sequence.reusable
        length, saved, _ = self._shelf.find(tokens, most)
        if saved is None or saved.data is not None or length < self._slots.find(tokens, most).length + LEAST:
            return
        if saved not in self._reading:
            self._reading[saved] = Awaited(saved)
            self._clerk.read(saved)
        sequence.awaited = self._reading[saved]

    def is_ready(self, sequence: Sequence) -> bool:
        """Whether a sequence that waits may begin. If not, something will come through the inbox that changes it."""
        return sequence.awaited is None or sequence.awaited.is_read

    def hear(self, news: News) -> None:
        """Something came of what was ordered."""
        assert self._shelf is not None
        if isinstance(news, Listed):
            for saved in news.saved:
                self._shelf.know(saved)
        elif isinstance(news, Filed):
            news.saved.file, news.saved.data = news.file, None
            self._shelf.know(news.saved)
        else:
            awaited = self._reading.pop(news.saved)
            awaited.data, awaited.is_read = news.data, True
            if news.data is None:
                self._shelf.remove(news.saved)
            else:
                news.saved.data = news.data
                self._shelf.put(news.saved)

    def begin(self, sequence: Sequence) -> None:
        """Give the sequence an id, and what it needn't compute. The caller has seen that one is free."""
        begun = self._from_shelf(sequence)
        if begun is None:
            begun = self._slots.acquire(sequence.tokens, sequence.reusable)
            self.counts.cells += begun[1]
        sequence.slot, sequence.computed = begun
        sequence.awaited = None

    def close(self) -> None:
        """Everything has ended: what stands in cells and in RAM goes into files, what was used last first."""
        if self._clerk is None:
            return
        deadline = time.monotonic() + _CLOSING
        assert self._shelf is not None
        for index in self._slots.idle():
            if time.monotonic() < deadline:
                self._slots.give_up(index)
        for saved in self._shelf.unfiled():
            self._clerk.write(saved)
        self._clerk.close(max(0.0, deadline - time.monotonic()))

    def _from_shelf(self, sequence: Sequence) -> tuple[int, int] | None:
        """What `begin` is after, if a saved state is better than what stands in cells."""
        if self._shelf is None or self._memory is None:
            return None
        tokens, most, slots, awaited = sequence.tokens, sequence.reusable, self._slots, sequence.awaited
        length, saved, _ = self._shelf.find(tokens, most)
        if saved is None or length < slots.find(tokens, most).length + LEAST:
            return None
        # The shelf need not have had room for what was read for this very sequence.
        data = awaited.data if awaited is not None and awaited.saved is saved else saved.data
        if data is None or slots.cells - slots.cells_busy < len(saved.tokens):
            return None
        self._shelf.touch(saved)
        seq = slots.claim()  # may save what stood there, and so drive this one from the shelf
        slots.make_room(len(saved.tokens))
        if not self._memory.restore(seq, data):
            self._shelf.remove(saved)
            slots.release(seq, keep=False)
            return None
        slots.extend(seq, saved.tokens)
        shared = slots.trim(seq, length)
        if saved.file is None:
            self.counts.ram += shared
        else:
            self.counts.disk += shared
        return seq, shared

    def _demote(self, seq: int, tokens: array[int], own: int) -> None:
        """An idle prefix is about to lose its cells: save it, if that pays."""
        if len(tokens) < LEAST or (self._slots.cuttable and own < max(LEAST, len(tokens) // _OWN)):
            return
        self._save(seq, tokens)

    def _save(self, seq: int, tokens: array[int]) -> None:
        if self._shelf is None or self._memory is None or self._shelf.has(tokens):
            return
        data = self._memory.save(seq)
        if data is not None:
            self.counts.demotions += 1
            self._shelf.put(Saved(tokens[:], data))
