"""The official anthropic client, unmodified, against a real daemon whose model goes by another name as well."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import ollama
import openai
import pytest

from tests.benchmarks.daemon import Daemon

QUESTION: Any = [{"role": "user", "content": "How do I pull a model?"}]
CLAUDE = "claude-whatever-9"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Has two aliases for the demo."""
    home: Path = tmp_path_factory.mktemp("daemon")
    with Daemon(home, aliases="claude-*=demo,claude-opus-4=demo,claude-gone=nothing") as running:
        yield running


@pytest.fixture
def client(daemon: Daemon) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=daemon.url, api_key="unused", max_retries=0) as client:
        yield client


def text_of(message: Any) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def test_a_stream_says_what_a_message_says(client: anthropic.Anthropic) -> None:
    whole = client.messages.create(model=CLAUDE, max_tokens=200, messages=QUESTION, system="You are Runner.")
    assert "runner pull" in text_of(whole)
    assert (whole.model, whole.stop_reason) == (CLAUDE, "end_turn")
    with client.messages.stream(model=CLAUDE, max_tokens=200, messages=QUESTION, system="You are Runner.") as stream:
        start = next(event for event in stream if event.type == "message_start").message
        streamed = stream.get_final_message()
    assert text_of(streamed) == text_of(whole)
    prompt = {
        (usage.input_tokens + (usage.cache_read_input_tokens or 0))
        for usage in (whole.usage, start.usage, streamed.usage)
    }
    assert len(prompt) == 1
    assert streamed.usage.cache_read_input_tokens  # the same prompt again
    assert start.usage.input_tokens == streamed.usage.input_tokens > 0


def test_tokens_are_those_that_a_message_takes(client: anthropic.Anthropic) -> None:
    count = client.messages.count_tokens(model=CLAUDE, messages=QUESTION, system="Be brief.")
    usage = client.messages.create(model=CLAUDE, max_tokens=1, messages=QUESTION, system="Be brief.").usage
    assert count.input_tokens == usage.input_tokens + (usage.cache_read_input_tokens or 0)
    long: Any = [{"role": "user", "content": "word " * 20_000}]
    assert client.messages.count_tokens(model=CLAUDE, messages=long).input_tokens > 4096  # what would be refused


def test_thoughts(client: anthropic.Anthropic) -> None:
    message = client.messages.create(model=CLAUDE, max_tokens=300, messages=QUESTION, thinking={"type": "adaptive"})
    assert [block.type for block in message.content] == ["thinking", "text"]
    turns: Any = [*QUESTION, {"role": "assistant", "content": message.content}, *QUESTION]
    assert text_of(client.messages.create(model=CLAUDE, max_tokens=50, messages=turns))


def test_an_answer_that_is_begun_is_continued(client: anthropic.Anthropic) -> None:
    turns: Any = [*QUESTION, {"role": "assistant", "content": "Use `runner"}]
    assert text_of(client.messages.create(model=CLAUDE, max_tokens=30, messages=turns)).startswith(" pull")


def test_ends(client: anthropic.Anthropic) -> None:
    cut = client.messages.create(model=CLAUDE, max_tokens=2, messages=QUESTION)
    assert (cut.stop_reason, cut.usage.output_tokens) == ("max_tokens", 2)
    stopped = client.messages.create(model=CLAUDE, max_tokens=200, messages=QUESTION, stop_sequences=["pull"])
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "pull")
    assert "pull" not in text_of(stopped)


def test_a_form(client: anthropic.Anthropic) -> None:
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    message = client.messages.create(
        model=CLAUDE,
        max_tokens=50,
        messages=QUESTION,
        output_config={"format": {"type": "json_schema", "schema": {**schema, "additionalProperties": False}}},
    )
    assert json.loads(text_of(message)) in ({"ok": True}, {"ok": False})


def test_failures(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.BadRequestError, match=r"prompt is too long: \d+ tokens > 4096 maximum"):
        client.messages.create(model=CLAUDE, max_tokens=5, messages=[{"role": "user", "content": "word " * 20_000}])
    with pytest.raises(anthropic.NotFoundError, match='model "nothing" not found, try pulling it first'):
        client.messages.create(model="claude-gone", max_tokens=5, messages=QUESTION)
    with pytest.raises(anthropic.BadRequestError, match="temperature"):
        client.messages.create(model=CLAUDE, max_tokens=5, messages=QUESTION, extra_body={"temperature": -1})


def test_the_other_dialects_know_the_names_as_well(daemon: Daemon, client: anthropic.Anthropic) -> None:
    assert [model.id for model in client.models.list()] == ["demo:latest", "claude-opus-4"]
    with openai.OpenAI(base_url=f"{daemon.url}/v1", api_key="unused") as ai:
        answer = ai.chat.completions.create(model=CLAUDE, messages=QUESTION, max_tokens=3)
        assert answer.model == CLAUDE
        assert [model.id for model in ai.models.list()] == ["demo:latest", "claude-opus-4"]
    with ollama.Client(host=daemon.url) as native:
        assert native.generate("claude-opus-4", keep_alive=0).done_reason == "unload"
        assert [model.model for model in native.ps().models] in ([], ["demo:latest"])  # it may still be on its way out
        assert native.show("claude-opus-4").details == native.show("demo").details
        with pytest.raises(ollama.ResponseError, match="not found"):
            native.delete("claude-opus-4")
        assert native.show("demo").details
