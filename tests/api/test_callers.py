"""Who asks: told apart by key or place, and whether somebody waits, by header or by field."""

from __future__ import annotations

import math
from typing import Any

import pytest

from runner.inference.requests import Chat
from tests.api.endpoints import CHAT
from tests.api.serving import Served

NATIVE = {**CHAT, "stream": False}


def _client(server: Served, **headers: str) -> str:
    assert server.post("/api/chat", NATIVE, **headers).status == 200
    return server.service.callers[-1].client


def test_clients_are_told_apart_by_their_key_or_else_by_their_address(server: Served) -> None:
    keyed = _client(server, Authorization="Bearer one")
    assert keyed == _client(server, x_api_key="one") == _client(server, authorization="bearer  one")
    assert keyed != _client(server, Authorization="Bearer two")
    assert "one" not in keyed
    nobody = _client(server)
    assert nobody == "127.0.0.1"
    assert nobody == _client(server, Authorization="Basic one")


def test_the_header_says_who_may_wait(server: Served) -> None:
    for given, meant in (("batch", "batch"), (" Interactive ", "interactive")):
        server.post("/api/chat", NATIVE, X_Runner_Priority=given)
        assert server.service.callers[-1].priority == meant
    server.post("/api/chat", NATIVE)
    assert server.service.callers[-1].priority is None
    reply = server.post("/v1/chat/completions", CHAT, X_Runner_Priority="urgent")
    assert reply.status == 400
    assert reply.json["error"]["param"] == "X-Runner-Priority"


@pytest.mark.parametrize(
    ("fields", "meant"),
    [
        ({}, None),
        ({"service_tier": "flex"}, "batch"),
        ({"service_tier": "auto"}, None),
        ({"service_tier": "priority"}, None),
        ({"priority": 1}, "batch"),
        ({"priority": 0}, "interactive"),
        ({"priority": -5}, "interactive"),
    ],
)
def test_fields_that_clients_know_say_it_too(server: Served, fields: dict[str, Any], meant: str | None) -> None:
    assert server.post("/v1/chat/completions", CHAT | fields).status == 200
    asked = server.service.seen[-1]
    assert isinstance(asked, Chat)
    assert asked.priority == meant


def test_tiers_that_there_are_not(server: Served) -> None:
    for path, body in (("/v1/chat/completions", CHAT), ("/v1/responses", {"model": "demo", "input": "x"})):
        reply = server.post(path, body | {"service_tier": "gold"})
        assert reply.status == 400
        assert reply.json["error"]["param"] == "service_tier"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(300, 300.0), (0.5, 0.5), ("5m", 300.0), ("1h30m", 5400.0), ("-1m", math.inf), (-1, math.inf), (1e300, math.inf)],
)
def test_how_long_a_model_is_kept(server: Served, value: object, seconds: float) -> None:
    for path, body in (
        ("/api/chat", NATIVE),
        ("/v1/chat/completions", CHAT),
        ("/api/generate", {**NATIVE, "prompt": "x"}),
    ):
        assert server.post(path, body | {"keep_alive": value}).status == 200
        assert server.service.seen[-1].keep_alive == seconds  # type: ignore[union-attr]


@pytest.mark.parametrize("value", [0, 0.0, "0", "0s", "0m", -0.0])
def test_none_at_all_unloads(server: Served, value: object) -> None:
    reply = server.post("/api/generate", {"model": "demo", "keep_alive": value, "stream": False})
    assert reply.json["done_reason"] == "unload"
    assert server.post("/api/chat", {**NATIVE, "keep_alive": value}).status == 200
    asked = server.service.seen[-1]
    assert isinstance(asked, Chat)
    assert asked.keep_alive == 0


@pytest.mark.parametrize("value", ["5 minutes", True, [], "", "5x", {}])
def test_what_is_no_length_of_time_is_named(server: Served, value: object) -> None:
    reply = server.post("/v1/chat/completions", CHAT | {"keep_alive": value})
    assert reply.status == 400
    assert reply.json["error"]["param"] == "keep_alive"


def test_pins(server: Served) -> None:
    assert server.post("/runner/pin", {"model": "demo"}).json == {"pinned": ["demo:latest"], "changed": True}
    assert server.post("/runner/pin", {"model": "huge"}).status == 503
    assert server.post("/runner/pin", {}).status == 400
    assert server.post("/runner/unpin", {"model": "demo"}).json == {"pinned": [], "changed": True}
    assert server.post("/runner/unpin", {"model": "demo"}).json == {"pinned": [], "changed": False}
