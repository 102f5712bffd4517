"""How much of the memory there is to ask for: how many sequences, with how many cells, and whether a wide lane.

Pure. Works within a share of one pool, or of several at once: a load fits if it fits in each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from runner.protocol.devices import HOST
from runner.protocol.options import POOLED, LoadOptions
from runner.scheduler.memory.footprint import Footprint
from runner.scheduler.memory.need import Need, need

MOST_SEQUENCES = 128  # of `auto`
ORDINARY_REQUEST = 2048  # tokens; `auto` makes room for this much per sequence, and longer ones share
_FEWEST_CELLS = 512  # per sequence: more sequences than that gives would only preempt each other
_UNIT = 256  # llama.cpp's unit of cells
_NARROW = 8  # sequences asked for: no more than that are well off in a pool
_SHARE = 4  # `auto` takes a quarter of what is left beside the weights: other models want a place too
_POOLS_SHARE = 4  # and of that the pool takes a quarter beside a wide lane, or as much as its longest request needs

Estimate = Callable[[LoadOptions], Need]
Room = Mapping[str, int]


def fit(
    footprint: Footprint,
    options: LoadOptions,
    room: int | Room,
    *,
    splits: bool = True,
    estimate: Estimate | None = None,
) -> LoadOptions:
    """Settle `num_parallel`, `cells` and the wide lane so that a load stays within `room` bytes (of the host, or by
    pool), if one sequence does. `estimate` tells what options need; by default with everything on the host.

    The pool always holds one request of full length. A `num_parallel` that was asked for is honoured at full context
    where there is room, and with fewer cells where there isn't. 0 means auto: in a share of the room up to 128
    sequences of ordinary length, as many and as long as fit. Without `splits`, and for a few, there is a pool only.
    """
    rooms = {HOST: room} if isinstance(room, int) else room
    return _Fitting(footprint, options, rooms, estimate or (lambda asked: need(footprint, asked))).fitted(splits)


class _Fitting:
    """One search. What options need is asked again and again, and grows with every one of them."""

    def __init__(self, footprint: Footprint, options: LoadOptions, room: Room, estimate: Estimate) -> None:
        self._footprint = footprint
        self._options = options
        self._room = room
        self._estimate = estimate
        self._share = 1 if options.num_parallel else _SHARE

    def fitted(self, splits: bool) -> LoadOptions:
        footprint, options = self._footprint, self._options
        asked = options.num_parallel
        wanted = asked or MOST_SEQUENCES
        alone = self._pool(asked or POOLED, self._share)
        if not splits or footprint.embeds or footprint.state or wanted <= _NARROW:
            return alone
        pool = self._pool(min(wanted, POOLED), _POOLS_SHARE * self._share)
        fewest = wanted if asked else POOLED + 1  # a lane that is no wider than the pool helps nobody
        left = self._left(min(wanted, POOLED), pool.cells)
        longest = _padded(min(options.num_ctx, ORDINARY_REQUEST))
        shortest = _padded(min(longest, _FEWEST_CELLS))
        sequences = _most(fewest, wanted, lambda count: self._lane_fits(pool, count, shortest, left))
        if sequences < fewest:
            return alone
        units = _most(shortest // _UNIT, longest // _UNIT, lambda n: self._lane_fits(pool, sequences, n * _UNIT, left))
        return msgspec.structs.replace(
            options, num_parallel=sequences, cells=pool.cells, wide_sequences=sequences, wide_cells=units * _UNIT
        )

    def _pool(self, sequences: int, share: int) -> LoadOptions:
        """A pool of at most so many sequences, in one part in `share` of what the room leaves beside the weights."""
        options = self._options
        asked = bool(options.num_parallel)
        if not asked:
            while sequences > 1 and not self._fits(self._with(sequences, options.num_ctx)):
                sequences //= 2
        empty = self._need(sequences, 1)
        spare = {pool: max(0, room - empty.pools.get(pool, 0)) // share for pool, room in self._room.items()}
        each = options.num_ctx if asked else min(options.num_ctx, ORDINARY_REQUEST)

        def within(cells: int) -> bool:
            pools = self._need(sequences, cells).pools
            return all(pools.get(pool, 0) - empty.pools.get(pool, 0) <= room for pool, room in spare.items())

        cells = max(options.num_ctx, _most(1, each * sequences, within))
        if not asked:
            sequences = max(1, min(sequences, cells // min(options.num_ctx, _FEWEST_CELLS)))
        return self._with(sequences, cells)

    def _left(self, sequences: int, cells: int) -> dict[str, int]:
        """What a wide lane may take of each pool."""
        empty, pool = self._need(1, 1).pools, self._need(sequences, cells).pools
        return {
            name: max(0, room - empty.get(name, 0)) // self._share - (pool.get(name, 0) - empty.get(name, 0))
            for name, room in self._room.items()
        }

    def _lane_fits(self, pool: LoadOptions, sequences: int, cells: int, left: Room) -> bool:
        wide = msgspec.structs.replace(pool, num_parallel=sequences, wide_sequences=sequences, wide_cells=cells)
        found = self._estimate(wide)
        taken = {HOST: found.later, **found.devices_later}
        return all(taken.get(name, 0) <= room for name, room in left.items())

    def _fits(self, options: LoadOptions) -> bool:
        pools = self._estimate(options).pools
        return all(pools.get(pool, 0) <= room for pool, room in self._room.items())

    def _need(self, sequences: int, cells: int) -> Need:
        return self._estimate(self._with(sequences, cells))

    def _with(self, sequences: int, cells: int) -> LoadOptions:
        """A pool and nothing else."""
        return msgspec.structs.replace(
            self._options, num_parallel=sequences, cells=cells, wide_sequences=0, wide_cells=0
        )


def _most(low: int, high: int, fits: Callable[[int], bool]) -> int:
    """The largest number from `low` to `high` that fits, or one less than `low`; what fits is all below it."""
    if high >= low and fits(high):
        return high
    low -= 1
    while low < high - 1:
        middle = (low + high) // 2
        if fits(middle):
            low = middle
        else:
            high = middle
    return low


def _padded(cells: int) -> int:
    return -(-cells // _UNIT) * _UNIT
