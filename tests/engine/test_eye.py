"""What the eye remembers, with a projector that only counts."""

from __future__ import annotations

from typing import Any, Self, cast

import numpy as np
import pytest

from runner.engine.eye import Eye, Parts
from runner.engine.pictures import Picture
from runner.errors import InvalidRequest
from runner.llama.vision import Embedding, Tile, Vision
from tests.engine.vision_models import png

COUNT, WIDTH = 10, 4


class Projector:
    """One tile in markers. An embedding says which one it is."""

    is_whole = False

    def __init__(self) -> None:
        self.opened = self.closed = self.embedded = 0
        self.is_blind = False

    def open(self, data: bytes) -> Projector | None:
        self.opened += 1
        return None if self.is_blind else self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed += 1

    def parts(self) -> list[list[int] | Tile]:
        return [[1, 2], Tile(1, COUNT, COUNT), [3]]

    def embed(self, tile: Tile) -> Embedding:
        self.embedded += 1
        return np.full((COUNT, WIDTH), self.embedded, np.float32)


def eye(limit: int = 1 << 20) -> tuple[Eye, Projector]:
    projector = Projector()
    return Eye(cast("Vision", cast("Any", projector)), limit), projector


def picture(parts: Parts) -> Picture:
    before, found, after = parts
    assert (before, after) == ((1, 2), (3,))
    assert isinstance(found, Picture)
    return found


def test_an_image_is_embedded_once() -> None:
    looking, projector = eye()
    first = picture(looking.see(png(1), "a"))
    assert picture(looking.see(png(1), "b")) is first
    assert picture(looking.see(png(2), "a")).ids != first.ids
    assert projector.embedded == 2
    assert projector.opened == projector.closed


def test_measuring_embeds_nothing_and_tells_the_same_numbers() -> None:
    looking, projector = eye()
    measured = picture(looking.measure(png(1), "a"))
    assert measured.embedding is None
    assert projector.embedded == 0
    seen = picture(looking.see(png(1), "a"))
    assert seen.ids == measured.ids
    assert seen.embedding is not None
    assert picture(looking.measure(png(1), "a")) is seen


def test_no_more_is_remembered_than_the_limit_and_what_was_used_last_stays() -> None:
    looking, projector = eye()
    looking.see(png(1), "a")
    each = looking.nbytes
    looking, projector = eye(3 * each)
    for seed in (1, 2, 3, 1, 4):
        looking.see(png(seed), "a")
        assert looking.nbytes <= 3 * each
    assert projector.embedded == 4
    looking.see(png(1), "a")  # used after 2, which has gone
    assert projector.embedded == 4
    looking.see(png(2), "a")
    assert projector.embedded == 5


def test_an_image_larger_than_the_limit_is_still_seen() -> None:
    looking, _ = eye(1)
    assert picture(looking.see(png(1), "a")).embedding is not None
    assert picture(looking.see(png(2), "a")).embedding is not None


def test_what_cannot_be_decoded_is_named() -> None:
    looking, projector = eye()
    projector.is_blind = True
    with pytest.raises(InvalidRequest, match="cannot be decoded") as caught:
        looking.see(png(1), "images[3]")
    assert caught.value.field == "images[3]"
