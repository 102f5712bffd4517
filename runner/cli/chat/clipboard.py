"""Text to the clipboard: by the system's command where there is one, or through the terminal, also over ssh.

Says what it did, because a terminal doesn't say whether it took the text.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping

_PATIENCE = 3.0  # seconds
_MOST = 74_994  # bytes that terminals take through OSC 52


def copy(text: str) -> str:
    """Copy, and give the sentence that says how."""
    for command in _commands(os.environ):
        if shutil.which(command[0]) and _run(command, text):
            return f"Copied {len(text)} characters with {command[0]}."
    content = text.encode("utf-8", "replace")
    if not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        return "Not copied: there is no clipboard command here, and this terminal has none either."
    if len(content) > _MOST:
        return (
            f"Not copied: {len(content)} bytes are too many for the terminal, and there is no clipboard command here."
        )
    sys.stdout.write(sequence(content))
    sys.stdout.flush()
    return f"Sent {len(text)} characters to the terminal's clipboard (OSC 52); not every terminal takes them."


def sequence(content: bytes) -> str:
    """What makes a terminal put `content` on the clipboard of the machine it runs on."""
    return f"\x1b]52;c;{base64.b64encode(content).decode()}\x07"


def _commands(environment: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
    """Those that can reach a clipboard from here, the best first."""
    if environment.get("TMUX"):
        yield "tmux", "load-buffer", "-w", "-"  # it hands the text on to the terminal outside
    if environment.get("SSH_TTY") or environment.get("SSH_CONNECTION"):
        return  # the clipboard is on another machine
    if sys.platform == "darwin":
        yield ("pbcopy",)
    elif sys.platform == "win32":
        yield ("clip.exe",)
    elif environment.get("WAYLAND_DISPLAY"):
        yield ("wl-copy",)
    if environment.get("DISPLAY"):
        yield "xclip", "-selection", "clipboard"
        yield "xsel", "--input", "--clipboard"


def _run(command: tuple[str, ...], text: str) -> bool:
    try:
        done = subprocess.run(
            command,
            input=text.encode("utf-8", "replace"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
