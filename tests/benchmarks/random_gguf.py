"""Random-weight GGUFs of real shapes, for measuring speed where no real model can be had.

    python -m tests.benchmarks.random_gguf 0.5b model.gguf

The vocabulary is a real one, from the vocab-only GGUFs inside llama-cpp-python's source package (fetched by pip). What
such a model says means nothing; what it costs is what a model of that shape costs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt

from tests.benchmarks import llama_cpp_source


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of one model. `tied` shares the token embeddings with the output.

    Q8_0 is written as it is; any other `quantization` is made from F16 by llama.cpp's own quantizer.
    """

    architecture: str
    vocabulary: str
    layers: int
    width: int
    heads: int
    kv_heads: int
    ffn: int
    context: int
    tied: bool
    rope_base: float = 10_000.0
    quantization: str = "Q8_0"


SHAPES = {
    "0.5b": Shape("qwen2", "qwen2", 24, 896, 14, 2, 4864, 32768, True, 1_000_000.0),
    "42m": Shape("llama", "llama-spm", 8, 512, 8, 8, 1408, 4096, True),
    "15m": Shape("llama", "llama-spm", 6, 288, 6, 6, 768, 2048, True),
    "8b": Shape("llama", "llama-bpe", 32, 4096, 32, 8, 14336, 8192, False, 500_000.0, "Q4_K_M"),
}


def write(shape: Shape, path: Path, seed: int = 1) -> None:
    """Write a GGUF of this shape. Deterministic by seed."""
    if shape.quantization == "Q8_0":
        _write(shape, path, seed, gguf.GGMLQuantizationType.Q8_0)
        return
    aside = path.with_suffix(".f16")
    try:
        _write(shape, aside, seed, gguf.GGMLQuantizationType.F16)
        kind = gguf.LlamaFileType[f"MOSTLY_{shape.quantization}"]
        # In a process of its own: it says a line a tensor, and native code that fails takes its process along.
        subprocess.run([sys.executable, "-c", _QUANTIZE, aside, path, str(kind.value)], check=True)
    finally:
        aside.unlink(missing_ok=True)


_QUANTIZE = """
import ctypes, sys, llama_cpp
quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
llama_cpp.llama_log_set(quiet, None)
params = llama_cpp.llama_model_quantize_default_params()
params.ftype = int(sys.argv[3])
sys.exit(llama_cpp.llama_model_quantize(sys.argv[1].encode(), sys.argv[2].encode(), ctypes.byref(params)))
"""


def _write(shape: Shape, path: Path, seed: int, kind: gguf.GGMLQuantizationType) -> None:
    rng = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, shape.architecture, use_temp_file=kind is gguf.GGMLQuantizationType.F16)
    writer.add_name(f"random {shape.architecture} {shape.layers}x{shape.width}")
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_feed_forward_length(shape.ffn)
    writer.add_block_count(shape.layers)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_rope_dimension_count(shape.width // shape.heads)
    writer.add_file_type(gguf.LlamaFileType[f"MOSTLY_{kind.name}"])
    tokens = _copy_vocabulary(writer, vocabulary(shape.vocabulary))
    for name, dimensions in _tensors(shape, tokens):
        _add(writer, rng, name, dimensions, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _tensors(shape: Shape, tokens: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and dimensions (rows first) of every tensor."""
    width, kv = shape.width, shape.width // shape.heads * shape.kv_heads
    yield "token_embd.weight", (tokens, width)
    yield "output_norm.weight", (width,)
    if not shape.tied:
        yield "output.weight", (tokens, width)
    for layer in range(shape.layers):
        block = f"blk.{layer}"
        yield f"{block}.attn_norm.weight", (width,)
        yield f"{block}.ffn_norm.weight", (width,)
        for name, rows in (("q", width), ("k", kv), ("v", kv)):
            yield f"{block}.attn_{name}.weight", (rows, width)
            if shape.architecture == "qwen2":
                yield f"{block}.attn_{name}.bias", (rows,)
        yield f"{block}.attn_output.weight", (width, width)
        yield f"{block}.ffn_gate.weight", (shape.ffn, width)
        yield f"{block}.ffn_up.weight", (shape.ffn, width)
        yield f"{block}.ffn_down.weight", (width, shape.ffn)


def _add(
    writer: gguf.GGUFWriter,
    rng: np.random.Generator,
    name: str,
    dimensions: tuple[int, ...],
    kind: gguf.GGMLQuantizationType,
) -> None:
    if len(dimensions) == 1:
        values = np.ones(dimensions, np.float32) if "norm" in name else np.zeros(dimensions, np.float32)
        writer.add_tensor(name, values)
        return
    values = rng.standard_normal(dimensions, np.float32) * 0.02
    if kind is gguf.GGMLQuantizationType.F16:
        writer.add_tensor(name, values.astype(np.float16))
        return
    packed: npt.NDArray[np.uint8] = gguf.quants.quantize(values, kind)
    writer.add_tensor(name, packed, raw_dtype=kind)


def _copy_vocabulary(writer: gguf.GGUFWriter, source: Path) -> int:
    """Copy every tokenizer key; returns the number of tokens."""
    reader = gguf.GGUFReader(source)
    tokens = 0
    for key, field in reader.fields.items():
        if not key.startswith("tokenizer."):
            continue
        value = field.contents()
        kind = field.types[0]
        writer.add_key_value(key, value, kind, field.types[-1] if kind is gguf.GGUFValueType.ARRAY else None)
        if key == "tokenizer.ggml.tokens":
            tokens = len(value)
    return tokens


def vocabulary(name: str) -> Path:
    """A vocab-only GGUF out of the source package of the installed llama-cpp-python, kept in the temporary folder."""
    release = version("llama-cpp-python")
    kept = Path(tempfile.gettempdir()) / f"llama-cpp-python-{release}-vocab-{name}.gguf"
    if not kept.exists():
        aside = kept.with_suffix(".part")
        aside.write_bytes(llama_cpp_source.read(f"models/ggml-vocab-{name}.gguf"))
        aside.replace(kept)
    return kept


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a random-weight GGUF of a real shape.")
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("path", type=Path)
    arguments = parser.parse_args()
    write(SHAPES[arguments.shape], arguments.path)


if __name__ == "__main__":
    main()
