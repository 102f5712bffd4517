"""Tools as OpenAI's clients offer them: `tools` and `tool_choice`, and `functions`, which came before. Shapes, those of
calls included, and how offers are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from runner.api import tools
from runner.conversation import ToolChoice, ToolSpec
from runner.errors import InvalidRequest, Unsupported


class OfferedFunction(msgspec.Struct, kw_only=True):
    """A function that the model may call. `strict` changes nothing: what is kept to, is kept to in either case."""

    name: str | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(msgspec.Struct, kw_only=True):
    """A tool, by its `type`: function is the one there is."""

    type: str | None = None
    function: OfferedFunction | None = None


class NamedFunction(msgspec.Struct, kw_only=True):
    """A function that is called by its name."""

    name: str | None = None


class NamedTool(msgspec.Struct, kw_only=True):
    type: str | None = None
    function: NamedFunction | None = None


class AllowedTools(msgspec.Struct, kw_only=True):
    """Some of the tools, and whether one of them has to be called (`mode` is auto or required)."""

    mode: str | None = None
    tools: list[NamedTool] | None = None


class ChosenTool(msgspec.Struct, kw_only=True):
    """One tool to be called, or those that may be, by its `type`: function or allowed_tools."""

    type: str | None = None
    function: NamedFunction | None = None
    allowed_tools: AllowedTools | None = None


class CalledFunction(msgspec.Struct, kw_only=True):
    """A function that is called, or part of that: `arguments` is JSON text."""

    name: str | UnsetType = UNSET
    arguments: str


class Call(msgspec.Struct, kw_only=True):
    """A whole tool call."""

    id: str
    type: str
    function: CalledFunction


class CallDelta(msgspec.Struct, kw_only=True):
    """A part of a tool call; all but `index` and a piece of the arguments come with the first."""

    index: int
    id: str | UnsetType = UNSET
    type: str | UnsetType = UNSET
    function: CalledFunction


Offered = tuple[tuple[ToolSpec, ...], ToolChoice]


def offered(given: list[Tool] | None, choice: str | ChosenTool | None, parallel: bool | None) -> Offered:
    """What the model may call, and whether it has to. Raises InvalidRequest naming the field."""
    found = [_spec(each, f"tools[{index}]") for index, each in enumerate(given or ())]
    specs = tools.distinct(found, "tools")
    several = parallel is not False
    if not isinstance(choice, ChosenTool):
        return specs, tools.choice(choice, specs, "tool_choice", parallel=several)
    if choice.type == "allowed_tools":
        return _allowed(choice.allowed_tools or AllowedTools(), specs, several)
    if choice.type != "function":
        raise _other(choice.type, "tool_choice.type", "function and allowed_tools are")
    name = choice.function.name if choice.function else None
    return specs, tools.named(name, specs, "tool_choice.function.name", parallel=several)


def offered_before(given: list[OfferedFunction] | None, choice: str | NamedFunction | None) -> Offered:
    """The same of `functions` and `function_call`, where one call is all that an answer has room for."""
    found = [
        tools.spec(each.name, each.description, each.parameters, f"functions[{index}]")
        for index, each in enumerate(given or ())
    ]
    specs = tools.distinct(found, "functions")
    if isinstance(choice, NamedFunction):
        return specs, tools.named(choice.name, specs, "function_call.name", parallel=False)
    if choice == "required":  # a word that this field never knew
        raise InvalidRequest("function_call must be none, auto or an object with a name", field="function_call")
    return specs, tools.choice(choice, specs, "function_call", parallel=False)


def _spec(tool: Tool, at: str) -> ToolSpec:
    if tool.type not in (None, "function"):
        raise _other(tool.type, f"{at}.type", "function is")
    if tool.function is None:
        raise InvalidRequest(f"{at}.function is required", field=f"{at}.function")
    return tools.spec(tool.function.name, tool.function.description, tool.function.parameters, f"{at}.function")


def _allowed(allowed: AllowedTools, specs: Sequence[ToolSpec], parallel: bool) -> Offered:
    field = "tool_choice.allowed_tools"
    names: set[str] = set()
    for index, each in enumerate(allowed.tools or ()):
        at = f"{field}.tools[{index}]"
        if each.type not in (None, "function"):
            raise _other(each.type, f"{at}.type", "function is")
        name = each.function.name if each.function else None
        tools.named(name, specs, f"{at}.function.name")
        names.add(name or "")
    if not names:
        raise InvalidRequest(f"{field}.tools is required", field=f"{field}.tools")
    if allowed.mode not in ("auto", "required"):
        raise InvalidRequest(f"{field}.mode must be auto or required", field=f"{field}.mode")
    left = tuple(each for each in specs if each.name in names)
    return left, tools.choice(allowed.mode, left, f"{field}.mode", parallel=parallel)


def _other(kind: str | None, field: str, instead: str) -> InvalidRequest:
    if not kind:
        return InvalidRequest(f"{field} is required", field=field)
    return Unsupported(f"{field} {kind[:40]!r} is not supported; {instead}", field=field)
