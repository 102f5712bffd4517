"""The command line in a home of its own, for tests that type commands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.benchmarks.daemon import free_port

Done = subprocess.CompletedProcess[str]


class Terminal:
    """Runs `runner …` in a home of its own, without a terminal on any end."""

    def __init__(self, home: Path) -> None:
        self.environment = dict(os.environ) | {
            # Commands may be typed in any folder.
            "PYTHONPATH": os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(Path(__file__).parents[2])]),
            "RUNNER_HOME": str(home),
            "RUNNER_HOST": f"127.0.0.1:{free_port()}",
        }

    def __call__(self, *arguments: str, stdin: str | None = None, folder: Path | None = None) -> Done:
        return subprocess.run(
            [sys.executable, "-m", "runner", *arguments],
            env=self.environment,
            cwd=folder,
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            timeout=120,
        )
