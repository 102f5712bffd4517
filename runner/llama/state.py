"""The state of one sequence as bytes: out of a context, and back into one of the same model.

llama.cpp believes most of what it reads back, so only what `save` gave may be restored, under the same model, types of
cache and build: whoever keeps states must see to that. Single-threaded like the context itself.
"""

from __future__ import annotations

import ctypes
import struct

import llama_cpp.llama_cpp as lib
import numpy as np
import numpy.typing as npt

from runner.llama.context import Context

Data = npt.NDArray[np.uint8]

_HEAD = struct.Struct("<IiI")  # a magic number, the sequence id (not looked at), how many streams the cache had
_COUNT = struct.Struct("<I")  # cells of a stream; what they hold follows if there are any


class States:
    """Saves and restores the sequences of one context. Where states are `cuttable`, also those of contexts with another
    layout of their cache."""

    def __init__(self, context: Context, *, cuttable: bool) -> None:
        self._context = context
        self._cuttable = cuttable
        self._streams = context.sequences if context.is_split else 1

    def size(self, seq: int) -> int:
        """Bytes that `save` would give."""
        return int(lib.llama_state_seq_get_size_ext(self._context.handle, seq, 0))

    def save(self, seq: int) -> Data | None:
        """All that the context has of a sequence, recurrent parts included. None when it can't be had.

        Waits for the device. The size goes with the sequence's length, some ten to a hundred KB a token.
        """
        handle = self._context.handle
        size = lib.llama_state_seq_get_size_ext(handle, seq, 0)
        if not size:
            return None
        data = np.empty(size, np.uint8)
        return data if lib.llama_state_seq_get_data_ext(handle, _pointer(data), size, seq, 0) == size else None

    def restore(self, seq: int, data: Data) -> bool:
        """Give a sequence a state that was saved, in place of what it had. When False is returned, it has nothing.

        Needs as many free cells as the sequence had.
        """
        if self._cuttable:
            data = rewrapped(data, self._streams)
        if lib.llama_state_seq_set_data_ext(self._context.handle, _pointer(data), data.nbytes, seq, 0) == data.nbytes:
            return True
        self._context.forget(seq)
        return False


def rewrapped(data: Data, streams: int) -> Data:
    """The same state for a context whose cache has so many streams, 1 being a unified one.

    Only for caches of attention alone: those of sliding windows and recurrent models consist of several parts.
    """
    magic, seq, had = _HEAD.unpack_from(data.data)
    if had == streams:
        return data
    at, rest = _HEAD.size, had - 1  # a sequence lives in one stream; the others have a count of 0 and nothing else
    while rest and not _COUNT.unpack_from(data.data, at)[0]:
        at, rest = at + _COUNT.size, rest - 1
    head = np.frombuffer(_HEAD.pack(magic, seq, streams), np.uint8)
    filled = data[at : data.nbytes - rest * _COUNT.size]
    return np.concatenate((head, filled, np.zeros((streams - 1) * _COUNT.size, np.uint8)))


def _pointer(data: Data) -> ctypes._Pointer[ctypes.c_uint8]:
    return data.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
