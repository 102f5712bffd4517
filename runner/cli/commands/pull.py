"""`runner pull`: bring a model into the store."""

from __future__ import annotations

from typing import Annotated

import typer

from runner.cli.arguments import Host, Model
from runner.cli.commands.adopt import adopt_path, is_path
from runner.cli.connect import daemon
from runner.cli.transfer import pull

EXAMPLES = """
runner pull qwen3:0.6b
runner pull hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M
runner pull qwen3 --json
runner pull ./Tiny-Q8_0.gguf
"""


def command(
    model: Model,
    as_json: Annotated[bool, typer.Option("--json", help="Print progress as one JSON object a line.")] = False,
    host: Host = None,
) -> None:
    """Bring a model into the store.

    MODEL is a short name from the catalog, or hf.co/org/repo[:QUANT]. An interrupted pull goes on where it stopped
    when the same command is given again. A path (./model.gguf, or a folder with one model in it) is used where it is,
    under the file's name with the quantization as its tag.
    """
    if is_path(model):
        adopt_path(daemon(host), model, as_json)
    else:
        pull(daemon(host), model, as_json)
