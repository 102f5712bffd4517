"""What the worker is to continue: a request's words together with the Modelfile's.

Decides which words go where; how they are framed is the template's affair, in the worker.
"""

from __future__ import annotations

from collections.abc import Sequence

from runner.conversation import Message, Role
from runner.errors import InvalidRequest
from runner.inference.requests import Chat, Complete
from runner.protocol.commands import ChatPrompt, InfillPrompt, Prompt, TextPrompt, TokenPrompt

_ROLES: dict[str, Role] = {"system": "system", "user": "user", "assistant": "assistant", "tool": "tool"}


def of_chat(request: Chat, system: str | None, history: Sequence[tuple[str, str]]) -> ChatPrompt:
    """A conversation: the Modelfile's SYSTEM unless the request has its own, its MESSAGEs, then the request's.

    A last message of the assistant's is continued. Tools that must not be called are not told of. Raises
    InvalidRequest when there is no message.
    """
    if not request.messages:
        raise InvalidRequest("messages must not be empty", field="messages")
    messages = list(request.messages)
    first: list[Message] = []
    if messages[0].role == "system":
        first = [messages.pop(0)]
    elif system and all(message.role != "system" for message in messages):
        first = [Message("system", system)]
    return ChatPrompt(
        messages=(*first, *_history(history), *messages),
        tools=request.tools if request.tool_choice.mode != "none" else (),
        tool_choice=request.tool_choice,
        think=request.think,
        open_ended=request.messages[-1].role == "assistant",
        variables=dict(request.variables),
        image_fields=tuple(field for _, field in pictures_of(request)),
    )


def of_completion(request: Complete, system: str | None, history: Sequence[tuple[str, str]]) -> Prompt:
    """A text: as it stands, around a gap, or as the user's turn of a conversation. Raises InvalidRequest."""
    if isinstance(request.prompt, tuple):
        if request.suffix is not None:
            raise InvalidRequest("a suffix needs a text before the gap, not token ids", field="suffix")
        return TokenPrompt(request.prompt)
    if request.suffix is not None:
        return InfillPrompt(request.prompt, request.suffix, request.template)
    if request.raw:
        if request.template is not None:
            raise InvalidRequest("template has no place in a raw prompt", field="template")
        return TextPrompt(request.prompt)
    system = request.system if request.system is not None else system
    first = [Message("system", system)] if system else []
    turn = Message("user", request.prompt, images=request.images)
    names = tuple(field for _, field in pictures_of(request))
    return ChatPrompt(
        messages=(*first, *_history(history), turn),
        think=request.think,
        template=request.template,
        image_fields=names,
    )


def pictures_of(request: Chat | Complete) -> list[tuple[bytes, str]]:
    """Every image of a request, with its field."""
    if isinstance(request, Complete):
        return [(image, f"images[{index}]") for index, image in enumerate(request.images)]
    return [
        (image, f"messages[{place}].images[{index}]")
        for place, message in enumerate(request.messages)
        for index, image in enumerate(message.images)
    ]


def _history(messages: Sequence[tuple[str, str]]) -> list[Message]:
    return [Message(_ROLES[role], content) for role, content in messages if role in _ROLES]
