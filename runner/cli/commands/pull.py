"""`runner pull`: bring a model into the store, or look at what that would bring."""

from __future__ import annotations

from typing import Annotated

import typer

from runner.cli import output
from runner.cli.arguments import Host, LockFile
from runner.cli.cards import look as lookcard
from runner.cli.client import Client, Json
from runner.cli.commands.adopt import adopt_path, is_path
from runner.cli.connect import daemon
from runner.cli.failures import Exit, Failure
from runner.cli.transfer import pull
from runner.config import parse_size

EXAMPLES = """
runner pull qwen3:0.6b
runner pull hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M
runner pull qwen3 --as small --limit-rate 5MB
runner pull --dry-run hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF
runner pull qwen3 --json
runner pull --locked
runner pull ./Tiny-Q8_0.gguf
"""


def command(
    models: Annotated[
        list[str] | None, typer.Argument(metavar="MODEL", help="Name of the model; with --locked any number, or none.")
    ] = None,
    locked: Annotated[bool, typer.Option("--locked", help="Exactly what the lock file says.")] = False,
    file: LockFile = "runner.lock.yaml",
    called: Annotated[str | None, typer.Option("--as", metavar="NAME", help="Name to give the model here.")] = None,
    limit_rate: Annotated[
        str | None, typer.Option("--limit-rate", metavar="BYTES", help="At most so many bytes a second, say 5MB.")
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Allow plain HTTP, and certificates that nobody signed.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only look: what would be fetched, and would it run here?")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print progress as one JSON object a line.")] = False,
    host: Host = None,
) -> None:
    """Bring a model into the store.

    MODEL is a short name from the catalog, a name with its source (hf.co/org/repo[:QUANT], ollama.com/…, or any
    container registry's), or the URL of a GGUF. Without a quantization the best that fits this machine is chosen, and
    said. An interrupted pull goes on where it stopped when the same command is given again. A path (./model.gguf, or a
    folder with one model in it) is used where it is, under the file's name with the quantization as its tag. With
    --locked, models come from runner.lock.yaml, all of them unless some are named, and are the same to the byte as
    where it was written.
    """
    try:
        parse_size(limit_rate or 0)
    except ValueError as error:
        raise Failure(f"--limit-rate {error}", Exit.USAGE) from None
    more: Json = {"as": called, "limit_rate": limit_rate, "insecure": insecure or None}
    given = {name: value for name, value in more.items() if value is not None}
    if locked:
        from runner.cli.locked import pull_all  # on use: reading YAML takes longer than asking the daemon

        if dry_run or called is not None:
            raise Failure("--locked says all of what is pulled: --as and --dry-run don't go with it", Exit.USAGE)
        pull_all(daemon(host), file, models or (), as_json, given)
    elif models is None or len(models) != 1:
        raise Failure("pull takes one MODEL; with --locked any number, or none for all", Exit.USAGE)
    elif is_path(models[0]):
        if dry_run or given.keys() - {"as"}:
            raise Failure("a file is used where it is: only --as, --json and --host go with a path", Exit.USAGE)
        adopt_path(daemon(host), models[0], as_json, called)
    elif dry_run:
        given.pop("limit_rate", None)
        _look(daemon(host), {"model": models[0], **given}, as_json)
    else:
        pull(daemon(host), models[0], as_json, given)


def _look(client: Client, wanted: Json, as_json: bool) -> None:
    """Print what a pull would bring. Raises Failure where it would fail."""
    found = client.post("/runner/look", wanted, timeout=None)
    if as_json:
        output.data(found)
    else:
        output.line(lookcard.look(found))
    if found.get("problem"):
        raise Failure(f"this model can't run here: {found['problem']}")
    if lookcard.is_too_large(found):
        raise Failure("not enough space on the store's disk", Exit.IO)
