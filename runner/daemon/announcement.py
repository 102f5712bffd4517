"""Telling people and programs where the daemon is: the log, `daemon.json` in the runtime folder, and the supervisor."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from runner import __version__
from runner.config import Settings
from runner.scheduler.loop import Scheduler
from runner.service.notify import Supervisor

_log = logging.getLogger("runner.daemon")


def say_ready(settings: Settings, supervisor: Supervisor) -> None:
    """Tell people and programs where the daemon is."""
    about = {
        "pid": os.getpid(),
        "address": str(settings.host),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
    }
    path = _announcement(settings)
    aside = path.with_suffix(".json.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(about, file)
        aside.replace(path)
    except OSError as error:
        _log.warning("%s cannot be written: %s", path, error.strerror)
    _log.info("Runner %s is listening on %s; models are in %s", __version__, settings.host.url, settings.models)
    supervisor.ready(f"listening on {settings.host.url}")


@contextmanager
def announced(settings: Settings) -> Iterator[None]:
    """`daemon.json` in the runtime folder is removed at the end, whoever wrote it last: only one holds the store."""
    try:
        yield
    finally:
        with suppress(OSError):
            _announcement(settings).unlink()


def standing(settings: Settings, scheduler: Scheduler) -> str:
    """In a line, for whoever asks the supervisor."""
    members = scheduler.view.residents()
    loaded, busy = sum(member.state == "ready" for member in members), sum(len(member.inside) for member in members)
    models = "1 model" if loaded == 1 else f"{loaded} models"
    requests = "1 request" if busy == 1 else f"{busy} requests"
    return f"listening on {settings.host.url}; {models} loaded, {requests} under way"


def _announcement(settings: Settings) -> Path:
    return settings.folders.runtime / "daemon.json"
