"""What people and models say to each other, free of any wire dialect.

The dialects read their JSON into these values, the prompt floor renders them, and they cross the worker's pipe as they
are. Nothing here knows templates, tokens or HTTP.
"""

from __future__ import annotations

from typing import Any, Literal, Self

import msgspec

Role = Literal["system", "user", "assistant", "tool"]
ThinkLevel = Literal["low", "medium", "high"]


class ToolCall(msgspec.Struct, frozen=True):
    """One call that the model made. `arguments` is the parsed JSON object."""

    name: str
    arguments: dict[str, Any]
    id: str | None = None


class RemoteImage(bytes):
    """An image that is elsewhere: its URL, in place of the file that has to be fetched. `field` asked for it."""

    field: str

    @classmethod
    def at(cls, url: str, field: str) -> Self:
        """The image at this URL."""
        made = cls(url.encode("utf-8", "replace"))
        made.field = field
        return made


class Message(msgspec.Struct, frozen=True):
    """One turn. `images` are encoded files (PNG, JPEG), not pixels."""

    role: Role
    content: str = ""
    images: tuple[bytes, ...] = ()
    thinking: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_name: str | None = None
    tool_call_id: str | None = None


class ToolChoice(msgspec.Struct, frozen=True):
    """Whether the model may, must not or has to call a tool; `name` is the one that it has to call (with required).

    Not `parallel`: one call in an answer at most.
    """

    mode: Literal["auto", "none", "required"] = "auto"
    name: str | None = None
    parallel: bool = True


class ToolSpec(msgspec.Struct, frozen=True):
    """One function that the model may call. `parameters` is a JSON Schema object."""

    name: str
    description: str = ""
    parameters: dict[str, Any] = {}
