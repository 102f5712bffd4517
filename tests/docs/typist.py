"""Types what README and quickstart say, block by block, in an empty home with a real daemon.

`sh` blocks and indented ones are typed, `python` blocks run, and an `output` block is held against what the block
before it printed: `…` stands for anything in a line, a line `…` for any lines. Others (`text`, `yaml`) are only read.

Stand-ins there are for what takes the network or five minutes: `git clone` and the installers (which have tests of
their own), `pip install`, and the programs of others. Models come from a hub on loopback.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from tests.benchmarks.daemon import free_port
from tests.docs.markdown import ROOT, Block

ADDRESS = "127.0.0.1:11435"
# What is installed needs no network; what isn't has to come with the group `dev`.
_INSTALLED = "from importlib.metadata import version; import sys; [version(name) for name in sys.argv[2:]]"
_PROGRAMS = {
    "python": f'exec {sys.executable} "$@"',
    "python3": f'exec {sys.executable} "$@"',
    "pip": f'exec {sys.executable} -c "{_INSTALLED}" "$@"',
    "pytest": f'exec {sys.executable} -m pytest "$@"',
    "runner": f'exec {sys.executable} -m runner "$@"',
    # Cloning leaves a folder with installers that are as after their first run.
    "git": 'mkdir -p "$3/installer" && cp "$STANDINS/dev" "$STANDINS/install.sh" "$3/installer/"',
    "dev": 'command=$1; shift; [ "$command" = pytest ] && set -- --version; exec "$command" "$@"',
    "install.sh": f"test -x {ROOT}/installer/install.sh",
    "opencode": 'echo "opencode was started"',
}


class Typist:
    """One person at one machine: a home, a folder that `cd` changes, and what was printed last."""

    def __init__(self, home: Path, settings: Mapping[str, str]) -> None:
        self.folder = home / "somewhere"
        self.folder.mkdir(parents=True)
        self._state = home / "folder"
        programs = home / "bin"
        programs.mkdir()
        for name, script in _PROGRAMS.items():
            path = programs / name
            path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
            path.chmod(0o755)
        self._address = f"127.0.0.1:{free_port()}"
        self.environment = dict(os.environ) | {
            "HOME": str(home),
            "PATH": os.pathsep.join((str(programs), os.environ["PATH"])),
            "PYTHONPATH": str(ROOT),
            "RUNNER_HOME": str(home / "runner"),
            "RUNNER_HOST": self._address,
            "STANDINS": str(programs),
            **settings,
        }
        self.printed = ""

    def work_through(self, block: Block) -> None:
        """Type, run or compare it. Raises AssertionError with what was printed."""
        text = block.text.replace(ADDRESS, self._address)
        if block.language in ("sh", "indented"):
            self._run(block, ["sh", "-eu", "-c", f"{self._filled_in(text)}\npwd > {self._state}"])
            self.folder = Path(self._state.read_text(encoding="utf-8").strip())
        elif block.language == "python":
            self._run(block, [sys.executable, "-c", text])
        elif block.language == "output":
            assert matches(text, self.printed), f"line {block.line} says\n{text}\nand it was\n{self.printed}"

    def visits(self) -> str:
        """What kind of thing a browser finds at Runner's address."""
        request = urllib.request.Request(f"http://{self._address}/", headers={"Accept": "text/html,*/*;q=0.8"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return str(answer.headers["Content-Type"])

    def leave(self) -> None:
        """End the daemon, and remove what was cloned."""
        subprocess.run(["runner", "shutdown"], env=self.environment, capture_output=True, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _filled_in(self, text: str) -> str:
        return text.replace("git clone <this repository>", "git clone here runner")

    def _run(self, block: Block, command: list[str]) -> None:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        self.printed = done.stdout
        assert done.returncode == 0, f"line {block.line}:\n{block.text}\nended with {done.returncode}:\n{done.stdout}"


def matches(quoted: str, printed: str) -> bool:
    """Whether what was printed is what the page quotes."""
    pattern = "".join(
        r"(?:.*\n)*" if line.strip() == "…" else ".*".join(map(re.escape, line.rstrip().split("…"))) + "[ ]*\n"
        for line in quoted.splitlines()
        if not line.startswith("installer/dev:")  # of the five minutes that the test doesn't take
    )
    return re.fullmatch(pattern, printed if printed.endswith("\n") else printed + "\n") is not None
