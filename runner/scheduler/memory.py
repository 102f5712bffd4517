"""How many bytes a load takes, and how much of that to ask for. Pure: figures in, figures out.

A first, simple planner for one pool of memory. Estimates come from the file's header. A worker's sequences share a pool
of cells, and where the many get short slots of their own (the wide lane), these are planned from the beginning, so that
they can always be made. Knows nothing of devices.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from runner.protocol.options import POOLED, LoadOptions, outputs_of, pooled

MOST_SEQUENCES = 128  # of `auto`
ORDINARY_REQUEST = 2048  # tokens; `auto` makes room for this much per sequence, and longer ones share
_FEWEST_CELLS = 512  # per sequence: more sequences than that gives would only preempt each other
_UNIT = 256  # llama.cpp's unit of cells
_NARROW = 8  # sequences asked for: no more than that are well off in a pool
_SHARE = 4  # `auto` takes a quarter of what is left beside the weights: other models want a place too
_POOLS_SHARE = 4  # and of that the pool takes a quarter beside a wide lane, or as much as its longest request needs

_MASK = 2  # bytes that say for each row of a step and each cell whether one sees the other
_LIVE = 8  # activations of a token that live at the same time, in multiples of the hidden width
_LOOKING = 1.5  # of a projector's file: it is read into memory, and computes with about half as much again
_SEEN = 256 * 2**20  # embeddings of images that a worker remembers
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
    projector: int = 0  # the file of what shows it images


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes of one load: `weights`, `moving` for what is allocated beside them, `later` for the wide lane, which stands
    only while many are there."""

    weights: int
    moving: int
    later: int = 0

    @property
    def total(self) -> int:
        return self.weights + self.moving + self.later


def need(footprint: Footprint, options: LoadOptions) -> Need:
    """Estimate a load. With `cells` 0 the pool holds `num_ctx` tokens for each sequence (at least one)."""
    sequences = max(1, pooled(options))
    cells = options.cells or options.num_ctx * sequences
    moving = _lane(footprint, options, sequences, cells, seen=cells)
    wide = options.wide_sequences
    later = _lane(footprint, options, wide, wide * options.wide_cells, seen=options.wide_cells) if wide else 0
    sight = round(_LOOKING * footprint.projector) + _SEEN if footprint.projector else 0
    return Need(footprint.weights, moving + _PROCESS + sight, later)


def least(footprint: Footprint, options: LoadOptions) -> Need:
    """The smallest load that serves a request at this context length: one sequence."""
    return _with(footprint, options, 1, options.num_ctx)


def fit(footprint: Footprint, options: LoadOptions, room: int, *, splits: bool = True) -> LoadOptions:
    """Settle `num_parallel`, `cells` and the wide lane so that a load stays within `room` bytes, if one sequence does.

    The pool always holds one request of full length. A `num_parallel` that was asked for is honoured at full context
    where there is room, and with fewer cells where there isn't. 0 means auto: in a share of the room up to 128
    sequences of ordinary length, as many and as long as fit. Without `splits`, and for a few, there is a pool only.
    """
    asked = options.num_parallel
    share = 1 if asked else _SHARE
    alone = _pool(footprint, options, asked or POOLED, room, share)
    wanted = asked or MOST_SEQUENCES
    if not splits or footprint.state or wanted <= _NARROW:
        return alone
    cells = _pool(footprint, options, min(wanted, POOLED), room, _POOLS_SHARE * share).cells
    empty = _with(footprint, options, 1, 1).total
    left = max(0, room - empty) // share - (_with(footprint, options, min(wanted, POOLED), cells).total - empty)
    longest = _padded(min(options.num_ctx, ORDINARY_REQUEST))
    fewest = wanted if asked else POOLED + 1  # a lane that is no wider than the pool helps nobody
    for sequences in range(wanted, fewest - 1, -1):
        spare = left - _lane(footprint, options, sequences, 0, seen=longest)
        length = min(longest, spare // max(1, sequences * _cell(footprint, options)) // _UNIT * _UNIT)
        if length >= min(longest, _FEWEST_CELLS):
            return msgspec.structs.replace(
                options, num_parallel=sequences, cells=cells, wide_sequences=sequences, wide_cells=length
            )
    return alone


def capacity(available: int, ready: list[tuple[Need, bool]]) -> int:
    """Bytes that models may take all together, from what the machine has left beside the `ready` ones.

    Each of those comes with whether its weights are mapped from disk: such pages still count as available, since the
    system may drop them, while everything else has left the available memory. What comes `later` hasn't.
    """
    return available + sum(need.moving + (0 if is_mapped else need.weights) for need, is_mapped in ready)


def _pool(footprint: Footprint, options: LoadOptions, sequences: int, room: int, share: int) -> LoadOptions:
    """A pool of at most so many sequences, in one part in `share` of what the room leaves beside the weights."""
    asked = bool(options.num_parallel)
    if not asked:
        while sequences > 1 and _with(footprint, options, sequences, options.num_ctx).total > room:
            sequences //= 2
    spare = max(0, room - _with(footprint, options, sequences, 1).total) // share
    each = options.num_ctx if asked else min(options.num_ctx, ORDINARY_REQUEST)
    cells = max(
        options.num_ctx, min(each * sequences, spare // (_cell(footprint, options) + _MASK * options.num_batch))
    )
    if not asked:
        sequences = max(1, min(sequences, cells // min(options.num_ctx, _FEWEST_CELLS)))
    return msgspec.structs.replace(options, num_parallel=sequences, cells=cells)


def _padded(cells: int) -> int:
    return -(-cells // _UNIT) * _UNIT


def _lane(footprint: Footprint, options: LoadOptions, sequences: int, cells: int, *, seen: int) -> int:
    """Bytes of a context: its cells and states, and what a step computes with.

    That is its activations, its rows of logits (once computed, once handed out), and a mask of the cells seen by a row.
    """
    kv = cells * _cell(footprint, options) + footprint.state * sequences
    compute = 4 * options.num_batch * footprint.width * _LIVE + _MASK * options.num_batch * seen
    return kv + compute + 2 * 4 * footprint.vocabulary * outputs_of(sequences)


def _with(footprint: Footprint, options: LoadOptions, sequences: int, cells: int) -> Need:
    """A pool and nothing else."""
    return need(
        footprint,
        msgspec.structs.replace(options, num_parallel=sequences, cells=cells, wide_sequences=0, wide_cells=0),
    )


def _cell(footprint: Footprint, options: LoadOptions) -> int:
    """Bytes that one token takes in the KV cache."""
    return round(footprint.kv * _BYTES_PER_VALUE[options.kv_cache_type] / _BYTES_PER_VALUE["f16"])
