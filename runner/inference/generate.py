"""From a wanted generation to pieces of an answer and its end.

Takes what the worker says apart into choices, and each of them into thought and answer. Whoever stops iterating stops
the worker.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import replace

from runner.formats import Thinking
from runner.inference.requests import AnswerPart, Begun, ChoiceEnded, Finished, Piece, Timings
from runner.protocol.commands import ChatPrompt, Generate
from runner.protocol.events import Done, Ended, Logprob, Started, Text
from runner.reply.thinking import Part, Splitter
from runner.scheduler.loop import Scheduler
from runner.scheduler.stream import Item, Stream
from runner.scheduler.ticket import Admission, Want


async def answer(
    scheduler: Scheduler, want: Want, arrived_ns: int, clock_ns: Callable[[], int]
) -> AsyncGenerator[AnswerPart, None]:
    """Submit a Generate and give its answer as it comes. Raises what the scheduler or the worker fails it with."""
    stream = Stream()
    request = scheduler.submit(want, stream)
    try:
        is_chat = isinstance(want.work, Generate) and isinstance(want.work.prompt, ChatPrompt)
        reply = _Reply(arrived_ns, clock_ns, is_chat=is_chat)
        is_first = True
        while items := await stream.take():
            for part in reply.take(items):
                yield replace(part, begun=reply.begun) if is_first and isinstance(part, Piece) else part
                is_first = False
    finally:
        scheduler.cancel(request)  # of no effect once it has ended


class _Reply:
    """An answer as far as it has come. Only in chats can there be a thought: elsewhere its markers are text."""

    def __init__(self, arrived_ns: int, clock_ns: Callable[[], int], *, is_chat: bool) -> None:
        self._arrived_ns = arrived_ns
        self._clock_ns = clock_ns
        self._is_chat = is_chat
        self._admission: Admission | None = None
        self._started: Started | None = None
        self._choices: dict[int, _Choice] = {}

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
                    self._choices.clear()
                case Text():
                    self._choice(item.choice).take(item)
                case Ended():
                    yield from self._choice(item.choice).finish()
                    yield ChoiceEnded(item.choice, item.reason, item.stop)
                case Done():
                    yield from self._choice(item.choice).finish()
                    yield self._finished(item)
                    return
        for choice in self._choices.values():
            yield from choice.pieces()

    def _choice(self, index: int) -> _Choice:
        choice = self._choices.get(index)
        if choice is None:
            markers = self._admission.ready.thinking if self._admission and self._is_chat else None
            in_thought = self._started is not None and self._started.in_thought
            choice = self._choices[index] = _Choice(index, markers, in_thought=in_thought)
        return choice

    def _finished(self, done: Done) -> Finished:
        usage, admission = done.usage, self._admission
        waited, load = (admission.waited_ns, admission.load_ns) if admission else (0, 0)
        return Finished(
            reason=done.reason,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            timings=Timings(
                total=self._clock_ns() - self._arrived_ns,
                load=load,
                queue=max(0, waited - load) + usage.queue_ns,
                prefill=usage.prefill_ns,
                decode=usage.decode_ns,
            ),
            cached_tokens=usage.cached_tokens,
            truncated_tokens=usage.truncated_tokens,
            drafted_tokens=usage.drafted_tokens,
            accepted_tokens=usage.accepted_tokens,
            stop=done.stop,
            choice=done.choice,
        )


class _Choice:
    """What has come of one choice and is in no piece yet."""

    def __init__(self, index: int, markers: Thinking | None, *, in_thought: bool) -> None:
        self._index = index
        self._splitter = Splitter(markers, in_thought=in_thought)
        self._parts: list[Part] = []
        self._logprobs: list[Logprob] = []
        self._tokens = 0

    def take(self, event: Text) -> None:
        """The choice has gained this."""
        self._tokens += event.tokens
        self._logprobs += event.logprobs
        self._parts += self._splitter.feed(event.text)

    def finish(self) -> Iterable[Piece]:
        """The rest, now that nothing follows."""
        self._parts += self._splitter.finish()
        yield from self.pieces()
        if self._logprobs:
            yield self._piece(self._logprobs, in_thought=self._splitter.answer_at is None)

    def pieces(self) -> Iterable[Piece]:
        """What can be given now: the thought always before the answer."""
        if not self._parts:
            return
        thinking = "".join(part.text for part in self._parts if part.kind == "thinking")
        text = "".join(part.text for part in self._parts if part.kind == "answer")
        self._parts.clear()
        border = self._splitter.answer_at
        thought = [each for each in self._logprobs if border is None or each.offset < border]
        if thinking or thought:
            yield self._piece(thought, thinking=thinking, in_thought=True)
        if text:
            yield self._piece(self._logprobs, text=text)

    def _piece(self, logprobs: list[Logprob], *, text: str = "", thinking: str = "", in_thought: bool = False) -> Piece:
        piece = Piece(
            text=text,
            thinking=thinking,
            tokens=self._tokens,
            choice=self._index,
            logprobs=tuple(logprobs),
            in_thought=in_thought,
        )
        self._tokens = 0
        self._logprobs = self._logprobs[len(logprobs) :]
        return piece
