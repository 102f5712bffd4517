"""The engine's loop: plan, compute, settle. It owns the lanes and every sequence.

Other threads only put things into its inbox. Each accepted request leaves by exactly one Done, Vectors or Failed.
"""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import cast

from runner.engine.clerk import News
from runner.engine.crew import Crew
from runner.engine.draft import Drafts
from runner.engine.draw import Draw, Drawn, draw_all
from runner.engine.embed import Embedder, Inputs
from runner.engine.lanes import Lane, Lanes
from runner.engine.logprobs import told
from runner.engine.meter import Meter
from runner.engine.outbox import Outbox
from runner.engine.plan import Step, plan
from runner.engine.reuse import Reuse
from runner.engine.rows import Filled, came_true, draws
from runner.engine.sequence import Request, Sequence
from runner.errors import RunnerError
from runner.llama.context import Outcome
from runner.llama.model import Model
from runner.protocol.commands import Cancel, Stop
from runner.protocol.events import Done, Ended, Event, Failed, Reason, Started, Stats, Text

BESIDE = 256  # tokens of inputs to embed in one step while others generate
_STATS_NS = 1_000_000_000


class Widened:
    """The wide lane was made, or could not be."""


Item = Sequence | Inputs | Cancel | Stop | Widened | News


class Loop:
    """Runs on one thread. `lanes` are none for a model that only embeds, `embedder` makes its context on first use.

    Without `drafts`, no sequence speculates.
    """

    def __init__(
        self,
        model: Model,
        lanes: Lanes,
        embedder: Embedder,
        inbox: queue.SimpleQueue[Item],
        outbox: Outbox,
        crew: Crew,
        drafts: Drafts | None = None,
        reuse: Reuse | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model = model
        self._lanes = lanes
        self._clock = clock
        self._embedder = embedder
        self._inbox = inbox
        self._outbox = outbox
        self._crew = crew
        self._drafts = drafts
        self._reuse = reuse or Reuse()
        for lane in lanes:
            self._reuse.add(lane)
        self._waiting: deque[Sequence] = deque()
        self._inputs: deque[Inputs] = deque()
        self._meter = Meter()
        self._rounds = 0
        self._stats_sent_ns = 0

    def run(self) -> None:
        """Work until Stop. What is under way then ends as cancelled."""
        while self._drain():
            if self._inputs:
                self._embed()
            if self._lanes.running or self._has_ready:
                self._tend()
                self._step()
            self._report()
        requests = {sequence.request: sequence for sequence in self._everybody}
        self._outbox.put(*[self._give_up(sequence) for sequence in requests.values()])
        self._outbox.put(*[inputs.cancelled() for inputs in self._inputs])
        self._report(now=True)
        self._crew.close()
        self._reuse.close()
        if self._drafts is not None:
            self._drafts.close()

    # -- what arrives

    def _drain(self) -> bool:
        """Take everything from the inbox; wait for something when there is nothing to do. False after Stop."""
        idle = not (self._lanes.running or self._inputs or self._has_ready)
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
                self._reuse.enqueue(self._waiting, item)
            elif isinstance(item, Inputs):
                self._inputs.append(item)
            elif isinstance(item, Widened):
                if (lane := self._lanes.settle()) is not None:
                    self._reuse.add(lane)
            else:
                self._reuse.hear(item)
        return True

    def _next(self) -> Item:
        """The next item, however long it takes. Meanwhile the wide lane may become superfluous."""
        while True:
            try:
                return self._inbox.get(timeout=self._lanes.seconds_left(self._clock()))
            except queue.Empty:
                self._tend()
                self._report(now=True)

    def _tend(self) -> None:
        """Have the wide lane made where there is a crowd, and give it up where there has been none for a while."""
        lane = self._lanes.tend(self._everybody, self._clock())
        if lane is not None:
            self._reuse.remove(lane)
            lane.context.close()

    @property
    def _has_ready(self) -> bool:
        """Whether anybody waits who could begin."""
        return any(map(self._reuse.is_ready, self._waiting))

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
        self._rounds += 1
        lanes = list(self._lanes)
        if self._rounds % 2:  # so that neither takes the whole chunk every time
            lanes.reverse()
        spent = 0  # tokens of prompts, in this round
        for lane in lanes:
            self._meter.begin()
            self._outgrow(lane)
            here = [sequence for sequence in self._waiting if self._lanes.lane_for(sequence) is lane]
            waiting = self._reuse.in_line(lane, here)
            decoding = {sequence.key for sequence in lane.running if sequence.is_decoding}
            delays = not decoding and any(sequence.is_decoding for sequence in self._lanes.running)
            chunk = max(0, lane.pace.chunk(len(decoding) or int(delays)) - spent)
            drafts = self._propose(lane, len(waiting))
            step = plan(lane.snapshot(waiting, chunk if delays else lane.batch.capacity, chunk, drafts))
            spent += sum(row.count for row in step.rows if row.key not in decoding)
            self._preempt(lane, step.preempted)
            if started := self._admit(lane, step.admitted):
                self._outbox.put(*started)  # before the decode: that of a long prompt takes a while
            if step.rows:
                self._compute(lane, step)

    def _propose(self, lane: Lane, waiting: int) -> int:
        """Have drafts made for the lane's next step; how many of their tokens may have rows of logits."""
        if self._drafts is None:
            return 0
        decoding = [sequence for sequence in lane.running if sequence.is_decoding]
        # In a split cache each length of draft would take passes over the weights of its own.
        spare = 0 if lane.is_split else lane.context.outputs - len(lane.running) - min(waiting, lane.slots.free)
        self._drafts.propose(decoding, max(0, spare), lane.pace)
        return max(0, spare)

    def _compute(self, lane: Lane, step: Step) -> None:
        events: list[Event] = []
        lane.gather()
        filled = self._fill(lane, step)
        self._meter.filled(lane.batch.size)
        began = time.monotonic()
        outcome = lane.context.decode(lane.batch)
        if outcome is Outcome.DONE:
            events += self._settle(lane, filled, began)
            prompt = sum(each.count for each in filled if each.is_prompt)
            lane.pace.observe(lane.batch.size - prompt, prompt, time.monotonic() - began)
        else:
            self._meter.waited()
            events += self._make_room(lane) if outcome is Outcome.NO_ROOM else self._fail_all(lane)
        if events:
            self._outbox.put(*events)
        self._meter.ended()

    def _embed(self) -> None:
        self._meter.begin()
        most = BESIDE if self._everybody else None  # while others want their next token, steps are short
        self._outbox.put(*self._embedder.step(self._inputs, most))
        self._meter.embedded(self._embedder.inputs, self._embedder.tokens)

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
        self._let_go(lane, sequence)
        self._waiting.appendleft(sequence)
        self._meter.preemptions += 1
        lane.full = lane.full and bool(lane.running)  # nobody else could leave

    def _admit(self, lane: Lane, keys: tuple[int, ...]) -> list[Event]:
        events: list[Event] = []
        by_key = {sequence.key: sequence for sequence in self._waiting}
        for key in keys:
            sequence = by_key[key]
            self._waiting.remove(sequence)
            self._reuse.begin(sequence, lane)
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

    def _fill(self, lane: Lane, step: Step) -> list[Filled]:
        """Write the planned rows into the batch; say for each whose it is and which of its rows give logits."""
        by_key = {sequence.key: sequence for sequence in lane.running}
        lane.batch.clear()
        lane.slots.make_room(sum(row.count for row in step.rows))
        filled: list[Filled] = []
        first, spare = 0, lane.context.outputs - len(step.rows)  # one row of logits is kept for each sequence
        for row in lane.ordered(step.rows):
            sequence = by_key[row.key]
            start = sequence.computed
            count = min(row.count, sequence.remaining)  # a reused prefix may have left less than was planned
            draft = sequence.draft[: row.count - 1] if sequence.is_decoding else []
            count, outputs = sequence.outputs(self._reuse.step_of(sequence, count), 1 + spare)
            outputs += len(draft)
            spare -= max(0, outputs - 1)
            assert sequence.slot is not None
            lane.batch.add(sequence.slot, start, [*sequence.tokens[start : start + count], *draft], outputs=outputs)
            place = range(first, first + outputs)
            filled.append(Filled(sequence, sequence.slot, count, place, not sequence.is_decoding, tuple(draft)))
            first += outputs
        return filled

    # -- after the decode

    def _settle(self, lane: Lane, filled: list[Filled], began: float) -> list[Event]:
        """`began` is when the decode did, on the clock of `time.monotonic`."""
        now = time.monotonic_ns()
        wanted: list[list[Draw]] = []
        for each in filled:
            self._advance(lane, each)
            wanted.append(draws(each))
        rows = sum(len(each.outputs) for each in filled)
        logits = lane.context.logits(rows) if rows else None  # waits for the device
        self._meter.waited(lane.passes([(each.slot, each.count + len(each.draft)) for each in filled]))
        if not lane.is_split and all(each.count == 1 and not each.draft for each in filled):
            self._lanes.cost.saw(len(filled), lane.slots.cells_used, time.monotonic() - began)
        all_wanted = [draw for of_one in wanted for draw in of_one]
        drawn = iter(draw_all(all_wanted, logits, self._crew)) if logits is not None else iter(())
        self._meter.sampled()
        events: list[Event] = []
        for each, of_one in zip(filled, wanted, strict=True):
            for tokens in islice(drawn, len(of_one)):
                if each.draft:
                    events += self._take_drafted(lane, each, tokens)
                else:
                    events += self._take(lane, each.sequence, tokens, now)
        return events

    def _advance(self, lane: Lane, filled: Filled) -> None:
        sequence, start = filled.sequence, filled.sequence.computed
        lane.slots.extend(filled.slot, [*sequence.tokens[start : start + filled.count], *filled.draft])
        sequence.computed += filled.count
        self._reuse.advance(sequence, lane)
        if not sequence.generated:
            self._meter.prompt_tokens += filled.count

    def _take_drafted(self, lane: Lane, filled: Filled, drawn: list[Drawn]) -> list[Event]:
        """Go on with the tokens that were chosen; what was computed of a draft that didn't come true is forgotten."""
        sequence, accepted = filled.sequence, came_true(filled.draft, drawn)
        if sequence.slot is None:  # another choice, a moment ago, made the request fail
            return []
        self._count_drafts(sequence, len(filled.draft), accepted)
        sequence.computed += accepted
        is_cut = lane.slots.trim(sequence.slot, sequence.computed) == sequence.computed
        events: list[Event] = []
        for each in drawn:
            if each.fault is not None:
                return [*events, self._fail(sequence.request, sequence.id, each.fault)]
            events += self._next_tokens(sequence, each)
            if sequence not in lane.running:  # it has ended
                return events
        if not is_cut:
            self._set_back(lane, sequence)
        return events

    def _count_drafts(self, sequence: Sequence, drafted: int, accepted: int) -> None:
        assert sequence.speculation is not None
        sequence.speculation.learn(drafted, accepted)
        sequence.request.drafted_tokens += drafted
        sequence.request.accepted_tokens += accepted
        self._meter.drafts += 1
        self._meter.drafted_tokens += drafted
        self._meter.accepted_tokens += accepted

    def _set_back(self, lane: Lane, sequence: Sequence) -> None:
        """What it should forget it couldn't: it is computed anew, and speculates no more."""
        sequence.speculation = None
        lane.running.remove(sequence)
        self._let_go(lane, sequence)
        self._waiting.appendleft(sequence)

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
            self._meter.completion_tokens += 1
            text += sequence.text.push(self._model.piece(token))
            if sequence.text.stop is not None:
                return [*self._text(sequence, text), self._end(sequence, "stop")]
            if 0 < wanted <= sequence.generated or len(sequence.tokens) >= sequence.context_length:
                reason = "length"
        else:
            if drawn.completes:  # even where it could not have become longer
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
            self._let_go(lane, sequence)
            lane.full = False
        elif sequence in self._waiting:
            self._waiting.remove(sequence)
        self._reuse.is_over(sequence)
        sequence.request.completion_tokens += sequence.generated
        sequence.close()

    @staticmethod
    def _let_go(lane: Lane, sequence: Sequence) -> None:
        assert sequence.slot is not None
        lane.slots.release(sequence.slot)
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
            lane.slots.make_room(lane.slots.cells)
            return []
        if len(lane.running) > 1:
            self._preempt(lane, (lane.running[-1].key,))
            lane.slots.make_room(lane.slots.cells)
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
        if not self._meter.did_anything or (not now and clock - self._stats_sent_ns < _STATS_NS):
            return
        self._stats_sent_ns = clock
        self._outbox.put(
            Stats.of(
                self._meter.totals(self._reuse.counts),
                running=len(self._lanes.running),
                waiting=len(self._waiting),
                cells_used=sum(lane.slots.cells_used for lane in self._lanes),
                cells_busy=sum(lane.slots.cells_busy for lane in self._lanes),
                cells=sum(lane.slots.cells for lane in self._lanes),
                is_wide=self._lanes.wide is not None,
            )
        )
