"""A plan against what comes of it: the demo model in a real daemon, before and after its load."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.benchmarks.daemon import Daemon


def planned(daemon: Daemon) -> tuple[dict[str, Any], int]:
    """The plan, and its bytes of what llama.cpp reports: weights, caches and what is computed with."""
    plan = daemon.post("/runner/plan", {"model": "demo"})
    return plan, sum(pool[part] for pool in plan["pools"] for part in ("weights", "cache", "compute"))


def test_a_load_takes_what_was_planned_and_teaches_the_rest(own_daemon: Daemon) -> None:
    own_daemon.start()
    before, predicted = planned(own_daemon)
    assert (before["verdict"], before["context"], before["automatic"]) == ("fits", 4096, True)
    own_daemon.post("/api/generate", {"model": "demo"})
    [loaded] = own_daemon.get("/api/ps")["models"]
    assert abs(predicted / loaded["size"] - 1) < 0.15
    after, corrected = planned(own_daemon)
    assert after["verdict"] == "loaded"
    assert abs(corrected / loaded["size"] - 1) < 0.05
    own_daemon.stop()
    [path] = own_daemon.home.rglob("memory.json")
    [lesson] = json.loads(path.read_text())["lessons"].values()
    assert (lesson["context"], len(lesson["corrections"])) == (4096, 1)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"kv_cache_type": "q3"}, "kv_cache_type"),
        ({"num_gpu": -5}, "num_gpu"),
        ({"device": "cuda:x"}, "device"),
        ({"options": {"num_gpu": -5}}, "num_gpu"),
    ],
)
def test_bad_load_options_are_refused_by_name_in_every_dialect(
    daemon: Daemon, given: dict[str, object], field: str
) -> None:
    hi = [{"role": "user", "content": "Hi"}]
    bodies = (
        ("/v1/chat/completions", {"messages": hi, "max_tokens": 2}),
        ("/v1/messages", {"messages": hi, "max_tokens": 2}),
        ("/v1/responses", {"input": "Hi", "max_output_tokens": 2}),
        ("/v1/embeddings", {"input": "Hi"}),
    )
    for path, body in bodies:
        status, refused = daemon.post(path, {"model": "demo", **body, **given})
        assert (status, field in refused["error"]["message"]) == (400, True), (path, refused)
        if path != "/v1/messages":  # whose errors have no such part
            assert refused["error"]["param"] == field


def test_a_context_beyond_the_models_own_is_refused_by_name(daemon: Daemon) -> None:
    turns = [{"role": "user", "content": "hi"}]
    status, refused = daemon.post("/api/chat", {"model": "demo", "messages": turns, "options": {"num_ctx": 9999}})
    assert (status, "num_ctx 9999 is beyond the 4096 tokens" in refused["error"]) == (400, True)
    status, refused = daemon.post("/runner/plan", {"model": "demo", "options": {"device": "CUDA0"}})
    assert (status, "there is no device 'CUDA0' to put layers on" in refused["error"]) == (400, True)
