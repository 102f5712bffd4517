"""Tools, and the choice among them, as any dialect may offer them: values of the wire to what all dialects mean.

Each function takes what the wire struct holds and the field's name, and raises InvalidRequest with that name. How a
model is told of tools, and how it calls them, others know.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from runner.conversation import ToolChoice, ToolSpec
from runner.errors import InvalidRequest

MOST_TOOLS = 512
# Names stand inside of JSON, of tags and of Python calls, as the model's own format has it: nothing that could end one.
_NAME = re.compile(r"[\w.:/-]{1,128}")


def spec(
    name: str | None,
    description: str | None,
    parameters: Mapping[str, Any] | None,
    field: str,
    *,
    at: str = "parameters",
) -> ToolSpec:
    """One function; `field` is where it stands, and `at` what its parameters are called there. Without any it takes
    none."""
    if not name:
        raise InvalidRequest(f"{field}.name is required", field=f"{field}.name")
    if not _NAME.fullmatch(name):
        raise InvalidRequest(
            f"{field}.name must be 1 to 128 letters, digits, and any of _ - . : /", field=f"{field}.name"
        )
    schema = {"type": "object", "properties": {}} | dict(parameters or {})
    if schema["type"] != "object":
        raise InvalidRequest(f"{field}.{at} must be a JSON Schema of type object", field=f"{field}.{at}")
    return ToolSpec(name, description or "", schema)


def distinct(specs: Sequence[ToolSpec], field: str) -> tuple[ToolSpec, ...]:
    """The functions, each of which a name must tell from the others."""
    if len(specs) > MOST_TOOLS:
        raise InvalidRequest(f"{field} must hold at most {MOST_TOOLS} tools, not {len(specs)}", field=field)
    seen: set[str] = set()
    for each in specs:
        if each.name in seen:
            raise InvalidRequest(f"{field} names {each.name!r} twice", field=field)
        seen.add(each.name)
    return tuple(specs)


def choice(mode: str | None, specs: Sequence[ToolSpec], field: str, *, parallel: bool = True) -> ToolChoice:
    """Whether to call: `none`, `auto` or `required`; None is as good as auto."""
    if mode is None or mode == "auto":
        return ToolChoice(parallel=parallel)
    if mode == "none":
        return ToolChoice("none", parallel=parallel)
    if mode != "required":
        raise InvalidRequest(f"{field} must be none, auto, required or the name of a tool", field=field)
    if not specs:
        raise InvalidRequest(f"{field} needs tools", field=field)
    return ToolChoice("required", parallel=parallel)


def named(name: str | None, specs: Sequence[ToolSpec], field: str, *, parallel: bool = True) -> ToolChoice:
    """The one function that has to be called."""
    if not name:
        raise InvalidRequest(f"{field} is required", field=field)
    if all(each.name != name for each in specs):
        raise InvalidRequest(f"{field} is {name[:128]!r}, which is none of the tools", field=field)
    return ToolChoice("required", name, parallel)


def arguments(value: Mapping[str, Any] | str | None, field: str) -> dict[str, Any]:
    """The arguments of a call that was made, from JSON text or as they are."""
    if value is None or value == "":
        return {}
    if not isinstance(value, str):
        return dict(value)
    try:
        found = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InvalidRequest(f"{field} must be a JSON object", field=field)
    return found
