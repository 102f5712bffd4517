"""What an answer consists of once it is taken apart: thought, answer, and calls of tools."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a thought or of the answer. `at` is where it begins, in characters of all that the model wrote."""

    kind: Literal["thinking", "answer"]
    text: str
    at: int = 0


@dataclass(frozen=True, slots=True)
class Call:
    """Some of the call with this number: its name and id with the first part, then the text of its arguments.

    With `complete` the arguments are a JSON object and nothing of the call follows.
    """

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""
    complete: bool = False


AnyPart: TypeAlias = Part | Call
