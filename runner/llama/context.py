"""One context: the KV cache of some sequences and the buffers to compute them. Single-threaded by llama.cpp's rules."""

from __future__ import annotations

import ctypes
import enum
from collections.abc import Mapping
from typing import Literal

import llama_cpp.llama_cpp as lib
import numpy as np
import numpy.typing as npt

from runner.errors import InvalidRequest, LoadFailed
from runner.llama.batch import Batch, EmbeddingBatch
from runner.llama.cores import Cores
from runner.llama.library import Log
from runner.llama.model import Model
from runner.llama.refusals import field_of, no_context
from runner.protocol.options import LoadOptions, cache_types, outputs_of

_KV_TYPES = {
    "f32": lib.GGML_TYPE_F32,
    "f16": lib.GGML_TYPE_F16,
    "bf16": 30,  # llama-cpp-python leaves this one of ggml's types out
    "q8_0": lib.GGML_TYPE_Q8_0,
    "q5_1": lib.GGML_TYPE_Q5_1,
    "q5_0": lib.GGML_TYPE_Q5_0,
    "q4_1": lib.GGML_TYPE_Q4_1,
    "q4_0": lib.GGML_TYPE_Q4_0,
    "iq4_nl": lib.GGML_TYPE_IQ4_NL,
}
_FLASH = {
    "auto": lib.LLAMA_FLASH_ATTN_TYPE_AUTO,
    "on": lib.LLAMA_FLASH_ATTN_TYPE_ENABLED,
    "off": lib.LLAMA_FLASH_ATTN_TYPE_DISABLED,
}


class Outcome(enum.Enum):
    """What became of a decode."""

    DONE = "done"
    NO_ROOM = "no room"  # the memory is rolled back: free cells and try again
    FAILED = "failed"  # parts may have been computed: the memory must be looked at again


def cache_type(side: Literal["k", "v"], options: LoadOptions) -> int:
    """ggml's number for what one side of the KV cache is kept in. Raises InvalidRequest naming the option."""
    name = cache_types(options)[0 if side == "k" else 1]
    if name in _KV_TYPES:
        return int(_KV_TYPES[name])
    field = field_of(side, options)
    known = ", ".join(_KV_TYPES)
    raise InvalidRequest(f"{field.removeprefix('options.')} takes one of {known}, not {name!r}", field=field)


class Context:
    """A context for `sequences` sequences that share `cells` cells, or with `split` have the same part of them each
    (`cells` is rounded up so that the parts are multiples of 256). With `embedding`, it gives pooled vectors instead of
    logits, and `batch` is also the longest input. `cores` say at each decode how many threads compute it."""

    def __init__(
        self,
        model: Model,
        options: LoadOptions,
        log: Log,
        *,
        cells: int,
        sequences: int,
        batch: int,
        embedding: bool = False,
        split: bool = False,
        cores: Cores | None = None,
    ) -> None:
        self._cores = cores or Cores(options)
        self._threads = self._cores.now
        params = lib.llama_context_default_params()
        params.n_ctx = cells
        params.n_batch = params.n_ubatch = batch
        params.n_seq_max = sequences
        params.n_threads = params.n_threads_batch = self._threads
        params.kv_unified = not split
        # Were all of it kept and not the window alone, a sliding-window model's prefixes could be cut, at several
        # times the memory. They are reused at saved points instead.
        params.swa_full = False
        params.flash_attn_type = _FLASH[options.flash_attn]
        params.no_perf = True
        params.embeddings = embedding
        if embedding:
            # A model that names no pooling of its own (one made for chat) is averaged.
            own = lib.LLAMA_POOLING_TYPE_UNSPECIFIED
            params.pooling_type = own if model.pooling else lib.LLAMA_POOLING_TYPE_MEAN
        else:
            # Few rows of logits: the default reserves one for each row of the batch, 300 MB for 150k tokens.
            params.n_outputs_max = outputs_of(sequences)
        params.type_k, params.type_v = cache_type("k", options), cache_type("v", options)
        params.offload_kqv = params.op_offload = not model.laid.is_cpu
        log.forget_errors()
        log.flash_attn = None
        with model.changing:
            handle = lib.llama_init_from_model(model.handle, params)
        if not handle:
            raise no_context(log.errors(), options)
        self.handle = handle
        self.flash_attn = log.flash_attn  # what auto came to; None where llama.cpp didn't say
        self.adapters: Mapping[int, float] = {}  # those that are applied, by address, with their strength
        self.cells = lib.llama_n_ctx(handle)
        self.sequences = sequences
        self.is_split = split and sequences > 1
        self.batch = batch
        self.outputs = outputs_of(sequences)  # rows of logits that one decode may give; one more ends the process
        self._model = model
        self._memory = lib.llama_get_memory(handle)

    def close(self) -> None:
        if self.handle:
            lib.llama_free(self.handle)
            self.handle = None
            self.adapters = {}

    def apply_adapters(self, adapters: Mapping[int, float]) -> None:
        """Use just these LoRA adapters from the next decode on, each with its strength. Raises LoadFailed.

        A change makes llama.cpp reserve its buffers anew with the next decode, which takes some milliseconds.
        """
        if adapters == self.adapters:
            return
        handles = (lib.llama_adapter_lora_p_ctypes * len(adapters))(
            *(ctypes.cast(adapter, lib.llama_adapter_lora_p_ctypes) for adapter in adapters)
        )
        scales = (ctypes.c_float * len(adapters))(*adapters.values())
        if lib.llama_set_adapters_lora(self.handle, handles, len(adapters), scales) != 0:
            raise LoadFailed("llama.cpp could not apply the adapter to this model")
        self.adapters = dict(adapters)

    def decode(self, batch: Batch | EmbeddingBatch, *, causal: bool = True) -> Outcome:
        """Compute the batch's rows. Blocks on the CPU backend; a GPU may still be at work when it returns.

        Not `causal`: each row sees all rows of its sequence in the batch, those behind it too.
        """
        if self._threads != (count := self._cores.now):
            lib.llama_set_n_threads(self.handle, count, count)
            self._threads = count
        if not causal:
            lib.llama_set_causal_attn(self.handle, False)
        code = lib.llama_decode(self.handle, batch.raw)
        if not causal:
            lib.llama_set_causal_attn(self.handle, True)
        if code == 0:
            return Outcome.DONE
        return Outcome.NO_ROOM if code == 1 else Outcome.FAILED

    def logits(self, count: int) -> npt.NDArray[np.float32]:
        """The logits of the last decode's `count` output rows in the order of the batch, shape (count, n_vocab).

        Writable, valid until the next decode. Waits for the device and brings the rows into order, so that threads may
        read them afterwards without touching the context.
        """
        pointer = lib.llama_get_logits(self.handle)
        return np.ctypeslib.as_array(pointer, shape=(count, self._model.n_vocab))

    def pooled(self, seq: int, width: int) -> npt.NDArray[np.float32]:
        """A copy of the pooled vector of one sequence, shape (width,)."""
        pointer = lib.llama_get_embeddings_seq(self.handle, seq)
        if not pointer:
            raise LoadFailed("this model gives no pooled vectors")
        return np.ctypeslib.as_array(pointer, shape=(width,)).copy()

    def forget(self, seq: int, start: int = 0) -> bool:
        """Drop a sequence's cells from position `start` on. False when the model's state cannot be cut there."""
        if not self._memory:  # encoders keep nothing
            return True
        return bool(lib.llama_memory_seq_rm(self._memory, seq, start, -1))

    def share(self, source: int, target: int) -> None:
        """Let a sequence without cells hold all those of another. In a split context they are copied, with the next
        decode; elsewhere both hold the same."""
        lib.llama_memory_seq_cp(self._memory, source, target, -1, -1)

    def clear(self) -> None:
        if self._memory:
            lib.llama_memory_clear(self._memory, False)
