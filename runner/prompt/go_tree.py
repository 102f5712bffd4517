"""A Go template as a tree of frozen nodes: what the parser makes and the evaluator walks. Plain data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Value:
    """A constant."""

    value: str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Field:
    """`.A.B`; the dot itself without names."""

    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Variable:
    """`$x.A.B`. `$` alone is what the template was given."""

    name: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Nested:
    """`(pipeline).A.B`."""

    pipe: Pipe
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Function:
    name: str


Operand: TypeAlias = Value | Field | Variable | Nested | Function


@dataclass(frozen=True, slots=True)
class Command:
    """A function and its arguments, or one operand."""

    operands: tuple[Operand, ...]


@dataclass(frozen=True, slots=True)
class Pipe:
    """Commands, each given the value of the one before as its last argument. `targets` are variables that get the last
    one's; they are new ones unless it `assigns`."""

    line: int
    commands: tuple[Command, ...]
    targets: tuple[str, ...] = ()
    assigns: bool = False


@dataclass(frozen=True, slots=True)
class Action:
    pipe: Pipe


@dataclass(frozen=True, slots=True)
class Branch:
    """`if` or `with`: the first arm whose pipe is true, or what is `otherwise`."""

    kind: Literal["if", "with"]
    arms: tuple[tuple[Pipe, Nodes], ...]
    otherwise: Nodes = ()


@dataclass(frozen=True, slots=True)
class Range:
    pipe: Pipe
    body: Nodes
    otherwise: Nodes = ()


@dataclass(frozen=True, slots=True)
class Jump:
    """`break` or `continue`."""

    kind: Literal["break", "continue"]


@dataclass(frozen=True, slots=True)
class Invoke:
    """`template "name" pipeline`."""

    line: int
    name: str
    pipe: Pipe | None


Node: TypeAlias = Text | Action | Branch | Range | Jump | Invoke
Nodes: TypeAlias = tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Tree:
    """A whole template, and those defined in it."""

    root: Nodes
    defined: Mapping[str, Nodes]

    def names(self) -> frozenset[str]:
        """Every field that is named anywhere."""
        nodes = [self.root, *self.defined.values()]
        return frozenset(name for each in nodes for pipe in _pipes(each) for name in _names_in(pipe))


def cut_behind(nodes: Nodes, name: str) -> tuple[Nodes, bool]:
    """Leave out all that stands behind the first place where a field of this name is written; whether there is one.

    A condition that looks at the field writes nothing, so it doesn't count.
    """
    kept: list[Node] = []
    for node in nodes:
        found = False
        match node:
            case Action(pipe):
                found = name in set(_names_in(pipe))
            case Branch(_, arms, otherwise):
                left: list[tuple[Pipe, Nodes]] = []
                for pipe, body in arms:
                    short, found = ((), True) if found else cut_behind(body, name)
                    left.append((pipe, short))
                rest, found = ((), True) if found else cut_behind(otherwise, name)
                node = replace(node, arms=tuple(left), otherwise=rest)
            case Range(_, body, otherwise):
                body, found = cut_behind(body, name)
                rest, found = ((), True) if found else cut_behind(otherwise, name)
                node = replace(node, body=body, otherwise=rest)
        kept.append(node)
        if found:
            return tuple(kept), True
    return tuple(kept), False


def _pipes(nodes: Sequence[Node]) -> Iterator[Pipe]:
    for node in nodes:
        match node:
            case Action(pipe):
                yield pipe
            case Branch(_, arms, otherwise):
                for pipe, body in arms:
                    yield pipe
                    yield from _pipes(body)
                yield from _pipes(otherwise)
            case Range(pipe, body, otherwise):
                yield pipe
                yield from _pipes(body)
                yield from _pipes(otherwise)
            case Invoke(pipe=pipe) if pipe is not None:
                yield pipe


def _names_in(pipe: Pipe) -> Iterator[str]:
    for command in pipe.commands:
        for operand in command.operands:
            if isinstance(operand, Field | Variable | Nested):
                yield from operand.names
            if isinstance(operand, Nested):
                yield from _names_in(operand.pipe)
