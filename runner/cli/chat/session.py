"""A conversation: what was said, and how the next answer is to be made. Knows neither prompt nor screen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from runner.cli.client import Json


@dataclass(slots=True)
class Session:
    """One conversation with one model. What is None is left to the model.

    `abilities` are the model's; `unanswered` is the message whose answer failed.
    """

    model: str
    system: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    think: bool | str | None = None
    form: str | Json | None = None
    keep_alive: float | None = None
    tools: list[Json] = field(default_factory=list)
    abilities: list[str] = field(default_factory=list)
    verbose: bool = False
    thinking: Literal["show", "fold", "hide"] = "show"
    wrap: bool = True
    history: bool = True
    messages: list[Json] = field(default_factory=list)
    unanswered: Json | None = None

    @property
    def sees(self) -> bool:
        """True when the model takes pictures."""
        return "vision" in self.abilities

    @property
    def shows_pictures(self) -> bool:
        """False when the model is known to take none; then no request has any, whatever was shown to another."""
        return self.sees or not self.abilities

    def load(self) -> Json:
        """The request that loads the model and asks nothing."""
        return self._request([])

    def ask(self, said: Sequence[Json]) -> Json:
        """The request for what follows `said`. It becomes part of the conversation with `settle`."""
        head = [] if self.system is None else [{"role": "system", "content": self.system}]
        return self._request([*head, *self.messages, *said])

    def settle(self, said: Sequence[Json]) -> None:
        """What was asked and what was answered, as far as it came, is part of the conversation now."""
        self.messages += said
        self.unanswered = None

    @property
    def questions(self) -> int:
        """How many can be taken back."""
        return [each["role"] for each in self.messages].count("user") + (self.unanswered is not None)

    def undo(self) -> Json | None:
        """Take back the last question and all that followed. Gives the question; None when there is none."""
        if self.unanswered is not None:
            taken, self.unanswered = self.unanswered, None
            return taken
        for place in range(len(self.messages) - 1, -1, -1):
            if self.messages[place]["role"] == "user":
                taken = self.messages[place]
                del self.messages[place:]
                return taken
        return None

    def last(self, part: Literal["content", "thinking"]) -> str:
        """The text, or the thought, of the last answer that has one."""
        said = (str(each.get(part) or "") for each in reversed(self.messages) if each["role"] == "assistant")
        return next((text for text in said if text), "")

    def _request(self, messages: list[Json]) -> Json:
        chosen = {"think": self.think, "format": self.form, "keep_alive": self.keep_alive}
        if not self.shows_pictures:
            messages = [{key: part for key, part in each.items() if key != "images"} for each in messages]
        request: Json = {"model": self.model, "messages": messages, "stream": True}
        request |= {name: value for name, value in chosen.items() if value is not None}
        if self.options:
            request["options"] = self.options
        if self.tools and messages:
            request["tools"] = self.tools
        return request
