"""Where a sequence begins: in cells that stand there, with a state that was saved, or from nothing.

Joins the lanes' slots and the shelf: what loses its cells is saved if it is long enough, and what is found is brought
back, from the other lane too. Belongs to the loop; files are read and written by the clerk.
"""

from __future__ import annotations

import time
from array import array
from bisect import insort
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from runner.engine.clerk import Clerk, Filed, Listed, News
from runner.engine.farewell import LEAST, Use
from runner.engine.keeper import Keeper
from runner.engine.pace import Pace
from runner.engine.pictures import whole
from runner.engine.prefixes import Prefixes
from runner.engine.sequence import Sequence
from runner.engine.shelf import Awaited, Saved, Shelf
from runner.engine.slots import Found, Slots
from runner.llama.state import Data
from runner.protocol.commands import Adapters, ChatPrompt, Why

# Saving or restoring a token copies its bytes: 1 to 7 us where computing it takes 4 ms (0.5B, two cores); it pays for
# every token, even on a GPU that computes ten thousand a second. What decides is the call: claiming, saving and cutting
# take some milliseconds, which about LEAST tokens are worth there.
_FORESEEN = 16  # newcomers whose reuse is known to the plan exactly
_LEAVING = 0.25  # seconds that the end of a lane may take for that: those in the other lane wait meanwhile
_OWN = 4  # and it is saved if at least one part in so many of its tokens stands nowhere else


class Memory(Protocol):
    """Saves and restores what a sequence has computed (`llama/state`)."""

    def size(self, seq: int) -> int: ...

    def save(self, seq: int) -> Data | None: ...

    def restore(self, seq: int, data: Data) -> bool: ...


class Place(Protocol):
    """A lane, as far as its prefixes are concerned. Without a `memory` nothing is saved out of it or brought in."""

    @property
    def slots(self) -> Slots: ...

    @property
    def memory(self) -> Memory | None: ...

    @property
    def pace(self) -> Pace: ...

    @property
    def idle_cells(self) -> int | None: ...


@dataclass(slots=True)
class Counts:
    """Tokens that needed no computing, by where they came from, and how many states were saved."""

    cells: int = 0
    ram: int = 0
    disk: int = 0
    demotions: int = 0


class Reuse:
    """Without a `shelf`, only what stands in cells is used again; without a `clerk`, no files are.

    Where states aren't `cuttable`, there is one place only.
    """

    def __init__(self, shelf: Shelf | None = None, clerk: Clerk | None = None, *, cuttable: bool = True) -> None:
        self.counts = Counts()
        self._places: list[Place] = []
        self._cuttable = cuttable
        self._shelf = shelf
        self._clerk = clerk
        self._keeper = Keeper(shelf, clerk, cuttable=cuttable) if shelf is not None and clerk is not None else None
        self._uses: dict[int, Use] = {}  # of those who run, by their key
        self._reading: dict[Saved, Awaited] = {}
        # Who came before it was known what files there are; the first request after a swap is likely to be in one.
        self._early: list[Sequence] | None = None if clerk is None else []
        self._prompts: Prefixes[Sequence] = Prefixes()  # that are still to be computed, or are right now

    def add(self, place: Place) -> None:
        """There is another lane."""
        self._places.append(place)
        place.slots.save = partial(self._demote, place)

    def remove(self, place: Place) -> None:
        """A lane in which nobody runs is going to be given up: what stands there is saved, what was used last first."""
        _give_up(place.slots, time.monotonic() + _LEAVING)
        self._places.remove(place)

    def enqueue(self, waiting: deque[Sequence], sequence: Sequence) -> None:
        """A sequence has come: see whom it should follow, order what it could begin with if that is in a file, and
        put it in line."""
        self._order(sequence)
        if self._early is not None:
            self._early.append(sequence)
        self._follow(sequence, sequence.found)
        self._prompts.add(sequence, sequence.tokens, sequence.adapters)
        waiting.append(sequence)

    def in_line(self, place: Place, waiting: Iterable[Sequence]) -> list[Sequence]:
        """Those who may begin there, in their order. What the first of them will find is looked up anew."""
        ready = [sequence for sequence in waiting if self.is_ready(sequence)]
        for sequence in ready[: place.slots.free][:_FORESEEN]:
            self._look(sequence, place)
        return ready

    def _look(self, sequence: Sequence, place: Place | None = None) -> Saved | None:
        """See how much of a sequence is computed already, and with which state if it is one that was saved.

        `place` is where it will run, if that is known.
        """
        tokens, most = sequence.tokens, sequence.reusable
        adapters = sequence.adapters
        at = place or max(self._places, key=lambda each: each.slots.find(tokens, most, adapters).length)
        here = at.slots.find(tokens, most, adapters)
        is_busy = here.seq is not None and at.slots.is_busy(here.seq)
        sequence.found, sequence.is_lent = here.length, is_busy and not at.slots.apart
        other = self._elsewhere(place, sequence) if place is not None else None
        if other is not None and other[1].length >= sequence.found + LEAST:
            sequence.found, sequence.is_lent = other[1].length, False
        if self._shelf is None:
            return None
        length, saved, _ = self._shelf.find(tokens, most, adapters)
        if saved is None or length < sequence.found + LEAST:
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
        match = self._prompts.match(tokens, sequence.adapters)
        shared = whole(tokens, min(match.length, len(tokens) - 1 if most is None else most))
        if shared < found + LEAST:
            return
        leader = max(match.near(), key=lambda each: each.computed)
        if leader.computed > shared:
            return
        sequence.leader, sequence.shared = leader, shared
        if not self._cuttable and shared not in leader.borders:
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
        if (use := self._uses.pop(sequence.key, None)) is not None:
            use.at = time.monotonic()
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
            assert self._clerk is not None
            self._clerk.drop(self._shelf.written(news.saved, news.file))
            if self._keeper is not None:
                self._keeper.hear(news.saved)
        else:
            awaited = self._reading.pop(news.saved)
            awaited.data, awaited.is_read = news.data, True
            if news.data is None:
                self._shelf.remove(news.saved)
            else:
                news.saved.data = news.data
                self._shelf.put(news.saved)

    def begin(self, sequence: Sequence, place: Place) -> None:
        """Give the sequence an id, and what it needn't compute. The caller has seen that one is free."""
        known = 0 if self._cuttable else self._known(sequence, place)
        begun = self._from_shelf(sequence, place) or self._from_elsewhere(sequence, place)
        if begun is None:
            begun = place.slots.acquire(sequence.tokens, sequence.reusable, sequence.adapters)
            self.counts.cells += begun[1]
        sequence.slot, sequence.computed = begun
        self._note_use(sequence, place)
        sequence.awaited = sequence.leader = None
        if not self._cuttable:
            self._set_borders(sequence, known)

    def _note_use(self, sequence: Sequence, place: Place) -> None:
        """Whoever begins with what others computed makes it likelier that somebody will again."""
        assert sequence.slot is not None
        before = place.slots.use_of(sequence.slot) if sequence.computed else None
        times = before.times + 1 if before is not None else 1
        use = Use(isinstance(sequence.command.prompt, ChatPrompt), times, time.monotonic())
        place.slots.note_use(sequence.slot, use)
        self._uses[sequence.key] = use

    def step_of(self, sequence: Sequence, count: int) -> int:
        """How many of `count` tokens to compute in one step."""
        borders = sequence.borders
        while borders and borders[0] <= sequence.computed:
            del borders[0]
        return min(count, borders[0] - sequence.computed) if borders else count

    def advance(self, sequence: Sequence, place: Place) -> None:
        """A step has computed tokens of the sequence: leave a copy of where it stands if others may begin there."""
        if sequence.borders and sequence.borders[0] == sequence.computed:
            assert sequence.slot is not None
            if not place.slots.leave_copy(sequence.slot):
                self._save(place, sequence.slot, array("i", sequence.tokens[: sequence.computed]), sequence.adapters)
        if not sequence.remaining and sequence in self._prompts:
            self._prompts.remove(sequence)

    def tidy(self, place: Place) -> None:
        """Move what is in the way of those who run, and used by nobody, to RAM. Without one it stays."""
        keeps = self._shelf is not None and self._shelf.keeps and place.memory is not None
        if keeps and place.idle_cells is not None:
            place.slots.retire(place.idle_cells)

    def _set_borders(self, sequence: Sequence, known: int) -> None:
        """Of a state that can't be cut, copies are left where this prompt parts from what was seen, and near its end.

        One token before it, because that one's logits are wanted even by who sends the same again.
        """
        wanted = {whole(sequence.tokens, known), *sequence.borders}
        if not sequence.generated:
            wanted.add(whole(sequence.tokens, len(sequence.tokens) - 1))
        sequence.borders = sorted(
            border for border in wanted if sequence.computed + LEAST <= border < len(sequence.tokens)
        )

    def _known(self, sequence: Sequence, place: Place) -> int:
        """How many of the first tokens were seen before, whether or not there is a state for just these."""
        tokens, adapters = sequence.tokens, sequence.adapters
        known = place.slots.find(tokens, None, adapters).known
        return known if self._shelf is None else max(known, self._shelf.find(tokens, None, adapters)[2])

    @property
    def rests(self) -> bool:
        """Whether `rest` may have anything to do."""
        return self._keeper is not None

    def rest(self) -> None:
        """Nobody is there: order a file for the prefix that is most worth one. Filed follows, if there is one."""
        if self._keeper is not None:
            self._keeper.rest(self._places)

    def close(self, why: Why) -> None:
        """Everything has ended: what stands in cells and in RAM goes into files, as far as it is worth the time."""
        if self._keeper is not None:
            self._keeper.close(self._places, why)

    def _from_shelf(self, sequence: Sequence, place: Place) -> tuple[int, int] | None:
        """What `begin` is after, if a saved state is better than what stands in cells."""
        if self._shelf is None or place.memory is None:
            return None
        tokens, most, awaited = sequence.tokens, sequence.reusable, sequence.awaited
        adapters = sequence.adapters
        length, saved, _ = self._shelf.find(tokens, most, adapters)
        if saved is None or any(
            length < each.slots.find(tokens, most, adapters).length + LEAST for each in self._places
        ):
            return None
        # The shelf need not have had room for what was read for this very sequence.
        data = awaited.data if awaited is not None and awaited.saved is saved else saved.data
        if data is None or not place.slots.has_room(len(saved.tokens)):
            return None
        self._shelf.touch(saved)
        begun = self._bring(place, saved.tokens, data, length, adapters)
        if begun is None:
            self._shelf.remove(saved)
            return None
        place.slots.note_use(begun[0], saved.use)
        if saved.file is None:
            self.counts.ram += begun[1]
        else:
            self.counts.disk += begun[1]
        return begun

    def _from_elsewhere(self, sequence: Sequence, place: Place) -> tuple[int, int] | None:
        """What `begin` is after, if the other lane has more of it in its cells than this one."""
        tokens, most, adapters = sequence.tokens, sequence.reusable, sequence.adapters
        other = self._elsewhere(place, sequence)
        if other is None or place.memory is None:
            return None
        there, found = other
        slots, memory, source = there.slots, there.memory, found.seq
        if memory is None or source is None or found.length < place.slots.find(tokens, most, adapters).length + LEAST:
            return None
        lent = slots.lend(source, found.length) if len(slots.tokens_of(source)) > found.length else None
        held = slots.tokens_of(source if lent is None else lent)
        data = memory.save(source if lent is None else lent) if place.slots.has_room(len(held)) else None
        if lent is not None:
            slots.release(lent, keep=False)
        begun = None if data is None else self._bring(place, held, data, found.length, adapters)
        self.counts.cells += begun[1] if begun else 0
        return begun

    def _elsewhere(self, place: Place, sequence: Sequence) -> tuple[Place, Found] | None:
        """The other lane that has the longest beginning of its tokens and can save it, and what it has."""
        tokens, most, adapters = sequence.tokens, sequence.reusable, sequence.adapters
        others = [each for each in self._places if each is not place and each.memory is not None]
        found = [(each, each.slots.find(tokens, most, adapters)) for each in others]
        return max(found, key=lambda each: each[1].length, default=None)

    @staticmethod
    def _bring(place: Place, tokens: array[int], data: Data, length: int, adapters: Adapters) -> tuple[int, int] | None:
        """Restore a state and keep `length` of its tokens: an id that goes on from there, and how many these are."""
        slots, memory = place.slots, place.memory
        assert memory is not None
        seq = slots.claim(adapters)  # may save what stood there, and so drive the very state from the shelf
        slots.make_room(len(tokens))
        if not memory.restore(seq, data):
            slots.release(seq, keep=False)
            return None
        slots.extend(seq, tokens)
        return seq, slots.trim(seq, length)

    def _demote(self, place: Place, seq: int, tokens: array[int], own: int) -> None:
        """An idle prefix is about to lose its cells: save it, if that pays."""
        if len(tokens) < LEAST or (self._cuttable and own < max(LEAST, len(tokens) // _OWN)):
            return
        self._save(place, seq, tokens, place.slots.space_of(seq))

    def _save(self, place: Place, seq: int, tokens: array[int], adapters: Adapters) -> None:
        if self._shelf is None or place.memory is None or self._shelf.has(tokens, adapters):
            return
        data = place.memory.save(seq)
        if data is not None:
            self.counts.demotions += 1
            use = place.slots.use_of(seq) or Use(at=time.monotonic())
            self._shelf.put(Saved(tokens[:], data, None, adapters, use))


def _give_up(slots: Slots, deadline: float) -> None:
    """Give up idle prefixes, what was used last first, until the clock says `deadline`."""
    for index in slots.idle():
        if time.monotonic() >= deadline:
            return
        slots.give_up(index)
