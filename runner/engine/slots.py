"""Which sequence ids of the context are in use, and what stands in their cells.

An ended sequence leaves its tokens behind, so that a request with the same beginning (the next turn of a chat) computes
only what is new. Running ones share theirs too: a fork holds the cells of what it was forked from, they are counted
once, and are free when the last holder lets go. Idle cells are given up, oldest first, as soon as somebody needs them.
Where every sequence has cells of its own (a split cache), forks are copies, nobody needs another's cells, and ids in
use are kept together.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from runner.engine.farewell import Use
from runner.engine.pictures import is_inside, position, whole
from runner.engine.prefixes import Match, Prefixes
from runner.protocol.commands import Adapters

_KEPT = 4  # an idle prefix is taken over where what is reused is at least one part in so many of what stands there
_LEAST = 16  # tokens: for fewer nobody is forked,
_LEAST_COPIED = 64  # and for fewer than so many not where a fork is a copy
_TRIM = 256  # cells that an idle prefix gives up at a time, from its end


@dataclass(slots=True, eq=False)
class _Run:
    """Consecutive cells that the same slots hold."""

    size: int
    holders: set[int]


@dataclass(slots=True)
class _Slot:
    """One sequence id. The sizes of `runs`, in order, add up to the number of `tokens`."""

    tokens: array[int] = field(default_factory=lambda: array("i"))
    runs: list[_Run] = field(default_factory=list)
    space: Adapters = ()
    busy: bool = False
    last_used: int = 0
    use: Use | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What stands in the cells of a prompt: its first `length` tokens in those of `seq`, which can be gone on from.

    `known` counts the tokens that it has in common with anybody, whether they can be gone on from or not.
    """

    length: int
    seq: int | None
    known: int


def _forget_it(_seq: int, _tokens: array[int], _own: int) -> None:
    pass


class Slots:
    """`count` sequence ids sharing `cells` cells, or where they are kept `apart` holding the same part of them each.

    Each is used in a `space`, and what was computed in one is no prefix in another.

    `forget(seq, start)` drops a sequence's cells from `start` on and says whether it could; `share(source, target)`
    lets the empty `target` hold all of the source's cells, or what is in them where they are apart. `save(seq, tokens,
    own)` hears of an idle prefix that is about to lose cells, `own` of whose last tokens nobody else holds. Where
    states aren't `cuttable` (recurrent, hybrid, sliding window), a sequence can only be gone on from where it stands.
    """

    def __init__(
        self,
        count: int,
        cells: int,
        forget: Callable[[int, int], bool],
        share: Callable[[int, int], None],
        *,
        cuttable: bool = True,
        apart: bool = False,
        save: Callable[[int, array[int], int], None] = _forget_it,
    ) -> None:
        self.cells = cells
        self.cuttable = cuttable
        self.apart = apart
        self._least = _LEAST_COPIED if apart else _LEAST
        self._slots = [_Slot() for _ in range(count)]
        self._runs: set[_Run] = set()
        self._prefixes: Prefixes[int] = Prefixes()
        self._forget = forget
        self._share = share
        self.save = save
        self._clock = 0
        self._has_new_idle = False

    @property
    def free(self) -> int:
        """Sequence ids that nobody uses now."""
        return sum(not slot.busy for slot in self._slots)

    @property
    def cells_busy(self) -> int:
        """Cells held by running sequences."""
        return sum(self.held(index for index, slot in enumerate(self._slots) if slot.busy))

    @property
    def cells_used(self) -> int:
        """Cells that hold anything, idle prefixes included."""
        return sum(run.size for run in self._runs)

    def held(self, indices: Iterable[int]) -> list[int]:
        """Cells that each of these sequences holds, those that several hold counted with the first of them.

        So that is what each would give back if all those behind it had gone before.
        """
        counted: set[_Run] = set()
        sizes: list[int] = []
        for index in indices:
            size = 0
            for run in self._slots[index].runs:
                if len(run.holders) == 1:
                    size += run.size
                elif run not in counted:
                    counted.add(run)
                    size += run.size
            sizes.append(size)
        return sizes

    def find(self, tokens: Sequence[int], most: int | None = None, space: Adapters = ()) -> Found:
        """Where the longest beginning of these tokens stands, of which at most `most` count.

        At least one token is always left to compute: its logits are what the caller is after.
        """
        match = self._prefixes.match(tokens, space)
        limit = len(tokens) - 1 if most is None else min(most, len(tokens) - 1)
        usable = [end for end in match.ends if end[0] <= limit and not is_inside(tokens, end[0])]
        if self.cuttable:
            length = whole(tokens, min(match.length, limit))
            if length >= self._least or (length > 0 and not self._slots[self._best(match)].busy):
                return Found(length, self._best(match), match.length)
            usable = [end for end in usable if not self._slots[end[1]].busy]  # for so few, one is taken over or none
        return Found(*usable[-1], match.length) if usable else Found(0, None, match.length)

    def acquire(self, tokens: Sequence[int], most: int | None = None, space: Adapters = ()) -> tuple[int, int]:
        """A sequence id for these tokens, and how many of their first (at most `most`) are computed there already.

        The caller has seen that `free` is not zero.
        """
        found = self.find(tokens, most, space)
        seq, shared = self._place(found, is_again=found.known >= len(tokens))
        self._slots[seq].busy = True
        self._slots[seq].space = space
        return seq, shared

    def claim(self, space: Adapters = ()) -> int:
        """An empty sequence id, with what was idle there longest given up. The caller has seen that one is free."""
        seq = self._idlest()
        self._drop(seq)
        self._slots[seq].busy = True
        self._slots[seq].space = space
        return seq

    def fork(self, source: int) -> int | None:
        """A sequence id that holds the same cells as the running `source`; None when all ids are in use."""
        if not self.free:
            return None
        target = self.claim()
        self._copy(source, target)
        return target

    def gather(self) -> dict[int, int]:
        """Bring the ids in use together, with as few moves as that takes: where each moved one is now.

        A gap costs another pass over the weights with every step, and a move is one copy. Only where they are apart.
        """
        slots = self._slots
        busy = [index for index, slot in enumerate(slots) if slot.busy]
        if not busy or busy[-1] - busy[0] < len(busy):
            return {}
        count = len(busy)
        inside = _windows([slot.busy for slot in slots], count)
        lost = _windows([0 if slot.busy else len(slot.tokens) for slot in slots], count)
        first = max(range(len(inside)), key=lambda start: (inside[start], -lost[start]))
        window = range(first, first + count)
        moved = dict(
            zip(
                [index for index in busy if index not in window],
                [index for index in window if not slots[index].busy],
                strict=True,
            )
        )
        for source, target in moved.items():
            if slots[target].tokens:
                self._put_elsewhere(target, [index for index in range(len(slots)) if index not in window])
                self._drop(target)
            self._copy(source, target)
            slots[source].busy = False
            self._cut(source, 0)
        return moved

    def leave_copy(self, source: int) -> bool:
        """Leave behind, as an idle prefix, where the running `source` stands now. False when no id is empty."""
        target = self._idlest() if self.free else source
        if self._slots[target].tokens:
            return False
        self._copy(source, target)
        self.release(target)
        return True

    def has_room(self, count: int) -> bool:
        """Whether a newcomer could hold so many tokens, if idle prefixes made way."""
        return count <= (self.cells // len(self._slots) if self.apart else self.cells - self.cells_busy)

    def tokens_of(self, index: int) -> array[int]:
        """A copy of what stands there."""
        return self._slots[index].tokens[:]

    def use_of(self, index: int) -> Use | None:
        """What is noted of how the prefix there is used."""
        return self._slots[index].use

    def note_use(self, index: int, use: Use) -> None:
        """Note it. A copy of the prefix has the same note, and it goes with the last of the tokens."""
        self._slots[index].use = use

    def space_of(self, index: int) -> Adapters:
        """In which space what stands there was computed."""
        return self._slots[index].space

    def lend(self, index: int, length: int) -> int | None:
        """An id that holds the first `length` tokens of another until it is released; None when no other id is idle."""
        target = self._idlest() if self.free else index
        if target == index:
            return None
        self._drop(target)
        self._copy(index, target)
        self._cut(target, length)
        return target

    def is_busy(self, index: int) -> bool:
        """Whether somebody runs there."""
        return self._slots[index].busy

    def extend(self, index: int, tokens: Sequence[int]) -> None:
        """These tokens are computed now, behind those that were."""
        if not tokens:
            return
        slot = self._slots[index]
        if slot.tokens:
            self._prefixes.advance(index, tokens)
        else:
            self._prefixes.add(index, tokens, slot.space)
        slot.tokens.extend(tokens)
        if slot.runs and len(slot.runs[-1].holders) == 1:
            slot.runs[-1].size += len(tokens)
            return
        run = _Run(len(tokens), {index})
        slot.runs.append(run)
        self._runs.add(run)

    def release(self, index: int, *, keep: bool = True) -> None:
        """The sequence ended. With `keep` its tokens stay as long as nobody needs the cells."""
        slot = self._slots[index]
        slot.busy = False
        self._clock += 1
        slot.last_used = self._clock
        self._has_new_idle = True
        if not keep:
            self._cut(index, 0)

    def make_room(self, cells: int) -> None:
        """Give up idle prefixes, least recently used first, each from its end, until `cells` more cells are free.

        Where every sequence has its own, the next one finds them free.
        """
        if self.apart:
            return
        missing = cells - (self.cells - self.cells_used)
        while missing > 0:
            idle = [index for index, slot in enumerate(self._slots) if not slot.busy and slot.tokens]
            if not idle:
                return
            oldest = min(idle, key=lambda index: self._slots[index].last_used)
            own, excess = self._own(oldest), max(missing, _TRIM)
            self._give_up(oldest, len(self._slots[oldest].tokens) - excess if self.cuttable and own > excess else 0)
            missing = cells - (self.cells - self.cells_used)

    def retire(self, limit: int) -> None:
        """Give up idle prefixes, least recently used first, until no more than `limit` cells are held by them alone."""
        if not self._has_new_idle:
            return
        self._has_new_idle = False
        idle = self.idle()
        while idle and self.cells_used - self.cells_busy > limit:
            self.give_up(idle.pop())

    def idle(self) -> list[int]:
        """The sequence ids where prefixes stand that nobody uses, the one used last first."""
        idle = [index for index, slot in enumerate(self._slots) if not slot.busy and slot.tokens]
        return sorted(idle, key=lambda index: -self._slots[index].last_used)

    def give_up(self, index: int) -> None:
        """Drop an idle prefix, as if somebody needed its cells."""
        self._give_up(index, 0)

    def clear(self) -> None:
        """Drop every idle prefix."""
        for index in self.idle():
            self.give_up(index)

    def trim(self, index: int, length: int) -> int:
        """Drop what a running sequence holds beyond its first `length` tokens. Returns how many are left."""
        return self._cut(index, length)

    def reset(self) -> None:
        """The context was cleared: nothing stands anywhere any more."""
        self._runs.clear()
        self._prefixes.clear()
        for slot in self._slots:
            del slot.tokens[:]
            del slot.runs[:]
            slot.busy = False
            slot.use = None

    def _best(self, match: Match[int]) -> int:
        """Whose cells to use of those who hold the same beginning: an idle one that holds nothing more, or anyone."""
        return min(match.near(), key=lambda seq: (self._slots[seq].busy, len(self._slots[seq].tokens)))

    def _place(self, found: Found, *, is_again: bool) -> tuple[int, int]:
        """Take over the cells that were found, or hold them too from another id, or begin in an empty one."""
        seq, length = found.seq, found.length
        target = self._idlest()
        if seq is None:
            self._drop(target)
            return target, 0
        slot = self._slots[seq]
        excess = len(slot.tokens) - length
        has_empty = not self._slots[target].tokens
        # Conversations begin alike (the same system prompt), and who takes a slot over destroys what follows there.
        # The same prompt again, though, is somebody who wants another answer instead of the one that stands there.
        if self.cuttable:
            may_fork = has_empty and length >= self._least
            in_place = not excess or is_again or (length * _KEPT >= len(slot.tokens) and not may_fork)
        else:
            in_place = not has_empty  # a point that others may want to go on from as well
        if not slot.busy and (in_place or target == seq):
            if excess or not self.cuttable:
                self._tell(seq)
            return seq, self._cut(seq, length)
        self._drop(target)
        if length < self._least:
            return target, 0
        self._copy(seq, target)
        return target, self._cut(target, length)

    def _idlest(self) -> int:
        """An id where nothing stands, or the one that was idle longest."""
        idle = (index for index, slot in enumerate(self._slots) if not slot.busy)
        away = self._away()
        return min(idle, key=lambda index: (away(index), bool(self._slots[index].tokens), self._slots[index].last_used))

    def _away(self) -> Callable[[int], int]:
        """How far an id is from those in use: 0 for the gaps between them, which cost. In a pool all are alike."""
        busy = [index for index, slot in enumerate(self._slots) if slot.busy]
        if not self.apart or not busy:
            return lambda index: 0
        return lambda index: max(busy[0] - index, 0, index - busy[-1])

    def _put_elsewhere(self, index: int, places: Iterable[int]) -> None:
        """Copy an idle prefix to one of these places, unless what stands in all of them was used later."""
        slot = self._slots[index]
        idle = [place for place in places if not self._slots[place].busy]
        oldest = min(
            idle, key=lambda place: (bool(self._slots[place].tokens), self._slots[place].last_used), default=None
        )
        if oldest is None or (self._slots[oldest].tokens and self._slots[oldest].last_used > slot.last_used):
            return
        self._drop(oldest)
        self._copy(index, oldest)
        self._slots[oldest].busy = False
        self._slots[oldest].last_used = slot.last_used

    def _copy(self, source: int, target: int) -> None:
        """Let the empty `target` hold the cells of `source`."""
        self._share(source, target)
        origin, twin = self._slots[source], self._slots[target]
        twin.tokens = origin.tokens[:]
        twin.use, twin.space = origin.use, origin.space
        twin.busy = True
        if not self.apart:
            twin.runs = origin.runs[:]
            for run in twin.runs:
                run.holders.add(target)
        elif twin.tokens:
            twin.runs = [_Run(len(twin.tokens), {target})]
            self._runs.update(twin.runs)
        if twin.tokens:
            self._prefixes.add(target, twin.tokens, twin.space)

    def _drop(self, index: int) -> None:
        """Make an idle id empty."""
        if self._slots[index].tokens:
            self._give_up(index, 0)

    def _give_up(self, index: int, start: int) -> None:
        self._tell(index)
        self._cut(index, max(0, start))

    def _tell(self, index: int) -> None:
        tokens = self._slots[index].tokens
        self.save(index, tokens, len(tokens) - self._prefixes.covered(index))

    def _own(self, index: int) -> int:
        """Cells at the end of a sequence that it alone holds."""
        size = 0
        for run in reversed(self._slots[index].runs):
            if len(run.holders) > 1:
                break
            size += run.size
        return size

    def _cut(self, index: int, start: int) -> int:
        """Let go of the cells from token `start` on, or from the picture on that it would cut; those that others hold
        as well stay with them.

        Returns how many tokens are left: none when the state could not be cut there.
        """
        slot = self._slots[index]
        if len(slot.tokens) <= start:
            return start
        start = whole(slot.tokens, start)
        if not self._forget(index, position(slot.tokens, start)):
            self._forget(index, 0)
            start = 0
        excess = len(slot.tokens) - start
        while excess > 0:
            run = slot.runs[-1]
            if run.size > excess:
                self._split(run, run.size - excess)
                run = slot.runs[-1]
            excess -= run.size
            slot.runs.pop()
            run.holders.discard(index)
            if not run.holders:
                self._runs.discard(run)
        del slot.tokens[start:]
        self._prefixes.remove(index)
        if slot.tokens:
            self._prefixes.add(index, slot.tokens, slot.space)
        else:
            slot.use = None
        return start

    def _split(self, run: _Run, size: int) -> None:
        """Divide a run behind its first `size` cells, for all its holders."""
        rest = _Run(run.size - size, set(run.holders))
        run.size = size
        self._runs.add(rest)
        for holder in rest.holders:
            runs = self._slots[holder].runs
            runs.insert(runs.index(run) + 1, rest)


def _windows(values: Sequence[int], width: int) -> list[int]:
    """The sum of every `width` neighbours."""
    sums = [0, *accumulate(values)]
    return [sums[start + width] - sums[start] for start in range(len(values) - width + 1)]
