"""/openapi.json and docs/fields.md against the application: nothing left out, nothing made up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema_rs import Draft202012Validator  # schemathesis brings it
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from runner.api import reference
from runner.api.dialects import DIALECTS, dialect_of
from tests.api.endpoints import BODIES, TABLE, method, routes
from tests.api.serving import Served

# Their streams fail for reasons of their own.
JOBS = ("/api/pull", "/api/push", "/api/create", "/runner/adopt", "/runner/verify")
DOCS = Path(__file__).parents[2] / "docs" / "fields.md"


def endpoints() -> set[tuple[str, str]]:
    """Path pattern and method of every route, but for the HEAD that comes with a GET."""
    found = {(route.resource.canonical, route.method.lower()) for route in routes() if route.resource is not None}
    return {(path, method) for path, method in found if method != "head" or (path, "get") not in found}


@pytest.fixture(scope="module")
def document() -> Any:
    with Served() as server:
        reply = server.get("/openapi.json")
        assert reply.headers["Content-Type"] == "application/json; charset=utf-8"
        assert server.get("/openapi.json").body == reply.body
        return reply.json


def test_it_is_openapi(document: Any) -> None:
    assert document["openapi"].startswith("3.1")
    OPENAPI_31_VALIDATOR.validate(document)
    assert not OPENAPI_31_VALIDATOR.is_valid({**document, "paths": {"/x": {"get": {"responses": {"200": {}}}}}})


def test_every_route_is_in_it(document: Any) -> None:
    assert {(path, method) for path, methods in document["paths"].items() for method in methods} == endpoints()


def test_every_route_has_a_dialect_and_every_table_a_route() -> None:
    paths = {path for path, _ in endpoints()}
    assert {path for path in paths if dialect_of(path) is None} == set()
    for dialect in DIALECTS:
        assert {*dialect.fields, *dialect.answers, *dialect.aliases} <= paths, dialect.name
        assert dialect.fields.keys() <= dialect.answers.keys(), dialect.name
        assert set(dialect.aliases.values()) <= dialect.answers.keys(), dialect.name


def test_every_reference_leads_somewhere(document: Any) -> None:
    def references(value: Any) -> set[str]:
        if isinstance(value, dict):
            own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
            return own.union(*map(references, value.values()))
        return set().union(*map(references, value)) if isinstance(value, list) else set()

    found = references(document)
    assert len(found) > 50
    for reference_ in found:
        at = document
        for name in reference_.removeprefix("#/").split("/"):
            at = at[name]


def test_every_field_says_what_becomes_of_it(document: Any) -> None:
    for dialect in DIALECTS:
        for path, fields in dialect.fields.items():
            (operation,) = document["paths"][path].values()
            body = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
            properties = document["components"]["schemas"][body.rpartition("/")[2]]["properties"]
            ignored = {name for name in fields.ignored if "." not in name}
            assert properties.keys() == {*fields.honoured, *fields.later, *ignored}, path
            assert all("refused" in properties[name]["description"] for name in fields.later)
            assert all("ignored" in properties[name]["description"] for name in ignored)


def test_streams_and_errors_have_their_types(document: Any) -> None:
    chat = document["paths"]["/v1/chat/completions"]["post"]["responses"]
    assert chat["200"]["content"].keys() == {"application/json", "text/event-stream"}
    error = document["components"]["responses"][chat["default"]["$ref"].rpartition("/")[2]]
    assert error["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/openai.Error"}
    native = document["paths"]["/api/generate"]["post"]["responses"]["200"]["content"]
    assert native.keys() == {"application/json", "application/x-ndjson"}
    assert "requestBody" not in document["paths"]["/api/tags"]["get"]


@pytest.mark.parametrize("path", BODIES)
def test_answers_are_what_it_says(server: Served, document: Any, path: str) -> None:
    """To good bodies, bad ones, and streams: of those every line or event."""
    responses = document["paths"][path][method(path).lower()]["responses"]
    failure = document["components"]["responses"][responses["default"]["$ref"].rpartition("/")[2]]

    def check(content: Any, media_type: str, said: Any) -> None:
        schema = content[media_type]["schema"]
        Draft202012Validator({**schema, "components": document["components"]}).validate(said)

    whole = server.ask(method(path), path, BODIES[path])
    assert whole.status == 200
    if "content" in responses["200"]:
        check(responses["200"]["content"], "application/json", whole.json)
    else:
        assert whole.body == b""
    check(failure["content"], "application/json", server.ask(method(path), path, b"{").json)
    if "stream" not in TABLE[path].honoured:
        return
    (streams,) = responses["200"]["content"].keys() - {"application/json"}
    streamed = server.post(path, {**BODIES[path], "stream": True})
    events = streamed.lines if streams == "application/x-ndjson" else streamed.events
    assert len(events) > 1
    for event in events:
        if event != "[DONE]":
            check(responses["200"]["content"], streams, event)
    if path not in JOBS:
        broken = server.post(path, {**BODIES[path], "stream": True, "model": "late"})
        *_, last = broken.lines if streams == "application/x-ndjson" else broken.events
        assert "error" in last or last["response"]["error"]
        check(responses["200"]["content"], streams, last)


def test_the_page_of_fields_is_as_the_code_has_it() -> None:
    assert DOCS.read_text(encoding="utf-8") == reference.page(), "python -m runner.api.reference > docs/fields.md"


@pytest.mark.parametrize("dialect", [each for each in DIALECTS if each.fields], ids=lambda dialect: dialect.name)
def test_tables_name_only_fields_that_are_there(dialect: Any) -> None:
    page = reference.page()
    for path, fields in dialect.fields.items():
        names = {each.encode_name for each in msgspec.structs.fields(fields.body)}
        assert fields.later.keys() <= names, path
        section = page.partition(f"### `{path}`")[2].partition("\n#")[0]
        rows = [line.partition(" | ")[0].strip("| `") for line in section.splitlines() if line.startswith("| `")]
        assert len(rows) == len(set(rows))
        assert {*names, *fields.ignored, *fields.notes} <= set(rows), path
