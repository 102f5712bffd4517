"""`runner why`: where a model is and for what reason, and what the next request would find."""

from __future__ import annotations

import shutil
from datetime import datetime
from typing import Annotated

import typer

from runner.cli import arguments, output
from runner.cli.arguments import AsJson, Host, Model
from runner.cli.cards import why as whycard
from runner.cli.connect import daemon

EXAMPLES = """
runner why demo
runner why demo --option num_ctx=32768
runner why demo --json | jq .next
"""


def command(
    model: Model,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", "-o", metavar="NAME=VALUE", help="As a request with this option would find it."),
    ] = None,
    as_json: AsJson = False,
    host: Host = None,
) -> None:
    """Say why a model is where it is, and what comes next.

    Device, context, options, template, what happened to it, and what a request would find. Nothing is loaded or changed
    by asking.
    """
    found = daemon(host).post("/runner/why", {"model": model, "options": arguments.options(option or [])})
    if as_json:
        output.data(found)
    else:
        output.line(whycard.card(found, model, shutil.get_terminal_size().columns, datetime.now().astimezone()))
