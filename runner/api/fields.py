"""What becomes of each request field (honoured, refused by name, or ignored and listed), and what comes back.

One `Fields` and one `Answers` value per endpoint, beside its wire structs in each dialect. docs/fields.md and
/openapi.json are generated from these tables, and tests hold them to the code. A field in none of them is unknown, and
ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import msgspec


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of one endpoint's body.

    `later` are refused by name with 400, except for values that ask for nothing: the empty ones, and those listed.
    `ignored` says for each field why leaving it aside is harmless. All others of `body` are honoured; `notes` says what
    a type doesn't. A field of a nested struct goes by its path, as in `messages[].content`.
    """

    body: type[msgspec.Struct]
    later: Mapping[str, tuple[object, ...]] = field(default_factory=dict)
    ignored: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)

    @property
    def honoured(self) -> tuple[str, ...]:
        """Names as on the wire, in the struct's order."""
        names = (each.encode_name for each in msgspec.structs.fields(self.body))
        return tuple(name for name in names if name not in self.later)


MediaType: TypeAlias = Literal["application/x-ndjson", "text/event-stream"]


@dataclass(frozen=True, slots=True)
class Answers:
    """What one path answers with success: `whole` is the type of its JSON (a tuple for one of several), a media type
    for what isn't JSON, or None for an empty body; `event` is the type of each line or event where it streams;
    `status` the codes, the usual one first."""

    whole: Any = None
    event: Any = None
    status: tuple[int, ...] = (200,)


@dataclass(frozen=True, slots=True)
class Dialect:
    """All that is said of a dialect's endpoints. `streams` is how it streams, `aliases` are other paths of the same
    endpoints, `error` is the JSON of every failure."""

    name: str
    title: str
    error: type[msgspec.Struct]
    fields: Mapping[str, Fields] = field(default_factory=dict)
    answers: Mapping[str, Answers] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    streams: MediaType = "text/event-stream"

    def owns(self, path: str) -> bool:
        """Whether the path is one of this dialect's."""
        own = self.aliases.get(path, path)
        return own in self.fields or own in self.answers
