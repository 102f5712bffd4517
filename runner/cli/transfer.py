"""Models on the move: a pull by name, a push, and the files of a Modelfile to a daemon that cannot open them itself."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import BinaryIO, cast

from runner.cli.client import Client, Json
from runner.cli.failures import Exit, Failure, Refused
from runner.cli.progress import Show, follow, leaving

_CHUNK = 1024 * 1024


def is_last(update: Json) -> bool:
    """True for the object that ends a pull, a push or a create."""
    return update.get("status") == "success"


def pull(client: Client, model: str, as_json: bool = False, more: Json | None = None) -> None:
    """Have the daemon pull `model`, and show how it goes. `more` are further fields of the request. Raises Failure."""
    asked = {"model": model, "stream": True, **(more or {})}
    try:
        with leaving("the same command goes on where it was"), client.stream("/api/pull", asked, is_last) as updates:
            follow(updates, as_json)
    except Refused as refusal:
        if refusal.reason == "model_not_found" and refusal.message.endswith("not found"):  # nothing is near
            refusal.detail = "`runner list` has yours, `runner search` what can be pulled."
        raise


def push(client: Client, asked: Json, as_json: bool = False) -> None:
    """Have the daemon push a model, and show how it goes. Raises Failure."""
    with (
        leaving("what the registry has by now isn't sent again"),
        client.stream("/api/push", {**asked, "stream": True}, is_last) as updates,
    ):
        follow(updates, as_json)


def upload(client: Client, file: Path, show: Show) -> str:
    """Give the daemon the content of `file` unless it has it; the digest, `sha256:` and 64 hex digits.

    Raises Failure, also when the file cannot be read.
    """
    try:
        with file.open("rb") as content:
            total = os.fstat(content.fileno()).st_size
            digest = _digest(_Counted(content, f"hashing {file.name}", total, show))
            if not client.exists(f"/api/blobs/{digest}"):
                content.seek(0)
                counted = _Counted(content, f"uploading {digest.removeprefix('sha256:')[:12]}", total, show)
                client.upload(f"/api/blobs/{digest}", cast(BinaryIO, counted), total)
    except OSError as error:
        raise Failure(f"cannot read {file}: {error.strerror or error}", Exit.IO) from None
    return digest


def _digest(content: _Counted) -> str:
    summed = hashlib.sha256()
    while chunk := content.read(_CHUNK):
        summed.update(chunk)
    return f"sha256:{summed.hexdigest()}"


class _Counted:
    """A file that says how much of it has been read."""

    def __init__(self, content: BinaryIO, status: str, total: int, show: Show) -> None:
        self._content = content
        self._update: Json = {"status": status, "total": total, "completed": 0}
        self._show = show

    def read(self, size: int = -1) -> bytes:
        chunk = self._content.read(size)
        self._update = {**self._update, "completed": self._update["completed"] + len(chunk)}
        self._show(self._update)
        return chunk
