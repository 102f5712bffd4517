"""The official openai client, unmodified, against a real daemon."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import openai
import pytest

from tests.benchmarks.daemon import Daemon

QUESTION = [{"role": "user", "content": "How do I pull a model?"}]


@pytest.fixture
def client(daemon: Daemon) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{daemon.url}/v1", api_key="unused", max_retries=0) as client:
        yield client


def test_chats(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="demo", messages=QUESTION)
    assert "runner pull" in (answer.choices[0].message.content or "")
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_streams_what_it_says_whole(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="demo", messages=QUESTION)
    stream = client.chat.completions.create(
        model="demo", messages=QUESTION, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert text
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert whole.usage is not None
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens


def test_a_stream_arrives_in_parts(client: openai.OpenAI) -> None:
    """Tokens that pile up while the reader is slow share a chunk, so their number is not the tokens'."""
    stream = client.chat.completions.create(
        model="demo", messages=QUESTION, stream=True, max_tokens=400, extra_body={"ignore_eos": True}
    )
    assert sum(1 for chunk in stream if chunk.choices and chunk.choices[0].delta.content) > 1


def test_completes(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="demo", prompt="def add(a, b):\n    return", max_tokens=8, temperature=0)
    assert answer.choices[0].text
    assert answer.usage is not None
    assert answer.usage.completion_tokens <= 8
    stream = client.completions.create(
        model="demo", prompt="def add(a, b):\n    return", max_tokens=8, temperature=0, stream=True
    )
    assert "".join(chunk.choices[0].text for chunk in stream if chunk.choices) == answer.choices[0].text


def test_prompts_of_every_form_are_answered_as_they_are_alone(client: openai.OpenAI) -> None:
    def ask(prompt: str | list[str] | list[int] | list[list[int]]) -> list[str]:
        answer = client.completions.create(model="demo", prompt=prompt, max_tokens=6, temperature=0, echo=True)
        return [choice.text for choice in answer.choices]

    texts = ["def add(a, b):\n    return", "import os\n"]
    tokens = [[300, 301, 302, 303], [400, 401]]
    assert ask(texts) == [*ask(texts[0]), *ask(texts[1])]
    assert ask(tokens) == [*ask(tokens[0]), *ask(tokens[1])]
    assert ask(texts)[0].startswith(texts[0])
    assert len(ask(texts)[0]) > len(texts[0])


def test_a_gap_is_filled(client: openai.OpenAI) -> None:
    def ask(**more: str) -> str:
        body = {"model": "demo", "prompt": "def add(a, b):\n    return ", "max_tokens": 8, "temperature": 0}
        return client.completions.create(**body, **more).choices[0].text  # type: ignore[call-overload]

    assert ask(suffix="\n\nprint(add(1, 2))\n")
    assert ask(suffix="\n\nprint(add(1, 2))\n") != ask()


def test_embeds_tokens_as_the_text_they_are_of(client: openai.OpenAI) -> None:
    tokens = [300, 301, 302]
    by_tokens = client.embeddings.create(model="demo", input=[tokens, tokens[:2]], encoding_format="float").data
    by_token = client.embeddings.create(model="demo", input=tokens).data
    assert np.allclose(by_tokens[0].embedding, by_token[0].embedding, atol=1e-3)
    assert not np.allclose(by_tokens[0].embedding, by_tokens[1].embedding, atol=1e-3)


def test_embeds_normalised_vectors(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model="demo", input=["pull a model", "list the models"])
    vectors = np.array([row.embedding for row in answer.data])
    assert vectors.shape == (2, 256)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-3)
    short = client.embeddings.create(model="demo", input="pull a model", dimensions=64, encoding_format="float")
    assert len(short.data[0].embedding) == 64


def test_lists_models(client: openai.OpenAI) -> None:
    assert "demo:latest" in {model.id for model in client.models.list()}
    assert client.models.retrieve("demo").object == "model"


def test_an_unknown_model_is_a_404_with_the_words_that_clients_match(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="not found") as caught:
        client.chat.completions.create(model="dmo", messages=QUESTION)
    assert caught.value.code == "model_not_found"
    assert "demo" in str(caught.value)


def test_an_overlong_prompt_is_a_400_with_both_numbers(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match=r"\d+ tokens") as caught:
        client.chat.completions.create(model="demo", messages=[{"role": "user", "content": "word " * 20_000}])
    assert caught.value.code == "context_length_exceeded"


def test_a_bad_option_names_its_field(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="temperature"):
        client.chat.completions.create(model="demo", messages=QUESTION, temperature=-1)


def test_a_crowd_gets_the_answer_that_one_gets(client: openai.OpenAI) -> None:
    def ask(_: int) -> str | None:
        return client.chat.completions.create(model="demo", messages=QUESTION).choices[0].message.content

    alone = ask(0)
    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(ask, range(48))) == {alone}


def test_choices_of_one_prompt(client: openai.OpenAI) -> None:
    def ask(n: int) -> openai.types.Completion:
        return client.completions.create(
            model="demo", prompt="def ", n=n, temperature=1, seed=7, max_tokens=24, extra_body={"ignore_eos": True}
        )

    answer = ask(4)
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    assert len({choice.text for choice in answer.choices}) == 4
    assert {choice.finish_reason for choice in answer.choices} == {"length"}
    alone = ask(1)
    assert answer.usage is not None
    assert alone.usage is not None
    assert answer.usage.prompt_tokens == alone.usage.prompt_tokens
    assert answer.usage.completion_tokens == 4 * alone.usage.completion_tokens == 96
    texts = [""] * 4
    stream = client.completions.create(model="demo", prompt="def ", n=4, max_tokens=24, stream=True)
    for chunk in stream:
        texts[chunk.choices[0].index] += chunk.choices[0].text
    assert all(texts)


def test_greedy_tokens_are_the_likeliest(client: openai.OpenAI) -> None:
    (choice,) = client.chat.completions.create(
        model="demo", messages=QUESTION, temperature=0, logprobs=True, top_logprobs=3
    ).choices
    assert choice.logprobs is not None
    assert choice.logprobs.content
    assert b"".join(bytes(each.bytes or ()) for each in choice.logprobs.content).decode() == choice.message.content
    for each in choice.logprobs.content:
        assert (each.token, each.logprob) == (each.top_logprobs[0].token, each.top_logprobs[0].logprob)


def test_an_evaluation_scores_what_the_model_says_above_what_it_does_not(client: openai.OpenAI) -> None:
    """The request of lm-eval's local-completions, read as it reads it."""
    question = "<|im_start|>user\nHow do I pull a model?<|im_end|>\n<|im_start|>assistant\n"
    said = client.completions.create(model="demo", prompt=question, temperature=0, max_tokens=12).choices[0].text
    endings = [said, " banana velvet seventeen"]
    answer = client.completions.create(
        model="demo",
        prompt=[question + ending for ending in endings],
        temperature=0,
        max_tokens=1,
        logprobs=1,
        seed=1234,
        echo=True,
    )
    found = []
    for ending, choice in zip(endings, sorted(answer.choices, key=lambda each: each.index), strict=True):
        logprobs = choice.logprobs
        assert logprobs is not None
        assert logprobs.text_offset is not None
        assert logprobs.token_logprobs is not None
        assert logprobs.top_logprobs is not None
        context = sum(offset < len(question) for offset in logprobs.text_offset)
        tokens = logprobs.token_logprobs[context:-1]
        assert choice.text.startswith(question + ending)
        is_greedy = all(
            token == max(top.values()) for token, top in zip(tokens, logprobs.top_logprobs[context:-1], strict=True)
        )
        found.append((sum(tokens), is_greedy))
    assert found[0][0] > -5 > -20 > found[1][0]
    assert [is_greedy for _, is_greedy in found] == [True, False]


def test_a_bias_is_heeded(client: openai.OpenAI) -> None:
    plain = client.completions.create(model="demo", prompt="a", max_tokens=4, temperature=0)
    biased = client.completions.create(model="demo", prompt="a", max_tokens=4, temperature=0, logit_bias={"300": 100})
    token = client.completions.create(model="demo", prompt=[300], max_tokens=0, echo=True).choices[0].text
    assert biased.choices[0].text == token * 4 != plain.choices[0].text
    with pytest.raises(openai.BadRequestError, match="no token"):
        client.completions.create(model="demo", prompt="a", logit_bias={"99999999": 1})


def test_a_crowd_of_choices(client: openai.OpenAI) -> None:
    """More sequences than there are, all at once; nobody is lost and every prompt is computed once."""

    def ask(seed: int) -> list[str | None]:
        answer = client.chat.completions.create(
            model="demo", messages=QUESTION, n=8, temperature=1, seed=seed, max_tokens=16
        )
        return [choice.message.content for choice in answer.choices]

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(ask, range(0, 240, 20)))
    assert all(len(texts) == 8 and all(texts) for texts in answers)
