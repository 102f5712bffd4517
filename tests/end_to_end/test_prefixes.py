"""Prompts outlive their worker: after an unload, a swap and a restart only what is new of them is computed."""

from __future__ import annotations

import json
import stat
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from modelfiles.embedded import demo_gguf
from tests.benchmarks.daemon import Daemon

_MANY = " ".join(f"How do I pull model number {number}?" for number in range(60))
# A conversation, so that the model knows what to say: where it doesn't, the best two tokens may lie too close together.
QUESTIONS = f"<|im_start|>user\n{_MANY}<|im_end|>\n<|im_start|>assistant\n"


def generate(daemon: Daemon, model: str = "demo") -> tuple[int, int, str]:
    """How many tokens the prompt had, how many of them were not computed, and the answer."""
    body = {"model": model, "prompt": QUESTIONS, "raw": True, "stream": False, "options": {"num_predict": 8}}
    answer = daemon.post("/api/generate", body)
    return answer["prompt_eval_count"], answer.get("prompt_eval_cached_count", 0), answer["response"]


def chat(daemon: Daemon, messages: list[dict[str, str]]) -> tuple[int, int, str]:
    """A turn of a conversation with the demo: its prompt's tokens, how many were not computed, and the answer."""
    body = {"model": "demo", "messages": messages, "max_tokens": 32, "temperature": 0}
    answer: Any = daemon.post("/v1/chat/completions", body)
    usage = answer["usage"]
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    return usage["prompt_tokens"], cached, answer["choices"][0]["message"]["content"]


def until_filed(daemon: Daemon) -> None:
    """Wait until the prefix of a worker that nobody asks for is in a file."""
    deadline = time.monotonic() + 30
    while not files(daemon):
        assert time.monotonic() < deadline, "no file came"
        time.sleep(0.05)


def unload(daemon: Daemon, model: str = "demo") -> None:
    gone = daemon.workers()
    daemon.post("/api/generate", {"model": model, "keep_alive": 0, "stream": False})
    for worker in gone:
        worker.wait(timeout=30)


def files(daemon: Daemon) -> list[Path]:
    return sorted((daemon.home / "cache" / "prefixes").glob("*/*/*.kv"))


def test_a_prompt_survives_an_unload_a_swap_and_a_restart(own_daemon: Daemon) -> None:
    own_daemon.environment["RUNNER_MAX_LOADED_MODELS"] = "1"
    own_daemon.start()
    size, cached, text = generate(own_daemon)
    assert size > 200
    assert cached == 0
    unload(own_daemon)
    (file,) = files(own_daemon)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert generate(own_daemon) == (size, size - 1, text)
    own_daemon.create("other", demo_gguf(), "FROM {path}\nPARAMETER num_batch 256\nSYSTEM Be brief.\n")
    own_daemon.post("/api/generate", {"model": "other", "prompt": "Hi", "stream": False})
    assert generate(own_daemon) == (size, size - 1, text)
    own_daemon.stop()
    own_daemon.start()
    usage: Any = own_daemon.post(
        "/v1/completions", {"model": "demo", "prompt": QUESTIONS, "max_tokens": 8, "temperature": 0}
    )["usage"]
    assert usage["prompt_tokens"] == size
    assert usage["prompt_tokens_details"]["cached_tokens"] == size - 1


@pytest.mark.parametrize("way", ["swap", "swap and restart", "worker killed", "daemon killed"])
def test_the_second_turn_of_a_chat_finds_the_first(own_daemon: Daemon, way: str) -> None:
    own_daemon.environment["RUNNER_MAX_LOADED_MODELS"] = "1"
    own_daemon.start()
    own_daemon.create("other", demo_gguf(), "FROM {path}\nPARAMETER num_ctx 512\nSYSTEM Be brief.\n")
    turns = [{"role": "user", "content": _MANY}]
    size, cached, text = chat(own_daemon, turns)
    assert size > 200
    assert cached == 0
    if "killed" in way:  # who is killed writes nothing, so it has to be there before
        until_filed(own_daemon)
    if way == "worker killed":
        (worker,) = own_daemon.workers()
        worker.kill()
        worker.wait(timeout=30)
    elif way == "daemon killed":
        assert own_daemon.process is not None
        own_daemon.process.kill()
        own_daemon.process.wait()
        own_daemon.start()
    else:
        own_daemon.post("/api/generate", {"model": "other", "prompt": "Hi", "stream": False})
    if way == "swap and restart":
        own_daemon.stop()
        own_daemon.start()
    turns += [{"role": "assistant", "content": text}, {"role": "user", "content": "And how do I remove one?"}]
    longer, cached, _ = chat(own_daemon, turns)
    assert longer > size
    # All but the end of the turn, where the template may put the markers of a turn otherwise than the model.
    assert cached >= size - 1
    own_daemon.post("/api/generate", {"model": "other", "prompt": "Hi", "stream": False})
    assert len(files(own_daemon)) <= 2  # one for the whole conversation, and one for what the other was asked, if any


def test_a_spoilt_file_is_computed_anew(own_daemon: Daemon) -> None:
    own_daemon.start()
    size, _, text = generate(own_daemon)
    unload(own_daemon)
    (file,) = files(own_daemon)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert generate(own_daemon) == (size, 0, text)
    (worker,) = own_daemon.workers()
    assert generate(own_daemon) == (size, size - 1, text)
    assert own_daemon.workers() == [worker]


def test_turned_off_nothing_is_written(own_daemon: Daemon) -> None:
    own_daemon.environment |= {"RUNNER_PREFIX_RAM": "0", "RUNNER_PREFIX_DISK": "0"}
    own_daemon.start()
    size, _, text = generate(own_daemon)
    unload(own_daemon)
    assert not (own_daemon.home / "cache" / "prefixes").exists()
    assert generate(own_daemon) == (size, 0, text)


@pytest.mark.parametrize("way", ["rm", "prune"])
def test_the_files_of_a_model_that_is_gone_go(own_daemon: Daemon, way: str) -> None:
    own_daemon.start()
    own_daemon.create("mine", demo_gguf(), "FROM {path}\nPARAMETER temperature 0\n")
    generate(own_daemon, "mine")
    unload(own_daemon, "mine")
    kept = files(own_daemon)
    assert kept
    strange = own_daemon.home / "cache" / "prefixes" / ("0" * 32) / "f16"
    strange.mkdir(parents=True)
    (strange / "old.kv").write_bytes(b"what somebody wrote to a model that is gone")
    if way == "rm":
        body = json.dumps({"model": "mine"}).encode()
        request = urllib.request.Request(f"{own_daemon.url}/api/delete", body, method="DELETE")
        with urllib.request.urlopen(request, timeout=30):
            pass
    else:
        own_daemon.post("/runner/prune", {})
    assert files(own_daemon) == kept  # the demo has the same weights
    assert not strange.exists()
