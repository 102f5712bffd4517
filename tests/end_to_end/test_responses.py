"""/v1/responses with the demo model: the official openai client against a real daemon."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import openai
import pydantic
import pytest
from openai.types.responses import ResponseInputItemParam

from tests.benchmarks.daemon import Daemon

QUESTION = "How do I pull a model?"


class Answer(pydantic.BaseModel):
    command: Literal["runner pull", "runner list"]
    works: bool


@pytest.fixture
def client(daemon: Daemon) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{daemon.url}/v1", api_key="unused", max_retries=0) as client:
        yield client


def test_answers_and_goes_on(client: openai.OpenAI) -> None:
    first = client.responses.create(model="demo", input=QUESTION)
    assert "runner pull" in first.output_text
    assert first.status == "completed"
    assert first.usage is not None
    assert client.responses.retrieve(first.id).output_text == first.output_text
    second = client.responses.create(model="demo", input="And how do I list them?", previous_response_id=first.id)
    assert second.usage is not None
    # It has read all of the first turn, and found it computed.
    assert second.usage.input_tokens > first.usage.total_tokens
    assert second.usage.input_tokens_details.cached_tokens > 0
    whole: list[ResponseInputItemParam] = [
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": first.output_text},
        {"role": "user", "content": "And how do I list them?"},
    ]
    alone = client.responses.create(model="demo", input=whole, store=False)
    assert alone.usage is not None
    assert client.responses.input_tokens.count(model="demo", input=whole).input_tokens == alone.usage.input_tokens
    assert alone.usage.input_tokens == second.usage.input_tokens
    assert alone.output_text == second.output_text


def test_streams_what_it_says_whole(client: openai.OpenAI) -> None:
    whole = client.responses.create(model="demo", input=QUESTION, reasoning={"effort": "low"})
    with client.responses.stream(model="demo", input=QUESTION, reasoning={"effort": "low"}) as stream:
        events = list(stream)
        final = stream.get_final_response()
    thought = "".join(event.delta for event in events if event.type == "response.reasoning_text.delta")
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == final.output_text == whole.output_text
    assert text
    assert thought
    assert [item.type for item in whole.output] == ["reasoning", "message"]
    assert whole.usage is not None
    assert final.usage is not None
    assert 0 < whole.usage.output_tokens_details.reasoning_tokens < whole.usage.output_tokens
    assert final.usage.output_tokens == whole.usage.output_tokens


def test_is_cut_where_it_is_told(client: openai.OpenAI) -> None:
    cut = client.responses.create(model="demo", input=QUESTION, max_output_tokens=4)
    assert cut.status == "incomplete"
    assert cut.incomplete_details is not None
    assert cut.incomplete_details.reason == "max_output_tokens"
    assert cut.usage is not None
    assert cut.usage.output_tokens == 4


def test_keeps_to_a_schema(client: openai.OpenAI) -> None:
    answer = client.responses.parse(model="demo", input=QUESTION, text_format=Answer)
    assert answer.output_parsed is not None


def test_an_overlong_prompt_is_a_400_unless_it_may_be_cut(client: openai.OpenAI) -> None:
    turns: list[ResponseInputItemParam] = [
        {"role": "user", "content": f"{place} " + "word " * 300} for place in range(40)
    ]
    with pytest.raises(openai.BadRequestError, match=r"\d+ tokens") as caught:
        client.responses.create(model="demo", input=turns)
    assert caught.value.code == "context_length_exceeded"
    short = client.responses.create(model="demo", input=turns, truncation="auto", max_output_tokens=8)
    assert short.usage is not None
    assert short.usage.input_tokens <= 4096
