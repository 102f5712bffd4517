"""The demo model calls tools, through the service that all dialects stand on: a real worker, no wire."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from registry.embedded import ensure_demo
from registry.store import Store
from runner.conversation import Message, ToolCall, ToolChoice, ToolSpec
from runner.errors import InvalidRequest
from runner.inference.requests import CallPart, Chat, Finished, Piece, Preview
from runner.inference.resolve import Resolver
from runner.inference.service import Service
from runner.protocol.commands import Constraint
from runner.scheduler import machine
from runner.scheduler.loop import Limits, Scheduler
from runner.scheduler.stock import Host
from runner.scheduler.workers import Workers

WEATHER = ToolSpec(
    "get_weather",
    "Weather of a city",
    {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city"],
    },
)
TIMER = ToolSpec(
    "set_timer",
    "Set a timer",
    {"type": "object", "properties": {"minutes": {"type": "integer"}}, "required": ["minutes"]},
)
TOOLS = (WEATHER, TIMER)
ASKS = Message("user", "What's the weather in Ghent?")


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    workers = Workers(tmp_path / "logs", 60.0, time.monotonic)
    scheduler = Scheduler(Limits(1, 100, 300.0), workers, time.monotonic, Host(machine.available_memory))
    with Store.open(tmp_path / "store") as store, ThreadPoolExecutor(2) as threads:
        ensure_demo(store)
        yield Service(scheduler, Resolver(store, context_length=0, num_parallel=2), threads)
        scheduler.close(lambda: None)
        scheduler.abort()
        await workers.gone()


@dataclass
class Called:
    name: str = ""
    id: str = ""
    arguments: str = ""
    parts: int = 0
    complete: bool = False


@dataclass
class Answer:
    text: str = ""
    thinking: str = ""
    calls: dict[tuple[int, int], Called] = field(default_factory=dict)
    end: Finished | None = None

    def take(self, choice: int, part: CallPart) -> None:
        call = self.calls.setdefault((choice, part.index), Called())
        assert not call.complete
        call.name += part.name
        call.id += part.id
        call.arguments += part.arguments
        call.parts += 1
        call.complete = part.complete


async def ask(
    service: Service,
    *messages: Message,
    tools: Sequence[ToolSpec] = TOOLS,
    choice: ToolChoice | None = None,
    options: dict[str, Any] | None = None,
    **more: Any,
) -> Answer:
    options = {"num_predict": 120} | (options or {})
    choice = choice or ToolChoice()
    request = Chat("demo", messages or (ASKS,), tuple(tools), choice, options=options, **more)
    answer = Answer()
    async for part in service.generate(request):
        if isinstance(part, Piece):
            answer.text += part.text
            answer.thinking += part.thinking
            if part.call is not None:
                answer.take(part.choice, part.call)
        elif isinstance(part, Finished):
            answer.end = part
    return answer


class TestAuto:
    async def test_calls_and_answers_from_the_result(self, service: Service) -> None:
        answer = await ask(service, tools=[WEATHER])
        [call] = answer.calls.values()
        assert (call.name, json.loads(call.arguments)) == ("get_weather", {"city": "Ghent"})
        assert call.complete
        assert answer.text == ""
        assert answer.end is not None
        assert answer.end.reason == "tool_calls"
        past = Message("assistant", tool_calls=(ToolCall(call.name, json.loads(call.arguments), call.id),))
        result = Message("tool", '{"temperature": 17, "sky": "cloudy"}', tool_call_id=call.id)
        after = await ask(service, ASKS, past, result, tools=[WEATHER])
        assert after.end is not None
        assert after.end.reason == "stop"
        assert "17" in after.text

    async def test_with_none_no_tool_is_told_of(self, service: Service) -> None:
        request = Chat("demo", (ASKS,), TOOLS, ToolChoice("none"))
        told = await service.tell(Preview(request))
        assert "get_weather" not in told.text
        assert "get_weather" in (await service.tell(Preview(Chat("demo", (ASKS,), TOOLS)))).text
        assert not (await ask(service, choice=ToolChoice("none"))).calls

    async def test_a_form_holds_for_the_answer(self, service: Service) -> None:
        answer = await ask(service, constraint=Constraint("choice", '["left", "right"]'))
        assert answer.text in ("left", "right")
        assert not answer.calls


class TestDemanded:
    @pytest.mark.parametrize("seed", range(3))
    async def test_any_whatever_is_drawn(self, service: Service, seed: int) -> None:
        drawn = {"temperature": 1.5, "seed": seed, "num_predict": 400}
        hello = Message("user", "Hello!")
        answer = await ask(service, hello, choice=ToolChoice("required"), options=drawn, choices=2)
        assert answer.text == ""
        for call in answer.calls.values():
            assert call.complete
            check(call)

    async def test_by_name(self, service: Service) -> None:
        choice = ToolChoice("required", "set_timer")
        answer = await ask(service, Message("user", "How do I pull a model?"), choice=choice)
        [call] = answer.calls.values()
        assert call.name == "set_timer"
        check(call)
        assert answer.end is not None
        assert answer.end.reason == "tool_calls"

    async def test_a_long_one_comes_in_parts(self, service: Service) -> None:
        """One of a few tokens may all have come by the time that somebody looks."""
        text = {"type": "string", "minLength": 400, "maxLength": 600}
        note = ToolSpec("note", "Writes a note", {"type": "object", "properties": {"text": text}, "required": ["text"]})
        answer = await ask(service, choice=ToolChoice("required"), tools=[note], options={"num_predict": 800})
        [call] = answer.calls.values()
        assert call.complete
        assert len(json.loads(call.arguments)["text"]) >= 400
        assert call.parts > 1

    async def test_a_thought_goes_before_it(self, service: Service) -> None:
        answer = await ask(service, choice=ToolChoice("required"), think=True, options={"num_predict": 400})
        assert answer.thinking
        assert answer.calls
        for call in answer.calls.values():
            check(call)

    async def test_one_that_is_cut_off_is_told_as_far_as_it_came(self, service: Service) -> None:
        answer = await ask(service, choice=ToolChoice("required"), options={"num_predict": 14})
        [call] = answer.calls.values()
        assert not call.complete
        assert answer.end is not None
        assert answer.end.reason == "length"

    async def test_what_cannot_be_demanded(self, service: Service) -> None:
        unique = ToolSpec("bad", "", {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}})
        cases: list[tuple[str, dict[str, Any]]] = [
            ("tool_choice", {"tools": ()}),
            ("tool_choice", {"choice": ToolChoice("required", "unknown")}),
            ("tool_choice", {"constraint": Constraint("json")}),
            ("tools[2].function.parameters.properties.a.uniqueItems", {"tools": [*TOOLS, unique]}),
        ]
        for field_name, case in cases:
            with pytest.raises(InvalidRequest) as caught:
                await ask(service, **{"choice": ToolChoice("required"), **case})
            assert caught.value.field == field_name
        assert (await ask(service, tools=[WEATHER, unique])).end is not None


async def test_not_in_parallel_the_answer_ends_with_the_first_call(service: Service) -> None:
    answer = await ask(service, tools=[WEATHER], choice=ToolChoice(parallel=False))
    [call] = answer.calls.values()
    assert call.complete
    assert answer.end is not None
    assert answer.end.reason == "tool_calls"
    assert answer.end.completion_tokens > 5
    assert answer.end.prompt_tokens > 50


async def test_calls_are_scored_by_nobody(service: Service) -> None:
    scored = []
    request = Chat("demo", (ASKS,), (WEATHER,), logprobs=1, options={"num_predict": 80})
    async for part in service.generate(request):
        if isinstance(part, Piece):
            assert part.call is None or not part.logprobs
            scored += part.logprobs
    assert [each for each in scored if not each.is_end] == []


def check(call: Called) -> None:
    """Whether the arguments keep to the schema of their tool."""
    arguments = json.loads(call.arguments)
    if call.name == "get_weather":
        assert isinstance(arguments.pop("city"), str)
        assert isinstance(arguments.pop("days", 0), int)
    else:
        assert call.name == "set_timer"
        assert isinstance(arguments.pop("minutes"), int)
    assert arguments == {}
