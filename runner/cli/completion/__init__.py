"""Completion scripts for shells, written from the verbs themselves. No Python starts when Tab is pressed.

The door. Models' names come from the file `names` in the cache folder, which the daemon keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from runner.cli.completion import bash, fish, powershell, zsh
from runner.cli.completion.grammar import Command, grammar

SHELLS: Mapping[str, Callable[[Command], str]] = {
    "bash": bash.script,
    "zsh": zsh.script,
    "fish": fish.script,
    "powershell": powershell.script,
}
"""What writes the script, by the shell's name."""

FILES: Mapping[str, str] = {"bash": "runner.bash", "zsh": "_runner", "fish": "runner.fish", "powershell": "runner.ps1"}
"""What each shell expects the file to be called."""


def script(shell: str) -> str:
    """The completion script for one of SHELLS. Raises KeyError for another."""
    return SHELLS[shell](grammar())
