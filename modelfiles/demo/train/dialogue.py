"""A conversation as the generators write it, and its exact text as the chat template renders it.

`pieces` mirrors `template.jinja`; a test holds the two together. Knows nothing of tokens.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

JSONObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Turn:
    """One message. `thought` is the thinking of an assistant turn, `learn` whether its text is a target."""

    role: str
    text: str
    thought: str | None = None
    learn: bool = True


@dataclass(frozen=True, slots=True)
class Dialogue:
    """Everything the template is given. Only the last assistant turn may carry a thought."""

    turns: tuple[Turn, ...]
    family: str
    system: str = ""
    tools: tuple[JSONObject, ...] = ()
    think: bool = False


@dataclass(frozen=True, slots=True)
class Plain:
    """Text outside the chat format: pieces with the weight of each as a target."""

    parts: tuple[tuple[str, float], ...]
    family: str


def call_text(name: str, arguments: JSONObject) -> str:
    """A tool call as the model writes it."""
    return "<tool_call>\n" + json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False) + "\n</tool_call>"


def system_text(dialogue: Dialogue) -> str:
    """The system message: the given one, then the tools, then `/think`."""
    text = dialogue.system
    if dialogue.tools:
        listed = "".join("\n" + json.dumps(tool, ensure_ascii=False) for tool in dialogue.tools)
        text += ("\n\n" if text else "") + f"# Tools\n<tools>{listed}\n</tools>"
    if dialogue.think:
        text += ("\n" if text else "") + "/think"
    return text


def pieces(dialogue: Dialogue) -> list[tuple[str, float]]:
    """The whole text in order, each piece with its weight as a target."""
    parts: list[tuple[str, float]] = []
    if system := system_text(dialogue):
        parts.append((f"<|im_start|>system\n{system}<|im_end|>\n", 0.0))
    for turn in dialogue.turns:
        if turn.role == "assistant":
            thought = f"<think>\n{turn.thought}\n</think>\n\n" if turn.thought is not None else ""
            parts.append(("<|im_start|>assistant\n", 0.0))
            parts.append((f"{thought}{turn.text}<|im_end|>", 1.0 if turn.learn else 0.0))
            parts.append(("\n", 0.0))
        elif turn.role == "tool":
            text = f"<|im_start|>user\n<tool_response>\n{turn.text}\n</tool_response><|im_end|>\n"
            parts.append((text, 0.0))
        else:
            parts.append((f"<|im_start|>{turn.role}\n{turn.text}<|im_end|>\n", 0.0))
    return parts
