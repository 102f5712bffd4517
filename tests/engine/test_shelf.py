"""The shelf of saved states against a list: what is found, what stays and what goes."""

from __future__ import annotations

from array import array

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.engine.shelf import FILES, Saved, Shelf


def state(tokens: list[int], size: int = 100) -> Saved:
    return Saved(array("i", tokens), np.zeros(size, np.uint8))


def make(limit: int = 10_000, *, cuttable: bool = True) -> tuple[Shelf, list[Saved]]:
    spilled: list[Saved] = []
    return Shelf(limit, spilled.append, cuttable=cuttable), spilled


def test_a_state_serves_for_every_beginning() -> None:
    shelf, _ = make()
    saved = state([1, 2, 3, 4])
    shelf.put(saved)
    assert shelf.find([1, 2, 3, 9]) == (3, saved, 3)
    assert shelf.find([1, 2, 3]) == (2, saved, 3)  # one is left to compute
    assert shelf.find([1, 2, 3, 4, 5], 1) == (1, saved, 4)
    assert shelf.find([9]) == (0, None, 0)


def test_one_that_cannot_be_cut_serves_for_all_its_tokens_only() -> None:
    shelf, _ = make(cuttable=False)
    short, long = state([1, 2]), state([1, 2, 3, 4])
    shelf.put(long)
    shelf.put(short)
    assert shelf.find([1, 2, 3, 9]) == (2, short, 3)
    assert shelf.find([1, 2, 3, 4, 5]) == (4, long, 4)
    assert shelf.find([1, 2, 3, 4]) == (2, short, 4)
    assert (shelf.has([1, 2, 3]), shelf.has([1, 2])) == (False, True)


def test_a_longer_state_takes_the_place_of_what_it_serves_for() -> None:
    shelf, _ = make()
    short, long = state([1, 2]), state([1, 2, 3])
    shelf.put(short)
    shelf.put(long)
    assert shelf.find([1, 2, 9]) == (2, long, 2)
    assert shelf.nbytes == long.nbytes
    assert shelf.has([1, 2])


def test_what_was_used_last_stays_and_the_rest_is_spilled() -> None:
    shelf, spilled = make(330)
    one, two, three, four = (state([token]) for token in range(4))
    for saved in (one, two, three):
        shelf.put(saved)
    shelf.touch(one)
    shelf.put(four)
    assert spilled == [two]
    assert shelf.find([1, 5]) == (0, None, 0)
    assert [shelf.find([token, 5])[1] for token in (0, 2, 3)] == [one, three, four]
    assert shelf.unfiled() == [four, one, three]


def test_what_is_in_a_file_leaves_its_bytes_and_is_still_known() -> None:
    shelf, spilled = make(250)
    filed = Saved(array("i", [1, 2]), None, "file")
    shelf.know(filed)
    assert shelf.find([1, 2, 3]) == (2, filed, 2)
    filed.data = np.zeros(100, np.uint8)
    shelf.put(filed)
    assert shelf.unfiled() == []
    shelf.put(state([5]))
    shelf.put(state([6]))
    assert spilled == []
    assert filed.data is None
    assert shelf.find([1, 2, 3]) == (2, filed, 2)


def test_one_in_ram_is_preferred() -> None:
    shelf, _ = make()
    filed, here = Saved(array("i", [1, 2, 3]), None, "file"), state([1, 2, 3, 4, 5])
    shelf.know(filed)
    shelf.put(here)
    assert shelf.find([1, 2, 3, 9]) == (3, here, 3)


def test_without_ram_all_of_it_is_spilled() -> None:
    shelf, spilled = make(0)
    saved = state([1])
    shelf.put(saved)
    assert spilled == [saved]
    assert shelf.nbytes == 0


def test_only_so_many_files_are_known_of() -> None:
    shelf, _ = make()
    for number in range(FILES + 5):
        shelf.know(Saved(array("i", [number]), None, str(number)))
    assert shelf.find([4, 0])[0] == 0
    assert shelf.find([5, 0])[0] == 1


@pytest.mark.parametrize("cuttable", [True, False])
@given(
    limit=st.integers(0, 2000),
    calls=st.lists(st.tuples(st.lists(st.integers(0, 2), min_size=1, max_size=6), st.integers(0, 400))),
)
def test_the_limit_is_kept_and_what_is_found_is_there(
    cuttable: bool, limit: int, calls: list[tuple[list[int], int]]
) -> None:
    shelf, spilled = make(limit, cuttable=cuttable)
    for tokens, size in calls:
        if not shelf.has(tokens):
            shelf.put(state(tokens, size))
        assert shelf.nbytes <= limit
        assert shelf.nbytes == sum(saved.nbytes for saved in shelf.unfiled())
        for saved in shelf.unfiled():
            wanted = [*saved.tokens, 7]
            length, found, _ = shelf.find(wanted)
            assert length == len(saved.tokens)
            assert found is not None
            assert found.data is not None
            assert list(found.tokens[:length]) == wanted[:length]
        assert not set(shelf.unfiled()) & set(spilled)
