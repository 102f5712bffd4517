"""The engine's loop: plan, compute, settle. It owns the lanes and every sequence.

Other threads only put things into its inbox. Each accepted request leaves by exactly one Done, Vectors or Failed.
"""

from __future__ import annotations

import math
import queue
import time
from collections import deque
from collections.abc import Callable

from runner.engine.answers import Answers
from runner.engine.beat import Heart
from runner.engine.clerk import Filed, News
from runner.engine.crew import Crew
from runner.engine.draft import Drafts
from runner.engine.embed import Embedder, Inputs
from runner.engine.lanes import Lane, Lanes
from runner.engine.looking import look, stretch
from runner.engine.meter import Meter
from runner.engine.outbox import Outbox
from runner.engine.plan import Step, plan
from runner.engine.reuse import Reuse
from runner.engine.roster import Roster
from runner.engine.rows import Filled
from runner.engine.sequence import Sequence
from runner.errors import RunnerError
from runner.llama.context import Context, Outcome
from runner.llama.model import Model
from runner.protocol.commands import Adapters, Cancel, Stop
from runner.protocol.events import Event, Started, Stats

BESIDE = 256  # tokens of inputs to embed in one step while others generate
_STATS_NS = 1_000_000_000
_REST = 3.0  # seconds without work after which prefixes are brought into files


class Widened:
    """The wide lane was made, or could not be."""


Item = Sequence | Inputs | Cancel | Stop | Widened | News


class Loop:
    """Runs on one thread. `lanes` are none for a model that only embeds, `embedder` makes its context on first use.

    Without `drafts`, no sequence speculates. `apply` lets a context compute with other adapters.
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
        apply: Callable[[Context, Adapters], None] = lambda context, adapters: None,
        *,
        heart: Heart | None = None,
    ) -> None:
        self._heart = heart
        self._lanes = lanes
        self._clock = clock
        self._apply = apply
        self._embedder = embedder
        self._inbox = inbox
        self._outbox = outbox
        self._crew = crew
        self._drafts = drafts
        self._reuse = reuse or Reuse()
        self._inputs: deque[Inputs] = deque()
        self._meter = Meter()
        self._roster = Roster(lanes, self._reuse, self._meter)
        self._answers = Answers(model, self._roster, self._meter, crew)
        self._rounds = 0
        self._stats_sent_ns = 0
        self._rests_at = math.inf  # when there is something to do for one who has nothing to do
        self._stop = Stop()

    def run(self) -> None:
        """Work until Stop. What is under way then ends as cancelled."""
        while self._drain():
            if self._heart is not None:
                self._heart.begin()
            if self._inputs:
                self._embed()
            if self._lanes.running or self._roster.has_ready:
                self._tend()
                self._step()
            self._report()
            if self._heart is not None:
                self._heart.end()
        requests = {sequence.request: sequence for sequence in self._roster.everybody}
        self._outbox.put(*[self._answers.give_up(sequence) for sequence in requests.values()])
        self._outbox.put(*[inputs.cancelled() for inputs in self._inputs])
        self._report(now=True)
        self._crew.close()
        self._reuse.close(self._stop.why)
        if self._drafts is not None:
            self._drafts.close()

    # -- what arrives

    def _drain(self) -> bool:
        """Take everything from the inbox; wait for something to do when there is nothing. False after Stop."""
        idle = not (self._lanes.running or self._inputs or self._roster.has_ready)
        if idle:
            self._report(now=True)
        else:
            self._rests_at = self._clock() + _REST
        while idle or not self._inbox.empty():
            item = self._next()
            idle = False
            if isinstance(item, Stop):
                self._stop = item
                return False
            if isinstance(item, Cancel):
                self._cancel(item.id)
            elif isinstance(item, Sequence):
                self._take_in(item)
            elif isinstance(item, Inputs):
                self._inputs.append(item)
            elif isinstance(item, Widened):
                if (lane := self._lanes.settle()) is not None:
                    self._reuse.add(lane)
            else:
                self._reuse.hear(item)
                if isinstance(item, Filed) and self._rests_at == math.inf:
                    self._rests_at = self._clock()
        return True

    def _take_in(self, sequence: Sequence) -> None:
        """Put a request in line: one sequence, or one for each choice that had begun already."""
        for each in (sequence, *sequence.others):
            if each.over is not None:
                self._outbox.put(*self._answers.conclude(each, each.over))
            else:
                self._reuse.enqueue(self._roster.waiting, each)
        sequence.others.clear()

    def _next(self) -> Item:
        """The next item, however long it takes. Meanwhile the wide lane may become unneeded, and files get written."""
        while True:
            now = self._clock()
            waits = [self._lanes.seconds_left(now), max(0.0, self._rests_at - now) if self._reuse.rests else None]
            try:
                # A queue waits for ever with None, and not with inf.
                timeout = min((each for each in waits if each is not None), default=math.inf)
                return self._inbox.get(timeout=None if timeout == math.inf else timeout)
            except queue.Empty:
                self._tend()
                self._report(now=True)
                if self._clock() >= self._rests_at:
                    self._rests_at = math.inf  # until what is ordered here has been done
                    self._reuse.rest()

    def _tend(self) -> None:
        """Have the wide lane made where there is a crowd, and give it up where there has been none for a while."""
        lane = self._lanes.tend(self._roster.everybody, self._clock())
        if lane is not None:
            self._reuse.remove(lane)
            lane.context.close()

    def _cancel(self, request: int) -> None:
        """Unknown ids are of requests that ended a moment ago: their end is on its way."""
        for sequence in self._roster.everybody:
            if sequence.id == request:
                self._outbox.put(self._answers.give_up(sequence))
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
            here = [sequence for sequence in self._roster.waiting if self._lanes.lane_for(sequence) is lane]
            waiting = self._reuse.in_line(lane, here)
            now = self._clock()
            for adapters in lane.turns.order([each.adapters for each in (*lane.running, *waiting)], now):
                step, prompts = self._planned(lane, waiting, spent, adapters)
                if step.rows or step.preempted:
                    lane.turns.took(adapters, now)
                    spent += prompts
                    self._take(lane, step, adapters)
                    break

    def _planned(self, lane: Lane, waiting: list[Sequence], spent: int, adapters: Adapters) -> tuple[Step, int]:
        """The lane's step for those with these adapters, and how many tokens of prompts are in it. So many are `spent`
        in this round."""
        decoding = {each.key for each in lane.running if each.is_decoding and each.adapters == adapters}
        delays = not decoding and any(sequence.is_decoding for sequence in self._lanes.running)
        chunk = max(0, lane.pace.chunk(len(decoding) or int(delays)) - spent)
        drafts = self._propose(lane, len(waiting), adapters)
        step = plan(lane.snapshot(waiting, chunk if delays else lane.batch.capacity, chunk, drafts, adapters))
        return step, sum(row.count for row in step.rows if row.key not in decoding)

    def _take(self, lane: Lane, step: Step, adapters: Adapters) -> None:
        """Carry a step out."""
        self._preempt(lane, step.preempted)
        if started := self._admit(lane, step.admitted):
            self._outbox.put(*started)  # before the decode: that of a long prompt takes a while
        if not step.rows:
            return
        try:
            self._apply(lane.context, adapters)
        except RunnerError as error:
            self._outbox.put(*self._answers.fail_those(lane, adapters, error))
            return
        self._compute(lane, step)

    def _propose(self, lane: Lane, waiting: int, adapters: Adapters) -> int:
        """Have drafts made for the lane's next step; how many of their tokens may have rows of logits."""
        if self._drafts is None:
            return 0
        decoding = [each for each in lane.running if each.is_decoding and each.adapters == adapters]
        # In a split cache each length of draft would take passes over the weights of its own.
        spare = 0 if lane.is_split else lane.context.outputs - len(lane.running) - min(waiting, lane.slots.free)
        self._drafts.propose(decoding, max(0, spare), lane.pace)
        return max(0, spare)

    def _compute(self, lane: Lane, step: Step) -> None:
        """The step's tokens in one decode, and then a picture, of one sequence, in a decode of its own."""
        lane.gather()
        filled, pictured = self._fill(lane, step)
        if filled and not self._decode(lane, filled, lane.batch.size, lambda: lane.context.decode(lane.batch)):
            return
        if pictured is not None:
            if filled:
                self._meter.begin()
            lane.slots.make_room(pictured.count)
            self._decode(lane, [pictured], pictured.count, lambda: look(lane.context, pictured))

    def _decode(self, lane: Lane, filled: list[Filled], size: int, compute: Callable[[], Outcome]) -> bool:
        """Compute what is filled in, `size` rows, and settle what comes of it. False when nothing was computed."""
        events: list[Event] = []
        self._meter.filled(size)
        began = time.monotonic()
        outcome = compute()
        if outcome is Outcome.DONE:
            events += self._answers.settle(lane, filled, began)
            prompt = sum(each.count for each in filled if each.is_prompt)
            lane.pace.observe(size - prompt, prompt, time.monotonic() - began)
        else:
            self._meter.waited()
            events += self._answers.make_room(lane) if outcome is Outcome.NO_ROOM else self._answers.fail_all(lane)
        if events:
            self._outbox.put(*events)
        if lane.running:  # if nobody is there, nobody minds what is left there, and its owner may come back
            self._reuse.tidy(lane)
        self._meter.ended()
        return outcome is Outcome.DONE

    def _embed(self) -> None:
        self._meter.begin()
        most = BESIDE if self._roster.everybody else None  # while others want their next token, steps are short
        self._outbox.put(*self._embedder.step(self._inputs, most))
        self._meter.embedded(self._embedder.inputs, self._embedder.tokens)

    def _outgrow(self, lane: Lane) -> None:
        """Whoever has filled his short slot goes on in the pool, as after a preemption."""
        for sequence in lane.outgrown():
            sequence.is_long = True
            self._roster.send_back(lane, sequence)

    def _preempt(self, lane: Lane, keys: tuple[int, ...]) -> None:
        for key in keys:
            assert lane.running[-1].key == key
            self._roster.send_back(lane, lane.running[-1])

    def _admit(self, lane: Lane, keys: tuple[int, ...]) -> list[Event]:
        events: list[Event] = []
        by_key = {sequence.key: sequence for sequence in self._roster.waiting}
        for key in keys:
            sequence = by_key[key]
            self._roster.waiting.remove(sequence)
            self._reuse.begin(sequence, lane)
            lane.running.append(sequence)
            request = sequence.request
            if request.admitted_ns:  # it comes back, or another choice was first: its client has heard of the start
                continue
            request.admitted_ns = time.monotonic_ns()
            request.cached_tokens = min(sequence.computed, sequence.prompt_tokens)
            shown, request.shown = request.shown, None
            events.append(
                Started(
                    id=sequence.id,
                    prompt_tokens=sequence.prompt_tokens,
                    cached_tokens=request.cached_tokens,
                    truncated_tokens=sequence.truncated_tokens,
                    in_thought=sequence.in_thought,
                    thinking=sequence.voice.thinking if sequence.voice else None,
                    calls=sequence.voice.calls if sequence.voice else None,
                    prompt=shown.text if shown else None,
                    prompt_cut=shown.cut if shown else 0,
                )
            )
        return events

    def _fill(self, lane: Lane, step: Step) -> tuple[list[Filled], Filled | None]:
        """Write the planned rows into the batch; say for each whose it is and which of its rows give logits.

        Rows of pictures can't stand beside tokens: those of the first sequence that comes to one are returned apart,
        and others wait for another step.
        """
        by_key = {sequence.key: sequence for sequence in lane.running}
        lane.batch.clear()
        lane.slots.make_room(sum(row.count for row in step.rows))
        filled: list[Filled] = []
        pictured: Filled | None = None
        first, spare = 0, lane.context.outputs - len(step.rows)  # one row of logits is kept for each sequence
        for row in lane.ordered(step.rows):
            sequence = by_key[row.key]
            start = sequence.computed
            # A reused prefix may have left less than was planned.
            count = self._reuse.step_of(sequence, min(row.count, sequence.remaining))
            if sequence.pictures and sequence.pictures.at(start) is not None:
                pictured = pictured or stretch(sequence, count, lane.batch.capacity)
                continue
            count = sequence.pictures.before_next(start, count)
            draft = sequence.draft[: row.count - 1] if sequence.is_decoding else []
            count, outputs = sequence.outputs(count, 1 + spare)
            outputs += len(draft)
            spare -= max(0, outputs - 1)
            assert sequence.slot is not None
            tokens = [*sequence.tokens[start : start + count], *draft]
            lane.batch.add(sequence.slot, sequence.pictures.position(start), tokens, outputs=outputs)
            place = range(first, first + outputs)
            filled.append(Filled(sequence, sequence.slot, count, place, not sequence.is_decoding, tuple(draft)))
            first += outputs
        return filled, pictured

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
                waiting=len(self._roster.waiting),
                cells_used=sum(lane.slots.cells_used for lane in self._lanes),
                cells_busy=sum(lane.slots.cells_busy for lane in self._lanes),
                cells=sum(lane.slots.cells for lane in self._lanes),
                is_wide=self._lanes.wide is not None,
            )
        )
