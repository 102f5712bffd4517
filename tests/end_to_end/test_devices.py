"""Devices and types of the cache as requests ask for them, through a real daemon on whatever machine this is."""

from __future__ import annotations

from typing import Any

import pytest

from tests.benchmarks.daemon import Daemon
from tests.end_to_end.test_bad_input import worker


def ask(daemon: Daemon, **options: Any) -> Any:
    body = {"model": "demo", "prompt": "How do I pull a model?", "stream": False}
    return daemon.post("/api/generate", body | {"options": {"num_predict": 8, **options}})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"device": "cann"}, "this build of llama.cpp has no CANN; it has: "),
        ({"device": "CUDA77"}, "there is no device 'CUDA77' to put layers on; there is: "),
        ({"device": "a;b"}, "option device must be auto, cpu, a backend"),
        ({"main_gpu": 99}, "option main_gpu is 99, and "),
        ({"main_gpu": -1}, "option main_gpu must be between 0 and 1023"),
        ({"num_gpu": -7}, "option num_gpu must be between -1 and"),
        ({"tensor_split": "1,1,1,1,1,1,1,1,1"}, "option tensor_split has 9 shares, and "),
        ({"tensor_split": "-1"}, "option tensor_split must be auto, or shares of 0 or more"),
        ({"kv_cache_type": "q3_k"}, "option kv_cache_type must be one of f16, bf16"),
        ({"cache_type_v": "q8_0", "flash_attn": "off"}, "cache_type_v q8_0 needs flash attention"),
    ],
)
def test_what_cannot_be_is_refused_and_the_worker_stays(daemon: Daemon, options: dict[str, Any], said: str) -> None:
    assert ask(daemon)["done"]
    before = worker(daemon)
    status, body = ask(daemon, **options)
    assert status == 400
    assert said in body["error"]
    assert worker(daemon) == before


def test_the_cpu_and_packed_caches_answer(daemon: Daemon) -> None:
    expected = ask(daemon)["response"]
    assert ask(daemon, device="cpu")["response"] == expected
    assert ask(daemon, cache_type_k="q8_0", cache_type_v="q8_0")["done"]
