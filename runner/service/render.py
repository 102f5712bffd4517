"""The files under installer/ that come from this package's templates: `python -m runner.service.render [FOLDER]` writes
them. For those who package Runner; `runner service install` renders what fits one machine.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from runner.service import containers, units
from runner.service.containers import Wish
from runner.service.installation import SYSTEM_ENVIRONMENT, SYSTEM_HOME, Installation

_USER = Installation(
    program=("%h/.local/bin/runner", "serve"),
    environment_file=Path("%h/.config/runner/service.env"),
    log=Path(),
    environment={"PYTHONFAULTHANDLER": "1"},
    home=Path("%h"),
)
_MACHINE = Installation(
    program=("/opt/runner/bin/python", "-m", "runner.daemon"),
    environment_file=SYSTEM_ENVIRONMENT,
    log=Path(),
    environment={"HOME": str(SYSTEM_HOME), "RUNNER_HOME": str(SYSTEM_HOME), "PYTHONFAULTHANDLER": "1"},
)
_MAC = Installation(
    program=("/opt/runner/bin/python", "-m", "runner.daemon"),
    environment_file=Path("/Users/USER/Library/Application Support/runner/service.env"),
    log=Path("/Users/USER/Library/Application Support/runner/logs/service.log"),
    environment={"PYTHONFAULTHANDLER": "1", "PYTHONSAFEPATH": "1"},
)
_WINDOWS = Installation(
    program=(r"C:\Program Files\runner\pythonw.exe", "-m", "runner.daemon"),
    environment_file=Path("service.env"),
    log=Path(),
    environment={"PYTHONFAULTHANDLER": "1", "PYTHONSAFEPATH": "1"},
)


def files() -> Mapping[str, str]:
    """Text by file name."""
    return {
        "runner.service": units.systemd_user(_USER),
        "runner-system.service": units.systemd_system(_MACHINE),
        "runner.plist": units.plist(_MAC),
        "runner-task.xml": units.task(_WINDOWS, r"COMPUTER\USER", "UTF-8"),
        "compose.yaml": containers.compose(Wish(checkout="..")),
        "runner.container": containers.quadlet(Wish()),
    }


def main(folder: str = "installer") -> int:
    """Write them all."""
    for name, text in files().items():
        Path(folder, name).write_text(text, encoding="utf-8", newline="\n")
        sys.stdout.write(f"{Path(folder, name)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
