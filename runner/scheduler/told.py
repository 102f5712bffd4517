"""What has been told of one request's answer: enough for another worker to go on behind it.

Four bytes for each token, kept until the request ends. Knows no worker, and no text but its length.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from runner.protocol.commands import Resumed
from runner.protocol.events import Ended, Text


@dataclass(slots=True)
class _Choice:
    tokens: array[int] = field(default_factory=lambda: array("i"))
    sent: int = 0  # characters
    reason: Literal["stop", "length"] | None = None


class Account:
    """An answer as far as it has left. Changed by the scheduler's loop only."""

    def __init__(self) -> None:
        self._choices: dict[int, _Choice] = {}

    def __bool__(self) -> bool:
        return bool(self._choices)

    def take(self, event: Text | Ended) -> bool:
        """Note what leaves. Whether it brought new tokens."""
        choice = self._choices.get(event.choice)
        if choice is None:
            choice = self._choices[event.choice] = _Choice()
        if isinstance(event, Ended):
            choice.reason = "length" if event.reason == "length" else "stop"
            return False
        choice.tokens.extend(event.ids)
        choice.sent += len(event.text)
        return bool(event.ids)

    def resumed(self, choices: int) -> tuple[Resumed, ...]:
        """For the next worker: how far each choice had come. Nothing where nothing was told."""
        if not self._choices:
            return ()
        return tuple(_resumed(self._choices.get(number)) for number in range(choices))

    @staticmethod
    def of(events: Iterable[Text | Ended]) -> Account:
        """What all these have told."""
        told = Account()
        for event in events:
            told.take(event)
        return told


def _resumed(choice: _Choice | None) -> Resumed:
    return Resumed() if choice is None else Resumed(tuple(choice.tokens), choice.sent, choice.reason)
