"""A conversation: what was said, and how the next answer is to be made. Knows neither prompt nor screen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from runner.cli.client import Json


@dataclass(slots=True)
class Session:
    """One conversation with one model. What is None is left to the model."""

    model: str
    system: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    think: bool | str | None = None
    form: str | Json | None = None
    keep_alive: float | None = None
    verbose: bool = False
    hide_thinking: bool = False
    messages: list[Json] = field(default_factory=list)

    def load(self) -> Json:
        """The request that loads the model and asks nothing."""
        return self._request([])

    def ask(self, text: str) -> Json:
        """The request for the answer to `text`. It becomes part of the conversation with `settle`."""
        head = [] if self.system is None else [{"role": "system", "content": self.system}]
        return self._request([*head, *self.messages, {"role": "user", "content": text}])

    def settle(self, text: str, answer: str, thinking: str) -> None:
        """What was asked and what was answered, as far as it came, is part of the conversation now."""
        reply: Json = {"role": "assistant", "content": answer}
        if thinking:
            reply["thinking"] = thinking
        self.messages += [{"role": "user", "content": text}, reply]

    def _request(self, messages: list[Json]) -> Json:
        chosen = {"think": self.think, "format": self.form, "keep_alive": self.keep_alive}
        request: Json = {"model": self.model, "messages": messages, "stream": True}
        request |= {name: value for name, value in chosen.items() if value is not None}
        if self.options:
            request["options"] = self.options
        return request
