"""The tables against the code: what counts as honoured is looked at by whoever answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import pytest

from runner.api import body as bodies
from tests.api.endpoints import BODIES, HI, TABLE, method
from tests.api.fakes import FakeModels
from tests.api.serving import Served

MORE: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    "/api/create": ({"model": "x", "modelfile": "FROM demo", "stream": False},),
    "/api/generate": ({"model": "demo", "prompt": "x", "raw": True, "stream": False},),
    "/v1/rerank": ({"model": "m", "query": "x", "documents": ["y"], "return_documents": True},),
    "/tokenize": ({"model": "demo", "prompt": "x"}, {"model": "demo", "messages": HI}),
}
"""Further bodies, where one can't bring all fields into play. An endpoint that needs such is a line more."""


def variants(path: str) -> Iterator[Mapping[str, Any]]:
    """Bodies that bring every field into play."""
    usual, fields = BODIES[path], TABLE[path].honoured
    yield usual
    if "stream" in fields:
        yield {**usual, "stream": True}
    if "name" in fields:  # the older key for the model
        yield {**{key: value for key, value in usual.items() if key != "model"}, "name": usual["model"]}
    yield from MORE.get(path, ())


def watched(shape: type[msgspec.Struct], seen: set[str]) -> type[msgspec.Struct]:
    """The same struct, which notes what of it is looked at."""

    def look(self: Any, name: str) -> Any:
        seen.add(name)
        return shape.__getattribute__(self, name)

    return type(shape)(shape.__name__, (shape,), {"__getattribute__": look})


@pytest.mark.parametrize("path", TABLE)
def test_what_is_honoured_is_looked_at(server: Served, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    shape, seen = TABLE[path].body, set[str]()
    decoder = msgspec.json.Decoder(watched(shape, seen))
    usual = bodies._decoder
    monkeypatch.setattr(bodies, "_decoder", lambda asked: decoder if asked is shape else usual(asked))
    for body in variants(path):
        server.models.stored = FakeModels().stored
        reply = server.ask(method(path), path, body)
        assert reply.status == 200, reply.body
    named = {each.name: each.encode_name for each in msgspec.structs.fields(shape)}
    looked_at = {named[name] for name in seen if name in named}
    assert set(TABLE[path].honoured) - looked_at == set()


LOADING = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/messages")


@pytest.mark.parametrize("path", LOADING)
def test_ollamas_options_mean_the_same_in_other_dialects(server: Served, path: str) -> None:
    given = {"options": {"num_gpu": 3, "num_batch": 64, "temperature": 0.1}, "num_gpu": 5, "kv_cache_type": "q8_0"}
    reply = server.post(path, {**BODIES[path], **given})
    assert reply.status == 200, reply.body
    (asked,) = server.service.seen
    loads = {"num_gpu": 5, "num_batch": 64, "kv_cache_type": "q8_0"}
    assert {name: asked.options.get(name) for name in (*loads, "temperature")} == {**loads, "temperature": 0.1}
    assert server.post(path, {**BODIES[path], "num_gpu": "many"}).status == 400
