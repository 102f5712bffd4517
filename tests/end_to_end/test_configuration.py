"""config.yaml changes under a real daemon: only what it concerns is loaded anew, and no stream is cut."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from modelfiles.embedded import demo_gguf
from tests.benchmarks.daemon import Daemon

TOKENS = 300


@contextmanager
def streaming(daemon: Daemon, model: str, tokens: int = TOKENS) -> Iterator[Callable[[], int]]:
    """A stream that has begun; what it gives reads the rest, and counts its tokens."""
    body = {"model": model, "prompt": "def", "raw": True, "options": {"num_predict": tokens, "ignore_eos": True}}
    request = urllib.request.Request(f"{daemon.url}/api/generate", json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=120) as response:
        assert not json.loads(response.readline())["done"]

        def rest() -> int:
            last = [json.loads(line) for line in response][-1]
            assert last["done"], last
            assert last["done_reason"] == "length"
            return int(last["eval_count"])

        yield rest


def ask(daemon: Daemon, model: str) -> None:
    assert "response" in daemon.post("/api/generate", {"model": model, "prompt": "hi", "stream": False})


def settings(daemon: Daemon) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in daemon.get("/runner/config")["settings"]}


def write(daemon: Daemon, text: str) -> None:
    file = daemon.home / "config" / "config.yaml"
    file.parent.mkdir(exist_ok=True)
    aside = file.with_suffix(".new")
    aside.write_text(text)
    aside.replace(file)


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def context(daemon: Daemon, model: str) -> int:
    (found,) = (each for each in daemon.get("/api/ps")["models"] if each["name"] == f"{model}:latest")
    return int(found["context_length"])


def test_an_edit_of_one_model_loads_that_one_anew_and_cuts_no_stream(own_daemon: Daemon) -> None:
    own_daemon.start()
    own_daemon.create("second", demo_gguf(), "FROM {path}\nPARAMETER num_batch 256\n")  # a worker of its own
    ask(own_daemon, "demo")
    (first,) = set(own_daemon.workers())
    ask(own_daemon, "second")
    (second,) = set(own_daemon.workers()) - {first}
    with streaming(own_daemon, "demo") as rest_of_first, streaming(own_daemon, "second") as rest_of_second:
        write(own_daemon, "per_model: {second: {options: {num_ctx: 1024}}}\nmax_queue: 7\n")
        change = own_daemon.post("/runner/config/reload", {})
        assert set(change["now"] + change["load"]) <= {"max_queue", "per_model"}  # the daemon may have seen it before
        assert rest_of_second() == TOKENS
        assert rest_of_first() == TOKENS
    ask(own_daemon, "second")
    ask(own_daemon, "demo")
    (renewed,) = set(own_daemon.workers()) - {first}
    assert renewed != second
    assert (context(own_daemon, "second"), context(own_daemon, "demo") > 1024) == (1024, True)
    assert settings(own_daemon)["max_queue"]["value"] == 7

    # What concerns how tokens are drawn and who stays, and not how a model is loaded, touches no worker.
    write(own_daemon, "per_model: {second: {options: {num_ctx: 1024, top_k: 3}, keep_alive: 1h}}\noptions: {seed: 4}\n")
    own_daemon.post("/runner/config/reload", {})
    ask(own_daemon, "second")
    assert set(own_daemon.workers()) == {first, renewed}


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no such signal")
def test_the_file_is_seen_by_itself_and_a_broken_one_is_refused(own_daemon: Daemon) -> None:
    own_daemon.start()
    write(own_daemon, "keep_alive: 1h\nmodels: /elsewhere\n")
    until(lambda: settings(own_daemon)["keep_alive"]["value"] == 3600)
    models = settings(own_daemon)["models"]
    assert (models["waiting"], models["value"]) == ("/elsewhere", str(own_daemon.home / "data" / "models"))
    write(own_daemon, "keep_alive: soon\n")
    assert own_daemon.process is not None
    os.kill(own_daemon.process.pid, signal.SIGHUP)
    until(lambda: own_daemon.get("/runner/config")["refused"] is not None)
    status, answer = own_daemon.post("/runner/config/reload", {})
    assert status == 400
    assert "keep_alive" in answer["error"]
    assert settings(own_daemon)["keep_alive"]["value"] == 3600
    write(own_daemon, "")
    os.kill(own_daemon.process.pid, signal.SIGHUP)
    until(lambda: settings(own_daemon)["keep_alive"]["value"] == 300)
    assert own_daemon.get("/runner/config")["refused"] is None


def test_who_waits_when_the_settings_change_does_not_keep_the_load_of_before(own_daemon: Daemon) -> None:
    own_daemon.environment["RUNNER_MAX_LOADED_MODELS"] = "1"
    own_daemon.start()
    own_daemon.create("second", demo_gguf(), "FROM {path}\nPARAMETER num_thread 1\n")  # a worker of its own
    with streaming(own_daemon, "demo", 1500) as rest, ThreadPoolExecutor(1) as threads:
        waits = threads.submit(ask, own_daemon, "second")
        until(lambda: any(each["state"] == "queued" for each in own_daemon.get("/api/ps")["models"]))
        write(own_daemon, "options: {num_batch: 64}\nmax_queue: 7\n")
        own_daemon.post("/runner/config/reload", {})
        assert rest() == 1500
        waits.result(60)
    assert own_daemon.get("/api/ps")["totals"]["queue_limit"] == 7
    for model in ("second", "demo"):
        ask(own_daemon, model)
        assert flags(own_daemon, model)["step"] == "64"


def flags(daemon: Daemon, model: str) -> dict[str, str]:
    return {each["name"]: each["value"] for each in daemon.post("/runner/why", {"model": model})["flags"]}


def test_a_limit_of_memory_counts_for_the_next_load(own_daemon: Daemon) -> None:
    own_daemon.start()
    ask(own_daemon, "demo")
    write(own_daemon, "max_memory: 40MB\n")
    own_daemon.post("/runner/config/reload", {})
    ask(own_daemon, "demo")  # it stays
    own_daemon.post("/api/generate", {"model": "demo", "keep_alive": 0})
    until(lambda: not own_daemon.workers())
    code, answer = own_daemon.post("/api/generate", {"model": "demo", "prompt": "hi", "stream": False})
    assert (code, answer["code"]) == (503, "insufficient_memory")
    assert "42 MB is available" in answer["error"]  # as sizes are written: 40 MiB
    findings = {each["check"]: each for each in own_daemon.get("/runner/doctor")["findings"]}
    assert findings["memory"]["state"] == "warn"
    write(own_daemon, "max_memory: 4GB\n")
    own_daemon.post("/runner/config/reload", {})
    ask(own_daemon, "demo")
