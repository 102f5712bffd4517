"""Fields that no table has: ignored, counted by bounded labels, and told in the metrics."""

from __future__ import annotations

import json
from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

from tests.api.serving import Served

HI = [{"role": "user", "content": "Hi", "cache_control": {}}]


def counted(server: Served) -> Mapping[tuple[str, str], float]:
    return {
        (sample.labels["route"], sample.labels["field"]): sample.value
        for family in text_string_to_metric_families(server.get("/metrics").body.decode())
        for sample in family.samples
        if sample.name == "runner_api_unknown_fields_total"
    }


def test_what_no_table_has_is_counted(server: Served) -> None:
    body = {"model": "demo", "messages": HI, "verbosity": "low", "betas": [], "beta?": 1, "x" * 41: 1, "": 1}
    for _ in range(2):
        assert server.post("/v1/chat/completions", body).status == 200
    assert server.post("/v2/rerank", {"model": "m", "query": "x", "documents": ["y"], "betas": 1}).status == 200
    assert server.ask("POST", "/api/chat", b'{"model": "demo", "betas": 1, "betas": 2}').status == 200
    assert server.post("/api/chat", {"model": 1, "betas": 1}).status == 400  # of those that were read only
    assert counted(server) == {
        ("/v1/chat/completions", "betas"): 2,
        ("/v1/chat/completions", "other"): 6,
        ("/v2/rerank", "betas"): 1,
        ("/api/chat", "betas"): 1,
    }


def test_known_fields_are_in_no_count(server: Served) -> None:
    server.post("/api/generate", {"model": "demo", "prompt": "x", "shift": True, "context": [1], "stream": False})
    server.post("/infill", {"model": "demo", "input_prefix": "x", "input_suffix": "y", "samplers": []})
    assert counted(server) == {}


def test_a_stranger_makes_no_more_than_a_bounded_number_of_labels(server: Served) -> None:
    for start in range(0, 600, 100):
        server.post("/api/show", {"model": "demo", **{f"field_{number}": 0 for number in range(start, start + 100)}})
    server.post("/api/copy", {"source": "demo", "destination": "x", "late": 1})
    seen = counted(server)
    assert len(seen) == 258
    assert seen["/api/show", "other"] == 600 - 256
    assert seen["/api/copy", "other"] == 1


def test_a_very_long_body_is_not_looked_through(server: Served) -> None:
    body = json.dumps({"model": "demo", "pad": "x" * 300_000}).encode()
    assert server.ask("POST", "/api/show", body).status == 200
    assert counted(server) == {}
