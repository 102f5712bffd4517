"""What every client asks for: one question, one tool, one form. The scripts get it as JSON, and the checks know it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MODEL = "demo"
MISSING = "no-such-model"
QUESTION = "How do I pull a model?"
TOOL_QUESTION = "What is the weather in Oslo?"
TOOL_NAME = "get_weather"
PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}
FORM_QUESTION = "Anna is 31 years old and lives in Oslo. Give name and age as JSON."
FORM: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
TEXTS = ["pull a model", "a cat on a mat"]

ASKED: dict[str, Any] = {
    "model": MODEL,
    "missing": MISSING,
    "question": QUESTION,
    "tool_question": TOOL_QUESTION,
    "tool": {"name": TOOL_NAME, "description": "Get the weather for a city", "parameters": PARAMETERS},
    "form_question": FORM_QUESTION,
    "form": FORM,
    "texts": TEXTS,
}

Report = Callable[[str, str], dict[str, Any]]
"""By language and client, what each step of its script gave."""


@dataclass(frozen=True, slots=True)
class Reference:
    """What the daemon answers to the one question when nobody stands between: greedy, so the same for everybody."""

    text: str
    prompt_tokens: int
    tokens: int
