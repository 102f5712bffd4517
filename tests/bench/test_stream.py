"""From bytes to moments: every way that the bytes of one answer may be cut up, and what isn't an answer."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.bench.stream import Broken, Reading, said


def event(**value: object) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def text(piece: str, **more: object) -> bytes:
    return event(choices=[{"index": 0, "delta": {"content": piece}, **more}])


USAGE = {"prompt_tokens": 11, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}}
WHOLE = [
    event(choices=[{"index": 0, "delta": {"role": "assistant", "content": ""}}]),
    text("é"),
    b": still working\n\n",
    event(choices=[{"index": 0, "delta": {"reasoning_content": "hm"}}]),
    text("!"),
    event(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}], usage=None),
    event(choices=[], usage=USAGE),
    b"data: [DONE]\n\n",
]


def read(parts: list[bytes]) -> Reading:
    """Each part arrives a second after the one before."""
    reading = Reading()
    for second, part in enumerate(parts):
        reading.feed(part, float(second))
    reading.end()
    return reading


def test_moments_and_counts() -> None:
    reading = read(WHOLE)
    assert (reading.first, reading.last, list(reading.gaps)) == (1.0, 4.0, [2.0, 1.0])
    assert (reading.prompt_tokens, reading.output_tokens, reading.cached_tokens) == (11, 3, 4)
    assert reading.is_done


@given(st.lists(st.integers(0, sum(map(len, WHOLE))), max_size=20), st.booleans())
def test_where_the_bytes_are_cut_changes_nothing(cuts: list[int], with_returns: bool) -> None:
    whole = b"".join(WHOLE)
    if with_returns:
        whole = whole.replace(b"\n", b"\r\n")
    borders = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    reading = Reading()
    heard = sum(reading.feed(whole[start:end], 5.0) for start, end in pairwise(borders))
    reading.end()
    assert heard == reading.chunks == 3
    assert (reading.output_tokens, list(reading.gaps)) == (3, [0.0, 0.0])


def test_completions_carry_text() -> None:
    reading = read([event(choices=[{"text": ""}]), event(choices=[{"text": "a"}]), event(choices=[{"text": "b"}]), END])
    assert (reading.first, list(reading.gaps), reading.chunks) == (1.0, [1.0], 2)


END = event(choices=[{"text": "", "finish_reason": "length"}])


def test_a_stream_without_done_is_whole_when_it_says_why_it_ended() -> None:
    assert not read([text("a"), END]).is_done
    assert read([text("a"), b"data: [DONE]"]).is_done, "the last line break may be missing"
    with pytest.raises(Broken) as broken:
        read([text("a"), text("b")])
    assert broken.value.kind == "broken off"


@pytest.mark.parametrize(
    ("part", "kind", "message"),
    [
        (b'data: {"error": {"message": "no luck", "code": 500}}\n', "error in stream", "no luck"),
        (b'data: {"error": "no luck"}\n', "error in stream", "no luck"),
        (b'error: {"message": "no luck"}\n', "error in stream", "no luck"),
        (b"data: {oops\n", "malformed", "oops"),
        (b'data: {"choices": 5}\n', "malformed", "choices"),
        (b"data: \xff\n", "malformed", "JSON"),
        (b"[1, 2]\n", "broken off", "ended"),
    ],
)
def test_what_is_no_answer(part: bytes, kind: str, message: str) -> None:
    with pytest.raises(Broken, match=message) as broken:
        read([part])
    assert broken.value.kind == kind


def test_a_line_without_end_is_given_up() -> None:
    reading = Reading()
    for _ in range(41):
        reading.feed(b"x" * 100_000, 0.0)
    with pytest.raises(Broken, match="more than 4194304 bytes"):
        reading.feed(b"x" * 100_000, 0.0)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b'{"error": {"message": "too\\n long"}}', "too long"),
        (b'{"error": "too long"}', "too long"),
        (b'{"detail": "too long"}', "too long"),
        (b"Bad Gateway\n", "Bad Gateway"),
        (b'{"error": {}}', '{"error": {}}'),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"x" * 1000, "x" * 200),
    ],
)
def test_what_an_error_says(body: bytes, sentence: str) -> None:
    assert said(body) == sentence
