"""Two models that may not both stay, under a mixed load: every request gets its answer."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest

from modelfiles.embedded import demo_gguf
from tests.benchmarks.daemon import Daemon


def ask(daemon: Daemon, model: str, question: str = "How do I pull a model?") -> Any:
    return daemon.post(
        "/api/chat", {"model": model, "messages": [{"role": "user", "content": question}], "stream": False}
    )


def test_two_models_swap_without_a_lost_request(own_daemon: Daemon) -> None:
    own_daemon.environment["RUNNER_MAX_LOADED_MODELS"] = "1"
    own_daemon.start()
    own_daemon.create("other", demo_gguf(), "FROM {path}\nPARAMETER temperature 0\nPARAMETER num_batch 256\n")
    alone = {model: ask(own_daemon, model)["message"]["content"] for model in ("demo", "other")}
    names = [("demo", "other")[index % 3 == 0] for index in range(40)]
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda model: (model, ask(own_daemon, model)), names))
    for model, answer in answers:
        assert answer["message"]["content"] == alone[model]
    assert len(own_daemon.workers()) == 1


def test_a_killed_worker_costs_nobody_the_daemon(own_daemon: Daemon) -> None:
    own_daemon.start()
    ask(own_daemon, "demo")
    (worker,) = own_daemon.workers()
    with ThreadPoolExecutor(1) as pool:
        long = {"model": "demo", "prompt": "x", "raw": True, "options": {"ignore_eos": True}, "stream": False}
        pending = pool.submit(own_daemon.post, "/api/generate", long)
        while own_daemon.get("/api/ps")["models"] == []:
            time.sleep(0.01)
        os.kill(worker.pid, signal.SIGKILL)
        outcome = pending.result(timeout=120)
    # The answer wasn't begun on the wire, so it is computed again; either way it ends, once.
    assert isinstance(outcome, dict) or outcome[0] == 500
    assert "runner pull" in ask(own_daemon, "demo")["message"]["content"]
    assert [process.pid for process in own_daemon.workers()] != [worker.pid]


def test_workers_end_with_a_killed_daemon(own_daemon: Daemon) -> None:
    own_daemon.start()
    ask(own_daemon, "demo")
    children = own_daemon.workers()
    assert own_daemon.process is not None
    own_daemon.process.kill()
    own_daemon.process.wait()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []
    own_daemon.start()  # the lock of the dead one does not stand in the way
    assert "runner pull" in ask(own_daemon, "demo")["message"]["content"]


def test_a_second_daemon_on_the_same_store_names_the_first(own_daemon: Daemon) -> None:
    own_daemon.start()
    assert own_daemon.process is not None
    second = Daemon(own_daemon.home)
    with pytest.raises(RuntimeError, match=str(own_daemon.process.pid)):
        second.start(timeout=30)
    assert second.process is not None
    assert second.process.returncode == 75


def test_the_next_model_is_loaded_by_the_worker_that_stands_ready(own_daemon: Daemon) -> None:
    own_daemon.environment["RUNNER_MAX_LOADED_MODELS"] = "1"
    own_daemon.start()
    own_daemon.create("other", demo_gguf(), "FROM {path}\nPARAMETER num_batch 256\n")
    ask(own_daemon, "demo")
    deadline = time.monotonic() + 30
    while not own_daemon.spares():
        assert time.monotonic() < deadline, "no spare worker came"
        time.sleep(0.05)
    (ready,) = own_daemon.spares()
    assert "runner pull" in ask(own_daemon, "other")["message"]["content"]
    assert [worker.pid for worker in own_daemon.workers()] == [ready.pid]
    assert ready.cmdline()[-1] == "--serve"  # what people see says that it is no spare one any more
    own_daemon.stop()
    assert not ready.is_running()


def test_without_a_spare_worker_there_is_none(own_daemon: Daemon) -> None:
    own_daemon.environment["RUNNER_SPARE_WORKER"] = "off"
    own_daemon.start()
    ask(own_daemon, "demo")
    time.sleep(2.0)  # one would come after a second
    assert own_daemon.spares() == []
    assert len(own_daemon.workers()) == 1


def test_keep_alive_runs_out(own_daemon: Daemon) -> None:
    own_daemon.environment["RUNNER_KEEP_ALIVE"] = "0.2"
    own_daemon.start()
    body = {"model": "demo", "prompt": "x", "raw": True, "options": {"ignore_eos": True}}
    request = urllib.request.Request(f"{own_daemon.url}/api/generate", json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=120) as answer:
        answer.readline()
        (worker,) = own_daemon.workers()  # while it has work: its time runs from the end of the answer
    worker.wait(timeout=30)
    deadline = time.monotonic() + 30
    while rows := own_daemon.get("/api/ps")["models"]:  # the process ends before its daemon hears of it
        assert [row["state"] for row in rows] == ["stopping"]
        assert time.monotonic() < deadline, "it is still shown"
        time.sleep(0.01)
    assert own_daemon.post("/runner/why", {"model": "demo"})["history"][-1]["what"] == "expired"
