"""One set-up of logging for every Runner process: lines that are safe to read, with the request's id if it has one.

To standard error for people and for the journal, and of the daemon also to a file of its own. Prompts and answers are
never logged. A record's attribute `fields` (a dict of plain values) becomes part of its line of JSON.
"""

from __future__ import annotations

import logging

from runner.log.file import File
from runner.log.lines import escaped, request_id
from runner.log.places import daemon_file, early_file, folder, worker_file
from runner.log.sink import Keeping, Sink

__all__ = [
    "File",
    "Keeping",
    "daemon_file",
    "early_file",
    "escaped",
    "folder",
    "keep",
    "reopen",
    "request_id",
    "set_up",
    "settle",
    "worker_file",
]


def set_up(level: str) -> None:
    """Send everything of this level and above to stderr. Call once, at the start of the process."""
    root = logging.getLogger()
    root.handlers[:] = [Sink()]
    root.setLevel(level.upper())


def keep(keeping: Keeping) -> None:
    """Write to a file too, from now on. A file that can't be written costs lines and one warning, nothing else."""
    for sink in _sinks():
        sink.keep(keeping)


def settle(level: str, size: int, files: int, form: str) -> None:
    """Go on with other values; where nothing is kept in a file, only the level counts."""
    logging.getLogger().setLevel(level.upper())
    for sink in _sinks():
        if sink.keeping is not None:
            sink.keep(Keeping(sink.keeping.path, size, files, form))


def reopen() -> None:
    """Begin the file anew where it was moved away."""
    for sink in _sinks():
        sink.reopen()


def _sinks() -> list[Sink]:
    return [handler for handler in logging.getLogger().handlers if isinstance(handler, Sink)]
