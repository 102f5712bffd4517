"""Small models with random weights and the demo model's vocabulary, one of each class of memory that llama.cpp has.

What they say means nothing. But it depends on all of what they read, so a state that isn't the right one shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np

from modelfiles.embedded import demo_gguf

WIDTH, INNER, STATE, RANK, LAYERS, WINDOW = 64, 128, 16, 4, 2, 32
Tensor = tuple[str, tuple[int, ...]]


def write(path: Path, architecture: str, *, context: int = 512, experts: int = 0) -> Path:
    """A model of this architecture: llama, qwen2(vl), gemma2 (sliding window), mamba (recurrent) or jamba (hybrid).

    With `experts`, a llama has so many in each layer, of which a token takes two.
    """
    random = np.random.default_rng(5)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(context)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_layer_norm_rms_eps(1e-5)
    _describe(writer, architecture)
    if experts:
        writer.add_expert_count(experts)
        writer.add_expert_used_count(2)
    tokens = copy_vocabulary(writer)
    for name, shape in [
        ("token_embd.weight", (tokens, WIDTH)),
        ("output_norm.weight", (WIDTH,)),
        *(_with_experts(_blocks(architecture), experts) if experts else _blocks(architecture)),
    ]:
        writer.add_tensor(name, _values(random, architecture, name, shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _describe(writer: gguf.GGUFWriter, architecture: str) -> None:
    if architecture in ("mamba", "jamba"):
        writer.add_ssm_conv_kernel(4)
        writer.add_ssm_inner_size(INNER)
        writer.add_ssm_state_size(STATE)
        writer.add_ssm_time_step_rank(RANK)
    if architecture == "mamba":
        writer.add_feed_forward_length(0)
        writer.add_head_count(0)
        return
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(2)
    writer.add_head_count_kv([0, 1] if architecture == "jamba" else 1)  # of jamba, the first layer is a mamba's
    writer.add_key_length(32)
    writer.add_value_length(32)
    if architecture in ("llama", "qwen2", "qwen2vl"):
        writer.add_rope_dimension_count(32)
    if architecture == "qwen2vl":
        writer.add_rope_dimension_sections([4, 6, 6, 0])  # of half the dimensions: time, height, width
    if architecture == "gemma2":
        writer.add_sliding_window(WINDOW)
        writer.add_attn_logit_softcapping(50.0)
        writer.add_final_logit_softcapping(30.0)


def _values(random: np.random.Generator, architecture: str, name: str, shape: tuple[int, ...]) -> np.ndarray:  # type: ignore[type-arg]
    if name.endswith("norm.weight"):
        # Gemma's output is the embedding: so small and normalised that what was read last doesn't drown the rest.
        return np.full(shape, {"output_norm.weight": 20.0}.get(name, 3.0) if architecture == "gemma2" else 1.0)
    if name == "token_embd.weight" and architecture == "gemma2":
        return random.normal(0.0, 0.02, shape)
    if name.endswith("ssm_a"):
        return -np.abs(random.normal(1.0, 0.3, shape))
    return random.normal(0.0, 0.3, shape)


def _blocks(architecture: str) -> Iterator[Tensor]:
    """Names and shapes (rows first) of the layers' tensors."""
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        yield f"{block}.attn_norm.weight", (WIDTH,)
        if architecture == "mamba" or (architecture == "jamba" and layer == 0):
            yield from _recurrent(block, architecture)
        else:
            yield from _attention(block, architecture)
        if architecture != "mamba":
            for name, shape in (("gate", (INNER, WIDTH)), ("up", (INNER, WIDTH)), ("down", (WIDTH, INNER))):
                yield f"{block}.ffn_{name}.weight", shape
            yield f"{block}.ffn_norm.weight", (WIDTH,)


def _with_experts(blocks: Iterator[Tensor], experts: int) -> Iterator[Tensor]:
    for name, shape in blocks:
        block, _, part = name.rpartition(".ffn_")
        if part.removesuffix(".weight") in ("gate", "up", "down"):
            yield f"{block}.ffn_{part.removesuffix('.weight')}_exps.weight", (experts, *shape)
            if part == "gate.weight":
                yield f"{block}.ffn_gate_inp.weight", (experts, WIDTH)
        else:
            yield name, shape


def _recurrent(block: str, architecture: str) -> Iterator[Tensor]:
    yield f"{block}.ssm_in.weight", (2 * INNER, WIDTH)
    yield f"{block}.ssm_conv1d.weight", (INNER, 4)
    yield f"{block}.ssm_conv1d.bias", (INNER,)
    yield f"{block}.ssm_x.weight", (RANK + 2 * STATE, INNER)
    yield f"{block}.ssm_dt.weight", (INNER, RANK)
    yield f"{block}.ssm_dt.bias", (INNER,)
    yield f"{block}.ssm_a", (INNER, STATE)
    yield f"{block}.ssm_d", (INNER,)
    yield f"{block}.ssm_out.weight", (WIDTH, INNER)
    if architecture == "jamba":
        for name, size in (("dt", RANK), ("b", STATE), ("c", STATE)):
            yield f"{block}.ssm_{name}_norm.weight", (size,)


def _attention(block: str, architecture: str) -> Iterator[Tensor]:
    for name, rows in (("q", 64), ("k", 32), ("v", 32)):
        yield f"{block}.attn_{name}.weight", (rows, WIDTH)
        if architecture in ("qwen2", "qwen2vl"):
            yield f"{block}.attn_{name}.bias", (rows,)
    yield f"{block}.attn_output.weight", (WIDTH, 64)
    if architecture == "gemma2":
        for name in ("post_attention_norm", "post_ffw_norm"):
            yield f"{block}.{name}.weight", (WIDTH,)


def copy_vocabulary(writer: gguf.GGUFWriter) -> int:
    """Copy every tokenizer key of the demo model; the number of tokens."""
    tokens = 0
    for key, field in gguf.GGUFReader(demo_gguf()).fields.items():
        if not key.startswith("tokenizer.") or key == "tokenizer.chat_template":
            continue
        kind = field.types[0]
        value = field.contents()
        writer.add_key_value(key, value, kind, field.types[-1] if kind is gguf.GGUFValueType.ARRAY else None)
        if key == "tokenizer.ggml.tokens":
            tokens = len(value)
    return tokens
