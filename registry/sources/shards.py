"""Models in several files: what the shards of one are called. Pure."""

from __future__ import annotations

import re

from registry.errors import BadSource

SHARD = re.compile(r"(?P<stem>.+)-(?P<index>[0-9]{5})-of-(?P<count>[0-9]{5})\.gguf", re.IGNORECASE)
"""A file that is one of several."""

_MOST = 1024


def shards_of(name: str) -> tuple[str, ...]:
    """The names of all shards of a file that is one of several, in order; the name alone for any other."""
    found = SHARD.fullmatch(name)
    if found is None:
        return (name,)
    count = int(found["count"])
    if not 1 <= int(found["index"]) <= count <= _MOST:
        raise BadSource(f"{name}: shard {int(found['index'])} of {count} makes no sense")
    extension = name[-5:]
    return tuple(f"{found['stem']}-{index:05}-of-{found['count']}{extension}" for index in range(1, count + 1))
