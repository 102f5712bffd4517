"""What the beginning of a GGUF tells: the architecture, and a fair guess at the header's end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import UnsupportedModel
from registry.gguf.peek import peek, require_known
from tests import tiny_gguf
from tests.tiny_gguf import FLOAT32, STRING, Tensor, array

LAYERS = [Tensor(f"blk.{index // 9}.some_name.weight", (64,)) for index in range(9 * 32)]


def header(tokens: int, merges: bool, architecture: str = "qwen3") -> bytes:
    words = [f"t{index}" + "x" * (index % 3) for index in range(tokens)]
    extra: dict[str, object] = {"tokenizer.chat_template": "x" * 5_000, "tokenizer.ggml.model": "llama"}
    if merges:
        pairs = [f"ab{index % 1000} cd{index % 777}" for index in range(tokens)]
        extra |= {"tokenizer.ggml.merges": array(STRING, pairs), "tokenizer.ggml.model": "gpt2"}
    else:
        extra["tokenizer.ggml.scores"] = array(FLOAT32, [0.0] * tokens)
    return tiny_gguf.model(architecture, vocabulary=words, extra=extra, tensors=LAYERS).header()


@pytest.mark.parametrize(("tokens", "merges"), [(32_000, False), (50_000, True), (151_936, True), (262_144, False)])
def test_the_end_is_guessed_from_the_beginning(tokens: int, merges: bool) -> None:
    data = header(tokens, merges)
    seen = peek(data[: 256 << 10])
    assert (seen.architecture, seen.kind) == ("qwen3", "model")
    assert len(data) <= seen.goal <= 1.6 * len(data)


def test_every_guess_gets_on() -> None:
    data = header(50_000, True)
    for size in range(0, len(data), 100_000):
        assert peek(data[:size]).goal > size


def test_what_the_engine_does_not_know() -> None:
    start = header(1000, True, "quux9")[:4096]
    with pytest.raises(UnsupportedModel, match="quux9") as caught:
        require_known(peek(start))
    assert caught.value.architecture == "quux9"
    require_known(peek(header(1000, True)[:4096]))
    require_known(peek(tiny_gguf.projector()))
    require_known(peek(b"GGUF"))


@given(st.data())
def test_nothing_in_it_is_believed(data: st.DataObject) -> None:
    good = bytearray(header(40, True)[:2000])
    for at in data.draw(st.lists(st.integers(0, len(good) - 1), max_size=8)):
        good[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(good)))
    assert peek(bytes(good[:cut])).goal > min(cut, 1) - 1
