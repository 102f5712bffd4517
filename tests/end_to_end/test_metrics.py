"""What a daemon says of itself, by the format's own parser: every request counted once, every metric in the docs."""

from __future__ import annotations

import json
import re
import socket
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from tests.benchmarks.daemon import Daemon

DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"
MODEL = "demo:latest"
ENDLESS = {"model": "demo", "prompt": "x", "raw": True, "options": {"ignore_eos": True, "temperature": 1}}


class Exposed:
    """One reading of /metrics."""

    def __init__(self, daemon: Daemon) -> None:
        with urllib.request.urlopen(f"{daemon.url}/metrics", timeout=30) as response:
            assert response.headers["Content-Type"].startswith("text/plain; version=")
            text = response.read().decode()
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self._samples = [sample for family in self.families.values() for sample in family.samples]

    def of(self, name: str, **labels: str) -> float:
        """The sum of a metric over all labels that aren't given."""
        return sum(
            sample.value
            for sample in self._samples
            if sample.name == f"runner_{name}" and labels.items() <= sample.labels.items()
        )

    def outcomes(self) -> Mapping[tuple[str, str], float]:
        return {
            (sample.labels["kind"], sample.labels["outcome"]): sample.value
            for sample in self._samples
            if sample.name == "runner_requests_total"
        }


def ask(daemon: Daemon, tokens: int = 8, **fields: Any) -> Any:
    body = {"model": "demo", "prompt": "How do I list models?", "stream": False, "options": {"num_predict": tokens}}
    return daemon.post("/api/generate", body | fields)


def leave_early(daemon: Daemon, body: Mapping[str, Any]) -> None:
    """Begin a stream, read of it until the answer comes, and hang up."""
    data = json.dumps(body).encode()
    head = f"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=60) as connection:
        connection.sendall(head.encode() + data)
        while b'"response"' not in connection.recv(4096):
            pass


def until(daemon: Daemon, condition: Any) -> Exposed:
    """Read again until this is so; the daemon hears of the end of some things a moment later than their client."""
    deadline = time.monotonic() + 60
    while not condition(exposed := Exposed(daemon)):
        assert time.monotonic() < deadline
    return exposed


def test_as_many_as_there_were(own_daemon: Daemon) -> None:
    own_daemon.start()
    answers = [ask(own_daemon, tokens) for tokens in (3, 8, 8)]
    long = ask(own_daemon, prompt="y " * 20_000, truncate=False)
    assert long[0] == 400
    leave_early(own_daemon, ENDLESS)
    own_daemon.post("/api/embed", {"model": "demo", "input": ["one", "two"]})
    seen = until(own_daemon, lambda now: now.of("requests_total", outcome="cancelled") == 1)
    assert seen.outcomes() == {
        ("generate", "length"): 3,
        ("generate", "context_length_exceeded"): 1,
        ("generate", "cancelled"): 1,
        ("embed", "done"): 1,
    }
    assert seen.of("request_success_total") == 3
    assert (seen.of("num_requests_running"), seen.of("num_requests_waiting")) == (0, 0)
    done = sum(answer["eval_count"] for answer in answers)
    assert done == 19
    assert seen.of("generation_tokens_total") > done  # the one that was cut short had begun
    assert seen.of("request_generation_tokens_sum") == done
    assert seen.of("request_generation_tokens_count") == seen.of("request_decode_time_seconds_count") == 3
    assert seen.of("e2e_request_latency_seconds_count") == 4
    assert seen.of("time_to_first_token_seconds_count") == 4
    assert seen.of("request_queue_time_seconds_count") == 5
    assert seen.of("model_load_seconds_count") == 1
    # The second and third prompt were found computed, but for the last token.
    assert seen.of("prefix_cache_hits_total") == sum(answer.get("prompt_eval_cached_count", 0) for answer in answers)
    assert seen.of("prefix_cache_hits_total") > 0
    assert seen.of("http_requests_total", route="/api/generate") == 5
    assert seen.of("http_requests_total", route="/api/generate", status="499") == 1
    assert seen.of("http_requests_total", route="/api/embed", status="200") == 1
    assert seen.of("http_request_duration_seconds_count", route="/api/generate") == 5


def test_what_the_engine_says_agrees_with_what_it_did(own_daemon: Daemon) -> None:
    own_daemon.start()
    ask(own_daemon, 8)
    seen = until(own_daemon, lambda now: now.of("engine_steps_total") >= 8)
    assert seen.of("engine_steps_total") == seen.of("engine_step_seconds_count") == 8
    assert seen.of("iteration_tokens_total_sum") == seen.of("prompt_tokens_total") + 7
    assert seen.of("engine_ubatches_total") >= 8
    spent = {phase: seen.of("engine_phase_seconds_total", phase=phase) for phase in ("fill", "wait", "sample", "post")}
    assert all(seconds > 0 for seconds in spent.values())
    assert sum(spent.values()) == pytest.approx(seen.of("engine_step_seconds_sum"))
    cells = {state: seen.of("kv_cache_cells", state=state) for state in ("busy", "idle", "free")}
    assert cells["busy"] == seen.of("kv_cache_usage_perc") == 0
    assert cells["idle"] == seen.of("prompt_tokens_total") + 7
    assert seen.of("model_memory_bytes", kind="weights") > 2**20
    (model,) = own_daemon.get("/api/ps")["models"]
    engine = model["engine"]
    assert engine["requests"] == {"length": 1}
    assert engine["steps"] == engine["ubatches"] == 8
    assert engine["cells"] == sum(cells.values())
    phases = [engine[f"{phase}_duration"] for phase in spent]
    assert [value / 1e9 for value in phases] == pytest.approx(list(spent.values()))


def test_a_killed_worker_takes_no_counts_along(own_daemon: Daemon) -> None:
    own_daemon.start()
    ask(own_daemon, 8)
    before = until(own_daemon, lambda now: now.of("engine_steps_total") == 8)
    (worker,) = own_daemon.workers()
    worker.kill()
    gone = until(own_daemon, lambda now: now.of("worker_deaths_total") == 1)
    for name in ("engine_steps_total", "requests_total", "generation_tokens_total", "iteration_tokens_total_sum"):
        assert gone.of(name) == before.of(name), name
    assert gone.of("kv_cache_cells") == 0
    ask(own_daemon, 8)
    after = until(own_daemon, lambda now: now.of("engine_steps_total") >= 16)
    assert after.of("engine_steps_total") == 16
    assert after.of("generation_tokens_total") == 16
    assert after.of("requests_total") == 2
    own_daemon.post("/api/generate", {"model": "demo", "keep_alive": 0})
    unloaded = until(own_daemon, lambda now: now.of("kv_cache_cells") == 0)
    assert unloaded.of("engine_steps_total") == 16
    assert unloaded.of("worker_deaths_total") == 1


def test_the_docs_list_every_metric(daemon: Daemon) -> None:
    ask(daemon)
    rows = re.findall(
        r"^\| `(runner_\w+)` \| (\w+) \| (.*?) \| (.*?) \|$", DOCS.read_text(encoding="utf-8"), re.MULTILINE
    )
    documented = {name: (kind, text) for name, kind, _, text in rows}
    assert len(documented) == len(rows)
    families = Exposed(daemon).families
    assert documented == {_shown(family): (family.type, family.documentation) for family in families.values()}
    labels = {name: set(re.findall(r"`(\w+)`", cell)) for name, _, cell, _ in rows}
    for family in families.values():
        for sample in family.samples:
            assert sample.labels.keys() - {"le"} == labels[_shown(family)], family.name


def test_openmetrics_for_those_who_ask(daemon: Daemon) -> None:
    ask(daemon)
    request = urllib.request.Request(
        f"{daemon.url}/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"}
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        assert response.headers["Content-Type"].startswith("application/openmetrics-text")
        families = {family.name for family in openmetrics(response.read().decode())}
    assert families == set(Exposed(daemon).families)


def _shown(family: Metric) -> str:
    """The name as its samples have it; a histogram's without what its samples add."""
    return f"{family.name}_total" if family.type == "counter" else family.name
