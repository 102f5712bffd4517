"""Whatever is sent, by the document's rules or against them: an answer as the document has it, no 500 and no hang."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from msgspec import inspect as types
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from runner.api.openapi import document
from tests.api.endpoints import BODIES, TABLE, method, routes
from tests.api.serving import Reply, Served

_CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
SCHEMA = schemathesis.openapi.from_dict(document(routes()))
OPERATIONS = {f"{each.ok().method.upper()} {each.ok().path}": each.ok() for each in SCHEMA.get_all_operations()}


@pytest.fixture(scope="module")
def shared() -> Iterator[Served]:
    """One server for all examples; what they change in the fakes hurts nobody."""
    with Served() as server:
        yield server


@pytest.mark.parametrize("operation", OPERATIONS)
def test_answers_are_as_documented(shared: Served, operation: str) -> None:
    path = operation.partition(" ")[2]
    # Against the rules there can only be bodies.
    modes = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE) if path in BODIES else (GenerationMode.POSITIVE,)
    for mode in modes:

        @settings(
            max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
        )
        @given(case=OPERATIONS[operation].as_strategy(generation_mode=mode))
        def run(case: Any) -> None:
            if isinstance(case.body, dict) and case.body.get("model") is None:
                case.body["model"] = "demo"  # or most examples would come no further
            case.validate_response(case.call(base_url=shared.url, timeout=10), checks=_CHECKS)

        run()


def kinds(kind: types.Type) -> set[str]:
    """What JSON a type takes."""
    match kind:
        case types.UnionType():
            return set().union(*map(kinds, kind.types))
        case types.AnyType():
            return set(WRONG)
        case types.StrType():
            return {"text"}
        case types.BoolType():
            return {"bool"}
        case types.IntType():
            return {"whole"}
        case types.FloatType():
            return {"whole", "number"}
        case types.CollectionType():
            return {"list"}
    return {"object"}


WRONG: dict[str, Any] = {"text": "x", "bool": True, "whole": 7, "number": 0.5, "list": [], "object": {}}


def typed() -> Iterator[tuple[str, str, frozenset[str]]]:
    for path, fields in TABLE.items():
        info = types.type_info(fields.body)
        assert isinstance(info, types.StructType)
        for field in info.fields:
            yield path, field.encode_name, frozenset(WRONG.keys() - kinds(field.type))


@pytest.mark.parametrize(("path", "field", "wrong"), [row for row in typed() if row[2]])
def test_a_known_field_of_the_wrong_type_is_named(shared: Served, path: str, field: str, wrong: frozenset[str]) -> None:
    seen = len(shared.service.seen)
    for kind in wrong:
        reply = shared.ask(method(path), path, {**BODIES[path], field: WRONG[kind]})
        assert (reply.status, kind) == (400, kind)
        assert f"{field} must be " in said(reply)
        assert reply.headers["x-should-retry"] == "false"
    assert len(shared.service.seen) == seen


TEXTS = {
    "half a pair": ('"\\ud83d"', False),
    "the other half": ('"\\udc4b"', False),
    "halves in the wrong order": ('"\\udc4b\\ud83d"', False),
    "half a pair before text": ('"\\ud83d and more"', False),
    "a pair": ('"\\ud83d\\udc4b"', True),
    "NUL": ('"a\\u0000b"', True),
    "line ends": ('"\\u2028 \\u2029 \\u0085 \\r\\n"', True),
    "right to left": ('"\\u202e \u05e9\u05dc\u05d5\u05dd"', True),
    "combining": ('"e\u0301\u0302\u0303"', True),
    "no characters": ('"\\ufffe \\uffff \U0010ffff \\ufeff"', True),
    "raw control": ('"a\x01b"', False),
}


def texts(path: str) -> Iterator[tuple[str, Any]]:
    """The endpoint's body with a mark in place of each text it holds, one at a time."""
    extra = {"stop": ["x"], "format": {"type": "x"}, "suffix": "x", "options": {"stop": ["x"]}, "x": "x"}
    whole = BODIES[path] | {name: value for name, value in extra.items() if name not in BODIES[path]}

    def marked(value: Any) -> Iterator[Any]:
        if isinstance(value, str):
            yield MARK
        elif isinstance(value, dict):
            for name, inner in value.items():
                yield {other: each for other, each in value.items() if other != name} | {MARK: inner}
                yield from (value | {name: each} for each in marked(inner))
        elif isinstance(value, list):
            for place, inner in enumerate(value):
                yield from ([*value[:place], each, *value[place + 1 :]] for each in marked(inner))

    yield from marked(whole)


MARK = "<mark>"


@pytest.mark.parametrize("path", BODIES)
def test_all_texts_give_clean_text_or_400(shared: Served, path: str) -> None:
    """Wherever a text may stand, in values as in keys: what is no Unicode is refused, and everything else is text."""
    bodies = [json.dumps(body) for body in texts(path)]
    assert len(bodies) > 8
    for body in bodies:
        for name, (text, is_text) in TEXTS.items():
            reply = shared.ask(method(path), path, body.replace(json.dumps(MARK), text).encode())
            assert reply.status in ((200, 400, 404) if is_text else (400,)), (name, body, reply.body)
            reply.body.decode()
            if reply.status != 200:
                assert said(reply).isprintable() or is_text
                assert "\ufffd" not in said(reply)


def said(reply: Reply) -> str:
    """What an error says, in whatever dialect."""
    error = reply.json["error"]
    return error if isinstance(error, str) else error["message"]
