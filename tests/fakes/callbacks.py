"""Has daemons watched for callbacks of their event loop that take too long. See `probe/sitecustomize` for how.

A suite whose daemons are to be watched starts them within `watched`, and asserts after each test that `offenders` has
nothing new.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

_PROBE = Path(__file__).parent / "probe"


@dataclass(frozen=True, slots=True)
class Callbacks:
    """What the probe tells of all daemons that were started within `watched`."""

    report: Path

    def environment(self) -> dict[str, str]:
        """The variables that have a daemon watched."""
        path = os.pathsep.join(filter(None, [str(_PROBE), os.environ.get("PYTHONPATH", "")]))
        return {"PYTHONPATH": path, "CALLBACK_PROBE": str(self.report)}

    def watched(self) -> list[int]:
        """The process ids of daemons that were or are watched."""
        return [line["pid"] for line in self._lines() if "watched" in line]

    def offenders(self) -> list[str]:
        """The callbacks that took too long, in words."""
        return [
            f"{line['callback']} took {line['ms']} ms of CPU time\n{''.join(line['stack'])}"
            for line in self._lines()
            if "callback" in line
        ]

    def _lines(self) -> list[dict[str, Any]]:
        text = self.report.read_text(encoding="utf-8") if self.report.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


@contextmanager
def watched(report: Path) -> Iterator[Callbacks]:
    """Every daemon that is started here, in whatever way, is watched and tells of it in this file."""
    callbacks = Callbacks(report)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in callbacks.environment().items():
            patch.setenv(name, value)
        yield callbacks
