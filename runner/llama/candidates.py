"""The tokens that a sampler chain chooses among, in memory that NumPy fills and llama.cpp reorders.

llama.cpp would keep such a table in every chain: 1.8 MB a request at 150k tokens. One for each thread that samples is
enough, since a table is full for the time of one call only.
"""

from __future__ import annotations

import ctypes
import threading
from typing import Any

import llama_cpp.llama_cpp as lib
import numpy as np
import numpy.typing as npt

_ROW = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])


class Candidates:
    """Room for a vocabulary of `size` tokens."""

    def __init__(self, size: int) -> None:
        self._rows = np.zeros(size, _ROW)
        self._ids = np.arange(size, dtype=np.int32)
        self._first = ctypes.cast(self._rows.ctypes.data, ctypes.POINTER(lib.llama_token_data))

    def choose(self, chain: Any, logits: npt.NDArray[np.float32], allowed: npt.NDArray[np.int64] | None = None) -> int:
        """Run the chain over one row of logits, shape (size,); the token that it selects. The chain isn't told.

        With `allowed` there are no other tokens: some samplers can't do with a probability of zero.
        """
        rows = self._rows if allowed is None else self._rows[: len(allowed)]
        rows["id"] = self._ids if allowed is None else allowed
        rows["logit"] = logits if allowed is None else logits[allowed]  # every sampler computes `p` before it reads it
        raw = lib.llama_token_data_array(data=self._first, size=len(rows), selected=-1, sorted=False)
        lib.llama_sampler_apply(chain, ctypes.byref(raw))
        if not 0 <= raw.selected < raw.size:
            raise RuntimeError("the sampler chain selected no token")
        return int(raw.data[raw.selected].id)


_of_thread = threading.local()


def candidates(size: int) -> Candidates:
    """This thread's table for a vocabulary of this size."""
    found: Candidates | None = getattr(_of_thread, "table", None)
    if found is None or len(found._rows) != size:
        found = _of_thread.table = Candidates(size)
    return found
