"""Where a sequence begins: in cells that stand there, with a state that was saved, or from nothing.

Joins the slots and the shelf: what loses its cells is saved if it is long enough, and what is found is brought back.
Belongs to the loop; files are read and written by the clerk.
"""

from __future__ import annotations

import time
from array import array
from bisect import insort
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from runner.engine.clerk import Clerk, Filed, Listed, News
from runner.engine.prefixes import Prefixes
from runner.engine.sequence import Sequence
from runner.engine.shelf import Awaited, Saved, Shelf
from runner.engine.slots import Slots
from runner.llama.state import Data

# Saving or restoring a token copies its bytes: 1 to 7 us where computing it takes 4 ms (0.5B, two cores); it pays for
# every token, even on a GPU that computes ten thousand a second. What decides is the call: claiming, saving and cutting
# take some milliseconds, which about this many tokens are worth there.
LEAST = 64
_LOOKED_AT = 8  # of those who are to compute the same
_FORESEEN = 16  # newcomers whose reuse is known to the plan exactly
_BONUS_NS = 1_000_000_000  # by which who has everything computed goes before his turn
_CLOSING = 1.0  # seconds that the end of a worker may take for what is to survive it: somebody waits for the memory
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
        # Who came before it was known what files there are; the first request after a swap is likely to be in one.
        self._early: list[Sequence] | None = None if clerk is None else []
        self._prompts: Prefixes[Sequence] = Prefixes()  # that are still to be computed, or are right now
        slots.save = self._demote

    def enqueue(self, waiting: deque[Sequence], sequence: Sequence) -> None:
        """A sequence has come: see whom it should follow, order what it could begin with if that is in a file, and
        put it in line. It may go before who came up to a second earlier and has more to compute."""
        self._order(sequence)
        if self._early is not None:
            self._early.append(sequence)
        self._follow(sequence, sequence.found)
        self._prompts.add(sequence, sequence.tokens)
        sequence.rank = sequence.arrived_ns - _BONUS_NS * sequence.found // len(sequence.tokens)
        place = len(waiting)
        while place and waiting[place - 1].rank > sequence.rank:
            place -= 1
        waiting.insert(place, sequence)

    def in_line(self, waiting: Iterable[Sequence]) -> list[Sequence]:
        """Those who may begin, in their order. What the first of them will find is looked up anew."""
        ready = [sequence for sequence in waiting if self.is_ready(sequence)]
        for sequence in ready[: self._slots.free][:_FORESEEN]:
            self._look(sequence)
        return ready

    def _look(self, sequence: Sequence) -> Saved | None:
        """See how much of a sequence is computed already, and with which state if it is one that was saved."""
        tokens, most = sequence.tokens, sequence.reusable
        here = self._slots.find(tokens, most)
        sequence.found, sequence.is_lent = here.length, here.seq is not None and self._slots.is_busy(here.seq)
        if self._shelf is None:
            return None
        length, saved, _ = self._shelf.find(tokens, most)
        if saved is None or length < here.length + LEAST:
            return None
        sequence.found, sequence.is_lent = length, False
        return saved

    def _order(self, sequence: Sequence) -> None:
        """Have the state read that it could begin with, if that is in a file."""
        saved = self._look(sequence)
        if saved is None or saved.data is not None or self._clerk is None:
            return
        if saved not in self._reading:
            self._reading[saved] = Awaited(saved)
            self._clerk.read(saved)
        sequence.awaited = self._reading[saved]

    def _follow(self, sequence: Sequence, found: int) -> None:
        """Let it wait for one that computes what it would have to compute as well, beyond what is `found` already."""
        tokens, most = sequence.tokens, sequence.reusable
        match = self._prompts.match(tokens)
        shared = min(match.length, len(tokens) - 1 if most is None else most)
        if shared < found + LEAST:
            return
        leader = max(islice(match.holders(), _LOOKED_AT), key=lambda each: each.computed)
        if leader.computed > shared:
            return
        sequence.leader, sequence.shared = leader, shared
        if not self._slots.cuttable and shared not in leader.borders:
            insort(leader.borders, shared)

    def is_ready(self, sequence: Sequence) -> bool:
        """Whether a sequence that waits may begin. If not, another's step or the inbox will bring what changes it.

        Who has a leader came after him, so there is always one who is ready or waits for the inbox.
        """
        leader = sequence.leader
        if leader is not None and leader in self._prompts and leader.computed < sequence.shared:
            return False
        if self._early is not None:
            return False
        return sequence.awaited is None or sequence.awaited.is_read

    def is_over(self, sequence: Sequence) -> None:
        """A sequence has ended, however it did: nobody need wait for it."""
        sequence.leader = None
        if sequence in self._prompts:
            self._prompts.remove(sequence)

    def hear(self, news: News) -> None:
        """Something came of what was ordered."""
        assert self._shelf is not None
        if isinstance(news, Listed):
            for saved in news.saved:
                self._shelf.know(saved)
            early, self._early = self._early or [], None
            for sequence in early:
                if sequence in self._prompts:
                    self._order(sequence)
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
        known = 0 if self._slots.cuttable else self._known(sequence.tokens)
        begun = self._from_shelf(sequence)
        if begun is None:
            begun = self._slots.acquire(sequence.tokens, sequence.reusable)
            self.counts.cells += begun[1]
        sequence.slot, sequence.computed = begun
        sequence.awaited = sequence.leader = None
        if not self._slots.cuttable:
            self._set_borders(sequence, known)

    def step_of(self, sequence: Sequence, count: int) -> int:
        """How many of `count` tokens to compute in one step."""
        borders = sequence.borders
        while borders and borders[0] <= sequence.computed:
            del borders[0]
        return min(count, borders[0] - sequence.computed) if borders else count

    def advance(self, sequence: Sequence) -> None:
        """A step has computed tokens of the sequence: leave a copy of where it stands if others may begin there."""
        if sequence.borders and sequence.borders[0] == sequence.computed:
            assert sequence.slot is not None
            if not self._slots.leave_copy(sequence.slot):
                self._save(sequence.slot, array("i", sequence.tokens[: sequence.computed]))
        if not sequence.remaining and sequence in self._prompts:
            self._prompts.remove(sequence)

    def _set_borders(self, sequence: Sequence, known: int) -> None:
        """Of a state that can't be cut, copies are left where this prompt parts from what was seen, and near its end.

        One token before it, because that one's logits are wanted even by who sends the same again.
        """
        wanted = {known, *sequence.borders}
        if not sequence.generated:
            wanted.add(len(sequence.tokens) - 1)
        sequence.borders = sorted(
            border for border in wanted if sequence.computed + LEAST <= border < len(sequence.tokens)
        )

    def _known(self, tokens: list[int]) -> int:
        """How many of the first tokens were seen before, whether or not there is a state for just these."""
        known = self._slots.find(tokens).known
        return known if self._shelf is None else max(known, self._shelf.find(tokens)[2])

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
