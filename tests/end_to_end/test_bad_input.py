"""Schemathesis against a real daemon: no 500, no hang, and the worker that answered first still answers at the end."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from runner.api.loading import NAMED
from tests.benchmarks.daemon import Daemon

_CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance]
# What would end the daemon, change its store, or leave this machine. The fakes get these as well.
_LEFT_OUT = (
    "/runner/shutdown", "/runner/prune", "/api/delete", "/api/create", "/api/copy", "/api/pull", "/api/push",
    "/api/blobs/",
)  # fmt: skip


def worker(daemon: Daemon) -> int:
    """The process that has demo; other tests' models may be loaded beside it."""
    (found,) = [each["pid"] for each in daemon.get("/api/ps")["models"] if each["name"] == "demo:latest"]
    return int(found)


def bounded(body: Any) -> Any:
    """The same, for the loaded model, and short: nothing that would load another, unload it, or go on for minutes."""
    if not isinstance(body, dict):
        return body
    kept = {name: value for name, value in body.items() if name not in ("keep_alive", "name", "n", *NAMED)}
    options = {"options": {"num_predict": 3}} if isinstance(body.get("options"), dict | None) else {}
    limits = dict.fromkeys(("max_tokens", "max_completion_tokens", "n_predict"), 3)
    return {**kept, "model": "demo", **options, **limits}


def test_nothing_that_is_sent_breaks_a_daemon(own_daemon: Daemon) -> None:
    own_daemon.start()
    own_daemon.post("/api/generate", {"model": "demo"})
    before = worker(own_daemon)
    schema = schemathesis.openapi.from_url(f"{own_daemon.url}/openapi.json")
    operations = [each.ok() for each in schema.get_all_operations()]
    asked = [each for each in operations if not each.path.startswith(_LEFT_OUT)]
    assert len(asked) > 20
    seen: set[tuple[str, int]] = set()
    for operation in asked:
        for mode in GenerationMode if operation.body else (GenerationMode.POSITIVE,):

            @settings(
                max_examples=8, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def run(case: Any) -> None:
                case.body = bounded(case.body)
                response = case.call(timeout=30)
                seen.add((case.operation.path, response.status_code))
                case.validate_response(response, checks=_CHECKS)

            run()
    assert {status for _, status in seen} >= {200, 400}
    assert ("/v1/chat/completions", 400) in seen
    assert ("/tokenize", 200) in seen  # not everything was refused at the door
    assert worker(own_daemon) == before
    assert own_daemon.post("/api/generate", {"model": "demo", "prompt": "Hi", "stream": False})["done"]


@pytest.mark.parametrize("path", ["/api/generate", "/v1/completions", "/tokenize", "/infill"])
def test_odd_texts_come_back_clean(daemon: Daemon, path: str) -> None:
    text = "a\x00b \u2028 \u202e \ufffe \U0010ffff e\u0301 \r\n"
    body = {"model": "demo", "prompt": text, "stream": False, "max_tokens": 3, "options": {"num_predict": 3}}
    if path == "/infill":
        body = {"model": "demo", "input_prefix": text, "input_suffix": text, "n_predict": 3}
    answer = daemon.post(path, body)
    assert isinstance(answer, dict), answer
    assert "error" not in answer
    if path == "/tokenize":
        back = daemon.post("/detokenize", {"model": "demo", "tokens": answer["tokens"]})
        assert back["content"].endswith(text)
