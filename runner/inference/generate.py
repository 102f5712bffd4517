"""From a wanted generation to pieces of an answer and its end.

Takes what the worker says apart into thought and answer. Whoever stops iterating stops the worker.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable

from runner.inference.requests import Finished, Piece, Timings
from runner.protocol.commands import ChatPrompt, Generate
from runner.protocol.events import Done, Started, Text
from runner.reply.thinking import Part, Splitter
from runner.scheduler.loop import Scheduler
from runner.scheduler.stream import Item, Stream
from runner.scheduler.ticket import Admission, Want


async def answer(
    scheduler: Scheduler, want: Want, arrived_ns: int, clock_ns: Callable[[], int]
) -> AsyncGenerator[Piece | Finished, None]:
    """Submit a Generate and give its answer as it comes. Raises what the scheduler or the worker fails it with."""
    stream = Stream()
    request = scheduler.submit(want, stream)
    try:
        is_chat = isinstance(want.work, Generate) and isinstance(want.work.prompt, ChatPrompt)
        reply = _Reply(arrived_ns, clock_ns, is_chat=is_chat)
        while items := await stream.take():
            for part in reply.take(items):
                yield part
    finally:
        scheduler.cancel(request)  # of no effect once it has ended


class _Reply:
    """An answer as far as it has come. Only in chats can there be a thought: elsewhere its markers are text."""

    def __init__(self, arrived_ns: int, clock_ns: Callable[[], int], *, is_chat: bool) -> None:
        self._arrived_ns = arrived_ns
        self._clock_ns = clock_ns
        self._is_chat = is_chat
        self._admission: Admission | None = None
        self._splitter = Splitter(None)
        self._tokens = 0  # that belong to no piece yet

    def take(self, items: Iterable[Item]) -> Iterable[Piece | Finished]:
        """What has come of these events. Pieces that arrived together are given as one."""
        parts: list[Part] = []
        for item in items:
            match item:
                case Admission():
                    self._admission = item
                case Started():
                    markers = self._admission.ready.thinking if self._admission and self._is_chat else None
                    self._splitter = Splitter(markers, in_thought=item.in_thought)
                case Text():
                    self._tokens += item.tokens
                    parts += self._splitter.feed(item.text)
                case Done():
                    yield from self._pieces(parts + self._splitter.finish())
                    yield self._finished(item)
                    return
        yield from self._pieces(parts)

    def _pieces(self, parts: list[Part]) -> Iterable[Piece]:
        thinking = "".join(part.text for part in parts if part.kind == "thinking")
        text = "".join(part.text for part in parts if part.kind == "answer")
        if thinking:  # always before the answer
            yield Piece(thinking=thinking, tokens=self._take_tokens())
        if text:
            yield Piece(text=text, tokens=self._take_tokens())

    def _take_tokens(self) -> int:
        tokens, self._tokens = self._tokens, 0
        return tokens

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
            stop=done.stop,
        )
