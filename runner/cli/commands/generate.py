"""`runner generate`: files for other programs, written from what Runner knows of itself."""

from __future__ import annotations

from typing import Annotated

import typer

from runner.cli import output
from runner.cli.failures import Exit, Failure

EXAMPLES = """
runner generate completion bash
runner generate completion fish > ~/.config/fish/completions/runner.fish
"""
_KINDS = ("completion",)


def command(
    kind: Annotated[str, typer.Argument(metavar="[completion]", help="What to write.")],
    subject: Annotated[str, typer.Argument(metavar="[bash|zsh|fish|powershell]", help="The shell to write it for.")],
) -> None:
    """Write a file for another program to standard output."""
    if kind not in _KINDS:
        raise Failure(f"generate takes {', '.join(_KINDS)}, not {kind!r}", Exit.USAGE)
    output.write(_completion(subject))


def _completion(shell: str) -> str:
    from runner.cli import completion  # on use: it imports every verb

    if shell not in completion.SHELLS:
        raise Failure(f"completion is there for {', '.join(completion.SHELLS)}, not {shell!r}", Exit.USAGE)
    return completion.script(shell)
