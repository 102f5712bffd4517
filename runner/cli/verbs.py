"""The verbs, as a typer app that imports a verb's module only when the verb is used.

Knows the verbs' names and nothing of what they do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, MutableMapping
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from runner.cli.failures import Exit, Failure

VERBS = (
    "run",
    "pull",
    "push",
    "search",
    "create",
    "adopt",
    "list",
    "show",
    "plan",
    "ps",
    "why",
    "stop",
    "pin",
    "unpin",
    "cp",
    "rm",
    "verify",
    "prune",
    "lock",
    "outdated",
    "update",
    "up",
    "launch",
    "doctor",
    "logs",
    "bench",
    "serve",
    "shutdown",
    "service",
    "generate",
    "config",
)
ALIASES = {"ls": "list"}

# What people type who come from elsewhere, and what it is called here.
MEANT = {
    "chat": "run MODEL",
    "completion": "generate completion SHELL",
    "delete": "rm MODEL",
    "download": "pull MODEL",
    "info": "show MODEL",
    "inspect": "show MODEL",
    "models": "list",
    "remove": "rm MODEL",
    "status": "ps",
    "unload": "stop MODEL",
    "upgrade": "update",
    "version": "--version",
}

_TWICE = re.compile(r"\[\[(.*?)\](?:\.\.\.)?\](\.\.\.)?")
_NEGATIVE = re.compile(r"-[0-9][0-9a-z.]*")
_HELP = {"help_option_names": ["-h", "--help"]}


class _Lazily(MutableMapping[str, Any]):
    """Commands by name, each built when it is asked for."""

    def __init__(self) -> None:
        self._built: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        verb = ALIASES.get(name, name)
        if verb not in VERBS:
            raise KeyError(name)
        if verb not in self._built:
            self._built[verb] = _build(verb)
        return self._built[verb]

    def __iter__(self) -> Iterator[str]:
        return iter(VERBS)

    def __len__(self) -> int:
        return len(VERBS)

    def __setitem__(self, name: str, command: Any) -> None:
        raise TypeError("verbs are listed in VERBS")

    def __delitem__(self, name: str) -> None:
        raise TypeError("verbs are listed in VERBS")


class _Verbs(TyperGroup):
    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.commands = _Lazily()

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        _format_examples(self.epilog, formatter)


class _Verb(TyperCommand):
    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        # An argument that may be left out is put in brackets by typer, whether or not its own name has them.
        pieces = (piece.replace("{", "").replace("}", "") for piece in super().collect_usage_pieces(ctx))
        return [_TWICE.sub(r"[\1]\2", piece) for piece in pieces]

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        _format_examples(self.epilog, formatter)


def _format_examples(examples: str | None, formatter: Any) -> None:
    """Commands to type stay on the lines they were written on."""
    with formatter.section("Examples"):
        formatter.write("".join(f"  {line}\n" for line in (examples or "").strip().splitlines()))


def _build(verb: str) -> Any:
    module = import_module(f"runner.cli.commands.{verb}")
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(verb, cls=_Verb, epilog=module.EXAMPLES, context_settings=_HELP)(module.command)
    return typer.main.get_command(app)


_EXAMPLES = """
runner run demo "How do I pull a model?"
runner pull qwen3:0.6b
runner run qwen3:0.6b
"""

app = typer.Typer(
    cls=_Verbs,
    add_completion=False,
    rich_markup_mode=None,
    invoke_without_command=True,
    subcommand_metavar="VERB [ARGS]...",
    context_settings=_HELP,
    epilog=_EXAMPLES,
)


@app.callback()
def runner(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", "-v", help="Print Runner's version.")] = False,
) -> None:
    """Pull a model by name, run it, and serve it to every tool on this machine."""
    if version:
        import_module("runner.cli.commands.version").command()
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


def dispatch(arguments: list[str]) -> int:
    """Run the verb that the arguments name, and return its exit code.

    Raises typer.TyperException for a usage error, Failure for a verb that has another name here, and whatever the verb
    raises.
    """
    if arguments[:1] == ["help"]:
        arguments = [*arguments[1:2], "--help"]
    _check(arguments)
    group = typer.main.get_command(app)
    try:
        # Not group.main(): it has a way of its own to end on Ctrl-C and on a closed pipe.
        with group.make_context("runner", _with_values(arguments)) as context:
            group.invoke(context)
    except typer.Exit as ended:
        return ended.exit_code
    return 0


def _check(arguments: list[str]) -> None:
    verb, first = [*arguments, "", ""][:2]
    if verb in MEANT:
        raise Failure(f"no such command {verb!r}; it is `runner {MEANT[verb]}` here", Exit.USAGE)
    if verb == "bench" and first and not first.startswith("-"):
        raise Failure(f"bench takes no model's name alone; it is `runner bench --model {first}`", Exit.USAGE)


def _with_values(arguments: list[str]) -> list[str]:
    """`--think` alone means `--think=true`; an option whose value may be left out is not known to typer. And a negative
    number that a setting is set to is no option."""
    if arguments[:2] == ["config", "set"] and "--" not in arguments:
        below = [each for each in arguments if _NEGATIVE.fullmatch(each)]
        return [*(each for each in arguments if each not in below), *(["--"] if below else []), *below]
    if arguments[:1] != ["run"]:
        return arguments
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return [("--think=true" if each == "--think" else each) for each in arguments[:end]] + arguments[end:]
