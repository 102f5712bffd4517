"""Prompts: as long as wanted, the same for the same seed, and never alike otherwise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.bench.prompts import Fit, Prompt, Writer, content, each_word, fitted
from runner.bench.shape import Lengths, Workload


@given(st.floats(0.5, 4.0), st.integers(0, 500), st.integers(1, 5000))
def test_a_server_that_counts_on_a_line_is_understood(per_word: float, overhead: int, tokens: int) -> None:
    def counted(words: int) -> int:
        return round(overhead + per_word * words)

    fit = fitted((114, counted(114)), (228, counted(228)))
    if tokens > overhead + 10:
        off = abs(counted(fit.words(tokens)) - tokens)
        assert off <= 2 + per_word + tokens / 50, "two roundings of at most half a token, over 114 words"
    assert fit.words(1) >= 1


@pytest.mark.parametrize("many", [(228, 5), (228, 10), (114, 50)])
def test_a_server_whose_counts_make_no_sense_gets_a_guess(many: tuple[int, int]) -> None:
    assert fitted((114, 10), many) == Fit(0.0, 1.3)


def test_the_same_seed_gives_the_same_words_and_nothing_else_does() -> None:
    workload = Workload(input=Lengths(30, 60), shared_prefix=10)

    def prompts(seed: str, turn: str = "1 user/0") -> list[Prompt]:
        writer = Writer(workload, Fit(3.0, 1.5), seed)
        return [writer.prompt(turn, index) for index in range(20)]

    assert prompts("a") == prompts("a")
    everything = [*prompts("a"), *prompts("b"), *prompts("a", "1 user/1"), *prompts("a", "8 users/0")]
    assert len({prompt.text for prompt in everything}) == 80
    assert len({prompt.prefix for prompt in everything}) == 2
    starts = {tuple(prompt.text.split()[:4]) for prompt in everything}
    assert len(starts) == 80, "four words are enough to part any two of these"


def test_every_word_is_counted_equally_often() -> None:
    import random

    count, text = each_word(random.Random(1), 3)
    words = text.split()
    assert len(words) == count
    assert {words.count(word) for word in words} == {3}


def test_content() -> None:
    assert content(Prompt("", "a b", 5), "completions") == {"prompt": "a b"}
    assert content(Prompt("s", "a b", 5), "completions") == {"prompt": "s a b"}
    assert content(Prompt("s", "a", 5), "chat") == {
        "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "a"}]
    }
