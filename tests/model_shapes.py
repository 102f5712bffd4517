"""Models with the shapes that people run, a few layers of each: real headers, and weights that are holes in the file.

Each takes milliseconds to write and nothing on disk, and llama.cpp loads it like any other. They compute nothing worth
reading, and are never asked to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.tiny_gguf import BOOL, FLOAT32, INT32, Gguf, Tensor, Typed, array, padded, size_of

F32, F16, Q8_0, Q4_K = 0, 1, 8, 12
_EPSILON = Typed(FLOAT32, 1e-5)


@dataclass(frozen=True)
class Shape:
    """A model to be: its architecture's keys, and its tensors."""

    architecture: str
    keys: dict[str, object]
    tensors: tuple[Tensor, ...]

    def write(self, path: Path) -> Path:
        """The file, all of whose weights are holes."""
        name = self.architecture
        metadata: dict[str, object] = {
            "general.architecture": name,
            "general.type": "model",
            "tokenizer.ggml.model": "none",
            **{(key if "." in key and key.startswith("tokenizer") else f"{name}.{key}"): each
               for key, each in self.keys.items()},
        }  # fmt: skip
        made = Gguf(metadata, list(self.tensors))
        head = made.header()
        size = 0
        for tensor in self.tensors:
            size = padded(size, made.alignment) + size_of(tensor)
        with path.open("wb") as file:
            file.write(head)
            file.truncate(padded(len(head), made.alignment) + size)
        return path


def dense(
    *,
    width: int = 4096,
    layers: int = 2,
    heads: int = 32,
    heads_kv: int = 8,
    length: int = 128,
    inner: int = 14336,
    vocabulary: int = 16000,
    packing: int = Q8_0,
    tied: bool = False,
    architecture: str = "llama",
) -> Shape:
    """Grouped-query attention and a gated feed-forward part: llama, qwen2, qwen3, mistral."""
    tensors = list(_ends(width, vocabulary, packing, tied=tied))
    for layer in range(layers):
        block = f"blk.{layer}"
        tensors += _attention(block, width, heads, heads_kv, length, packing, biases=architecture == "qwen2")
        tensors += _feed(block, width, inner, packing)
    keys = _keys(width, layers, vocabulary, inner) | _heads(heads, heads_kv, length)
    return Shape(architecture, keys, tuple(tensors))


def sliding(
    *,
    width: int = 1152,
    layers: int = 6,
    heads: int = 4,
    heads_kv: int = 1,
    length: int = 256,
    inner: int = 6912,
    vocabulary: int = 65536,
    window: int = 512,
    packing: int = Q8_0,
) -> Shape:
    """Gemma 3: five layers of six see a window only."""
    tensors = list(_ends(width, vocabulary, packing, tied=True))
    for layer in range(layers):
        block = f"blk.{layer}"
        tensors += _attention(block, width, heads, heads_kv, length, packing, norms=True)
        tensors += _feed(block, width, inner, packing)
        tensors += [Tensor(f"{block}.{part}.weight", (width,)) for part in ("post_attention_norm", "post_ffw_norm")]
    keys = _keys(width, layers, vocabulary, inner) | _heads(heads, heads_kv, length)
    return Shape("gemma3", keys | {"attention.sliding_window": window}, tuple(tensors))


def shared(
    *, width: int = 1536, layers: int = 10, shares: int = 5, window: int = 512, vocabulary: int = 32768
) -> Shape:
    """Gemma 4: the last layers use the cache of earlier ones, windows see shorter heads than the others."""
    heads, heads_kv, inner, per_layer, packing = 8, 1, 3072, 256, Q8_0
    slides = [(layer + 1) % 5 != 0 for layer in range(layers)]
    tensors = list(_ends(width, vocabulary, packing, tied=True))
    tensors += [
        Tensor("per_layer_token_embd.weight", (per_layer * layers, vocabulary), packing),
        Tensor("per_layer_model_proj.weight", (width, per_layer * layers), F16),
        Tensor("per_layer_proj_norm.weight", (per_layer,)),
        Tensor("rope_freqs.weight", (256,)),
    ]
    for layer in range(layers):
        block = f"blk.{layer}"
        tensors += _attention(block, width, heads, heads_kv, 256 if slides[layer] else 512, packing, norms=True)
        tensors += _feed(block, width, inner, packing)
        tensors += [Tensor(f"{block}.{part}.weight", (width,)) for part in ("post_attention_norm", "post_ffw_norm")]
        tensors += [
            Tensor(f"{block}.inp_gate.weight", (width, per_layer)),
            Tensor(f"{block}.proj.weight", (per_layer, width)),
            Tensor(f"{block}.post_norm.weight", (width,)),
        ]
    keys = _keys(width, layers, vocabulary, inner) | _heads(heads, heads_kv, 512)
    keys |= {
        "attention.sliding_window": window,
        "attention.sliding_window_pattern": array(BOOL, slides),
        "attention.shared_kv_layers": shares,
        "attention.key_length_swa": 256,
        "attention.value_length_swa": 256,
        "rope.dimension_count": 512,
        "rope.dimension_count_swa": 256,
        "embedding_length_per_layer_input": per_layer,
    }
    return Shape("gemma4", keys, tuple(tensors))


def latent(
    *, width: int = 2048, layers: int = 3, heads: int = 16, experts: int = 8, vocabulary: int = 32000, lora: int = 512
) -> Shape:
    """DeepSeek V2 Lite: multi-head latent attention, and experts from the second layer on."""
    rope, nope, value, inner, inner_expert, shared_experts, packing = 64, 128, 128, 10944, 1408, 2, Q8_0
    tensors = list(_ends(width, vocabulary, packing, tied=False))
    for layer in range(layers):
        block = f"blk.{layer}"
        tensors += [
            Tensor(f"{block}.attn_norm.weight", (width,)),
            Tensor(f"{block}.attn_q_a.weight", (width, 1536), packing),
            Tensor(f"{block}.attn_q_a_norm.weight", (1536,)),
            Tensor(f"{block}.attn_q_b.weight", (1536, heads * (rope + nope)), packing),
            Tensor(f"{block}.attn_kv_a_norm.weight", (lora,)),
            Tensor(f"{block}.attn_kv_a_mqa.weight", (width, lora + rope), packing),
            Tensor(f"{block}.attn_k_b.weight", (nope, lora, heads), packing),
            Tensor(f"{block}.attn_v_b.weight", (lora, value, heads), packing),
            Tensor(f"{block}.attn_output.weight", (heads * value, width), packing),
        ]
        if layer == 0:
            tensors += _feed(block, width, inner, packing)
        else:
            tensors += _experts(block, width, inner_expert, experts, packing)
            tensors += [
                Tensor(f"{block}.ffn_{part}_shexp.weight", shape, packing)
                for part, shape in (
                    ("gate", (width, inner_expert * shared_experts)),
                    ("up", (width, inner_expert * shared_experts)),
                    ("down", (inner_expert * shared_experts, width)),
                )
            ]
    keys = _keys(width, layers, vocabulary, inner) | {
        "attention.head_count": heads,
        "attention.head_count_kv": 1,
        "attention.key_length": lora + rope,
        "attention.value_length": lora,
        "attention.key_length_mla": rope + nope,
        "attention.value_length_mla": value,
        "attention.q_lora_rank": 1536,
        "attention.kv_lora_rank": lora,
        "rope.dimension_count": rope,
        "leading_dense_block_count": 1,
        "expert_count": experts,
        "expert_used_count": 6,
        "expert_shared_count": shared_experts,
        "expert_feed_forward_length": inner_expert,
    }
    return Shape("deepseek2", keys, tuple(tensors))


def mixture(
    *, width: int = 2048, layers: int = 2, heads: int = 32, heads_kv: int = 4, experts: int = 16, inner: int = 768,
    vocabulary: int = 32768, packing: int = Q8_0,
) -> Shape:  # fmt: skip
    """Qwen 3 with experts."""
    tensors = list(_ends(width, vocabulary, packing, tied=False))
    for layer in range(layers):
        block = f"blk.{layer}"
        tensors += _attention(block, width, heads, heads_kv, 128, packing, norms=True)
        tensors += _experts(block, width, inner, experts, packing)
    keys = _keys(width, layers, vocabulary, 6144) | _heads(heads, heads_kv, 128)
    keys |= {"expert_count": experts, "expert_used_count": 8, "expert_feed_forward_length": inner}
    return Shape("qwen3moe", keys, tuple(tensors))


def sinks(
    *, width: int = 2880, layers: int = 2, experts: int = 4, vocabulary: int = 32768, packing: int = Q8_0
) -> Shape:
    """gpt-oss: every other layer sees a window of 128, all have experts."""
    heads, heads_kv, length, inner = 64, 8, 64, 2880
    tensors = list(_ends(width, vocabulary, packing, tied=False))
    for layer in range(layers):
        block = f"blk.{layer}"
        tensors += _attention(block, width, heads, heads_kv, length, packing, biases=True)
        tensors += [each for each in _experts(block, width, inner, experts, packing) if "ffn_norm" not in each.name]
        tensors += [
            Tensor(f"{block}.post_attention_norm.weight", (width,)),
            Tensor(f"{block}.attn_sinks.weight", (heads,)),
            Tensor(f"{block}.attn_output.bias", (width,)),
            Tensor(f"{block}.ffn_gate_inp.bias", (experts,)),
            Tensor(f"{block}.ffn_gate_exps.bias", (inner, experts)),
            Tensor(f"{block}.ffn_down_exps.bias", (width, experts)),
            Tensor(f"{block}.ffn_up_exps.bias", (inner, experts)),
        ]
    keys = _keys(width, layers, vocabulary, inner) | _heads(heads, heads_kv, length)
    keys |= {
        "expert_count": experts, "expert_used_count": 4, "expert_feed_forward_length": inner,
        "attention.sliding_window": 128,
    }  # fmt: skip
    return Shape("gpt-oss", keys, tuple(tensors))


def recurrent(*, width: int = 2560, layers: int = 4, vocabulary: int = 32768, packing: int = Q8_0) -> Shape:
    """Mamba: no attention at all."""
    tensors = list(_ends(width, vocabulary, packing, tied=True))
    for layer in range(layers):
        tensors += [Tensor(f"blk.{layer}.attn_norm.weight", (width,)), *_mamba(f"blk.{layer}", width, packing)]
    keys = _keys(width, layers, vocabulary, 0) | _state(width) | {"attention.head_count": 0}
    return Shape("mamba", keys, tuple(tensors))


def hybrid(*, width: int = 2560, layers: int = 3, vocabulary: int = 32768, packing: int = Q8_0) -> Shape:
    """Jamba: one layer of three attends, the others keep a state."""
    heads, heads_kv, inner = 20, [1 if layer % 3 == 1 else 0 for layer in range(layers)], 8192
    tensors = list(_ends(width, vocabulary, packing, tied=True))
    for layer, attends in enumerate(heads_kv):
        block = f"blk.{layer}"
        if attends:
            tensors += _attention(block, width, heads, attends, 128, packing)
        else:
            tensors += [Tensor(f"{block}.attn_norm.weight", (width,)), *_mamba(block, width, packing)]
            tensors += [
                Tensor(f"{block}.ssm_{part}_norm.weight", (size,)) for part, size in (("dt", 160), ("b", 16), ("c", 16))
            ]
        tensors += _feed(block, width, inner, packing)
    keys = _keys(width, layers, vocabulary, inner) | _heads(heads, 1, 128) | _state(width)
    return Shape("jamba", keys | {"attention.head_count_kv": array(INT32, heads_kv)}, tuple(tensors))


def convolving(*, width: int = 2048, layers: int = 4, vocabulary: int = 32768, packing: int = Q8_0) -> Shape:
    """LFM 2: short convolutions, and grouped-query attention in one layer of four."""
    heads, inner = 32, 8192
    heads_kv = [8 if layer % 4 == 2 else 0 for layer in range(layers)]
    tensors = list(_ends(width, vocabulary, packing, tied=True, norm="token_embd_norm"))
    for layer, attends in enumerate(heads_kv):
        block = f"blk.{layer}"
        if attends:
            tensors += _attention(block, width, heads, attends, 64, packing, norms=True)
        else:
            tensors += [
                Tensor(f"{block}.attn_norm.weight", (width,)),
                Tensor(f"{block}.shortconv.conv.weight", (3, width)),
                Tensor(f"{block}.shortconv.in_proj.weight", (width, 3 * width), packing),
                Tensor(f"{block}.shortconv.out_proj.weight", (width, width), packing),
            ]
        tensors += _feed(block, width, inner, packing)
    keys = _keys(width, layers, vocabulary, inner) | _heads(heads, 8, 64) | {"shortconv.l_cache": 3}
    return Shape("lfm2", keys | {"attention.head_count_kv": array(INT32, heads_kv)}, tuple(tensors))


def linear(*, width: int = 1024, layers: int = 8, vocabulary: int = 65536, packing: int = Q8_0) -> Shape:
    """Qwen 3.5: gated delta nets, and gated attention in every fourth layer."""
    heads, heads_kv, length, inner = 8, 2, 256, 3584
    state, groups, rank = 128, 16, 16
    values, convolved = state * rank, 2 * state * groups + state * rank
    tensors = list(_ends(width, vocabulary, packing, tied=True))
    for layer in range(layers):
        block = f"blk.{layer}"
        if layer % 4 == 3:
            attention = list(_attention(block, width, heads, heads_kv, length, packing, norms=True))
            tensors += [each for each in attention if "attn_q.weight" not in each.name]
            tensors.append(Tensor(f"{block}.attn_q.weight", (width, 2 * heads * length), packing))
        else:
            tensors += [
                Tensor(f"{block}.attn_norm.weight", (width,)),
                Tensor(f"{block}.attn_qkv.weight", (width, convolved), packing),
                Tensor(f"{block}.attn_gate.weight", (width, values), packing),
                Tensor(f"{block}.ssm_conv1d.weight", (4, convolved)),
                Tensor(f"{block}.ssm_dt.bias", (rank,)),
                Tensor(f"{block}.ssm_a", (rank,)),
                Tensor(f"{block}.ssm_beta.weight", (width, rank)),
                Tensor(f"{block}.ssm_alpha.weight", (width, rank)),
                Tensor(f"{block}.ssm_norm.weight", (state,)),
                Tensor(f"{block}.ssm_out.weight", (values, width), packing),
            ]
        tensors += [each for each in _feed(block, width, inner, packing) if "norm" not in each.name]
        tensors.append(Tensor(f"{block}.post_attention_norm.weight", (width,)))
    keys = _keys(width, layers, vocabulary, inner) | _heads(heads, heads_kv, length)
    keys |= {
        "rope.dimension_count": 64, "rope.dimension_sections": array(INT32, [11, 11, 10, 0]),
        "ssm.conv_kernel": 4, "ssm.inner_size": values, "ssm.state_size": state, "ssm.group_count": groups,
        "ssm.time_step_rank": rank,
    }  # fmt: skip
    return Shape("qwen35", keys, tuple(tensors))


def _keys(width: int, layers: int, vocabulary: int, inner: int) -> dict[str, object]:
    return {
        "vocab_size": vocabulary,
        "context_length": 131072,
        "embedding_length": width,
        "block_count": layers,
        "feed_forward_length": inner,
        "attention.layer_norm_rms_epsilon": _EPSILON,
    }


def _heads(heads: int, heads_kv: int, length: int) -> dict[str, object]:
    return {
        "attention.head_count": heads,
        "attention.head_count_kv": heads_kv,
        "attention.key_length": length,
        "attention.value_length": length,
        "rope.dimension_count": length,
    }


def _state(width: int) -> dict[str, object]:
    return {
        "ssm.conv_kernel": 4, "ssm.inner_size": 2 * width, "ssm.state_size": 16, "ssm.time_step_rank": 160,
    }  # fmt: skip


def _ends(width: int, vocabulary: int, packing: int, *, tied: bool, norm: str = "output_norm") -> Iterator[Tensor]:
    yield Tensor("token_embd.weight", (width, vocabulary), packing)
    yield Tensor(f"{norm}.weight", (width,))
    if not tied:
        yield Tensor("output.weight", (width, vocabulary), packing)


def _attention(
    block: str, width: int, heads: int, heads_kv: int, length: int, packing: int, *,
    norms: bool = False, biases: bool = False,
) -> Iterator[Tensor]:  # fmt: skip
    yield Tensor(f"{block}.attn_norm.weight", (width,))
    for part, rows in (("q", heads), ("k", heads_kv), ("v", heads_kv)):
        yield Tensor(f"{block}.attn_{part}.weight", (width, rows * length), packing)
        if biases:
            yield Tensor(f"{block}.attn_{part}.bias", (rows * length,))
        if norms and part != "v":
            yield Tensor(f"{block}.attn_{part}_norm.weight", (length,))
    yield Tensor(f"{block}.attn_output.weight", (heads * length, width), packing)


def _feed(block: str, width: int, inner: int, packing: int) -> Iterator[Tensor]:
    yield Tensor(f"{block}.ffn_norm.weight", (width,))
    for part, shape in (("gate", (width, inner)), ("up", (width, inner)), ("down", (inner, width))):
        yield Tensor(f"{block}.ffn_{part}.weight", shape, packing)


def _experts(block: str, width: int, inner: int, experts: int, packing: int) -> Iterator[Tensor]:
    yield Tensor(f"{block}.ffn_norm.weight", (width,))
    yield Tensor(f"{block}.ffn_gate_inp.weight", (width, experts))
    for part, shape in (("gate", (width, inner)), ("up", (width, inner)), ("down", (inner, width))):
        yield Tensor(f"{block}.ffn_{part}_exps.weight", (*shape, experts), packing)


def _mamba(block: str, width: int, packing: int) -> Iterator[Tensor]:
    inner, rank, state = 2 * width, 160, 16
    yield Tensor(f"{block}.ssm_in.weight", (width, 2 * inner), packing)
    yield Tensor(f"{block}.ssm_conv1d.weight", (4, inner))
    yield Tensor(f"{block}.ssm_conv1d.bias", (inner,))
    yield Tensor(f"{block}.ssm_x.weight", (inner, rank + 2 * state), packing)
    yield Tensor(f"{block}.ssm_dt.weight", (rank, inner), packing)
    yield Tensor(f"{block}.ssm_dt.bias", (inner,))
    yield Tensor(f"{block}.ssm_a", (state, inner))
    yield Tensor(f"{block}.ssm_d", (inner,))
    yield Tensor(f"{block}.ssm_out.weight", (inner, width), packing)


SHAPES: dict[str, Callable[[], Shape]] = {
    "llama, 8B's layers": dense,
    "llama, 8B's layers, Q4_K": lambda: dense(packing=Q4_K),
    "qwen2, 0.5B's layers": lambda: dense(
        width=896, layers=6, heads=14, heads_kv=2, length=64, inner=4864, vocabulary=151936, tied=True,
        architecture="qwen2",
    ),
    "qwen2, 0.5B's layers, Q4_0": lambda: dense(
        width=1024, layers=6, heads=16, heads_kv=2, length=64, inner=5120, vocabulary=151936, tied=True,
        architecture="qwen2", packing=2,
    ),
    "gemma3 (windows)": sliding,
    "gemma4 (windows, shared caches)": shared,
    "gpt-oss (windows, experts)": sinks,
    "deepseek2 (latent, experts)": latent,
    "qwen3moe (experts)": mixture,
    "mamba (recurrent)": recurrent,
    "jamba (hybrid)": hybrid,
    "lfm2 (hybrid)": convolving,
    "qwen35 (hybrid)": linear,
}  # fmt: skip
"""By name, one of each kind of cache that llama.cpp has."""
