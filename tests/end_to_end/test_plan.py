"""A plan against what comes of it: the demo model in a real daemon, before and after its load."""

from __future__ import annotations

import json
from typing import Any

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


def test_a_context_beyond_the_models_own_is_refused_by_name(daemon: Daemon) -> None:
    turns = [{"role": "user", "content": "hi"}]
    status, refused = daemon.post("/api/chat", {"model": "demo", "messages": turns, "options": {"num_ctx": 9999}})
    assert (status, "num_ctx 9999 is beyond the 4096 tokens" in refused["error"]) == (400, True)
    status, refused = daemon.post("/runner/plan", {"model": "demo", "options": {"device": "CUDA0"}})
    assert (status, "there is no device 'CUDA0' to put layers on" in refused["error"]) == (400, True)
