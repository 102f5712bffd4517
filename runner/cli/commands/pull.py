"""`runner pull`: bring a model into the store."""

from __future__ import annotations

from typing import Annotated

import typer

from runner.cli.arguments import Host, LockFile
from runner.cli.commands.adopt import adopt_path, is_path
from runner.cli.connect import daemon
from runner.cli.failures import Exit, Failure
from runner.cli.transfer import pull

EXAMPLES = """
runner pull qwen3:0.6b
runner pull hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M
runner pull qwen3 --json
runner pull ./Tiny-Q8_0.gguf
runner pull --locked
"""


def command(
    models: Annotated[
        list[str] | None, typer.Argument(metavar="MODEL", help="Name of the model; with --locked any number, or none.")
    ] = None,
    locked: Annotated[bool, typer.Option("--locked", help="Exactly what the lock file says.")] = False,
    file: LockFile = "runner.lock.yaml",
    as_json: Annotated[bool, typer.Option("--json", help="Print progress as one JSON object a line.")] = False,
    host: Host = None,
) -> None:
    """Bring a model into the store.

    MODEL is a short name from the catalog, or hf.co/org/repo[:QUANT]. An interrupted pull goes on where it stopped
    when the same command is given again. A path (./model.gguf, or a folder with one model in it) is used where it is,
    under the file's name with the quantization as its tag. With --locked, models come from runner.lock.yaml, all of
    them unless some are named, and are the same to the byte as where it was written.
    """
    if locked:
        from runner.cli.locked import pull_all  # on use: reading YAML takes longer than asking the daemon

        pull_all(daemon(host), file, models or (), as_json)
    elif models is None or len(models) != 1:
        raise Failure("pull takes one MODEL; with --locked any number, or none for all", Exit.USAGE)
    elif is_path(models[0]):
        adopt_path(daemon(host), models[0], as_json)
    else:
        pull(daemon(host), models[0], as_json)
