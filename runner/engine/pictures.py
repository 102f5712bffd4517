"""Images among tokens: numbers that stand for their embeddings, and where these stand.

Each embedding of a picture has a number of its own below zero, made of the image's content. So a prompt remains a
sequence of numbers, and its beginning is found again where the same image stands in the same place. Pure.
"""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from runner.llama.vision import Embedding, Places

_FIRST = 1 << 30  # marks the first number of a picture, which holds its positions besides a few bits of the content's
_HASHED = 14  # of these; every further number has 30
_POSITIONS = 0xFFFF
_TELLING = 6  # numbers that can't be those of two images by chance, nor on purpose


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """An image, or a tile of one, as a prompt holds it: `ids` stand for its embeddings, which take `positions`.

    `embedding` is None until it is computed. `places` and `moves` are a `Tile`'s. A picture that is `whole` has to be
    computed in one piece: its embeddings see each other, not only those before them.
    """

    ids: tuple[int, ...]
    positions: int
    is_whole: bool
    places: Places | None
    moves: Places | None
    embedding: Embedding | None = None

    @property
    def nbytes(self) -> int:
        """Bytes in RAM, about."""
        held = [each.nbytes for each in (self.embedding, self.places) if each is not None]
        return sum(held) + 32 * len(self.ids)

    @property
    def is_numbered(self) -> bool:
        """Whether its place depends on how many images stand before it, which is not followed here."""
        return self.moves is not None and bool((self.moves[0] != self.moves[1]).any())

    def rows(self, first: int, count: int, start: int) -> tuple[Embedding, Places]:
        """Embeddings, and their positions if the picture stands at position `start`: `count`, from the one `first`."""
        assert self.embedding is not None
        span = slice(first, first + count)
        if self.places is None or self.moves is None:
            return self.embedding[span], np.arange(start + first, start + first + count, dtype=np.int32)[None]
        return self.embedding[span], self.places[:, span] + start * self.moves[:, span]


@dataclass(frozen=True, slots=True)
class Pictures:
    """Those of one prompt, each with where it begins among the tokens, in order."""

    placed: tuple[tuple[int, Picture], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.placed)

    def at(self, index: int) -> tuple[int, Picture] | None:
        """The picture that this token belongs to, with its beginning."""
        return next((each for each in self.placed if each[0] <= index < each[0] + len(each[1].ids)), None)

    def before_next(self, index: int, count: int) -> int:
        """How many of `count` tokens from `index` on, which is none of a picture's, come before the next picture."""
        return min([count, *[start - index for start, _ in self.placed if start > index]])

    def position(self, index: int) -> int:
        """Where in the model's count of positions this token stands, the first of a picture or none of one."""
        return index - sum(len(picture.ids) - picture.positions for start, picture in self.placed if start < index)


def ids_of(content: bytes, part: int, count: int, positions: int) -> tuple[int, ...]:
    """Numbers for the `count` embeddings of one part of an image. Raises ValueError where positions are too many."""
    if positions > _POSITIONS:
        raise ValueError(f"{positions} positions")
    seed = content + part.to_bytes(4, "little")
    if count < _TELLING:  # another image could have the same
        seed += os.urandom(16)
    drawn = np.frombuffer(hashlib.shake_128(seed).digest(4 * count), "<u4").astype(np.int64) % _FIRST
    drawn[0] = _FIRST | positions << _HASHED | int(drawn[0]) % (1 << _HASHED)
    return tuple((-1 - drawn).tolist())


def is_inside(tokens: Sequence[int], index: int) -> bool:
    """Whether a cut before this token would go through a picture."""
    return index < len(tokens) and tokens[index] < 0 and not -1 - tokens[index] & _FIRST


def whole(tokens: Sequence[int], length: int) -> int:
    """So many of the first tokens, or fewer: as far as no picture is cut."""
    while length > 0 and is_inside(tokens, length):
        length -= 1
    return length


def position(tokens: array[int], index: int) -> int:
    """`Pictures.position` from the numbers alone."""
    numbers: npt.NDArray[np.int32] = np.frombuffer(tokens, np.int32)[:index]
    below = ~numbers[numbers < 0]
    if not below.size:
        return index
    first = below[below & _FIRST != 0]
    return index - int(below.size) + int((first >> _HASHED & _POSITIONS).sum())
