"""`runner pull`: bring a model into the store, or look at what that would bring."""

from __future__ import annotations

from typing import Annotated

import typer

from runner.cli import lookcard, output
from runner.cli.arguments import Host, Model
from runner.cli.client import Client
from runner.cli.connect import daemon
from runner.cli.failures import Exit, Failure
from runner.cli.transfer import pull

EXAMPLES = """
runner pull qwen3:0.6b
runner pull hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M
runner pull --dry-run hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF
runner pull qwen3 --json
"""


def command(
    model: Model,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only look: what would be fetched, and would it run here?")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print progress as one JSON object a line.")] = False,
    host: Host = None,
) -> None:
    """Bring a model into the store.

    MODEL is a short name from the catalog, or hf.co/org/repo[:QUANT]. Without a quantization the best that fits this
    machine is chosen, and said. An interrupted pull goes on where it stopped when the same command is given again.
    """
    client = daemon(host)
    if dry_run:
        _look(client, model, as_json)
    else:
        pull(client, model, as_json)


def _look(client: Client, model: str, as_json: bool) -> None:
    """Print what a pull would bring. Raises Failure where it would fail."""
    found = client.post("/runner/look", {"model": model}, timeout=None)
    if as_json:
        output.data(found)
    else:
        output.line(lookcard.look(found))
    if found.get("problem"):
        raise Failure(f"this model can't run here: {found['problem']}")
    if lookcard.is_too_large(found):
        raise Failure("not enough space on the store's disk", Exit.IO)
