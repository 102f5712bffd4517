"""What loads teach: corrections by model and shape, the contexts that were chosen, and the file that keeps them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from runner.protocol.commands import Load
from runner.protocol.devices import Placement
from runner.protocol.events import Ready
from runner.protocol.options import LoadOptions
from runner.scheduler.lessons import Lessons, load
from runner.scheduler.memory import Block, Correction, Footprint, Graph, measured, need
from runner.scheduler.memory.calibrate import MOST_MODELS, Calibration, correction, learn, shape_of
from runner.scheduler.memory.need import NONE
from runner.scheduler.memory.takes import CPU, Takes, lanes, takes

MIB = 2**20
MODEL = Footprint(
    weights=640 * MIB,
    kv=8 * 4096,
    state=0,
    vocabulary=32_000,
    width=2048,
    blocks=(Block(weights=64 * MIB, keys=1024, values=1024),) * 8,
    tables=64 * MIB,
    output=64 * MIB,
    graph=Graph(width=2048, heads=16, queries=2048, attended=2048, feed=20_000),
)


def options(num_ctx: int = 4096, **given: object) -> LoadOptions:
    return LoadOptions(num_ctx=num_ctx, num_parallel=1, cells=num_ctx, **given)  # type: ignore[arg-type]


def told(of: LoadOptions) -> Takes:
    return sum(takes(MODEL, of, CPU, lanes(MODEL, of)[0], at_first=True).values(), Takes())


def reports(of: LoadOptions, weights: float = 1.0, kv: float = 1.0, compute: float = 1.0, engine: str = "b1") -> Ready:
    """A worker that took so much more than was told."""
    part = told(of)
    return Ready(
        context_length=of.num_ctx, cells=of.cells, sequences=1, vocabulary=0, embedding_length=0, devices=("CPU",),
        gpu_layers=0, layers=8, weights_bytes={"CPU_Mapped": round(part.weights * weights)},
        kv_bytes={"CPU": round(part.kv * kv)}, compute_bytes={"CPU": round(part.compute * compute)}, load_ns=0,
        engine=engine, has_template=False,
    )  # fmt: skip


def test_a_load_corrects_the_next_of_another_length() -> None:
    found = learn(MODEL, options(), None, reports(options(), 1.1, 1.0, 1.6))
    assert found is not None
    assert (found.weights, found.kv, found.compute) == pytest.approx((1.1, 1.0, 1.6), abs=1e-4)
    longer = options(16384)
    before, after = need(MODEL, longer), need(MODEL, longer, None, found)
    assert after.weights == pytest.approx(1.1 * before.weights, rel=1e-3)
    assert after.moving - before.moving == pytest.approx(0.6 * told(longer).compute, rel=0.05)


def test_adapters_are_not_what_a_model_is_corrected_by() -> None:
    """They come with requests, and what a worker reports is from before that."""
    tuned = replace(MODEL, weights=MODEL.weights + 512 * MIB, adapters=512 * MIB)
    found = learn(tuned, options(), None, reports(options()))
    assert found is not None
    assert found.weights == 1.0
    plain, planned = need(MODEL, options()), need(tuned, options(), None, replace(found, weights=2.0))
    assert need(tuned, options()).total == plain.total + 512 * MIB
    assert planned.total == plain.total + plain.weights + 512 * MIB
    assert measured(reports(options()), planned).total == pytest.approx(plain.total + 512 * MIB, rel=0.02)


def test_what_cannot_be_of_this_model_teaches_nothing() -> None:
    assert learn(MODEL, options(), None, reports(options(), compute=0.0)) is None
    odd = learn(MODEL, options(), None, reports(options(), weights=90.0, kv=0.01))
    assert odd is not None
    assert (odd.weights, odd.kv) == (1.0, 1.0)


def test_the_same_shape_counts_first_then_the_same_devices() -> None:
    on_gpu = Placement(devices=("CUDA0",), gpu_layers=9, split=(1.0,))
    q8 = options(kv_cache_type="q8_0")
    known = (Correction(1.5, shape=shape_of(q8, CPU)), Correction(2.0, shape=shape_of(options(), CPU)))
    assert correction(known, options(), CPU).weights == 2.0
    assert correction(known, options(flash_attn="off"), CPU).weights == 1.5  # the latest on a CPU
    assert correction(known, options(), on_gpu) == NONE


def test_another_engine_begins_anew_and_old_models_are_forgotten() -> None:
    known = Calibration().chosen("a", 4096, 8192).learned("a", "b1", Correction(1.2, shape="cpu x"))
    assert known.of("a").corrections
    newer = known.learned("b", "b2", Correction(1.3, shape="cpu x"))
    assert (newer.of("a").corrections, newer.of("a").context) == ((), 4096)
    for number in range(MOST_MODELS):
        newer = newer.learned(str(number), "b2", Correction(1.3, shape="cpu x"))
    assert len(newer.lessons) == MOST_MODELS
    assert not newer.of("a").context


def test_the_file_outlives_the_daemon(tmp_path: Path) -> None:
    path = tmp_path / "state" / "memory.json"
    first = Lessons(path)
    assert first.applied("a", MODEL).corrections == ()
    first.loaded("a", Load(("/a",), options()), reports(options(), 1.1))
    first.choose("a", 4096, 8192)
    again = Lessons(path)
    assert again.of("a") == first.of("a")
    assert again.applied("a", MODEL).corrections[0].weights == pytest.approx(1.1, abs=1e-4)
    assert again.of("unknown").context == 0


def test_a_load_of_a_model_that_nobody_met_teaches_nothing() -> None:
    lessons = Lessons()
    lessons.loaded("a", Load(("/a",), options()), reports(options(), 1.1))
    assert lessons.of("a").corrections == ()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"version": 9}',
        json.dumps({"version": 1, "engine": "", "lessons": {"a": {"corrections": [{"weights": 0}], "context": 1}}}),
        json.dumps({"version": 1, "engine": "", "lessons": {"a": {"corrections": 3, "context": 1, "ceiling": 1}}}),
    ],
)
def test_a_file_that_is_not_right_is_as_good_as_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "memory.json"
    path.write_text(text)
    assert load(path) == Calibration()
