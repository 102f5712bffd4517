"""A conversation's messages as chat templates want to see them, calls of tools above all.

Templates don't agree on how a past call looks: arguments as a mapping or as text, no content or an empty one, one call
in a message or several. So a template is tried once with a call that is easily found again. Knows no tokens.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from runner.conversation import Message, ToolCall, ToolSpec
from runner.errors import TemplateFailed
from runner.formats import CallFormat
from runner.prompt import words
from runner.prompt.jinja import Template


@dataclass(frozen=True, slots=True)
class Style:
    """How a template wants past calls: arguments as JSON text, None for content that isn't there, one in a message."""

    as_text: bool = False
    no_content: bool = False
    one_by_one: bool = False


def told(messages: Sequence[Message], template: Template, calls: CallFormat | None) -> list[dict[str, Any]]:
    """What the template is given for these messages. Calls and results are matched, by id, name or order."""
    if not any(message.tool_calls or message.role == "tool" for message in messages):
        return [_turn(message, Style()) for message in messages]
    style = style_of(template)
    joined = calls is not None and calls.shape == "channels"
    matched = _matched(messages, nine=calls is not None and calls.ids == "nine")
    if style is None:  # it renders no calls at all
        style = Style()
        matched = [_in_words(message, calls) for message in matched]
    return [_turn(_one_thought(each) if joined else each, style) for each in _in_turns(matched, style)]


def tools(offered: Sequence[ToolSpec]) -> list[dict[str, Any]]:
    """What a template is given for the tools; each has properties, if only none."""
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": {"type": "object", "properties": {}} | tool.parameters,
            },
        }
        for tool in offered
    ]


# -- the style of a template

_KEY, _VALUES = "probed_key", ("first_probe", "second_probe")


@functools.lru_cache(maxsize=8)
def style_of(template: Template) -> Style | None:
    """The first style in which the template renders two calls with their arguments; None if it never does."""
    for one_by_one in (False, True):
        for no_content in (False, True):
            for as_text in (False, True):
                style = Style(as_text, no_content, one_by_one)
                if _is_understood(template, style):
                    return style
    return None


def _is_understood(template: Template, style: Style) -> bool:
    calls = tuple(
        ToolCall("probe", {_KEY: value}, id=f"probe{number:04}") for number, value in enumerate(_VALUES)
    )  # nine letters and digits, as some templates demand
    results = [Message("tool", "done", tool_name="probe", tool_call_id=call.id) for call in calls]
    turns = _in_turns([Message("user", "Go"), Message("assistant", tool_calls=calls), *results], style)
    variables = {
        "messages": [_turn(each, style) for each in turns],
        "tools": tools([ToolSpec("probe", "A probe", {"type": "object", "properties": {_KEY: {"type": "string"}}})]),
        "add_generation_prompt": True,
        "bos_token": "",
        "eos_token": "",
    }
    try:
        text = template.render(variables)
    except TemplateFailed:
        return False
    return all(value in text for value in _VALUES) and f'\\"{_KEY}' not in text


# -- messages


def _in_turns(messages: Sequence[Message], style: Style) -> Iterator[Message]:
    """The messages, and where a template takes one call at a time, each call followed by its result."""
    if not style.one_by_one:
        yield from messages
        return
    used: set[int] = set()
    for index, message in enumerate(messages):
        if index in used:
            continue
        if len(message.tool_calls) < 2:
            yield message
            continue
        results: defaultdict[str | None, deque[int]] = defaultdict(deque)
        for later in itertools.takewhile(lambda at: messages[at].role == "tool", range(index + 1, len(messages))):
            results[messages[later].tool_call_id].append(later)
        for number, call in enumerate(message.tool_calls):
            alone = msgspec.structs.replace(message, tool_calls=(call,))
            yield alone if not number else msgspec.structs.replace(alone, content="", thinking=None)
            if results[call.id]:
                used.add(results[call.id][0])
                yield messages[results[call.id].popleft()]


def _matched(messages: Sequence[Message], *, nine: bool) -> list[Message]:
    """Every call with an id, every result with that of its call and its name."""
    matched: list[Message] = []
    waiting = _Waiting(())
    given = {call.id for message in messages for call in message.tool_calls}
    ids = (name for number in itertools.count() if (name := f"call_{number}") not in given)
    for message in messages:
        if message.tool_calls:
            calls = [
                msgspec.structs.replace(call, id=_id(call.id or next(ids), nine=nine)) for call in message.tool_calls
            ]
            waiting = _Waiting(calls)
            matched.append(msgspec.structs.replace(message, tool_calls=tuple(calls)))
        elif message.role == "tool":
            wanted = _id(message.tool_call_id, nine=nine) if message.tool_call_id else None
            found = waiting.take(wanted, message.tool_name)
            matched.append(
                msgspec.structs.replace(
                    message,
                    tool_call_id=wanted or (found.id if found else None),
                    tool_name=message.tool_name or (found.name if found else None),
                )
            )
        else:
            matched.append(message)
    return matched


class _Waiting:
    """Calls without a result, found by id, by name or by their order. A conversation may well have thousands."""

    def __init__(self, calls: Sequence[ToolCall]) -> None:
        self._calls = dict(enumerate(calls))
        self._places: defaultdict[tuple[str, str | None], deque[int]] = defaultdict(deque)
        for place, call in self._calls.items():
            for key in (("id", call.id), ("name", call.name), ("any", None)):
                self._places[key].append(place)

    def take(self, wanted: str | None, name: str | None) -> ToolCall | None:
        """The call that a result belongs to: the one it names, or else the first without one. It waits no longer."""
        key = ("id", wanted) if wanted is not None else ("name", name) if name is not None else ("any", None)
        places = self._places[key]
        while places:
            found = self._calls.pop(places.popleft(), None)
            if found is not None:
                return found
        return None


def _id(given: str, *, nine: bool) -> str:
    """An id as the template wants it: some demand nine letters and digits."""
    if not nine or (len(given) == 9 and given.isascii() and given.isalnum()):
        return given
    return hashlib.sha256(given.encode("utf-8", "replace")).hexdigest()[:9]


def _in_words(message: Message, calls: CallFormat | None) -> Message:
    """Calls as a part of what was said, as the model wrote them."""
    text = words.written(message.tool_calls, calls) if message.tool_calls and calls else None
    if text is None:
        return message
    content = f"{message.content}\n{text}" if message.content else text
    return msgspec.structs.replace(message, content=content, tool_calls=())


def _one_thought(message: Message) -> Message:
    """Where thoughts and words before a call are one channel, a message can't have both."""
    if not (message.tool_calls and message.content and message.thinking):
        return message
    return msgspec.structs.replace(message, content="", thinking=f"{message.thinking}\n{message.content}")


def _turn(message: Message, style: Style) -> dict[str, Any]:
    content: Any = None if style.no_content and message.tool_calls and not message.content else message.content
    if message.images:
        text = [{"type": "text", "text": message.content}] if message.content else []
        content = [*({"type": "image"} for _ in message.images), *text]
    turn: dict[str, Any] = {"role": message.role, "content": content}
    if message.thinking:
        turn["reasoning_content"] = turn["thinking"] = message.thinking
    if message.tool_calls:
        turn["tool_calls"] = [_call(call, style) for call in message.tool_calls]
    if message.tool_name:
        turn["name"] = message.tool_name
    if message.tool_call_id:
        turn["tool_call_id"] = message.tool_call_id
    return turn


def _call(call: ToolCall, style: Style) -> dict[str, Any]:
    arguments = json.dumps(call.arguments, ensure_ascii=False) if style.as_text else call.arguments
    return {"type": "function", "id": call.id or "", "function": {"name": call.name, "arguments": arguments}}
