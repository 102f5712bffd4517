"""Runs a Go template's tree over data and gives the text it writes, part by part.

Bounded in depth here; in time, memory and output by whoever runs it (`runner.prompt.bounds`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from runner.prompt import go_functions
from runner.prompt.bounds import OUTPUT_LIMIT, TooLong
from runner.prompt.go_scan import GoFault
from runner.prompt.go_tree import (
    Action,
    Branch,
    Command,
    Field,
    Function,
    Invoke,
    Jump,
    Nested,
    Nodes,
    Operand,
    Pipe,
    Range,
    Text,
    Tree,
    Value,
    Variable,
)
from runner.prompt.go_values import GoError, field, is_true, kind, written

_DEEPEST = 100  # templates and blocks in one another, while they run


def run(tree: Tree, nodes: Nodes, data: Any) -> Iterator[str]:
    """What `nodes`, with the templates that `tree` defines, write of `data`. Raises GoFault, TooLong."""
    return _Run(tree, data).walk(nodes, data)


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


class _Run:
    """One execution. Variables are a stack: what a block declared goes with it."""

    def __init__(self, tree: Tree, data: Any) -> None:
        self._tree = tree
        self._variables: list[tuple[str, Any]] = [("$", data)]
        self._depth = 0

    def walk(self, nodes: Nodes, dot: Any) -> Iterator[str]:
        self._depth += 1
        try:
            for node in nodes:
                match node:
                    case Text(text):
                        yield text
                    case Action(pipe):
                        value = self._value(pipe, dot)
                        if not pipe.targets:
                            yield _written(value, pipe.line)
                    case Branch():
                        yield from self._branch(node, dot)
                    case Range():
                        yield from self._range(node, dot)
                    case Jump(kind):
                        raise _Break if kind == "break" else _Continue
                    case Invoke():
                        yield from self._invoke(node, dot)
        finally:
            self._depth -= 1

    def _branch(self, node: Branch, dot: Any) -> Iterator[str]:
        scope = len(self._variables)
        try:
            for pipe, body in node.arms:
                value = self._value(pipe, dot)
                if is_true(value):
                    yield from self.walk(body, value if node.kind == "with" else dot)
                    return
            yield from self.walk(node.otherwise, dot)
        finally:
            del self._variables[scope:]

    def _range(self, node: Range, dot: Any) -> Iterator[str]:
        scope = len(self._variables)
        targets, assigns = node.pipe.targets, node.pipe.assigns
        value = self._evaluated(node.pipe, dot)
        is_empty = True
        try:
            for key, item in _items(value, node.pipe.line):
                is_empty = False
                del self._variables[scope:]
                given = (key, item) if len(targets) == 2 else (item,)
                for name, each in zip(targets, given, strict=False):
                    self._put(name, each, assigns=assigns)
                try:
                    yield from self.walk(node.body, item)
                except _Continue:
                    continue
                except _Break:
                    break
            if is_empty:
                for name in targets:  # what was gone over has no items, but the names are known
                    self._put(name, value, assigns=assigns)
                yield from self.walk(node.otherwise, dot)
        finally:
            del self._variables[scope:]

    def _invoke(self, node: Invoke, dot: Any) -> Iterator[str]:
        body = self._tree.defined.get(node.name)
        if body is None:
            raise GoFault(node.line, f"no template {node.name[:100]!r} is defined")
        if self._depth >= _DEEPEST:
            raise GoFault(node.line, "templates call each other too deeply")
        given = None if node.pipe is None else self._value(node.pipe, dot)
        variables, self._variables = self._variables, [("$", given)]
        try:
            yield from self.walk(body, given)
        finally:
            self._variables = variables

    def _value(self, pipe: Pipe, dot: Any) -> Any:
        """What a pipeline comes to; its variable, if it has one, gets it."""
        value = self._evaluated(pipe, dot)
        for name in pipe.targets:
            self._put(name, value, assigns=pipe.assigns)
        return value

    def _evaluated(self, pipe: Pipe, dot: Any) -> Any:
        try:
            value: tuple[Any, ...] = ()
            for command in pipe.commands:
                value = (self._command(command, dot, value),)
            return value[0]
        except GoError as error:
            raise GoFault(pipe.line, str(error)) from None

    def _command(self, command: Command, dot: Any, last: tuple[Any, ...]) -> Any:
        head, *rest = command.operands
        if not isinstance(head, Function):
            return self._operand(head, dot)
        if head.name in go_functions.LAZY:
            return self._lazy(head.name, rest, dot, last)
        arguments = [*(self._operand(each, dot) for each in rest), *last]
        value = go_functions.call(head.name, arguments)
        if isinstance(value, str) and len(value) > OUTPUT_LIMIT:
            raise TooLong
        return value

    def _lazy(self, name: str, rest: list[Operand], dot: Any, last: tuple[Any, ...]) -> Any:
        """The first value that decides, or the last."""
        if not rest and not last:
            raise GoError(f"{name} takes at least one value")
        value: Any = None
        for each in rest:
            value = self._operand(each, dot)
            if is_true(value) == (name == "or"):
                return value
        return last[0] if last else value

    def _operand(self, operand: Operand, dot: Any) -> Any:
        match operand:
            case Value(value):
                return value
            case Field(names):
                value = dot
            case Variable(name, names):
                value = self._variable(name)
            case Nested(pipe, names):
                value = self._evaluated(pipe, dot)
            case Function(name):  # as an argument: it is called without any
                return self._command(Command((operand,)), dot, ())
        for name in names:
            value = field(value, name)
        return value

    def _variable(self, name: str) -> Any:
        return next(value for known, value in reversed(self._variables) if known == name)

    def _put(self, name: str, value: Any, *, assigns: bool) -> None:
        if not assigns:
            self._variables.append((name, value))
            return
        at = next(at for at in reversed(range(len(self._variables))) if self._variables[at][0] == name)
        self._variables[at] = (name, value)


def _written(value: Any, line: int) -> str:
    try:
        return written(value)
    except GoError as error:
        raise GoFault(line, str(error)) from None


def _items(value: Any, line: int) -> Iterator[tuple[Any, Any]]:
    """Keys and items of what a range goes over; a map's by its keys."""
    if value is None:
        return
    if isinstance(value, list):
        yield from enumerate(value)
    elif isinstance(value, dict):
        yield from sorted(value.items())
    elif isinstance(value, int) and not isinstance(value, bool):
        yield from ((number, number) for number in range(value))
    else:
        raise GoFault(line, f"a range can't go over {kind(value)}")
