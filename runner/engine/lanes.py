"""The lanes that sequences are computed in: contexts on the same weights, each with its slots and its batch.

The *pool* is always there: few sequences share many cells, so a long prompt fits. The *wide* lane has a short slot for
each of many sequences. It is made on a thread of its own when more are there than the pool computes cheaply, and
given up when it hasn't been needed for a while. Knows nothing of what a step computes.
"""

from __future__ import annotations

import math
import sys
import threading
import time
import traceback
from collections.abc import Callable, Collection, Iterator
from collections.abc import Sequence as Seq
from dataclasses import dataclass

from runner.engine import ubatches
from runner.engine.cost import FIRST_GUESS, Cost
from runner.engine.pace import Pace
from runner.engine.plan import HEADROOM, Row, Snapshot, Work
from runner.engine.sequence import Sequence
from runner.engine.slots import Slots
from runner.engine.turns import Turns
from runner.errors import RunnerError
from runner.llama.batch import Batch
from runner.llama.context import Context
from runner.llama.state import States
from runner.protocol.commands import Adapters

PATIENCE = 60.0  # seconds that the wide lane stays when no crowd is there, and before another try when it wasn't made
WORTHWHILE = 0.1  # of a step's time: what a split cache has to save before its memory is taken
ANSWER = 256  # tokens that an answer is taken to have; longer ones were asked for


class Lane:
    """A context, its slots, its batch, and who runs in it: in the order of admission, so the newest is last.

    Prefixes that nobody uses may hold `idle_cells` of it, None for any number.
    """

    def __init__(
        self, context: Context, memory: States | None = None, *, cuttable: bool = True, idle_cells: int | None = None
    ) -> None:
        self.context = context
        self.memory = memory
        self.is_split = context.is_split
        self.idle_cells = idle_cells
        self.slots = Slots(
            context.sequences, context.cells, context.forget, context.share, cuttable=cuttable, apart=self.is_split
        )
        self.batch = Batch(context.batch)
        self.pace = Pace(context.batch)
        self.turns = Turns()
        self.running: list[Sequence] = []
        self.full = False  # llama.cpp found no room: nobody is admitted before somebody has left
        self.length = context.cells // context.sequences if self.is_split else context.cells  # cells of a sequence

    def snapshot(
        self, waiting: Collection[Sequence], budget: int, chunk: int, drafts: int, adapters: Adapters = ()
    ) -> Snapshot:
        """What the plan has to know for a step with these adapters: those who wait for this lane, and how many drafted
        tokens it may try."""
        now = time.monotonic_ns()
        held = self.slots.held([s.slot for s in self.running if s.slot is not None])
        # What the plan leaves free in a pool for everybody's next tokens nobody has to leave free in a slot of his own.
        own = HEADROOM * (self.context.sequences + 1) if self.is_split else 0
        return Snapshot(
            running=[
                Work(
                    s.key,
                    h,
                    s.remaining,
                    s.is_decoding,
                    len(s.draft) if s.is_decoding else 0,
                    rests=s.adapters != adapters,
                )
                for s, h in zip(self.running, held, strict=True)
            ],
            waiting=[] if self.full else [_waiting(s, now, adapters) for s in waiting],
            slots_free=self.slots.free,
            cells_free=self.slots.cells - sum(held) + own,
            budget=min(budget, self.batch.capacity),
            chunk=chunk,
            drafts=drafts,
        )

    def outgrown(self) -> list[Sequence]:
        """Those that have no cell left for their next token, newest first."""
        if not self.is_split:
            return []
        return [sequence for sequence in reversed(self.running) if len(sequence.tokens) > self.length]

    def gather(self) -> None:
        """Bring the running sequences' ids together where that saves passes over the weights."""
        if self.is_split and (moved := self.slots.gather()):
            for sequence in self.running:
                if sequence.slot is not None:
                    sequence.slot = moved.get(sequence.slot, sequence.slot)

    def ordered(self, rows: Seq[Row]) -> Seq[Row]:
        """The rows in the order of the batch: by sequence id where passes over the weights depend on it."""
        if not self.is_split:
            return rows
        slots = {sequence.key: sequence.slot or 0 for sequence in self.running}
        return sorted(rows, key=lambda row: slots[row.key])

    def passes(self, rows: Seq[tuple[int, int]]) -> int:
        """Ubatches that a batch of these (sequence id, tokens) takes."""
        if self.is_split:
            return ubatches.split(rows, self.batch.capacity)
        return ubatches.pooled(sum(count for _, count in rows), self.batch.capacity)


@dataclass(frozen=True, slots=True)
class Wide:
    """How the wide lane is made, and what it will have: sequences, and cells for each; and how its states are saved."""

    make: Callable[[], Context]
    sequences: int
    length: int
    memory: Callable[[Context], States] | None = None


class Lanes:
    """The pool, and the wide lane while it stands. `wide` is None where there never is one; a model that only embeds
    has no lane at all.

    `tell` is called on another thread when `settle` has something to do. Everything else is for the loop's thread.
    """

    def __init__(self, pool: Lane | None, wide: Wide | None = None, tell: Callable[[], None] = lambda: None) -> None:
        self.pool = pool
        self.wide: Lane | None = None
        self.cost = Cost()
        self._plan = wide
        self._tell = tell
        self._maker: threading.Thread | None = None
        self._made: Context | None = None
        self._enough = FIRST_GUESS + 1  # so many are a crowd
        self._crowded = -math.inf  # when there was a crowd last
        self._retry = -math.inf
        self._open = False  # whether newcomers are sent to the wide lane

    def __iter__(self) -> Iterator[Lane]:
        return iter([lane for lane in (self.pool, self.wide) if lane is not None])

    @property
    def sequences(self) -> int:
        """The most that are decoded together."""
        return max([lane.context.sequences for lane in self] + ([self._plan.sequences] if self._plan else []))

    @property
    def cells(self) -> int:
        """What all sequences may hold when both lanes stand."""
        pool = self.pool.context.cells if self.pool is not None else 0
        return pool + (self._plan.sequences * self._plan.length if self._plan else 0)

    @property
    def flash_attn(self) -> bool | None:
        """Whether the pool computes attention in one piece, as far as llama.cpp said."""
        return self.pool.context.flash_attn if self.pool is not None else None

    @property
    def running(self) -> list[Sequence]:
        return [sequence for lane in self for sequence in lane.running]

    def of(self, sequence: Sequence) -> Lane | None:
        """Where it runs; None for one that waits."""
        return next((lane for lane in self if sequence in lane.running), None)

    def tend(self, everybody: Collection[Sequence], now: float) -> Lane | None:
        """Have the wide lane made when there is a crowd, and give it up when there has been none for a while.

        `everybody` runs or waits. Returns the lane that was given up: its context is the caller's now.
        """
        if self._plan is None:
            return None
        crowd = [sequence for sequence in everybody if self._fits(sequence)]
        if self._is_crowd(crowd):
            self._crowded = now
            if self.wide is None and self._maker is None and now >= self._retry:
                self._begin(self._plan, now)
        self._open = now - self._crowded < PATIENCE
        if self.wide is not None and not self._open and not self.wide.running:
            left, self.wide = self.wide, None
            return left
        return None

    def lane_for(self, sequence: Sequence) -> Lane | None:
        """Where a waiting sequence is to run. While the wide lane is being made nobody waits for it."""
        return self.wide if self.wide is not None and self._open and self._fits(sequence) else self.pool

    def settle(self) -> Lane | None:
        """The wide lane was made, and is returned, or could not be."""
        if self._maker is None:
            return None
        self._maker.join()
        self._maker = None
        context, self._made = self._made, None
        if context is not None:
            memory = self._plan.memory(context) if self._plan and self._plan.memory else None
            self.wide = Lane(context, memory)
        return self.wide

    def seconds_left(self, now: float) -> float | None:
        """When `tend` has to be called though nothing happens; None for never."""
        return None if self.wide is None else max(0.0, self._crowded + PATIENCE - now)

    def close(self) -> None:
        """Free the contexts. Nobody runs any more."""
        self.settle()
        for lane in self:
            lane.context.close()

    def _fits(self, sequence: Sequence) -> bool:
        """Whether it will do with a short slot, as far as can be told."""
        return self._plan is not None and not sequence.is_long and need(sequence) <= self._plan.length

    def _is_crowd(self, crowd: Collection[Sequence]) -> bool:
        """Whether these, who would do with a short slot, are more than the pool holds, or computes well."""
        count = len(crowd)
        if self.pool is None or count < 2:
            return False
        if sum(map(need, crowd)) > self.pool.context.cells:
            return True
        if self.wide is None and self._maker is None:  # afterwards the pool's steps tell nothing of so many
            # Idle prefixes are in the way as well, but they can be moved to RAM for less than a lane.
            saving = self.cost.saving(count, self.pool.slots.cells_busy)
            # What a cell costs is measured with the sequences' own cells among the others, which is too much; and for a
            # few, making a lane of gigabytes costs more than it saves (docs/benchmarks.md).
            self._enough = FIRST_GUESS + 1
            if saving is not None and saving <= WORTHWHILE:
                self._enough = max(self._enough, count + 1)
            self._enough = min(self._enough, self.pool.context.sequences + 1)
        return count >= self._enough

    def _begin(self, plan: Wide, now: float) -> None:
        self._retry = now + PATIENCE

        def make() -> None:
            try:
                self._made = plan.make()
            except RunnerError as error:  # everybody stays in the pool, and it is tried again later
                print(f"the wide lane could not be made: {error.message}", file=sys.stderr, flush=True)
            except Exception:  # noqa: BLE001 -- as above
                traceback.print_exc()
            finally:
                self._tell()

        self._maker = threading.Thread(target=make, name="widen", daemon=True)
        self._maker.start()


def _waiting(sequence: Sequence, now: int, adapters: Adapters) -> Work:
    """What stands computed in somebody else's cells takes none, and other reuse as many as computing it would."""
    lent, own = (sequence.found, 0) if sequence.is_lent else (0, sequence.found)
    return Work(
        sequence.key,
        0,
        sequence.remaining - lent,
        cached=own,
        lent=lent,
        waited=sequence.waited(now),
        rests=sequence.adapters != adapters,
    )


def need(sequence: Sequence) -> int:
    """Tokens that a sequence is likely to have in the end. Who asks for many seldom takes them all."""
    wanted = sequence.command.sampling.num_predict
    answer = ANSWER if wanted < 0 else min(wanted, max(ANSWER, wanted // 2))
    return min(max(len(sequence.tokens), sequence.prompt_tokens + answer), sequence.context_length)
