"""The memory plan: how many bytes a load takes of each pool, where it goes, and how much of it to ask for.

Pure: figures in, figures out. Estimates come from the file's header (`footprint`, `compute`, `need`), corrected by what
workers reported (`calibrate`); `place` chooses devices, and `fit` how many sequences with how many cells.
"""

from __future__ import annotations

from runner.protocol.devices import HOST
from runner.scheduler.memory.calibrate import Calibration, Lesson, learn
from runner.scheduler.memory.fit import MOST_SEQUENCES, ORDINARY_REQUEST, Room, fit
from runner.scheduler.memory.footprint import KV_TYPES, Block, Correction, Footprint, Graph
from runner.scheduler.memory.need import Need, Parts, measured, need
from runner.scheduler.memory.place import (
    CPU_DEVICE,
    Fitted,
    Lack,
    capacity,
    lack,
    least,
    missing,
    place,
    room_with,
    smallest,
)

__all__ = [
    "CPU_DEVICE", "HOST", "KV_TYPES", "MOST_SEQUENCES", "ORDINARY_REQUEST", "Block", "Calibration", "Correction",
    "Fitted", "Footprint", "Graph", "Lack", "Lesson", "Need", "Parts", "Room", "capacity", "fit", "lack", "learn",
    "least", "measured", "missing", "need", "place", "room_with", "smallest",
]  # fmt: skip
