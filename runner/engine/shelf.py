"""Saved states of sequences that have lost their cells: in RAM up to a limit, beyond that in files.

What was used last stays longest. Knows tokens and bytes, and neither contexts nor folders; belongs to the loop.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from runner.engine.farewell import Use
from runner.engine.pictures import is_inside, whole
from runner.engine.prefixes import Prefixes
from runner.llama.state import Data
from runner.protocol.commands import Adapters

FILES = 512  # that are known of; those used longest ago are left to be cleaned up


@dataclass(slots=True, eq=False)
class Saved:
    """A state, and the tokens and adapters that led to it. `data` is None while it is only in a file, `file` None while
    it isn't."""

    tokens: array[int]
    data: Data | None
    file: str | None = None
    adapters: Adapters = ()
    use: Use = field(default_factory=Use)

    @property
    def nbytes(self) -> int:
        """Bytes in RAM."""
        return (self.data.nbytes if self.data is not None else 0) + self.tokens.itemsize * len(self.tokens)


@dataclass(slots=True, eq=False)
class Awaited:
    """A state on its way out of a file. `data` is None until then, and when nothing came of it."""

    saved: Saved
    data: Data | None = None
    is_read: bool = False


class Shelf:
    """Holds states of at most `limit` bytes together. `spill` takes what has to leave and is in no file yet.

    Where states are `cuttable`, one serves for every beginning of its tokens; else only for all of them.
    """

    def __init__(self, limit: int, spill: Callable[[Saved], object], *, cuttable: bool) -> None:
        self._limit = limit
        self._spill = spill
        self._cuttable = cuttable
        self._prefixes: Prefixes[Saved] = Prefixes()
        self._filed: Prefixes[Saved] = Prefixes()  # whatever is in a file, in RAM as well or not
        self._here: OrderedDict[Saved, None] = OrderedDict()  # in RAM, the one used last at the end
        self._files: OrderedDict[Saved, None] = OrderedDict()  # in a file alone
        self.nbytes = 0

    @property
    def keeps(self) -> bool:
        """Whether anything stays in RAM."""
        return self._limit > 0

    def find(
        self, tokens: Sequence[int], most: int | None = None, adapters: Adapters = ()
    ) -> tuple[int, Saved | None, int]:
        """How many of the first tokens a state is good for, which one, and how many have been seen by any.

        At least one token is left to compute, and at most `most` count.
        """
        match = self._prefixes.match(tokens, adapters)
        limit = len(tokens) - 1 if most is None else min(most, len(tokens) - 1)
        if not self._cuttable:
            usable = [end for end in match.ends if end[0] <= limit and not is_inside(tokens, end[0])]
            length = usable[-1][0] if usable else 0
            return length, _handiest([saved for at, saved in usable if at == length]), match.length
        length = whole(tokens, max(0, min(match.length, limit)))
        return length, _handiest(match.near()) if length else None, match.length

    def has(self, tokens: Sequence[int], adapters: Adapters = ()) -> bool:
        """Whether a state serves for all of these tokens already. It counts as used then."""
        match = self._prefixes.match(tokens, adapters)
        if match.length < len(tokens):
            return False
        if self._cuttable:
            holder = _handiest(match.near())
        else:
            holder = _handiest([saved for length, saved in match.ends if length == len(tokens)])
        if holder is not None:
            self.touch(holder)
        return holder is not None

    def put(self, saved: Saved) -> None:
        """Take in a state. What it serves for as well goes, and then whatever is too much."""
        if saved not in self._prefixes:
            if self._cuttable:
                for _, shorter in self._prefixes.match(saved.tokens, saved.adapters).ends:
                    self._forget(shorter)  # a file of it is of use until this one has its own
            self._prefixes.add(saved, saved.tokens, saved.adapters)
        if saved in self._here:
            return
        self._files.pop(saved, None)
        self._here[saved] = None
        self.nbytes += saved.nbytes
        while self.nbytes > self._limit:
            self._evict(next(iter(self._here)))

    def know(self, saved: Saved) -> None:
        """Know of a state that is in a file alone."""
        if saved not in self._prefixes:
            self._prefixes.add(saved, saved.tokens, saved.adapters)
        if saved not in self._filed:
            self._filed.add(saved, saved.tokens, saved.adapters)
        self._files[saved] = None
        while len(self._files) > FILES:
            self.remove(next(iter(self._files)))

    def written(self, saved: Saved, file: str) -> list[str]:
        """A state is in this file now. Returns the files that are of no use beside it."""
        saved.file = file
        shorter = self._shorter(saved.tokens, saved.adapters)
        for other in shorter:
            self.remove(other)
        if saved in self._here:
            self._filed.add(saved, saved.tokens, saved.adapters)
        else:
            saved.data = None
            self.know(saved)
        return [other.file for other in shorter if other.file is not None and other.file != file]

    def replaced(self, tokens: Sequence[int], adapters: Adapters = ()) -> list[str]:
        """The files that are of no use beside one of these tokens."""
        return [other.file for other in self._shorter(tokens, adapters) if other.file is not None]

    def _shorter(self, tokens: Sequence[int], adapters: Adapters) -> list[Saved]:
        """What is in files and holds nothing but a beginning of these tokens, if all of them serve for that."""
        return [other for _, other in self._filed.match(tokens, adapters).ends] if self._cuttable else []

    def filed(self, tokens: Sequence[int], adapters: Adapters = ()) -> int:
        """How many of the first tokens a file serves for."""
        match = self._filed.match(tokens, adapters)
        if self._cuttable:
            return match.length
        return match.ends[-1][0] if match.ends else 0

    def touch(self, saved: Saved) -> None:
        """It was of use."""
        for order in (self._here, self._files):
            if saved in order:
                order.move_to_end(saved)

    def remove(self, saved: Saved) -> None:
        """Forget a state, and its file."""
        if saved in self._filed:
            self._filed.remove(saved)
        self._forget(saved)

    def _forget(self, saved: Saved) -> None:
        if saved not in self._prefixes:
            return
        self._prefixes.remove(saved)
        self._files.pop(saved, None)
        if saved in self._here:
            del self._here[saved]
            self.nbytes -= saved.nbytes

    def unfiled(self) -> list[Saved]:
        """What is in RAM and in no file, the one used last first."""
        return [saved for saved in reversed(self._here) if saved.file is None]

    def _evict(self, saved: Saved) -> None:
        del self._here[saved]
        self.nbytes -= saved.nbytes
        if saved.file is None:
            self._prefixes.remove(saved)
            self._spill(saved)  # it comes back when it is written
            return
        saved.data = None
        self.know(saved)


def _handiest(candidates: list[Saved]) -> Saved | None:
    """One that is in RAM if any is, and the smallest of those."""
    return min(candidates, key=lambda saved: (saved.data is None, len(saved.tokens)), default=None)
