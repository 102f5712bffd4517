"""A conversation to the text that the model continues, by the model's chat template.

Knows what Jinja templates expect to be told (the variables of Hugging Face's renderer); what those in Go do is
`runner.prompt.go`'s business. Knows nothing of tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from runner.conversation import Message
from runner.errors import TemplateFailed, Unsupported
from runner.formats import CallFormat, Thinking
from runner.prompt import turns
from runner.prompt.go import GoTemplate
from runner.prompt.jinja import Template
from runner.protocol.commands import ChatPrompt


@dataclass(frozen=True, slots=True)
class Rendered:
    """Prompt text, and whether it ends inside a thought that the model is to continue."""

    text: str
    in_thought: bool


def render(
    prompt: ChatPrompt,
    template: Template | GoTemplate | None,
    *,
    bos: str,
    eos: str,
    thinking: Thinking | None,
    calls: CallFormat | None = None,
    sees: bool = False,
) -> Rendered:
    """Render the conversation so that the assistant speaks next. A model that `sees` is shown images as content parts.

    A model without a template (a base model) is given a single user turn as plain text, as Ollama does; anything more
    is refused, since no framing would be the one that the model knows. Raises TemplateFailed, Unsupported.
    """
    if not sees and any(message.images for message in prompt.messages):
        raise Unsupported("this model cannot see images", field="messages")
    if template is None:
        return Rendered(_plain(prompt), False)
    messages, begun = _split_begun(prompt)
    if isinstance(template, GoTemplate):
        text = template.render(messages, prompt.tools, prompt.think)
    else:
        text = template.render(_variables(prompt, turns.told(messages, template, calls), bos, eos))
    in_thought = thinking is not None and text.rstrip().endswith(thinking.opening)
    return _continued(text, in_thought, begun, thinking)


def _variables(prompt: ChatPrompt, messages: list[dict[str, Any]], bos: str, eos: str) -> dict[str, Any]:
    """What a Jinja template is told, of its `messages` as it wants them."""
    variables: dict[str, Any] = dict(prompt.variables)
    variables |= {
        "messages": messages,
        "add_generation_prompt": True,
        "bos_token": bos,
        "eos_token": eos,
    }
    if prompt.tools:
        variables["tools"] = turns.tools(prompt.tools)
    return variables | _thinking_variables(prompt)


def _plain(prompt: ChatPrompt) -> str:
    if prompt.tools:
        raise TemplateFailed("this model has no chat template, so it cannot be offered tools", field="tools")
    turns = [message for message in prompt.messages if message.role != "system"]
    if len(turns) != 1 or turns[0].role != "user":
        raise TemplateFailed(
            "this model has no chat template: it continues a text and cannot follow a conversation of several turns. "
            "Send one user message, or use a completion endpoint",
            field="messages",
        )
    system = [message.content for message in prompt.messages if message.role == "system"]
    return "\n\n".join([*system, turns[0].content])


def _split_begun(prompt: ChatPrompt) -> tuple[tuple[Message, ...], Message | None]:
    """Take off a last assistant message that is to be continued; it follows the rendered prompt as it is."""
    if prompt.open_ended and prompt.messages and prompt.messages[-1].role == "assistant":
        return prompt.messages[:-1], prompt.messages[-1]
    return prompt.messages, None


def _continued(text: str, in_thought: bool, begun: Message | None, thinking: Thinking | None) -> Rendered:
    """The prompt with the begun answer behind it. `in_thought` says whether the template has opened a thought.

    An answer doesn't belong into a thought: one that is open is closed before it, with what was thought in it.
    """
    if begun is None or not (begun.content or begun.thinking):
        return Rendered(text, in_thought)
    if thinking is None or not (in_thought or begun.thinking):
        return Rendered(text + begun.content, False)
    if not in_thought:
        text += f"{thinking.opening}\n"
    text += begun.thinking or ""
    if not begun.content:
        return Rendered(text, True)
    return Rendered(f"{text}\n{thinking.closing}\n\n{begun.content}", False)


def _thinking_variables(prompt: ChatPrompt) -> dict[str, Any]:
    """Templates differ in how they are told; what one doesn't know it ignores."""
    if prompt.think is None:
        return {}
    if isinstance(prompt.think, str):
        return {"enable_thinking": True, "thinking": True, "reasoning_effort": prompt.think}
    return {"enable_thinking": prompt.think, "thinking": prompt.think}
