"""Which sequence ids of the context are in use, and what stands in their cells.

An ended sequence leaves its tokens behind, so that a request with the same beginning (the next turn of a chat) computes
only what is new. Idle cells are given up, oldest first, as soon as somebody needs them.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

_KEPT = 4  # a prefix is reused where it is at least one part in so many of what stands there


@dataclass(slots=True)
class _Slot:
    tokens: array[int] = field(default_factory=lambda: array("i"))
    busy: bool = False
    last_used: int = 0


class Slots:
    """`count` sequence ids sharing `cells` cells. `forget(seq, start)` drops a sequence's cells from `start` on and
    says whether it could; with `reuse` off (models whose state can't be cut) nothing is kept."""

    def __init__(self, count: int, cells: int, forget: Callable[[int, int], bool], *, reuse: bool) -> None:
        self.cells = cells
        self._slots = [_Slot() for _ in range(count)]
        self._forget = forget
        self._reuse = reuse
        self._clock = 0

    @property
    def free(self) -> int:
        """Sequence ids that nobody uses now."""
        return sum(not slot.busy for slot in self._slots)

    @property
    def cells_busy(self) -> int:
        """Cells held by running sequences."""
        return sum(len(slot.tokens) for slot in self._slots if slot.busy)

    @property
    def cells_used(self) -> int:
        """Cells that hold anything, idle prefixes included."""
        return sum(len(slot.tokens) for slot in self._slots)

    def acquire(self, tokens: Sequence[int]) -> tuple[int, int]:
        """A sequence id for these tokens, and how many of their first are computed there already.

        At least one token is always left to compute: its logits are what the caller is after. The caller has seen
        that `free` is not zero.
        """
        wanted = array("i", tokens)
        best, shared = self._choose(wanted)
        shared = min(shared, len(wanted) - 1)
        slot = self._slots[best]
        if len(slot.tokens) > shared and not self._forget(best, shared):
            self._forget(best, 0)
            shared = 0
        del slot.tokens[shared:]
        slot.busy = True
        return best, shared

    def extend(self, index: int, tokens: Sequence[int]) -> None:
        """These tokens are computed now, behind those that were."""
        self._slots[index].tokens.extend(tokens)

    def release(self, index: int, *, keep: bool = True) -> None:
        """The sequence ended. With `keep` its tokens stay as long as nobody needs the cells."""
        slot = self._slots[index]
        slot.busy = False
        self._clock += 1
        slot.last_used = self._clock
        if not (keep and self._reuse):
            self._drop(index)

    def make_room(self, cells: int) -> None:
        """Give up idle prefixes, least recently used first, until `cells` more cells are free (or none is left)."""
        idle = [index for index, slot in enumerate(self._slots) if not slot.busy and slot.tokens]
        for index in sorted(idle, key=lambda index: self._slots[index].last_used):
            if self.cells - self.cells_used >= cells:
                return
            self._drop(index)

    def reset(self) -> None:
        """The context was cleared: nothing stands anywhere any more."""
        for slot in self._slots:
            del slot.tokens[:]
            slot.busy = False

    def _choose(self, wanted: array[int]) -> tuple[int, int]:
        """An idle sequence id, and how many of the first wanted tokens stand there."""
        idle = [index for index, slot in enumerate(self._slots) if not slot.busy]
        shared = {index: self._shared(index, wanted) for index in idle}
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
            best = min(idle, key=lambda index: (held[index] > 0, self._slots[index].last_used))
        return best, shared[best]

    def _drop(self, index: int) -> None:
        self._forget(index, 0)
        del self._slots[index].tokens[:]

    def _shared(self, index: int, wanted: array[int]) -> int:
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
