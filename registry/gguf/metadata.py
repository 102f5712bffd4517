"""Typed access to a header's metadata: the value, nothing, or an error that names the key.

Knows the shapes of values, not the meaning of keys.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from registry.errors import BadGGUF
from registry.gguf.arrays import Array
from registry.gguf.format import STRING, VALUE_NAMES
from registry.gguf.reader import Header, Value

_MOST = 2**31 - 1
"""No count in a header is larger; native code keeps them in 32 bits."""


class Metadata:
    """Reads keys of one header. A leading dot stands for the architecture: `.block_count`."""

    def __init__(self, header: Header) -> None:
        self._values: Mapping[str, Value] = header.metadata
        self._types = header.types
        self.architecture = ""
        architecture = self.text("general.architecture")
        if not architecture:
            raise BadGGUF("general.architecture is missing")
        self.architecture = architecture

    def has(self, key: str) -> bool:
        """Whether the key is there."""
        return self._key(key) in self._values

    def text(self, key: str) -> str | None:
        """A text."""
        value = self._values.get(self._key(key))
        if value is None or isinstance(value, str):
            return value
        raise self._wrong(key, "a string")

    def flag(self, key: str) -> bool | None:
        """True or false."""
        value = self._values.get(self._key(key))
        if value is None or isinstance(value, bool):
            return value
        raise self._wrong(key, "a bool")

    def count(self, key: str) -> int | None:
        """A whole number that isn't negative, of any width."""
        value = self._values.get(self._key(key))
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._wrong(key, "a whole number")
        return self._bounded(key, value)

    def required_count(self, key: str) -> int:
        """As `count`, and at least 1."""
        value = self.count(key)
        if value is None:
            raise BadGGUF(f"{self._key(key)} is missing")
        if value < 1:
            raise BadGGUF(f"{self._key(key)} must be at least 1")
        return value

    def number(self, key: str) -> float | int | None:
        """A finite number."""
        value = self._values.get(self._key(key))
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self._wrong(key, "a finite number")
        return value

    def counts(self, key: str, length: int) -> tuple[int, ...] | None:
        """A number for all layers, or an array of exactly `length` of them."""
        value = self._values.get(self._key(key))
        if not isinstance(value, Array):
            single = self.count(key)
            return None if single is None else (single,) * length
        if value.kind == STRING or len(value) != length:
            raise BadGGUF(f"{self._key(key)} must be a number or {length} of them, one per layer")
        return tuple(self._bounded(key, each) for each in value.numbers())

    def flags(self, key: str, length: int) -> tuple[bool, ...] | None:
        """An array with a mark for each layer, if the key holds one. Longer is fine: some writers pad."""
        value = self._values.get(self._key(key))
        if not isinstance(value, Array):
            return None
        if value.kind == STRING or len(value) < length:
            raise BadGGUF(f"{self._key(key)} must hold {length} marks, one per layer")
        return tuple(bool(each) for each in value.numbers(length))

    def array(self, key: str) -> Array | None:
        """An array as it is."""
        value = self._values.get(self._key(key))
        if value is None or isinstance(value, Array):
            return value
        raise self._wrong(key, "an array")

    def starting_with(self, prefix: str) -> dict[str, Value]:
        """All keys with a prefix, which is cut off."""
        return {key[len(prefix) :]: each for key, each in self._values.items() if key.startswith(prefix)}

    def _key(self, key: str) -> str:
        return self.architecture + key if key.startswith(".") else key

    def _bounded(self, key: str, value: float) -> int:
        if not 0 <= value <= _MOST or value != int(value):
            raise BadGGUF(f"{self._key(key)} is {value}; whole numbers from 0 to {_MOST} are allowed")
        return int(value)

    def _wrong(self, key: str, wanted: str) -> BadGGUF:
        key = self._key(key)
        return BadGGUF(f"{key} must be {wanted}, not {VALUE_NAMES[self._types[key]]}")
