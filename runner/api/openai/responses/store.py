"""Answers that are kept for the next request to go on from: in memory, the longest unused forgotten first.

Owns them, and counts their bytes. Knows no shape of what it keeps, and nothing of it outlives the daemon.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """One item as JSON. Conversations that go on from each other share the same ones."""

    id: str
    json: bytes


@dataclass(frozen=True, slots=True)
class Record:
    """A response as JSON, the items that it was the answer to, from the conversation's begin, and its own."""

    response: bytes
    asked: tuple[Kept, ...]
    output: tuple[Kept, ...]

    @property
    def conversation(self) -> tuple[Kept, ...]:
        """All that was said, the answer included."""
        return self.asked + self.output


class ResponseStore:
    """At most `most` responses in at most `most_bytes`; 0 of either keeps none. Belongs to the server's event loop."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._records: OrderedDict[str, Record] = OrderedDict()
        self._holders: Counter[Kept] = Counter()
        self._items: dict[str, Kept] = {}
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._records)

    @property
    def is_on(self) -> bool:
        """Whether anything is kept at all."""
        return self._most > 0 and self._most_bytes > 0

    def keep(self, response: str, record: Record) -> None:
        """Keep a response under its id, and forget others for it. One that is larger than all room isn't kept."""
        self.drop(response)
        self._records[response] = record
        self.bytes += len(record.response)
        for item in record.conversation:
            if not self._holders[item]:
                self.bytes += len(item.json)
                self._items[item.id] = item
            self._holders[item] += 1
        self._make_room()

    def resize(self, most: int, most_bytes: int) -> None:
        """Other limits; what is over them is forgotten."""
        self._most, self._most_bytes = most, most_bytes
        self._make_room()

    def _make_room(self) -> None:
        while self._records and (len(self._records) > self._most or self.bytes > self._most_bytes):
            self.drop(next(iter(self._records)))

    def find(self, response: str) -> Record | None:
        """The record under this id, which counts as a use of it."""
        record = self._records.get(response)
        if record is not None:
            self._records.move_to_end(response)
        return record

    def item(self, id: str) -> Kept | None:  # noqa: A002 - what the wire calls it
        """An item of some response that is kept."""
        return self._items.get(id)

    def drop(self, response: str) -> bool:
        """Forget a response, and the items that no other one holds. False if it isn't there."""
        record = self._records.pop(response, None)
        if record is None:
            return False
        self.bytes -= len(record.response)
        for item in record.conversation:
            self._holders[item] -= 1
            if not self._holders[item]:
                del self._holders[item]
                self.bytes -= len(item.json)
                if self._items.get(item.id) is item:
                    del self._items[item.id]
        return True
