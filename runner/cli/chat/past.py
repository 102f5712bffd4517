"""What was typed before: in the state folder, for nobody else's eyes, and no more than is useful."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from prompt_toolkit.history import FileHistory, History, InMemoryHistory

from runner.config import folders

MOST = 1_000  # messages
_MOST_BYTES = 1024 * 1024


def past(is_kept: Callable[[], bool]) -> History:
    """The history of the prompt; new lines are written down while `is_kept`. Only in memory when the file can't be."""
    file = folders().state / "history"
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.touch(mode=0o600)
        file.chmod(0o600)
        _trim(file)
    except OSError:
        return InMemoryHistory()
    return _Past(file, is_kept)


class _Past(FileHistory):
    def __init__(self, file: Path, is_kept: Callable[[], bool]) -> None:
        super().__init__(file)
        self._is_kept = is_kept

    def store_string(self, string: str) -> None:
        if self._is_kept():
            try:
                super().store_string(string)
            except OSError:
                return  # a full disk is no reason to end a conversation


def _trim(file: Path) -> None:
    """Rewrite the file when it holds too much: the newest messages stay."""
    newest = list(FileHistory(file).load_history_strings())
    if len(newest) <= MOST and file.stat().st_size <= _MOST_BYTES:
        return
    kept, size = [], 0
    for text in newest[: MOST // 2]:
        size += len(text.encode("utf-8", "replace"))
        if size > _MOST_BYTES // 2:
            break
        kept.append(text)
    aside = file.with_name(f"history.{os.getpid()}")
    aside.touch(mode=0o600)
    shorter = FileHistory(aside)
    for text in reversed(kept):
        shorter.store_string(text)
    aside.replace(file)
