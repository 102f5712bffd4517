"""/runner/plan: a load is planned, and told with all its figures."""

from __future__ import annotations

from tests.api.serving import Served


def test_a_plan_is_told_whole(server: Served) -> None:
    reply = server.post("/runner/plan", {"model": "demo", "options": {"num_ctx": 8192}})
    assert server.plans.asked == [("demo", {"num_ctx": 8192})]
    assert reply.json == {
        "model": "demo:latest",
        "verdict": "evicts",
        "words": ["20 of 33 layers on CUDA0"],
        "context": 8192,
        "trained": 131072,
        "automatic": False,
        "sequences": 4,
        "cells": 16384,
        "layers": 33,
        "place": {"devices": ["CUDA0"], "gpu_layers": 20, "split": [1.0], "mode": "none", "cpu_moe": 0},
        "pools": [
            {"pool": "host", "needs": 150, "weights": 100, "cache": 20, "compute": 10, "later": 15, "other": 5,
             "free": 8000, "whole": 9000},
            {"pool": "CUDA0", "needs": 60, "weights": 60, "cache": 0, "compute": 0, "later": 0, "other": 0,
             "free": 70, "whole": 80},
        ],
        "evicts": ["other:latest"],
        "table": [
            {"context": 8192, "kv_cache_type": "q8_0", "device": "auto", "needs": {"host": 150, "CUDA0": 60},
             "gpu_layers": 20, "fits": True},
        ],
    }  # fmt: skip


def test_what_fits_nowhere_is_an_answer_and_no_error(server: Served) -> None:
    reply = server.post("/runner/plan", {"model": "huge"})
    assert (reply.status, reply.json["verdict"], reply.json["place"]) == (200, "no", None)


def test_what_cannot_be_planned(server: Served) -> None:
    assert server.post("/runner/plan", {"model": "missing"}).status == 404
    assert server.post("/runner/plan", {}).status == 400
    assert server.post("/runner/plan", {"model": "demo", "options": 3}).status == 400
