"""What loads taught about memory, kept over restarts: one owner of the calibration, and its file.

Safe to call from several threads. The file is small and worth little: one that can't be read is begun anew, and one
that can't be written is only logged.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import msgspec

from runner.protocol.commands import Load
from runner.protocol.events import Ready
from runner.scheduler.memory import Calibration, Correction, Footprint, Lesson, learn
from runner.scheduler.memory.calibrate import sane

log = logging.getLogger(__name__)
_VERSION = 1
_LARGEST = 4 << 20  # bytes of a file worth reading
_MET = 64  # footprints that are remembered until their load is through


class Lessons:
    """Corrections and contexts by model (the digest of its manifest). Without `path` nothing outlives the process;
    `later` runs what writes the file, on whatever thread it likes."""

    def __init__(self, path: Path | None = None, later: Callable[[Callable[[], None]], object] = lambda f: f()) -> None:
        self._path = path
        self._later = later
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._met: OrderedDict[str, Footprint] = OrderedDict()
        self._known = load(path) if path is not None else Calibration()

    def of(self, model: str) -> Lesson:
        """What is known of a model."""
        return self._known.of(model)

    def applied(self, model: str, footprint: Footprint) -> Footprint:
        """A model's footprint with what earlier loads taught. It is remembered, for what this one will teach."""
        with self._lock:
            self._met[model] = footprint
            self._met.move_to_end(model)
            while len(self._met) > _MET:
                self._met.popitem(last=False)
        return replace(footprint, corrections=self.of(model).corrections)

    def loaded(self, model: str, load: Load, ready: Ready) -> None:
        """A worker says what its load took."""
        footprint = self._met.get(model)
        found = learn(footprint, load.options, load.placement, ready) if footprint is not None else None
        if found is None:
            return
        with self._lock:
            before, self._known = self._known, self._known.learned(model, ready.engine, found)
        if before.of(model) != self._known.of(model) or before.engine != self._known.engine:
            self._later(self._save)

    def choose(self, model: str, context: int, ceiling: int) -> None:
        """Remember the context that was chosen for a model."""
        with self._lock:
            self._known = self._known.chosen(model, context, ceiling)
        self._later(self._save)

    def _save(self) -> None:
        if self._path is not None:
            with self._writing:
                save(self._path, self._known)


def load(path: Path) -> Calibration:
    """Read the file. One that isn't there or isn't right is as good as none."""
    try:
        if path.stat().st_size > _LARGEST:
            return Calibration()
        return _read(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return Calibration()
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        log.warning("%s cannot be used and is begun anew: %s", path, error)
        return Calibration()


def save(path: Path, known: Calibration) -> None:
    """Write the file aside and put it in place."""
    lessons = {
        model: {
            "corrections": [asdict(each) for each in lesson.corrections],
            "context": lesson.context,
            "ceiling": lesson.ceiling,
        }
        for model, lesson in known.lessons.items()
    }
    aside = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        aside.write_text(json.dumps({"version": _VERSION, "engine": known.engine, "lessons": lessons}))
        os.replace(aside, path)
    except OSError as error:
        log.warning("%s cannot be written: %s", path, error.strerror)
        with suppress(OSError):
            aside.unlink()


def _read(data: Any) -> Calibration:
    if data["version"] != _VERSION:
        return Calibration()
    lessons = {
        str(model): Lesson(
            tuple(_correction(each) for each in lesson["corrections"]),
            int(lesson["context"]),
            int(lesson["ceiling"]),
        )
        for model, lesson in data["lessons"].items()
    }
    return Calibration(str(data["engine"]), lessons)


def _correction(data: Any) -> Correction:
    found = msgspec.convert(data, Correction)
    if not all(sane(ratio) for ratio in (found.weights, found.kv, found.compute)):
        raise ValueError("a correction is beyond all bounds")
    return found
