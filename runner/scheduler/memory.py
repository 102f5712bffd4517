"""How many bytes a load takes, and how much of that to ask for. Pure: figures in, figures out.

A first, simple planner for one pool of memory. Estimates come from the file's header; what a worker reports after
loading replaces them. Knows nothing of devices.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from runner.protocol.options import LoadOptions, outputs_of

MOST_SEQUENCES = 32  # of `auto`
ORDINARY_REQUEST = 2048  # tokens; `auto` makes room for this much per sequence, and longer ones share
_FEWEST_CELLS = 512  # per sequence: more sequences than that gives would only preempt each other
_SHARE = 4  # `auto` takes a quarter of what is left beside the weights: other models want a place too

_LIVE = 8  # activations of a token that live at the same time, in multiples of the hidden width
_PROCESS = 96 * 2**20  # interpreter, libraries and the tokenizer's tables
_BYTES_PER_VALUE = {
    "f32": 4.0,
    "f16": 2.0,
    "bf16": 2.0,
    "q8_0": 34 / 32,
    "q5_1": 24 / 32,
    "q5_0": 22 / 32,
    "q4_1": 20 / 32,
    "q4_0": 18 / 32,
    "iq4_nl": 18 / 32,
}


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a model's header says about its size, in bytes. `kv` is one token's KV cache at f16."""

    weights: int  # adapters and all
    kv: int
    state: int  # of one sequence, whatever its length (recurrent models)
    vocabulary: int  # tokens
    width: int  # values of the hidden state


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes of one load: `fixed` for the weights, `moving` for everything that is allocated beside them."""

    weights: int
    moving: int

    @property
    def total(self) -> int:
        return self.weights + self.moving


def need(footprint: Footprint, options: LoadOptions) -> Need:
    """Estimate a load. With `cells` 0 the pool holds `num_ctx` tokens for each sequence (at least one)."""
    cells = options.cells or options.num_ctx * max(1, options.num_parallel)
    kv = cells * _cell(footprint, options) + footprint.state * max(1, options.num_parallel)
    # One step's activations and its rows of logits, both in float32.
    compute = 4 * options.num_batch * footprint.width * _LIVE
    compute += 4 * footprint.vocabulary * outputs_of(options.num_parallel)
    return Need(footprint.weights, kv + compute + _PROCESS)


def least(footprint: Footprint, options: LoadOptions) -> Need:
    """The smallest load that serves a request at this context length: one sequence."""
    return _with(footprint, options, 1, options.num_ctx)


def fit(footprint: Footprint, options: LoadOptions, room: int) -> LoadOptions:
    """Settle `num_parallel` and `cells` so that the load stays within `room` bytes, if one sequence does at all.

    A `num_parallel` that was asked for is honoured at full context where there is room, and with a smaller pool of
    cells where there isn't. 0 means auto: up to 32 sequences of ordinary length in a share of the room; the pool
    always holds one request of full length.
    """
    sequences = options.num_parallel or MOST_SEQUENCES
    if not options.num_parallel:
        while sequences > 1 and _with(footprint, options, sequences, options.num_ctx).total > room:
            sequences //= 2
    spare = max(0, room - _with(footprint, options, sequences, 1).total)
    share = spare if options.num_parallel else spare // _SHARE
    each = options.num_ctx if options.num_parallel else min(options.num_ctx, ORDINARY_REQUEST)
    cells = max(options.num_ctx, min(each * sequences, share // max(1, _cell(footprint, options))))
    if not options.num_parallel:
        sequences = max(1, min(sequences, cells // min(options.num_ctx, _FEWEST_CELLS)))
    return msgspec.structs.replace(options, num_parallel=sequences, cells=cells)


def capacity(available: int, ready: list[tuple[Need, bool]]) -> int:
    """Bytes that models may take all together, from what the machine has left beside the `ready` ones.

    Each of those comes with whether its weights are mapped from disk: such pages still count as available, since the
    system may drop them, while everything else has left the available memory.
    """
    return available + sum(need.moving if is_mapped else need.total for need, is_mapped in ready)


def _with(footprint: Footprint, options: LoadOptions, sequences: int, cells: int) -> Need:
    return need(footprint, msgspec.structs.replace(options, num_parallel=sequences, cells=cells))


def _cell(footprint: Footprint, options: LoadOptions) -> int:
    """Bytes that one token takes in the KV cache."""
    return round(footprint.kv * _BYTES_PER_VALUE[options.kv_cache_type] / _BYTES_PER_VALUE["f16"])
