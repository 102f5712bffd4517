"""Thoughts split from answers: whatever the pieces, the same result."""

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.formats import THINKING, Thinking
from runner.reply.thinking import Splitter

MARKERS = Thinking("<think>", "</think>")


def split(pieces: list[str], markers: Thinking | None = MARKERS, *, in_thought: bool = False) -> tuple[str, str]:
    splitter = Splitter(markers, in_thought=in_thought)
    parts = [part for piece in pieces for part in splitter.feed(piece)] + splitter.finish()
    assert all(part.text for part in parts)
    thought = "".join(part.text for part in parts if part.kind == "thinking")
    return thought, "".join(part.text for part in parts if part.kind == "answer")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello", ("", "Hello")),
        ("", ("", "")),
        ("<think>\nWhy?\n</think>\n\nBecause.", ("Why?\n", "Because.")),
        ("  \n<think>a</think>b", ("a", "b")),
        ("<think>a < b </thin </think>c", ("a < b </thin ", "c")),
        ("<think>never closed", ("never closed", "")),
        ("<think>half </thi", ("half </thi", "")),
        ("<thi", ("", "<thi")),
        ("  indented", ("", "  indented")),
        ("Use <think> and </think>.", ("", "Use <think> and </think>.")),
        ("<think>a</think>b<think>c</think>", ("a", "b<think>c</think>")),
        ("<think></think>b", ("", "b")),
        ("<think>a</think>  ", ("a", "")),
    ],
)
def test_splits(text: str, expected: tuple[str, str]) -> None:
    assert split([text]) == expected
    assert split(list(text)) == expected


def test_a_thought_that_the_prompt_opened() -> None:
    assert split(["Why?</think>Because."], in_thought=True) == ("Why?", "Because.")


def test_without_markers_everything_is_answer() -> None:
    assert split(["<think>a</think>", "b"], None) == ("", "<think>a</think>b")


def test_holds_back_only_what_may_be_a_marker() -> None:
    splitter = Splitter(MARKERS, in_thought=True)
    assert [part.text for part in splitter.feed("a thought <")] == ["a thought "]
    assert [part.text for part in splitter.feed("b")] == ["<b"]


_fragments = st.sampled_from(["<think>", "</think>", "<thi", "nk>", "</", "<", ">", " ", "\n", "word", "é", "think"])


def answer_at(pieces: list[str], markers: Thinking | None, in_thought: bool) -> int | None:
    """Where the answer begins, which must be where the text of the answer is found."""
    splitter = Splitter(markers, in_thought=in_thought)
    parts = [part for piece in pieces for part in splitter.feed(piece)] + splitter.finish()
    answer = "".join(part.text for part in parts if part.kind == "answer")
    at = splitter.answer_at
    assert answer == ("" if at is None else "".join(pieces)[at:])
    return at


@given(
    pieces=st.lists(_fragments, max_size=20),
    cuts=st.lists(st.integers(0, 100), max_size=20),
    markers=st.sampled_from([*THINKING, None]),
    in_thought=st.booleans(),
)
def test_any_cutting_gives_the_same(
    pieces: list[str], cuts: list[int], markers: Thinking | None, in_thought: bool
) -> None:
    text = "".join(pieces)
    places = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
    cut_up = [text[start:end] for start, end in itertools.pairwise(places)]
    whole = split([text], markers, in_thought=in_thought)
    assert split(cut_up, markers, in_thought=in_thought) == whole
    assert answer_at(cut_up, markers, in_thought) == answer_at([text], markers, in_thought)
    if markers is None:
        assert whole == ("", text)


@pytest.mark.parametrize("unit", ["<", "</think", " ", "<think>", "a"])
def test_much_text_of_near_markers_in_linear_time(unit: str) -> None:
    text = unit * (300_000 // len(unit))
    for in_thought in (False, True):
        began = time.process_time()
        split([text[start : start + 7] for start in range(0, len(text), 7)], in_thought=in_thought)
        assert time.process_time() - began < 5.0
