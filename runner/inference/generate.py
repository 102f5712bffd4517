"""From a wanted generation to pieces of an answer and its end.

Takes what the worker says apart into choices, and each of them into thought, answer and calls. Whoever stops iterating
stops the worker.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import replace

from runner.inference.passage import submit
from runner.inference.requests import AnswerPart, Begun, CallPart, ChoiceEnded, Finished, Outcome, Piece, Timings
from runner.protocol.commands import ChatPrompt, Generate
from runner.protocol.events import Done, Ended, Logprob, Reason, Started, Text, Usage
from runner.reply.assemble import Assembly
from runner.reply.parts import AnyPart, Call, Part
from runner.scheduler.loop import Scheduler
from runner.scheduler.stream import Item
from runner.scheduler.ticket import Admission, Want


async def answer(
    scheduler: Scheduler, want: Want, arrived_ns: int, clock_ns: Callable[[], int], place: int | None = None
) -> AsyncGenerator[AnswerPart, None]:
    """Submit a Generate and give its answer as it comes. Raises what the scheduler or the worker fails it with."""
    submitted = submit(scheduler, want, place)
    leg = submitted.leg
    try:
        assert isinstance(want.work, Generate)  # what is wanted of a service that answers
        reply = _Reply(arrived_ns, clock_ns, want.work, leg.started)
        is_first = True
        while items := await submitted.stream.take():
            for part in reply.take(items):
                leg.take(part)
                yield replace(part, begun=reply.begun) if is_first and isinstance(part, Piece) else part
                is_first = False
                if isinstance(part, Finished):
                    return
    finally:
        scheduler.cancel(submitted.id)  # of no effect once it has ended


class _Reply:
    """An answer as far as it has come."""

    def __init__(
        self, arrived_ns: int, clock_ns: Callable[[], int], work: Generate, hear: Callable[[Started], None]
    ) -> None:
        self._arrived_ns = arrived_ns
        self._clock_ns = clock_ns
        self._work = work
        self._hear = hear
        self._admission: Admission | None = None
        self._started: Started | None = None
        self._started_ns = arrived_ns
        self._choices: dict[int, _Choice] = {}
        self._going = work.choices  # choices that aren't complete

    @property
    def begun(self) -> Begun | None:
        """What the worker said of the prompt."""
        return Begun(self._started.prompt_tokens, self._started.cached_tokens) if self._started else None

    def take(self, items: Iterable[Item]) -> Iterable[AnswerPart]:
        """What has come of these events. Pieces of a choice that arrived together are given as one."""
        for item in items:
            match item:
                case Admission():
                    self._admission = item
                case Started():
                    self._started = item
                    self._hear(item)
                    self._started_ns = self._clock_ns()
                    self._choices.clear()
                    self._going = self._work.choices
                case Text():
                    choice = self._choice(item.choice)
                    choice.take(item)
                    if choice.is_over and not choice.is_told:
                        yield from self._end(choice, "stop", None, None)
                case Ended():
                    yield from self._end(self._choice(item.choice), item.reason, item.stop, None)
                case Done():
                    yield from self._end(self._choice(item.choice), item.reason, item.stop, item)
                    return
        for choice in self._choices.values():
            yield from choice.pieces()

    def _choice(self, index: int) -> _Choice:
        choice = self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = _Choice(index, _assembly(self._work, self._started))
        return choice

    def _end(self, choice: _Choice, reason: Reason, stop: str | None, done: Done | None) -> Iterable[AnswerPart]:
        """A choice is complete: told once, even where the model would have gone on behind its only call."""
        if not choice.is_told:
            yield from choice.finish()
            choice.is_told = True
            choice.outcome = "tool_calls" if reason == "stop" and choice.has_called else reason
            self._going -= 1
            if self._going:
                yield ChoiceEnded(choice.index, choice.outcome, stop)
        elif done is None:
            return
        if not self._going:
            yield self._finished(choice, stop, done)

    def _finished(self, choice: _Choice, stop: str | None, done: Done | None) -> Finished:
        """The end of all. Without a Done, which comes when the worker has been stopped, with what is known here."""
        admission, started = self._admission, self._started
        waited, load = (admission.waited_ns, admission.load_ns) if admission else (0, 0)
        now = self._clock_ns()
        if done is None:
            usage = Usage(
                prompt_tokens=started.prompt_tokens if started else 0,
                cached_tokens=started.cached_tokens if started else 0,
                truncated_tokens=started.truncated_tokens if started else 0,
                completion_tokens=sum(each.all_tokens for each in self._choices.values()),
                decode_ns=now - self._started_ns,
            )
        else:
            usage = done.usage
        return Finished(
            reason=choice.outcome,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            timings=Timings(
                total=now - self._arrived_ns,
                load=load,
                queue=max(0, waited - load) + usage.queue_ns,
                prefill=usage.prefill_ns,
                decode=usage.decode_ns,
            ),
            cached_tokens=usage.cached_tokens,
            truncated_tokens=usage.truncated_tokens,
            drafted_tokens=usage.drafted_tokens,
            accepted_tokens=usage.accepted_tokens,
            stop=stop,
            choice=choice.index,
        )


class _Choice:
    """What has come of one choice and is in no piece yet."""

    def __init__(self, index: int, assembly: Assembly) -> None:
        self.index = index
        self.is_told = False
        self.outcome: Outcome = "stop"
        self.all_tokens = 0
        self._assembly = assembly
        self._parts: list[AnyPart] = []
        self._counts: list[int] = []  # tokens of each part
        self._logprobs: list[Logprob] = []
        self._tokens = 0
        self._breaks_off = False  # in a call, unless more of it comes

    @property
    def called(self) -> bool:
        """Whether it has called a tool, or begun to."""
        return self._assembly.called

    @property
    def has_called(self) -> bool:
        """Whether its calls can be made: there are some, and none broke off."""
        return self.called and not self._breaks_off

    @property
    def is_over(self) -> bool:
        """Whether what follows isn't wanted."""
        return self._assembly.is_over

    def take(self, event: Text) -> None:
        """The choice has gained this."""
        if self.is_told:
            return
        self.all_tokens += event.tokens
        self._logprobs += event.logprobs
        self._add(self._assembly.feed(event.text), event.tokens)

    def finish(self) -> Iterable[Piece]:
        """The rest, now that nothing follows."""
        if not self.is_over:
            self._add(self._assembly.finish(), 0)
        yield from self.pieces()
        if self.called:  # what is left scores calls, but for the end
            self._logprobs = [each for each in self._logprobs if each.is_end]
        if self._logprobs:
            yield self._piece(self._logprobs, in_thought=self._assembly.answer_at is None)

    def _add(self, parts: list[AnyPart], tokens: int) -> None:
        """Tokens count with the last part that they led to; those that led to none yet, with the next."""
        self._tokens += tokens
        if parts:
            self._parts += parts
            self._counts += [*([0] * (len(parts) - 1)), self._tokens]
            self._tokens = 0

    def pieces(self) -> Iterable[Piece]:
        """What can be given now: neighbours of a kind as one."""
        (parts, self._parts), (counts, self._counts) = (self._parts, []), (self._counts, [])
        rest, self._tokens = (self._tokens, 0) if parts else (0, self._tokens)
        at = 0
        for run in _runs(parts):
            self._tokens += sum(counts[at : at + len(run)])
            at += len(run)
            if at == len(parts):
                self._tokens += rest
            first = run[0]
            if isinstance(first, Call):
                call = _call_part(run)
                self._breaks_off = not call.complete
                yield self._piece([], call=call)
                continue
            texts = [part for part in run if isinstance(part, Part)]
            text = "".join(part.text for part in texts)
            if first.kind == "thinking":
                yield self._piece(self._thoughts_scores(), thinking=text, in_thought=True)
                continue
            thoughts = self._thoughts_scores()
            if thoughts:  # of the marker that ended it
                yield self._piece(thoughts, in_thought=True)
            yield self._piece(self._scores(texts), text=text)

    def _thoughts_scores(self) -> list[Logprob]:
        border = self._assembly.answer_at
        return self._logprobs if border is None else [each for each in self._logprobs if each.offset < border]

    def _scores(self, texts: list[Part]) -> list[Logprob]:
        """Those of the answer's text; those of calls before it are left out."""
        if not self.called:
            return self._logprobs
        start, end = texts[0].at, texts[-1].at + len(texts[-1].text)
        self._logprobs = [each for each in self._logprobs if _end(each) > start]
        return [each for each in self._logprobs if each.offset < end]

    def _piece(
        self,
        logprobs: list[Logprob],
        *,
        text: str = "",
        thinking: str = "",
        call: CallPart | None = None,
        in_thought: bool = False,
    ) -> Piece:
        piece = Piece(
            text=text,
            thinking=thinking,
            call=call,
            tokens=self._tokens,
            choice=self.index,
            logprobs=tuple(logprobs),
            in_thought=in_thought,
        )
        self._tokens = 0
        self._logprobs = self._logprobs[len(logprobs) :]
        return piece


def _assembly(work: Generate, started: Started | None) -> Assembly:
    """Takes a choice apart. Only in chats there are thoughts and calls: elsewhere their markers are text.

    Where the answer has to keep to a form, it is the answer and no call.
    """
    prompt = work.prompt
    if not isinstance(prompt, ChatPrompt) or started is None:
        return Assembly(None, None)
    choice = prompt.tool_choice
    wants_calls = bool(prompt.tools) and choice.mode != "none" and work.constraint is None
    return Assembly(
        started.thinking,
        started.calls,
        prompt.tools if wants_calls else None,
        in_thought=started.in_thought,
        parallel=choice.parallel,
    )


def _runs(parts: list[AnyPart]) -> Iterable[list[AnyPart]]:
    """Neighbours that go into one piece: of one kind, or of one call."""
    run: list[AnyPart] = []
    for part in parts:
        if run and _kind(part) != _kind(run[-1]):
            yield run
            run = []
        run.append(part)
    if run:
        yield run


def _kind(part: AnyPart) -> str | int:
    return part.index if isinstance(part, Call) else part.kind


def _end(logprob: Logprob) -> int:
    """Where the token ends, in characters of its choice's text."""
    return logprob.offset + max(1, len(logprob.token.decode("utf-8", "replace")))


def _call_part(run: list[AnyPart]) -> CallPart:
    calls = [part for part in run if isinstance(part, Call)]
    return CallPart(
        index=calls[0].index,
        id=calls[0].id,
        name=calls[0].name,
        arguments="".join(call.arguments for call in calls),
        complete=calls[-1].complete,
    )
