"""The official ollama client, unmodified, against a real daemon."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import ollama
import pytest

from modelfiles.embedded import demo_gguf
from tests.benchmarks.daemon import Daemon

QUESTION = [{"role": "user", "content": "How do I pull a model?"}]


@pytest.fixture
def client(daemon: Daemon) -> Iterator[ollama.Client]:
    with ollama.Client(host=daemon.url) as client:
        yield client


def test_chats_and_streams_the_same(client: ollama.Client) -> None:
    whole = client.chat("demo", QUESTION)
    assert "runner pull" in (whole.message.content or "")
    assert whole.done_reason == "stop"
    parts = list(client.chat("demo", QUESTION, stream=True))
    assert "".join(part.message.content or "" for part in parts) == whole.message.content
    assert parts[-1].done
    assert parts[-1].eval_count == whole.eval_count


def test_thinks_when_asked_and_only_then(client: ollama.Client) -> None:
    plain = client.chat("demo", QUESTION)
    assert not plain.message.thinking
    thoughtful = client.chat("demo", QUESTION, think=True)
    assert thoughtful.message.thinking
    assert thoughtful.message.content
    assert "think>" not in thoughtful.message.content


def test_log_probabilities_of_thought_and_answer(client: ollama.Client) -> None:
    answer = client.chat("demo", QUESTION, think=True, logprobs=True, top_logprobs=2)
    assert answer.logprobs is not None
    said = "".join(each.token for each in answer.logprobs)
    assert (answer.message.thinking or "") in said
    assert said.endswith(answer.message.content or "")
    assert len(answer.logprobs) == answer.eval_count
    for each in answer.logprobs:
        assert each.logprob <= 0
        assert each.top_logprobs is not None
        assert each.logprob == each.top_logprobs[0].logprob  # the demo model takes the likeliest
    streamed = client.chat("demo", QUESTION, think=True, logprobs=True, stream=True)
    assert "".join(each.token for part in streamed for each in part.logprobs or ()) == said
    with pytest.raises(ollama.ResponseError, match="top_logprobs must be between 0 and 20"):
        client.chat("demo", QUESTION, logprobs=True, top_logprobs=21)


def test_generates(client: ollama.Client) -> None:
    assert "runner pull" in client.generate("demo", "How do I pull a model?").response
    raw = client.generate("demo", "def add(a, b):\n    return", raw=True, options={"num_predict": 6})
    assert raw.eval_count == 6 or raw.done_reason == "stop"
    gap = client.generate("demo", "def add(a, b):\n    ", suffix="\n", options={"num_predict": 16})
    assert gap.response


def test_generate_goes_on_from_its_context(client: ollama.Client) -> None:
    question, more = QUESTION[0]["content"], "And how do I remove one?"
    first = client.generate("demo", question)
    second = client.generate("demo", more, context=first.context)
    said = [*QUESTION, {"role": "assistant", "content": first.response}, {"role": "user", "content": more}]
    assert second.response == client.chat("demo", said).message.content
    assert second.prompt_eval_count > (first.prompt_eval_count or 0) + (first.eval_count or 0)
    with pytest.raises(ollama.ResponseError, match="context must be what an earlier answer of Runner's gave"):
        client.generate("demo", more, context=[1, 2, 3])


def test_options_reach_the_sampler(client: ollama.Client) -> None:
    short = client.chat("demo", QUESTION, options={"num_predict": 3})
    assert (short.done_reason, short.eval_count) == ("length", 3)
    stopped = client.chat("demo", QUESTION, options={"stop": ["runner"]})
    assert "runner" not in (stopped.message.content or "")


def test_embeds(client: ollama.Client) -> None:
    answer = client.embed("demo", ["pull a model", "list the models"])
    assert [len(vector) for vector in answer.embeddings] == [256, 256]


def test_lists_shows_and_tells_what_is_loaded(client: ollama.Client) -> None:
    client.generate("demo", "")
    assert "demo:latest" in {model.model for model in client.list().models}
    shown = client.show("demo")
    assert shown.capabilities is not None
    assert "completion" in shown.capabilities
    assert "thinking" in shown.capabilities
    assert shown.modelinfo is not None
    assert shown.modelinfo["general.architecture"] == "llama"
    assert "demo:latest" in {model.model for model in client.ps().models}


def test_creates_copies_and_deletes(client: ollama.Client, tmp_path: Path) -> None:
    client.create("parrot", from_="demo", system="You are a parrot.", parameters={"num_predict": 5})
    assert client.chat("parrot", QUESTION).eval_count == 5
    digest = client.create_blob(demo_gguf())
    client.create("uploaded", files={"model.gguf": digest})
    client.copy("uploaded", "again")
    assert {"uploaded:latest", "again:latest"} <= {model.model for model in client.list().models}
    for name in ("parrot", "uploaded", "again"):
        client.delete(name)
    assert not {"parrot:latest", "uploaded:latest"} & {model.model for model in client.list().models}


def test_unknown_models_are_404(client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError, match="not found") as caught:
        client.chat("no-such-model", QUESTION)
    assert caught.value.status_code == 404


def test_keep_alive_zero_unloads(client: ollama.Client) -> None:
    client.generate("demo", "hello", keep_alive=0, options={"num_predict": 1})
    deadline = time.monotonic() + 30
    while "demo:latest" in {model.model for model in client.ps().models}:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_numbers_that_fit_in_no_frame_are_refused_and_cost_nobody_else_anything(daemon: Daemon) -> None:
    call = {"function": {"name": "add", "arguments": {"number": 10**30}}}
    messages = [*QUESTION, {"role": "assistant", "content": "", "tool_calls": [call]}, *QUESTION]
    for _ in range(70):
        status, body = daemon.post("/api/chat", {"model": "demo", "messages": messages, "stream": False})
        assert status == 400
        assert "cannot be passed on" in body["error"]
    answer = daemon.post("/api/chat", {"model": "demo", "messages": QUESTION, "stream": False})
    assert answer["done"]
