"""Messages that name their channel, as gpt-oss writes them: thoughts, calls and the answer are channels alike.

A message is a heading up to `<|message|>` and a text up to the next marker. `to=functions.NAME` in the heading makes it
a call. What comes without any heading is the answer.
"""

from __future__ import annotations

import re

from runner.reply import json_text
from runner.reply.calls.telling import NoName, Telling
from runner.reply.source import Ended, Markers, Scan, Source, Unexpected

_MOST_HEADING = 512  # characters
_BODY = Markers(["<|message|>"])
_ENDS = Markers(["<|end|>", "<|call|>", "<|return|>", "<|start|>", "<|channel|>"])
_BEGINNINGS = ("<|start|>", "<|channel|>", "to=", "assistant")
_CHANNEL = re.compile(r"<\|channel\|>\s*(\w+)")
_RECIPIENT = re.compile(r"\bto=([^\s<]+)")
_THOUGHTS = "analysis"


def messages(source: Source, telling: Telling, *, calls: bool, most: int) -> Scan[None]:
    """All messages to the end; without `calls`, those to tools are text. No more than `most` calls are told."""
    marker = ""
    while telling.complete < most:
        if marker not in ("<|start|>", "<|channel|>"):
            marker = ""  # the end of a message belongs to no text
        start = source.at - len(marker)
        source.keep(marker)
        if not marker:
            yield from source.blanks()
            for each in _BEGINNINGS:
                if (yield from source.skips(each)):
                    break
            else:
                telling.text(source.kept(), start)
                marker = yield from source.up_to(_ENDS, lambda text: telling.text(text, source.at - len(text)))
                if not marker:
                    return
                continue
        try:
            end = yield from source.up_to(_BODY, lambda _text: None, _MOST_HEADING)
        except Unexpected:
            end = ""
        heading = source.kept()
        if not end:
            telling.text(heading, start)
            if source.is_over and not source.waiting:
                return
            marker = yield from source.up_to(_ENDS, lambda text: telling.text(text, source.at - len(text)))
        else:
            marker = yield from _message(source, telling, heading, calls=calls)
        if not marker:
            return


def _message(source: Source, telling: Telling, heading: str, *, calls: bool) -> Scan[str]:
    """The text of a message, by its heading; the marker that ended it, nothing at the end of all."""
    recipient = _RECIPIENT.search(heading)
    channel = _CHANNEL.search(heading)
    if recipient and calls and recipient[1].startswith("functions."):
        try:
            yield from _call(source, telling, recipient[1].removeprefix("functions."))
        except (Ended, Unexpected, NoName) as error:
            if telling.is_open:
                telling.break_off()
            lost = error.taken if isinstance(error, Unexpected) else ""
            telling.text(lost, source.at - len(lost))
    if channel and channel[1] == _THOUGHTS:
        return (yield from source.up_to(_ENDS, lambda text: telling.thought(text, source.at - len(text))))
    return (yield from source.up_to(_ENDS, lambda text: telling.text(text, source.at - len(text))))


def _call(source: Source, telling: Telling, name: str) -> Scan[None]:
    yield from source.blanks()
    if (yield from source.next()) != "{":
        raise Unexpected
    telling.begin(name)
    yield from json_text.value(source, telling.arguments)
    telling.end()
