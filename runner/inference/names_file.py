"""The file with the models' names, one a line, that shell completion reads: no process starts for a Tab.

Written whole and renamed into place when the store's names change, off the event loop. Knows no shell.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from registry.errors import RegistryError
from registry.store import Store

_log = logging.getLogger(__name__)
_LATEST = ":latest"


class NamesFile:
    """Keeps `path` as the store's names are. `submit` runs a function on another thread, in its own time."""

    def __init__(self, store: Store, path: Path, submit: Callable[[Callable[[], None]], object]) -> None:
        self._store = store
        self._path = path
        self._submit = submit
        self._lock = threading.Lock()
        self._is_due = False

    def keep(self) -> None:
        """Write it now, and whenever names change from here on."""
        self._store.when_names_change(self._on_change)
        self._on_change()

    def _on_change(self) -> None:
        with self._lock:
            if self._is_due:
                return  # the write that is due will see this change too
            self._is_due = True
        with suppress(RuntimeError):  # the daemon is ending; the next one writes it at its start
            self._submit(self._write)

    def _write(self) -> None:
        with self._lock:
            # Within the lock, so that of two writes the later one has the later names.
            self._is_due = False
            try:
                names = sorted(str(name).removesuffix(_LATEST) for name in self._store.names())
                self._replace("".join(f"{name}\n" for name in names).encode())
            except (OSError, RegistryError) as error:  # completion is a comfort: nothing else waits for it
                _log.warning("the names for shell completion are not up to date: %s", error)

    def _replace(self, content: bytes) -> None:
        with suppress(OSError):
            if self._path.read_bytes() == content:
                return
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        aside = self._path.with_name(f"{self._path.name}.part")
        with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
        aside.replace(self._path)
