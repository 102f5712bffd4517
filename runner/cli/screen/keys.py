"""The keyboard while no prompt reads it: what is typed isn't shown, and waits for the next prompt."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def unseen() -> Iterator[None]:
    """No echo on this terminal. Ctrl-C stays what it is. Does nothing where there is no terminal of ours to change."""
    try:
        import termios
    except ImportError:  # Windows
        yield
        return
    try:
        descriptor = sys.stdin.fileno()
        before = termios.tcgetattr(descriptor)
        ours = os.tcgetpgrp(descriptor) == os.getpgrp()  # in the background the attempt would stop us
    except (OSError, ValueError, termios.error):
        ours = False
    if not ours:
        yield
        return
    silent = list(before)
    silent[3] &= ~(termios.ECHO | termios.ICANON)
    silent[0] &= ~termios.ICRNL  # Enter stays Enter: a prompt takes the other for a line break
    termios.tcsetattr(descriptor, termios.TCSANOW, silent)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSANOW, before)
