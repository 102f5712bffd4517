"""The numbers that stand for images among tokens: where pictures begin and end, and which positions they take."""

from __future__ import annotations

from array import array

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from runner.engine.pictures import Picture, Pictures, ids_of, is_inside, position, whole
from runner.engine.prefixes import Prefixes


def picture(content: bytes, count: int, positions: int) -> Picture:
    return Picture(ids_of(content, 0, count, positions), positions, False, None, None)


parts = st.lists(
    st.one_of(
        st.lists(st.integers(0, 1000), min_size=1, max_size=5),
        st.builds(picture, st.binary(min_size=1, max_size=4), st.integers(1, 30), st.integers(1, 30)),
    ),
    max_size=8,
)


def laid_out(made: list[list[int] | Picture]) -> tuple[list[int], Pictures]:
    tokens: list[int] = []
    placed: list[tuple[int, Picture]] = []
    for part in made:
        if isinstance(part, Picture):
            placed.append((len(tokens), part))
            tokens += part.ids
        else:
            tokens += part
    return tokens, Pictures(tuple(placed))


@given(parts)
def test_numbers_alone_tell_what_the_pictures_tell(made: list[list[int] | Picture]) -> None:
    tokens, pictures = laid_out(made)
    for index in range(len(tokens) + 1):
        found = pictures.at(index)
        assert is_inside(tokens, index) == (found is not None and found[0] < index)
        cut = whole(tokens, index)
        assert cut == (found[0] if found is not None else index)
        assert position(array("i", tokens), cut) == pictures.position(cut)
    for index in range(len(tokens)):
        if pictures.at(index) is None:
            ahead = pictures.before_next(index, len(tokens) - index)
            assert all(pictures.at(index + step) is None for step in range(ahead))
            assert index + ahead == len(tokens) or pictures.at(index + ahead) is not None


@given(st.binary(min_size=1), st.binary(min_size=1), st.integers(6, 40), st.integers(1, 0xFFFF))
def test_the_same_content_has_the_same_numbers_and_no_other(one: bytes, other: bytes, count: int, places: int) -> None:
    ids = ids_of(one, 0, count, places)
    assert ids == ids_of(one, 0, count, places)
    assert all(-(2**31) <= each < 0 for each in ids)
    assert ids != ids_of(one, 1, count, places)
    if one != other:
        assert ids != ids_of(other, 0, count, places)


def test_a_few_numbers_could_be_another_images_and_are_never_the_same() -> None:
    assert ids_of(b"x", 0, 4, 4) != ids_of(b"x", 0, 4, 4)


def test_another_image_with_the_same_first_number_shares_nothing() -> None:
    """The beginnings of two prompts end where their images begin, however far the numbers agree."""
    one = picture(b"one", 8, 8).ids
    other = (*one[:7], one[7] ^ 1)
    prefixes: Prefixes[int] = Prefixes()
    prefixes.add(1, [5, 6, 7, *one])
    prompt = [5, 6, 7, *other, 9]
    assert prefixes.match(prompt).length == 10
    assert whole(prompt, prefixes.match(prompt).length) == 3


def test_on_a_grid_rows_stand_where_the_picture_does() -> None:
    places = np.array([[0, 0, 0, 0], [0, 0, 1, 1], [0, 1, 0, 1], [0, 0, 0, 0]], np.int32)
    moves = np.array([[1] * 4, [1] * 4, [1] * 4, [0] * 4], np.int32)
    embedding = np.arange(8, dtype=np.float32).reshape(4, 2)
    seen = Picture(ids_of(b"x", 0, 4, 2), 2, False, places, moves, embedding)
    rows, at = seen.rows(1, 2, 10)
    assert rows.tolist() == [[2, 3], [4, 5]]
    assert at.tolist() == [[10, 10], [10, 11], [11, 10], [0, 0]]
    assert not seen.is_numbered
