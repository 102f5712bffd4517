"""`runner pull`: bring a model into the store."""

from __future__ import annotations

from typing import Annotated

import typer

from runner.cli.arguments import Host, Model
from runner.cli.connect import daemon
from runner.cli.failures import Exit, Failure
from runner.cli.transfer import pull
from runner.config import parse_size

EXAMPLES = """
runner pull qwen3:0.6b
runner pull hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M
runner pull qwen3 --as small --limit-rate 5MB
runner pull qwen3 --json
"""


def command(
    model: Model,
    called: Annotated[str | None, typer.Option("--as", metavar="NAME", help="Name to give the model here.")] = None,
    limit_rate: Annotated[
        str | None, typer.Option("--limit-rate", metavar="BYTES", help="At most so many bytes a second, say 5MB.")
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Allow plain HTTP, and certificates that nobody signed.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print progress as one JSON object a line.")] = False,
    host: Host = None,
) -> None:
    """Bring a model into the store.

    MODEL is a short name from the catalog, or hf.co/org/repo[:QUANT]. An interrupted pull goes on where it stopped
    when the same command is given again.
    """
    try:
        parse_size(limit_rate or 0)
    except ValueError as error:
        raise Failure(f"--limit-rate {error}", Exit.USAGE) from None
    more = {"as": called, "limit_rate": limit_rate, "insecure": insecure or None}
    pull(daemon(host), model, as_json, {name: value for name, value in more.items() if value is not None})
