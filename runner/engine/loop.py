"""The engine's loop: plan, compute, settle. It owns the context, the slots and every sequence.

Other threads only put things into its inbox. Each accepted request leaves by exactly one Done, Vectors or Failed.
"""

from __future__ import annotations

import queue
import time
from collections import deque

from runner.engine.embed import Embedder, Inputs
from runner.engine.outbox import Outbox
from runner.engine.plan import Row, Snapshot, Step, Work, plan
from runner.engine.sequence import Sequence
from runner.engine.slots import Slots
from runner.errors import RunnerError
from runner.llama.batch import Batch
from runner.llama.context import Context, Outcome
from runner.llama.model import Model
from runner.protocol.commands import Cancel, Stop
from runner.protocol.events import Done, Event, Failed, Reason, Started, Stats, Text

CHUNK = 256  # prompt tokens computed beside decodes in one step
_STATS_NS = 1_000_000_000

Item = Sequence | Inputs | Cancel | Stop


class Loop:
    """Runs on one thread. `context` is None for a model that only embeds, `embedder` makes its context on first use."""

    def __init__(
        self,
        model: Model,
        context: Context | None,
        slots: Slots,
        embedder: Embedder,
        inbox: queue.SimpleQueue[Item],
        outbox: Outbox,
        budget: int,
    ) -> None:
        self._model = model
        self._context = context
        self._slots = slots
        self._embedder = embedder
        self._inbox = inbox
        self._outbox = outbox
        self._budget = budget
        self._batch = Batch(budget)
        self._waiting: deque[Sequence] = deque()
        self._running: list[Sequence] = []  # in the order of admission, so the newest is last
        self._inputs: deque[Inputs] = deque()
        self._full = False  # llama.cpp found no room: nobody is admitted before somebody has left
        self._steps = self._prompt_tokens = self._completion_tokens = self._preemptions = 0
        self._stats_sent_ns = 0

    def run(self) -> None:
        """Work until Stop. What is under way then ends as cancelled."""
        while self._drain():
            if self._inputs:
                self._outbox.put(*self._embedder.step(self._inputs))
            if self._running or self._waiting:
                self._step()
            self._report()
        self._outbox.put(*[self._end(sequence, "cancelled") for sequence in [*self._running, *self._waiting]])
        self._outbox.put(*[inputs.cancelled() for inputs in self._inputs])

    # -- what arrives

    def _drain(self) -> bool:
        """Take everything from the inbox; wait for something when there is nothing to do. False after Stop."""
        idle = not (self._running or self._waiting or self._inputs)
        if idle:
            self._report(now=True)
        while idle or not self._inbox.empty():
            item = self._inbox.get()
            idle = False
            if isinstance(item, Stop):
                return False
            if isinstance(item, Cancel):
                self._cancel(item.id)
            elif isinstance(item, Sequence):
                self._waiting.append(item)
            else:
                self._inputs.append(item)
        return True

    def _cancel(self, request: int) -> None:
        """Unknown ids are of requests that ended a moment ago: their end is on its way."""
        for sequence in [*self._running, *self._waiting]:
            if sequence.id == request:
                self._outbox.put(self._end(sequence, "cancelled"))
                return
        for inputs in self._inputs:
            if inputs.id == request:
                self._inputs.remove(inputs)
                self._outbox.put(inputs.cancelled())
                return

    # -- one step

    def _step(self) -> None:
        assert self._context is not None  # the mailbox refuses generation on a model that only embeds
        step = plan(self._snapshot())
        self._preempt(step.preempted)
        if started := self._admit(step.admitted):
            self._outbox.put(*started)  # before the decode: that of a long prompt takes a while
        events: list[Event] = []
        outputs = self._fill(step)
        outcome = self._context.decode(self._batch)
        self._steps += 1
        if outcome is Outcome.DONE:
            events += self._settle(outputs)
        elif outcome is Outcome.NO_ROOM:
            events += self._make_room()
        else:
            events += self._fail_all()
        if events:
            self._outbox.put(*events)

    def _snapshot(self) -> Snapshot:
        return Snapshot(
            running=[Work(s.id, s.computed, s.remaining, s.is_decoding) for s in self._running],
            waiting=[] if self._full else [Work(s.id, 0, s.remaining) for s in self._waiting],
            slots_free=self._slots.free,
            cells_free=self._slots.cells - self._slots.cells_busy,
            budget=self._budget,
            chunk=CHUNK,
        )

    def _preempt(self, keys: tuple[int, ...]) -> None:
        for key in keys:
            sequence = self._running.pop()
            assert sequence.id == key
            self._let_go(sequence, keep=False)
            self._waiting.appendleft(sequence)
            self._preemptions += 1

    def _admit(self, keys: tuple[int, ...]) -> list[Event]:
        events: list[Event] = []
        for key in keys:
            sequence = self._waiting.popleft()
            assert sequence.id == key
            sequence.slot, sequence.computed = self._slots.acquire(sequence.tokens)
            self._running.append(sequence)
            if sequence.admitted_ns:  # it comes back from a preemption, its client has heard of the start
                continue
            sequence.admitted_ns = time.monotonic_ns()
            sequence.cached_tokens = sequence.computed
            events.append(
                Started(
                    id=sequence.id,
                    prompt_tokens=sequence.prompt_tokens,
                    cached_tokens=sequence.cached_tokens,
                    truncated_tokens=sequence.truncated_tokens,
                    in_thought=sequence.in_thought,
                )
            )
        return events

    def _fill(self, step: Step) -> list[tuple[Sequence, Row, int | None]]:
        """Write the planned rows into the batch; say for each whose it is and which row gives logits."""
        by_key = {sequence.id: sequence for sequence in self._running}
        self._batch.clear()
        self._slots.make_room(sum(row.count for row in step.rows))
        outputs: list[tuple[Sequence, Row, int | None]] = []
        for row in step.rows:
            sequence = by_key[row.key]
            count = min(row.count, sequence.remaining)  # a reused prefix may have left less than was planned
            start = sequence.computed
            last = count == sequence.remaining
            assert sequence.slot is not None
            index = self._batch.add(sequence.slot, start, sequence.tokens[start : start + count], output=last)
            outputs.append((sequence, Row(row.key, count), index if last else None))
        return outputs

    # -- after the decode

    def _settle(self, outputs: list[tuple[Sequence, Row, int | None]]) -> list[Event]:
        now = time.monotonic_ns()
        events: list[Event] = []
        for sequence, row, index in outputs:
            assert sequence.slot is not None
            start = sequence.computed
            self._slots.extend(sequence.slot, sequence.tokens[start : start + row.count])
            sequence.computed += row.count
            if not sequence.generated:
                self._prompt_tokens += row.count
            if index is not None:
                events += self._next_token(sequence, index, now)
        return events

    def _next_token(self, sequence: Sequence, index: int, now: int) -> list[Event]:
        """Choose the token after a computed one, and end the sequence where it is to end."""
        assert self._context is not None
        wanted = sequence.command.sampling.num_predict
        if wanted == 0:
            return [self._end(sequence, "length")]
        token = sequence.sampler.sample(self._context, index)
        if not sequence.first_token_ns:
            sequence.first_token_ns = now
        if self._model.ends(token):
            return self._finish(sequence, "stop")
        sequence.tokens.append(token)
        sequence.unsent_tokens += 1
        self._completion_tokens += 1
        events = self._text(sequence, sequence.text.push(self._model.piece(token)))
        if sequence.text.stop is not None:
            return [*events, self._end(sequence, "stop")]
        if 0 < wanted <= sequence.generated or len(sequence.tokens) >= sequence.context_length:
            return [*events, *self._finish(sequence, "length")]
        return events

    def _finish(self, sequence: Sequence, reason: Reason) -> list[Event]:
        """The end of an answer that no stop string cut: what was held back comes out first."""
        return [*self._text(sequence, sequence.text.finish()), self._end(sequence, reason)]

    def _text(self, sequence: Sequence, text: str) -> list[Event]:
        if not text:
            return []
        tokens, sequence.unsent_tokens = sequence.unsent_tokens, 0
        return [Text(sequence.id, text, tokens)]

    def _end(self, sequence: Sequence, reason: Reason) -> Done:
        self._leave(sequence)
        return Done(sequence.id, reason, sequence.usage(time.monotonic_ns()), sequence.text.stop)

    def _leave(self, sequence: Sequence) -> None:
        if sequence in self._running:
            self._running.remove(sequence)
            self._let_go(sequence, keep=True)
            self._full = False
        elif sequence in self._waiting:
            self._waiting.remove(sequence)
        sequence.sampler.close()

    def _let_go(self, sequence: Sequence, *, keep: bool) -> None:
        assert sequence.slot is not None
        self._slots.release(sequence.slot, keep=keep)
        sequence.slot = None
        sequence.computed = 0

    # -- when the decode failed

    def _make_room(self) -> list[Event]:
        """llama.cpp found no room although the count said so (its cells need not be as free as counted).

        Nothing of the batch was computed. Idle prefixes go first, then the newest sequence waits again.
        """
        if self._slots.cells_used > self._slots.cells_busy:
            self._slots.make_room(self._slots.cells)
            return []
        if len(self._running) > 1:
            self._preempt((self._running[-1].id,))
            self._full = True
            return []
        (last,) = self._running
        if last.generated:
            return self._finish(last, "length")
        self._leave(last)
        error = RunnerError("the memory of the model's context has no room for this prompt")
        return [Failed(last.id, error.code, error.message)]

    def _fail_all(self) -> list[Event]:
        """A fatal code: what the memory holds is unknown. Everyone in the batch fails; the context starts afresh."""
        assert self._context is not None
        failed = list(self._running)
        for sequence in failed:
            self._leave(sequence)
        self._context.clear()
        self._slots.reset()
        error = RunnerError("llama.cpp failed to compute the batch that this request was in")
        return [Failed(sequence.id, error.code, error.message) for sequence in failed]

    # -- what others may want to know

    def _report(self, *, now: bool = False) -> None:
        clock = time.monotonic_ns()
        if not self._steps or (not now and clock - self._stats_sent_ns < _STATS_NS):
            return
        self._stats_sent_ns = clock
        self._outbox.put(
            Stats(
                running=len(self._running),
                waiting=len(self._waiting),
                cells_used=self._slots.cells_used,
                cells=self._slots.cells,
                steps=self._steps,
                prompt_tokens=self._prompt_tokens,
                completion_tokens=self._completion_tokens,
                preemptions=self._preemptions,
            )
        )
