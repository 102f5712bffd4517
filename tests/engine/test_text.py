"""Token bytes to text: however the bytes are cut, the same text comes out, and it ends before the first stop string."""

from __future__ import annotations

import codecs
import sys
from itertools import pairwise
from types import FrameType
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runner.engine import text as text_module
from runner.engine.text import TextStream


def streamed(pieces: list[bytes], stops: tuple[str, ...] = ()) -> tuple[str, str | None]:
    """All that comes out, and the stop string that was found."""
    stream = TextStream(stops)
    out = [stream.push(piece) for piece in pieces]
    return "".join(out) + stream.finish(), stream.stop


def expected(data: bytes, stops: tuple[str, ...]) -> tuple[str, str | None]:
    """The definition, without any cleverness: the stop string that is complete first, of several the longest."""
    text = data.decode("utf-8", "replace")
    for end in range(1, len(text) + 1):
        complete = [stop for stop in stops if stop and text[:end].endswith(stop)]
        if complete:
            stop = max(complete, key=len)
            return text[: end - len(stop)], stop
    return text, None


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    borders = sorted({0, len(data), *(position % (len(data) + 1) for position in cuts)})
    return [data[start:end] for start, end in pairwise(borders)] or [data]


# Few characters, so that stop strings occur, overlap and begin again inside one another.
few = st.text(st.sampled_from("abé"), max_size=16)
stop_strings = st.lists(st.text(st.sampled_from("abé"), min_size=1, max_size=4), max_size=4).map(tuple)
cuts = st.lists(st.integers(0, 200), max_size=10)


@given(st.binary(max_size=60), cuts)
@example("é".encode() * 3, [1, 2, 3, 4, 5])
@example("🙂🙂".encode(), [1, 2, 3, 5, 6, 7])
@example(b"\xf0\x9f\x99", [1, 2])
@example(b"\xf0\x9fA\xff\xfe", [1, 2, 3, 4])
@example(b"\xed\xa0\x80\xed\xb0\x80\xc0\x80\xf4\x90\x80\x80", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
def test_any_bytes_in_any_pieces_give_the_same_text(data: bytes, positions: list[int]) -> None:
    assert streamed(cut(data, positions)) == (data.decode("utf-8", "replace"), None)


@given(st.text(max_size=40))
def test_byte_by_byte_only_whole_characters_come_out(text: str) -> None:
    stream = TextStream()
    data = text.encode()
    out = [stream.push(data[index : index + 1]) for index in range(len(data))]
    assert "".join(out) == text
    assert stream.finish() == ""
    assert max(map(len, out), default=0) <= 1


@given(few, stop_strings, cuts)
@example("abc", ("abc", "b"), [])  # the one that begins first is not the one that is complete first
@example("abc", ("bc", "abc"), [])  # both are complete at once
@example("aab", ("ab",), [1, 2])
@example("ababac", ("abac",), [1, 2, 3, 4, 5])
@example("a<a<b", ("a<b",), [3])
def test_stop_strings_are_found_wherever_the_pieces_are_cut(
    text: str, stops: tuple[str, ...], positions: list[int]
) -> None:
    data = text.encode()
    assert streamed(cut(data, positions), stops) == expected(data, stops)


@given(st.lists(st.sampled_from([b"a", b"b", b"<", b"\xc3", b"\xa9", b"\xff", b"\xf0\x9f"]), max_size=20), stop_strings)
def test_stop_strings_amid_broken_characters(pieces: list[bytes], stops: tuple[str, ...]) -> None:
    assert streamed(pieces, stops) == expected(b"".join(pieces), stops)


@pytest.mark.parametrize("stop", ["<|im_end|>", "\n\n", "é", "🙂", "a"])
def test_a_stop_string_at_every_border(stop: str) -> None:
    whole = f"before {stop} after".encode()
    for border in range(len(whole) + 1):
        for other in range(border, len(whole) + 1):
            pieces = [whole[:border], whole[border:other], whole[other:]]
            text, found = streamed(pieces, ("unsaid", stop))
            assert found == stop
            assert text == whole.decode()[: whole.decode().index(stop)]


def test_the_beginning_of_a_stop_string_is_held_back_until_it_is_decided() -> None:
    stream = TextStream(("<end>",))
    assert stream.push(b"a<") == "a"
    assert stream.push(b"en") == ""
    assert stream.push(b"<e") == "<en"
    assert stream.push(b"x") == "<ex"
    assert stream.push(b"<end") == ""
    assert stream.finish() == "<end"
    assert stream.stop is None


def test_nothing_more_than_needed_is_held_back() -> None:
    stream = TextStream(("aab", "ba"))
    out = [stream.push(piece) for piece in (b"a", b"a", b"a", b"c", b"b")]
    assert out == ["", "", "a", "aac", ""]


def test_after_a_stop_string_nothing_comes_out() -> None:
    stream = TextStream(("stop",))
    assert stream.push(b"go stop on") == "go "
    assert stream.push(b"more") == ""
    assert stream.finish() == ""
    assert stream.stop == "stop"


def test_a_stop_string_that_only_the_end_completes() -> None:
    """The last, unfinished character becomes U+FFFD, and that may be what was waited for."""
    assert streamed([b"a", b"\xf0\x9f"], ("a\ufffd",)) == ("", "a\ufffd")


def test_no_and_empty_stop_strings() -> None:
    assert streamed([b"text"], ()) == ("text", None)
    assert streamed([b"text"], ("", "")) == ("text", None)
    assert streamed([], ("x",)) == ("", None)


@given(few, stop_strings)
def test_one_step_more_never_takes_text_back(text: str, stops: tuple[str, ...]) -> None:
    """What a client has been sent stays a beginning of the final text."""
    stream = TextStream(stops)
    sent = [stream.push(character.encode()) for character in text]
    assert "".join([*sent, stream.finish()]) == expected(text.encode(), stops)[0]


# -- time

ADVERSARIAL = [
    ("a" * 2000, ("a" * 500 + "b",)),
    ("a" * 2000, tuple("a" * size + "b" for size in range(1, 60))),
    ("ab" * 1000, ("ab" * 200 + "c", "ba" * 200 + "c")),
    ("aab" * 700, ("aab" * 100 + "b", "ab" * 50)),
]


def steps(text: str, stops: tuple[str, ...]) -> int:
    """How many lines of the module are executed for a text that arrives character by character."""
    stream = TextStream(stops)
    lines = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal lines
        if frame.f_code.co_filename != text_module.__file__:
            return None
        lines += event == "line"
        return trace

    previous = sys.gettrace()
    sys.settrace(trace)
    try:
        for character in text:
            stream.push(character.encode())
    finally:
        sys.settrace(previous)
    assert stream.stop is None
    return lines


@pytest.mark.parametrize(("text", "stops"), ADVERSARIAL)
def test_the_work_grows_with_the_text_and_the_number_of_stop_strings_only(text: str, stops: tuple[str, ...]) -> None:
    once, twice = steps(text, stops), steps(text * 2, stops)
    assert twice <= 2.2 * once
    assert once <= len(text) * (10 + 12 * len(stops))


def test_a_megabyte_of_near_misses() -> None:
    text = "a" * 2**20
    assert streamed([text.encode()], ("a" * 4000 + "b",)) == (text, None)
    stream = TextStream(("a" * 4000 + "b",))
    assert sum(len(stream.push(b"a" * 64)) for _ in range(2**14)) == 2**20 - 4000


@given(st.binary(max_size=40), cuts, stop_strings, st.integers(0, 9))
def test_characters_made_and_sent_are_counted(
    data: bytes, positions: list[int], stops: tuple[str, ...], start: int
) -> None:
    """A token begins where the whole characters before it end; what came out is never more than was made."""
    stream = TextStream(stops, position=start)
    out, before = "", b""
    for piece in cut(data, positions):
        if stream.stop is None:
            made = len(before.decode("utf-8", "replace")) - len(undecoded(before))
            assert stream.position == start + made
        out += stream.push(piece)
        before += piece
        assert start + len(out) == stream.sent <= stream.position
    out += stream.finish()
    assert stream.sent == start + len(out)
    if stream.stop is None:
        assert stream.position == stream.sent == start + len(data.decode("utf-8", "replace"))


def undecoded(data: bytes) -> str:
    """What an unfinished character at the end is replaced by."""
    whole = codecs.getincrementaldecoder("utf-8")("replace").decode(data)
    return data.decode("utf-8", "replace").removeprefix(whole)
