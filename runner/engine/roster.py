"""Who is in the engine: those who run, each in a lane, and those who wait.

Owns the ways in and out: sequences go back to waiting, leave for good, and are forked. Knows no tokens and no events.
"""

from __future__ import annotations

from collections import deque

from runner.engine.lanes import Lane, Lanes
from runner.engine.meter import Meter
from runner.engine.reuse import Reuse
from runner.engine.sequence import Request, Sequence


class Roster:
    """For the loop's thread alone. `waiting` is in the order in which they may begin, as far as the plan agrees."""

    def __init__(self, lanes: Lanes, reuse: Reuse, meter: Meter) -> None:
        self.lanes = lanes
        self.reuse = reuse
        self.waiting: deque[Sequence] = deque()
        self._meter = meter
        for lane in lanes:
            reuse.add(lane)

    @property
    def everybody(self) -> list[Sequence]:
        return [*self.lanes.running, *self.waiting]

    @property
    def has_ready(self) -> bool:
        """Whether anybody waits who could begin."""
        return any(map(self.reuse.is_ready, self.waiting))

    def fork(self, lane: Lane, sequence: Sequence) -> list[Sequence]:
        """Let the request's other choices go on from the prompt that this one has computed.

        Their cells are the same until they differ, or copies where each has its own. Whoever finds no sequence id
        waits, as after a preemption.
        """
        assert sequence.slot is not None
        forks: list[Sequence] = []
        place = lane.running.index(sequence) + 1
        for choice, sampler in zip(sequence.request.numbers, sequence.request.unforked, strict=True):
            fork = sequence.fork(choice, sampler)
            fork.slot = lane.slots.fork(sequence.slot)
            if fork.slot is not None:
                fork.computed = sequence.computed
                lane.running.insert(place, fork)
                place += 1
            forks.append(fork)
        sequence.request.unforked.clear()
        self.waiting.extendleft(reversed([fork for fork in forks if fork.slot is None]))
        return forks

    def send_back(self, lane: Lane, sequence: Sequence) -> None:
        """It gives its cells up, waits again before all others, and is computed anew."""
        lane.running.remove(sequence)
        self._let_go(lane, sequence)
        self.waiting.appendleft(sequence)
        self._meter.preemptions += 1
        lane.full = lane.full and bool(lane.running)  # nobody else could leave

    def remove(self, request: Request) -> None:
        """Take what is left of a request out of the engine."""
        for sequence in self.everybody:
            if sequence.request is request:
                self.leave(sequence)

    def leave(self, sequence: Sequence) -> None:
        """One choice is over: what it held is free, or stays as a prefix until somebody needs it."""
        if (lane := self.lanes.of(sequence)) is not None:
            lane.running.remove(sequence)
            self._let_go(lane, sequence)
            lane.full = False
        elif sequence in self.waiting:
            self.waiting.remove(sequence)
        self.reuse.is_over(sequence)
        sequence.request.completion_tokens += sequence.generated
        sequence.close()

    @staticmethod
    def _let_go(lane: Lane, sequence: Sequence) -> None:
        assert sequence.slot is not None
        lane.slots.release(sequence.slot)
        sequence.slot = None
        sequence.computed = 0
