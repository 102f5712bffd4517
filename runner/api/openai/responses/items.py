"""Items of an answer while they grow: a thought, a text, a call. Each tells its events, from the first to the last.

An item is told open, then in deltas, then whole. Knows its place in the answer, and nothing of the answer around it.
"""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import msgspec
from msgspec import UNSET

from runner.api.openai.responses import events
from runner.api.openai.responses.tools import INPUT, Tool
from runner.api.openai.responses.turns import SEAL, new_id
from runner.api.openai.wire import TokenLogprob
from runner.inference.requests import CallPart

_OPEN = "in_progress"


class Growing(ABC):
    """An item at `place` of the output. Call `begin`, then grow it, then `end`."""

    kind: str

    def __init__(self, place: int) -> None:
        self.place = place
        self.id = new_id(self.kind)

    @abstractmethod
    def item(self, status: str) -> events.Item:
        """The item as far as it has come."""

    def begin(self) -> Iterator[events.Event]:
        """What opens it; to be told before it grows."""
        yield events.ItemAdded(output_index=self.place, item=self.item(_OPEN))
        yield from self._opened()

    def end(self, status: str) -> Iterator[events.Event]:
        """What closes it, with the status that it ends in."""
        yield from self._closed()
        yield events.ItemDone(output_index=self.place, item=self.item(status))

    def _opened(self) -> Iterator[events.Event]:
        return iter(())

    @abstractmethod
    def _closed(self) -> Iterator[events.Event]: ...


class Text(Growing):
    """A message, of one part."""

    kind = "message"

    def __init__(self, place: int) -> None:
        super().__init__(place)
        self._texts: list[str] = []
        self._logprobs: list[TokenLogprob] = []

    def grow(self, text: str, logprobs: Sequence[TokenLogprob]) -> Iterator[events.Event]:
        """More text, with the tokens that begin in it."""
        self._texts.append(text)
        self._logprobs += logprobs
        yield events.TextDelta(output_index=self.place, item_id=self.id, delta=text, logprobs=list(logprobs))

    def item(self, status: str) -> events.Message:
        return events.Message(id=self.id, status=status, content=[self._part()] if status != _OPEN else [])

    def _part(self) -> events.OutputText:
        return events.OutputText(text="".join(self._texts), logprobs=self._logprobs)

    def _opened(self) -> Iterator[events.Event]:
        yield events.PartAdded(output_index=self.place, item_id=self.id, part=self._part())

    def _closed(self) -> Iterator[events.Event]:
        part = self._part()
        yield events.TextDone(output_index=self.place, item_id=self.id, text=part.text, logprobs=part.logprobs)
        yield events.PartDone(output_index=self.place, item_id=self.id, part=part)


class Thought(Growing):
    """What the model thought, as it thought it: no other model sums it up, so it stands in for its summary too.

    With `is_sealed` it is given once more as `encrypted_content`, which clients give back when they keep nothing else.
    """

    kind = "reasoning"

    def __init__(self, place: int, *, as_summary: bool, is_sealed: bool) -> None:
        super().__init__(place)
        self._texts: list[str] = []
        self._as_summary = as_summary
        self._is_sealed = is_sealed

    def grow(self, text: str) -> Iterator[events.Event]:
        """More of the thought."""
        self._texts.append(text)
        delta = events.SummaryDelta if self._as_summary else events.ReasoningDelta
        yield delta(output_index=self.place, item_id=self.id, delta=text)

    def item(self, status: str) -> events.Reasoning:
        text = "".join(self._texts)
        is_told = status != _OPEN
        return events.Reasoning(
            id=self.id,
            status=status,
            summary=[events.SummaryText(text=text)] if is_told and self._as_summary else [],
            content=UNSET if self._as_summary else [events.ReasoningText(text=text)] if is_told else [],
            encrypted_content=SEAL + text if is_told and self._is_sealed else UNSET,
        )

    def _opened(self) -> Iterator[events.Event]:
        if self._as_summary:
            part = events.SummaryText(text="")
            yield events.SummaryPartAdded(output_index=self.place, item_id=self.id, part=part)
        else:
            content = events.ReasoningText(text="")
            yield events.PartAdded(output_index=self.place, item_id=self.id, part=content)

    def _closed(self) -> Iterator[events.Event]:
        text = "".join(self._texts)
        if self._as_summary:
            part = events.SummaryText(text=text)
            yield events.SummaryDone(output_index=self.place, item_id=self.id, text=text)
            yield events.SummaryPartDone(output_index=self.place, item_id=self.id, part=part)
        else:
            content = events.ReasoningText(text=text)
            yield events.ReasoningDone(output_index=self.place, item_id=self.id, text=text)
            yield events.PartDone(output_index=self.place, item_id=self.id, part=content)


class Call(Growing):
    """A call of a function."""

    kind = "function_call"

    def __init__(self, place: int, first: CallPart, tool: Tool | None) -> None:
        """`tool` is None for one that the model made up."""
        super().__init__(place)
        self._call_id = first.id or f"call_{uuid.uuid4().hex}"
        self._name = tool.name if tool else first.name
        self._namespace = tool.namespace if tool else None
        self._arguments: list[str] = []

    def grow(self, arguments: str) -> Iterator[events.Event]:
        """More of the arguments."""
        self._arguments.append(arguments)
        yield events.ArgumentsDelta(output_index=self.place, item_id=self.id, delta=arguments)

    def item(self, status: str) -> events.Item:
        return events.FunctionCall(
            id=self.id,
            status=status,
            call_id=self._call_id,
            name=self._name,
            arguments="".join(self._arguments),
            namespace=self._namespace or UNSET,
        )

    def _closed(self) -> Iterator[events.Event]:
        yield events.ArgumentsDone(
            output_index=self.place, item_id=self.id, name=self._name, arguments="".join(self._arguments)
        )


class CustomCall(Call):
    """A call of a tool that takes any text, which is told at once: it comes wrapped in JSON."""

    kind = "custom_tool_call"

    def grow(self, arguments: str) -> Iterator[events.Event]:
        self._arguments.append(arguments)
        return iter(())

    def item(self, status: str) -> events.Item:
        return events.CustomCall(
            id=self.id,
            status=status,
            call_id=self._call_id,
            name=self._name,
            input=self._input() if status != _OPEN else "",
            namespace=self._namespace or UNSET,
        )

    def _closed(self) -> Iterator[events.Event]:
        text = self._input()
        yield events.InputDelta(output_index=self.place, item_id=self.id, delta=text)
        yield events.InputDone(output_index=self.place, item_id=self.id, input=text)

    def _input(self) -> str:
        """The text that is wrapped; what isn't wrapped as it should be is told as it stands."""
        text = "".join(self._arguments)
        try:
            value = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            return text
        wrapped = value.get(INPUT) if isinstance(value, dict) else None
        return wrapped if isinstance(wrapped, str) else text
