"""Questions to a worker: answered from the vocabulary and the template, as a Generate would read the same prompt."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from modelfiles.embedded import demo_gguf
from runner.conversation import Message
from runner.protocol.commands import (
    ChatPrompt,
    Detokenize,
    Generate,
    InfillPrompt,
    Preview,
    Prompt,
    Question,
    TextPrompt,
    Tokenize,
)
from runner.protocol.events import Done, Failed, Told
from runner.protocol.options import SampleOptions
from tests.engine.worker_process import WorkerProcess

_ids = count(1)


@pytest.fixture(scope="module")
def worker() -> Iterator[WorkerProcess]:
    process = WorkerProcess(demo_gguf(), num_ctx=256, num_parallel=2)
    yield process
    assert process.close() == 0


def told(worker: WorkerProcess, question: Question) -> Told:
    end = worker.ask(question)[question.id].end
    assert isinstance(end, Told), end
    return end


def test_tokens_are_the_text_again(worker: WorkerProcess) -> None:
    text = "Wörter, 👋🏽 and <|im_end|>"
    tokens = told(worker, Tokenize(next(_ids), text))
    assert tokens.text == text
    assert b"".join(tokens.pieces).decode() == text
    assert told(worker, Detokenize(next(_ids), tokens.tokens)).text == text


def test_a_marker_is_one_token_only_where_it_counts_as_such(worker: WorkerProcess) -> None:
    plain = told(worker, Tokenize(next(_ids), "<|im_end|>"))
    special = told(worker, Tokenize(next(_ids), "<|im_end|>", special=True))
    assert len(special.tokens) == 1 < len(plain.tokens)
    assert special.pieces == (b"<|im_end|>",)


@pytest.mark.parametrize(
    "prompt",
    [
        ChatPrompt((Message("system", "Be brief."), Message("user", "How do I pull a model?"))),
        TextPrompt("Once upon a time"),
        InfillPrompt("def add(a, b):\n    return ", "\n"),
    ],
)
def test_a_preview_has_as_many_tokens_as_the_prompt_of_an_answer(worker: WorkerProcess, prompt: Prompt) -> None:
    preview = told(worker, Preview(next(_ids), prompt))
    command = Generate(next(_ids), prompt, SampleOptions(temperature=0.0, num_predict=1))
    end = worker.ask(command)[command.id].end
    assert isinstance(end, Done)
    assert len(preview.tokens) == end.usage.prompt_tokens
    assert preview.text


def test_a_preview_may_be_longer_than_the_context(worker: WorkerProcess) -> None:
    assert len(told(worker, Preview(next(_ids), TextPrompt("word " * 1000))).tokens) > 256


def test_a_token_that_is_none_is_named(worker: WorkerProcess) -> None:
    question = Detokenize(next(_ids), (1, 1 << 30))
    end = worker.ask(question)[question.id].end
    assert isinstance(end, Failed)
    assert end.field == "tokens"
    assert str(1 << 30) in end.message
