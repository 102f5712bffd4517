"""Builds small GGUF files, sound or broken on purpose, byte by byte as the format has them.

Their headers are real; their weights are zeros. Knows nothing of Runner.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

UINT8, INT8, UINT16, INT16, UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY, UINT64, INT64, FLOAT64 = range(13)
_LETTERS = dict(zip(range(13), "BbHhIif?__Qqd", strict=True))

F32, F16, Q4_0, Q8_0, Q4_K = 0, 1, 2, 8, 12
_SIZES = {F32: (1, 4), F16: (1, 2), Q4_0: (32, 18), Q8_0: (32, 34), Q4_K: (256, 144)}


@dataclass(frozen=True)
class Typed:
    """A value with the type that it must be written as."""

    kind: int
    value: object


@dataclass
class Tensor:
    """A tensor; offset and bytes follow from the others unless given."""

    name: str
    shape: tuple[int, ...]
    kind: int = F32
    offset: int | None = None


@dataclass
class Gguf:
    """A file to be. The counts, version and magic say the truth unless told otherwise."""

    metadata: dict[str, object] = field(default_factory=dict)
    tensors: list[Tensor] = field(default_factory=list)
    magic: bytes = b"GGUF"
    version: int = 3
    alignment: int = 32
    key_count: int | None = None
    tensor_count: int | None = None

    def header(self) -> bytes:
        """Everything before the weights' padding."""
        out = [self.magic, struct.pack("<I", self.version)]
        out.append(struct.pack("<Q", len(self.tensors) if self.tensor_count is None else self.tensor_count))
        out.append(struct.pack("<Q", len(self.metadata) if self.key_count is None else self.key_count))
        for key, value in self.metadata.items():
            out.append(text(key) + pair(value))
        offset = 0
        for tensor in self.tensors:
            at = offset if tensor.offset is None else tensor.offset
            out.append(text(tensor.name) + struct.pack("<I", len(tensor.shape)))
            out.append(struct.pack(f"<{len(tensor.shape)}Q", *tensor.shape))
            out.append(struct.pack("<IQ", tensor.kind, at))
            offset = padded(offset + size_of(tensor), self.alignment)
        return b"".join(out)

    def build(self) -> bytes:
        """The whole file."""
        head = self.header()
        if not self.tensors:
            return head
        weights = 0
        for tensor in self.tensors:
            weights = padded(weights, self.alignment) + size_of(tensor)
        return head + b"\0" * (padded(len(head), self.alignment) - len(head)) + b"\0" * weights


def text(value: str | bytes) -> bytes:
    """A string: its length and its bytes."""
    data = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(data)) + data


def pair(value: object) -> bytes:
    """A value's type and the value."""
    typed = value if isinstance(value, Typed) else Typed(_kind(value), value)
    return struct.pack("<I", typed.kind) + _encoded(typed)


def array(kind: int, items: Sequence[object], count: int | None = None) -> Typed:
    """An array of one type; `count` lies about how many."""
    body = b"".join(_encoded(Typed(kind, each)) for each in items)
    return Typed(ARRAY, struct.pack("<IQ", kind, len(items) if count is None else count) + body)


def size_of(tensor: Tensor) -> int:
    """Bytes of its weights."""
    block, size = _SIZES.get(tensor.kind, (1, 4))
    count = 1
    for each in tensor.shape:
        count *= each
    return count // block * size


def padded(count: int, alignment: int) -> int:
    """Rounded up."""
    return -(-count // alignment) * alignment


def model(
    architecture: str = "llama",
    *,
    vocabulary: Sequence[str] = ("<|endoftext|>", "a", "b", "c"),
    layers: int = 2,
    width: int = 64,
    heads: int = 2,
    tensors: Sequence[Tensor] | None = None,
    extra: Mapping[str, object] | None = None,
) -> Gguf:
    """A small model with a sound header."""
    metadata: dict[str, object] = {
        "general.architecture": architecture,
        "general.type": "model",
        "general.name": "tiny",
        "general.file_type": 7,
        f"{architecture}.context_length": 512,
        f"{architecture}.embedding_length": width,
        f"{architecture}.block_count": layers,
        f"{architecture}.feed_forward_length": 2 * width,
        f"{architecture}.attention.head_count": heads,
        f"{architecture}.attention.layer_norm_rms_epsilon": Typed(FLOAT32, 1e-5),
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "qwen2",
        "tokenizer.ggml.tokens": array(STRING, vocabulary),
        "tokenizer.ggml.token_type": array(INT32, [1] * len(vocabulary)),
    }
    metadata.update(extra or {})
    if tensors is None:
        tensors = [Tensor("token_embd.weight", (width, len(vocabulary)), Q8_0), Tensor("output_norm.weight", (width,))]
    return Gguf({key: value for key, value in metadata.items() if value is not None}, list(tensors))


def shards(count: int, **options: object) -> list[bytes]:
    """A model in several files, as llama.cpp splits it: only the first has the model's keys."""
    whole = model(**options)  # type: ignore[arg-type]  # passed on
    names = [f"blk.{index}.weight" for index in range(count)]
    made = []
    for index, name in enumerate(names):
        split = {"split.no": Typed(UINT16, index), "split.count": Typed(UINT16, count),
                 "split.tensors.count": Typed(INT32, count)}  # fmt: skip
        metadata = whole.metadata | split if index == 0 else split
        made.append(Gguf(dict(metadata), [Tensor(name, (64, 4), Q8_0)]).build())
    return made


def projector(extra: Mapping[str, object] | None = None) -> bytes:
    """A vision projector."""
    metadata: dict[str, object] = {
        "general.architecture": "clip",
        "general.type": "mmproj",
        "clip.has_vision_encoder": True,
        "clip.vision.image_size": 336,
        "clip.vision.patch_size": 14,
        **(extra or {}),
    }
    return Gguf(metadata, [Tensor("mm.0.weight", (64, 4))]).build()


def adapter(
    architecture: str = "llama", *, target: str = "output_norm.weight", width: int = 64, height: int = 1
) -> bytes:
    """A LoRA adapter, by default one that fits `model`."""
    metadata: dict[str, object] = {
        "general.architecture": architecture,
        "general.type": "adapter",
        "adapter.type": "lora",
        "adapter.lora.alpha": Typed(FLOAT32, 16.0),
    }
    return Gguf(metadata, [Tensor(f"{target}.lora_a", (width, 4)), Tensor(f"{target}.lora_b", (4, height))]).build()


def _kind(value: object) -> int:
    if isinstance(value, bool):
        return BOOL
    if isinstance(value, int):
        return UINT32
    return FLOAT32 if isinstance(value, float) else STRING


def _encoded(typed: Typed) -> bytes:
    if typed.kind == STRING:
        return text(typed.value)  # type: ignore[arg-type]  # the caller says that it is a text
    if typed.kind == ARRAY:
        return typed.value  # type: ignore[return-value]  # encoded by `array`
    return struct.pack("<" + _LETTERS[typed.kind], typed.value)
