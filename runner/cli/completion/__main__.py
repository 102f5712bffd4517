"""`python -m runner.cli.completion installer/completions`: write every shell's script into a folder."""

from __future__ import annotations

import sys
from pathlib import Path

from runner.cli.completion import FILES, script

if len(sys.argv) != 2:
    sys.exit("usage: python -m runner.cli.completion FOLDER")
for shell, name in FILES.items():
    (Path(sys.argv[1]) / name).write_text(script(shell), encoding="utf-8", newline="\n")
