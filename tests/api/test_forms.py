"""The ways in which clients say what an answer must look like, in both dialects."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runner.inference.requests import Chat, Complete
from runner.protocol.commands import CONSTRAINT_LIMIT, Constraint
from tests.api.serving import Served

HI = [{"role": "user", "content": "Hi"}]
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"b": {"type": "integer"}, "a": {"type": "string"}}}
TEXT = json.dumps(SCHEMA, separators=(",", ":"))  # as it came: the order of the properties is that of the answer
GBNF = 'root ::= "yes" | no\nno ::= "no"'
LARK = 'start: "yes" | /no+/'
NATIVE = {"/api/generate": {"prompt": "Hi"}, "/api/chat": {"messages": HI}}
OPENAI = {"/v1/chat/completions": {"messages": HI}, "/v1/completions": {"prompt": "Hi"}}
FIELD = "response_format.json_schema.schema"


def json_schema(schema: object, **more: object) -> dict[str, object]:
    return {"type": "json_schema", "json_schema": {"name": "thing", "schema": schema, **more}}


def seen(server: Served) -> Constraint | None:
    (request,) = server.service.seen
    assert isinstance(request, Chat | Complete)
    return request.constraint


@pytest.mark.parametrize(
    ("form", "constraint"),
    [
        (None, None),
        ("", None),
        ("json", Constraint("json")),
        (SCHEMA, Constraint("schema", TEXT)),
        ({}, Constraint("schema", "{}")),
    ],
)
@pytest.mark.parametrize("path", NATIVE)
def test_format(server: Served, path: str, form: object, constraint: Constraint | None) -> None:
    assert server.post(path, {"model": "demo", **NATIVE[path], "format": form}).status == 200
    assert seen(server) == constraint


@pytest.mark.parametrize("form", ["yaml", "{}", 5, True, [SCHEMA], 1.5])
@pytest.mark.parametrize("path", NATIVE)
def test_what_format_cannot_be(server: Served, path: str, form: object) -> None:
    reply = server.post(path, {"model": "demo", **NATIVE[path], "format": form})
    assert reply.status == 400
    assert reply.json["error"].startswith('format must be "json" or a JSON Schema')
    assert server.service.seen == []


@pytest.mark.parametrize(
    ("body", "constraint"),
    [
        ({"response_format": None}, None),
        ({"response_format": {"type": "text"}}, None),
        ({"response_format": {"type": "json_object"}}, Constraint("json", field="response_format")),
        (
            {"response_format": {"type": "json_object", "schema": SCHEMA}},
            Constraint("schema", TEXT, "response_format.schema"),
        ),
        ({"response_format": json_schema(SCHEMA, strict=True)}, Constraint("schema", TEXT, FIELD)),
        ({"response_format": json_schema(SCHEMA, strict=None, description="d")}, Constraint("schema", TEXT, FIELD)),
        ({"response_format": json_schema(True)}, Constraint("schema", "true", FIELD)),
        ({"guided_json": SCHEMA}, Constraint("schema", TEXT, "guided_json")),
        ({"guided_json": "{ }"}, Constraint("schema", "{ }", "guided_json")),
        ({"guided_regex": "[a-z]+"}, Constraint("regex", "[a-z]+", "guided_regex")),
        ({"guided_choice": ["ja", "né"]}, Constraint("choice", '["ja","né"]', "guided_choice")),
        ({"guided_grammar": GBNF}, Constraint("gbnf", GBNF, "guided_grammar")),
        ({"guided_grammar": LARK}, Constraint("lark", LARK, "guided_grammar")),
        ({"structured_outputs": {"json": SCHEMA}}, Constraint("schema", TEXT, "structured_outputs.json")),
        ({"structured_outputs": {"regex": "a"}}, Constraint("regex", "a", "structured_outputs.regex")),
        ({"structured_outputs": {"choice": ["a"]}}, Constraint("choice", '["a"]', "structured_outputs.choice")),
        ({"structured_outputs": {"grammar": LARK}}, Constraint("lark", LARK, "structured_outputs.grammar")),
        ({"structured_outputs": {"json_object": True}}, Constraint("json", field="structured_outputs.json_object")),
        ({"structured_outputs": {}}, None),
        ({"json_schema": SCHEMA}, Constraint("schema", TEXT, "json_schema")),
        ({"grammar": GBNF}, Constraint("gbnf", GBNF, "grammar")),
        ({"guided_regex": "", "guided_choice": [], "grammar": "", "guided_decoding_backend": "xgrammar"}, None),
        ({"response_format": {"type": "text"}, "guided_regex": "a"}, Constraint("regex", "a", "guided_regex")),
    ],
)
@pytest.mark.parametrize("path", OPENAI)
def test_openai_and_those_who_extend_it(
    server: Served, path: str, body: dict[str, Any], constraint: Constraint | None
) -> None:
    reply = server.post(path, {"model": "demo", **OPENAI[path], **body})
    assert reply.status == 200, reply.body
    assert seen(server) == constraint


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({"response_format": {}}, "response_format.type", "must be text, json_object or json_schema"),
        ({"response_format": {"type": "regex"}}, "response_format.type", "must be text, json_object or json_schema"),
        ({"response_format": "json"}, "response_format", "must be an object"),
        ({"response_format": {"type": "json_schema"}}, FIELD, "is required"),
        ({"response_format": json_schema(None)}, FIELD, "is required"),
        ({"response_format": json_schema("")}, FIELD, "is required"),
        ({"response_format": json_schema([1])}, FIELD, "must be a JSON Schema"),
        ({"response_format": {"type": "json_object", "schema": 5}}, "response_format.schema", "must be a JSON Schema"),
        ({"guided_json": 5}, "guided_json", "must be a JSON Schema"),
        ({"guided_regex": 5}, "guided_regex", "must be a string"),
        ({"guided_choice": "a"}, "guided_choice", "must be a list"),
        ({"guided_choice": ["a", 1]}, "guided_choice[1]", "must be a string"),
        ({"guided_grammar": {}}, "guided_grammar", "must be a string"),
        ({"grammar": ["a"]}, "grammar", "must be a string"),
        ({"structured_outputs": []}, "structured_outputs", "must be an object"),
        ({"structured_outputs": {"structural_tag": {}}}, "structured_outputs.structural_tag", "is not supported"),
        (
            {"guided_json": SCHEMA, "response_format": {"type": "json_object"}},
            "guided_json",
            "response_format and guided_json can't both be given",
        ),
        ({"guided_regex": "a", "grammar": GBNF}, "grammar", "guided_regex and grammar can't both be given"),
        ({"structured_outputs": {"regex": "a", "choice": ["a"]}}, "structured_outputs.choice", "can't both be given"),
        ({"guided_regex": "é" * CONSTRAINT_LIMIT}, "guided_regex", f"{CONSTRAINT_LIMIT} are allowed"),
        ({"guided_json": {"description": "x" * CONSTRAINT_LIMIT}}, "guided_json", f"{CONSTRAINT_LIMIT} are allowed"),
    ],
)
@pytest.mark.parametrize("path", OPENAI)
def test_what_is_wrong_is_named(server: Served, path: str, body: dict[str, Any], field: str, words: str) -> None:
    reply = server.post(path, {"model": "demo", **OPENAI[path], **body})
    assert reply.status == 400
    assert reply.json["error"]["param"] == field
    assert words in reply.json["error"]["message"]
    assert server.service.seen == []


@pytest.mark.parametrize("depth", [300, 900, 5000])
@pytest.mark.parametrize("path", [*NATIVE, *OPENAI])
def test_depth_is_no_danger(server: Served, path: str, depth: int) -> None:
    """Shallower ones are the worker's to judge, and so is their meaning."""
    field = "format" if path in NATIVE else "guided_json"
    body = {"model": "demo", **(NATIVE | OPENAI)[path]}
    deep = '{"items":' * depth + "{}" + "}" * depth
    data = json.dumps(body)[:-1] + f', "{field}": {deep}}}'
    reply = server.ask("POST", path, data.encode(), {"Content-Type": "application/json"})
    assert reply.status in (200, 400)
    if depth == 5000:
        assert reply.status == 400
        assert b"nested too deeply" in reply.body
