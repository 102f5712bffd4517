"""`runner create`: a model from a Modelfile."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from modelfiles.errors import ModelfileError
from modelfiles.instructions import Adapter, Draft, From, Instruction, Modelfile
from modelfiles.parse import parse
from modelfiles.render import render
from runner.cli.arguments import Host, Model
from runner.cli.client import Client, Json
from runner.cli.connect import daemon, is_local
from runner.cli.failures import Exit, Failure
from runner.cli.progress import follow, shown
from runner.cli.transfer import is_last, upload

EXAMPLES = """
runner create mine
runner create mine -f ./Modelfile
echo "FROM ./model.gguf" | runner create mine -f -
runner create mine --quantize Q4_K_M
"""
_NEAR = 80  # characters before and after a fault that are shown
_PATH_STARTS = ("./", "../", "/", ".\\", "..\\")


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
    modelfile = _parsed(content, name)
    client = daemon(host)
    request: Json = {"model": model, "modelfile": render(modelfile), "stream": True}
    request |= {key: kind for key, kind in (("quantize", quantize), ("draft_quantize", draft_quantize)) if kind}
    measured = Path(imatrix).absolute() if imatrix else None
    if measured is not None and not measured.is_file():
        raise Failure(f"there is no file {imatrix}")
    if is_local(client):
        request["base"] = str(base)
        if measured is not None:
            request["imatrix"] = str(measured)
    else:
        request["files"] = _uploaded(client, modelfile, base, as_json)
        if measured is not None:
            with shown(as_json) as show:
                request["imatrix"] = upload(client, measured, show)
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


def _parsed(content: bytes, name: str) -> Modelfile:
    try:
        modelfile = parse(content)
    except ModelfileError as error:
        raise Failure(f"{name}: {error}", detail=_excerpt(content, error)) from None
    return Modelfile(tuple(_at_home(each) for each in modelfile.instructions))


def _at_home(instruction: Instruction) -> Instruction:
    """`~` means the home of whoever types the command, which the daemon may not share."""
    match instruction:
        case From(source) | Draft(source) if source.startswith("~"):
            return replace(instruction, source=str(Path(source).expanduser()))
        case Adapter(path) if path.startswith("~"):
            return replace(instruction, path=str(Path(path).expanduser()))
    return instruction


def _excerpt(content: bytes, error: ModelfileError) -> str:
    """The line at fault, or what of it is near, with a mark below the column."""
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    lines = re.split(r"\r\n|\r|\n", content.decode(encoding, "replace"))
    if not 0 < error.line <= len(lines):
        return ""
    begin = max(0, error.column - 1 - _NEAR)
    line = lines[error.line - 1][begin : begin + 2 * _NEAR]
    before = "".join("\t" if character == "\t" else " " for character in line[: error.column - 1 - begin])
    return f"  {line}\n  {before}^"


def _uploaded(client: Client, modelfile: Modelfile, base: Path, as_json: bool) -> dict[str, str]:
    """Every file that the Modelfile names, uploaded: its path as written, and its digest."""
    found: dict[str, str] = {}
    with shown(as_json) as show:
        for named in dict.fromkeys((*modelfile.sources, *modelfile.adapters, *modelfile.drafts)):
            path = base / named
            if path.is_file():
                found[named] = upload(client, path, show)
            elif named.startswith(_PATH_STARTS):
                raise Failure(f"there is no file {path}")
    return found
