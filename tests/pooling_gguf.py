"""Small models of each kind of pooling, whose vectors can be worked out by hand.

The encoder's one layer attends and does nothing else; the decoder's adds nothing, so that a token's vector there is its
embedding, normalised.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt

from modelfiles.embedded import demo_gguf

WIDTH, FFN, CONTEXT = 32, 64, 64
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "\u2581red", "\u2581green", "\u2581blue", "\u2581round", "\u2581flat")
CLS, SEP = WORDS.index("[CLS]"), WORDS.index("[SEP]")
RERANK = "Find {query} in {document}!"
Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Made:
    """A model in a file, and the weights that matter."""

    path: Path
    weights: dict[str, Array]

    def decoded(self, tokens: list[int]) -> Array:
        """What the decoder makes of these tokens, shape (tokens, WIDTH)."""
        return _scaled(self.weights["token_embd.weight"][tokens])

    def encoded(self, tokens: list[int]) -> Array:
        """What the encoder makes of them: everyone looks at everyone."""
        vectors = self.weights["token_embd.weight"][tokens] + self.weights["position_embd.weight"][: len(tokens)]
        vectors = _scaled(_centred(vectors))
        query, key, value = (vectors @ self.weights[f"blk.0.attn_{name}.weight"].T for name in ("q", "k", "v"))
        seen = np.zeros_like(vectors)
        for head in (slice(0, WIDTH // 2), slice(WIDTH // 2, WIDTH)):
            weights = np.exp(query[:, head] @ key[:, head].T / np.sqrt(WIDTH // 2))
            seen[:, head] = weights / weights.sum(axis=1, keepdims=True) @ value[:, head]
        return _scaled(_centred(vectors + seen @ self.weights["blk.0.attn_output.weight"].T))


def _centred(vectors: Array) -> Array:
    return np.asarray(vectors - vectors.mean(axis=1, keepdims=True), np.float32)


def _scaled(vectors: Array) -> Array:
    return np.asarray(vectors / np.sqrt((vectors**2).mean(axis=1, keepdims=True)), np.float32)


def bert(path: Path, pooling: gguf.PoolingType) -> Made:
    """An encoder of nine words; one that ranks has a head with one output."""
    random = np.random.default_rng(3)
    writer = gguf.GGUFWriter(path, "bert")
    _sizes(writer, pooling)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_type_count(2)
    writer.add_token_list(list(WORDS))
    writer.add_token_types(
        [gguf.TokenType.CONTROL if word.startswith("[") else gguf.TokenType.NORMAL for word in WORDS]
    )
    writer.add_bos_token_id(CLS)
    writer.add_sep_token_id(SEP)
    writer.add_unk_token_id(1)
    writer.add_pad_token_id(0)
    weights = {
        "token_embd.weight": random.normal(size=(len(WORDS), WIDTH)),
        "position_embd.weight": random.normal(size=(CONTEXT, WIDTH)) / 4,
        "token_types.weight": np.zeros((2, WIDTH)),
        **_norm("token_embd_norm"),
        **_norm("blk.0.attn_output_norm"),
        **_norm("blk.0.layer_output_norm"),
        "blk.0.ffn_up.weight": np.zeros((FFN, WIDTH)),
        "blk.0.ffn_down.weight": np.zeros((WIDTH, FFN)),
    }
    for name in ("q", "k", "v", "output"):
        weights[f"blk.0.attn_{name}.weight"] = random.normal(size=(WIDTH, WIDTH)) / 6
    if pooling == gguf.PoolingType.RANK:
        weights["cls.weight"] = random.normal(size=(WIDTH, WIDTH)) / 8
        weights["cls.bias"] = random.normal(size=WIDTH)
        weights["cls.output.weight"] = random.normal(size=(1, WIDTH))
        weights["cls.output.bias"] = random.normal(size=1)
    return _written(writer, path, weights)


def qwen3(path: Path, pooling: gguf.PoolingType) -> Made:
    """A decoder with the demo model's vocabulary; one that ranks weighs a yes against a no, and has a template."""
    random = np.random.default_rng(4)
    writer = gguf.GGUFWriter(path, "qwen3")
    _sizes(writer, pooling)
    writer.add_layer_norm_rms_eps(1e-12)
    writer.add_head_count_kv(2)
    tokens = _copy_vocabulary(writer)
    ones, square = np.ones(WIDTH), np.zeros((WIDTH, WIDTH))
    weights = {
        "token_embd.weight": random.normal(size=(tokens, WIDTH)),
        "output_norm.weight": ones,
        "blk.0.attn_norm.weight": ones,
        "blk.0.ffn_norm.weight": ones,
        "blk.0.attn_q_norm.weight": np.ones(WIDTH // 2),
        "blk.0.attn_k_norm.weight": np.ones(WIDTH // 2),
        **{f"blk.0.attn_{name}.weight": square for name in ("q", "k", "v", "output")},
        **{f"blk.0.ffn_{name}.weight": np.zeros((FFN, WIDTH)) for name in ("gate", "up")},
        "blk.0.ffn_down.weight": np.zeros((WIDTH, FFN)),
    }
    if pooling == gguf.PoolingType.RANK:
        writer.add_classifier_output_labels(["yes", "no"])
        writer.add_chat_template([{"name": "rerank", "template": RERANK}])
        weights["cls.output.weight"] = random.normal(size=(2, WIDTH)) / 4
    return _written(writer, path, weights)


def _sizes(writer: gguf.GGUFWriter, pooling: gguf.PoolingType) -> None:
    writer.add_name("pooling")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(FFN)
    writer.add_block_count(1)
    writer.add_head_count(2)
    writer.add_pooling_type(pooling)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)


def _norm(name: str) -> dict[str, npt.NDArray[Any]]:
    return {f"{name}.weight": np.ones(WIDTH), f"{name}.bias": np.zeros(WIDTH)}


def _copy_vocabulary(writer: gguf.GGUFWriter) -> int:
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


def _written(writer: gguf.GGUFWriter, path: Path, weights: dict[str, npt.NDArray[Any]]) -> Made:
    exact = {name: values.astype(np.float32) for name, values in weights.items()}
    for name, values in exact.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return Made(path, exact)
