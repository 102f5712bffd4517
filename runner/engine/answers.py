"""What comes of a decode: tokens drawn from its rows, text, and the end of choices and requests.

Each accepted request leaves by exactly one Done or Failed. Knows no plan and no inbox.
"""

from __future__ import annotations

import time
from itertools import islice
from typing import cast

from runner.engine.crew import Crew
from runner.engine.draw import Draw, Drawn, draw_all
from runner.engine.lanes import Lane
from runner.engine.logprobs import told
from runner.engine.meter import Meter
from runner.engine.roster import Roster
from runner.engine.rows import Filled, came_true, draws
from runner.engine.sequence import Request, Sequence
from runner.errors import RunnerError
from runner.llama.model import Model
from runner.protocol.commands import Adapters
from runner.protocol.events import Done, Ended, Event, Failed, Reason, Text

_SILENT = 16  # tokens without text after which the daemon is told of them all the same: it counts them as progress


class Answers:
    """For the loop's thread alone."""

    def __init__(self, model: Model, roster: Roster, meter: Meter, crew: Crew) -> None:
        self._model = model
        self._roster = roster
        self._meter = meter
        self._crew = crew

    def settle(self, lane: Lane, filled: list[Filled], began: float) -> list[Event]:
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
            self._roster.lanes.cost.saw(len(filled), lane.slots.cells_used, time.monotonic() - began)
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
        self._roster.reuse.advance(sequence, lane)
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
            sequence.speculation = None  # what it should forget it couldn't: it is computed anew
            self._roster.send_back(lane, sequence)
        return events

    def _count_drafts(self, sequence: Sequence, drafted: int, accepted: int) -> None:
        assert sequence.speculation is not None
        sequence.speculation.learn(drafted, accepted)
        sequence.request.drafted_tokens += drafted
        sequence.request.accepted_tokens += accepted
        self._meter.drafts += 1
        self._meter.drafted_tokens += drafted
        self._meter.accepted_tokens += accepted

    def _take(self, lane: Lane, sequence: Sequence, drawn: list[Drawn], now: int) -> list[Event]:
        """Go on with what came of a row: the score of a token of the prompt, or the next token of each choice."""
        request = sequence.request
        if sequence.slot is None:  # another choice, a moment ago, made the request fail
            return []
        if self._rescores(sequence, drawn):
            return []
        echo = request.echo
        events: list[Event] = []
        choices = [sequence]
        request.first_token_ns = request.first_token_ns or now
        if not sequence.generated:  # the prompt is complete
            choices += self._roster.fork(lane, sequence)
            if echo is not None:
                new = [each for each in choices if each.choice not in request.echoed]
                events += [Text(each.id, echo.text, 0, each.choice, tuple(echo.logprobs)) for each in new]
        if sequence.command.sampling.num_predict == 0:
            return [*events, *[self._end(each, "length") for each in choices]]
        for each, next_ in zip(choices, drawn, strict=True):
            if next_.fault is not None:
                return [*events, self._fail(request, sequence.id, next_.fault)]
            events += self._next_tokens(each, next_)
        return events

    def _rescores(self, sequence: Sequence, drawn: list[Drawn]) -> bool:
        """Take the score of a token that is there already: of the prompt, or of an answer that goes on."""
        echo = sequence.request.echo if not sequence.generated else None
        if sequence.unscored:
            assert drawn[0].scored is not None
            sequence.unsent_logprobs.append(told(self._model, drawn[0].scored, sequence.unscored.pop(0)))
        elif echo is not None and echo.is_scoring:
            assert drawn[0].scored is not None
            echo.add(drawn[0].scored)
        else:
            return False
        return True

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
            sequence.unsent.append(token)
            self._meter.completion_tokens += 1
            text += sequence.text.push(sequence.piece(self._model, token))
            if sequence.text.stop is not None:
                return [*self._text(sequence, text), self._end(sequence, "stop")]
            if 0 < wanted <= sequence.generated or len(sequence.tokens) >= sequence.context_length:
                reason = "length"
        else:
            if drawn.completes:  # even where it could not have become longer
                reason = "stop"
        events = self._text(sequence, text)
        return [*events, *self._finish(sequence, reason)] if reason is not None else events

    def conclude(self, sequence: Sequence, reason: Reason) -> list[Event]:
        """The end of an answer that an earlier worker drew to its last token, without telling the end."""
        return self._finish(sequence, reason)

    def _finish(self, sequence: Sequence, reason: Reason) -> list[Event]:
        """The end of an answer that no stop string cut: what was held back comes out first."""
        text = sequence.text.finish()
        return [*self._text(sequence, text, is_last=sequence.text.stop is None), self._end(sequence, reason)]

    def _text(self, sequence: Sequence, text: str, *, is_last: bool = False) -> list[Event]:
        logprobs = sequence.take_logprobs(is_last=is_last)
        text, sequence.owed = sequence.owed + text, ""
        ids = tuple(sequence.unsent)
        if not text and not logprobs and len(ids) < _SILENT:
            return []
        sequence.unsent.clear()
        return [Text(sequence.id, text, len(ids), sequence.choice, logprobs, ids)]

    # -- the end of a choice, and of a request

    def _end(self, sequence: Sequence, reason: Reason) -> Ended | Done:
        """A choice is complete; with the last one its request is."""
        self._roster.leave(sequence)
        sequence.request.incomplete -= 1
        if sequence.request.incomplete:
            return Ended(sequence.id, reason, sequence.choice, sequence.text.stop)
        usage = sequence.usage(time.monotonic_ns())
        return Done(sequence.id, reason, usage, sequence.text.stop, sequence.choice)

    def give_up(self, sequence: Sequence) -> Done:
        """End a request, all its choices, that nobody waits for any more."""
        self._roster.remove(sequence.request)
        return Done(sequence.id, "cancelled", sequence.usage(time.monotonic_ns()))

    def _fail(self, request: Request, id_: int, error: RunnerError) -> Failed:
        self._roster.remove(request)
        return Failed(id_, error.code, error.message, error.field)

    # -- when the decode failed

    def make_room(self, lane: Lane) -> list[Event]:
        """llama.cpp found no room although the count said so (its cells need not be as free as counted).

        Nothing of the batch was computed. Idle prefixes go first, then the newest sequence waits again.
        """
        if lane.slots.cells_used > lane.slots.cells_busy:
            lane.slots.clear()
            return []
        if len(lane.running) > 1:
            self._roster.send_back(lane, lane.running[-1])
            lane.slots.clear()
            lane.full = True
            return []
        (last,) = lane.running
        if lane.is_split:  # the pool has more
            last.is_long = True
            self._roster.send_back(lane, last)
            return []
        if last.generated:
            return self._finish(last, "length")
        error = RunnerError("the memory of the model's context has no room for this prompt")
        return [self._fail(last.request, last.id, error)]

    def fail_those(self, lane: Lane, adapters: Adapters, error: RunnerError) -> list[Event]:
        """Those in the lane who are to be computed with these adapters can't be."""
        failed = {sequence.request: sequence.id for sequence in lane.running if sequence.adapters == adapters}
        return [self._fail(request, id_, error) for request, id_ in failed.items()]

    def fail_all(self, lane: Lane) -> list[Event]:
        """A fatal code: what the memory holds is unknown. Everyone in the lane fails; its context starts afresh."""
        failed = {sequence.request: sequence.id for sequence in lane.running}
        for request in failed:
            self._roster.remove(request)
        lane.context.clear()
        lane.slots.reset()
        error = RunnerError("llama.cpp failed to compute the batch that this request was in")
        return [Failed(id_, error.code, error.message) for id_ in failed.values()]
