"""What the first bytes of a GGUF tell before its header is whole: the architecture, and how far the header will go.

For headers on their way over a network. Believes nothing: what looks odd ends the walk, and the reader of whole headers
says what is wrong. Knows no network.
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass

from registry.errors import UnsupportedModel
from registry.gguf import architectures as known
from registry.gguf import format as gguf

_KEY_LIMIT = 256
_TENSOR = 96  # bytes of a tensor's entry, its name being of the usual length
_REST = 96 << 10  # what follows the vocabulary: a chat template and short keys
_PER_TOKEN = 8  # bytes of a token's score and type
_PER_MERGE = 21  # bytes of a merge, of which a vocabulary that has any has one per token or more
_LONGER = 2  # bytes by which tokens are longer than those at the beginning of their list
_SPARE = 1.06
_MERGED = "gpt2"  # the kind of vocabulary that comes with merges
_MODELS = ("", "model")


@dataclass(frozen=True, slots=True)
class Peek:
    """`architecture` and `kind` (general.type) are empty while unknown; `goal` is how many bytes the header may have.

    `goal` is a guess from what has been seen, and more than there is at hand.
    """

    architecture: str
    kind: str
    goal: int


def peek(data: bytes | bytearray) -> Peek:
    """Look at the beginning of a GGUF, however much of it there is. Raises nothing."""
    walk = _Walk(data)
    with suppress(struct.error, OverflowError, _Odd):
        walk.go()
    architecture, kind = walk.texts.get("general.architecture", ""), walk.texts.get("general.type", "")
    return Peek(architecture, kind, max(walk.goal(), len(data) + (len(data) >> 1), 1))


def require_known(seen: Peek, allowed: Collection[str] = known.ARCHITECTURES) -> None:
    """Raise UnsupportedModel for a model that the engine doesn't know, as soon as that can be told."""
    if seen.architecture and seen.kind in _MODELS and seen.architecture not in (*allowed, "clip"):
        raise unknown(seen.architecture)


def unknown(architecture: str) -> UnsupportedModel:
    """What to raise for an architecture that the engine doesn't know."""
    return UnsupportedModel(
        f"architecture {architecture[:64]!r} isn't known to {known.ENGINE}; a newer Runner may run it",
        architecture[:64],
    )


class _Odd(Exception):
    """Not what a GGUF has here."""


class _Walk:
    """One walk over the keys, for as long as there are bytes."""

    def __init__(self, data: bytes | bytearray) -> None:
        self._data = data
        self._at = 0
        self._tensors = 0
        self.texts: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        self._short: tuple[str, int, int] | None = None  # key, where its items begin, how many were passed

    def go(self) -> None:
        data = self._data
        if bytes(data[:4]) != gguf.MAGIC:
            raise _Odd
        self._at = 8
        self._tensors, keys = self._u64(), self._u64()
        for _ in range(keys):
            key = self._text(_KEY_LIMIT)
            kind = self._u32()
            if kind == gguf.ARRAY:
                self._array(key)
            elif kind == gguf.STRING:
                self.texts[key] = self._text(len(data))
            elif kind in gguf.SCALARS:
                self._at += struct.calcsize("<" + gguf.SCALARS[kind])
            else:
                raise _Odd

    def goal(self) -> int:
        """Bytes of the whole header, as far as that can be guessed; 0 where it can't."""
        if not self._tensors:
            return 0
        rest = _REST + _TENSOR * self._tensors
        tokens = self._counts.get("tokenizer.ggml.tokens", 0)
        if self._short is None:
            end = self._at
        else:
            key, start, passed = self._short
            end = start + int(self._counts[key] * max((len(self._data) - start) / max(passed, 1), 9.0))
            if key == "tokenizer.ggml.tokens":
                end += tokens * (_LONGER + _PER_TOKEN)
        if self.texts.get("tokenizer.ggml.model") == _MERGED and "tokenizer.ggml.merges" not in self._counts:
            end += tokens * _PER_MERGE
        return int((end + rest) * _SPARE)

    def _array(self, key: str) -> None:
        kind, count = self._u32(), self._u64()
        self._counts[key] = count
        if kind != gguf.STRING:
            if kind not in gguf.SCALARS:
                raise _Odd
            self._at += count * struct.calcsize("<" + gguf.SCALARS[kind])
            return
        start, at, unpack, data = self._at, self._at, struct.unpack_from, self._data
        for index in range(count):
            if at + 8 > len(data):
                self._short = (key, start, index)
                raise _Odd
            at += 8 + unpack("<Q", data, at)[0]
        self._at = at

    def _u32(self) -> int:
        self._at += 4
        return int(struct.unpack_from("<I", self._data, self._at - 4)[0])

    def _u64(self) -> int:
        self._at += 8
        return int(struct.unpack_from("<Q", self._data, self._at - 8)[0])

    def _text(self, limit: int) -> str:
        length = self._u64()
        if length > limit:
            raise _Odd
        self._at += length
        if self._at > len(self._data):
            raise _Odd
        return bytes(self._data[self._at - length : self._at]).decode("utf-8", "replace")
