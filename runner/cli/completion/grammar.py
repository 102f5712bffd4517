"""What may follow what on the command line: verbs, their options, and the kind of each value, read from typer.

Knows no shell. A value's kind is told by its metavar (MODEL, FILE, [reload]) or its type; the few that neither
tells are listed here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Literal, get_args, get_origin

import typer

from modelfiles import catalog
from runner.assistants import knowledge
from runner.cli.verbs import ALIASES, app
from runner.config import SETTINGS

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._:/-]*")
_WORDS_OF_METAVAR = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Values:
    """What a value may be: some of `words`, a model's name, a file, a folder. With none of them, anything."""

    words: tuple[str, ...] = ()
    models: bool = False
    files: bool = False
    folders: bool = False


@dataclass(frozen=True, slots=True)
class Option:
    """`values` is None for a flag. An `optional` value is given as `--name=value` or not at all."""

    names: tuple[str, ...]
    help: str
    label: str = ""
    values: Values | None = None
    optional: bool = False
    repeats: bool = False

    @property
    def takes_next(self) -> bool:
        """Whether the word after it is its value."""
        return self.values is not None and not self.optional


@dataclass(frozen=True, slots=True)
class Argument:
    """One word by its place, or all that are left. `name` is its parameter's, `label` what people see."""

    name: str
    label: str
    values: Values
    repeats: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """`path` is empty for `runner` itself. One with `commands` takes no arguments of its own."""

    path: tuple[str, ...]
    help: str
    options: tuple[Option, ...] = ()
    arguments: tuple[Argument, ...] = ()
    commands: tuple[Command, ...] = ()

    @property
    def name(self) -> str:
        return self.path[-1]

    def all(self) -> Iterator[Command]:
        """This command and all below it."""
        yield self
        for each in self.commands:
            yield from each.all()


# By the verb and the option's or argument's name: words that its help names and no type tells.
KNOWN: Mapping[tuple[str, str], Values] = {
    ("run", "--think"): Values(("low", "medium", "high", "max", "true", "false")),
    ("run", "--format"): Values(("json",)),
    ("push", "--format"): Values(("docker", "cncf", "both")),
    ("bench", "--endpoint"): Values(("chat", "completions")),
    ("serve", "--models"): Values(folders=True),
    ("serve", "--sandbox"): Values(("on", "strict", "off")),
    ("serve", "--log-level"): Values(("debug", "info", "warning", "error")),
    ("serve", "--spare-worker"): Values(("true", "false")),
    ("launch", "name"): Values(knowledge.names()),
    ("logs", "--level"): Values(("debug", "info", "warning", "error")),
    ("config", "name"): Values(tuple(row.name for row in SETTINGS)),
}
_MODELS = Values(models=True)
# What `generate` makes, in what words, and what may follow: each kind is offered as a verb of its own.
GENERATED: Mapping[str, tuple[str, Values]] = {
    "compose": ("a compose file, for docker and podman", _MODELS),
    "quadlet": ("a unit of podman's (quadlet)", _MODELS),
    "systemd": ("a unit of systemd's, without a container", _MODELS),
    "kube": ("for Kubernetes, or podman kube play", _MODELS),
    "completion": ("completion for a shell", Values(("bash", "zsh", "fish", "powershell"))),
}
_OF_METAVAR = {
    "MODEL": Values(models=True),
    "SOURCE": Values(models=True),
    "PREFIX": Values(models=True),
    "FILE": Values(files=True),
    "PATH": Values(files=True),
    "FOLDER": Values(folders=True),
    "DIR": Values(folders=True),
}
# These may bring a model that isn't in the store yet.
_FROM_CATALOG = ("pull", "run")
_HELP = Option(("-h", "--help"), "Show what it does and takes.")


def grammar() -> Command:
    """The whole command line. Imports every verb, so it is for writing scripts and not for running verbs."""
    root = _command(typer.main.get_command(app), ())
    root = replace(
        root, commands=tuple(_by_kind(each) if each.path == ("generate",) else each for each in root.commands)
    )
    others = tuple(
        _renamed(each, alias) for each in root.commands for alias, verb in ALIASES.items() if each.path == (verb,)
    )
    return replace(root, commands=root.commands + others)


def _by_kind(generate: Command) -> Command:
    _, words = generate.arguments  # the first one is the kind
    return replace(
        generate,
        arguments=(),
        commands=tuple(
            Command(
                (*generate.path, kind),
                said,
                generate.options,
                (replace(words, values=values, label="MODEL" if values.models else "SHELL", repeats=values.models),),
            )
            for kind, (said, values) in GENERATED.items()
        ),
    )


def _renamed(command: Command, name: str) -> Command:
    return replace(command, path=(name,))


def _command(found: Any, path: tuple[str, ...]) -> Command:
    below = getattr(found, "commands", None) or {}
    options, arguments = [], []
    for each in found.params:
        if getattr(each, "hidden", False) or each.name == "help":
            continue
        if each.param_type_name == "option":
            options.append(_option(each, path))
        elif not below:
            arguments.append(_argument(each, path))
    return Command(
        path,
        _first_sentence(found.help),
        (*options, _HELP),
        tuple(arguments),
        tuple(_command(below[name], (*path, name)) for name in below if not getattr(below[name], "hidden", False)),
    )


def _option(found: Any, path: tuple[str, ...]) -> Option:
    names, metavar = (*found.opts, *found.secondary_opts), str(found.metavar or "VALUE")
    help_text = " ".join(str(found.help or "").split())
    if found.is_flag or getattr(found, "count", False):
        return Option(names, help_text)
    return Option(
        names,
        help_text,
        metavar.strip("[]."),
        _values(found, path, metavar),
        optional=metavar.startswith("["),
        repeats=bool(found.multiple),
    )


def _argument(found: Any, path: tuple[str, ...]) -> Argument:
    metavar = str(found.metavar or found.name.upper())
    values = _values(found, path, metavar)
    if path[:1] and path[0] in _FROM_CATALOG and values.models:
        values = replace(values, words=tuple(each.name for each in catalog.entries() if _NAME.fullmatch(each.name)))
    return Argument(str(found.name), metavar.strip("[]."), values, found.nargs == -1)


def _values(found: Any, path: tuple[str, ...], metavar: str) -> Values:
    verb = path[0] if path else ""
    for name in found.opts:
        if (verb, name) in KNOWN:
            return KNOWN[verb, name]
    merged = Values(_choices(found))
    pieces = _WORDS_OF_METAVAR.findall(metavar) if not re.search(r"[=,:#]", metavar) else []
    is_choice = "|" in metavar or metavar.strip("[].").islower()
    for piece in pieces:
        known = _OF_METAVAR.get(piece)
        if known is not None:
            merged = Values(
                merged.words,
                merged.models or known.models,
                merged.files or known.files,
                merged.folders or known.folders,
            )
        elif is_choice and piece == piece.lower() and piece not in merged.words:
            merged = replace(merged, words=(*merged.words, piece))
    return merged


def _choices(found: Any) -> tuple[str, ...]:
    """The words that a type allows."""
    kind = getattr(getattr(found, "type_descriptor", None), "annotation", None)
    if get_origin(kind) is Literal:
        return tuple(str(each) for each in get_args(kind))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return tuple(str(each.value) for each in kind)
    return ()


def _first_sentence(text: str | None) -> str:
    paragraph = " ".join((text or "").split("\n\n")[0].split())
    return paragraph.split(". ")[0]
