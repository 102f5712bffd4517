"""`runner cp`: give a model a second name."""

from __future__ import annotations

from typing import Annotated

import typer

from runner.cli import output
from runner.cli.arguments import Host
from runner.cli.connect import daemon

EXAMPLES = """
runner cp qwen3 mine
runner cp qwen3:4b team/assistant:v1
"""


def command(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Name of the model.")],
    destination: Annotated[str, typer.Argument(metavar="DESTINATION", help="Its second name.")],
    host: Host = None,
) -> None:
    """Give a model a second name. It takes no further space.

    A model that has the name already is replaced.
    """
    told = daemon(host).post("/api/copy", {"source": source, "destination": destination, "report": True})
    if told.get("replaced"):
        output.say(f"replaced the model that was {output.on_one_line(destination)!r} before")
    output.line(f"copied {output.on_one_line(source)!r} to {output.on_one_line(destination)!r}")
