"""What is known of each assistant, read from the YAML files beside this module. Knows their shape and no assistant."""

from __future__ import annotations

import difflib
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import msgspec
import yaml

from runner.assistants.errors import Unknown

Wire = Literal["openai-chat", "openai-responses", "anthropic", "ollama"]
Format = Literal["json", "yaml", "toml"]
"""`json` is read as its users write it: with comments and trailing commas."""
Key = str | dict[str, str]
"""A key of a mapping, or what tells one entry of a list from its others: `{name: Runner}`."""


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing that is set in a file: `value` goes to `at`, whatever stood there before.

    With `config`, only `--config` sets it: what makes Runner the default. With `key`, only when Runner has an API key
    (true) or has none (false). With `missing`, only where nothing stands yet; so is a `frame`,
    without which the file would be none, and which stays when all else is taken out again. A new entry of a list goes
    to its end, or with `first` to its beginning.
    """

    at: list[Key]
    value: Any
    config: bool = False
    key: bool | None = None
    first: bool = False
    missing: bool = False
    frame: bool = False


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of the assistant. Of several paths, the first that exists is taken, and else the first.

    `hides` are files that the assistant would no longer read if this one were made. A `secret` file is written 0600.
    """

    path: list[str] | dict[str, str]
    format: Format
    set: list[Step]
    hides: list[str] = []
    secret: bool = False


class Variable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A variable of its environment. `json` is written as JSON text. `key` is as for a step."""

    value: str = ""
    json: Any = None
    key: bool | None = None


class Assistant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`commands` are its names on PATH and `paths` where else it may lie, by operating system. `install` is a hint to
    print. `tools`: it works by calls of tools, and a model without them is of no use to it. `context` are the tokens
    below which it is no fun. `verified` is the version that was really run, `unverified` why none was.
    """

    title: str
    commands: list[str]
    install: str
    wire: Wire
    context: int
    tools: bool
    paths: dict[str, list[str]] = {}
    environment: dict[str, str | Variable] = {}
    unset: list[str] = []
    arguments: list[str] = []
    files: list[File] = []
    note: str = ""
    config_note: str = ""
    verified: str = ""
    unverified: str = ""


def names() -> tuple[str, ...]:
    """Every assistant's name, sorted."""
    return tuple(sorted(_texts()))


def load(name: str) -> Assistant:
    """What is known of one. Raises Unknown with names that are near."""
    try:
        text = _texts()[name]
    except KeyError:
        near = difflib.get_close_matches(name, names(), n=2)
        meant = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(names())}"
        raise Unknown(f"there is no assistant {name!r}; {meant}") from None
    return msgspec.convert(yaml.safe_load(text), Assistant)


@cache
def _texts() -> dict[str, str]:
    return {
        entry.name.removesuffix(".yaml"): entry.read_text(encoding="utf-8")
        for entry in files(__package__).iterdir()
        if entry.name.endswith(".yaml")
    }
