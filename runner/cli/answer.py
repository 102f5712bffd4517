"""An answer as it streams in: to standard output, thoughts apart from it, and its timings afterwards.

Takes the objects of /api/generate and /api/chat alike; knows nothing of the request behind them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from runner.cli import output, wording
from runner.cli.client import Json

if TYPE_CHECKING:
    from runner.cli.screen.live import Live

_DIM, _NORMAL = "\x1b[2m", "\x1b[0m"


@dataclass(slots=True)
class Answer:
    """What has come so far. `last` is the object that ended it, with the timings; empty until then."""

    text: str = ""
    thinking: str = ""
    calls: list[Json] = field(default_factory=list)
    last: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Look:
    """How an answer is shown on a terminal. Without `wrap` it is printed as it comes, and so it is elsewhere.

    `hint` is what stands behind the line that a folded thought leaves.
    """

    thinking: Literal["show", "fold", "hide"] = "show"
    wrap: bool = True
    hint: str = ""

    @property
    def is_drawn(self) -> bool:
        """True when the answer is drawn as Markdown, on a terminal that can."""
        return self.wrap and output.may_style(sys.stdout)


def prepare(look: Look) -> None:
    """Begin to import what draws, where something will be drawn, beside whatever is done next."""
    if look.is_drawn:
        from runner.cli.screen import live  # on use: pipes and scripts never need it

        live.prepare()


def is_last(update: Json) -> bool:
    """True for the object that ends an answer."""
    return update.get("done") is True


def collect(updates: Iterable[Json], into: Answer) -> None:
    """Read the whole answer without showing it."""
    for update in updates:
        _take(update, into)


def show(updates: Iterable[Json], into: Answer, look: Look) -> None:
    """Print the answer as it arrives, and end it with a line break.

    Thoughts are framed, and dimmed where that can be; when standard output isn't a terminal they go to standard error,
    because a program that reads the answer didn't ask for them. `into` holds what came even when this is interrupted.
    """
    page, keys = _page(look)
    with keys:
        try:
            for update in updates:
                thinking, text = _take(update, into)
                page.think(thinking)
                page.answer(text)
        finally:
            page.end()


def _page(look: Look) -> tuple[_Page | Live, AbstractContextManager[None]]:
    """Where the answer goes, and what becomes of the keyboard meanwhile."""
    if not look.is_drawn:
        return _Page(look.thinking != "show"), nullcontext()
    from runner.cli.screen import keys
    from runner.cli.screen.live import Live

    return Live(look.thinking, look.hint), keys.unseen()


def _take(update: Json, into: Answer) -> tuple[str, str]:
    """Put one object to the rest; gives its thought and its text."""
    thinking, text = _parts(update)
    into.thinking += thinking
    into.text += text
    message = update.get("message")
    if isinstance(message, dict):
        into.calls += message.get("tool_calls") or ()
    if is_last(update):
        into.last = update
    return thinking, text


def _parts(update: Json) -> tuple[str, str]:
    """The thought and the text of one object."""
    message = update.get("message")
    if isinstance(message, dict):
        return str(message.get("thinking") or ""), str(message.get("content") or "")
    return str(update.get("thinking") or ""), str(update.get("response") or "")


class _Page:
    """Where the cursor stands between a thought and an answer."""

    def __init__(self, hide_thinking: bool) -> None:
        self._hide = hide_thinking
        self._aside = sys.stdout if sys.stdout.isatty() else sys.stderr
        self._dim = output.may_style(self._aside)
        self._thinking = False
        self._broken_off = False  # a thought's last line goes on
        self._fresh = True  # nothing is on the current line of standard output

    def think(self, text: str) -> None:
        if not text or self._hide:
            return
        if not self._thinking:
            self._thinking = True
            self._put("Thinking...\n")
        self._broken_off = not text.endswith("\n")
        self._put(text)

    def answer(self, text: str) -> None:
        if not text:
            return
        self._stop_thinking()
        self._fresh = text.endswith("\n")  # first, for Ctrl-C may come as soon as the text is out
        output.write(text)

    def end(self) -> None:
        self._stop_thinking()
        if not self._fresh:
            output.write("\n")
            self._fresh = True

    def _stop_thinking(self) -> None:
        if self._thinking:
            self._thinking = False
            self._put(("\n" if self._broken_off else "") + "...done thinking.\n\n")

    def _put(self, text: str) -> None:
        """Each piece is dimmed on its own, so that an interruption never leaves a dim terminal."""
        shown = output.printable(text)
        self._aside.write(f"{_DIM}{shown}{_NORMAL}" if self._dim else shown)
        self._aside.flush()


def warn(last: Json) -> None:
    """Say on standard error what the user should know about how the answer came about."""
    dropped = last.get("truncated_tokens")
    if dropped:
        output.say(f"Note: the prompt was too long for the context; {dropped} tokens of it were left out")


def timings(last: Json) -> None:
    """The measurements of an answer on standard error, under the names that Ollama gives them."""
    rows = [("total duration", _time(last, "total_duration")), ("load duration", _time(last, "load_duration"))]
    for head, key in (("prompt eval", "prompt_eval"), ("eval", "eval")):
        count, spent = int(last.get(f"{key}_count") or 0), int(last.get(f"{key}_duration") or 0)
        rows.append((f"{head} count", f"{count} token(s)"))
        if key == "prompt_eval" and last.get("prompt_eval_cached_count"):
            rows.append((f"{head} cached", f"{last['prompt_eval_cached_count']} token(s)"))
        rows.append((f"{head} duration", wording.nanoseconds(spent)))
        if spent:
            rows.append((f"{head} rate", f"{count / spent * 1e9:.2f} tokens/s"))
    if drafted := int(last.get("draft_count") or 0):
        rows.append(("drafts accepted", f"{int(last.get('draft_accepted_count') or 0)} of {drafted} token(s)"))
    for name, value in rows:
        output.say(f"{name + ':':<22}{value}")


def _time(last: Json, key: str) -> str:
    return wording.nanoseconds(int(last.get(key) or 0))
