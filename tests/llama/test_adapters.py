"""LoRA adapters on the demo model: they are loaded, they change what it computes, and a wrong one is refused."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt
import pytest

from modelfiles.embedded import demo_gguf
from runner.errors import LoadFailed
from runner.llama import library
from runner.llama.batch import Batch
from runner.llama.context import Context, Outcome
from runner.llama.model import Model
from runner.protocol.options import LoadOptions

OPTIONS = LoadOptions(num_ctx=256, num_parallel=1, num_thread=1)
WIDTH, LAYERS = 256, 4  # of the demo model


def write_adapter(path: Path, strength: float, *, width: int = WIDTH, alpha: float = 1.0, seed: int = 1) -> str:
    """An adapter of rank one on every layer's queries; without strength it changes nothing."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", alpha)
    random = np.random.default_rng(seed)
    for layer in range(LAYERS):
        for half, shape in (("a", (1, width)), ("b", (WIDTH, 1))):
            values = strength * random.normal(size=shape)
            writer.add_tensor(f"blk.{layer}.attn_q.weight.lora_{half}", values.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return str(path)


def computed(adapters: list[str], *, embedding: bool = False) -> npt.NDArray[np.float32]:
    """What the demo model computes for a few tokens: the last row's logits, or a pooled vector."""
    return computed_with(dict.fromkeys(adapters, 1.0), embedding=embedding)


def computed_with(adapters: dict[str, float], *, embedding: bool = False) -> npt.NDArray[np.float32]:
    """The same, with adapters of these strengths."""
    log = library.start()
    model = Model([str(demo_gguf())], OPTIONS, log)
    context = Context(model, OPTIONS, log, cells=256, sequences=1, batch=64, embedding=embedding)
    try:
        context.apply_adapters({model.load_adapter(path, log): scale for path, scale in adapters.items()})
        batch = Batch(64)
        batch.add(0, 0, model.tokenize("How do I pull a model?", special=False, bos=True), outputs=1)
        if embedding:
            batch.want_all()
        assert context.decode(batch) is Outcome.DONE
        return context.pooled(0, model.n_embd) if embedding else context.logits(1)[0].copy()
    finally:
        context.close()
        model.close()


@pytest.mark.parametrize("embedding", [False, True])
def test_an_adapter_changes_what_is_computed(tmp_path: Path, embedding: bool) -> None:
    plain = computed([], embedding=embedding)
    strong = write_adapter(tmp_path / "strong.gguf", 1.0)
    empty = write_adapter(tmp_path / "empty.gguf", 0.0)
    assert not np.allclose(computed([strong], embedding=embedding), plain, atol=1e-2)
    assert np.allclose(computed([empty], embedding=embedding), plain, atol=1e-2)


def test_its_own_scale_is_kept_to(tmp_path: Path) -> None:
    # Not nearer: the least change makes llama.cpp round its activations otherwise.
    faint, half = (computed([write_adapter(tmp_path / "a.gguf", 1.0, alpha=alpha)]) for alpha in (1e-7, 0.5))
    assert np.allclose(faint, computed([]), atol=0.5)
    assert not np.allclose(half, computed([]), atol=1.0)
    assert not np.allclose(half, computed([write_adapter(tmp_path / "a.gguf", 1.0)]), atol=1.0)


def test_several_adapters_add_up(tmp_path: Path) -> None:
    strong = write_adapter(tmp_path / "strong.gguf", 1.0)
    empty = write_adapter(tmp_path / "empty.gguf", 0.0)
    assert np.allclose(computed([strong, empty]), computed([strong]), atol=1e-2)


def test_an_adapter_of_another_shape_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LoadFailed, match=r"wrong\.gguf"):
        computed([write_adapter(tmp_path / "wrong.gguf", 1.0, width=64)])


def test_what_is_no_adapter_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "nothing.gguf"
    path.write_bytes(b"GGUF")
    with pytest.raises(LoadFailed, match=r"nothing\.gguf"):
        computed([str(path)])
    with pytest.raises(LoadFailed, match=r"absent\.gguf"):
        computed([str(tmp_path / "absent.gguf")])
