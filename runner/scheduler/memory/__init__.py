"""The memory plan: how many bytes a load takes of each pool, where it goes, and how much of it to ask for.

Pure: figures in, figures out. Estimates come from the file's header (`footprint`, `compute`, `need`), corrected by what
workers reported (`calibrate`); `place` chooses devices and `fit` how many sequences with how many cells.
"""

from __future__ import annotations

from runner.scheduler.memory.fit import MOST_SEQUENCES, ORDINARY_REQUEST, fit
from runner.scheduler.memory.footprint import KV_TYPES, Block, Footprint, Graph
from runner.scheduler.memory.need import HOST, Correction, Need, measured, need

__all__ = [
    "HOST", "KV_TYPES", "MOST_SEQUENCES", "ORDINARY_REQUEST", "Block", "Correction", "Footprint", "Graph", "Need",
    "capacity", "fit", "least", "measured", "need",
]  # fmt: skip
import msgspec
from runner.protocol.options import LoadOptions
def least(footprint: Footprint, options: LoadOptions) -> Need:
    return need(footprint, msgspec.structs.replace(options, num_parallel=1, cells=options.num_ctx, wide_sequences=0, wide_cells=0))
def capacity(available: int, ready: list[tuple[Need, bool]]) -> int:
    return available + sum(need.moving + (0 if is_mapped else need.weights) for need, is_mapped in ready)
