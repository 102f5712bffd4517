"""An array of a GGUF header, decoded only when it is looked into.

A vocabulary has several hundred thousand texts that almost nobody asks for. Holds a view of the header's
bytes; its bounds were checked by the reader.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterator, Sequence
from typing import overload

from registry.gguf.format import BOOL, SCALARS, STRING

Item = int | float | bool | str

_LENGTH = struct.Struct("<Q")


class Array(Sequence[Item]):
    """`kind` is the items' value type, `longest` the bytes of the longest text (0 for numbers)."""

    __slots__ = ("_count", "_data", "_end", "_items", "_start", "kind", "longest")

    def __init__(self, kind: int, count: int, data: bytes | bytearray, start: int, end: int, longest: int = 0) -> None:
        self.kind = kind
        self.longest = longest
        self._count = count
        self._data = data
        self._start = start
        self._end = end
        self._items: list[Item] | None = None

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        if self._items is None:
            self._items = list(self)
        return self._items[index]

    def __iter__(self) -> Iterator[Item]:
        if self._items is not None:
            yield from self._items
        elif self.kind == STRING:
            yield from self._texts()
        else:
            yield from self.numbers()

    def numbers(self, most: int | None = None) -> Sequence[int | float | bool]:
        """The items of an array of numbers (the first `most` of them), packed; booleans as such."""
        packed = array(SCALARS[self.kind])
        end = self._end if most is None else min(self._end, self._start + most * packed.itemsize)
        packed.frombytes(memoryview(self._data)[self._start : end])
        if sys.byteorder == "big":
            packed.byteswap()
        return [bool(each) for each in packed] if self.kind == BOOL else packed

    def has_text(self, text: str) -> bool:
        """Whether a text occurs as an item; a search over bytes, so it costs no decoding."""
        encoded = text.encode()
        # An item is its length and its bytes: searching for both can't hit inside a longer item's text
        # unless that text carries NULs where a length has them.
        return self._data.find(_LENGTH.pack(len(encoded)) + encoded, self._start, self._end) >= 0

    def texts_at(self, wanted: Sequence[int]) -> dict[int, bytes]:
        """The raw bytes of a few items of an array of texts, walking no further than the last."""
        found: dict[int, bytes] = {}
        unpack, data, at, position = _LENGTH.unpack_from, self._data, self._start, 0
        for index in sorted(set(wanted)):
            for _ in range(index - position):
                at += 8 + unpack(data, at)[0]
            (length,) = unpack(data, at)
            found[index] = bytes(data[at + 8 : at + 8 + length])
            at, position = at + 8 + length, index + 1
        return found

    def _texts(self) -> Iterator[str]:
        at = self._start
        for _ in range(self._count):
            (length,) = _LENGTH.unpack_from(self._data, at)
            at += 8
            yield self._data[at : at + length].decode("utf-8", "replace")
            at += length
