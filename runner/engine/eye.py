"""From an image file to pictures: decoded, cut up and embedded, each image once as long as it is remembered.

One thread looks, one image at a time, and the loop goes on meanwhile. What was embedded is kept in RAM by the image's
content, up to a limit.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import replace

from runner.engine.pictures import Picture, ids_of
from runner.errors import InvalidRequest
from runner.llama.vision import Opened, Tile, Vision
from runner.protocol.image_file import check_body

LIMIT = 256 * 2**20  # bytes of embeddings: an image of 256 to 1,000 tokens takes 1 to 16 MB

Part = tuple[int, ...] | Picture
Parts = tuple[Part, ...]
"""What stands for an image in a prompt: tokens of text that the model wants around it, and pictures."""


class Eye:
    """Looks at images with a projector, and remembers `limit` bytes of what it saw. For one thread."""

    def __init__(self, vision: Vision, limit: int = LIMIT) -> None:
        self._vision = vision
        self._limit = limit
        self._seen: OrderedDict[bytes, Parts] = OrderedDict()  # by content, what was used last at the end
        self.nbytes = 0  # of what is remembered
        self.encoded = 0  # tiles, so far

    def measure(self, data: bytes, field: str) -> Parts:
        """What stands for an image, embedded only if that is remembered. Raises InvalidRequest naming `field`."""
        content = hashlib.sha256(data).digest()
        if content in self._seen:
            self._seen.move_to_end(content)
            return self._seen[content]
        with self._open(data, field) as opened:
            parts = self._parts(opened, content)
        self._remember(content, parts)
        return parts

    def see(self, data: bytes, field: str) -> Parts:
        """What stands for an image, embedded. Raises InvalidRequest naming `field`, or RunnerError."""
        content = hashlib.sha256(data).digest()
        known = self._seen.get(content)
        if known is not None and all(isinstance(part, tuple) or part.embedding is not None for part in known):
            self._seen.move_to_end(content)
            return known
        with self._open(data, field) as opened:
            parts = self._parts(opened, content) if known is None else known  # numbers once told out stay
            parts = tuple(self._embedded(opened, *each) for each in zip(opened.parts(), parts, strict=True))
        self._remember(content, parts)
        return parts

    def close(self) -> None:
        """Free the projector."""
        self._vision.close()

    def _open(self, data: bytes, field: str) -> Opened:
        check_body(data, field)
        opened = self._vision.open(data)
        if opened is None:
            raise InvalidRequest(f"{field} cannot be decoded: the image is damaged", field=field)
        return opened

    def _parts(self, opened: Opened, content: bytes) -> Parts:
        return tuple(self._picture(part, content) if isinstance(part, Tile) else tuple(part) for part in opened.parts())

    def _picture(self, tile: Tile, content: bytes) -> Picture:
        ids = ids_of(content, tile.index, tile.count, tile.positions)
        return Picture(ids, tile.positions, self._vision.is_whole, tile.places, tile.moves)

    def _embedded(self, opened: Opened, tile: list[int] | Tile, part: Part) -> Part:
        if not isinstance(tile, Tile) or not isinstance(part, Picture):
            return part
        self.encoded += 1
        return replace(part, embedding=opened.embed(tile))

    def _remember(self, content: bytes, parts: Parts) -> None:
        """The latest stays, and of the others those used last, as far as the limit allows."""
        self.nbytes += _nbytes(parts) - _nbytes(self._seen.pop(content, ()))
        self._seen[content] = parts
        while self.nbytes > self._limit and len(self._seen) > 1:
            _, gone = self._seen.popitem(last=False)
            self.nbytes -= _nbytes(gone)


def _nbytes(parts: Parts) -> int:
    return sum(part.nbytes for part in parts if isinstance(part, Picture))
