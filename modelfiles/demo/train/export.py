"""Checkpoints and tokenizer to GGUF: `python -m modelfiles.demo.train.export CHECKPOINT… --folder DIR --out FILE`.

Knows llama.cpp's names for tensors and metadata; `gguf_file` knows the bytes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch

from modelfiles.demo.train import gguf_file
from modelfiles.demo.train.gguf_file import Integers, Value
from modelfiles.demo.train.model import Shape
from modelfiles.demo.train.tokenizer import CONTROL, SPECIAL, load

TEMPLATE = Path(__file__).with_name("template.jinja")
DESCRIPTION = "Runner's embedded demo model: tiny, trained from scratch, knows Runner's commands and nothing else."
_NORMAL, _CONTROL, _USER_DEFINED = 1, 3, 4
_MOSTLY_Q8_0 = 7


def vocabulary(folder: Path) -> dict[str, Value]:
    """The tokenizer's metadata, as llama.cpp's byte-level BPE reads it."""
    model = json.loads(load(folder).to_str())["model"]
    ids: dict[str, int] = model["vocab"]
    tokens = sorted(ids, key=ids.__getitem__)
    kinds = [_CONTROL if t in CONTROL else _USER_DEFINED if t in SPECIAL else _NORMAL for t in tokens]
    named = {
        "bos": "<|endoftext|>", "eos": "<|im_end|>", "eot": "<|im_end|>", "padding": "<|fim_pad|>", "fim_pre": "<|fim_prefix|>",
        "fim_suf": "<|fim_suffix|>", "fim_mid": "<|fim_middle|>", "fim_pad": "<|fim_pad|>",
    }  # fmt: skip
    metadata: dict[str, Value] = {
        "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "qwen2", "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": Integers(tuple(kinds)), "tokenizer.ggml.merges": [" ".join(pair) for pair in model["merges"]],
        "tokenizer.ggml.add_bos_token": False, "tokenizer.ggml.add_space_prefix": False,
    }  # fmt: skip
    metadata |= {f"tokenizer.ggml.{name}_token_id": ids[token] for name, token in named.items()}
    return metadata | {"tokenizer.chat_template": TEMPLATE.read_text(encoding="utf-8")}


def architecture(shape: Shape, description: str) -> dict[str, Value]:
    """What the file is and how wide."""
    return {
        "general.architecture": "llama", "general.name": "demo", "general.description": description, "general.license": "apache-2.0",
        "general.size_label": "4.3M", "general.file_type": _MOSTLY_Q8_0, "general.quantization_version": 2,
        "llama.vocab_size": shape.vocabulary, "llama.context_length": shape.context, "llama.embedding_length": shape.width,
        "llama.block_count": shape.layers, "llama.feed_forward_length": shape.hidden, "llama.attention.head_count": shape.heads,
        "llama.attention.head_count_kv": shape.heads, "llama.rope.dimension_count": shape.head_width,
        "llama.rope.freq_base": shape.rope_base, "llama.attention.layer_norm_rms_epsilon": shape.epsilon,
    }  # fmt: skip


def averaged(checkpoints: Sequence[Path]) -> dict[str, torch.Tensor]:
    """The mean of the checkpoints' weights: between two neighbouring stages it keeps what either is good at."""
    loaded: list[dict[str, torch.Tensor]] = [torch.load(path, weights_only=True)["model"] for path in checkpoints]
    return {name: torch.stack([weights[name].float() for weights in loaded]).mean(0) for name in loaded[0]}


def export(checkpoints: Sequence[Path], folder: Path, out: Path, description: str = DESCRIPTION) -> None:
    """Write the GGUF. The output layer is the embedding, so it is left out."""
    tensors = {name: tensor.numpy() for name, tensor in averaged(checkpoints).items()}
    gguf_file.write(out, architecture(Shape(), description) | vocabulary(folder), tensors)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Write the demo model as GGUF.")
    parser.add_argument("checkpoints", type=Path, nargs="+", help="one, or several to average")
    parser.add_argument("--folder", type=Path, required=True, help="folder of the tokenizer")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--figures", default="", help="what `evaluate --summary` printed")
    options = parser.parse_args()
    export(options.checkpoints, options.folder, options.out, f"{DESCRIPTION} {options.figures}".strip())


if __name__ == "__main__":
    main()
