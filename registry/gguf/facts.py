"""What a GGUF header says of its model, typed and named.

Reads any sound header; whether the engine takes the model is for `check`. Never sees a weight.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from registry.errors import BadGGUF, UnsupportedModel
from registry.gguf import architectures as known
from registry.gguf.arrays import Array
from registry.gguf.cache import CacheShape, cache_shape
from registry.gguf.format import FILE_TYPE_GUESSED, FILE_TYPES, STRING
from registry.gguf.metadata import Metadata
from registry.gguf.reader import Header
from registry.gguf.sizes import Sizes, sizes

Kind = Literal["model", "adapter", "mmproj"]

_POOLING = {0: "none", 1: "mean", 2: "cls", 3: "last", 4: "rank"}
_INFILL = (
    ("tokenizer.ggml.fim_pre_token_id", "tokenizer.ggml.prefix_token_id"),
    ("tokenizer.ggml.fim_suf_token_id", "tokenizer.ggml.suffix_token_id"),
    ("tokenizer.ggml.fim_mid_token_id", "tokenizer.ggml.middle_token_id"),
)
# Tokens that the engine takes for infill marks where no key names them: prefix, suffix and middle of a family.
_INFILL_TOKENS = (
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
    ("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
    ("<\uff5cfim\u2581begin\uff5c>", "<\uff5cfim\u2581hole\uff5c>", "<\uff5cfim\u2581end\uff5c>"),
    ("<PRE>", "<SUF>", "<MID>"),
    ("\u2581<PRE>", "\u2581<SUF>", "\u2581<MID>"),
    ("<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"),
    ("<|prefix|>", "<|suffix|>", "<|middle|>"),
)

# Tokens that chat formats are made of. Looked for only where the header has no chat template.
CHAT_MARKS = (
    "<|im_start|>", "<|im_sep|>", "<|im_end|>",
    "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
    "<start_of_turn>", "<end_of_turn>",
    "[INST]", "[/INST]", "[SYSTEM_PROMPT]",
    "<|user|>", "<|assistant|>", "<|end|>",
    "<\uff5cUser\uff5c>", "<\uff5cAssistant\uff5c>",
    "<|START_OF_TURN_TOKEN|>", "<|USER_TOKEN|>", "<|CHATBOT_TOKEN|>", "<|END_OF_TURN_TOKEN|>",
    "<|start_of_role|>", "<|end_of_role|>",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """A model as its header describes it.

    Counts are 0 and texts empty where the header says nothing. `heads` and `heads_kv` are per layer.
    `pooling` is none, mean, cls, last or rank, empty if unsaid. `weights` is bytes of all tensors, over all
    shards given. `sampling` holds the author's `general.sampling.*` under llama.cpp's names. Without a chat template,
    `marks` are those of CHAT_MARKS that the vocabulary has, and `ends` its tokens for the end of a text and of a turn.
    """

    architecture: str
    kind: Kind
    name: str
    parameter_count: int
    size_label: str
    quantization: str
    context_length: int
    embedding_length: int
    block_count: int
    heads: tuple[int, ...]
    heads_kv: tuple[int, ...]
    key_length: int
    value_length: int
    sliding_window: int
    expert_count: int
    expert_used_count: int
    pooling: str
    causal: bool
    chat_template: str
    chat_templates: Mapping[str, str]
    marks: frozenset[str]
    ends: tuple[str, ...]
    infill: bool
    vision: bool
    audio: bool
    tokenizer: str
    tokenizer_pre: str
    vocabulary: int
    sampling: Mapping[str, int | float | str]
    split_index: int
    split_count: int
    weights: int
    recurrent: bool
    hybrid: bool
    cache: CacheShape
    sizes: Sizes

    def kv_bytes_per_token(self, type_k: str = "f16", type_v: str = "f16") -> int:
        """Bytes of KV cache for one more token of one sequence; types by ggml's names."""
        return self.cache.bytes_per_token(type_k, type_v)


def facts(header: Header, shards: Collection[Header] = ()) -> Facts:
    """Read a header's facts; `shards` are the headers of the model's further files, for its sums.

    Raises BadGGUF where a key has the wrong type, or one that everything depends on is missing.
    """
    data = Metadata(header)
    kind = kind_of(data)
    layers = _layers(data, kind)
    embedding = data.required_count(".embedding_length") if kind == "model" else data.count(".embedding_length") or 0
    heads = data.counts(".attention.head_count", layers) or (0,) * layers
    heads_kv = data.counts(".attention.head_count_kv", layers) or heads
    cache = cache_shape(data, layers, embedding, heads, heads_kv) if kind == "model" else CacheShape((), 0)
    tensors = [each for one in (header, *shards) for each in one.tensors]
    tokens = data.array("tokenizer.ggml.tokens")
    most = next((each for each in heads if each), 0)
    default = embedding // most if most else 0
    pooling = data.count(".pooling_type")
    chat_template = data.text("tokenizer.chat_template") or ""
    marks, ends = (frozenset[str](), ()) if chat_template else (_marks(tokens), _ends(data, tokens))
    return Facts(
        architecture=data.architecture,
        kind=kind,
        name=data.text("general.name") or "",
        parameter_count=sum(each.count for each in tensors),
        size_label=data.text("general.size_label") or "",
        quantization=_quantization(data, (header, *shards)),
        context_length=data.required_count(".context_length") if kind == "model" else 0,
        embedding_length=embedding,
        block_count=layers,
        heads=heads,
        heads_kv=heads_kv,
        key_length=_or(data.count(".attention.key_length"), default),
        value_length=_or(data.count(".attention.value_length"), default),
        sliding_window=data.count(".attention.sliding_window") or 0,
        expert_count=data.count(".expert_count") or 0,
        expert_used_count=max(data.counts(".expert_used_count", layers) or (0,)),
        pooling="" if pooling is None else _POOLING.get(pooling, "none"),
        causal=data.flag(".attention.causal") is not False,
        chat_template=chat_template,
        chat_templates=_named_templates(data),
        marks=marks,
        ends=ends,
        infill=_infill(data, tokens),
        vision=data.flag("clip.has_vision_encoder") is True,
        audio=data.flag("clip.has_audio_encoder") is True,
        tokenizer=data.text("tokenizer.ggml.model") or "",
        tokenizer_pre=data.text("tokenizer.ggml.pre") or "",
        vocabulary=len(tokens) if tokens is not None else data.count(".vocab_size") or 0,
        sampling=_sampling(data),
        split_index=data.count("split.no") or 0,
        split_count=data.count("split.count") or 1,
        weights=sum(each.size for each in tensors),
        recurrent=data.architecture in known.RECURRENT,
        hybrid=data.architecture in known.HYBRID,
        cache=cache,
        sizes=sizes(tensors, layers, data.count(".ssm.inner_size") or 0),
    )


def kind_of(data: Metadata) -> Kind:
    """Whether a file is a model, an adapter or a projector; raises UnsupportedModel for anything else."""
    kind = data.text("general.type")
    if kind in ("model", "adapter", "mmproj"):
        return kind  # type: ignore[return-value]  # mypy doesn't narrow a str by `in`
    if kind is not None:
        raise UnsupportedModel(f"a GGUF of type {kind[:40]!r} isn't a model, an adapter or a projector")
    if data.architecture == "clip":
        return "mmproj"
    return "adapter" if data.has("adapter.type") else "model"


def _layers(data: Metadata, kind: Kind) -> int:
    layers = data.required_count(".block_count") if kind == "model" else data.count(".block_count") or 0
    if layers > known.MOST_LAYERS:
        raise BadGGUF(f"{data.architecture}.block_count is {layers}; {known.MOST_LAYERS} are allowed")
    if (data.count(".nextn_predict_layers") or 0) > layers:
        raise BadGGUF(f"{data.architecture}.nextn_predict_layers is more than its {layers} layers")
    return layers


def _quantization(data: Metadata, headers: Collection[Header]) -> str:
    number = data.count("general.file_type")
    if number is not None and number < FILE_TYPE_GUESSED and number in FILE_TYPES:
        return FILE_TYPES[number]
    shares: dict[str, int] = {}
    for header in headers:
        for tensor in header.tensors:
            shares[tensor.type.name] = shares.get(tensor.type.name, 0) + tensor.size
    return max(shares, key=lambda name: shares[name], default="")


def _named_templates(data: Metadata) -> dict[str, str]:
    prefix = "tokenizer.chat_template."
    return {name: each for name, each in data.starting_with(prefix).items() if isinstance(each, str)}


def _marks(tokens: Array | None) -> frozenset[str]:
    if tokens is None or tokens.kind != STRING:
        return frozenset()
    return frozenset(each for each in CHAT_MARKS if tokens.has_text(each))


def _ends(data: Metadata, tokens: Array | None) -> tuple[str, ...]:
    if tokens is None or tokens.kind != STRING:
        return ()
    ids = [data.count(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot")]
    found = tokens.texts_at([each for each in ids if each is not None and each < len(tokens)])
    return tuple(each.decode("utf-8", "replace") for each in found.values())


def _infill(data: Metadata, tokens: Array | None) -> bool:
    if all(any(data.has(key) for key in keys) for keys in _INFILL):
        return True
    if tokens is None or tokens.kind != STRING:
        return False
    return any(all(tokens.has_text(each) for each in family) for family in _INFILL_TOKENS)


def _sampling(data: Metadata) -> dict[str, int | float | str]:
    found = data.starting_with("general.sampling.")
    return {key: each for key, each in found.items() if isinstance(each, int | float | str)}


def _or(value: int | None, default: int) -> int:
    return default if value is None else value
