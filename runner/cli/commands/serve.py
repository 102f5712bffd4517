"""`runner serve`: become the daemon. Its flags are the rows of the settings table."""

from __future__ import annotations

import os
import subprocess
import sys
from inspect import Parameter, Signature
from typing import Annotated

import typer

from runner.cli import autostart
from runner.cli.failures import Exit, Failure
from runner.config import SETTINGS, ConfigError, Setting, load

EXAMPLES = """
runner serve
runner serve --host 127.0.0.1:11434
RUNNER_API_KEY=secret runner serve --host 0.0.0.0:11435
"""
_CLIENTS_OWN = ("autostart",)  # a setting that the daemon never reads


def command(**flags: str | None) -> None:
    """Run the daemon in the foreground.

    Its log goes to standard error. Each flag can also be set in the environment or in config.yaml: see `runner config`.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        load(given)
    except ConfigError as error:
        raise Failure(str(error), Exit.USAGE) from None
    argv, environment = autostart.command(given), autostart.environment(given)
    if sys.platform == "win32":  # where exec gives the new program another process id and the shell its prompt back
        raise SystemExit(subprocess.run(argv, env=environment, check=False).returncode)
    # The same process goes on as the daemon, so that the command-line libraries don't stay in memory.
    os.execve(argv[0], argv, environment)


def _flag(row: Setting) -> Parameter:
    shown = f" [default: {row.default}]" if row.default != "" else ""
    option = typer.Option(f"--{row.name.replace('_', '-')}", metavar="VALUE", help=f"{row.help}{shown}")
    return Parameter(row.name, Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[str | None, option])


# typer reads the signature, so this makes the table's rows the command's flags.
command.__signature__ = Signature(  # type: ignore[attr-defined]
    [_flag(row) for row in SETTINGS if row.name not in _CLIENTS_OWN]
)
