"""`runner pull`: bring a model into the store."""

from __future__ import annotations

from typing import Annotated

import typer

from runner.cli.arguments import Host, LockFile
from runner.cli.commands.adopt import adopt_path, is_path
from runner.cli.connect import daemon
from runner.cli.failures import Exit, Failure
from runner.cli.transfer import pull
from runner.config import parse_size

EXAMPLES = """
runner pull qwen3:0.6b
runner pull hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M
runner pull qwen3 --as small --limit-rate 5MB
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
    as_json: Annotated[bool, typer.Option("--json", help="Print progress as one JSON object a line.")] = False,
    host: Host = None,
) -> None:
    """Bring a model into the store.

    MODEL is a short name from the catalog, or hf.co/org/repo[:QUANT]. An interrupted pull goes on where it stopped
    when the same command is given again. A path (./model.gguf, or a folder with one model in it) is used where it is,
    under the file's name with the quantization as its tag. With --locked, models come from runner.lock.yaml, all of
    them unless some are named, and are the same to the byte as where it was written.
    """
    try:
        parse_size(limit_rate or 0)
    except ValueError as error:
        raise Failure(f"--limit-rate {error}", Exit.USAGE) from None
    more = {"as": called, "limit_rate": limit_rate, "insecure": insecure or None}
    if locked:
        from runner.cli.locked import pull_all  # on use: reading YAML takes longer than asking the daemon

        pull_all(daemon(host), file, models or (), as_json)
    elif models is None or len(models) != 1:
        raise Failure("pull takes one MODEL; with --locked any number, or none for all", Exit.USAGE)
    elif is_path(models[0]):
        adopt_path(daemon(host), models[0], as_json)
    else:
        given = {name: value for name, value in more.items() if value is not None}
        pull(daemon(host), models[0], as_json, given)
