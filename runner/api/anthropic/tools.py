"""The tools of a request, and how far the model is free to call them.

Beside the client's own there are those that Anthropic has defined, which come as a name and a date. The ones that the
client runs itself are offered with a schema written here; those that run on Anthropic's servers are refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runner.api import tools as tools_of
from runner.api import values
from runner.api.anthropic import wire
from runner.conversation import ToolChoice, ToolSpec
from runner.errors import InvalidRequest, Unsupported

_TEXT = {"type": "string"}
_LINE = {"type": "integer", "minimum": 0}
_LINES = {"type": "array", "items": {"type": "integer"}, "description": "First and last line, counted from 1."}


def _one_of(*commands: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(commands)}


_EDITING = {
    "path": _TEXT,
    "file_text": {"type": "string", "description": "For create: all of the new file."},
    "old_str": {"type": "string", "description": "For str_replace: what is there now, and only once."},
    "new_str": {"type": "string", "description": "For str_replace: what is to stand there instead."},
    "insert_line": _LINE | {"description": "For insert: the line after which to insert, 0 for the beginning."},
    "insert_text": {"type": "string", "description": "For insert: the new lines."},
    "view_range": _LINES,
}
_DEFINED: Mapping[str, tuple[str, str, dict[str, Any], tuple[str, ...]]] = {
    "bash_": (
        "bash",
        "Run a command in a shell that stays open between calls.",
        {"command": _TEXT, "restart": {"type": "boolean", "description": "Start a new shell instead."}},
        (),
    ),
    "text_editor_": (
        "str_replace_based_edit_tool",
        "View, create and edit text files.",
        {"command": _one_of("view", "create", "str_replace", "insert"), **_EDITING},
        ("command", "path"),
    ),
    "memory_": (
        "memory",
        "Keep notes as files under /memories, for later conversations.",
        {
            "command": _one_of("view", "create", "str_replace", "insert", "delete", "rename"),
            **_EDITING,
            "old_path": {"type": "string", "description": "For rename."},
            "new_path": {"type": "string", "description": "For rename."},
        },
        ("command",),
    ),
}
"""How the type begins, and then name, description, properties and those that are required."""
_NEEDLESS = "tool_search_tool_"  # finds tools that are kept back; here all of them are offered


def specs(tools: Sequence[wire.Tool] | None) -> tuple[ToolSpec, ...]:
    """What the model is offered. Raises InvalidRequest naming the field."""
    found = (_spec(tool, f"tools[{index}]") for index, tool in enumerate(tools or ()))
    return tools_of.distinct([each for each in found if each is not None], "tools")


def choice(given: wire.ToolChoice | None, offered: Sequence[ToolSpec]) -> ToolChoice:
    """How free the model is. Raises InvalidRequest naming the field."""
    if given is None:
        return ToolChoice()
    parallel = not given.disable_parallel_tool_use
    if given.type == "auto":
        return ToolChoice("auto", parallel=parallel)
    if given.type == "none":
        return ToolChoice("none")
    if given.type not in ("any", "tool"):
        raise InvalidRequest("tool_choice.type must be auto, any, tool or none", field="tool_choice.type")
    if not offered:
        raise InvalidRequest(f"tool_choice.type {given.type} needs tools", field="tool_choice.type")
    if given.type == "any":
        return ToolChoice("required", parallel=parallel)
    name = values.required(given.name, "tool_choice.name")
    if all(tool.name != name for tool in offered):
        raise InvalidRequest(f"tool_choice.name {name[:100]!r} is none of the tools", field="tool_choice.name")
    return ToolChoice("required", name, parallel)


def _spec(tool: wire.Tool, at: str) -> ToolSpec | None:
    kind = tool.type or "custom"
    if kind == "custom" or tool.input_schema is not None:
        if tool.input_schema is None:
            raise InvalidRequest(f"{at}.input_schema is required", field=f"{at}.input_schema")
        return tools_of.spec(tool.name, tool.description, tool.input_schema, at, at="input_schema")
    if kind.startswith(_NEEDLESS):
        return None
    for beginning, (name, description, properties, required) in _DEFINED.items():
        if kind.startswith(beginning):
            schema = {"type": "object", "properties": properties, "required": list(required)}
            return tools_of.spec(tool.name or name, tool.description or description, schema, at, at="input_schema")
    raise Unsupported(
        f"{at}.type {kind[:40]!r} is not supported: Runner runs no tools. Those that you run yourself are, with an "
        "input_schema",
        field=f"{at}.type",
    )
