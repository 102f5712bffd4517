"""A prompt as it comes back: its text, and where each token begins in it."""

from __future__ import annotations

from typing import cast

import pytest

from runner.engine.echo import Echo
from runner.engine.logprobs import Scored
from runner.llama.model import Model


class Spelled:
    """A vocabulary in which the tokens of a test are spelled as it says."""

    def __init__(self, *tokens: bytes) -> None:
        self._tokens = tokens

    def spelling(self, token: int) -> bytes:
        return self._tokens[token]


def echo(*tokens: bytes, text: str | None = None, top: int | None = 0) -> Echo:
    return Echo(cast(Model, Spelled(*tokens)), range(len(tokens)), text, top)


def score_all(made: Echo, count: int) -> list[int]:
    """Score what remains; where each token begins."""
    for token in range(1, count):
        assert made.is_scoring
        assert made.scored == token - 1
        made.add(Scored(token, -1.0, ()))
    assert not made.is_scoring
    return [logprob.offset for logprob in made.logprobs]


@pytest.mark.parametrize(
    ("tokens", "text", "expected", "offsets"),
    [
        ((b"a", b"bc", b"d"), None, "abcd", [0, 1, 3]),
        ((b"a", b"bc", b"d"), "abcd", "abcd", [0, 1, 3]),
        ((b"<s>", b"ab", b"c"), None, "<s>abc", [0, 3, 5]),
        ((b"<s>", b"ab", b"c"), "abc", "abc", [0, 0, 2]),  # a BOS that the text did not have
        ((b"<s>", b" ab", b" c"), "ab c", "ab c", [0, 0, 2]),  # and the blank that some vocabularies begin with
        (("é".encode()[:1], "é".encode()[1:], b"x"), None, "éx", [0, 0, 1]),
        (("👋".encode()[:2], "👋".encode()[2:], b"!"), "👋!", "👋!", [0, 0, 1]),
        ((b"a", "é".encode()[:1]), None, "a\ufffd", [0, 1]),
    ],
)
def test_offsets_count_characters(
    tokens: tuple[bytes, ...], text: str | None, expected: str, offsets: list[int]
) -> None:
    made = echo(*tokens, text=text)
    assert made.text == expected
    assert score_all(made, len(tokens)) == offsets


def test_the_first_token_follows_nothing() -> None:
    made = echo(b"a", b"b", top=3)
    (first,) = made.logprobs
    assert (first.token, first.logprob, first.offset, first.top) == (b"a", None, 0, ())
    assert echo(b"a").is_scoring is False


def test_nobody_scores_what_is_only_repeated() -> None:
    made = echo(b"a", b"b", top=None)
    assert (made.text, made.logprobs, made.is_scoring, made.scored) == ("ab", [], False, 0)
