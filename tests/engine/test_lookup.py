"""Drafts from the text itself."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runner.engine.lookup import REACH, SPAN, Lookup


def drafted(tokens: list[int], most: int = 8, prompt: int = 0) -> list[int]:
    """What a text ends in whose first `prompt` tokens are known before."""
    return Lookup(tokens[:prompt]).draft(tokens, most)


def test_what_followed_before_is_drafted() -> None:
    text = [1, 2, 3, 4, 5, 6, 9, 1, 2, 3]
    assert drafted(text, 3) == [4, 5, 6]
    assert drafted(text, 1) == [4]
    assert drafted(text, 0) == []


def test_what_never_stood_there_brings_nothing() -> None:
    assert drafted([1, 2, 3, 4, 5, 6]) == []
    assert drafted([7, 2, 3, 4, 8, 2, 3]) == []  # two tokens alike are chance


def test_a_text_too_short_for_any_match() -> None:
    for size in range(SPAN + 1):
        assert drafted([5] * size) == []


def test_the_latest_of_several_places_counts() -> None:
    assert drafted([1, 2, 3, 7, 0, 1, 2, 3, 8, 0, 1, 2, 3], 1) == [8]


def test_a_circle_is_gone_round_as_often_as_wanted() -> None:
    assert drafted([1, 2, 3, 1, 2, 3], 7) == [1, 2, 3, 1, 2, 3, 1]
    assert drafted([4] * 5, 6) == [4] * 6


def test_the_answer_comes_before_the_prompt_and_both_count() -> None:
    prompt = [1, 2, 3, 4, 0, 5, 6, 7, 8, 0]
    assert drafted([*prompt, 9, 5, 6, 7], 1, len(prompt)) == [8]
    assert drafted([*prompt, 1, 2, 3, 9, 0, 1, 2, 3], 1, len(prompt)) == [9]


def test_who_follows_a_passage_stays_with_it() -> None:
    """The same three tokens stand twice in it; the latest place would be the wrong one."""
    passage = [1, 2, 3, 4, 10, 5, 1, 2, 3, 11]
    lookup = Lookup(passage)
    text = [*passage, 20, 2, 3, 4]
    assert lookup.draft(text, 2) == [10, 5]
    text += [10, 5]
    assert lookup.draft(text, 3) == [1, 2, 3]
    text += [1, 2, 3]
    assert lookup.draft(text, 1) == [11]
    again = [1, 2, 3, 4, 10, 5, 6, 1, 2, 3, 7, 5, 1, 2, 3, 4]
    lookup = Lookup(again)
    text = [*again, 9, 1, 2, 3]
    assert lookup.draft(text, 1) == [4]  # the latest of three
    text += [4]
    assert lookup.draft(text, 1) == [9]  # and on from there, not from the first


def test_choices_share_the_prompt_and_nothing_else() -> None:
    prompt = [1, 2, 3, 4]
    first = Lookup(prompt)
    second = first.fork()
    assert first.draft([*prompt, 7, 8, 9, 5, 7, 8, 9], 1) == [5]
    assert second.draft([*prompt, 6, 7, 8, 9], 1) == []
    assert second.draft([*prompt, 6, 7, 8, 9, 1, 2, 3], 1) == [4]


def test_of_an_endless_prompt_only_the_end_is_remembered() -> None:
    prompt = list(range(REACH + 100))
    assert drafted([*prompt, 0, 1, 2], 1, len(prompt)) == []
    assert drafted([*prompt, 500, 501, 502], 1, len(prompt)) == [503]


def test_a_hint_is_followed_from_its_very_beginning() -> None:
    lookup = Lookup([1, 2, 3], [7, 8, 9, 10, 11])
    assert lookup.draft([1, 2, 3, 7], 3) == [8, 9, 10]
    assert lookup.draft([1, 2, 3, 7, 8, 9], 3) == [10, 11]
    assert lookup.draft([1, 2, 3, 7, 8, 9, 10, 11], 3) == []  # it is at its end


def test_an_answer_that_leaves_the_hint_finds_back_to_it() -> None:
    lookup = Lookup([1, 2, 3], [7, 8, 9, 10, 11, 12, 13])
    assert lookup.draft([1, 2, 3, 5], 3) == []
    assert lookup.draft([1, 2, 3, 5, 8], 3) == []
    assert lookup.draft([1, 2, 3, 5, 9, 10, 11], 2) == [12, 13]


def test_a_hint_comes_before_the_text() -> None:
    text = [4, 5, 6, 0, 4, 5, 6]
    assert Lookup(text[:4]).draft(text, 1) == [0]
    assert Lookup(text[:4], [1, 4, 5, 6, 9]).draft(text, 1) == [9]
    assert Lookup(text[:4], [1, 4, 5, 6]).draft(text, 1) == [0]  # nothing follows there
    assert Lookup(text[:4], [1, 4, 5, 6, 9]).fork().draft(text, 1) == [9]


@given(st.lists(st.integers(0, 3), max_size=60), st.integers(0, 60), st.lists(st.integers(1, 5), max_size=30))
def test_however_the_text_grew_a_draft_is_what_followed_its_end(
    tokens: list[int], known: int, sizes: list[int]
) -> None:
    lookup = Lookup(tokens[:known])
    length = known
    for size in [0, *sizes]:
        length = min(len(tokens), max(length + size, known))
        text = tokens[:length]
        found = lookup.draft(text, 4)
        end = text[-SPAN:]
        stands = [at for at in range(SPAN, length) if text[at - SPAN : at] == end]
        assert bool(found) == (length >= SPAN and bool(stands))
        if found:
            endings = [(text[at:] * 4 if at else [])[:4] for at in stands]
            assert len(found) == 4
            assert found in endings
