"""Which sequence ids of the context are in use, and what stands in their cells.

An ended sequence leaves its tokens behind, so that a request with the same beginning (the next turn of a chat) computes
only what is new. A fork holds the cells of what it was forked from: they are counted once, and are free when the last
holder lets go. Idle cells are given up, oldest first, as soon as somebody needs them. Where every sequence has cells of
its own (a split cache), forks are copies, nobody needs another's cells, and ids in use are kept together.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

_KEPT = 4  # a prefix is reused where it is at least one part in so many of what stands there


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
    busy: bool = False
    last_used: int = 0


class Slots:
    """`count` sequence ids sharing `cells` cells, or with `own` holding the same part of them each.

    `forget(seq, start)` drops a sequence's cells from `start` on and says whether it could; `share(source, target)`
    lets the empty `target` hold all of the source's cells, or what is in them where they are its own. With `reuse` off
    (models whose state can't be cut) nothing is kept of a sequence that ended.
    """

    def __init__(
        self,
        count: int,
        cells: int,
        forget: Callable[[int, int], bool],
        share: Callable[[int, int], None],
        *,
        reuse: bool,
        own: bool = False,
    ) -> None:
        self.cells = cells
        self._own = own
        self._slots = [_Slot() for _ in range(count)]
        self._runs: set[_Run] = set()
        self._forget = forget
        self._share = share
        self._reuse = reuse
        self._clock = 0

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

    def acquire(self, tokens: Sequence[int], most: int | None = None) -> tuple[int, int]:
        """A sequence id for these tokens, and how many of their first (at most `most`) are computed there already.

        At least one token is always left to compute: its logits are what the caller is after. The caller has seen
        that `free` is not zero.
        """
        wanted = array("i", tokens)
        best, shared = self._choose(wanted, len(wanted) if most is None else most)
        shared = min(shared, len(wanted) - 1)
        slot = self._slots[best]
        if len(slot.tokens) > shared and not self._forget(best, shared):
            self._forget(best, 0)
            shared = 0
        self._cut(best, shared)
        slot.busy = True
        return best, shared

    def fork(self, source: int) -> int | None:
        """A sequence id that holds the same cells as the running `source`; None when all ids are in use."""
        if not self.free:
            return None
        target, _ = self._choose(array("i"), 0)
        self._copy(source, target)
        self._slots[target].busy = True
        return target

    def gather(self) -> dict[int, int]:
        """Bring the ids in use together, with as few moves as that takes: where each moved one is now.

        A gap costs another pass over the weights with every step, and a move is one copy. Only for sequences that have
        cells of their own.
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
                self._save(target, [index for index in range(len(slots)) if index not in window])
            self._copy(source, target)
            slots[target].busy, slots[source].busy = True, False
            self._drop(source)
        return moved

    def extend(self, index: int, tokens: Sequence[int]) -> None:
        """These tokens are computed now, behind those that were."""
        slot = self._slots[index]
        slot.tokens.extend(tokens)
        if slot.runs and len(slot.runs[-1].holders) == 1:
            slot.runs[-1].size += len(tokens)
            return
        run = _Run(len(tokens), {index})
        slot.runs.append(run)
        self._runs.add(run)

    def cut(self, index: int, start: int) -> bool:
        """Forget what a running sequence computed from position `start` on. False where its state can't be cut there;
        then all of it stands as it was."""
        if not self._forget(index, start):
            return False
        self._cut(index, start)
        return True

    def release(self, index: int, *, keep: bool = True) -> None:
        """The sequence ended. With `keep` its tokens stay as long as nobody needs the cells."""
        slot = self._slots[index]
        slot.busy = False
        self._clock += 1
        slot.last_used = self._clock
        if not (keep and self._reuse):
            self._drop(index)

    def make_room(self, cells: int) -> None:
        """Give up idle prefixes, least recently used first, until `cells` more cells are free (or none is left).

        Where every sequence has its own, the next one finds them free.
        """
        if self._own:
            return
        for index in self._oldest_first():
            if self.cells - self.cells_used >= cells:
                return
            self._drop(index)

    def give_up(self) -> None:
        """Give up every idle prefix."""
        for index in self._oldest_first():
            self._drop(index)

    def reset(self) -> None:
        """The context was cleared: nothing stands anywhere any more."""
        self._runs.clear()
        for slot in self._slots:
            del slot.tokens[:]
            del slot.runs[:]
            slot.busy = False

    def _away(self) -> Callable[[int], int]:
        """How far an id is from those in use: 0 for the gaps between them, which cost. In a pool all are alike."""
        busy = [index for index, slot in enumerate(self._slots) if slot.busy]
        if not self._own or not busy:
            return lambda index: 0
        return lambda index: max(busy[0] - index, 0, index - busy[-1])

    def _oldest_first(self) -> list[int]:
        idle = [index for index, slot in enumerate(self._slots) if not slot.busy and slot.tokens]
        return sorted(idle, key=lambda index: self._slots[index].last_used)

    def _choose(self, wanted: array[int], most: int) -> tuple[int, int]:
        """An idle sequence id, and how many of the first wanted tokens stand there; no more than `most` count."""
        idle = [index for index, slot in enumerate(self._slots) if not slot.busy]
        shared = {index: min(self._common(index, wanted), most) for index in idle}
        held = {index: len(self._slots[index].tokens) for index in idle}
        # Conversations begin alike (the same system prompt), and who takes a slot for that destroys what follows there.
        # The same prompt again, though, is somebody who wants another answer instead of the one that stands there.
        worth_it = [
            index
            for index in idle
            if shared[index] and (shared[index] == len(wanted) or shared[index] * _KEPT >= held[index])
        ]
        if worth_it:
            best = max(worth_it, key=lambda index: (shared[index], -held[index]))
        else:  # an empty one, or the one that was idle longest
            away = self._away()
            best = min(idle, key=lambda index: (away(index), held[index] > 0, self._slots[index].last_used))
        return best, shared[best]

    def _save(self, index: int, places: Iterable[int]) -> None:
        """Put an idle prefix into one of these places, unless what stands in all of them was used later."""
        slot = self._slots[index]
        idle = [place for place in places if not self._slots[place].busy]
        oldest = min(
            idle, key=lambda place: (len(self._slots[place].tokens) > 0, self._slots[place].last_used), default=None
        )
        if oldest is not None and not (self._slots[oldest].tokens and self._slots[oldest].last_used > slot.last_used):
            self._copy(index, oldest)
            self._slots[oldest].last_used = slot.last_used

    def _copy(self, source: int, target: int) -> None:
        """Let the idle `target` hold what `source` does."""
        if self._slots[target].tokens:
            self._drop(target)
        self._share(source, target)
        origin, twin = self._slots[source], self._slots[target]
        twin.tokens = origin.tokens[:]
        if not self._own:
            twin.runs = origin.runs[:]
            for run in twin.runs:
                run.holders.add(target)
        elif twin.tokens:
            twin.runs = [_Run(len(twin.tokens), {target})]
            self._runs.update(twin.runs)

    def _drop(self, index: int) -> None:
        self._forget(index, 0)
        self._cut(index, 0)

    def _cut(self, index: int, start: int) -> None:
        """Let go of the cells from position `start` on; those that others hold as well stay with them."""
        slot = self._slots[index]
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

    def _split(self, run: _Run, size: int) -> None:
        """Divide a run behind its first `size` cells, for all its holders."""
        rest = _Run(run.size - size, set(run.holders))
        run.size = size
        self._runs.add(rest)
        for holder in rest.holders:
            runs = self._slots[holder].runs
            runs.insert(runs.index(run) + 1, rest)

    def _common(self, index: int, wanted: array[int]) -> int:
        """Length of the common beginning, by bisection over comparisons that C does."""
        held = self._slots[index].tokens
        low, high = 0, min(len(held), len(wanted))
        while low < high:
            middle = (low + high + 1) // 2
            if held[low:middle] == wanted[low:middle]:
                low = middle
            else:
                high = middle - 1
        return low


def _windows(values: Sequence[int], width: int) -> list[int]:
    """The sum of every `width` neighbours."""
    sums = [0, *accumulate(values)]
    return [sums[start + width] - sums[start] for start in range(len(values) - width + 1)]
