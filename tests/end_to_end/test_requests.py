"""/runner/requests and /runner/queue of a real daemon: requests on their way, cancelled, resumed, and with texts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from modelfiles.embedded import demo_gguf
from tests.benchmarks.daemon import Daemon

LONG = {"model": "demo", "prompt": "x", "raw": True, "options": {"ignore_eos": True, "num_predict": 3000}}
QUESTION = "How do I pull a model?"


def rows(daemon: Daemon, query: str = "") -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = daemon.get(f"/runner/requests{query}")["requests"]
    return listed


def ask(daemon: Daemon, name: str, path: str, body: dict[str, Any]) -> tuple[int, bytes]:
    """POST under an id of its own."""
    headers = {"Content-Type": "application/json", "X-Request-Id": name}
    request = urllib.request.Request(daemon.url + path, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=120) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def delete(daemon: Daemon, name: str) -> Any:
    with urllib.request.urlopen(
        urllib.request.Request(f"{daemon.url}/runner/requests/{name}", method="DELETE"), timeout=60
    ) as response:
        return json.loads(response.read())


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def state(daemon: Daemon, name: str) -> str | None:
    return next((row["state"] for row in rows(daemon) if row["id"] == name), None)


def test_a_request_is_seen_on_its_way(own_daemon: Daemon) -> None:
    own_daemon.environment["RUNNER_MAX_LOADED_MODELS"] = "1"
    own_daemon.start()
    own_daemon.create("other", demo_gguf(), "FROM {path}\nPARAMETER num_batch 256\n")
    seen: list[dict[str, Any]] = []
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask, own_daemon, "first", "/api/generate", {**LONG, "stream": False})

        def is_generating() -> bool:
            seen.extend(rows(own_daemon))
            return bool(seen) and seen[-1]["state"] == "generating"

        until(is_generating)
        second = pool.submit(ask, own_daemon, "second", "/api/generate", {**LONG, "model": "other", "stream": False})
        until(lambda: any(each["position"] for each in own_daemon.get("/runner/queue")["waiting"]))
        queue = own_daemon.get("/runner/queue")
        (waiting,) = queue["waiting"]
        (running,) = queue["running"]
        assert (waiting["id"], waiting["model"], waiting["position"]) == ("second", "other:latest", 1)
        assert waiting["waited_ms"] > 0
        assert (running["id"], running["state"]) == ("first", "generating")
        until(lambda: bool(own_daemon.get("/runner/queue")["running"][0]["tokens_per_second"]))
        counted = own_daemon.get("/runner/queue")["running"][0]["completion_tokens"]
        until(lambda: own_daemon.get("/runner/queue")["running"][0]["completion_tokens"] > counted)
        for name in ("first", "second"):
            assert delete(own_daemon, name) == {"id": name, "status": "cancelled"}
        assert first.result(60)[0] == second.result(60)[0] == 499
    states = [row["state"] for row in seen]
    assert "loading" in states
    # A worker that has just been loaded may have it wait for a moment.
    firsts = list(dict.fromkeys(states))
    assert firsts == sorted(firsts, key=["waiting", "loading", "prefill", "generating"].index)
    newest, oldest = rows(own_daemon)
    assert (newest["state"], newest["prompt_tokens"], newest["error"]["code"]) == (
        "cancelled",
        None,
        "request_cancelled",
    )
    assert oldest["completion_tokens"] >= counted
    assert oldest["timings"]["first_token_ms"] <= oldest["timings"]["total_ms"]


def test_what_has_ended_tells_what_it_took(daemon: Daemon) -> None:
    body = {"model": "demo", "messages": [{"role": "user", "content": QUESTION}], "stream": False}
    status, answer = ask(daemon, "whole", "/v1/chat/completions", body)
    assert status == 200
    usage = json.loads(answer)["usage"]
    row = next(row for row in rows(daemon) if row["id"] == "whole")
    assert (row["state"], row["stop"], row["model"], row["dialect"]) == ("done", "stop", "demo:latest", "openai")
    assert (row["prompt_tokens"], row["completion_tokens"]) == (usage["prompt_tokens"], usage["completion_tokens"])
    times = row["timings"]
    assert times["prefill_ms"] + times["decode_ms"] <= times["total_ms"]
    assert 0 < times["first_token_ms"] <= times["total_ms"]
    ask(daemon, "embeds", "/api/embed", {"model": "demo", "input": ["one", "two"]})
    row = next(row for row in rows(daemon) if row["id"] == "embeds")
    assert (row["state"], row["completion_tokens"], row["prompt_tokens"] > 0) == ("done", 0, True)
    turn = [{"role": "user", "content": "word " * 20000}]
    ask(daemon, "missing", "/v1/messages", {"model": "nobody", "max_tokens": 5, "messages": turn})
    ask(daemon, "long", "/v1/chat/completions", {"model": "demo", "messages": turn})
    errors = {row["id"]: row["error"]["code"] for row in rows(daemon, "?state=failed")}  # of other tests as well
    assert (errors["missing"], errors["long"]) == ("model_not_found", "context_length_exceeded")
    assert not {"whole", "embeds"} & errors.keys()


@pytest.mark.parametrize("streamed", [False, True])
def test_a_cancelled_request_costs_the_worker_nothing_more(daemon: Daemon, streamed: bool) -> None:
    name = f"endless-{streamed}"
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(ask, daemon, name, "/api/generate", {**LONG, "stream": streamed})
        until(lambda: state(daemon, name) == "generating")
        delete(daemon, name)
        status, said = pending.result(60)
    assert (status, said.count(b"was cancelled by whoever runs Runner")) == (200 if streamed else 499, 1)
    until(lambda: all(model["running"] == 0 for model in daemon.get("/api/ps")["models"]))
    row = next(row for row in rows(daemon) if row["id"] == name)
    assert row["state"] == "cancelled"
    assert 0 < row["completion_tokens"] < 3000
    assert [each["id"] for each in rows(daemon)].count(name) == 1


def test_a_request_whose_worker_is_killed_ends_once(own_daemon: Daemon) -> None:
    own_daemon.start()
    body = {**LONG, "options": {"ignore_eos": True, "num_predict": 600, "temperature": 0, "num_ctx": 2048}}
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(ask, own_daemon, "resumed", "/api/generate", {**body, "stream": True})
        until(lambda: state(own_daemon, "resumed") == "generating")
        (worker,) = own_daemon.workers()
        os.kill(worker.pid, signal.SIGKILL)
        status, _ = pending.result(120)
    assert status == 200
    (row,) = rows(own_daemon)
    assert (row["id"], row["state"], row["stop"], row["completion_tokens"]) == ("resumed", "done", "length", 600)


def test_with_bodies_the_prompt_is_the_one_that_was_rendered(own_daemon: Daemon) -> None:
    own_daemon.start()
    body = {"model": "demo", "messages": [{"role": "user", "content": QUESTION}], "stream": False}
    ask(own_daemon, "before", "/api/chat", body)
    config = own_daemon.home / "config" / "config.yaml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text("request_bodies: true\n")
    assert own_daemon.post("/runner/config/reload", {})["now"] == ["request_bodies"]
    _, answer = ask(own_daemon, "after", "/api/chat", body)
    shown = subprocess.run(
        [sys.executable, "-m", "runner", "run", "demo", "--show-prompt", QUESTION],
        env=own_daemon.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True,
    )  # fmt: skip
    told = own_daemon.get("/runner/requests/after")
    assert told["prompt"].rstrip("\n") == shown.stdout.rstrip("\n")
    assert QUESTION in told["prompt"]
    assert told["answer"] == json.loads(answer)["message"]["content"]
    assert told["body"] == body
    before = own_daemon.get("/runner/requests/before")
    assert (before["bodies_off"], before["prompt"], before["body"]) == (True, None, None)
    raw = {**LONG, "prompt": "Once upon", "options": {"num_predict": 3}, "stream": False}
    ask(own_daemon, "raw", "/api/generate", raw)
    assert own_daemon.get("/runner/requests/raw")["prompt"] == "Once upon"
    config.write_text("request_bodies: false\n")
    assert own_daemon.post("/runner/config/reload", {})["now"] == ["request_bodies"]
    assert own_daemon.get("/runner/requests/after")["bodies_off"]
    assert QUESTION not in own_daemon.log.read_text()


def test_who_waits_inside_a_worker_is_not_said_to_be_computed(own_daemon: Daemon) -> None:
    own_daemon.environment["RUNNER_NUM_PARALLEL"] = "1"
    own_daemon.start()

    def states() -> dict[str, str]:
        return {row["id"]: row["state"] for row in rows(own_daemon)}

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask, own_daemon, "first", "/api/generate", {**LONG, "stream": False})
        until(lambda: states().get("first") == "generating")
        second = pool.submit(ask, own_daemon, "second", "/api/generate", {**LONG, "stream": False})
        until(
            lambda: (
                states().get("second") == "waiting" and not own_daemon.get("/runner/queue")["waiting"][0]["position"]
            )
        )
        delete(own_daemon, "first")
        until(lambda: states()["second"] == "generating")
        delete(own_daemon, "second")
        assert first.result(60)[0] == second.result(60)[0] == 499
