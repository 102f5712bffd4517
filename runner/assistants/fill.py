"""The blanks in what is known of an assistant, filled with what Runner serves. Pure.

`<model>` in a text is replaced; a text that is nothing but a blank becomes its value, so that `<context>` is a number.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from runner.assistants.knowledge import Variable

_BLANK = re.compile(r"<([a-z_]+)>")
NO_KEY = "runner"  # where an assistant wants a key and Runner has none


@dataclass(frozen=True, slots=True)
class Target:
    """What an assistant is pointed at. `url` is without a path; `context` and `output` are tokens."""

    model: str
    url: str
    context: int
    output: int
    key: str | None = None
    tools: bool = True
    vision: bool = False
    thinking: bool = False

    def blanks(self) -> dict[str, Any]:
        """Every blank and its value."""
        return {
            "model": self.model,
            "url": self.url,
            "context": self.context,
            "context_text": str(self.context),
            "output": self.output,
            "output_text": str(self.output),
            "input": self.context - self.output,
            "key": self.key or NO_KEY,
            "tools": self.tools,
            "vision": self.vision,
            "thinking": self.thinking,
        }


def filled(value: Any, blanks: dict[str, Any]) -> Any:
    """`value` with its blanks filled, in keys too. Raises KeyError for one that isn't known."""
    if isinstance(value, str):
        whole = _BLANK.fullmatch(value)
        if whole:
            return blanks[whole[1]]
        return _BLANK.sub(lambda blank: str(blanks[blank[1]]), value)
    if isinstance(value, dict):
        return {str(filled(key, blanks)): filled(entry, blanks) for key, entry in value.items()}
    if isinstance(value, list):
        return [filled(entry, blanks) for entry in value]
    return value


def variable(given: str | Variable, blanks: dict[str, Any], has_key: bool) -> str | None:
    """A variable's text, None when it isn't set."""
    if isinstance(given, str):
        return str(filled(given, blanks))
    if given.key is not None and given.key != has_key:
        return None
    if given.json is not None:
        return json.dumps(filled(given.json, blanks), ensure_ascii=False)
    return str(filled(given.value, blanks))


def names_key(given: str | Variable) -> bool:
    """True when the key becomes part of the variable."""
    text = given if isinstance(given, str) else json.dumps([given.value, given.json])
    return "<key>" in text
