"""Items to turns: what a model said, thought and called one after the other is one turn of its own.

Owns the conversation while it is put together. Knows no tools and nothing of what is kept.
"""

from __future__ import annotations

import uuid
from typing import Any, cast

import msgspec

from runner.api import values
from runner.api.openai.responses import wire
from runner.api.openai.responses.tools import INPUT, joined
from runner.conversation import Message, Role, ToolCall
from runner.errors import InvalidRequest, Unsupported

SEAL = "runner:"
"""How a thought begins that goes as `encrypted_content`. It is as plain as the rest; other servers' are unreadable."""

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_PREFIXES = {
    "message": "msg", "reasoning": "rs", "function_call": "fc", "function_call_output": "fco",
    "custom_tool_call": "ctc", "custom_tool_call_output": "ctco",
}  # fmt: skip
_TEXTS = ("input_text", "output_text", "text", "summary_text", "reasoning_text")


def new_id(kind: str) -> str:
    """An id for an item of this type that never comes again."""
    return f"{_PREFIXES.get(kind, 'item')}_{uuid.uuid4().hex}"


def with_id(item: wire.Item) -> wire.Item:
    """The item as a client would get it back: its type, an id, and a message's text as a part."""
    kind = item.type or "message"
    content = item.content
    if kind == "message" and isinstance(content, str):
        content = [wire.Part(type="output_text" if item.role == "assistant" else "input_text", text=content)]
    return msgspec.structs.replace(
        item, type=kind, id=item.id or new_id(kind), status=item.status or "completed", content=content
    )


class Turns:
    """The turns so far. Add items in their order, each with its field's name, and take the turns at the end."""

    def __init__(self) -> None:
        self._turns: list[Message] = []
        self._instructions: list[str] = []  # neighbours, which become one turn
        self._names: dict[str, str] = {}  # of the tools that were called, by the call
        self._thoughts: list[str] = []
        self._texts: list[str] = []
        self._calls: list[ToolCall] = []

    def take(self) -> tuple[Message, ...]:
        """All turns. Nothing can be added after it."""
        self._end_own()
        self._end_instructions()
        return tuple(self._turns)

    def add(self, item: wire.Item, at: str) -> None:
        """One more item. Raises InvalidRequest naming its field."""
        kind = item.type or "message"
        if kind == "message":
            self._message(item, at)
        elif kind == "reasoning":
            if self._texts or self._calls:
                self._end_own()
            self._thoughts.append(_thought(item, at))
        elif kind in ("function_call", "custom_tool_call"):
            self._call(item, at)
        elif kind in ("function_call_output", "custom_tool_call_output"):
            self._output(item, at)
        elif kind not in wire.UNUSED_ITEMS and kind != "additional_tools":
            raise Unsupported(f"{at}.type {kind[:40]!r} is not supported", field=f"{at}.type")

    def _message(self, item: wire.Item, at: str) -> None:
        role = _ROLES.get(item.role or "")
        if role is None:
            raise InvalidRequest(f"{at}.role must be one of {', '.join(_ROLES)}", field=f"{at}.role")
        content, images = _content(item.content, f"{at}.content")
        if role == "assistant":
            if self._texts and not self._calls:
                self._end_own()
            self._texts.append(content)
            return
        self._end_own()
        if role == "system":
            # Many templates know one system turn, at the beginning; clients send instructions and more beside them.
            self._instructions.append(content)
            return
        self._say(Message(role=cast("Role", role), content=content, images=images))

    def _say(self, turn: Message) -> None:
        self._end_instructions()
        self._turns.append(turn)

    def _end_instructions(self) -> None:
        if self._instructions:
            self._turns.append(Message("system", "\n\n".join(self._instructions)))
            self._instructions.clear()

    def _call(self, item: wire.Item, at: str) -> None:
        name = joined(values.required(item.name, f"{at}.name"), item.namespace)
        call = values.required(item.call_id, f"{at}.call_id")
        if item.type == "custom_tool_call":
            arguments: dict[str, Any] = {INPUT: item.input or ""}
        else:
            arguments = _arguments(item.arguments, f"{at}.arguments")
        self._names[call] = name
        self._calls.append(ToolCall(name, arguments, call))

    def _output(self, item: wire.Item, at: str) -> None:
        self._end_own()
        call = values.required(item.call_id, f"{at}.call_id")
        content, images = _content(item.output, f"{at}.output")
        name = self._names.get(call) or item.name
        self._say(Message("tool", content, images, tool_name=name, tool_call_id=call))

    def _end_own(self) -> None:
        """What the model said up to here is a turn."""
        if self._thoughts or self._texts or self._calls:
            self._say(
                Message(
                    "assistant",
                    "\n".join(self._texts),
                    thinking="\n".join(self._thoughts) or None,
                    tool_calls=tuple(self._calls),
                )
            )
        self._thoughts, self._texts, self._calls = [], [], []


def _thought(item: wire.Item, at: str) -> str:
    text, _ = _content(item.content, f"{at}.content")
    if not text and item.encrypted_content and item.encrypted_content.startswith(SEAL):
        text = item.encrypted_content.removeprefix(SEAL)
    return text or _content(item.summary, f"{at}.summary")[0]


def _content(content: str | list[wire.Part] | None, at: str) -> tuple[str, tuple[bytes, ...]]:
    if content is None or isinstance(content, str):
        return content or "", ()
    texts: list[str] = []
    images: list[bytes] = []
    for index, part in enumerate(content):
        field = f"{at}[{index}]"
        if part.type in _TEXTS:
            texts.append(_given(part.text, f"{field}.text"))
        elif part.type == "refusal":
            texts.append(_given(part.refusal, f"{field}.refusal"))
        elif part.type == "input_image":
            images.append(_image(part.image_url, f"{field}.image_url"))
        else:
            raise Unsupported(
                f"{field}.type {part.type[:40]!r} is not supported; input_text, output_text and input_image are",
                field=f"{field}.type",
            )
    return "\n".join(texts), tuple(images)


def _given(text: str | None, field: str) -> str:
    if text is None:
        raise InvalidRequest(f"{field} is required", field=field)
    return text


def _image(url: str | None, field: str) -> bytes:
    return values.image_at(values.required(url, field), field)


def _arguments(text: str | None, field: str) -> dict[str, Any]:
    try:
        arguments = msgspec.json.decode(text or "{}")
    except (msgspec.DecodeError, RecursionError):
        raise InvalidRequest(f"{field} must be a JSON object", field=field) from None
    if not isinstance(arguments, dict):
        raise InvalidRequest(f"{field} must be a JSON object", field=field)
    return arguments
