"""A conversation in Anthropic's blocks, as messages: what tools said becomes turns of their own.

Raises InvalidRequest, or Unsupported for a kind of block that Runner doesn't take, with the block's place as the field.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from runner.api import values
from runner.api.anthropic import signature, wire
from runner.conversation import Message, ToolCall
from runner.errors import InvalidRequest, Unsupported

# What Claude Code writes before its instructions: an account's affair, with a number that is new each time, so that no
# prompt would begin like the one before it.
_ATTRIBUTION = re.compile(r"\Ax-anthropic-billing-header:(?:[ \t]*[\w-]+=[^;\n]*(?:;|(?=\n)|\Z))*\s*")

_Content = str | list[wire.Block]


def system(given: _Content | None) -> tuple[Message, ...]:
    """The instructions as a message; none where nothing is said."""
    if not given:
        return ()
    texts = [given] if isinstance(given, str) else _texts(given, "system")
    said = "\n".join(text for text in (_ATTRIBUTION.sub("", each) for each in texts) if text)
    return (Message("system", said),) if said else ()


def spoken(given: Sequence[wire.Message]) -> tuple[Message, ...]:
    """The conversation. Neighbours of one role become one turn, as Anthropic has it."""
    turns: list[list[Message]] = []
    tools: dict[str, str] = {}  # names by the ids of calls
    for index, message in enumerate(given):
        for turn in _turns(message, f"messages[{index}]", tools):
            if turns and turn.role in ("user", "assistant") and turns[-1][0].role == turn.role:
                turns[-1].append(turn)
            else:
                turns.append([turn])
    whole = tuple(each[0] if len(each) == 1 else _joined(each) for each in turns)
    if whole[-1].role == "assistant" and whole[-1].tool_calls:
        field = f"messages[{len(given) - 1}].content"
        raise InvalidRequest(f"{field} calls a tool, and no tool_result follows", field=field)
    return whole


def _turns(message: wire.Message, at: str, tools: dict[str, str]) -> Iterator[Message]:
    content, field = message.content, f"{at}.content"
    if message.role == "user":
        yield from _of_user(content, field, tools)
    elif message.role == "assistant":
        yield _of_assistant(content, field, tools)
    elif message.role == "system":
        yield Message("system", content if isinstance(content, str) else "\n".join(_texts(content, field)))
    else:
        raise InvalidRequest(f"{at}.role must be user, assistant or system", field=f"{at}.role")


def _joined(turns: Sequence[Message]) -> Message:
    return Message(
        role=turns[0].role,
        content="\n".join(turn.content for turn in turns if turn.content),
        images=tuple(image for turn in turns for image in turn.images),
        thinking="\n".join(turn.thinking for turn in turns if turn.thinking) or None,
        tool_calls=tuple(call for turn in turns for call in turn.tool_calls),
    )


class _Said:
    """What has been said in blocks: texts, and images beside them."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.images: list[bytes] = []

    def __bool__(self) -> bool:
        return bool(self.texts or self.images)

    def take(self, block: wire.Block, at: str) -> None:
        """Add one block. Raises Unsupported for one that says nothing a model could be told."""
        if block.type == "document":
            self._take_document(block, at)
        elif block.type == "search_result":
            origin = block.source if isinstance(block.source, str) else None
            self._take_titled((block.title, origin), block.content, f"{at}.content")
        elif block.type == "tool_reference":
            self.texts.append(_given(block.tool_name, f"{at}.tool_name"))  # the tool itself is offered anyway
        else:
            self._take_plain(block, at, "text, image, document, search_result and tool_result are")

    @property
    def text(self) -> str:
        return "\n".join(self.texts)

    def as_user(self) -> Message:
        """All of it as a turn of the user's."""
        return Message("user", self.text, tuple(self.images))

    def _take_plain(self, block: wire.Block, at: str, known: str) -> None:
        if block.type == "text":
            self.texts.append(_given(block.text, f"{at}.text"))
        elif block.type == "image":
            self.images.append(_image(block, f"{at}.source"))
        else:
            raise _unknown(block, at, known)

    def _take_document(self, block: wire.Block, at: str) -> None:
        source = block.source
        if not isinstance(source, wire.Source):
            raise InvalidRequest(f"{at}.source is required", field=f"{at}.source")
        if source.type not in ("text", "content"):
            field = f"{at}.source.type"
            raise Unsupported(f"{field} {source.type[:40]!r} is not supported; text and content are", field=field)
        content: object = source.data if source.type == "text" else source.content
        name = "data" if source.type == "text" else "content"
        self._take_titled((block.title, block.context), content, f"{at}.source.{name}")

    def _take_titled(self, heads: Sequence[str | None], content: object, at: str) -> None:
        self.texts += [head for head in heads if head]
        if isinstance(content, str):
            self.texts.append(content)
        elif isinstance(content, list):
            for index, each in enumerate(content):
                self._take_plain(each, f"{at}[{index}]", "text and image are")
        else:
            raise InvalidRequest(f"{at} is required", field=at)


def _of_user(content: _Content, at: str, tools: dict[str, str]) -> Iterator[Message]:
    """What the user says, and what tools said, in their order."""
    if isinstance(content, str):
        yield Message("user", content)
        return
    said, is_any = _Said(), False
    for index, block in enumerate(content):
        if block.type != "tool_result":
            said.take(block, f"{at}[{index}]")
            continue
        if said:
            yield said.as_user()
            said = _Said()
        yield _result(block, f"{at}[{index}]", tools)
        is_any = True
    if said or not is_any:
        yield said.as_user()


def _result(block: wire.Block, at: str, tools: dict[str, str]) -> Message:
    call = values.required(block.tool_use_id, f"{at}.tool_use_id")
    said = _Said()
    if isinstance(block.content, dict):
        raise InvalidRequest(f"{at}.content must be a string or a list of parts", field=f"{at}.content")
    if isinstance(block.content, str):
        said.texts.append(block.content)
    for index, each in enumerate(block.content if isinstance(block.content, list) else ()):
        said.take(each, f"{at}.content[{index}]")
    return Message(
        role="tool",
        content=f"Error: {said.text}" if block.is_error else said.text,
        images=tuple(said.images),
        tool_name=tools.get(call),
        tool_call_id=call,
    )


def _of_assistant(content: _Content, at: str, tools: dict[str, str]) -> Message:
    if isinstance(content, str):
        return Message("assistant", content)
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[ToolCall] = []
    for index, block in enumerate(content):
        field = f"{at}[{index}]"
        if block.type == "text":
            texts.append(_given(block.text, f"{field}.text"))
        elif block.type == "thinking":
            thoughts.append(block.thinking or signature.carried(block.signature))
        elif block.type == "tool_use":
            call = _call(block, field)
            calls.append(call)
            tools[call.id or ""] = call.name
        elif block.type != "redacted_thinking":  # only its own server can read that
            raise _unknown(block, field, "text, thinking and tool_use are")
    thinking = "\n".join(thought for thought in thoughts if thought)
    return Message("assistant", "\n".join(texts), thinking=thinking or None, tool_calls=tuple(calls))


def _call(block: wire.Block, at: str) -> ToolCall:
    name, identity = values.required(block.name, f"{at}.name"), values.required(block.id, f"{at}.id")
    return ToolCall(name, block.input or {}, identity)


def _image(block: wire.Block, at: str) -> bytes:
    source = block.source
    if not isinstance(source, wire.Source):
        raise InvalidRequest(f"{at} is required", field=at)
    if source.type == "base64":
        return values.image(values.required(source.data, f"{at}.data"), f"{at}.data")
    if source.type != "url":
        raise Unsupported(f"{at}.type {source.type[:40]!r} is not supported; base64 and url are", field=f"{at}.type")
    return values.image_at(values.required(source.url, f"{at}.url"), f"{at}.url")


def _texts(content: list[wire.Block], at: str) -> list[str]:
    found: list[str] = []
    for index, block in enumerate(content):
        if block.type != "text":
            raise _unknown(block, f"{at}[{index}]", "text is")
        found.append(_given(block.text, f"{at}[{index}].text"))
    return found


def _given(text: str | None, field: str) -> str:
    if text is None:
        raise InvalidRequest(f"{field} is required", field=field)
    return text


def _unknown(block: wire.Block, at: str, known: str) -> Unsupported:
    return Unsupported(f"{at}.type {block.type[:40]!r} is not supported; {known}", field=f"{at}.type")
