"""Where things lie on this machine: paths with `~` and `${VARIABLE:-else}`, and programs. Knows no assistant."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_VARIABLE = re.compile(r"\$\{([A-Z_]+)(?::-([^}]*))?\}")


@dataclass(frozen=True, slots=True)
class Machine:
    """`system` is linux, macos or windows; `state` is where Runner keeps what launch has to remember."""

    system: str
    home: Path
    environ: Mapping[str, str]
    state: Path

    def path(self, text: str) -> Path:
        """A path as it is written in what is known. `<state>` is launch's own folder."""
        text = text.replace("<state>", str(self.state))
        text = _VARIABLE.sub(lambda found: self.environ.get(found[1]) or found[2] or "", text)
        return self.home / text.removeprefix("~").lstrip("/") if text.startswith("~") else Path(text)

    def paths(self, written: Sequence[str] | Mapping[str, str]) -> tuple[Path, ...]:
        """The places for this system; empty where none is known for it."""
        if isinstance(written, Mapping):
            written = [written[self.system]] if self.system in written else []
        return tuple(self.path(text) for text in written)

    def program(self, commands: Sequence[str], elsewhere: Mapping[str, Sequence[str]]) -> str | None:
        """Where the first of the commands is, on PATH or in a place where it is known to lie; None when nowhere."""
        for command in commands:
            if there := shutil.which(command, path=self.environ.get("PATH", os.defpath)):
                return there
        for text in elsewhere.get(self.system, ()):
            path = self.path(text)
            if path.is_file() and os.access(path, os.X_OK):
                return str(path)
        return None


def this_machine(state: Path, environ: Mapping[str, str] = os.environ) -> Machine:
    """The one that we run on; `state` is Runner's state folder."""
    system = {"darwin": "macos", "win32": "windows"}.get(sys.platform, "linux")
    home = environ.get("USERPROFILE" if system == "windows" else "HOME")
    return Machine(system, Path(home) if home else Path.home(), environ, state / "launch")
