"""llama.cpp's quantizer. It reads files and writes a file: no model is loaded for computing, and no device used.

What a tensor becomes is llama.cpp's decision, by the type asked for, the tensor's part in the model and its shape.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Sequence
from dataclasses import dataclass

import llama_cpp.llama_cpp as lib
import numpy as np
import numpy.typing as npt

from runner.errors import LoadFailed
from runner.llama.library import Log

_SIZE = re.compile(r"quant size\s*=\s*([\d.]+) MiB")
_MISSING = "will require an imatrix"
_PREFIX = re.compile(r"^\w+: failed to quantize: ")
_INT, _TEXT = 0, 3  # LLAMA_KV_OVERRIDE_TYPE_*
_TEXT_BYTES = 127

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Measured:
    """An importance matrix, ready for use: how much each column of a tensor matters, by the tensor's name.

    `notes` are written into the result: texts and counts by metadata key.
    """

    columns: dict[str, Floats]
    notes: dict[str, str | int]


@dataclass(frozen=True)
class Plan:
    """What quantizing would bring: bytes of all tensors, rounded up, and whether it lacks an importance matrix."""

    size: int
    needs_imatrix: bool


class Quantizing:
    """One piece of work: `source` (the first shard of several, which lie beside it) to `target`, with `threads`
    threads and at most about `memory` bytes of rows at a time."""

    def __init__(
        self, source: str, target: str, number: int, measured: Measured | None, log: Log, threads: int, memory: int
    ) -> None:
        self._source = source.encode()
        self._target = target.encode()
        self._log = log
        params = lib.llama_model_quantize_default_params()
        params.ftype = number
        params.nthread = threads
        params.max_buf_size = memory
        self._kept: list[object] = []  # what the struct points to
        if measured is not None:
            self._give(params, measured)
        self._params = params

    def plan(self) -> Plan:
        """Go through the tensors without computing. Raises LoadFailed."""
        heard: list[str] = []
        self._log.hear = heard.append
        try:
            self._run(dry=True)
        finally:
            self._log.hear = None
        sizes = [float(found[1]) for line in heard if (found := _SIZE.search(line))]
        if not sizes:
            raise LoadFailed("llama.cpp didn't say how large the result would be")
        # It is told in hundredths of a MiB.
        return Plan(round((sizes[-1] + 0.005) * 2**20) + 1, any(_MISSING in line for line in heard))

    def run(self) -> None:
        """Do it. Raises LoadFailed with llama.cpp's words."""
        self._run(dry=False)

    def _run(self, *, dry: bool) -> None:
        self._params.dry_run = dry
        self._log.forget_errors()
        if lib.llama_model_quantize(self._source, self._target, ctypes.byref(self._params)) != 0:
            last = self._log.errors().split("; ")[-1]
            raise LoadFailed(_PREFIX.sub("", last) or "llama.cpp gave no reason")

    def _give(self, params: lib.llama_model_quantize_params, measured: Measured) -> None:
        rows = (lib.llama_model_imatrix_data * (len(measured.columns) + 1))()  # the last one stays empty: the end
        pointer = ctypes.POINTER(ctypes.c_float)
        for row, (name, values) in zip(rows, measured.columns.items(), strict=False):
            row.name, row.data, row.size = name.encode(), values.ctypes.data_as(pointer), values.size
        notes = (lib.llama_model_kv_override * (len(measured.notes) + 1))()
        for note, (key, value) in zip(notes, measured.notes.items(), strict=False):
            note.key = key.encode()
            if isinstance(value, int):
                note.tag, note.value.val_i64 = _INT, value
            else:
                note.tag, note.value.val_str = _TEXT, _cut(value)
        self._kept += [rows, notes, measured]
        params.imatrix = ctypes.cast(rows, type(params.imatrix))
        params.kv_overrides = ctypes.cast(notes, type(params.kv_overrides))


def columns(sums: Floats, counts: Sequence[float] | Floats) -> Floats:
    """The mean of each column: sums by how often was measured, where each count stands for as many sums as the next.
    What was never measured counts as 1."""
    parts = sums.reshape(len(counts), -1)
    divisor = np.asarray(counts, dtype=np.float32).reshape(-1, 1)
    means = np.where(divisor > 0, parts / np.where(divisor > 0, divisor, 1), np.float32(1))
    return np.ascontiguousarray(means.reshape(-1), dtype=np.float32)


def _cut(text: str) -> bytes:
    """As much of a text as a note holds, whole characters of it."""
    return text.encode("utf-8", "replace")[:_TEXT_BYTES].decode("utf-8", "ignore").encode()
