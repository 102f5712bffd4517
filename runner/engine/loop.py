"""The engine's loop: plan, compute, settle. It owns the context, the slots and every sequence.

Other threads only put things into its inbox. Each accepted request leaves by exactly one Done, Vectors or Failed.
"""

from __future__ import annotations

import queue
import time
from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import cast

from runner.engine.clerk import News
from runner.engine.crew import Crew
from runner.engine.draw import Draw, Drawn, draw_all
from runner.engine.embed import Embedder, Inputs
from runner.engine.logprobs import told
from runner.engine.outbox import Outbox
from runner.engine.plan import Snapshot, Step, Work, plan
from runner.engine.reuse import Reuse
from runner.engine.sequence import Request, Sequence
from runner.engine.slots import Slots
from runner.errors import RunnerError
from runner.llama.batch import Batch
from runner.llama.context import Context, Outcome
from runner.llama.model import Model
from runner.protocol.commands import Cancel, Stop
from runner.protocol.events import Done, Ended, Event, Failed, Reason, Started, Stats, Text

CHUNK = 256  # prompt tokens computed beside decodes in one step
_STATS_NS = 1_000_000_000

Item = Sequence | Inputs | Cancel | Stop | News


@dataclass(frozen=True, slots=True)
class _Filled:
    """`count` tokens of a sequence in the batch. `outputs` are the places of its last rows among the step's logits."""

    sequence: Sequence
    count: int
    outputs: range


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
        crew: Crew,
        budget: int,
        reuse: Reuse | None = None,
    ) -> None:
        self._model = model
        self._context = context
        self._slots = slots
        self._embedder = embedder
        self._inbox = inbox
        self._outbox = outbox
        self._crew = crew
        self._budget = budget
        self._reuse = reuse or Reuse(slots)
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
            if self._running or any(map(self._reuse.is_ready, self._waiting)):
                self._step()
            self._report()
        requests = {sequence.request: sequence for sequence in [*self._running, *self._waiting]}
        self._outbox.put(*[self._give_up(sequence) for sequence in requests.values()])
        self._outbox.put(*[inputs.cancelled() for inputs in self._inputs])
        self._crew.close()
        self._reuse.close()

    # -- what arrives

    def _drain(self) -> bool:
        """Take everything from the inbox; wait for something when there is nothing to do. False after Stop."""
        idle = not (self._running or self._inputs or any(map(self._reuse.is_ready, self._waiting)))
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
                self._reuse.enqueue(self._waiting, item)
            elif isinstance(item, Inputs):
                self._inputs.append(item)
            else:
                self._reuse.hear(item)
        return True

    def _cancel(self, request: int) -> None:
        """Unknown ids are of requests that ended a moment ago: their end is on its way."""
        for sequence in [*self._running, *self._waiting]:
            if sequence.id == request:
                self._outbox.put(self._give_up(sequence))
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
        filled = self._fill(step)
        outcome = self._context.decode(self._batch)
        self._steps += 1
        if outcome is Outcome.DONE:
            events += self._settle(filled)
        elif outcome is Outcome.NO_ROOM:
            events += self._make_room()
        else:
            events += self._fail_all()
        if events:
            self._outbox.put(*events)

    def _snapshot(self) -> Snapshot:
        held = self._slots.held([s.slot for s in self._running if s.slot is not None])
        waiting = [] if self._full else self._reuse.in_line(self._waiting)
        return Snapshot(
            running=[Work(s.key, h, s.remaining, s.is_decoding) for s, h in zip(self._running, held, strict=True)],
            waiting=[Work(s.key, 0, s.remaining - s.found, found=0 if s.is_lent else s.found) for s in waiting],
            slots_free=self._slots.free,
            cells_free=self._slots.cells - sum(held),
            budget=self._budget,
            chunk=CHUNK,
        )

    def _preempt(self, keys: tuple[int, ...]) -> None:
        for key in keys:
            sequence = self._running.pop()
            assert sequence.key == key
            self._let_go(sequence)
            sequence.rank = 0
            self._waiting.appendleft(sequence)
            self._preemptions += 1

    def _admit(self, keys: tuple[int, ...]) -> list[Event]:
        events: list[Event] = []
        for key in keys:
            sequence = next(each for each in self._waiting if each.key == key)
            self._waiting.remove(sequence)
            self._reuse.begin(sequence)
            self._running.append(sequence)
            request = sequence.request
            if request.admitted_ns:  # it comes back, or another choice was first: its client has heard of the start
                continue
            request.admitted_ns = time.monotonic_ns()
            request.cached_tokens = sequence.computed
            events.append(
                Started(
                    id=sequence.id,
                    prompt_tokens=sequence.prompt_tokens,
                    cached_tokens=request.cached_tokens,
                    truncated_tokens=sequence.truncated_tokens,
                    in_thought=sequence.in_thought,
                )
            )
        return events

    def _fill(self, step: Step) -> list[_Filled]:
        """Write the planned rows into the batch; say for each whose it is and which of its rows give logits."""
        assert self._context is not None
        by_key = {sequence.key: sequence for sequence in self._running}
        self._batch.clear()
        self._slots.make_room(sum(row.count for row in step.rows))
        filled: list[_Filled] = []
        first, spare = 0, self._context.outputs - len(step.rows)  # one row of logits is kept for each sequence
        for row in step.rows:
            sequence = by_key[row.key]
            start = sequence.computed
            count = min(row.count, sequence.remaining)  # a reused prefix may have left less than was planned
            count, outputs = sequence.outputs(self._reuse.step_of(sequence, count), 1 + spare)
            spare -= max(0, outputs - 1)
            assert sequence.slot is not None
            self._batch.add(sequence.slot, start, sequence.tokens[start : start + count], outputs=outputs)
            filled.append(_Filled(sequence, count, range(first, first + outputs)))
            first += outputs
        return filled

    # -- after the decode

    def _settle(self, filled: list[_Filled]) -> list[Event]:
        assert self._context is not None
        now = time.monotonic_ns()
        draws: list[Draw] = []
        for each in filled:
            self._advance(each.sequence, each.count)
            draws += _draws(each)
        drawn = iter(draw_all(draws, self._context.logits(len(draws)), self._crew)) if draws else iter(())
        events: list[Event] = []
        for each in filled:
            for tokens in islice(drawn, len(each.outputs)):
                events += self._take(each.sequence, tokens, now)
        return events

    def _advance(self, sequence: Sequence, count: int) -> None:
        assert sequence.slot is not None
        start = sequence.computed
        self._slots.extend(sequence.slot, sequence.tokens[start : start + count])
        sequence.computed += count
        self._reuse.advance(sequence)
        if not sequence.generated:
            self._prompt_tokens += count

    def _take(self, sequence: Sequence, drawn: list[Drawn], now: int) -> list[Event]:
        """Go on with what came of a row: the score of a token of the prompt, or the next token of each choice."""
        request = sequence.request
        if sequence.slot is None:  # another choice, a moment ago, made the request fail
            return []
        echo = request.echo
        if echo is not None and echo.is_scoring:
            scored = drawn[0].scored
            assert scored is not None
            echo.add(scored)
            return []
        events: list[Event] = []
        choices = [sequence]
        if not sequence.generated:  # the prompt is complete
            request.first_token_ns = now
            choices += self._fork(sequence)
            if echo is not None:
                events += [Text(each.id, echo.text, 0, each.choice, tuple(echo.logprobs)) for each in choices]
        if sequence.command.sampling.num_predict == 0:
            return [*events, *[self._end(each, "length") for each in choices]]
        for each, next_ in zip(choices, drawn, strict=True):
            if next_.fault is not None:
                return [*events, self._fail(request, sequence.id, next_.fault)]
            events += self._next_tokens(each, next_)
        return events

    def _fork(self, sequence: Sequence) -> list[Sequence]:
        """Let the request's other choices go on from the prompt that this one has computed.

        Their cells are the same until they differ. Whoever finds no sequence id waits, as after a preemption.
        """
        assert sequence.slot is not None
        forks: list[Sequence] = []
        place = self._running.index(sequence) + 1
        for choice, sampler in enumerate(sequence.request.unforked, start=1):
            fork = sequence.fork(choice, sampler)
            fork.slot = self._slots.fork(sequence.slot)
            if fork.slot is not None:
                fork.computed = sequence.computed
                self._running.insert(place, fork)
                place += 1
            forks.append(fork)
        sequence.request.unforked.clear()
        self._waiting.extendleft(reversed([fork for fork in forks if fork.slot is None]))
        return forks

    def _next_tokens(self, sequence: Sequence, drawn: Drawn) -> list[Event]:
        """Append the token that was chosen and those that follow it, and end the sequence where it is to end."""
        if drawn.scored is not None:
            is_end, position = self._model.ends(drawn.token), sequence.text.position
            sequence.unsent_logprobs.append(told(self._model, drawn.scored, position, is_end=is_end))
        wanted = sequence.command.sampling.num_predict
        text, reason = "", cast("Reason | None", None)
        for token in (drawn.token, *drawn.following):
            if reason is not None:
                break
            if self._model.ends(token):
                reason = "stop"
                break
            sequence.tokens.append(token)
            sequence.unsent_tokens += 1
            self._completion_tokens += 1
            text += sequence.text.push(self._model.piece(token))
            if sequence.text.stop is not None:
                return [*self._text(sequence, text), self._end(sequence, "stop")]
            if 0 < wanted <= sequence.generated or len(sequence.tokens) >= sequence.context_length:
                reason = "length"
        else:
            if sequence.is_complete:  # even where it could not have become longer
                reason = "stop"
        events = self._text(sequence, text)
        return [*events, *self._finish(sequence, reason)] if reason is not None else events

    def _finish(self, sequence: Sequence, reason: Reason) -> list[Event]:
        """The end of an answer that no stop string cut: what was held back comes out first."""
        text = sequence.text.finish()
        return [*self._text(sequence, text, is_last=sequence.text.stop is None), self._end(sequence, reason)]

    def _text(self, sequence: Sequence, text: str, *, is_last: bool = False) -> list[Event]:
        logprobs = sequence.take_logprobs(is_last=is_last)
        if not text and not logprobs:
            return []
        tokens, sequence.unsent_tokens = sequence.unsent_tokens, 0
        return [Text(sequence.id, text, tokens, sequence.choice, logprobs)]

    # -- the end of a choice, and of a request

    def _end(self, sequence: Sequence, reason: Reason) -> Ended | Done:
        """A choice is complete; with the last one its request is."""
        self._leave(sequence)
        sequence.request.incomplete -= 1
        if sequence.request.incomplete:
            return Ended(sequence.id, reason, sequence.choice, sequence.text.stop)
        usage = sequence.usage(time.monotonic_ns())
        return Done(sequence.id, reason, usage, sequence.text.stop, sequence.choice)

    def _give_up(self, sequence: Sequence) -> Done:
        """End a request, all its choices, that nobody waits for any more."""
        self._remove(sequence.request)
        return Done(sequence.id, "cancelled", sequence.usage(time.monotonic_ns()))

    def _remove(self, request: Request) -> None:
        """Take what is left of a request out of the engine."""
        for sequence in [*self._running, *self._waiting]:
            if sequence.request is request:
                self._leave(sequence)

    def _leave(self, sequence: Sequence) -> None:
        if sequence in self._running:
            self._running.remove(sequence)
            self._let_go(sequence)
            self._full = False
        elif sequence in self._waiting:
            self._waiting.remove(sequence)
        self._reuse.is_over(sequence)
        sequence.request.completion_tokens += sequence.generated
        sequence.close()

    def _let_go(self, sequence: Sequence) -> None:
        assert sequence.slot is not None
        self._slots.release(sequence.slot)
        sequence.slot = None
        sequence.computed = 0

    def _fail(self, request: Request, id_: int, error: RunnerError) -> Failed:
        self._remove(request)
        return Failed(id_, error.code, error.message, error.field)

    # -- when the decode failed

    def _make_room(self) -> list[Event]:
        """llama.cpp found no room although the count said so (its cells need not be as free as counted).

        Nothing of the batch was computed. Idle prefixes go first, then the newest sequence waits again.
        """
        if self._slots.cells_used > self._slots.cells_busy:
            self._slots.make_room(self._slots.cells)
            return []
        if len(self._running) > 1:
            self._preempt((self._running[-1].key,))
            self._slots.make_room(self._slots.cells)
            self._full = True
            return []
        (last,) = self._running
        if last.generated:
            return self._finish(last, "length")
        error = RunnerError("the memory of the model's context has no room for this prompt")
        return [self._fail(last.request, last.id, error)]

    def _fail_all(self) -> list[Event]:
        """A fatal code: what the memory holds is unknown. Everyone in the batch fails; the context starts afresh."""
        assert self._context is not None
        failed = {sequence.request: sequence.id for sequence in self._running}
        for request in failed:
            self._remove(request)
        self._context.clear()
        self._slots.reset()
        error = RunnerError("llama.cpp failed to compute the batch that this request was in")
        return [Failed(id_, error.code, error.message) for id_ in failed.values()]

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
                reused_cells=self._reuse.counts.cells,
                reused_ram=self._reuse.counts.ram,
                reused_disk=self._reuse.counts.disk,
                demotions=self._reuse.counts.demotions,
            )
        )


def _draws(filled: _Filled) -> list[Draw]:
    """What is wanted of the rows of one sequence that gave logits."""
    sequence, outputs = filled.sequence, filled.outputs
    top, samplers = sequence.command.logprobs, (sequence.sampler, *sequence.request.unforked)
    draws: list[Draw] = []
    for row, follower in zip(outputs, range(sequence.computed - len(outputs) + 1, sequence.computed + 1), strict=True):
        if follower < len(sequence.tokens):
            draws.append(Draw(row, given=sequence.tokens[follower], top=top))
        elif sequence.command.sampling.num_predict == 0:
            draws.append(Draw(row))
        else:
            draws.append(Draw(row, samplers, top=top))
    return draws
