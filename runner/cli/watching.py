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


def watch(look: Callable[[], str], seconds: float, *, is_data: bool = False) -> None:
    """Show what `look` gives, for ever. Raises Failure where the first look fails, and later unless nobody answers.

    `is_data` says that each look is a line for programs.
    """
    text, is_gone = look(), False
    with _shown(is_data) as show:
        while True:
            show(text)
            while True:
                time.sleep(seconds)
                try:
                    text, is_gone = look(), False
                    break
                except Unavailable as gone:
                    if is_data and not is_gone:
                        output.say(_waiting(gone))
                    elif not is_data:
                        show(_waiting(gone))
                    is_gone = True


def _waiting(gone: Unavailable) -> str:
    return f"{gone.message}; waiting for it to come back"


@contextmanager
def _shown(is_data: bool) -> Iterator[Show]:
    if is_data:
        yield output.line
        return
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
