"""Draws docs/images/terminal.svg anew, and terminal.txt beside it: `python -m tests.docs.pictures [FOLDER]`.

Commands are typed into a real terminal (a pseudo-terminal with an emulator behind it), against a daemon of their own;
rich draws what the emulator's screen then shows. Only the demo model is needed, and no network.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import sys
import tempfile
import termios
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path

import pyte
from rich.console import CONSOLE_SVG_FORMAT, Console
from rich.style import Style
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

from tests.benchmarks.daemon import Daemon
from tests.docs.markdown import ROOT

COLUMNS, LINES = 100, 60
QUIET = 1.5  # seconds without a sign of life, after which a program is taken to wait for input
# What is typed at the prompt, and what is then typed into the program; it ends by itself where that is nothing.
SESSION: tuple[tuple[str, tuple[str, ...]], ...] = (
    ('runner run demo "How do I pull a model?"', ()),
    ("echo 'Anna is 31 and lives in Oslo.' | runner run demo --format json \"Extract name and city:\"", ()),
    ("runner run demo", ("How do I see what is loaded?", "/bye")),
    ("runner ps", ()),
    ("runner plan demo", ()),
)
_COLOURS = {"brown": "yellow", "brightbrown": "bright_yellow"}
_FONTS = re.compile(r"@font-face \{.*?\n\s*\}\}?\n", re.DOTALL)


class Emulator(pyte.Screen):
    """A terminal's screen that answers when it is asked where the cursor is."""

    def __init__(self) -> None:
        super().__init__(COLUMNS, LINES)
        self.answers: list[bytes] = []
        self.feed = pyte.ByteStream(self).feed

    def write_process_input(self, data: str) -> None:
        self.answers.append(data.encode())


def record(environment: Mapping[str, str]) -> Emulator:
    """The screen after the session."""
    screen = Emulator()
    for command, typed in SESSION:
        screen.feed(f"\x1b[1;32m$\x1b[0m \x1b[1m{command}\x1b[0m\r\n".encode())
        play(screen, command, list(typed), environment)
        if screen.cursor.x:
            screen.feed(b"\r\n")
        screen.feed(b"\r\n")
    return screen


def play(screen: Emulator, command: str, typed: list[str], environment: Mapping[str, str]) -> None:
    """Run a command on the screen, and type the lines, each once the program has gone quiet."""
    child, master = pty.fork()
    if child == 0:
        os.execve("/bin/sh", ["sh", "-c", command], dict(environment))
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    seen = False
    while True:
        ready, _, _ = select.select([master], [], [], QUIET)
        if not ready:
            if seen and typed:
                os.write(master, typed.pop(0).encode() + b"\r")
            continue
        try:
            data = os.read(master, 65536)
        except OSError:  # the terminal's other end is closed
            data = b""
        if not data:
            break
        seen = True
        screen.feed(data.replace(b"\x1b[2m", b"\x1b[90m"))  # the emulator knows no dim text
        while screen.answers:
            os.write(master, screen.answers.pop(0))
    os.close(master)
    _, status = os.waitpid(child, 0)
    if status != 0:
        raise RuntimeError(f"{command!r} ended with {os.waitstatus_to_exitcode(status)}:\n" + "\n".join(screen.display))


def rows(screen: Emulator) -> Iterator[Text]:
    """The screen's lines with their colours, up to the last that isn't empty."""
    last = max(number for number, line in enumerate(screen.display) if line.strip())
    for number in range(last + 1):
        line = Text()
        cells = (screen.buffer[number][column] for column in range(COLUMNS))
        for style, run in groupby(cells, key=_style):
            line.append("".join(cell.data for cell in run), style)
        line.rstrip()
        yield line


def _style(char: pyte.screens.Char) -> Style:
    return Style(
        color=_colour(char.fg),
        bgcolor=_colour(char.bg),
        bold=char.bold,
        italic=char.italics,
        underline=char.underscore,
        reverse=char.reverse,
    )


def _colour(name: str) -> str | None:
    if name == "default":
        return None
    if re.fullmatch(r"[0-9a-f]{6}", name):
        return f"#{name}"
    return _COLOURS.get(name, name.replace("bright", "bright_"))


def draw(lines: list[Text]) -> str:
    """An SVG of them as a terminal's window, which loads no fonts."""
    console = Console(width=COLUMNS, record=True, file=open(os.devnull, "w", encoding="utf-8"), force_terminal=True)  # noqa: SIM115
    for line in lines:
        console.print(line, no_wrap=True, overflow="ignore", crop=False)
    form = _FONTS.sub("", CONSOLE_SVG_FORMAT).replace("Fira Code", "ui-monospace, DejaVu Sans Mono, Menlo")
    return console.export_svg(title="runner", theme=DIMMED_MONOKAI, code_format=form, unique_id="terminal")


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images"
    with tempfile.TemporaryDirectory() as scratch:
        programs = Path(scratch, "bin")
        programs.mkdir()
        runner = programs / "runner"
        runner.write_text(f'#!/bin/sh\nexec {sys.executable} -m runner "$@"\n', encoding="utf-8")
        runner.chmod(0o755)
        with Daemon(Path(scratch, "home")) as daemon:
            environment = daemon.environment | {
                "HOME": scratch,
                "PATH": os.pathsep.join((str(programs), os.environ["PATH"])),
                "PYTHONPATH": str(ROOT),
                "TERM": "xterm-256color",
                "LANG": "C.UTF-8",
            }
            environment.pop("NO_COLOR", None)
            screen = record(environment)
    lines = list(rows(screen))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "terminal.svg").write_text(draw(lines) + "\n", encoding="utf-8")
    (folder / "terminal.txt").write_text("".join(f"{line.plain}\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    main()
