"""`chat_template_kwargs`: what a client may tell a model's chat template.

An allow-list, since a template takes everything that it is told for true: what the renderer itself tells it (messages,
tools, markers) is nobody else's to say. Values are numbers, texts and truth values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.errors import InvalidRequest, Unsupported

THINKING = ("enable_thinking", "thinking", "reasoning_effort")
"""Whether to think, in words of templates; they mean the same as the request's own fields."""
NAMES = frozenset(
    (
        # thoughts: how long, in which manner, and whether earlier ones stay
        "thinking_budget", "thinking_effort", "thinking_mode", "thinking_option", "think_render_option",
        "reasoning_mode", "reasoning_strength",
        "preserve_thinking", "preserved_thinking", "clear_thinking", "drop_thinking", "keep_past_thinking",
        "keep_reasoning", "include_thinking", "truncate_history_thinking",
        # who and when
        "model_identity", "custom_instructions", "knowledge_cutoff", "current_date", "date_string",
        # manners of single families
        "add_vision_id", "enable_citations", "grounding", "tools_in_user_message", "use_json_tooldef",
    )
)  # fmt: skip
_LONGEST = 4096  # characters of a text
_LARGEST = 2**53  # of a number: what any reader of JSON holds exactly


def split(given: Mapping[str, Any] | None) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """What is said of thinking, and the variables for the template. Raises InvalidRequest naming the field."""
    thinking: dict[str, Any] = {}
    variables: dict[str, Any] = {}
    for name, value in (given or {}).items():
        field = f"chat_template_kwargs.{name[:100]}"
        if name in THINKING:
            thinking[name] = value
        elif name not in NAMES:
            instead = ", ".join((*THINKING, *sorted(NAMES)))
            raise Unsupported(f"{field} is not supported; {instead} are", field=field)
        elif value is not None:
            variables[name] = _scalar(value, field)
    return thinking, variables


def flag(given: Mapping[str, Any], name: str) -> bool | None:
    """A truth value among what is said of thinking."""
    value = given.get(name)
    if value is not None and not isinstance(value, bool):
        field = f"chat_template_kwargs.{name}"
        raise InvalidRequest(f"{field} must be true or false", field=field)
    return value


def _scalar(value: object, field: str) -> bool | int | float | str:
    if isinstance(value, str) and len(value) <= _LONGEST:
        return value
    if isinstance(value, bool | int | float) and abs(value) <= _LARGEST:
        return value
    raise InvalidRequest(
        f"{field} must be true, false, a number or a text of at most {_LONGEST} characters", field=field
    )
