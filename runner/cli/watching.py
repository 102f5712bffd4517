"""The same look again and again: in place on a terminal, block after block elsewhere.

Knows nothing of what is shown. A daemon that goes away is waited for, and said to be.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from runner.cli import output
from runner.cli.failures import Unavailable

Show = Callable[[str], None]


def watch(look: Callable[[], str], seconds: float, pause: Callable[[float], None] = time.sleep) -> None:
    """Show what `look` gives, for ever. Raises Failure where the first look fails, and later unless nobody answers."""
    text = look()
    with _shown() as show:
        while True:
            show(text)
            pause(seconds)
            try:
                text = look()
            except Unavailable as gone:
                text = f"{gone.message}; waiting for it to come back"


@contextmanager
def _shown() -> Iterator[Show]:
    if not output.may_style(sys.stdout):
        yield _block
        return
    from rich.console import Console  # on use: rich takes longer to import than `runner ps` to run
    from rich.live import Live
    from rich.text import Text

    # Without a thread of its own: what is shown changes when there is something new, and only then.
    with Live(console=Console(highlight=False), auto_refresh=False, vertical_overflow="ellipsis") as live:
        yield lambda text: live.update(Text(output.printable(text), no_wrap=True, overflow="ellipsis"), refresh=True)


def _block(text: str) -> None:
    output.line(text + "\n")
