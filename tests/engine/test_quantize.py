"""llama.cpp's quantizer in its process: every type, with and without what was measured, and every way to end it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from modelfiles.parse import parse
from registry.create import create
from registry.errors import BadSource, Cancelled, QuantizeFailed
from registry.gguf.quantizations import QUANT_TYPES, quant_type
from registry.gguf.reader import read_header
from registry.quantize import Order, Quantization
from registry.store import Store
from registry.stored import StoredModel
from runner.inference.quantizer import quantize
from runner.protocol.commands import Generate, TextPrompt
from runner.protocol.events import Outcome
from runner.protocol.options import SampleOptions
from runner.protocol.sandbox import Mode
from tests import whole_models
from tests.engine.worker_process import WorkerProcess
from tests.registry.trees import contents, unfinished

GREEDY = SampleOptions(temperature=0.0, repeat_penalty=1.0, ignore_eos=True, num_predict=4)
# Their tables take seconds to make, so all of them are tried with the faults only.
SLOW = {name for name in QUANT_TYPES if name.startswith("IQ")} - {"IQ4_NL", "IQ4_XS", "IQ2_XXS"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models with their own values, and what was measured of them."""
    found = tmp_path_factory.mktemp("whole")
    whole_models.write(found / "tiny-F16.gguf")
    whole_models.write_imatrix(found / "imatrix.gguf")
    whole_models.write_imatrix(found / "imatrix.dat", older=True)
    return found


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store") as opened:
        yield opened


def made(store: Store, source: Path, kind: str, imatrix: Path | None = None) -> StoredModel:
    asked = Quantization(quant_type(kind), None, imatrix)
    return create(store, "mine", parse(f"FROM {source}"), base=source.parent, quantization=asked, quantizer=quantize)


def test_it_works_shut_in(store: Store, folder: Path) -> None:
    """With the shell demanded, where the system has one; what it holds is in test_sandbox."""
    asked = Quantization(quant_type("Q8_0"), None, folder / "imatrix.gguf")
    mode: Mode = "strict" if sys.platform == "linux" else "on"
    source = folder / "tiny-F16.gguf"
    inside = create(
        store,
        "inside",
        parse(f"FROM {source}"),
        base=folder,
        quantization=asked,
        quantizer=partial(quantize, sandbox=mode),
    )
    outside = create(
        store,
        "outside",
        parse(f"FROM {source}"),
        base=folder,
        quantization=asked,
        quantizer=partial(quantize, sandbox="off"),
    )
    assert inside.digest == outside.digest


def decodes(weights: Path) -> bool:
    worker = WorkerProcess(weights, num_ctx=256, num_parallel=1)
    try:
        answer = worker.ask(Generate(1, TextPrompt("once upon"), GREEDY))[1]
        return isinstance(answer.end, Outcome) and answer.reasons == {0: "length"}
    finally:
        worker.close()


@pytest.mark.parametrize("kind", sorted(QUANT_TYPES.keys() - SLOW - {"F16"}))
def test_every_type_is_made(store: Store, folder: Path, kind: str) -> None:
    _make_and_look(store, folder, kind)


@pytest.mark.faults
@pytest.mark.parametrize("kind", sorted(QUANT_TYPES.keys() - {"F16"}))
def test_every_type_is_made_and_decodes(store: Store, folder: Path, kind: str) -> None:
    assert decodes(_make_and_look(store, folder, kind).weights[0])


def _make_and_look(store: Store, folder: Path, kind: str) -> StoredModel:
    imatrix = folder / "imatrix.gguf" if kind in SLOW or QUANT_TYPES[kind].needs_imatrix else None
    model = made(store, folder / "tiny-F16.gguf", kind, imatrix)
    assert model.config.quantization == kind
    header = read_header(model.weights[0])
    assert header.metadata["general.file_type"] == QUANT_TYPES[kind].number
    packings = {tensor.type.name for tensor in header.tensors if len(tensor.shape) == 2}
    # MXFP4 is for experts, of which this model has none.
    expected = {"MXFP4_MOE": {"Q8_0"}}.get(kind, packings)
    assert packings == expected
    assert kind in ("BF16", "F32") or "F16" not in packings
    return model


@pytest.mark.parametrize("kind", ["Q4_K_M", "Q8_0"])
def test_what_was_made_decodes(store: Store, folder: Path, kind: str) -> None:
    assert decodes(made(store, folder / "tiny-F16.gguf", kind).weights[0])


@pytest.mark.parametrize("source", ["BF16", "F32"])
def test_shards_become_one_file(store: Store, tmp_path: Path, source: str) -> None:
    first = whole_models.write(tmp_path / "big.gguf", source, shards=3)
    one = made(store, whole_models.write(tmp_path / "small.gguf", source), "Q4_0").weights[0].read_bytes()
    model = made(store, first, "Q4_0")
    assert len(model.weights) == 1
    assert model.manifest.layers[0].title == "big-Q4_0.gguf"
    assert model.weights[0].read_bytes() == one


def test_what_was_measured_decides_and_is_noted(store: Store, folder: Path) -> None:
    plain = made(store, folder / "tiny-F16.gguf", "Q4_K_S")
    plain_digest = plain.manifest.layers[0].digest
    assert "quantize.imatrix.file" not in read_header(plain.weights[0]).metadata
    models = [
        made(store, folder / "tiny-F16.gguf", "Q4_K_S", folder / name) for name in ("imatrix.gguf", "imatrix.dat")
    ]
    assert plain_digest not in {each.manifest.layers[0].digest for each in models}
    for model, name in zip(models[1:], ["imatrix.dat"], strict=True):
        notes = read_header(model.weights[0]).metadata
        assert notes["quantize.imatrix.file"] == name
        assert notes["quantize.imatrix.dataset"] == "made up"
        assert (notes["quantize.imatrix.entries_count"], notes["quantize.imatrix.chunks_count"]) == (7, 12)


def test_an_importance_matrix_of_another_shape_is_refused(store: Store, folder: Path, tmp_path: Path) -> None:
    other = whole_models.write_imatrix(tmp_path / "other.gguf", width=128)
    before = contents(store.root)
    with pytest.raises(BadSource, match=r"other\.gguf: an importance matrix of another model; it has 128 values"):
        made(store, folder / "tiny-F16.gguf", "Q4_K_M", other)
    assert contents(store.root) == before


def test_a_mixture_may_turn_out_to_need_one(store: Store, folder: Path) -> None:
    with pytest.raises(BadSource, match="IQ3_XS needs an importance matrix"):
        made(store, folder / "tiny-F16.gguf", "IQ3_XS")
    assert unfinished(store.root) == []


def test_what_llama_cpp_refuses_is_told_in_its_words(tmp_path: Path) -> None:
    order = Order(tmp_path / "absent.gguf", tmp_path / "target.gguf", 7, None)
    with pytest.raises(QuantizeFailed, match=r"llama.cpp could not quantize the model: .*absent\.gguf"):
        quantize(order, lambda size, is_blind: None, lambda: None)


def children() -> list[psutil.Process]:
    return [each for each in psutil.Process().children() if "runner.engine.quantize" in each.cmdline()]


@pytest.mark.skipif(sys.platform == "win32", reason="no such signal")
def test_a_process_that_dies_is_a_failure_with_its_signal(folder: Path, tmp_path: Path) -> None:
    def planned(size: int, is_blind: bool) -> None:
        (child,) = children()
        child.send_signal(signal.SIGKILL)  # whoever started it learns of it, and nobody else may

    order = Order(folder / "tiny-F16.gguf", tmp_path / "target.gguf", 7, None)
    with pytest.raises(QuantizeFailed, match="died by signal 9, as the system does when memory runs out"):
        quantize(order, planned, lambda: None)


def test_whoever_raises_ends_the_process(folder: Path, tmp_path: Path) -> None:
    order = Order(folder / "tiny-F16.gguf", tmp_path / "target.gguf", 24, None)
    seen: list[psutil.Process] = []

    def watch() -> None:
        seen.extend(children())
        raise Cancelled("enough")

    with pytest.raises(Cancelled):  # IQ1_S takes seconds, so there is something to watch
        quantize(Order(order.source, order.target, 24, _measured(folder)), lambda size, is_blind: None, watch)
    assert seen
    assert not any(each.is_running() for each in seen)


def _measured(folder: Path):  # type: ignore[no-untyped-def]  # what Order takes
    from registry.gguf.imatrix import read_imatrix

    return read_imatrix(folder / "imatrix.gguf")


@pytest.mark.skipif(sys.platform == "win32", reason="killed otherwise there")
def test_the_process_ends_with_the_daemon(folder: Path, tmp_path: Path) -> None:
    program = f"""
import os, psutil, sys, time
from pathlib import Path
from registry.quantize import Order
from runner.inference.quantizer import quantize
def planned(size, is_blind):
    print(psutil.Process().children()[0].pid, flush=True)
    sys.stdin.read()
order = Order(Path({str(folder / "tiny-F16.gguf")!r}), Path({str(tmp_path / "t.gguf")!r}), 7, None)
quantize(order, planned, lambda: None)
"""
    parent = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    os.kill(parent.pid, signal.SIGKILL)
    parent.communicate()
    psutil.wait_procs([child], timeout=10)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
