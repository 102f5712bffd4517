"""The demo model's vocabulary through the C boundary."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from modelfiles.embedded import demo_gguf
from runner.llama import library
from runner.llama.model import Model
from runner.llama.sampler import Sampler
from runner.protocol.options import LoadOptions, SampleOptions


@pytest.fixture
def model() -> Iterator[Model]:
    loaded = Model([str(demo_gguf())], LoadOptions(num_ctx=8, num_parallel=1), library.start())
    yield loaded
    loaded.close()


def test_the_tokens_that_end_an_answer_are_looked_for_on_first_use(model: Model) -> None:
    assert model.ends(model.eos)
    assert not model.ends(model.tokenize("a", special=False, bos=False)[0])
    Sampler(model, SampleOptions()).close()
    assert "end_tokens" not in vars(model)
    Sampler(model, SampleOptions(min_tokens=1)).close()
    assert model.end_tokens == {token for token in range(model.n_vocab) if model.ends(token)}
    assert model.eos in model.end_tokens


def test_markers_are_tokens_only_where_they_may_be(model: Model) -> None:
    (token,) = model.tokenize("<|im_end|>", special=True, bos=False)
    assert model.text_of(token) == "<|im_end|>"
    assert len(model.tokenize("<|im_end|>", special=False, bos=False)) > 1


@pytest.mark.parametrize("text", ["", "plain", "Grüße, 你好 🙂", "a\x00b", "\u2028\r\n", "x" * 5000, "<|im_end|>"])
def test_text_survives_tokens(model: Model, text: str) -> None:
    tokens = model.tokenize(text, special=False, bos=False)
    assert b"".join(model.piece(token) for token in tokens).decode() == text


def test_control_tokens_have_no_text_unless_shown(model: Model) -> None:
    (think,) = model.tokenize("<think>", special=True, bos=False)
    assert model.piece(model.eos) == b""
    model.show(["<think>", "no such marker"])
    assert model.piece(think) == b"<think>"


def test_half_of_a_surrogate_pair_does_no_harm(model: Model) -> None:
    assert model.tokenize("a\ud800b", special=True, bos=True) == model.tokenize("a?b", special=True, bos=True)
