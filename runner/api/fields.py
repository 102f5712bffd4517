"""What becomes of each request field: honoured, refused by name, or ignored and listed.

One `Fields` value per endpoint, beside its wire struct in each dialect. The docs are generated from these tables, and
tests hold them to the code. A field in none of them is unknown, and ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of one endpoint's body.

    `later` are refused by name with 400, except for values that ask for nothing: the empty ones, and those listed.
    `ignored` says for each field why leaving it aside is harmless. All others of `body` are honoured.
    """

    body: type[msgspec.Struct]
    later: Mapping[str, tuple[object, ...]] = field(default_factory=dict)
    ignored: Mapping[str, str] = field(default_factory=dict)

    @property
    def honoured(self) -> tuple[str, ...]:
        """Names as on the wire, in the struct's order."""
        names = (each.encode_name for each in msgspec.structs.fields(self.body))
        return tuple(name for name in names if name not in self.later)
