"""Request fields that are in no table: ignored, and counted, so that one sees what clients ask for in vain.

Looks at the topmost fields of bodies up to a size. The labels are bounded, so a stranger's fields cost no memory.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

import msgspec
from aiohttp import web

from runner.api.fields import Dialect

_LONGEST = 256 * 1024  # bytes; a look at so many takes a tenth of a millisecond
_MOST = 256  # pairs of path and field that are told apart
_OTHER = "other"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,39}")


class Unknown:
    """Belongs to the server's event loop. `counts` is by path and field."""

    def __init__(self, dialects: Iterable[Dialect]) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self._decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
        self._known: dict[type[msgspec.Struct], frozenset[str]] = {}
        for fields in (fields for dialect in dialects for fields in dialect.fields.values()):
            known = {each.encode_name for each in msgspec.structs.fields(fields.body)}
            self._known[fields.body] = self._known.get(fields.body, frozenset()) | known | fields.ignored.keys()

    def look(self, path: str, body: bytes, shape: type[msgspec.Struct]) -> None:
        """Count what `shape` doesn't have of a body that was decoded as such before. `path` is a route's pattern."""
        known = self._known.get(shape)
        if known is None or len(body) > _LONGEST:
            return
        try:
            names = self._decoder.decode(body).keys() - known
        except (msgspec.DecodeError, UnicodeDecodeError):  # a request that was read must not fail for being counted
            return
        for name in names:
            pair = path, name if _NAME.fullmatch(name) else _OTHER
            self.counts[pair if pair in self.counts or len(self.counts) < _MOST else (path, _OTHER)] += 1


UNKNOWN = web.AppKey("unknown", Unknown)
