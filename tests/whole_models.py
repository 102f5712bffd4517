"""Models with their own values (F16, BF16 or F32), as a quantizer wants them: random weights, rows of 256, the demo
model's vocabulary. What they say means nothing."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt

from tests.engine.random_models import copy_vocabulary

WIDTH = 256
_KINDS = {
    "F16": (gguf.LlamaFileType.MOSTLY_F16, gguf.GGMLQuantizationType.F16),
    "BF16": (gguf.LlamaFileType.MOSTLY_BF16, gguf.GGMLQuantizationType.BF16),
    "F32": (gguf.LlamaFileType.ALL_F32, gguf.GGMLQuantizationType.F32),
}


def write(path: Path, kind: str = "F16", *, shards: int = 1, seed: int = 5) -> Path:
    """A llama of one layer; the first of its `shards` files if there are several, named as llama.cpp names them."""
    random = np.random.default_rng(seed)
    file_type, packing = _KINDS[kind]
    if shards > 1:
        path = path.with_name(f"{path.stem}-00001-of-{shards:05}.gguf")
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_file_type(file_type)
    writer.add_context_length(256)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(WIDTH)
    writer.add_block_count(1)
    writer.add_head_count(4)
    writer.add_head_count_kv(4)
    writer.add_rope_dimension_count(64)
    writer.add_layer_norm_rms_eps(1e-5)
    tokens = copy_vocabulary(writer)
    tensors = _tensors(random, tokens)
    parts = [tensors[index::shards] for index in range(shards)]
    for index, part in enumerate(parts):
        if index:
            path = path.with_name(f"{path.name[:-19]}{index + 1:05}-of-{shards:05}.gguf")
            writer = gguf.GGUFWriter(path, "llama")
        if shards > 1:
            writer.add_uint16("split.no", index)
            writer.add_uint16("split.count", shards)
            writer.add_int32("split.tensors.count", len(tensors))
        for name, values in part:
            if values.ndim == 1:
                writer.add_tensor(name, values)
            else:
                writer.add_tensor(name, gguf.quants.quantize(values, packing), raw_dtype=packing)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return path.with_name(f"{path.name[:-19]}00001-of-{shards:05}.gguf") if shards > 1 else path


def write_imatrix(path: Path, *, older: bool = False, width: int = WIDTH) -> Path:
    """What was measured of such a model, made up: columns matter more the further right they are."""
    names = [
        f"blk.0.{part}.weight"
        for part in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    ]
    sums = np.linspace(1.0, 9.0, width, dtype=np.float32)
    if older:
        data = np.int32(len(names)).tobytes()
        for name in names:
            data += np.int32(len(name)).tobytes() + name.encode() + np.array([7, width], np.int32).tobytes()
            data += (sums * 7).astype(np.float32).tobytes()
        text = b"made up"
        path.write_bytes(data + np.int32(12).tobytes() + np.int32(len(text)).tobytes() + text)
        return path
    writer = gguf.GGUFWriter(path, "")
    writer.add_type("imatrix")
    writer.add_array("imatrix.datasets", ["made up"])
    writer.add_uint32("imatrix.chunk_count", 12)
    writer.add_uint32("imatrix.chunk_size", 512)
    for name in names:
        writer.add_tensor(f"{name}.in_sum2", (sums * 7).reshape(1, width))
        writer.add_tensor(f"{name}.counts", np.array([[7.0]], np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _tensors(random: np.random.Generator, tokens: int) -> list[tuple[str, npt.NDArray[np.float32]]]:
    shapes = {
        "token_embd.weight": (tokens, WIDTH),
        "output_norm.weight": (WIDTH,),
        "blk.0.attn_norm.weight": (WIDTH,),
        "blk.0.ffn_norm.weight": (WIDTH,),
        **{
            f"blk.0.{part}.weight": (WIDTH, WIDTH)
            for part in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
        },
    }
    return [
        (name, np.ones(shape, np.float32) if len(shape) == 1 else random.normal(0, 0.1, shape).astype(np.float32))
        for name, shape in shapes.items()
    ]
