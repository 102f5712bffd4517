"""A bench on which time passes: loads, answers and ends take as long as the test says, and happen in their order.

Nothing here sleeps: the clock jumps to whatever comes next.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from itertools import count

from runner.protocol.commands import Cancel, Embed, Generate
from runner.protocol.events import Done, Usage
from runner.scheduler.ticket import Want
from tests.fakes.scheduling import Bench, Heard, ready


class World:
    """A load takes `load` seconds, an end `stop`. A worker computes `sequences` requests at a time, each of which
    takes `answer` seconds."""

    def __init__(self, bench: Bench, *, load: float, answer: float, sequences: int, stop: float = 0.1) -> None:
        self.bench = bench
        self.loads = 0
        self._load, self._answer, self._stop, self._sequences = load, answer, stop, sequences
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._ids = count()
        self._known: set[int] = set()
        self._ending: set[int] = set()
        self._busy: dict[int, list[float]] = {}  # by worker: when each of its sequences is free
        self._sent = 0
        self.admitted: dict[int, float] = {}
        self.ended: dict[int, float] = {}

    def at(self, when: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._ids), what))

    def ask(self, when: float, wanted: Want) -> Heard:
        """Somebody will ask at that time."""
        heard = Heard(wanted)

        def arrive() -> None:
            heard.id = self.bench.scheduler.submit(wanted, heard)

        self.at(when, arrive)
        return heard

    def run(self, until: float = math.inf) -> None:
        """Let time pass until nothing is left to happen."""
        while True:
            wake = self.bench.effects.wake_at
            if wake is not None and wake < math.inf and (not self._events or wake < self._events[0][0]):
                when, what = wake, self.bench.scheduler.tick
            elif self._events:
                when, _, what = heapq.heappop(self._events)
            else:
                return
            if when > until:
                return
            self.bench.now = max(self.bench.now, when)
            what()
            self._look()

    def _look(self) -> None:
        """Whatever the scheduler has asked for since takes its course."""
        now, effects, scheduler = self.bench.now, self.bench.effects, self.bench.scheduler
        for run in sorted(set(effects.loads) - self._known):
            self._known.add(run)
            self.loads += 1
            self._busy[run] = [0.0] * self._sequences
            self.at(now + self._load, lambda run=run: scheduler.events(run, [ready(self._sequences)]))
        for run, command in effects.sent[self._sent :]:
            if isinstance(command, Generate | Embed):
                self.admitted[command.id] = now
                free = heapq.heappop(self._busy[run])
                heapq.heappush(self._busy[run], end := max(now, free) + self._answer)
                self.at(end, lambda run=run, done=command.id: self._end(run, done))
            elif isinstance(command, Cancel):
                self.at(now, lambda run=run, gone=command.id: self._give_up(run, gone))
        self._sent = len(effects.sent)
        for run in sorted(set(effects.stopped) - self._ending):
            self._ending.add(run)
            self.at(now + self._stop, lambda run=run: self._exit(run))

    def _end(self, run: int, request: int) -> None:
        self.ended.setdefault(request, self.bench.now)
        self.bench.scheduler.events(run, [Done(request, "stop", Usage())])

    def _give_up(self, run: int, request: int) -> None:
        self.bench.scheduler.events(run, [Done(request, "cancelled", Usage())])

    def _exit(self, run: int) -> None:
        member = next((member for member in self.bench.scheduler.view.residents() if member.run == run), None)
        if member is not None:
            self.bench.exit(member.model, 0)
