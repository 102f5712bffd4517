"""What llama.cpp takes for a load, by pool: what its log calls model, KV and compute buffers, told before it is made.

Follows its rules: which layers go to which device, how caches are laid out and padded, what a CPU packs, which buffers
a context reserves. Knows nothing of what else a worker needs.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import accumulate

from runner.protocol.devices import HOST, Placement
from runner.protocol.options import LoadOptions, cache_types, outputs_of, pooled
from runner.scheduler.memory.compute import Step, buffer, inputs
from runner.scheduler.memory.footprint import Block, Footprint, bytes_per_value

CPU = Placement()

_UNIT = 256  # llama.cpp's unit of cells
_EMBED_BATCH = 2048  # tokens of a step that embeds
_EMBED_SEQUENCES = 64
_COPIES = 4  # of a step's inputs, where several devices work one after the other


@dataclass(frozen=True, slots=True)
class Takes:
    """Bytes in one pool as llama.cpp counts them when it has loaded: what its log calls model, KV and compute buffers.

    `mapped` weights are read through the page cache; of them `twice` lie there only because what is around them does,
    and are held in another order among `copied` ones.
    """

    mapped: int = 0
    copied: int = 0
    twice: int = 0
    kv: int = 0
    compute: int = 0

    @property
    def weights(self) -> int:
        """Bytes of all model buffers."""
        return self.mapped + self.copied

    def __add__(self, other: Takes) -> Takes:
        return Takes(
            self.mapped + other.mapped,
            self.copied + other.copied,
            self.twice + other.twice,
            self.kv + other.kv,
            self.compute + other.compute,
        )


@dataclass(frozen=True, slots=True)
class Lane:
    """A context: `cells` for `sequences`, which share them or, `split`, have the same part of them each."""

    sequences: int
    cells: int
    split: bool = False


def lanes(footprint: Footprint, options: LoadOptions) -> tuple[Lane, Lane | None]:
    """The contexts of a load: the pool, and the wide lane if there is to be one."""
    if footprint.embeds:
        asked = min(options.num_parallel or _EMBED_SEQUENCES, _EMBED_SEQUENCES)
        return Lane(1 << asked.bit_length() - 1, min(options.num_ctx, _EMBED_BATCH)), None
    sequences = max(1, pooled(options))
    wide = options.wide_sequences
    return (
        Lane(sequences, options.cells or options.num_ctx * sequences),
        Lane(wide, wide * options.wide_cells, split=True) if wide else None,
    )


def takes(
    footprint: Footprint, options: LoadOptions, placement: Placement, lane: Lane, *, at_first: bool = False
) -> dict[str, Takes]:
    """What llama.cpp takes for a load with this one context, by pool; `at_first` what it is going to report when it
    has just made it: its rows of logits grow later, to as many as a step may give."""
    found: dict[str, Takes] = {}
    for pool, layers, has_output in parts(footprint, placement):
        found[pool] = found.get(pool, Takes()) + Takes(
            kv=kv_bytes(footprint, layers, options, lane),
            compute=compute_bytes(footprint, placement, options, lane, pool, has_output=has_output, at_first=at_first),
        )
    for pool, held in weights(footprint, placement).items():
        found[pool] = found.get(pool, Takes()) + held
    return found


def parts(footprint: Footprint, placement: Placement) -> list[tuple[str, tuple[Block, ...], bool]]:
    """Which layers each pool has, and whether the output. The host is always there."""
    blocks = footprint.blocks
    first = max(0, len(blocks) + 1 - placement.gpu_layers) if placement.devices and blocks else len(blocks) + 1
    found: dict[str, list[Block]] = {HOST: list(blocks[:first])}
    ends = list(accumulate(placement.split))[:-1]
    output = HOST
    for index in range(first, len(blocks) + 1):
        share = (index - first) / max(1, len(blocks) + 1 - first)
        device = placement.devices[min(bisect_right(ends, share), len(placement.devices) - 1)]
        found.setdefault(device, [])
        if index < len(blocks):
            found[device].append(blocks[index])
        else:
            output = device
    return [(pool, tuple(layers), pool == output) for pool, layers in found.items()]


def weights(footprint: Footprint, placement: Placement) -> dict[str, Takes]:
    """Weights by pool. Layers on a device are copied there; a CPU maps them, and keeps what it packs once more."""
    if not footprint.blocks:
        return {HOST: Takes(mapped=footprint.weights - footprint.adapters)}
    found: dict[str, Takes] = {}
    first = len(footprint.blocks) + 1 - placement.gpu_layers if placement.devices else len(footprint.blocks) + 1
    mapped = footprint.tables
    packed = 0
    for pool, layers, has_output in parts(footprint, placement):
        if pool == HOST:
            mapped += sum(block.weights for block in layers)
            packed += sum(block.packed for block in layers)
            if has_output:
                mapped += 0 if footprint.is_tied else footprint.output
                packed += footprint.output_packed
        else:
            found[pool] = Takes(copied=sum(block.weights for block in layers) + (footprint.output if has_output else 0))
    moe = sum(block.experts for block in footprint.blocks[max(0, first) : placement.cpu_moe])
    if moe and found:
        mapped += moe
        for pool, layers, _ in parts(footprint, placement):
            if pool != HOST:
                start = max(0, first) + _before(footprint, placement, pool)
                experts = sum(block.experts for index, block in enumerate(layers, start) if index < placement.cpu_moe)
                found[pool] = replace(found[pool], copied=found[pool].copied - experts)
    if placement.devices:
        packed = 0  # a host with a device keeps its weights as they are
    tied = footprint.output_packed if footprint.is_tied and packed else 0
    from_file = packed - tied
    twice = max(0, from_file - footprint.edges)
    found[HOST] = Takes(mapped=mapped - from_file + twice, copied=packed, twice=twice)
    found[HOST] = replace(found[HOST], mapped=found[HOST].mapped + footprint.rest)
    return found


def _before(footprint: Footprint, placement: Placement, pool: str) -> int:
    """How many offloaded layers other devices have before this one."""
    count = 0
    for other, layers, _ in parts(footprint, placement):
        if other == pool:
            break
        count += len(layers) if other != HOST else 0
    return count


def kv_bytes(footprint: Footprint, layers: Iterable[Block], options: LoadOptions, lane: Lane) -> int:
    """Bytes that these layers cache in a lane: cells in full or of a window, and states of sequences."""
    k, v = (bytes_per_value(kind) for kind in cache_types(options))
    if not footprint.blocks:
        return round(footprint.kv * lane.cells * (k + v) / 4) + footprint.state * lane.sequences
    if footprint.graph is not None and footprint.graph.cacheless:
        return 0
    streams = lane.sequences if lane.split else 1
    stream = padded(-(-lane.cells // streams))
    across = 0 if options.flash_attn != "off" else max((block.values for block in footprint.blocks), default=0)
    total = 0.0
    for block in layers:
        cells = stream
        if block.window:
            cells = padded(min(stream, block.window * (1 if lane.split else lane.sequences) + batch_of(options, lane)))
        values = max(block.values, across) if block.values else 0
        total += cells * streams * (block.keys * k + values * v) + block.state * lane.sequences
    return round(total)


def batch_of(options: LoadOptions, lane: Lane) -> int:
    """Tokens of the largest step in a lane."""
    return max(options.num_batch, lane.sequences)


def step_of(footprint: Footprint, options: LoadOptions, lane: Lane) -> Step:
    """The largest step in a lane."""
    stream = padded(-(-lane.cells // (lane.sequences if lane.split else 1)))
    windows = [block.window for block in footprint.blocks if block.window]
    batch = batch_of(options, lane)
    if footprint.embeds:
        rows = -(-lane.cells // lane.sequences) * lane.sequences
        return Step(rows, lane.sequences, rows, rows, flash=options.flash_attn != "off")
    seen_windowed = 0
    if windows:
        sharing = 1 if lane.split else lane.sequences
        seen_windowed = padded(min(stream, max(windows) * sharing + batch))
    caches = any(not block.window and block.keys for block in footprint.blocks) or not footprint.blocks
    return Step(
        rows=min(batch, padded(lane.cells)) if footprint.blocks else batch,
        sequences=lane.sequences,
        outputs=min(outputs_of(lane.sequences), batch) if footprint.blocks else outputs_of(lane.sequences),
        seen=(stream if footprint.blocks else lane.cells // (lane.sequences if lane.split else 1)) if caches else 0,
        seen_windowed=seen_windowed,
        flash=options.flash_attn != "off",
    )


def compute_bytes(
    footprint: Footprint,
    placement: Placement,
    options: LoadOptions,
    lane: Lane,
    pool: str,
    *,
    has_output: bool,
    at_first: bool = False,
) -> int:
    """Buffers to compute with in one pool, the rows of logits that are handed out included."""
    step = step_of(footprint, options, lane)
    logits = 4 * footprint.vocabulary * outputs_of(lane.sequences)
    if not footprint.blocks:
        return buffer(footprint, step) + 2 * logits
    rows = lane.sequences if at_first else outputs_of(lane.sequences)
    handed = 4 * (footprint.width * lane.sequences if footprint.embeds else footprint.vocabulary * rows)
    told = inputs(footprint, step) + 4 * footprint.width * step.rows
    several = len(placement.devices) > 1 and placement.gpu_layers > len(footprint.blocks)
    if pool != HOST:
        return buffer(footprint, step) + (told * (_COPIES - 1) if several else 0)
    works = placement.gpu_layers < len(footprint.blocks) or placement.cpu_moe > 0 or not placement.devices
    return handed + (buffer(footprint, step) if works else told * (_COPIES if several else 1))


def padded(cells: int) -> int:
    """Rounded up to llama.cpp's unit of cells."""
    return -(-cells // _UNIT) * _UNIT
