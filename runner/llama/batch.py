"""The rows of one decode call, in memory that NumPy fills and llama.cpp reads.

Filling element by element through ctypes would cost more than the decode of a small model, so the arrays are made once
and written by slices.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import llama_cpp.llama_cpp as lib
import numpy as np
import numpy.typing as npt


class Batch:
    """Room for `capacity` rows. Each row is one token of one sequence at one position."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.size = 0
        self._token = np.zeros(capacity, np.int32)
        self._pos = np.zeros(capacity, np.int32)
        self._output = np.zeros(capacity, np.int8)
        self._seq = np.zeros((capacity, 1), np.int32)
        self._count = np.ones(capacity, np.int32)
        # Row i of `_seq` is sequence list i: their addresses never change, so the pointer table is written once.
        addresses = self._seq.ctypes.data + np.arange(capacity, dtype=np.uintp) * self._seq.itemsize
        self._seq_rows = np.ascontiguousarray(addresses)
        self.raw = lib.llama_batch(
            n_tokens=0,
            token=self._token.ctypes.data_as(ctypes.POINTER(lib.llama_token)),
            embd=None,
            pos=self._pos.ctypes.data_as(ctypes.POINTER(lib.llama_pos)),
            n_seq_id=self._count.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)),
            seq_id=ctypes.cast(self._seq_rows.ctypes.data, ctypes.POINTER(ctypes.POINTER(lib.llama_seq_id))),
            logits=self._output.ctypes.data_as(ctypes.POINTER(ctypes.c_int8)),
        )

    def clear(self) -> None:
        self.size = 0
        self.raw.n_tokens = 0

    def add(self, seq: int, start: int, tokens: Sequence[int], *, outputs: int) -> None:
        """Append tokens of one sequence from position `start` on; the last `outputs` of their rows give logits.

        The caller keeps the sum within the capacity.
        """
        first, last = self.size, self.size + len(tokens)
        self._token[first:last] = tokens
        self._pos[first:last] = np.arange(start, start + len(tokens), dtype=np.int32)
        self._seq[first:last, 0] = seq
        self._output[first : last - outputs] = 0
        self._output[last - outputs : last] = 1
        self.size = last
        self.raw.n_tokens = last

    def want_all(self) -> None:
        """Mark every row as an output, as pooling over whole inputs wants."""
        self._output[: self.size] = 1


class EmbeddingBatch:
    """One decode call for embeddings in place of tokens, all of one sequence.

    `rows` has shape (count, width), `places` the positions, shape (n, count): one of each row, or four for models that
    place an image on a grid. With `output` the last row gives logits.
    """

    def __init__(self, seq: int, rows: npt.NDArray[np.float32], places: npt.NDArray[np.int32], *, output: bool) -> None:
        count = len(rows)
        self.size = count
        self._rows = np.ascontiguousarray(rows, np.float32)
        self._places = np.ascontiguousarray(places, np.int32)
        self._output = np.zeros(count, np.int8)
        self._output[-1] = output
        self._count = np.ones(count, np.int32)
        self._seq = np.array([seq], np.int32)
        self._seq_rows = np.full(count, self._seq.ctypes.data, np.uintp)  # every row is of the same sequence
        self.raw = lib.llama_batch(
            n_tokens=count,
            token=None,
            embd=self._rows.ctypes.data_as(ctypes.POINTER(ctypes.c_float)),
            pos=self._places.ctypes.data_as(ctypes.POINTER(lib.llama_pos)),
            n_seq_id=self._count.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)),
            seq_id=ctypes.cast(self._seq_rows.ctypes.data, ctypes.POINTER(ctypes.POINTER(lib.llama_seq_id))),
            logits=self._output.ctypes.data_as(ctypes.POINTER(ctypes.c_int8)),
        )
