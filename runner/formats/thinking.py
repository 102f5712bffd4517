"""The markers by which model families frame a thought, as plain data.

Both ends use this table: `prompt` to see whether a rendered prompt already opened a thought, `reply` to split the
thought from the answer.
"""

from __future__ import annotations

import msgspec


class Thinking(msgspec.Struct, frozen=True):
    """The texts that open and close a thought."""

    opening: str
    closing: str


# In the order they are looked for: a template belongs to the row whose closing marker it holds (some hold no other).
THINKING: tuple[Thinking, ...] = (
    Thinking("<think>", "</think>"),
    Thinking("<seed:think>", "</seed:think>"),
    Thinking("<think:opensource>", "</think:opensource>"),
    Thinking("<|channel>thought", "<channel|>"),
    Thinking("[THINK]", "[/THINK]"),
    Thinking("<|START_THINKING|>", "<|END_THINKING|>"),
)


def thinking_of(template: str) -> Thinking | None:
    """The markers that a chat template's text uses, found by a scan; the template is never run here."""
    for markers in THINKING:
        if markers.closing in template:
            return markers
    return None
