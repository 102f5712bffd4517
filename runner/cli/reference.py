"""docs/cli.md, made from the verbs themselves: `python -m runner.cli.reference > docs/cli.md`.

Knows how a verb describes itself to typer; knows no verb.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import typer

from runner.cli.failures import Exit
from runner.cli.verbs import ALIASES, VERBS, app

_HEAD = """\
# Commands

Every command with its arguments, options and examples, as `runner VERB --help` has them. This page is generated from
the commands (`python -m runner.cli.reference > docs/cli.md`), and a test holds it to them.

Commands are clients of the daemon and start it where they need one and none answers; the setting `autostart` forbids
that. `--host`, `RUNNER_HOST` and `host` in config.yaml say where it listens, in this order of weight. Results go to
standard output, everything else (progress, notes, errors) to standard error. With `--json` the output is for programs
and keeps its shape. `NO_COLOR` turns colours off. `--help`, or `-h`, goes with every command.
"""
_MEANINGS = {
    Exit.OK: "done",
    Exit.FAILED: "it could not be done, and `Error:` says why; with `--check` and `--exit-code`: there is work",
    Exit.USAGE: "mistyped: an unknown option, a value that isn't one, a name that can't be one",
    Exit.UNAVAILABLE: "no daemon answers, or it went away meanwhile",
    Exit.IO: "a disk: full, read-only, or failing; or a file that can't be read or written",
    Exit.BUSY: "not now: a full queue, too little memory, a locked store. The same command may work later",
    Exit.DENIED: "a key or a login is missing or wrong, or the address may not ask",
    Exit.INTERRUPTED: "ended by Ctrl-C",
    Exit.TERMINATED: "ended by SIGTERM",
}


def page() -> str:
    """The whole page."""
    group: Any = typer.main.get_command(app)
    parts = [_HEAD, _overview(group), "## Exit codes\n", _codes()]
    parts += [_verb(verb, group.commands[verb]) for verb in VERBS]
    return "\n".join(parts)


def _overview(group: Any) -> str:
    rows = [(f"[`runner {verb}`](#runner-{verb})", _told(group.commands[verb].help)[0]) for verb in VERBS]
    also = ", ".join(f"`runner {alias}` is `runner {verb}`" for alias, verb in ALIASES.items())
    return _table(("command", "what it does"), rows) + f"\n{also}. `runner --version` prints Runner's version.\n"


def _codes() -> str:
    return _table(("code", "meaning"), [(f"{code.value}", _MEANINGS[code]) for code in Exit])


def _verb(verb: str, command: Any) -> str:
    with command.make_context(verb, [], resilient_parsing=True) as context:
        usage = " ".join(("runner", verb, *command.collect_usage_pieces(context)))
    first, rest = _told(command.help)
    examples = "\n".join((command.epilog or "").strip().splitlines())
    parts = [f"## runner {verb}\n", f"{first}\n", f"```text\n{usage}\n```\n"]
    parts += [f"{rest}\n"] if rest else []
    if rows := list(_rows(command.params)):
        parts.append(_table(("argument or option", "meaning"), rows))
    parts.append(f"```sh\n{examples}\n```\n")
    return "\n".join(parts)


def _told(help_text: str | None) -> tuple[str, str]:
    """The first sentence, and what follows it as paragraphs of Markdown."""
    first, _, rest = _as_text(help_text or "").strip().partition("\n\n")
    return " ".join(first.split()), "\n\n".join(" ".join(each.split()) for each in rest.split("\n\n"))


def _rows(params: Iterable[Any]) -> Iterator[tuple[str, str]]:
    for param in params:
        if getattr(param, "hidden", False) or param.name == "help":
            continue
        if param.param_type_name == "argument":
            name = param.metavar or param.name.upper()
            yield f"`{name}`", _as_text(param.help or "")
        else:
            names = ", ".join(f"`{each}`" for each in sorted((*param.opts, *param.secondary_opts), key=len))
            value = "" if param.is_flag else f" `{param.metavar or 'VALUE'}`"
            yield names + value, _as_text(param.help or "")


def _as_text(words: str) -> str:
    """A help text as Markdown: outside of backticks, a star or an angle bracket is one, and no mark-up."""
    return re.sub(r"(`[^`]*`)|([*<])", lambda found: found[1] or f"\\{found[2]}", words)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", r"\|")  # which a table takes off again, in code too


if __name__ == "__main__":
    sys.stdout.write(page())
