"""The `runner` command as a real child process: with pipes, or on a pseudo-terminal of its own."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyte

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "runner")
_PATIENCE = 30.0  # seconds, for a machine that is busy with other things
_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07]*\x07|[@-Z\\-_=>])")
# A process gets the terminal only by asking for it, and subprocess has no word for that.
TAKE_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)


def environment(host: str, **more: str) -> dict[str, str]:
    """The tests' environment, with the daemon at `host`, never a real one started, and `more`."""
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "error",
        "RUNNER_HOST": host,
        "RUNNER_AUTOSTART": "0",
        "PROMPT_TOOLKIT_NO_CPR": "1",
        **more,
    }


class CommandLine:
    """Runs `runner` in a folder, against the daemon at `host`."""

    def __init__(self, host: str, folder: Path) -> None:
        self.host = host
        self.folder = folder

    def __call__(
        self, *arguments: str, stdin: str | bytes = b"", check: int | None = 0, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Run to the end and expect the exit code `check`; standard input is a pipe that holds `stdin`."""
        given = stdin.encode() if isinstance(stdin, str) else stdin
        done = subprocess.run(
            [*COMMAND, *arguments],
            input=given,
            capture_output=True,
            cwd=self.folder,
            env=environment(self.host, **env),
            timeout=_PATIENCE,
            check=False,
        )
        result = subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())
        assert "Traceback" not in result.stderr, result.stderr
        if check is not None:
            assert result.returncode == check, result
        return result

    def start(self, *arguments: str, **env: str) -> subprocess.Popen[bytes]:
        """Run beside the test, with pipes; nothing comes in."""
        return subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.folder,
            env=environment(self.host, **env),
        )

    @contextmanager
    def terminal(self, *arguments: str, columns: int = 100, lines: int = 40, **env: str) -> Iterator["Terminal"]:
        """Run on a terminal of that size; killed if it is still there at the end."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        process = subprocess.Popen(
            [sys.executable, "-c", TAKE_TERMINAL, *COMMAND, *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=self.folder,
            env=environment(self.host, **{"TERM": "xterm", **env}),
            start_new_session=True,
        )
        os.close(theirs)
        try:
            yield Terminal(process, ours, columns, lines)
        finally:
            process.kill()
            process.wait()
            os.close(ours)


class Terminal:
    """The screen's side of a pseudo-terminal. `raw` is everything that came, `shown` the same without sequences.

    `looks` is what a person sees after all that, with what has scrolled away above it.
    """

    def __init__(self, process: subprocess.Popen[bytes], descriptor: int, columns: int, lines: int) -> None:
        self._process = process
        self._sizes = [(0, columns, lines)]  # from which byte on
        self._descriptor = descriptor
        self._seen = 0
        self._content = b""

    @property
    def raw(self) -> str:
        return self._content.decode("utf-8", "replace")

    @property
    def shown(self) -> str:
        return _SEQUENCE.sub("", self.raw).replace("\r", "")

    @property
    def looks(self) -> list[str]:
        """The lines of a real terminal emulator, without blanks at their ends and empty lines at the end."""
        _, columns, lines = self._sizes[0]
        screen = pyte.HistoryScreen(columns, lines, history=10_000)
        stream = pyte.ByteStream(screen)
        for (begin, columns, lines), (end, *_) in zip(self._sizes, [*self._sizes[1:], (None,)], strict=True):
            screen.resize(lines, columns)
            stream.feed(self._content[begin:end])
        rows: list[Any] = [*screen.history.top, *(screen.buffer[line] for line in range(screen.lines))]
        shown = ["".join(row[column].data for column in range(screen.columns)).rstrip() for row in rows]
        while shown and not shown[-1]:
            shown.pop()
        return shown

    def resize(self, columns: int, lines: int) -> None:
        """Make the window another size."""
        self._sizes.append((len(self._content), columns, lines))
        fcntl.ioctl(self._descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def expect(self, text: str) -> None:
        """Read until `text` is shown, after what was expected before."""
        deadline = time.monotonic() + _PATIENCE
        while (found := self.shown.find(text, self._seen)) < 0:
            assert self._read(deadline), f"{text!r} never came:\n{self.shown[self._seen :]}"
        self._seen = found + len(text)

    def type(self, text: str) -> None:
        """Press keys; `\\r` is Enter, `\\x03` Ctrl-C, `\\x04` Ctrl-D."""
        os.write(self._descriptor, text.encode())

    def ends(self) -> int:
        """Read to the end, and give the exit code."""
        deadline = time.monotonic() + _PATIENCE
        while self._read(deadline):
            pass
        return self._process.wait(timeout=_PATIENCE)

    def _read(self, deadline: float) -> bool:
        """False at the end of output, or when nothing came in time."""
        ready, _, _ = select.select([self._descriptor], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return False
        try:
            content = os.read(self._descriptor, 65536)
        except OSError:  # Linux says so when nobody holds the other side any more
            return False
        self._content += content
        return bool(content)
