"""Reads a GGUF header: metadata and the index of tensors, never the weights. Every length is checked first.

Headers come from strangers, and what passes here goes on to native code, so anything that ggml would
refuse, or might add up wrongly, is refused here. Knows no architecture: what the keys mean is for `facts`.
"""

from __future__ import annotations

import io
import os
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from registry.disk import open_regular
from registry.errors import BadGGUF, Truncated
from registry.gguf import format as gguf
from registry.gguf.arrays import Array

Value = int | float | bool | str | Array

_FIRST_READ = 256 << 10
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_READERS = {kind: struct.Struct("<" + letter) for kind, letter in gguf.SCALARS.items()}
_PIECE = 4 << 20  # bytes read at a time
_KEY_COST, _TENSOR_COST = 400, 512  # bytes that one takes as Python objects
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]")
_WIDE = re.compile(rb"[\xf0-\xff]")  # what a character outside of Unicode's first plane begins with
_NAME_LIMIT = 63  # ggml keeps names in 64 bytes, the last one NUL


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a header may ask for. The defaults lie well above every published model.

    `memory` is what its bytes, texts, keys and tensors may take together, about, once they are Python objects.
    """

    keys: int = 16_384
    tensors: int = 65_536
    key_bytes: int = 256
    text_bytes: int = 16 << 20
    items: int = 4 << 20
    alignment: int = 65_536
    header_bytes: int = 40 << 20
    memory: int = 44 << 20
    tensor_bytes: int = 1 << 48


LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor: its shape (fastest dimension first), packing, and bytes from the start of the data."""

    name: str
    shape: tuple[int, ...]
    type: gguf.TensorType
    offset: int
    size: int

    @property
    def count(self) -> int:
        """How many values it has."""
        product = 1
        for each in self.shape:
            product *= each
        return product


@dataclass(frozen=True, slots=True)
class Header:
    """A GGUF file but for its weights. `types` has each key's value type as written."""

    version: int
    alignment: int
    metadata: Mapping[str, Value]
    types: Mapping[str, int]
    tensors: tuple[TensorInfo, ...]
    data_offset: int
    file_size: int


def read_header(
    source: str | os.PathLike[str] | int,
    *,
    limits: Limits = LIMITS,
    file_size: int | None = None,
    at_hand: int | None = None,
) -> Header:
    """Read the header of a file, given by path or as an open descriptor (which stays open).

    `file_size` is the size that the file will have once all of it is there; by default the one it has.
    `at_hand` is how many of its first bytes are true by now, where the rest may be a hole.
    Raises BadGGUF saying what is wrong and where (Truncated where more bytes might help), or BadSource.
    """
    if isinstance(source, int):
        return _read(source, "", limits, file_size, at_hand)
    path = Path(source)
    fd, _ = open_regular(path)
    try:
        return _read(fd, str(path), limits, file_size, at_hand)
    finally:
        os.close(fd)


def _read(fd: int, path: str, limits: Limits, file_size: int | None, at_hand: int | None) -> Header:
    os.lseek(fd, 0, os.SEEK_SET)
    with open(fd, "rb", buffering=0, closefd=False) as file:
        actual = os.fstat(fd).st_size
        try:
            return _Parser(file, actual if file_size is None else file_size, limits, at_hand).header()
        except Truncated as error:
            raise Truncated(error.reason, path) from None
        except BadGGUF as error:
            raise BadGGUF(error.reason, path) from None


class _Parser:
    """Walks the header once. `data` grows as the walk needs it, never further than the header goes."""

    def __init__(self, file: io.RawIOBase | io.FileIO, size: int, limits: Limits, at_hand: int | None = None) -> None:
        self.file = file
        self.size = size
        self.limits = limits
        self.at_hand = size if at_hand is None else at_hand
        self.data = bytearray()
        self.at = 0
        self.taken = 0  # memory for what was read from the bytes

    def header(self) -> Header:
        version, tensor_count, key_count = self._preamble()
        metadata, types = self._metadata(key_count)
        alignment = _alignment(metadata, types, self.limits)
        tensors = self._tensors(tensor_count, alignment)
        data_offset = _padded(self.at, alignment) if tensors else self.at
        _check_extent(tensors, data_offset, self.size)
        return Header(version, alignment, metadata, types, tensors, data_offset, self.size)

    def _preamble(self) -> tuple[int, int, int]:
        if self.size < 24:
            raise Truncated(f"not a GGUF file: {self.size} bytes, and a header alone has 24")
        magic = bytes(self.data[self.take(4) :][:4])
        if magic != gguf.MAGIC:
            raise BadGGUF(f"not a GGUF file: it begins with {magic!r}, not {gguf.MAGIC!r}")
        version = self.u32()
        if version not in gguf.VERSIONS:
            if version and version & 0xFFFF == 0:
                raise BadGGUF("a big-endian GGUF file; only little-endian ones are supported")
            raise BadGGUF(f"GGUF version {version} isn't supported (2 and 3 are); convert the model again")
        tensor_count = self.u64()
        key_count = self.u64()
        if tensor_count > self.limits.tensors:
            raise BadGGUF(f"{tensor_count} tensors are more than the {self.limits.tensors} allowed")
        if key_count > self.limits.keys:
            raise BadGGUF(f"{key_count} metadata keys are more than the {self.limits.keys} allowed")
        return version, tensor_count, key_count

    def _metadata(self, count: int) -> tuple[dict[str, Value], dict[str, int]]:
        metadata: dict[str, Value] = {}
        types: dict[str, int] = {}
        for index in range(count):
            self.spend(_KEY_COST)
            key = self._key(index)
            if key in metadata:
                raise BadGGUF(f"metadata key {key!r} occurs twice")
            kind = self.u32()
            metadata[key] = self._array(key) if kind == gguf.ARRAY else self._value(key, kind)
            types[key] = kind
        return metadata, types

    def _key(self, index: int) -> str:
        length = self.u64()
        if not 0 < length <= self.limits.key_bytes:
            raise BadGGUF(f"metadata key {index} has {length} bytes; 1 to {self.limits.key_bytes} are allowed")
        start = self.take(length)
        raw = bytes(self.data[start : start + length])
        if not raw.isascii() or not (key := raw.decode("ascii")).isprintable():
            raise BadGGUF(f"metadata key {index} isn't printable text: {raw[:40]!r}")
        return key

    def _value(self, key: str, kind: int) -> Value:
        if kind == gguf.STRING:
            return self._text(f"metadata key {key!r}")
        reader = _READERS.get(kind)
        if reader is None:
            raise BadGGUF(f"metadata key {key!r} has unknown value type {kind}")
        value = reader.unpack_from(self.data, self.take(reader.size))[0]
        if kind == gguf.BOOL:
            if value > 1:
                raise BadGGUF(f"metadata key {key!r}: {value} is neither true nor false")
            return bool(value)
        return value  # type: ignore[no-any-return]  # struct types its results as Any

    def _text(self, what: str) -> str:
        length = self.u64()
        if length > self.limits.text_bytes:
            raise BadGGUF(f"{what} has {length} bytes of text; {self.limits.text_bytes} are allowed")
        start = self.take(length)
        # The widest character decides how many bytes each of them takes.
        width = 4 if _WIDE.search(self.data, start, start + length) else 2
        self.spend(length * (width if _BEYOND_ASCII.search(self.data, start, start + length) else 1))
        with memoryview(self.data) as data, data[start : start + length] as text:
            return str(text, "utf-8", "replace")

    def _array(self, key: str) -> Array:
        kind = self.u32()
        count = self.u64()
        if kind == gguf.ARRAY:
            raise BadGGUF(f"metadata key {key!r}: arrays of arrays aren't allowed")
        if kind != gguf.STRING and kind not in gguf.SCALARS:
            raise BadGGUF(f"metadata key {key!r} is an array of unknown value type {kind}")
        if count > self.limits.items:
            raise BadGGUF(f"metadata key {key!r} has {count} items; {self.limits.items} are allowed")
        if kind == gguf.STRING:
            start = self.at
            longest = self._pass_texts(key, count)
            return Array(kind, count, self.data, start, self.at, longest)
        start = self.take(count * _READERS[kind].size)
        if kind == gguf.BOOL and max(memoryview(self.data)[start : self.at], default=0) > 1:
            raise BadGGUF(f"metadata key {key!r}: an item is neither true nor false")
        return Array(kind, count, self.data, start, self.at)

    def _pass_texts(self, key: str, count: int) -> int:
        """Walk over `count` texts; returns the length of the longest. The one loop that must be quick."""
        if 8 * count > self.size - self.at:
            raise Truncated(f"metadata key {key!r} has {count} texts, more than the file has room for")
        unpack, limit = _U64.unpack_from, self.limits.text_bytes
        at, left, longest = self.at, count, 0
        while left:
            data = self.data
            try:
                # `left` keeps its value when the data runs out in the middle.
                for left in range(left, 0, -1):  # noqa: B007, B020
                    (length,) = unpack(data, at)
                    if length > longest:
                        if length > limit:
                            raise BadGGUF(f"metadata key {key!r}: an item has {length} bytes; {limit} are allowed")
                        longest = length
                    at += 8 + length
                left = 0
            except struct.error:
                self.need(at + 8)
        self.need(at)
        self.at = at
        return longest

    def _tensors(self, count: int, alignment: int) -> tuple[TensorInfo, ...]:
        tensors = []
        names = set()
        expected = 0
        for index in range(count):
            self.spend(_TENSOR_COST)
            tensor = self._tensor(index)
            if tensor.name in names:
                raise BadGGUF(f"tensor {tensor.name!r} occurs twice")
            # ggml accepts no other offset than the next free one: no gaps, no overlaps.
            if tensor.offset != expected:
                raise BadGGUF(f"tensor {tensor.name!r} lies at offset {tensor.offset}, expected {expected}")
            names.add(tensor.name)
            tensors.append(tensor)
            expected = _padded(expected + tensor.size, alignment)
        return tuple(tensors)

    def _tensor(self, index: int) -> TensorInfo:
        length = self.u64()
        if length > _NAME_LIMIT:
            raise BadGGUF(f"tensor {index}: its name has {length} bytes; {_NAME_LIMIT} are allowed")
        start = self.take(length)
        name = self.data[start : start + length].decode("utf-8", "replace")
        dimensions = self.u32()
        if dimensions > 4:
            raise BadGGUF(f"tensor {name!r} has {dimensions} dimensions; 4 are allowed")
        shape = struct.unpack_from(f"<{dimensions}Q", self.data, self.take(8 * dimensions))
        kind = self.u32()
        packing = gguf.TENSOR_TYPES.get(kind)
        if packing is None:
            raise BadGGUF(f"tensor {name!r} has unknown type {kind}")
        tensor = TensorInfo(name, shape, packing, self.u64(), _tensor_bytes(name, shape, packing, self.limits))
        if tensor.size > self.size:
            raise Truncated(f"tensor {name!r} has {tensor.size} bytes, the file {self.size}")
        return tensor

    def u32(self) -> int:
        return int(_U32.unpack_from(self.data, self.take(4))[0])

    def u64(self) -> int:
        return int(_U64.unpack_from(self.data, self.take(8))[0])

    def take(self, count: int) -> int:
        """Step over `count` bytes that are sure to be in `data`; returns where they begin."""
        start = self.at
        end = start + count
        if end > len(self.data):
            self.need(end)
        self.at = end
        return start

    def spend(self, count: int) -> None:
        """Count memory that is about to be taken; raises BadGGUF when it gets too much."""
        self.taken += count
        if self.taken + len(self.data) > self.limits.memory:
            raise BadGGUF(f"the header would take more memory than the {self.limits.memory} bytes allowed")

    def need(self, end: int) -> None:
        """Have `data` reach `end`, reading ahead generously; raises Truncated if the file doesn't."""
        if end <= len(self.data):
            return
        if end > self.size:
            raise Truncated(f"the header goes on to byte {end}, but the file ends at {self.size}")
        if end > self.limits.header_bytes:
            raise BadGGUF(f"the header is longer than the {self.limits.header_bytes} bytes allowed")
        goal = min(max(end, 2 * len(self.data), _FIRST_READ), self.size, self.limits.header_bytes, self.at_hand)
        while len(self.data) < goal:
            more = self.file.read(min(goal - len(self.data), _PIECE))
            if not more:
                break
            self.data += more
        if end > len(self.data):
            raise Truncated(f"the header goes on to byte {end}, but only {len(self.data)} are there")
        self.spend(0)


def _tensor_bytes(name: str, shape: tuple[int, ...], packing: gguf.TensorType, limits: Limits) -> int:
    count = 1
    for length in shape:
        if length < 1:
            raise BadGGUF(f"tensor {name!r} has a dimension of {length}")
        count *= length
    if count >= 2**63:
        raise BadGGUF(f"tensor {name!r} has {count} values, more than any machine addresses")
    row = shape[0] if shape else 1
    if row % packing.block:
        raise BadGGUF(
            f"tensor {name!r}: rows of {row} values don't divide into {packing.name} blocks of {packing.block}"
        )
    size = count // packing.block * packing.size
    if size > limits.tensor_bytes:
        raise BadGGUF(f"tensor {name!r} has {size} bytes, more than the {limits.tensor_bytes} allowed")
    return size


def _alignment(metadata: Mapping[str, Value], types: Mapping[str, int], limits: Limits) -> int:
    key = "general.alignment"
    if key not in metadata:
        return gguf.DEFAULT_ALIGNMENT
    value = metadata[key]
    if types[key] != gguf.UINT32 or not isinstance(value, int):
        raise BadGGUF(f"{key} must be a uint32, not {gguf.VALUE_NAMES[types[key]]}")
    if not 8 <= value <= limits.alignment or value & (value - 1):
        raise BadGGUF(f"{key} must be a power of two from 8 to {limits.alignment}, not {value}")
    return value


def _check_extent(tensors: tuple[TensorInfo, ...], data_offset: int, size: int) -> None:
    if not tensors:
        return
    last = tensors[-1]
    end = data_offset + last.offset + last.size
    if end > size:
        raise Truncated(f"the file has {size} bytes, but tensor {last.name!r} ends at byte {end}: it is cut short")


def _padded(count: int, alignment: int) -> int:
    return -(-count // alignment) * alignment
