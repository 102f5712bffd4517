"""A file written as a whole or not at all. Links are followed and stay, and so do permissions."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

_PLAIN = 0o644


def write(path: Path, content: bytes, mode: int | None = None) -> None:
    """Make `content` the file's. Without a mode it keeps its own, and a new one gets the usual. Raises OSError."""
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    if mode is None:
        mode = path.stat().st_mode & 0o7777 if path.exists() else _PLAIN & ~_umask()
    descriptor, aside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(aside, mode)
        os.replace(aside, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(aside)
        raise


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
