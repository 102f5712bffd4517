"""The tools of a request: which the model is shown as functions, which of them it may call, and what each is called.

A custom tool, whose input is any text, is shown as a function with one argument; tools of a namespace by a joined name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from runner.api import tools as offered
from runner.api.openai.responses import wire
from runner.conversation import ToolChoice, ToolSpec
from runner.errors import InvalidRequest, Unsupported

INPUT = "input"
"""The one argument of a custom tool."""

_TEXT = {
    "type": "object",
    "properties": {INPUT: {"type": "string"}},
    "required": [INPUT],
    "additionalProperties": False,
}
_Mode = Literal["none", "auto", "required"]
_MODES: Mapping[str, _Mode] = {"none": "none", "auto": "auto", "required": "required"}


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool, as the client knows it; `spec` is what the model sees."""

    spec: ToolSpec
    name: str
    namespace: str | None = None
    is_custom: bool = False


@dataclass(frozen=True, slots=True)
class Toolbox:
    """The tools that can be called, by the names that the model knows; `echo` is how the client wrote them."""

    tools: Mapping[str, Tool]
    echo: tuple[wire.Tool, ...] = ()


NO_TOOLS = Toolbox({})


def joined(name: str, namespace: str | None) -> str:
    """The name that the model knows a tool by."""
    if not namespace:
        return name
    return namespace + name if namespace.endswith(("_", ".", "-")) else f"{namespace}__{name}"


def read(given: Iterable[tuple[str, wire.Tool]]) -> Toolbox:
    """Tools with the fields they came in. Raises InvalidRequest naming the field."""
    tools: dict[str, Tool] = {}
    echo: list[wire.Tool] = []
    for at, tool in given:
        found = list(_tools(tool, at, None))
        for field, each in found:
            if each.spec.name in tools:
                raise InvalidRequest(f"{field}.name {each.spec.name[:100]!r} is given twice", field=f"{field}.name")
            tools[each.spec.name] = each
        if found:
            echo.append(tool)
    return Toolbox(tools, tuple(echo))


def _tools(tool: wire.Tool, at: str, namespace: str | None) -> Iterable[tuple[str, Tool]]:
    if tool.type in wire.UNUSED_TOOLS:
        return
    if tool.type == "namespace" and namespace is None:
        for index, each in enumerate(tool.tools or ()):
            yield from _tools(each, f"{at}.tools[{index}]", _name(tool, at))
    elif tool.type in ("function", "custom"):
        name = _name(tool, at)
        is_custom = tool.type == "custom"
        spec = offered.spec(
            joined(name, namespace),
            _custom_description(tool) if is_custom else tool.description,
            _TEXT if is_custom else _parameters(tool.parameters, f"{at}.parameters"),
            at,
        )
        yield at, Tool(spec, name, namespace, is_custom)
    else:
        raise Unsupported(
            f"{at}.type {tool.type[:40]!r} is not supported; function, custom and namespace are", field=f"{at}.type"
        )


def _name(tool: wire.Tool, at: str) -> str:
    if not tool.name:
        raise InvalidRequest(f"{at}.name is required", field=f"{at}.name")
    return tool.name


def _parameters(value: object, field: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidRequest(f"{field} must be a JSON Schema, which is an object", field=field)
    return value


def _custom_description(tool: wire.Tool) -> str:
    """A grammar of the input can only be told to the model: inside a JSON string, none can be enforced."""
    text = tool.description or ""
    if tool.format is None or not tool.format.definition:
        return text
    return f"{text}\n\nThe text of {INPUT!r} follows this grammar:\n{tool.format.definition}".lstrip()


def choose(
    given: str | wire.ToolChoice | None, parallel: bool | None, toolbox: Toolbox
) -> tuple[tuple[ToolSpec, ...], ToolChoice]:
    """What the model is shown and how free it is. Raises InvalidRequest naming the field."""
    specs = tuple(tool.spec for tool in toolbox.tools.values())
    name = None
    if given is None or isinstance(given, str):
        mode = _mode(given, "tool_choice")
    elif given.type == "allowed_tools":
        mode, specs = _mode(given.mode, "tool_choice.mode"), _allowed(given, toolbox)
    elif given.type in ("function", "custom"):
        mode, name = "required", _known(given.name, given.namespace, toolbox, "tool_choice").spec.name
    else:
        raise Unsupported(
            f"tool_choice.type {given.type[:40]!r} is not supported; function, custom and allowed_tools are",
            field="tool_choice.type",
        )
    if mode == "required" and not specs:
        raise InvalidRequest("tool_choice needs tools to choose from", field="tool_choice")
    return specs, ToolChoice(mode=mode, name=name, parallel=parallel is not False)


def _mode(given: str | None, field: str) -> _Mode:
    mode = _MODES.get(given or "auto")
    if mode is None:
        raise InvalidRequest(f"{field} must be one of {', '.join(_MODES)}", field=field)
    return mode


def _allowed(given: wire.ToolChoice, toolbox: Toolbox) -> tuple[ToolSpec, ...]:
    return tuple(
        _known(each.name, each.namespace, toolbox, f"tool_choice.tools[{index}]").spec
        for index, each in enumerate(given.tools or ())
        if each.type not in wire.UNUSED_TOOLS
    )


def _known(name: str | None, namespace: str | None, toolbox: Toolbox, at: str) -> Tool:
    tool = toolbox.tools.get(joined(name or "", namespace))
    if tool is None:
        raise InvalidRequest(f"{at}.name {(name or '')[:100]!r} is none of the tools", field=f"{at}.name")
    return tool
