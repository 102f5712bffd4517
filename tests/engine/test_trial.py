"""Constraints of every kind: what becomes of them as grammars, and what the helper process makes of bombs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from llguidance import LLMatcher, LLTokenizer

from runner.engine.trial import Trial, tried
from runner.errors import InvalidRequest
from runner.protocol.commands import CONSTRAINT_LIMIT, Constraint, ConstraintKind

BYTES = LLTokenizer("byte")
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
}
GBNF = r"""
# a list of words, or a greeting
root ::= greeting | item ("," ws item)*
greeting ::= "\u0048i" [\U00000021\u003F]? "\\u0041"
item ::= [a-z]{2,4}
ws ::= " "?
"""
WORDS = [f"w{index:05d}x{index * 7919 % 1000003}" for index in range(2000)]


def matches(source: str, text: str) -> bool:
    matcher = LLMatcher(BYTES, source)
    assert not matcher.is_error(), matcher.get_error()
    tokens = list(text.encode())
    return matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_accepting()


def refusal(kind: ConstraintKind, text: str) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        tried(Constraint(kind, text, "field"))
    return caught.value


@pytest.mark.parametrize(
    ("kind", "text", "right", "wrong"),
    [
        ("json", "", ["{}", '{"a": [1, "x", null, {"b": 1.5}]}'], ["[]", "1", '{"a":1}', '{ "a": 1}', ""]),
        (
            "schema",
            json.dumps(PERSON),
            ['{"name": "Ada", "age": 36}'],
            ['{"name": "Ada"}', '{"age": 36, "name": "Ada"}', '{"name": "Ada", "age": 36, "x": 1}'],
        ),
        ("schema", "{}", ["1", '"x"', "[true, null]", '{"a": 1}'], ["x", ""]),
        ("schema", '{"$schema": "http://json-schema.org/draft-04/schema#", "const": 5}', ["5"], ["6"]),
        ("regex", "^[a-c]+\\.$", ["abc."], ["abc", "d."]),
        ("choice", '["yes", "no", "no way", "\\"é\\n"]', ["yes", "no", "no way", '"é\n'], ["", "yesno", "maybe"]),
        ("lark", 'start: "a" WORD\nWORD: /[b-d]+/', ["abcd"], ["a", "bcd"]),
        ("lark", 'start: "<b>" %json {"type": "boolean"}  // <not a token>', ["<b>true"], ["<b>1"]),
        ("gbnf", GBNF, ["Hi!\\u0041", "Hi\\u0041", "ab, cde,fg"], ["Hi", "a", "ab,"]),
    ],
)
def test_what_matches(kind: ConstraintKind, text: str, right: list[str], wrong: list[str]) -> None:
    source = tried(Constraint(kind, text))
    assert [each for each in right if not matches(source, each)] == []
    assert [each for each in wrong if matches(source, each)] == []


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("lark", 'start: /a*/ "a"'),
        ("lark", '%llguidance {"no_forcing": false}\nstart: /a*/ "a"  // the same, insisting'),
        ("gbnf", 'root ::= "a" root'),
    ],
)
def test_a_grammar_without_an_end_is_not_followed_to_it(kind: ConstraintKind, text: str) -> None:
    matcher = LLMatcher(BYTES, tried(Constraint(kind, text)))
    assert matcher.compute_ff_tokens() == []


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        ("schema", "{", "is not JSON"),
        ("schema", '{"const": 1e400}', "out of range"),
        ("schema", "[" * 30_000 + "]" * 30_000, "nested too deeply"),
        ("schema", '{"const": ' + "[" * 500 + "]" * 500 + "}", "recursion limit"),
        ("schema", '{"$ref": "#"}', "nothing can match it"),
        ("regex", "", "must not be empty"),
        ("regex", "[", "unclosed character class"),
        ("regex", "a(?=b)", "look-ahead"),
        ("regex", "(" * 2000 + "a" + ")*" * 2000, "nested parentheses"),
        ("choice", "[]", "1 to 10000 choices"),
        ("choice", '["a", 1]', "must be a list of strings"),
        ("choice", '"a"', "must be a list of strings"),
        ("lark", "", "no start rule"),
        ("lark", "start: x", "unknown name"),
        ("lark", "start: s\ns: s", "nothing can match it"),
        ("lark", "start: " + "(" * 5000 + '"a"' + ")" * 5000, "too deeply nested"),
        ("lark", 'start: "a" <|im_end|>', "special tokens"),
        ("lark", "start: <[5]>", "special tokens"),
        ("lark", 'start: %json {"not": {}}', "not"),
        ("gbnf", "x", "Expected ::="),
        ("gbnf", "root ::= x", "Rule 'x' not found"),
        ("gbnf", 'a ::= "b"', "No 'root' rule"),
        ("gbnf", "root ::= " + "(" * 5000 + '"a"' + ")" * 5000, "nested too deeply"),
        ("gbnf", "\n".join(f'r{index} ::= "a"' for index in range(501)), "500 rules"),
    ],
)
def test_what_is_refused_says_why(kind: ConstraintKind, text: str, words: str) -> None:
    error = refusal(kind, text)
    assert words in error.message
    assert error.field == "field"
    assert "\n" not in error.message


@pytest.mark.parametrize("kind", ["schema", "regex", "choice", "lark", "gbnf"])
def test_the_text_is_bounded(kind: ConstraintKind) -> None:
    assert str(CONSTRAINT_LIMIT) in refusal(kind, "é" * (CONSTRAINT_LIMIT // 2 + 1)).message


@pytest.mark.parametrize(
    ("schema", "field"),
    [
        ({"properties": {"a": {"type": "array", "uniqueItems": True}}}, "field.properties.a.uniqueItems"),
        ({"properties": {"a": {"type": "foo"}}}, "field.properties.a.type"),
        ({"items": {"type": "string", "format": "foo"}}, "field.items.format"),
        ({"type": "string", "pattern": r"(a)\1"}, "field.pattern"),
        ({"$defs": {"t": {"pattern": "(?!x)"}}, "items": {"$ref": "#/$defs/t"}}, "field.$defs.t.pattern"),
        ({"$ref": "#/$defs/nope"}, "field.$ref"),
        ({"oneOf": [{"type": "number"}, {"type": "integer"}]}, "field.oneOf"),
        ({"enum": []}, "field.enum"),
        ({"type": "integer", "minimum": 5, "maximum": 3}, "field.minimum"),
        ({"type": "integer", "multipleOf": 0}, "field.multipleOf"),
        ({"type": "object", "properties": {"a": {}, "b": {}, "c": {}}, "minProperties": 2}, "field.minProperties"),
    ],
)
def test_the_keyword_that_cannot_be_honoured_is_named(schema: dict[str, Any], field: str) -> None:
    error = refusal("schema", json.dumps(schema))
    assert error.field == field
    assert field.rpartition(".")[2] in error.message


# -- the helper process

BOMBS: dict[str, tuple[ConstraintKind, str]] = {
    "a division": ("schema", json.dumps({"type": "integer", "multipleOf": 999_983})),
    "a million copies": ("regex", "(a{1000}){1000}"),
    "an intersection": ("lark", "start: T\nT: " + " & ".join(f"/.*{word}.*/" for word in WORDS[:30])),
    "patterns compared": ("schema", json.dumps({"patternProperties": {f"^{word}.*": {} for word in WORDS[:300]}})),
    "laughs": (
        "schema",
        json.dumps(
            {
                "$defs": {
                    f"d{index}": {
                        "allOf": [
                            {"type": "object", "properties": {"x": {"$ref": f"#/$defs/d{index + 1}"}}},
                            {"type": "object", "properties": {key: {"$ref": f"#/$defs/d{index + 1}"} for key in "xy"}},
                        ]
                    }
                    for index in range(30)
                }
                | {"d30": {"type": "string"}},
                "$ref": "#/$defs/d0",
            }
        ),
    ),
    "rows": ("schema", json.dumps({"type": "object", "properties": {word: {} for word in WORDS[:1000]}})),
}


@pytest.fixture(scope="module")
def trial() -> Iterator[Trial]:
    trial = Trial()
    trial.judge(Constraint("json"))
    yield trial
    trial.close()


def test_the_process_says_what_trying_says(trial: Trial) -> None:
    constraint = Constraint("schema", json.dumps(PERSON))
    assert trial.judge(constraint) == tried(constraint)
    with pytest.raises(InvalidRequest, match="uniqueItems") as caught:
        trial.judge(Constraint("schema", '{"uniqueItems": true}', "response_format.json_schema.schema"))
    assert caught.value.field == "response_format.json_schema.schema.uniqueItems"


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_in_time_and_the_next_one_is_served(trial: Trial, name: str) -> None:
    kind, text = BOMBS[name]
    trial.judge(Constraint("json"))  # a process that is up
    start = time.monotonic()
    with pytest.raises(InvalidRequest) as caught:
        trial.judge(Constraint(kind, text, "guided"))
    assert time.monotonic() - start < 3.0  # two, and what a busy machine adds
    assert caught.value.field is not None
    assert caught.value.field.startswith("guided")
    assert matches(trial.judge(Constraint("regex", "a+")), "aa")


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("choice", json.dumps([word[:6] for word in WORDS])),
        ("schema", json.dumps({"enum": WORDS})),
        ("regex", ".*a.{400}"),
        ("lark", 'start: A\nA: B{1000}\nB: "a"{1000}'),
        ("regex", "(x+x+)+y"),
        ("regex", r"(\w|\d|\s){1,500}z"),
        ("schema", json.dumps({"type": "string", "maxLength": 1_000_000})),
        ("schema", json.dumps({"type": "array", "minItems": 1_000_000, "items": {"type": "integer"}})),
        (
            "schema",
            json.dumps({"$defs": {"t": {"properties": {"left": {"$ref": "#/$defs/t"}}}}, "$ref": "#/$defs/t"}),
        ),
    ],
)
def test_what_only_looks_like_one_is_served(trial: Trial, kind: ConstraintKind, text: str) -> None:
    assert trial.judge(Constraint(kind, text))


def test_a_process_that_was_killed_is_started_again(trial: Trial) -> None:
    assert trial._process is not None
    trial._process.kill()
    trial._process.wait()
    assert trial.judge(Constraint("json"))
