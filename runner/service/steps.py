"""What an action on a service consists of: files put in place or removed, and commands. As values, so that they can be
shown without being done. The one place that does them.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from runner.service import carried

_PATIENCE = 150.0  # seconds for one command: a start waits until the daemon is ready


class Refused(Exception):
    """It can't be done. The text says why; `detail` are lines to show below, `denied` whether rights are lacking."""

    def __init__(self, message: str, detail: str = "", *, denied: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail
        self.denied = denied


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended. `status` is 127 for one that isn't there."""

    status: int
    out: str = ""
    errors: str = ""


Run = Callable[[Sequence[str]], Ran]


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder that has to be there, for its owner alone."""

    path: Path


@dataclass(frozen=True, slots=True)
class Write:
    """A file with this text."""

    path: Path
    text: str
    mode: int = 0o644
    secret: bool = False
    encoding: str = "utf-8"


@dataclass(frozen=True, slots=True)
class Remove:
    """A file that goes."""

    path: Path


@dataclass(frozen=True, slots=True)
class Command:
    """A program to run; `may_fail` where the state it leads to may hold already."""

    words: tuple[str, ...]
    may_fail: bool = False


Step = Folder | Write | Remove | Command


def run(words: Sequence[str]) -> Ran:
    """Run a program to its end, with nothing to read."""
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
    except FileNotFoundError:
        return Ran(127, errors=f"there is no {words[0]} here")
    except subprocess.TimeoutExpired:
        return Ran(124, errors=f"it did not end within {_PATIENCE:.0f} seconds")
    return Ran(done.returncode, done.stdout, done.stderr)


def carry_out(steps: Iterable[Step], with_: Run) -> bool:
    """Do them in order; True if a file has changed. Raises Refused for a command that fails, and OSError."""
    changed = False
    for step in steps:
        match step:
            case Folder(path):
                path.mkdir(parents=True, exist_ok=True, mode=0o700)
            case Write(path, text, mode, _, encoding):
                if _content(path, encoding) != text:
                    carried.write(path, text, mode, encoding)
                    changed = True
            case Remove(path):
                changed = path.exists() or changed
                path.unlink(missing_ok=True)
            case Command(words, may_fail):
                done = with_(words)
                if done.status and not may_fail:
                    said = (done.errors or done.out).strip()
                    raise Refused(f"{' '.join(words)} failed with status {done.status}", said)
    return changed


def shown(steps: Iterable[Step]) -> Iterable[str]:
    """What they would do, in lines to read. A secret file's values are not shown."""
    for step in steps:
        match step:
            case Folder(path):
                yield f"# folder {path}"
            case Write(path, text, mode, secret, _):
                yield f"# file {path} ({mode:04o})"
                yield _names_only(text) if secret else text.rstrip("\n")
                yield ""
            case Remove(path):
                yield f"rm {path}"
            case Command(words, _):
                yield " ".join(words)


def _names_only(text: str) -> str:
    lines = (line.partition("=") for line in text.splitlines() if not line.startswith("#"))
    return "\n".join(f"{name}=..." for name, _, _ in lines)


def _content(path: Path, encoding: str) -> str | None:
    with suppress(OSError, UnicodeDecodeError):
        return path.read_text(encoding=encoding)
    return None
