"""Writes a GGUF file, version 3: metadata, tensor index, tensors in F32 or Q8_0.

Only what the demo model needs. Knows nothing of torch or of training.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ALIGNMENT = 32
BLOCK = 32
F32, Q8_0 = 0, 8
_UINT32, _INT32, _FLOAT32, _BOOL, _STRING, _ARRAY = 4, 5, 6, 7, 8, 9


@dataclass(frozen=True, slots=True)
class Integers:
    """A metadata array of 32-bit integers; plain Python lists are arrays of strings."""

    values: tuple[int, ...]


Value = str | bool | int | float | Sequence[str] | Integers


def q8_0(tensor: NDArray[np.float32]) -> bytes:
    """Blocks of 32 values: one half-precision scale, 32 signed bytes. The last axis must divide by 32."""
    if tensor.shape[-1] % BLOCK:
        raise ValueError(f"Q8_0 needs rows that divide by {BLOCK}, not {tensor.shape[-1]}")
    blocks = tensor.reshape(-1, BLOCK)
    scale = np.abs(blocks).max(axis=1, keepdims=True) / 127.0
    safe = np.where(scale == 0.0, 1.0, scale)
    packed = np.empty(len(blocks), dtype=[("scale", "<f2"), ("values", "i1", (BLOCK,))])
    packed["scale"] = scale[:, 0]
    packed["values"] = np.round(blocks / safe)
    return packed.tobytes()


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(value: Value) -> bytes:
    """Type tag and bytes of one metadata value."""
    if isinstance(value, bool):
        return struct.pack("<I?", _BOOL, value)
    if isinstance(value, int):
        return struct.pack("<II", _UINT32, value)
    if isinstance(value, float):
        return struct.pack("<If", _FLOAT32, value)
    if isinstance(value, str):
        return struct.pack("<I", _STRING) + _string(value)
    if isinstance(value, Integers):
        head = struct.pack("<IIQ", _ARRAY, _INT32, len(value.values))
        return head + struct.pack(f"<{len(value.values)}i", *value.values)
    return struct.pack("<IIQ", _ARRAY, _STRING, len(value)) + b"".join(_string(text) for text in value)


def write(path: Path, metadata: Mapping[str, Value], tensors: Mapping[str, NDArray[np.float32]]) -> None:
    """Write the file; matrices become Q8_0, vectors stay F32."""
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(metadata))
    head += b"".join(_string(key) + _value(value) for key, value in metadata.items())
    index, body = b"", b""
    for name, tensor in tensors.items():
        kind = Q8_0 if tensor.ndim == 2 else F32
        data = q8_0(tensor) if kind == Q8_0 else tensor.astype("<f4").tobytes()
        body += b"\0" * (-len(body) % ALIGNMENT)
        # GGUF counts dimensions from the innermost
        index += _string(name) + struct.pack("<I", tensor.ndim)
        index += struct.pack(f"<{tensor.ndim}Q", *reversed(tensor.shape)) + struct.pack("<IQ", kind, len(body))
        body += data
    body += b"\0" * (-len(body) % ALIGNMENT)
    head += index
    path.write_bytes(head + b"\0" * (-len(head) % ALIGNMENT) + body)
