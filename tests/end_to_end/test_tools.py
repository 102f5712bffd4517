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
from runner.conversation import Message, ToolChoice, ToolSpec
from runner.errors import InvalidRequest
from runner.inference.requests import CallPart, Chat, Finished, Piece, Preview
from runner.inference.resolve import Resolver
from runner.inference.service import Service
from runner.protocol.commands import Constraint
from runner.scheduler import machine
from runner.scheduler.loop import Limits, Scheduler
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
    scheduler = Scheduler(Limits(1, 100, 300.0), workers, time.monotonic, machine.available_memory)
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
    calls: dict[int, Called] = field(default_factory=dict)
    end: Finished | None = None

    def take(self, part: CallPart) -> None:
        call = self.calls.setdefault(part.index, Called())
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
                answer.take(part.call)
        elif isinstance(part, Finished):
            answer.end = part
    return answer


class TestAuto:
    async def test_calls_and_answers_from_the_result(self, service: Service) -> None:
        answer = await ask(service)
        print(answer)
        [call] = answer.calls.values()
        assert call.name == "get_weather"
        assert json.loads(call.arguments)["city"] == "Ghent"
        assert call.parts > 2
        assert call.complete
        assert answer.text == ""
        assert answer.end is not None
        assert answer.end.reason == "tool_calls"
