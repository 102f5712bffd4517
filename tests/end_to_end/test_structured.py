"""Answers in a form, through the daemon: the official clients, the fields of other servers, and the command line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import ollama
import openai
import pytest
from openai.types.chat import ChatCompletionUserMessageParam
from pydantic import BaseModel, Field

from tests.benchmarks.daemon import Daemon

EXTRACT = "Extract name and age as JSON: Maria is 34 years old."
MESSAGES: list[ChatCompletionUserMessageParam] = [{"role": "user", "content": EXTRACT}]


class Person(BaseModel):
    name: str = Field(max_length=20)
    age: int


class Report(BaseModel):
    """Most of what pydantic writes into a schema: definitions, alternatives, defaults, bounds, patterns."""

    kind: Literal["short", "long"]
    people: list[Person] = Field(max_length=1)
    words: list[Annotated[str, Field(max_length=9)]] = Field(min_length=1, max_length=3)
    pair: tuple[bool, None]
    code: str = Field(pattern=r"^[A-Z]{2}[0-9]{3}$")
    note: str | None = Field(default=None, max_length=10)
    score: float = Field(ge=0, le=1, multiple_of=0.25)


@pytest.fixture
def ai(daemon: Daemon) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{daemon.url}/v1", api_key="unused", max_retries=0) as client:
        yield client


@pytest.fixture
def old(daemon: Daemon) -> Iterator[ollama.Client]:
    with ollama.Client(host=daemon.url) as client:
        yield client


class TestOpenAI:
    def test_parses_into_a_model(self, ai: openai.OpenAI) -> None:
        answer = ai.chat.completions.parse(model="demo", messages=MESSAGES, response_format=Person)
        assert answer.choices[0].message.parsed == Person(name="Maria", age=34)

    @pytest.mark.parametrize("seed", range(3))
    def test_parses_whatever_is_drawn(self, ai: openai.OpenAI, seed: int) -> None:
        answer = ai.chat.completions.parse(
            model="demo", messages=MESSAGES, response_format=Report, temperature=1.0, seed=seed, max_tokens=400
        )
        assert isinstance(answer.choices[0].message.parsed, Report)

    def test_streams_into_a_model(self, ai: openai.OpenAI) -> None:
        with ai.chat.completions.stream(model="demo", messages=MESSAGES, response_format=Person) as stream:
            events = list(stream)
            final = stream.get_final_completion()
        assert final.choices[0].message.parsed == Person(name="Maria", age=34)
        assert sum(event.type == "content.delta" for event in events) > 1

    def test_any_object(self, ai: openai.OpenAI) -> None:
        answer = ai.chat.completions.create(model="demo", messages=MESSAGES, response_format={"type": "json_object"})
        assert json.loads(answer.choices[0].message.content or "") == {"name": "Maria", "age": 34}

    def test_a_thought_goes_before_it(self, ai: openai.OpenAI) -> None:
        answer = ai.chat.completions.create(
            model="demo",
            messages=[{"role": "user", "content": "Which port does Runner use?"}],
            reasoning_effort="low",
            extra_body={"guided_choice": ["8080", "11435"]},
        )
        assert answer.choices[0].message.content in ("8080", "11435")
        assert getattr(answer.choices[0].message, "reasoning_content", None)

    @pytest.mark.parametrize(
        ("extra", "pattern"),
        [
            ({"guided_regex": r"[a-z]{3,6}\.", "ignore_eos": True}, r"[a-z]{3,6}\."),
            ({"guided_choice": ["left", "right"], "min_p": 0.1}, "left|right"),
            ({"guided_grammar": 'root ::= "a" [0-9]{2}'}, "a[0-9]{2}"),
            ({"grammar": 'root ::= "b" [0-9]{2}'}, "b[0-9]{2}"),
            ({"structured_outputs": {"grammar": 'start: "c" /[0-9]{2}/'}, "top_k": 5}, "c[0-9]{2}"),
            ({"guided_json": {"enum": ["x", 1]}, "min_tokens": 1}, '"x"|1'),
            ({"json_schema": {"type": "boolean"}}, "true|false"),
        ],
    )
    def test_fields_of_other_servers(self, ai: openai.OpenAI, extra: dict[str, Any], pattern: str) -> None:
        chat = ai.chat.completions.create(model="demo", messages=MESSAGES, temperature=1.0, extra_body=extra)
        assert re.fullmatch(pattern, chat.choices[0].message.content or "")
        text = ai.completions.create(model="demo", prompt="Answer: ", temperature=1.0, extra_body=extra)
        assert re.fullmatch(pattern, text.choices[0].text)
        assert text.choices[0].finish_reason == "stop"

    def test_a_keyword_that_cannot_be_honoured_is_a_400_that_names_it(self, ai: openai.OpenAI) -> None:
        schema = {"type": "object", "properties": {"tags": {"type": "array", "uniqueItems": True}}}
        with pytest.raises(openai.BadRequestError, match="uniqueItems") as caught:
            ai.chat.completions.create(
                model="demo",
                messages=MESSAGES,
                response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
            )
        assert caught.value.param == "response_format.json_schema.schema.properties.tags.uniqueItems"
        assert caught.value.code == "invalid_request_error"


class TestOllama:
    def test_a_schema(self, old: ollama.Client) -> None:
        answer = old.chat("demo", [{"role": "user", "content": EXTRACT}], format=Person.model_json_schema())
        assert Person.model_validate_json(answer.message.content or "") == Person(name="Maria", age=34)

    def test_json(self, old: ollama.Client) -> None:
        answer = old.generate("demo", EXTRACT, format="json")
        assert json.loads(answer.response) == {"name": "Maria", "age": 34}
        assert answer.eval_count is not None
        assert answer.eval_count > 5

    def test_a_stream_with_a_thought(self, old: ollama.Client) -> None:
        question = [{"role": "user", "content": "Which port does Runner use?"}]
        parts = list(old.chat("demo", question, format={"enum": ["8080", "11435"]}, think=True, stream=True))
        assert json.loads("".join(part.message.content or "" for part in parts)) in ("8080", "11435")
        assert "".join(part.message.thinking or "" for part in parts)

    def test_no_format_at_all(self, old: ollama.Client) -> None:
        question = [{"role": "user", "content": "How do I pull a model?"}]
        assert old.chat("demo", question, format="").message.content == old.chat("demo", question).message.content

    def test_a_keyword_that_cannot_be_honoured(self, old: ollama.Client) -> None:
        with pytest.raises(ollama.ResponseError, match=r"not is not supported \(at format\.not\)") as caught:
            old.generate("demo", "x", format={"not": {}})
        assert caught.value.status_code == 400


def test_bombs_leave_the_worker_as_it_is(daemon: Daemon, ai: openai.OpenAI) -> None:
    ai.chat.completions.create(model="demo", messages=MESSAGES, max_tokens=1)
    before = set(daemon.workers())
    bombs: list[dict[str, Any]] = [
        {"guided_regex": "(a{1000}){1000}"},
        {"guided_json": {"type": "integer", "multipleOf": 999_983}},
        {"guided_grammar": "start: " + "(" * 20_000},
        {"grammar": "root ::= " + "(" * 20_000},
        {"guided_json": {"enum": [f"value {index}" for index in range(10_000)]}},
    ]
    for extra in bombs:
        with pytest.raises(openai.BadRequestError) as caught:
            ai.chat.completions.create(model="demo", messages=MESSAGES, extra_body=extra)
        assert caught.value.param == next(iter(extra))
    assert set(daemon.workers()) == before
    assert before


def test_the_command_line(daemon: Daemon) -> None:
    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "runner", "run", "demo", *arguments]
        done = subprocess.run(
            command, env=daemon.environment, input="", capture_output=True, text=True, timeout=120, check=True
        )
        return done.stdout

    assert json.loads(run("--format", "json", EXTRACT)) == {"name": "Maria", "age": 34}
    schema = json.dumps({"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]})
    answer = json.loads(run("--format", schema, EXTRACT))
    assert answer.keys() == {"age"}
    assert isinstance(answer["age"], int)
