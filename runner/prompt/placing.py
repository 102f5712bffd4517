"""Where images stand in a rendered conversation.

A template that knows images is given them as parts of a message's content, and what it writes for one marks the place.
For any other, a mark of ours stands before the message's text. Knows neither tokens nor pixels.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

import msgspec

from runner.conversation import Message
from runner.errors import TemplateFailed
from runner.prompt.go import GoTemplate
from runner.prompt.jinja import Template
from runner.prompt.render import Rendered
from runner.protocol.commands import ChatPrompt

_BEFORE, _AFTER = "Quebrantar", "Zwischenruf"  # words that no template writes
_MOST = 200  # characters that a template writes for an image
Render = Callable[[ChatPrompt], Rendered]


def own_mark(template: Template | GoTemplate | None, *, bos: str, eos: str) -> str | None:
    """What the template writes in the place of an image, None if it knows nothing of images."""
    if not isinstance(template, Template):  # Go templates take texts
        return None
    parts = [{"type": "text", "text": _BEFORE}, {"type": "image"}, {"type": "text", "text": _AFTER}]
    variables = {"messages": [{"role": "user", "content": parts}], "bos_token": bos, "eos_token": eos}
    try:
        text = template.render(variables | {"add_generation_prompt": False})
    except TemplateFailed:
        return None
    if text.count(_BEFORE) != 1 or text.count(_AFTER) != 1:
        return None
    found = text.partition(_BEFORE)[2].partition(_AFTER)[0].strip()
    is_list = "type" in found and any(quote in found for quote in "'\"")  # the parts, printed as they are
    return found if found and len(found) <= _MOST and not is_list else None


def place(prompt: ChatPrompt, own: str | None, render: Render) -> tuple[Rendered, str]:
    """The conversation with the images in their places, and the mark that stands at each place in the text.

    `own` is the template's mark; the mark is another one where it can't tell the places. Raises TemplateFailed.
    """
    wanted = sum(len(message.images) for message in prompt.messages)
    if own is not None and not any(own in text for text in _texts(prompt)):
        try:
            rendered = render(prompt)
        except TemplateFailed:  # it takes parts from a user alone, say
            pass
        else:
            if rendered.text.count(own) == wanted:
                return rendered, own
    mark = f"[image {secrets.token_hex(16)}]"  # nobody can write it into a conversation
    rendered = render(msgspec.structs.replace(prompt, messages=tuple(_marked(each, mark) for each in prompt.messages)))
    if rendered.text.count(mark) != wanted:
        raise TemplateFailed("the model's chat template leaves out images of this conversation", field="messages")
    return rendered, mark


def _marked(message: Message, mark: str) -> Message:
    if not message.images:
        return message
    marks = mark * len(message.images)
    return msgspec.structs.replace(message, content="\n".join(filter(None, (marks, message.content))), images=())


def _texts(prompt: ChatPrompt) -> Iterator[str]:
    """Whatever of a conversation might be written out."""
    for message in prompt.messages:
        yield message.content
        yield message.thinking or ""
        yield str(message.tool_calls)
    yield str(prompt.tools)
    yield str(prompt.variables)
