"""Demanded calls: what the grammar of any format allows is read back as calls that keep to the tools' schemas."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from llguidance import LLMatcher, LLTokenizer

from runner.conversation import ToolSpec
from runner.engine import demand, grammar
from runner.engine.demand import Demand, Offer
from runner.engine.trial import tried
from runner.errors import InvalidRequest
from runner.formats import GENERIC, CallFormat
from runner.formats.calls import CALLS
from runner.protocol.commands import Constraint
from runner.reply.assemble import Assembly
from runner.reply.parts import Call, Part

BYTES = LLTokenizer("byte")
FORMATS = {form.name: form for _, form in CALLS} | {"generic": GENERIC}

TOOLS = (
    ToolSpec(
        "look_up",
        "",
        {
            "type": "object",
            "properties": {
                "text": {"type": "string", "maxLength": 20},
                "number": {"type": "integer"},
                "kind": {"enum": ["a", "b c"]},
                "flag": {"type": ["boolean", "null"]},
                "many": {"type": "array", "items": {"type": "string", "maxLength": 3}, "maxItems": 2},
                "nested": {
                    "type": "object",
                    "properties": {"deep": {"type": "number", "minimum": 0, "maximum": 9}},
                    "required": ["deep"],
                },
            },
            "required": ["text", "nested"],
        },
    ),
    ToolSpec("nothing", "", {"type": "object", "properties": {}}),
)


def offers(*tools: ToolSpec) -> tuple[Offer, ...]:
    return tuple(Offer(place, tool) for place, tool in enumerate(tools))


def drawn(form: CallFormat, dice: random.Random, *, several: bool, tools: tuple[ToolSpec, ...] = TOOLS) -> str:
    """A random text that the grammar allows. Frames close now and then, as a model would see to."""
    source = grammar.of_calls(Demand(form, offers(*tools), several), {})
    matcher = LLMatcher(BYTES, source, log_level=0, limits=grammar.LIMITS)
    assert not matcher.get_error(), matcher.get_error()
    closers = [form.value_close, form.quote, "<|end|>", chr(34)]
    written = bytearray()
    while not matcher.is_stopped():
        if matcher.is_accepting() and dice.random() < 0.7:
            break
        assert len(written) < 5000
        closer = list(dice.choice(closers).encode())
        if dice.random() < 0.3 and closer and matcher.validate_tokens(closer) == len(closer):
            chosen = closer
        else:
            mask = matcher.compute_bitmask()
            allowed = [token for token in range(256) if mask[token >> 3] >> (token & 7) & 1]
            assert allowed, bytes(written)
            chosen = [dice.choice(allowed)]
        assert matcher.try_consume_tokens(chosen) == len(chosen)
        written += bytes(chosen)
    return written.decode("utf-8")


def read(form: CallFormat, text: str, tools: tuple[ToolSpec, ...] = TOOLS) -> tuple[str, list[tuple[str, Any]]]:
    """What isn't a call, and the calls."""
    assembly = Assembly(None, form, tools)
    parts = [*assembly.feed(text), *assembly.finish()]
    names: dict[int, str] = {}
    arguments: dict[int, str] = {}
    complete = set()
    for part in parts:
        if isinstance(part, Call):
            names.setdefault(part.index, part.name)
            arguments[part.index] = arguments.get(part.index, "") + part.arguments
            if part.complete:
                complete.add(part.index)
    assert complete == set(names), text
    text = "".join(part.text for part in parts if isinstance(part, Part) and part.kind == "answer")
    return text, [(names[index], json.loads(arguments[index])) for index in names]


def check(arguments: dict[str, Any]) -> None:
    assert set(arguments) <= {"text", "number", "kind", "flag", "many", "nested"}
    assert len(arguments["text"]) <= 20
    assert isinstance(arguments.get("number", 0), int)
    assert arguments.get("kind", "a") in ("a", "b c")
    assert arguments.get("flag") in (True, False, None)
    assert all(isinstance(each, str) for each in arguments.get("many", []))
    assert 0 <= arguments["nested"]["deep"] <= 9


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_allowed_is_read_back(name: str) -> None:
    form = FORMATS[name]
    for seed in range(6):
        text = drawn(form, random.Random(seed), several=seed % 2 == 0)
        around, calls = read(form, text)
        assert not around, (text, around)
        assert calls, text
        assert len(calls) == 1 or seed % 2 == 0
        for called, arguments in calls:
            if called == "look_up":
                check(arguments)
            else:
                assert (called, arguments) == ("nothing", {})


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("hermes", {"properties": {"a": {"not": {}}}}, "tools[1].function.parameters.properties.a.not"),
    ("hermes", {"type": "array"}, "tools[1].function.parameters"),
    ("qwen3-coder", {"anyOf": [{"required": []}]}, "tools[1].function.parameters.anyOf"),
    (
        "glm",
        {"properties": {"a": {"type": "string", "pattern": "a+"}}},
        "tools[1].function.parameters.properties.a.pattern",
    ),
    ("glm", {"properties": {"a": {}}, "required": 3}, "tools[1].function.parameters"),
    ("lfm2", {"properties": {"a b": {}}}, "tools[1].function.parameters"),
]


@pytest.mark.parametrize(("name", "parameters", "field"), REFUSED)
def test_a_schema_that_cannot_be_honoured_is_named(name: str, parameters: dict[str, Any], field: str) -> None:
    demanded = Demand(FORMATS[name], offers(TOOLS[1], ToolSpec("bad", "", parameters)), several=False)
    with pytest.raises(InvalidRequest) as caught:
        tried(Constraint("calls", demand.written(demanded), "tools"))
    assert caught.value.field == field


def test_a_schema_that_only_the_compiler_refuses_is_named_too() -> None:
    bad = ToolSpec("bad", "", {"properties": {"a": {"type": "string", "pattern": "("}}})
    demanded = Demand(FORMATS["hermes"], offers(TOOLS[1], bad), several=True)
    with pytest.raises(InvalidRequest) as caught:
        tried(Constraint("calls", demand.written(demanded), "tools"))
    assert caught.value.field == "tools[1].function.parameters.properties.a.pattern"
