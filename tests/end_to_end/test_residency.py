"""What people and clients see of a model that comes and goes, with a real daemon."""

from __future__ import annotations

import json
import urllib.request

from modelfiles.embedded import demo_gguf
from tests.benchmarks.daemon import Daemon


def heads(daemon: Daemon, model: str, stream: bool) -> dict[str, str]:
    """The head of an answer."""
    messages = [{"role": "user", "content": "Hi"}]
    body = {"model": model, "messages": messages, "stream": stream, "options": {"num_predict": 4}}
    request = urllib.request.Request(
        f"{daemon.url}/api/chat", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as response:
        response.read()
        return dict(response.headers)


def test_a_swap_is_seen_and_explained(own_daemon: Daemon) -> None:
    own_daemon.environment["RUNNER_MAX_LOADED_MODELS"] = "1"
    own_daemon.start()
    own_daemon.create("second", demo_gguf(), "FROM {path}\nPARAMETER num_ctx 512\nPARAMETER num_gpu 0\n")
    cold, warm = heads(own_daemon, "demo", stream=True), heads(own_daemon, "demo", stream=False)
    assert (cold["X-Runner-Model-Loaded"], warm["X-Runner-Model-Loaded"]) == ("cold", "warm")
    assert cold["X-Runner-Queue-Position"] == warm["X-Runner-Queue-Position"] == "0"
    assert int(cold["X-Runner-Queue-Wait-Ms"]) > int(warm["X-Runner-Queue-Wait-Ms"])

    told = own_daemon.get("/api/ps")
    [row] = told["models"]
    assert row["placement"]["layers"] > 1
    assert row["pid"]
    assert row["loaded_at"]
    assert sum(each["weights"] + each["kv"] + each["compute"] for each in row["memory"]) == row["size"]
    assert told["totals"]["memory"][0]["free"] < told["totals"]["memory"][0]["total"]

    ahead = own_daemon.post("/runner/why", {"model": "second"})
    assert ahead["state"] == "absent"
    assert (ahead["next"]["would"], ahead["next"]["evicts"]) == ("evict", ["demo:latest"])
    assert (ahead["context"]["length"], ahead["context"]["source"]) == (512, "modelfile")
    assert ahead["placement"]["reason"] == "It would run on the CPU because num_gpu is 0, which the Modelfile says."

    heads(own_daemon, "second", stream=False)
    gone = own_daemon.post("/runner/why", {"model": "demo"})
    assert [each["what"] for each in gone["history"]] == ["loading", "loaded", "evicted"]
    assert gone["history"][-1]["words"].startswith('for "second:latest": ')
    assert gone["summary"].startswith("It is not loaded: it was evicted ")
    assert gone["log"].endswith("demo_latest.log")
