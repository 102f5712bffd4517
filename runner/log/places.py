"""Where the logs lie. Names only; nothing is opened, nothing is created."""

from __future__ import annotations

import re
from pathlib import Path


def folder(state: Path) -> Path:
    """The folder of all logs, in the state folder."""
    return state / "logs"


def daemon_file(state: Path) -> Path:
    """What the daemon writes itself. Those before it are `daemon.log.1`, `.2` and on, the oldest last."""
    return folder(state) / "daemon.log"


def early_file(state: Path) -> Path:
    """What a daemon in the background says outside of its log: before there is one, and when it crashes."""
    return folder(state) / "daemon.err"


def worker_file(logs: Path, model: str) -> Path:
    """The log file of a model. Characters that a file name can't carry everywhere become underscores."""
    return logs / f"{re.sub(r'[^A-Za-z0-9._-]', '_', model)}.log"
