"""A Modelfile on its way to the daemon: read with errors that show the line, its files uploaded where they must be.

Knows what a Modelfile is, not what a command does with it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from modelfiles.errors import ModelfileError
from modelfiles.instructions import Adapter, Draft, From, Instruction, Modelfile
from modelfiles.parse import parse
from runner.cli.client import Client, Json
from runner.cli.connect import is_local
from runner.cli.failures import Failure, Refused
from runner.cli.progress import follow, shown
from runner.cli.transfer import is_last, upload

_NEAR = 80  # characters before and after a fault that are shown
_PATH_STARTS = ("./", "../", "/", ".\\", "..\\")


def parsed(content: bytes, name: str) -> Modelfile:
    """The Modelfile in `content`, which messages call `name`. Raises Failure with the line at fault."""
    try:
        modelfile = parse(content)
    except ModelfileError as error:
        raise Failure(f"{name}: {error}", detail=_excerpt(content, error)) from None
    return at_home(modelfile)


def at_home(modelfile: Modelfile) -> Modelfile:
    """`~` means the home of whoever types the command, which the daemon may not share."""
    return Modelfile(tuple(_at_home(each) for each in modelfile.instructions))


def _at_home(instruction: Instruction) -> Instruction:
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


def make(
    client: Client, request: Json, modelfile: Modelfile, base: Path, as_json: bool, measured: Path | None = None
) -> None:
    """Have the daemon create what `request` says, of files in `base` and a `measured` importance matrix, and show how
    it goes. A daemon on this machine opens them itself, and is sent those that it can't read. Raises Failure."""
    if is_local(client):
        paths = {"base": str(base)} | ({} if measured is None else {"imatrix": str(measured)})
        try:
            return _make(client, request | paths, as_json)
        except Refused as refusal:
            named = (*modelfile.sources, *modelfile.adapters, *modelfile.drafts)
            if not _is_hidden(refusal, (*(base / each for each in named), *filter(None, (measured,)))):
                raise
    request = request | {"files": uploaded(client, modelfile, base, as_json)}
    if measured is not None:
        with shown(as_json) as show:
            request["imatrix"] = upload(client, measured, show)
    return _make(client, request, as_json)


def _make(client: Client, request: Json, as_json: bool) -> None:
    with client.stream("/api/create", request, is_last) as updates:
        follow(updates, as_json)


def _is_hidden(refusal: Refused, paths: Iterable[Path]) -> bool:
    """Whether the daemon can't look at one of these, which this command may: it is another user's, or sees other disks,
    as the machine's service and a container do. It then takes what is here, and names for models."""
    if refusal.reason != "unreadable_file":
        return False
    return any(refusal.message.startswith(f"{os.path.abspath(path)}:") for path in paths)


def uploaded(client: Client, modelfile: Modelfile, base: Path, as_json: bool) -> dict[str, str]:
    """Every file that the Modelfile names, uploaded: its path as written, and its digest."""
    found: dict[str, str] = {}
    with shown(as_json) as show:
        for named in dict.fromkeys((*modelfile.sources, *modelfile.adapters, *modelfile.drafts)):
            path = base / named
            if path.is_file():
                found[named] = upload(client, path, show)
            elif path.is_dir() and named.startswith(_PATH_STARTS):
                raise Failure(f"{path} is a folder, which can't be uploaded: name the GGUF file in it")
            elif named.startswith(_PATH_STARTS) or named.lower().endswith(".gguf"):
                raise Failure(f"there is no file {path}")
    return found
