"""The field `lora`, in every dialect, and how models with adapters are listed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from runner.inference.requests import Chat, Complete, Embed, Lora, Preview
from tests.api.endpoints import BODIES, TABLE
from tests.api.serving import Served

PATHS = [path for path in BODIES if path in TABLE and "lora" in TABLE[path].honoured]


def seen(server: Served) -> tuple[Lora, ...] | None:
    (request,) = server.service.seen
    asked = request.of if isinstance(request, Preview) else request
    assert isinstance(asked, Chat | Complete | Embed)
    return asked.lora


def test_every_endpoint_that_computes_takes_it() -> None:
    assert {path.rpartition("/")[2] for path in PATHS} == {
        "generate", "chat", "embed", "embeddings", "completions", "responses", "input_tokens", "messages",
        "count_tokens", "infill",
    }  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_what_it_says(server: Served, path: str) -> None:
    lora = [{"name": "sql", "scale": 0.5}, {"id": 1}, {"name": "law"}]
    assert server.post(path, {**BODIES[path], "lora": lora}).status == 200
    assert seen(server) == (Lora("sql", scale=0.5), Lora(id=1), Lora("law"))


@pytest.mark.parametrize("path", PATHS)
def test_none_is_not_the_same_as_no_adapters(server: Served, path: str) -> None:
    assert server.post(path, {**BODIES[path], "lora": None}).status == 200
    assert seen(server) is None
    server.service.seen.clear()
    assert server.post(path, {**BODIES[path], "lora": []}).status == 200
    assert seen(server) == ()


@pytest.mark.parametrize(
    ("lora", "field"),
    [
        ("sql", "lora"),
        ([{"scale": 1}], "lora[0]"),
        ([{"name": "sql"}, {"name": "law", "id": 0}], "lora[1]"),
        ([{"name": ""}], "lora[0].name"),
        ([{"name": 5}], "lora[0].name"),
        ([{"name": "sql", "scale": "much"}], "lora[0].scale"),
    ],
)
def test_what_it_cannot_say(server: Served, lora: object, field: str) -> None:
    reply = server.post("/v1/chat/completions", {**BODIES["/v1/chat/completions"], "lora": lora})
    assert reply.status == 400
    assert reply.json["error"]["param"] == field
    assert server.service.seen == []


def test_a_model_with_adapters_is_listed_with_its_parent(server: Served) -> None:
    plain, *_ = server.models.stored.values()
    tuned = replace(plain, name=replace(plain.name, model="sql"), adapters=(Path("/store/blobs/sha256-sql"),))
    server.models.stored["sql:latest"] = tuned
    listed = {each["id"]: each for each in server.get("/v1/models").json["data"]}
    assert listed["sql:latest"]["parent"] == str(plain.name)
    assert "parent" not in listed[str(plain.name)]
    assert server.get("/v1/models/sql").json["parent"] == str(plain.name)
