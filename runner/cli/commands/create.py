"""`runner create`: a model from a Modelfile."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from modelfiles.render import render
from runner.cli.arguments import Host, Model
from runner.cli.client import Json
from runner.cli.connect import daemon
from runner.cli.failures import Exit, Failure, Refused
from runner.cli.progress import leaving
from runner.cli.recipe import make, parsed

EXAMPLES = """
runner create mine
runner create mine -f ./Modelfile
echo "FROM ./model.gguf" | runner create mine -f -
runner create mine --quantize Q4_K_M
"""

_OPTIONS = ("quantize", "draft_quantize", "imatrix")
"""Fields whose values are as they were typed; a refusal begins with the name of the field."""


def command(
    model: Model,
    file: Annotated[str, typer.Option("--file", "-f", metavar="FILE", help="The Modelfile; - is stdin.")] = "Modelfile",
    quantize: Annotated[
        str, typer.Option("--quantize", "-q", metavar="TYPE", help="Make its F16, BF16 or F32 weights of this type.")
    ] = "",
    draft_quantize: Annotated[
        str, typer.Option("--draft-quantize", metavar="TYPE", help="The same for its draft model.")
    ] = "",
    imatrix: Annotated[
        str, typer.Option("--imatrix", metavar="FILE", help="An importance matrix, which --quantize goes by.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print progress as one JSON object a line.")] = False,
    host: Host = None,
) -> None:
    """Create a model from a Modelfile. Paths in it are relative to the Modelfile."""
    content, name, base = _read(file)
    modelfile = parsed(content, name)
    client = daemon(host)
    request: Json = {"model": model, "modelfile": render(modelfile), "stream": True}
    request |= {key: kind for key, kind in (("quantize", quantize), ("draft_quantize", draft_quantize)) if kind}
    measured = Path(imatrix).absolute() if imatrix else None
    if measured is not None and not measured.is_file():
        raise Failure(f"there is no file {imatrix}")
    with leaving("no model was made; the same command begins anew"):
        try:
            make(client, request, modelfile, base, as_json, measured)
        except Refused as refusal:
            if refusal.status == 400 and refusal.message.partition(":")[0] in _OPTIONS:
                raise Failure(f"--{refusal.message.replace('_', '-', 1)}", Exit.USAGE) from None
            raise


def _read(file: str) -> tuple[bytes, str, Path]:
    """The content, what to call it in a message, and the folder that its paths are relative to."""
    if file == "-":
        return sys.stdin.buffer.read(), "standard input", Path.cwd()
    path = Path(file).absolute()
    try:
        return path.read_bytes(), file, path.parent
    except FileNotFoundError:
        raise Failure(f"there is no {file} here; name one with -f FILE, or - to read it from standard input") from None
    except OSError as error:
        raise Failure(f"cannot read {file}: {error.strerror}", Exit.IO) from None
