"""The memory plan against llama.cpp itself: what is predicted of models of every kind, and what it reports."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from registry.gguf.facts import facts
from registry.gguf.reader import read_header
from runner.inference.footprints import footprint_of
from runner.llama import library
from runner.llama.context import Context
from runner.llama.library import Log, Sizes
from runner.llama.model import Model
from runner.protocol.events import Ready
from runner.protocol.options import LoadOptions, pooled
from runner.scheduler import machine, memory
from runner.scheduler.memory.calibrate import correction, learn
from runner.scheduler.memory.takes import CPU, HOST, Takes, lanes, takes
from tests.model_shapes import SHAPES

UNSEEN, SEEN = 0.15, 0.05  # how far off a prediction may be, before and after a load of the model was seen
_SMALL = 100 * 2**20  # what is smaller isn't worth a correct figure


@dataclass(frozen=True)
class Row:
    """One load: what was told of it, what was told after the first load had been seen, and what llama.cpp reported."""

    shape: str
    options: LoadOptions
    told: int
    corrected: int
    reported: int


def _loads() -> list[LoadOptions]:
    """The first is what lessons are drawn from."""
    first = LoadOptions(num_ctx=4096, num_parallel=1, cells=4096)
    return [
        first,
        LoadOptions(num_ctx=8192, num_parallel=8, cells=16384),
        LoadOptions(num_ctx=8192, num_parallel=32, cells=16384, kv_cache_type="q8_0"),
        LoadOptions(num_ctx=2048, num_parallel=4, cells=8192, num_batch=2048),
        LoadOptions(num_ctx=4096, num_parallel=2, cells=4096, flash_attn="off"),
        LoadOptions(num_ctx=32768, num_parallel=4, cells=32768, kv_cache_type="q4_0"),
    ]


@pytest.mark.parametrize("name", SHAPES)
def test_predictions_hold_for_every_kind_of_model(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = SHAPES[name]().write(tmp_path / "model.gguf")
    rows = _measure(name, path)
    path.unlink()
    with capsys.disabled():
        for row in rows:
            print(_line(row))
    large = [row for row in rows if row.reported > _SMALL]
    assert len(large) == len(rows)
    for row in large:
        assert abs(row.told / row.reported - 1) <= UNSEEN, _line(row)
        assert abs(row.corrected / row.reported - 1) <= SEEN, _line(row)


def test_what_a_cpu_packs_is_not_taken_for_pages_of_the_file(tmp_path: Path) -> None:
    path = SHAPES["llama, 8B's layers, Q4_K"]().write(tmp_path / "model.gguf")
    found = facts(read_header(path))
    footprint = footprint_of(found, weights=found.weights, packs=machine.packed_types())
    options = _loads()[0]
    planned = memory.need(footprint, options)
    log = library.start()
    log.sizes = Sizes()
    model = Model([str(path)], LoadOptions(num_ctx=512, num_parallel=1), log)
    try:
        ready = _ready(model, options, log, log.sizes)
    finally:
        model.close()
    copied = takes(footprint, options, CPU, lanes(footprint, options)[0])[HOST].copied
    assert ready.packed_bytes == pytest.approx(copied, rel=UNSEEN, abs=2**20)
    measured = memory.measured(ready, planned)
    assert measured.weights <= planned.weights  # or the copy would count once more
    assert measured.total == pytest.approx(planned.total, rel=UNSEEN)
    # With it loaded there is as much for models as before it was: its own copies are its to give back.
    free = 8 * 2**30
    took = sum((*ready.kv_bytes.values(), *ready.compute_bytes.values())) + ready.packed_bytes + planned.beside
    assert memory.capacity(free - took, [(measured, True)]) == free


def _measure(name: str, path: Path) -> list[Row]:
    found = facts(read_header(path))
    footprint = footprint_of(found, weights=found.weights, packs=machine.packed_types())
    log = library.start()
    log.sizes = Sizes()
    model = Model([str(path)], LoadOptions(num_ctx=512, num_parallel=1), log)
    weights = log.sizes
    rows: list[Row] = []
    try:
        for options in _loads():
            ready = _ready(model, options, log, weights)
            told = _told(footprint, options)
            if not rows:
                lesson = learn(footprint, options, None, ready)
                assert lesson is not None
                footprint = replace(footprint, corrections=(lesson,))
            rows.append(Row(name, options, told.total, _told(footprint, options).total, _reported(ready)))
    finally:
        model.close()
    return rows


@dataclass(frozen=True)
class _Sum:
    total: int


def _told(footprint: memory.Footprint, options: LoadOptions) -> _Sum:
    """What llama.cpp is going to report, corrected by what the footprint has of lessons."""
    lane, _ = lanes(footprint, options)
    part: Takes = takes(footprint, options, CPU, lane, at_first=True)[HOST]
    by = correction(footprint.corrections, options, CPU)
    return _Sum(round(part.weights * by.weights + part.kv * by.kv + part.compute * by.compute))


def _ready(model: Model, options: LoadOptions, log: Log, weights: Sizes) -> Ready:
    """Make the context that a worker would make, and tell what it tells."""
    log.sizes = Sizes(dict(weights.weights), packed=weights.packed)
    context = Context(
        model,
        options,
        log,
        cells=options.cells,
        sequences=pooled(options),
        batch=max(options.num_batch, pooled(options)),
    )
    context.close()
    sizes = log.sizes
    return Ready(
        context_length=options.num_ctx, cells=options.cells, sequences=options.num_parallel, vocabulary=0,
        embedding_length=0, devices=("CPU",), gpu_layers=0, layers=0, weights_bytes=sizes.weights,
        kv_bytes=sizes.kv, compute_bytes=sizes.compute, load_ns=0, engine=library.version(), has_template=False,
        vision=False, packed_bytes=sizes.packed,
    )  # fmt: skip


def _reported(ready: Ready) -> int:
    return sum(sum(each.values()) for each in (ready.weights_bytes, ready.kv_bytes, ready.compute_bytes))


def _line(row: Row) -> str:
    options = row.options
    what = f"{options.cells} cells, {options.num_parallel} seq, batch {options.num_batch}, {options.kv_cache_type}"
    flash = "" if options.flash_attn != "off" else ", no flash"
    return (
        f"{row.shape:28} {what + flash:48} reported {row.reported / 1e6:7.1f} MB, predicted {row.told / 1e6:7.1f} "
        f"({row.told / row.reported:.3f}), after a load {row.corrected / 1e6:7.1f} ({row.corrected / row.reported:.3f})"
    )
