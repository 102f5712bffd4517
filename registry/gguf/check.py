"""What must hold before native code may see a GGUF: an architecture it knows, and values it doesn't abort on.

The reader has made sure of lengths already; these are the checks that need the keys' meaning.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from registry.errors import BadGGUF
from registry.gguf import architectures as known
from registry.gguf.arrays import Array
from registry.gguf.facts import Facts, facts, kind_of
from registry.gguf.format import STRING
from registry.gguf.metadata import Metadata
from registry.gguf.peek import unknown
from registry.gguf.reader import Header

TEMPLATE_LIMIT = 256 << 10
"""Bytes that a chat template may have."""

_BYTE_TOKEN = re.compile(rb"<0x[0-9A-F]{2}>")
_BYTE_TYPE = 6
_MOST_BYTE_TOKENS = 4096
_TOKEN_LIMIT = 64 << 10
_MOST_PATCHES = 1 << 16
_LORA_A, _LORA_B = ".lora_a", ".lora_b"
_HEADS = ("cls.output.weight", "cls.weight")


def check(header: Header, shards: Sequence[Header] = (), allowed: Collection[str] = known.ARCHITECTURES) -> Facts:
    """The facts of a file that the engine will take; `shards` are the model's further files, in order.

    `allowed` are the architectures that it may have. Raises UnsupportedModel for any other, BadGGUF for
    what native code would stumble over.
    """
    check_shards((header, *shards))
    data = Metadata(header)
    kind = kind_of(data)
    if kind != "mmproj" and data.architecture not in allowed:
        raise unknown(data.architecture)
    found = facts(header, shards)
    _check_vocabulary(data)
    _check_experts(data, found)
    _check_templates(found)
    if kind == "mmproj":
        _check_projector(data)
    if kind == "model" and found.pooling == "rank":
        _check_head(header, *shards)
    if not any(one.tensors for one in (header, *shards)):
        raise BadGGUF("it has no tensors: a vocabulary, not a model")
    if kind == "model" and not data.has("tokenizer.ggml.model"):
        raise BadGGUF("tokenizer.ggml.model is missing")
    return found


def check_adapter(adapter: Header, base: Sequence[Header]) -> None:
    """Make sure that a LoRA adapter was made for a model of these shards; raises BadGGUF naming what doesn't fit."""
    shapes = {tensor.name: (*tensor.shape, 1, 1) for header in base for tensor in header.tensors}
    halves = {tensor.name: (*tensor.shape, 1, 1) for tensor in adapter.tensors}
    for name, shape in halves.items():
        target = name.removesuffix(_LORA_A)
        if target == name:
            continue
        other = halves.get(target + _LORA_B)
        if other is None:
            raise BadGGUF(f"{name} has no {target + _LORA_B} beside it")
        wanted = shapes.get(target)
        if wanted is None:
            raise BadGGUF(f"an adapter of another model: there is no {target} in this one")
        # Rows are looked up in a table of embeddings, so its halves stand the other way round.
        found = (other[1], shape[1]) if target.endswith("token_embd.weight") else (shape[0], other[1])
        if found != wanted[:2]:
            raise BadGGUF(
                f"an adapter of another model: {target} is {_sized(wanted)} here, and it changes {_sized(found)}"
            )


def _sized(shape: Sequence[int]) -> str:
    return f"{shape[0]} by {shape[1]}"


def shard_position(header: Header) -> tuple[int, int]:
    """Which shard a file is, from 0, and of how many; (0, 1) for a whole model."""
    index, count = header.metadata.get("split.no", 0), header.metadata.get("split.count", 1)
    for key, value in (("split.no", index), ("split.count", count)):
        if type(value) is not int:
            raise BadGGUF(f"{key} must be a whole number")
    # A split of nothing is how some writers mark a file that was never split.
    return (index, count) if count else (0, 1)  # type: ignore[return-value]  # checked above


def check_shards(headers: Sequence[Header]) -> None:
    """Make sure that these are all shards of one model, in order; raises BadGGUF."""
    for expected, header in enumerate(headers):
        index, count = shard_position(header)
        if count != len(headers):
            raise BadGGUF(f"it is one of {count} shards, and {len(headers)} are at hand; all are needed")
        if index != expected:
            raise BadGGUF(f"shard {expected + 1} of {count} is wanted here, and this is number {index + 1}")
    total = headers[0].metadata.get("split.tensors.count")
    found = sum(len(each.tensors) for each in headers)
    if len(headers) > 1 and isinstance(total, int) and total != found:
        raise BadGGUF(f"the shards have {found} tensors together, and should have {total}")


def _check_vocabulary(data: Metadata) -> None:
    tokens = data.array("tokenizer.ggml.tokens")
    if tokens is None:
        return
    if tokens.kind != STRING:
        raise BadGGUF("tokenizer.ggml.tokens must hold texts")
    if tokens.longest > _TOKEN_LIMIT:
        raise BadGGUF(f"tokenizer.ggml.tokens has a token of {tokens.longest} bytes; {_TOKEN_LIMIT} are allowed")
    for key in ("tokenizer.ggml.scores", "tokenizer.ggml.token_type"):
        other = data.array(key)
        if other is not None and (other.kind == STRING or len(other) != len(tokens)):
            raise BadGGUF(f"{key} must hold {len(tokens)} numbers, one per token")
    types = data.array("tokenizer.ggml.token_type")
    if types is not None:
        _check_byte_tokens(tokens, types)


def _check_byte_tokens(tokens: Array, types: Array) -> None:
    numbers = types.numbers()
    count = numbers.count(_BYTE_TYPE)
    if count > _MOST_BYTE_TOKENS:
        raise BadGGUF(f"{count} tokens are marked as bytes; {_MOST_BYTE_TOKENS} are allowed, and there are 256 bytes")
    # The engine reads two hex digits of these without looking whether they are there.
    marked = [index for index, kind in enumerate(numbers) if kind == _BYTE_TYPE] if count else []
    for index, text in tokens.texts_at(marked).items():
        if not _BYTE_TOKEN.fullmatch(text):
            raise BadGGUF(f"token {index} is marked as a byte but reads {text[:20]!r}, not like <0x0A>")


def _check_experts(data: Metadata, found: Facts) -> None:
    experts, used = found.expert_count, found.expert_used_count
    if experts > known.MOST_EXPERTS:
        raise BadGGUF(f"{experts} experts are more than the {known.MOST_EXPERTS} allowed")
    if used > experts or (experts > 1 and not used):
        raise BadGGUF(f"{data.architecture}.expert_used_count is {used}, of {experts} experts")


def _check_templates(found: Facts) -> None:
    for name, text in (("", found.chat_template), *found.chat_templates.items()):
        size = len(text.encode("utf-8", "replace"))
        if size > TEMPLATE_LIMIT:
            shown = f"chat template {name[:40]!r}" if name else "the chat template"
            raise BadGGUF(f"{shown} has {size} bytes; {TEMPLATE_LIMIT} are allowed")


def _check_head(*headers: Header) -> None:
    """The engine would take a model without one, and read its scores from whatever lies there."""
    if not any(tensor.name in _HEADS for one in headers for tensor in one.tensors):
        raise BadGGUF(f"it is a model that ranks, and has no head to rank with ({' or '.join(_HEADS)})")


def _check_projector(data: Metadata) -> None:
    for what in ("vision", "audio"):
        patch = data.count(f"clip.{what}.patch_size")
        image = data.count(f"clip.{what}.image_size")
        if patch == 0:
            raise BadGGUF(f"clip.{what}.patch_size must not be 0")
        # Positions are laid out per patch on the stack of native code.
        if patch and image and (image // patch) ** 2 > _MOST_PATCHES:
            raise BadGGUF(f"clip.{what}: an image of {image} in patches of {patch} is too many patches")
