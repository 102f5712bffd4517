"""Answers that keep to a form, from a real worker with the demo model.

What a small model says in a form is chance; that it is in the form is not. So most of these tests hold the text to the
grammar itself, byte by byte, and let `length` cut it where it may.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import count
from typing import Any

import msgspec
import psutil
import pytest
from llguidance import LLMatcher, LLTokenizer

from modelfiles.embedded import demo_gguf
from runner.conversation import Message, ThinkLevel
from runner.engine.trial import tried
from runner.protocol.commands import (
    Cancel,
    ChatPrompt,
    Constraint,
    ConstraintKind,
    Generate,
    InfillPrompt,
    Prompt,
    TextPrompt,
    TokenPrompt,
)
from runner.protocol.events import Done, Failed, Ready, Stats, Text
from runner.protocol.options import SampleOptions
from tests.engine.worker_process import WorkerProcess

BYTES = LLTokenizer("byte")
EXTRACT = "Extract name and age as JSON: Maria is 34 years old."
PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer"}},
    "required": ["name", "age"],
}
SCHEMAS: dict[str, dict[str, Any]] = {
    "person": PERSON,
    "nested": {
        "$defs": {"person": PERSON},
        "type": "object",
        "properties": {
            "people": {"type": "array", "items": {"$ref": "#/$defs/person"}, "minItems": 1, "maxItems": 2},
            "mood": {"enum": ["good", "bad", None]},
            "score": {"type": "number", "multipleOf": 0.5, "minimum": 0, "maximum": 10},
            "when": {"type": "string", "format": "date"},
        },
        "required": ["people", "mood", "score", "when"],
    },
    "any of": {"anyOf": [{"type": "boolean"}, {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3}$"}, {"const": [1, 2]}]},
    "a list": {
        "type": "array",
        "items": {"type": "integer", "minimum": 0, "maximum": 99},
        "minItems": 3,
        "maxItems": 3,
    },
    "recursive": {
        "$defs": {
            "tree": {
                "type": "object",
                "properties": {"leaf": {"type": "boolean"}, "left": {"$ref": "#/$defs/tree"}},
                "required": ["leaf"],
            }
        },
        "$ref": "#/$defs/tree",
    },
}
_ids = count(1)


@pytest.fixture(scope="module")
def worker() -> Iterator[WorkerProcess]:
    process = WorkerProcess(demo_gguf(), num_ctx=1024, num_parallel=9)
    yield process
    assert process.close() == 0


def chat(text: str, think: bool | ThinkLevel | None = None) -> ChatPrompt:
    return ChatPrompt((Message("user", text),), think=think)


def form(kind: ConstraintKind, value: object = "") -> Constraint:
    return Constraint(kind, value if isinstance(value, str) else json.dumps(value))


def generate(prompt: Prompt | str, constraint: Constraint | None, **options: Any) -> Generate:
    sampling = msgspec.structs.replace(SampleOptions(temperature=0.0, num_predict=120), **options)
    return Generate(next(_ids), chat(prompt) if isinstance(prompt, str) else prompt, sampling, constraint=constraint)


def one(worker: WorkerProcess, command: Generate) -> tuple[str, Done]:
    answer = worker.ask(command)[command.id]
    assert isinstance(answer.end, Done), answer.end
    return answer.text, answer.end


def refusal(worker: WorkerProcess, constraint: Constraint) -> Failed:
    command = generate("x", constraint)
    end = worker.ask(command)[command.id].end
    assert isinstance(end, Failed), end
    return end


def hold(constraint: Constraint, text: str, done: Done) -> None:
    """The text is a beginning of what the grammar allows, and all of it unless the limit cut it."""
    matcher = LLMatcher(BYTES, tried(constraint))
    data = list(text.encode())
    assert matcher.try_consume_tokens(data) == len(data), text
    assert done.reason in ("stop", "length")
    if done.reason == "stop":
        assert matcher.is_accepting(), text
        if constraint.kind in ("json", "schema"):
            json.loads(text)


def test_an_extraction_in_its_form(worker: WorkerProcess) -> None:
    for constraint in (form("json"), form("schema", PERSON)):
        text, done = one(worker, generate(EXTRACT, constraint))
        assert done.reason == "stop"
        assert json.loads(text) == {"name": "Maria", "age": 34}


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("name", ["json", *SCHEMAS])
def test_whatever_the_model_wants_the_answer_is_in_its_form(
    worker: WorkerProcess, name: str, temperature: float
) -> None:
    constraint = form("json") if name == "json" else form("schema", SCHEMAS[name])
    prompts: list[Prompt] = [chat(EXTRACT), chat("How do I pull a model?"), TextPrompt("def f(x):")]
    commands = [
        generate(prompt, constraint, temperature=temperature, seed=seed, top_k=0, top_p=1.0)
        for seed in range(3 if temperature else 1)
        for prompt in prompts
    ]
    answers = worker.ask(*commands)
    for command in commands:
        answer = answers[command.id]
        assert isinstance(answer.end, Done), answer.end
        hold(constraint, answer.text, answer.end)


@pytest.mark.parametrize(
    ("constraint", "pattern"),
    [
        (form("regex", r"[A-Z][a-z]{2,8}( [a-z]{1,8}){0,5}\."), r"[A-Z][a-z]{2,8}( [a-z]{1,8}){0,5}\."),
        (form("regex", r"\d{3}-\d{4}"), r"\d{3}-\d{4}"),
        (form("choice", ["yes", "no", "I don't know"]), r"yes|no|I don't know"),
        (form("choice", ["Grüße 🙂\n"]), "Grüße 🙂\n"),
        (form("lark", 'start: "port=" NUMBER\nNUMBER: /[1-9][0-9]{1,4}/'), r"port=[1-9][0-9]{1,4}"),
        (
            form("gbnf", 'root ::= verb " " noun "."?\nverb ::= "pull" | "run"\nnoun ::= [a-z]{1,9}'),
            r"(pull|run) [a-z]{1,9}\.?",
        ),
    ],
)
@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_other_kinds(worker: WorkerProcess, constraint: Constraint, pattern: str, temperature: float) -> None:
    for seed in range(3):
        text, done = one(worker, generate("Which port?", constraint, temperature=temperature, seed=seed))
        assert done.reason == "stop"
        assert re.fullmatch(pattern, text)


@pytest.mark.parametrize(
    "options",
    [
        {"top_k": 1},
        {"top_k": 0, "typical_p": 0.4},
        {"min_p": 0.2},
        {"top_n_sigma": 1.0},
        {"xtc_probability": 1.0, "xtc_threshold": 0.05},
        {"mirostat": 1},
        {"mirostat": 2, "mirostat_tau": 2.0},
        {"dry_multiplier": 0.8},
        {"repeat_penalty": 1.8, "repeat_last_n": -1, "presence_penalty": 0.5},
        {"logit_bias": {5: 90.0}},
        {"ignore_eos": True},
        {"min_tokens": 100},
    ],
)
def test_every_sampler_keeps_to_the_form(worker: WorkerProcess, options: dict[str, Any]) -> None:
    constraint = form("schema", PERSON)
    text, done = one(worker, generate(TextPrompt("def main("), constraint, temperature=1.2, seed=5, **options))
    hold(constraint, text, done)
    assert done.reason == "stop"  # also where the end was to be outlasted: nothing else is left to say


def test_tokens_that_have_to_follow_are_counted_and_streamed(worker: WorkerProcess) -> None:
    fixed = {"const": {"status": "a fixed text of some length", "values": [1, 2, 3, 4, 5, 6, 7, 8]}}
    command = generate("x", form("schema", fixed))
    worker.send(command)
    texts: list[Text] = []
    while not isinstance(event := next(worker.events()), Done):
        if isinstance(event, Text):
            texts.append(event)
    assert json.loads("".join(text.text for text in texts)) == fixed["const"]
    assert sum(text.tokens for text in texts) == event.usage.completion_tokens > 15
    assert len(texts) == 1


def test_they_save_steps(worker: WorkerProcess) -> None:
    def steps(constraint: Constraint | None, tokens: int) -> int:
        before = _steps(worker)
        _, done = one(worker, generate("x", constraint, num_predict=tokens, ignore_eos=True))
        assert done.usage.completion_tokens == tokens
        return _steps(worker) - before

    fixed = form("schema", {"const": "a fixed text of some length that goes on and on and on"})
    asking = 1
    assert steps(None, 12) == 12 + asking
    assert steps(fixed, 12) == 1 + asking


def _steps(worker: WorkerProcess) -> int:
    """The engine's own count, which it tells when it has nothing to do."""
    one(worker, generate("x", None, num_predict=1))
    return next(event for event in worker.events() if isinstance(event, Stats)).steps


@pytest.mark.parametrize("wanted", [1, 2, 5])
def test_the_limit_cuts_what_has_to_follow(worker: WorkerProcess, wanted: int) -> None:
    constraint = form("schema", {"const": "a fixed text of some length"})
    text, done = one(worker, generate("x", constraint, num_predict=wanted))
    assert (done.reason, done.usage.completion_tokens) == ("length", wanted)
    hold(constraint, text, done)


def test_a_complete_answer_ends_at_once(worker: WorkerProcess) -> None:
    _, whole = one(worker, generate("x", form("choice", ["yes"])))
    text, done = one(worker, generate("x", form("choice", ["yes"]), num_predict=whole.usage.completion_tokens))
    assert (text, done.reason) == ("yes", "stop")


def test_stop_strings_end_it_before_its_form_does(worker: WorkerProcess) -> None:
    text, done = one(worker, generate(EXTRACT, form("schema", PERSON), stop=('", "age',)))
    assert (text, done.reason, done.stop) == ('{"name": "Maria', "stop", '", "age')


def test_infill_and_raw_prompts_have_forms_too(worker: WorkerProcess) -> None:
    constraint = form("regex", "[a-z]{3}")
    for prompt in (InfillPrompt("def f(", "):"), TextPrompt("def "), TokenPrompt((300, 301))):
        text, _ = one(worker, generate(prompt, constraint))
        assert re.fullmatch("[a-z]{3}", text)


class TestThinking:
    def test_the_form_begins_after_the_thought(self, worker: WorkerProcess) -> None:
        constraint = form("choice", ["8080", "11435"])
        text, done = one(worker, generate(chat("Which port does Runner use?", think=True), constraint))
        thought, closing, answer = text.partition("</think>")
        assert closing
        assert len(thought) > 10
        assert answer.strip() in ("8080", "11435")
        assert done.reason == "stop"

    @pytest.mark.parametrize("seed", range(4))
    def test_at_any_temperature(self, worker: WorkerProcess, seed: int) -> None:
        constraint = form("schema", PERSON)
        text, done = one(worker, generate(chat(EXTRACT, think=True), constraint, temperature=1.3, seed=seed))
        thought, closing, answer = text.partition("</think>")
        if closing:
            hold(constraint, answer.lstrip(), done)
        elif thought.startswith("<think>"):
            assert done.reason == "length"
        else:  # it began with the answer
            hold(constraint, text, done)

    def test_a_thought_that_the_prompt_opened(self) -> None:
        template = (
            "<|im_start|>user\n{{ messages[-1].content }}<|im_end|>\n<|im_start|>assistant\n<think>\n{# </think> #}"
        )
        process = WorkerProcess(demo_gguf(), template=template)
        command = generate(chat("Which port does Runner use?"), form("choice", ["yes"]))
        answer = process.ask(command)[command.id]
        assert answer.started is not None
        assert answer.started.in_thought
        thought, closing, rest = answer.text.partition("</think>")
        assert closing
        assert thought
        assert rest.strip() == "yes"
        assert process.close() == 0

    def test_none_where_none_was_wanted(self, worker: WorkerProcess) -> None:
        text, _ = one(worker, generate(chat("Which port does Runner use?", think=False), form("choice", ["yes"])))
        assert text == "yes"


def test_forms_in_a_crowd_change_nothing_for_each_other(worker: WorkerProcess) -> None:
    forms = [None, form("json"), form("schema", PERSON), form("choice", ["yes", "no"]), form("regex", "[a-z ]{20,40}")]
    alone = [one(worker, generate(EXTRACT, each))[0] for each in forms[:3]]
    commands = [generate(EXTRACT, forms[index % len(forms)]) for index in range(15)]
    answers = worker.ask(*commands)
    for index, command in enumerate(commands):
        answer = answers[command.id]
        assert isinstance(answer.end, Done)
        if index % len(forms) < len(alone):
            assert answer.text == alone[index % len(forms)]
        elif command.constraint is not None:
            hold(command.constraint, answer.text, answer.end)


def test_the_preempted_come_back_in_the_midst_of_their_forms() -> None:
    """Answers of some 90 tokens, a part of which have to follow, share fewer cells than they need."""
    schema = {
        "type": "object",
        "properties": {f"field_{index}": {"type": "string", "pattern": "^[a-z]{8}$"} for index in range(9)},
        "required": [f"field_{index}" for index in range(9)],
    }
    constraint = form("schema", schema)
    process = WorkerProcess(demo_gguf(), num_ctx=256, num_parallel=8, cells=256)
    commands = [generate(f"question {index}", constraint, num_predict=200) for index in range(8)]
    answers = process.ask(*commands)
    for command in commands:
        end = answers[command.id].end
        assert isinstance(end, Done)
        hold(constraint, answers[command.id].text, end)
        assert end.reason == "stop"
    assert next(event for event in process.events() if isinstance(event, Stats)).preemptions > 0
    assert process.close() == 0


def test_a_cancel_ends_one(worker: WorkerProcess) -> None:
    command = generate("x", form("regex", "[a-z]{5000}"), num_predict=-1)
    worker.send(command)
    while not isinstance(next(worker.events()), Text):
        pass
    worker.send(Cancel(command.id))
    end = worker.answers([command.id])[command.id].end
    assert isinstance(end, Done)
    assert end.reason == "cancelled"


@pytest.mark.parametrize(
    ("constraint", "field"),
    [
        (form("schema", {"properties": {"a": {"uniqueItems": True}}}), "format.properties.a.uniqueItems"),
        (form("schema", {"properties": {"a": {"type": "foo"}}}), "format.properties.a.type"),
        (form("schema", "{"), "format"),
        (form("schema", [1]), "format"),
        (form("regex", "("), "format"),
        (form("regex", "(a{1000}){1000}"), "format"),
        (form("schema", {"type": "integer", "multipleOf": 999_983}), "format"),
        (form("lark", "start: ("), "format"),
        (form("lark", "start: " + "(" * 20_000), "format"),
        (form("gbnf", "root ::= x"), "format"),
        (form("gbnf", "root ::= " + "(" * 20_000), "format"),
        (form("choice", [f"choice {index}" for index in range(10_000)]), "format"),
        (form("schema", {"enum": [f"value {index}" for index in range(10_000)]}), "format"),
        (form("schema", '{"items":' * 5000 + "{}" + "}" * 5000), "format"),
        (form("schema", '{"items":' * 50 + "{}" + "}" * 50), "format.items.items"),
    ],
)
def test_what_cannot_be_kept_to_is_refused_and_the_worker_goes_on(
    worker: WorkerProcess, constraint: Constraint, field: str
) -> None:
    pid = worker.process.pid
    end = refusal(worker, constraint)
    assert end.code == "invalid_request_error"
    assert end.field is not None
    assert end.field.startswith(field)
    assert worker.process.poll() is None
    assert worker.process.pid == pid
    assert json.loads(one(worker, generate(EXTRACT, form("schema", PERSON)))[0]) == {"name": "Maria", "age": 34}


def test_the_helper_process_ends_with_the_worker() -> None:
    for end in ("stopped", "killed"):
        process = WorkerProcess(demo_gguf())
        assert isinstance(process.ready, Ready)
        assert one(process, generate("x", form("choice", ["yes"])))[0] == "yes"
        (helper,) = psutil.Process(process.process.pid).children()
        if end == "stopped":
            assert process.close() == 0
        else:
            process.process.kill()
            process.close()
        helper.wait(timeout=10)


def test_many_grammars_take_no_more_memory_than_few(worker: WorkerProcess) -> None:
    def memory() -> int:
        return int(psutil.Process(worker.process.pid).memory_info().rss)

    def some(first: int) -> None:
        for index in range(first, first + 70):
            schema = {**PERSON, "title": str(index)}
            command = generate("x", form("schema", schema), num_predict=1)
            assert isinstance(worker.ask(command)[command.id].end, Done)

    some(0)
    before = memory()
    some(1000)
    some(2000)
    assert memory() - before < 8 << 20
