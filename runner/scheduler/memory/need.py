"""How many bytes a load needs, pool by pool: "host" for the machine's memory, else a device by its name.

What llama.cpp takes, corrected by what loads taught, and what a worker needs besides. Where the many get short slots of
their own (the wide lane), these are planned from the beginning, so that they can always be made.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from runner.protocol.devices import HOST, Placement
from runner.protocol.events import Ready
from runner.protocol.options import LoadOptions
from runner.scheduler.memory.footprint import Correction, Footprint
from runner.scheduler.memory.takes import (
    CPU,
    Lane,
    Takes,
    compute_bytes,
    kv_bytes,
    lanes,
    parts,
    takes,
)

_LOOKING = 1.5  # of a projector's file: it is read into memory, and computes with about half as much again
_SEEN = 256 * 2**20  # embeddings of images that a worker remembers
_PROCESS = 96 * 2**20  # interpreter, libraries and the tokenizer's tables
_DRIVER = 300 * 2**20  # what a driver takes of a device for each process


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes of one load. In the host's memory: `weights`, `moving` for what is allocated beside them, `later` for the
    wide lane, which stands only while many are there. `devices` is what others hold, by pool, of which
    `devices_later` is the wide lane's. `beside` is what of `moving` llama.cpp never reports. `kept` is set aside for
    prompts that lost their cells, and taken little by little."""

    weights: int
    moving: int
    later: int = 0
    devices: Mapping[str, int] = field(default_factory=dict)
    devices_later: Mapping[str, int] = field(default_factory=dict)
    beside: int = field(default=0, compare=False)
    kept: int = 0

    @property
    def host(self) -> int:
        """Bytes of the machine's own memory."""
        return self.weights + self.moving + self.later + self.kept

    @property
    def total(self) -> int:
        """Bytes of all pools together."""
        return self.host + sum(self.devices.values())

    @property
    def pools(self) -> dict[str, int]:
        """Bytes by pool, the wide lane's included."""
        return {HOST: self.host, **self.devices}

    def taken(self, *, wide: bool) -> Need:
        """What is held now: what is kept for prompts and the wide lane is spoken for, but taken later, if at all."""
        if wide:
            return Need(self.weights, self.moving + self.later, 0, self.devices, beside=self.beside)
        held = {pool: size - self.devices_later.get(pool, 0) for pool, size in self.devices.items()}
        return Need(self.weights, self.moving, 0, held, beside=self.beside)


NONE = Correction()


@dataclass(frozen=True, slots=True)
class Parts:
    """What one pool's bytes are for: weights, caches of tokens and states, what is computed with, what `waits` to be
    taken (the wide lane, prompts that are kept), and all `other` things, the process itself among them."""

    weights: int = 0
    cache: int = 0
    compute: int = 0
    waits: int = 0
    other: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.weights + self.cache + self.compute + self.waits + self.other


def need(
    footprint: Footprint,
    options: LoadOptions,
    placement: Placement | None = None,
    correction: Correction = NONE,
    shared: Collection[str] = (),
) -> Need:
    """Estimate a load. With `cells` 0 the pool holds `num_ctx` tokens for each sequence (at least one). Without a
    placement everything is the host's, as is what lies on devices that have no memory of their own (`shared`)."""
    where = placement or CPU
    first, later = _taken(footprint, options, where, correction, shared)
    host = first.pop(HOST)
    mapped, moving = corrected(host, correction)
    beside = _beside(footprint)
    devices = {pool: sum(corrected(part, correction)) + _DRIVER + later.get(pool, 0) for pool, part in first.items()}
    waiting = {pool: size for pool, size in later.items() if pool != HOST}
    return Need(mapped, moving + beside, later.get(HOST, 0), devices, waiting, beside, footprint.prefixes)


def apart(
    footprint: Footprint,
    options: LoadOptions,
    placement: Placement | None = None,
    correction: Correction = NONE,
    shared: Collection[str] = (),
    kept: int = 0,
) -> dict[str, Parts]:
    """The same by what it is for, with `kept` bytes for prompts."""
    first, later = _taken(footprint, options, placement or CPU, correction, shared)
    return {
        pool: Parts(
            weights=round((part.mapped - part.twice + part.copied) * correction.weights)
            + (footprint.adapters if pool == HOST else 0),
            cache=round(part.kv * correction.kv),
            compute=round(part.compute * correction.compute),
            waits=later.get(pool, 0) + (kept if pool == HOST else 0),
            other=_beside(footprint) - footprint.adapters if pool == HOST else _DRIVER,
        )
        for pool, part in first.items()
    }


def _taken(
    footprint: Footprint, options: LoadOptions, where: Placement, correction: Correction, shared: Collection[str]
) -> tuple[dict[str, Takes], dict[str, int]]:
    """What the pool's context and the weights take, and what the wide lane's will, by pool."""
    main, wide = lanes(footprint, options)
    first = takes(footprint, options, where, main)
    later = _moving(footprint, options, where, wide, correction) if wide else {}
    if footprint.draft is not None:
        for pool, part in takes(footprint.draft, options, _for_draft(footprint.draft, where), main).items():
            first[pool] = first.get(pool, Takes()) + part
    for device in shared:
        part = first.pop(device, Takes())
        first[HOST] += Takes(mapped=part.copied, kv=part.kv, compute=part.compute)
        later[HOST] = later.get(HOST, 0) + later.pop(device, 0)
    return first, later


def _beside(footprint: Footprint) -> int:
    """Bytes of the host's that no worker reports when it is ready, so that nothing is learnt of them."""
    sight = round(_LOOKING * footprint.projector) + _SEEN if footprint.projector else 0
    return _PROCESS + sight + footprint.adapters


def corrected(part: Takes, correction: Correction) -> tuple[int, int]:
    """Bytes of a pool that are mapped from disk, and those that are allocated."""
    mapped = round((part.mapped - part.twice) * correction.weights)
    copied = part.copied * correction.weights
    return mapped, round(copied + part.kv * correction.kv + part.compute * correction.compute)


def _moving(
    footprint: Footprint, options: LoadOptions, placement: Placement, lane: Lane, correction: Correction
) -> dict[str, int]:
    """What a further context on the same weights takes, by pool."""
    found: dict[str, int] = {}
    for pool, layers, has_output in parts(footprint, placement):
        kv = kv_bytes(footprint, layers, options, lane)
        compute = compute_bytes(footprint, placement, options, lane, pool, has_output=has_output)
        found[pool] = round(kv * correction.kv + compute * correction.compute)
    return found


def _for_draft(draft: Footprint, placement: Placement) -> Placement:
    """The model that drafts goes to the first of the devices, if any."""
    if not placement.devices or not placement.gpu_layers:
        return CPU
    return Placement(devices=placement.devices[:1], gpu_layers=draft.layers, split=(1.0,), mode="none")


def pool_of_buffer(buffer_name: str, devices: Iterable[str]) -> str:
    """Which pool a buffer of llama.cpp's lies in, by the buffer's name ("CUDA0", "CPU_Mapped", "CUDA_Host")."""
    for device in devices:
        if buffer_name == device:
            return device
    return HOST


def measured(ready: Ready, planned: Need) -> Need:
    """What was planned, with what the worker measured of it in place of the estimate."""
    by_pool: dict[str, int] = {}
    for kind in (ready.kv_bytes, ready.compute_bytes):
        for name, size in kind.items():
            pool = pool_of_buffer(name, planned.devices)
            by_pool[pool] = by_pool.get(pool, 0) + size
    if not by_pool:
        return planned
    weights = 0
    for name, size in ready.weights_bytes.items():
        pool = pool_of_buffer(name, planned.devices)
        if pool == HOST:
            weights += size
        else:
            by_pool[pool] = by_pool.get(pool, 0) + size
    packed = min(ready.packed_bytes, weights)
    # Those pages of the file that are packed as well are of no more use.
    mapped = min(weights - packed, planned.weights) if packed else weights
    devices = {pool: by_pool.get(pool, 0) + _DRIVER + planned.devices_later.get(pool, 0) for pool in planned.devices}
    return Need(
        mapped or planned.weights,
        by_pool.get(HOST, 0) + packed + planned.beside,
        planned.later,
        devices,
        planned.devices_later,
        planned.beside,
        planned.kept,
    )
