"""The engine's loop: plan, compute, settle. It owns the lanes and every sequence.

Other threads only put things into its inbox. Each accepted request leaves by exactly one Done, Vectors or Failed.
"""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import cast

from runner.engine.crew import Crew
from runner.engine.draw import Draw, Drawn, draw_all
from runner.engine.embed import Embedder, Inputs
from runner.engine.lanes import Lane, Lanes
from runner.engine.logprobs import told
from runner.engine.outbox import Outbox
from runner.engine.plan import Step, plan
from runner.engine.sequence import Request, Sequence
from runner.errors import RunnerError
from runner.llama.context import Outcome
from runner.llama.model import Model
from runner.protocol.commands import Cancel, Stop
from runner.protocol.events import Done, Ended, Event, Failed, Reason, Started, Stats, Text

CHUNK = 256  # prompt tokens computed beside decodes in one step
_STATS_NS = 1_000_000_000


class Widened:
    """The wide lane was made, or could not be."""


Item = Sequence | Inputs | Cancel | Stop | Widened


@dataclass(frozen=True, slots=True)
class _Filled:
    """`count` tokens of a sequence in the batch. `outputs` are the places of its last rows among the step's logits."""

    sequence: Sequence
    slot: int
    count: int
    outputs: range


class Loop:
    """Runs on one thread. `lanes` are none for a model that only embeds, `embedder` makes its context on first use."""

    def __init__(
        self,
        model: Model,
        lanes: Lanes,
        embedder: Embedder,
        inbox: queue.SimpleQueue[Item],
        outbox: Outbox,
        crew: Crew,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model = model
        self._lanes = lanes
        self._clock = clock
        self._embedder = embedder
        self._inbox = inbox
        self._outbox = outbox
        self._crew = crew
        self._waiting: deque[Sequence] = deque()
        self._inputs: deque[Inputs] = deque()
        self._steps = self._ubatches = self._prompt_tokens = self._completion_tokens = self._preemptions = 0
        self._stats_sent_ns = 0

    def run(self) -> None:
        """Work until Stop. What is under way then ends as cancelled."""
        while self._drain():
            if self._inputs:
                self._outbox.put(*self._embedder.step(self._inputs))
            if everybody := self._everybody:
                self._lanes.tend(everybody, self._clock())
                self._step()
            self._report()
        requests = {sequence.request: sequence for sequence in self._everybody}
        self._outbox.put(*[self._give_up(sequence) for sequence in requests.values()])
        self._outbox.put(*[inputs.cancelled() for inputs in self._inputs])
        self._crew.close()

    # -- what arrives

    def _drain(self) -> bool:
        """Take everything from the inbox; wait for something when there is nothing to do. False after Stop."""
        idle = not (self._everybody or self._inputs)
        if idle:
            self._report(now=True)
        while idle or not self._inbox.empty():
            item = self._next()
            idle = False
            if isinstance(item, Stop):
                return False
            if isinstance(item, Cancel):
                self._cancel(item.id)
            elif isinstance(item, Sequence):
                self._waiting.append(item)
            elif isinstance(item, Widened):
                self._lanes.settle()
            else:
                self._inputs.append(item)
        return True

    def _next(self) -> Item:
        """The next item, however long it takes. Meanwhile the wide lane may become superfluous."""
        while True:
            try:
                return self._inbox.get(timeout=self._lanes.seconds_left(self._clock()))
            except queue.Empty:
                self._lanes.tend((), self._clock())
                self._report(now=True)

    @property
    def _everybody(self) -> list[Sequence]:
        return [*self._lanes.running, *self._waiting]

    def _cancel(self, request: int) -> None:
        """Unknown ids are of requests that ended a moment ago: their end is on its way."""
        for sequence in self._everybody:
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
        """One decode in each lane that has something to compute. They share what may be computed beside decodes."""
        self._steps += 1
        lanes = list(self._lanes)
        if self._steps % 2:  # so that neither takes the whole chunk every time
            lanes.reverse()
        chunk = CHUNK
        for lane in lanes:
            self._outgrow(lane)
            waiting = [sequence for sequence in self._waiting if self._lanes.lane_for(sequence) is lane]
            decoding = {sequence.key for sequence in lane.running if sequence.is_decoding}
            delays = not decoding and any(sequence.is_decoding for sequence in self._lanes.running)
            step = plan(lane.snapshot(waiting, chunk if delays else lane.batch.capacity, chunk))
            chunk = max(0, chunk - sum(row.count for row in step.rows if row.key not in decoding))
            self._preempt(lane, step.preempted)
            if started := self._admit(lane, step.admitted):
                self._outbox.put(*started)  # before the decode: that of a long prompt takes a while
            if step.rows:
                self._compute(lane, step)

    def _compute(self, lane: Lane, step: Step) -> None:
        events: list[Event] = []
        lane.gather()
        filled = self._fill(lane, step)
        began = time.perf_counter()
        outcome = lane.context.decode(lane.batch)
        self._ubatches += lane.passes([(each.slot, each.count) for each in filled])
        if outcome is Outcome.DONE:
            events += self._settle(lane, filled, began)
        elif outcome is Outcome.NO_ROOM:
            events += self._make_room(lane)
        else:
            events += self._fail_all(lane)
        if events:
            self._outbox.put(*events)

    def _outgrow(self, lane: Lane) -> None:
        """Whoever has filled his short slot goes on in the pool, as after a preemption."""
        for sequence in lane.outgrown():
            sequence.is_long = True
            self._send_back(lane, sequence)

    def _preempt(self, lane: Lane, keys: tuple[int, ...]) -> None:
        for key in keys:
            assert lane.running[-1].key == key
            self._send_back(lane, lane.running[-1])

    def _send_back(self, lane: Lane, sequence: Sequence) -> None:
        """It gives its cells up, waits again before all others, and is computed anew."""
        lane.running.remove(sequence)
        self._let_go(lane, sequence, keep=False)
        self._waiting.appendleft(sequence)
        self._preemptions += 1
        lane.full = lane.full and bool(lane.running)  # nobody else could leave

    def _admit(self, lane: Lane, keys: tuple[int, ...]) -> list[Event]:
        events: list[Event] = []
        by_key = {sequence.key: sequence for sequence in self._waiting}
        for key in keys:
            sequence = by_key[key]
            self._waiting.remove(sequence)
            sequence.slot, sequence.computed = lane.slots.acquire(sequence.tokens, sequence.reusable)
            lane.running.append(sequence)
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

    def _fill(self, lane: Lane, step: Step) -> list[_Filled]:
        """Write the planned rows into the batch; say for each whose it is and which of its rows give logits."""
        by_key = {sequence.key: sequence for sequence in lane.running}
        lane.batch.clear()
        lane.slots.make_room(sum(row.count for row in step.rows))
        filled: list[_Filled] = []
        first, spare = 0, lane.context.outputs - len(step.rows)  # one row of logits is kept for each sequence
        for row in lane.ordered(step.rows):
            sequence = by_key[row.key]
            start = sequence.computed
            count = min(row.count, sequence.remaining)  # a reused prefix may have left less than was planned
            count, outputs = sequence.outputs(count, 1 + spare)
            spare -= max(0, outputs - 1)
            assert sequence.slot is not None
            lane.batch.add(sequence.slot, start, sequence.tokens[start : start + count], outputs=outputs)
            filled.append(_Filled(sequence, sequence.slot, count, range(first, first + outputs)))
            first += outputs
        return filled

    # -- after the decode

    def _settle(self, lane: Lane, filled: list[_Filled], began: float) -> list[Event]:
        """`began` is when the decode did, on the clock of `time.perf_counter`."""
        now = time.monotonic_ns()
        draws: list[Draw] = []
        for each in filled:
            self._advance(lane, each)
            draws += _draws(each)
        logits = lane.context.logits(len(draws)) if draws else None  # waits for the device
        if not lane.is_split and all(each.count == 1 for each in filled):
            self._lanes.cost.saw(len(filled), lane.slots.cells_used, time.perf_counter() - began)
        drawn = iter(draw_all(draws, logits, self._crew)) if logits is not None else iter(())
        events: list[Event] = []
        for each in filled:
            for tokens in islice(drawn, len(each.outputs)):
                events += self._take(lane, each.sequence, tokens, now)
        return events

    def _advance(self, lane: Lane, filled: _Filled) -> None:
        sequence, start = filled.sequence, filled.sequence.computed
        lane.slots.extend(filled.slot, sequence.tokens[start : start + filled.count])
        sequence.computed += filled.count
        if not sequence.generated:
            self._prompt_tokens += filled.count

    def _take(self, lane: Lane, sequence: Sequence, drawn: list[Drawn], now: int) -> list[Event]:
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
            choices += self._fork(lane, sequence)
            if echo is not None:
                events += [Text(each.id, echo.text, 0, each.choice, tuple(echo.logprobs)) for each in choices]
        if sequence.command.sampling.num_predict == 0:
            return [*events, *[self._end(each, "length") for each in choices]]
        for each, next_ in zip(choices, drawn, strict=True):
            if next_.fault is not None:
                return [*events, self._fail(request, sequence.id, next_.fault)]
            events += self._next_tokens(each, next_)
        return events

    def _fork(self, lane: Lane, sequence: Sequence) -> list[Sequence]:
        """Let the request's other choices go on from the prompt that this one has computed.

        Their cells are the same until they differ, or copies where each has its own. Whoever finds no sequence id
        waits, as after a preemption.
        """
        assert sequence.slot is not None
        forks: list[Sequence] = []
        place = lane.running.index(sequence) + 1
        for choice, sampler in enumerate(sequence.request.unforked, start=1):
            fork = sequence.fork(choice, sampler)
            fork.slot = lane.slots.fork(sequence.slot)
            if fork.slot is not None:
                fork.computed = sequence.computed
                lane.running.insert(place, fork)
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
        for sequence in self._everybody:
            if sequence.request is request:
                self._leave(sequence)

    def _leave(self, sequence: Sequence) -> None:
        if (lane := self._lanes.of(sequence)) is not None:
            lane.running.remove(sequence)
            self._let_go(lane, sequence, keep=True)
            lane.full = False
        elif sequence in self._waiting:
            self._waiting.remove(sequence)
        sequence.request.completion_tokens += sequence.generated
        sequence.close()

    @staticmethod
    def _let_go(lane: Lane, sequence: Sequence, *, keep: bool) -> None:
        assert sequence.slot is not None
        lane.slots.release(sequence.slot, keep=keep)
        sequence.slot = None
        sequence.computed = 0

    def _fail(self, request: Request, id_: int, error: RunnerError) -> Failed:
        self._remove(request)
        return Failed(id_, error.code, error.message, error.field)

    # -- when the decode failed

    def _make_room(self, lane: Lane) -> list[Event]:
        """llama.cpp found no room although the count said so (its cells need not be as free as counted).

        Nothing of the batch was computed. Idle prefixes go first, then the newest sequence waits again.
        """
        if lane.slots.cells_used > lane.slots.cells_busy:
            lane.slots.give_up()
            return []
        if len(lane.running) > 1:
            self._preempt(lane, (lane.running[-1].key,))
            lane.full = True
            return []
        (last,) = lane.running
        if lane.is_split:  # the pool has more
            last.is_long = True
            self._send_back(lane, last)
            return []
        if last.generated:
            return self._finish(last, "length")
        error = RunnerError("the memory of the model's context has no room for this prompt")
        return [self._fail(last.request, last.id, error)]

    def _fail_all(self, lane: Lane) -> list[Event]:
        """A fatal code: what the memory holds is unknown. Everyone in the lane fails; its context starts afresh."""
        failed = {sequence.request: sequence.id for sequence in lane.running}
        for request in failed:
            self._remove(request)
        lane.context.clear()
        lane.slots.reset()
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
                running=len(self._lanes.running),
                waiting=len(self._waiting),
                cells_used=sum(lane.slots.cells_used for lane in self._lanes),
                cells=sum(lane.slots.cells for lane in self._lanes),
                steps=self._steps,
                ubatches=self._ubatches,
                is_wide=self._lanes.wide is not None,
                prompt_tokens=self._prompt_tokens,
                completion_tokens=self._completion_tokens,
                preemptions=self._preemptions,
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
