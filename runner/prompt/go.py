"""A Modelfile's TEMPLATE in Go's language: compiled, and run over a conversation as Ollama would.

A template that names `.Messages` is run once, with all of them. One that doesn't knows a single turn, so it is run for
each, and in the last of them nothing that stands behind `.Response` is written. Bounds and words of failure are those
of `runner.prompt.bounds`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from runner.conversation import Message, ToolCall, ToolSpec
from runner.errors import TemplateFailed
from runner.prompt import bounds
from runner.prompt.go_eval import run
from runner.prompt.go_functions import NAMES
from runner.prompt.go_parse import parse
from runner.prompt.go_scan import GoFault
from runner.prompt.go_tree import Action, Command, Field, Nodes, Pipe, cut_behind
from runner.prompt.go_values import JsonList, JsonMap, Struct

_DEEPEST = 8  # levels of a schema whose properties have fields; deeper ones are maps with a schema's own keys

_FAULTS = (ArithmeticError, LookupError, MemoryError, RuntimeError, TypeError, ValueError)


class GoTemplate:
    """A compiled template. Raises TemplateFailed, with line and reason, when it isn't in the subset that Runner knows.

    Compiling and each rendering may take `seconds`, and about `memory` bytes. `what` names it in messages.
    """

    def __init__(
        self,
        text: str,
        *,
        seconds: float = bounds.TIME_LIMIT,
        memory: int = bounds.MEMORY_LIMIT,
        what: str = bounds.MODELS,
    ) -> None:
        self.text = bounds.checked_length(text, what)
        self._what = what
        self._seconds = seconds
        self._memory = memory
        with self._explained("cannot be used"):
            self._tree = parse(text, NAMES)
            self._names = self._tree.names()
            self._turn: Nodes = self._tree.root
            if not self._names & {"Messages", "Response"}:
                answer = Pipe(1, (Command((Field(("Response",)),)),))
                self._turn = (*self._turn, Action(answer))
            self._last_turn, _ = cut_behind(self._turn, "Response")

    @property
    def fills_gaps(self) -> bool:
        """Whether it has a place for what follows a gap."""
        return "Suffix" in self._names

    def render(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec] = (), think: bool | str | None = None
    ) -> str:
        """The conversation, so that the assistant speaks next. Raises TemplateFailed."""
        if "Messages" not in self._names:
            return self._turns(messages, think)
        system = "\n\n".join(message.content for message in messages if message.role == "system")
        told = {
            "System": system,
            "Messages": [_message(message) for message in _collated(messages)],
            "Tools": JsonList([_tool(tool) for tool in tools]),
        }
        return self._run([(self._tree.root, _data(think, told))])

    def infill(self, prefix: str, suffix: str) -> str:
        """The text around a gap, for a template that `fills_gaps`. Raises TemplateFailed."""
        return self._run([(self._tree.root, _data(None, {"Prompt": prefix, "Suffix": suffix}))])

    def _turns(self, messages: Sequence[Message], think: bool | str | None) -> str:
        """Each turn is what was said to the model and what it answered; the last one is still to be answered."""
        turns: list[dict[str, Any]] = []
        turn: dict[str, str] = {}
        for message in _collated(messages):
            if message.role == "tool" or message.tool_calls:
                raise TemplateFailed(
                    f"{self._what} has no place for tool calls and their results: it does not name .Messages",
                    field="messages",
                )
            place = _PLACES.index(message.role)
            if any(_NAMES_OF_PLACES[at] in turn for at in range(place, len(_PLACES))):  # what comes next is there
                turns.append(_data(think, turn))
                turn = {}
            turn[_NAMES_OF_PLACES[place]] = message.content
        if "Response" in turn:
            turns.append(_data(think, turn))
            turn = {}
        return self._run([*((self._turn, each) for each in turns), (self._last_turn, _data(think, turn))])

    def _run(self, runs: Sequence[tuple[Nodes, Mapping[str, Any]]]) -> str:
        with self._explained("cannot be rendered"):
            return bounds.joined(part for nodes, data in runs for part in run(self._tree, nodes, data))

    @contextmanager
    def _explained(self, failed: str) -> Iterator[None]:
        try:
            with bounds.bounded(self._what, self._seconds, self._memory):
                yield
            return
        except GoFault as fault:
            reason = f"{failed}: line {fault.line}: {fault.message}"
        except bounds.TooLong as error:
            reason = f"{failed}: {error}"
        except RecursionError:
            reason = f"{failed}: it is nested too deeply"
        except _FAULTS as error:
            reason = f"{failed}: {type(error).__name__}: {error}"
        raise bounds.failure(self._what, reason)


_PLACES = ("system", "user", "assistant")  # of a turn, in their order
_NAMES_OF_PLACES = ("System", "Prompt", "Response")


def _data(think: bool | str | None, told: Mapping[str, Any]) -> dict[str, Any]:
    """What `.` is at the beginning: everything has a value, so that a template can ask for what isn't there."""
    return {
        "System": "",
        "Prompt": "",
        "Suffix": "",
        "Response": "",
        "Messages": [],
        "Tools": JsonList(),
        "Think": bool(think),
        "ThinkLevel": think if isinstance(think, str) else "",
        "IsThinkSet": think is not None,
        **told,
    }


def _collated(messages: Sequence[Message]) -> list[Message]:
    """Neighbours of the same role as one message, unless they have more than a text."""
    found: list[list[Message]] = []
    for message in messages:
        last = found[-1][-1] if found else None
        if last is not None and last.role == message.role and _is_plain(last) and _is_plain(message):
            found[-1].append(message)
        else:
            found.append([message])
    return [
        each[0] if len(each) == 1 else Message(each[0].role, "\n\n".join(one.content for one in each)) for each in found
    ]


def _is_plain(message: Message) -> bool:
    return message.role != "tool" and not (message.tool_calls or message.thinking or message.images)


def _message(message: Message) -> Struct:
    return Struct(
        "a message",
        {
            "Role": message.role,
            "Content": message.content,
            "Thinking": message.thinking or "",
            "Images": [f"[img-{number}]" for number in range(len(message.images))],
            "ToolCalls": [_call(call, index) for index, call in enumerate(message.tool_calls)],
            "ToolName": message.tool_name or "",
            "ToolCallID": message.tool_call_id or "",
        },
    )


def _call(call: ToolCall, index: int) -> Struct:
    function = {"Index": index, "Name": call.name, "Arguments": JsonMap(call.arguments)}
    said = {"name": call.name, "arguments": call.arguments}
    return Struct(
        "a tool call", {"ID": call.id or "", "Function": Struct("the function of a tool call", function, said)}
    )


def _tool(tool: ToolSpec) -> Struct:
    said: dict[str, Any] = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    function = {
        "Name": tool.name,
        "Description": tool.description,
        "Parameters": _schema(tool.parameters, "the parameters of a tool", 0),
    }
    return Struct(
        "a tool",
        {"Type": "function", "Function": Struct("the function of a tool", function, said)},
        {"type": "function", "function": said},
    )


def _schema(schema: Mapping[str, Any], kind: str, depth: int) -> Struct:
    """A JSON Schema by the names that Go has for its keywords."""
    properties = schema.get("properties")
    alternatives = schema.get("anyOf")
    return Struct(
        kind,
        {
            "Type": _type(schema.get("type")),
            "Description": schema.get("description") or "",
            "Required": schema.get("required") or [],
            "Enum": schema.get("enum") or [],
            "Items": schema.get("items"),
            "Defs": schema.get("$defs"),
            "AnyOf": [_property(each, depth) for each in alternatives] if isinstance(alternatives, list) else [],
            "Properties": JsonMap({name: _property(each, depth) for name, each in properties.items()})
            if isinstance(properties, dict)
            else JsonMap(),
        },
        schema,
    )


def _property(schema: Any, depth: int) -> Any:
    if not isinstance(schema, dict) or depth >= _DEEPEST:
        return schema
    return _schema(schema, "a property", depth + 1)


def _type(value: Any) -> Any:
    """One type, or a list of several."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value or ""
