"""`runner create`: a model from a Modelfile."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from modelfiles.render import render
from runner.cli.arguments import Host, Model
from runner.cli.client import Json
from runner.cli.connect import daemon, is_local
from runner.cli.failures import Exit, Failure
from runner.cli.progress import follow
from runner.cli.recipe import parsed, uploaded
from runner.cli.transfer import is_last

EXAMPLES = """
runner create mine
runner create mine -f ./Modelfile
echo "FROM ./model.gguf" | runner create mine -f -
"""


def command(
    model: Model,
    file: Annotated[str, typer.Option("--file", "-f", metavar="FILE", help="The Modelfile; - is stdin.")] = "Modelfile",
    as_json: Annotated[bool, typer.Option("--json", help="Print progress as one JSON object a line.")] = False,
    host: Host = None,
) -> None:
    """Create a model from a Modelfile. Paths in it are relative to the Modelfile."""
    content, name, base = _read(file)
    modelfile = parsed(content, name)
    client = daemon(host)
    request: Json = {"model": model, "modelfile": render(modelfile), "stream": True}
    if is_local(client):
        request["base"] = str(base)
    else:
        request["files"] = uploaded(client, modelfile, base, as_json)
    with client.stream("/api/create", request, is_last) as updates:
        follow(updates, as_json)


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
