"""`plan` and `show --memory`: what is asked, printed and returned."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.command_line import CommandLine
from tests.cli.fake_daemon import NASTY, FakeDaemon

GB = 1_000_000_000
PLAN: dict[str, Any] = {
    "model": "big:latest",
    "verdict": "evicts",
    "words": ["context 8192, chosen by Runner", "20 of 33 layers on CUDA0, the others on the CPU: more do not fit"],
    "context": 8192,
    "trained": 131072,
    "automatic": True,
    "sequences": 4,
    "cells": 16384,
    "layers": 33,
    "place": {"devices": ["CUDA0"], "gpu_layers": 20, "split": [1.0], "mode": "none", "cpu_moe": 0},
    "pools": [
        {"pool": "host", "needs": 4 * GB, "weights": 3 * GB, "cache": 600_000_000, "compute": 300_000_000, "later": 0,
         "other": 100_000_000, "free": 9 * GB, "whole": 12 * GB},
        {"pool": "CUDA0", "needs": 5 * GB, "weights": 4 * GB, "cache": GB, "compute": 0, "later": 0, "other": 0,
         "free": 6 * GB, "whole": 8 * GB},
    ],
    "evicts": ["demo:latest", NASTY],
    "table": [
        {"context": context, "kv_cache_type": kind, "device": device, "needs": needs, "gpu_layers": layers,
         "fits": context < 100_000}
        for context in (8192, 131072)
        for device, needs, layers in (
            ("auto", {"host": 4 * GB, "CUDA0": 5 * GB}, 20), ("cpu", {"host": 9 * GB}, 0),
        )
        for kind in ("f16", "q8_0")
    ],
}  # fmt: skip


def test_a_plan_in_words(daemon: FakeDaemon, runner: CommandLine) -> None:
    daemon.refusals["/runner/plan"] = (200, PLAN | {"evicts": ["demo:latest"]})
    result = runner("plan", "big", "--num-ctx", "8192", "-o", "kv_cache_type=q8_0")
    assert daemon.asked("/runner/plan")[0].body == {
        "model": "big",
        "options": {"kv_cache_type": "q8_0", "num_ctx": 8192},
    }
    assert result.stdout == (
        "big:latest: it fits once others are unloaded: demo:latest\n"
        "    context 8192, chosen by Runner\n"
        "    20 of 33 layers on CUDA0, the others on the CPU: more do not fit\n"
        "    4 requests together share 16384 tokens; one request may use 8192\n"
        "\n"
        "MEMORY    WEIGHTS    CACHE     COMPUTE    LATER    OTHER     NEEDED    FREE\n"
        "memory    3.0 GB     600 MB    300 MB     -        100 MB    4.0 GB    9.0 GB\n"
        "CUDA0     4.0 GB     1.0 GB    -          -        -         5.0 GB    6.0 GB\n"
    )


def test_what_is_taken_later_is_told_apart(daemon: FakeDaemon, runner: CommandLine) -> None:
    host, gpu = PLAN["pools"]
    daemon.refusals["/runner/plan"] = (200, PLAN | {"pools": [host | {"later": 2 * GB}, gpu]})
    lines = runner("plan", "big").stdout.splitlines()
    assert lines[3] == "    takes 7.0 GB at once, up to 9.0 GB with a crowd"


def test_another_name_is_told_beside_the_models_own(daemon: FakeDaemon, runner: CommandLine) -> None:
    daemon.refusals["/runner/plan"] = (200, PLAN)
    assert runner("plan", "big:sql").stdout.startswith("big:sql (big:latest): it fits ")
    assert runner("plan", "BIG:latest").stdout.startswith("big:latest: it fits ")


def test_of_a_model_that_is_not_there_a_look_is_offered(daemon: FakeDaemon, runner: CommandLine) -> None:
    daemon.refusals["/runner/plan"] = (404, {"error": 'model "far" not found, try pulling it first'})
    said = runner("plan", "far", check=1).stderr
    assert said.startswith('Error: model "far" not found')
    assert "`runner pull --dry-run far` tells its size" in said


def test_what_does_not_fit_is_said_and_fails(daemon: FakeDaemon, runner: CommandLine) -> None:
    daemon.refusals["/runner/plan"] = (
        200,
        PLAN | {"verdict": "no", "sequences": 0, "evicts": [], "words": ["needs 40 GB of 12 GB memory"], "place": None},
    )
    result = runner("plan", "big", check=1)
    assert "big:latest: it does not fit on this machine\n    needs 40 GB of 12 GB memory\n" in result.stdout
    assert result.stderr == "Error: big does not fit on this machine\n"
    assert json.loads(runner("plan", "big", "--json", check=1).stdout)["verdict"] == "no"


@pytest.mark.parametrize(
    ("verdict", "words", "error"),
    [
        ("pinned", "pinned models leave no room for it", "big cannot be loaded beside the models that are pinned"),
        ("reloads", "it would be loaded anew", None),
    ],
)
def test_verdicts_of_their_own(
    daemon: FakeDaemon, runner: CommandLine, verdict: str, words: str, error: str | None
) -> None:
    daemon.refusals["/runner/plan"] = (200, PLAN | {"verdict": verdict, "evicts": []})
    result = runner("plan", "big", check=1 if error else 0)
    assert f"big:latest: {words}\n" in result.stdout
    assert result.stderr == (f"Error: {error}\n" if error else "")


def test_the_table_of_contexts(daemon: FakeDaemon, runner: CommandLine) -> None:
    daemon.refusals["/runner/plan"] = (200, PLAN)
    result = runner("show", "big", "--memory")
    lines = result.stdout.splitlines()
    assert lines[0].split("    ")[0] == "CONTEXT"
    assert "4.0 GB + 5.0 GB CUDA0 (20/33)" in lines[1]
    assert lines[2].rstrip().endswith("9.0 GB -")
    assert "12 GB of memory, 8.0 GB of CUDA0" in result.stderr
    assert len(json.loads(runner("show", "big", "--memory", "--json").stdout)) == len(PLAN["table"])
    runner("show", "big", "--memory", "--system", check=2)
