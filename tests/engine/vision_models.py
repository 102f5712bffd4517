"""Small vision models with random weights: a language model and the projector that goes with it, and pictures to show.

What they say means nothing. But it depends on every pixel, so an embedding in the wrong place or of the wrong image
shows. One pair for each way in which llama.cpp places an image: like text (`mlp`), seen as a whole (`gemma3`, also
beside a sliding window), and on a grid of its own (`qwen2vl`).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np

from tests.engine import random_models

SIZE, PATCH, WIDTH, INNER, LAYERS = 32, 8, 32, 64, 2  # of the encoder: pixels, pixels, values, values, blocks
TEXT_WIDTH = random_models.WIDTH
KINDS = {  # the projector's type, and the language model's architecture
    "text-like": ("mlp", "llama"),
    "whole": ("gemma3", "llama"),
    "window": ("gemma3", "gemma2"),
    "grid": ("qwen2vl_merger", "qwen2vl"),
}
TOKENS = 16  # of any image; on a grid some for each part of one
Tensor = tuple[str, tuple[int, ...]]

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def write_pair(folder: Path, kind: str, *, context: int = 512) -> tuple[Path, Path]:
    """A language model and a projector of this kind, in a folder that is there."""
    projector, architecture = KINDS[kind]
    model = random_models.write(folder / f"{kind}-model.gguf", architecture, context=context)
    return model, write_projector(folder / f"mmproj-{kind}.gguf", projector)


def write_projector(path: Path, kind: str) -> Path:
    """A projector of this type alone."""
    random = np.random.default_rng(7)
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_type("mmproj")
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_string("clip.projector_type", kind)
    writer.add_bool("clip.use_gelu", True)
    for key, value in {
        "image_size": SIZE,
        "patch_size": PATCH,
        "embedding_length": WIDTH,
        "feed_forward_length": INNER,
        "block_count": LAYERS,
        "projection_dim": TEXT_WIDTH,
        "attention.head_count": 2,
    }.items():
        writer.add_uint32(f"clip.vision.{key}", value)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-5)
    for key in ("image_mean", "image_std"):
        writer.add_array(f"clip.vision.{key}", [0.5, 0.5, 0.5])
    if kind == "gemma3":
        writer.add_uint32("clip.vision.projector.scale_factor", 1)
    for name, shape in _tensors(kind):
        scale = 1.0 if name.endswith("norm.weight") else 0.3
        values = random.normal(0.0, 0.3, shape) if scale != 1.0 else np.full(shape, scale)
        writer.add_tensor(name, values.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _tensors(kind: str) -> Iterator[Tensor]:
    """Names and shapes (rows first)."""
    yield "v.patch_embd.weight", (WIDTH, 3, PATCH, PATCH)
    if kind == "qwen2vl_merger":
        yield "v.patch_embd.weight.1", (WIDTH, 3, PATCH, PATCH)
    else:
        yield "v.patch_embd.bias", (WIDTH,)
        yield "v.position_embd.weight", ((SIZE // PATCH) ** 2, WIDTH)
    for block in (f"v.blk.{layer}" for layer in range(LAYERS)):
        for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
            yield f"{block}.{name}.weight", (WIDTH, WIDTH)
            yield f"{block}.{name}.bias", (WIDTH,)
        yield f"{block}.ffn_up.weight", (INNER, WIDTH)
        yield f"{block}.ffn_up.bias", (INNER,)
        yield f"{block}.ffn_down.weight", (WIDTH, INNER)
        yield f"{block}.ffn_down.bias", (WIDTH,)
        for name in ("ln1", "ln2"):
            yield f"{block}.{name}.weight", (WIDTH,)
            yield f"{block}.{name}.bias", (WIDTH,)
    yield "v.post_ln.weight", (WIDTH,)
    yield "v.post_ln.bias", (WIDTH,)
    if kind == "gemma3":
        yield "mm.input_projection.weight", (WIDTH, TEXT_WIDTH)
        yield "mm.soft_emb_norm.weight", (WIDTH,)
        return
    merged = 4 * WIDTH if kind == "qwen2vl_merger" else WIDTH  # it merges neighbours, two by two
    yield "mm.0.weight", (TEXT_WIDTH, merged)
    yield "mm.0.bias", (TEXT_WIDTH,)
    yield "mm.2.weight", (TEXT_WIDTH, TEXT_WIDTH)
    yield "mm.2.bias", (TEXT_WIDTH,)


def png(seed: int, width: int = SIZE, height: int = SIZE) -> bytes:
    """A picture of its own for each seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
