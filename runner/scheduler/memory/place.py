"""Where a load goes: which devices take it, with how many of its layers, and why. Pure.

All of a model on one device if it fits there, else on all of a kind, else without some or all layers' experts (they are
large and little used), else as many of its last layers as fit, else none. A load that doesn't fit the host's memory
with what is left for it has no place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import msgspec

from modelfiles.sizes import human_bytes
from runner.errors import InvalidRequest
from runner.protocol.devices import HOST, Device, DeviceSurvey, Placement
from runner.protocol.options import LoadOptions
from runner.scheduler.memory.calibrate import correction
from runner.scheduler.memory.fit import Room, fit
from runner.scheduler.memory.footprint import Footprint
from runner.scheduler.memory.need import Need, Parts, apart, need
from runner.scheduler.memory.takes import CPU
from runner.scheduler.selection import selected

CPU_DEVICE = Device(name="CPU", backend="cpu", kind="cpu")
_MARGIN = 512 * 2**20  # of a device's memory, for what nobody can foresee: other programs, fragmentation
_MARGIN_SHARE = 20  # or so large a part of it, if that is more
_ALL = 1 << 20  # a number of layers that no model has


@dataclass(frozen=True, slots=True)
class Fitted:
    """A load that fits: its options settled, its place, what it takes by pool (and what for), and short facts."""

    options: LoadOptions
    placement: Placement
    need: Need
    words: tuple[str, ...] = ()
    parts: Mapping[str, Parts] = field(default_factory=dict)

    @property
    def pools(self) -> Room:
        """Bytes that it takes of each pool."""
        return self.need.pools

    @property
    def layers(self) -> int:
        """Layers on devices: of two placements the one with more is the better."""
        return self.placement.gpu_layers


@dataclass(frozen=True, slots=True)
class Lack:
    """The pool that decides whether a load fits: bytes that one request takes of it, and that may be taken. `beside`
    are the devices that hold the rest of it."""

    pool: str
    need: int
    have: int
    beside: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether it does."""
        return self.need <= self.have


@dataclass(frozen=True, slots=True)
class _Try:
    """A placement, its smallest need, and whether that fits the devices and the host."""

    placement: Placement
    need: Need
    on_devices: bool
    on_host: bool

    @property
    def fits(self) -> bool:
        """Whether it does everywhere."""
        return self.on_devices and self.on_host


def place(
    footprint: Footprint, options: LoadOptions, devices: Sequence[Device], room: Room, *, splits: bool = True
) -> Fitted | None:
    """The best place for a load within `room`, bytes free by pool. None if it doesn't even fit with one sequence, or
    if the devices that the options name aren't there (`missing` says which)."""
    if missing(options, devices) is not None:
        return None
    gpus, words = _chosen(options, devices)
    found = _search(footprint, options, gpus, room)
    if not found.fits:
        return None
    if gpus and not found.placement.devices and options.num_gpu != 0:
        number = (
            f"num_gpu {options.num_gpu} does not fit on" if _is_part(footprint, options) else "not one layer fits on"
        )
        words += (f"{number} {_names(gpus)}",)
    shared = _shared(gpus)
    kept = min(footprint.prefixes, room.get(HOST, 0) - found.need.host)
    rooms = {pool: _usable(pool, size) for pool, size in room.items() if pool == HOST or pool in found.need.devices}
    rooms[HOST] = rooms.get(HOST, 0) - kept

    def estimate(asked: LoadOptions) -> Need:
        return replace(_need(footprint, asked, found.placement, shared), kept=0)

    settled = fit(footprint, options, rooms, splits=splits, estimate=estimate)
    wanted = replace(estimate(settled), kept=kept)
    return Fitted(
        settled,
        found.placement,
        wanted,
        (*words, *_words(footprint, options, found.placement, wanted, room)),
        apart(
            footprint,
            settled,
            found.placement,
            correction(footprint.corrections, settled, found.placement),
            shared,
            kept,
        ),
    )


def smallest(
    footprint: Footprint, options: LoadOptions, devices: Sequence[Device], room: Room
) -> tuple[Placement, Need] | None:
    """Where a load for one request would go, and what it takes: the first half of `place`, for whoever only asks."""
    if missing(options, devices) is not None:
        return None
    found = _search(footprint, options, _chosen(options, devices)[0], room)
    return (found.placement, found.need) if found.fits else None


def lack(footprint: Footprint, options: LoadOptions, devices: Sequence[Device], room: Room) -> Lack:
    """What decides whether a load for one request fits: the pool in which most is lacking for the best placement, or,
    where that fits, the one of which it takes most."""
    gpus = _chosen(options, devices)[0] if missing(options, devices) is None else ()
    found = _search(footprint, options, gpus, room)
    have = {pool: max(0, _usable(pool, room.get(pool, 0))) for pool in found.need.pools}
    pool, size = max(found.need.pools.items(), key=lambda each: (max(0, each[1] - have[each[0]]), each[1]))
    return Lack(pool, size, have[pool], found.placement.devices if pool == HOST else ())


def _search(footprint: Footprint, options: LoadOptions, gpus: Sequence[Device], room: Room) -> _Try:
    """The best placement for one sequence: on these devices, else with the CPU. If neither fits, what was tried first,
    since that is what was meant."""
    found = _Placing(footprint, options, gpus, room).best() if gpus else None
    if found is not None and found.fits:
        return found
    alone = _Try(CPU, *_smallest(footprint, options, CPU, (), room))
    return alone if alone.fits or found is None else found


def _is_part(footprint: Footprint, options: LoadOptions) -> bool:
    """Whether a number of layers was asked for. One that is as large as the model means as many as fit: clients send
    99 for that."""
    return 0 < options.num_gpu < footprint.layers


def least(footprint: Footprint, options: LoadOptions, devices: Sequence[Device] = ()) -> Need:
    """The smallest load that serves a request at this context length: one sequence, on the CPU unless a number of
    layers was asked to be elsewhere."""
    gpus = _chosen(options, devices)[0] if devices and missing(options, devices) is None else ()
    where = CPU
    if gpus and _is_part(footprint, options):
        where = _placement(footprint, options, gpus, options.num_gpu)
    return replace(_need(footprint, _alone(options), where, _shared(gpus)), kept=0)


def missing(options: LoadOptions, devices: Iterable[Device]) -> str | None:
    """What the options name that isn't there, in words; None if all is."""
    try:
        chosen = _chosen(options, tuple(devices))[0]
    except InvalidRequest as error:
        return error.message
    if chosen and options.split_mode == "none" and options.main_gpu >= len(chosen):
        return f"main_gpu is {options.main_gpu}, and there are {len(chosen)} devices: {_names(chosen)}"
    return None


def capacity(available: int, ready: Iterable[tuple[Need, bool]]) -> int:
    """Bytes of the host's memory that models may take all together, as `room_with` counts them."""
    return room_with({HOST: available}, ready)[HOST]


def room_with(room: Room, ready: Iterable[tuple[Need, bool]]) -> dict[str, int]:
    """Bytes that models may take all together, by pool: what is free, and what the `ready` ones hold.

    Each comes with whether its weights are mapped from disk: such pages still count as available, since the system may
    drop them. What comes `later` hasn't been taken.
    """
    found = dict(room)
    for held, is_mapped in ready:
        found[HOST] = found.get(HOST, 0) + held.moving + (0 if is_mapped else held.weights)
        for pool, size in held.devices.items():
            found[pool] = found.get(pool, 0) + size - held.devices_later.get(pool, 0)
    return found


class _Placing:
    """One search for the best place on some devices."""

    def __init__(self, footprint: Footprint, options: LoadOptions, gpus: Sequence[Device], room: Room) -> None:
        self._footprint, self._options, self._room = footprint, options, room
        self._gpus = list(gpus)
        self._experts = sum(1 for block in footprint.blocks if block.experts)

    def best(self) -> _Try | None:
        """The best placement with at least one layer on a device, or None. A number of layers that was asked for is not
        less, whether it fits or not; what is on devices may be too large for the host."""
        asked = self._options.num_gpu
        if asked == 0 or not self._footprint.blocks:
            return None
        most = min(asked, self._footprint.layers) if asked > 0 else self._footprint.layers
        sets = [self._gpus]
        if len(self._gpus) > 1 and self._options.tensor_split == "auto" and self._options.split_mode == "layer":
            largest = max(self._gpus, key=lambda gpu: self._room.get(gpu.pool, 0))
            sets = [[largest], self._gpus]  # one device alone has nothing to wait for
        for gpus in sets:
            if (found := self._try(gpus, most, max(0, self._options.num_cpu_moe))).on_devices:
                return found
        return self._less(sets[-1], most)

    def _less(self, gpus: Sequence[Device], most: int) -> _Try | None:
        moe = max(0, self._options.num_cpu_moe)
        if self._options.num_cpu_moe < 0 and self._experts:
            layers = len(self._footprint.blocks)
            if self._try(gpus, most, layers).on_devices:
                fewest = _fewest(1, layers, lambda count: self._try(gpus, most, count).on_devices)
                return self._try(gpus, most, fewest)
            moe = layers
        if _is_part(self._footprint, self._options):
            return self._try(gpus, most, moe)
        count = most - _fewest(0, most, lambda less: self._try(gpus, most - less, moe).on_devices)
        return self._try(gpus, count, moe) if count > 0 else None

    def _try(self, gpus: Sequence[Device], layers: int, moe: int) -> _Try:
        placement = _placement(self._footprint, self._options, gpus, layers, moe, self._room)
        return _Try(placement, *_smallest(self._footprint, self._options, placement, _shared(gpus), self._room))


def _smallest(
    footprint: Footprint, options: LoadOptions, placement: Placement, shared: Iterable[str], room: Room
) -> tuple[Need, bool, bool]:
    taken = replace(_need(footprint, _alone(options), placement, tuple(shared)), kept=0)
    on_devices = all(size <= _usable(pool, room.get(pool, 0)) for pool, size in taken.devices.items())
    return taken, on_devices, taken.host <= room.get(HOST, 0)


def _placement(
    footprint: Footprint,
    options: LoadOptions,
    gpus: Sequence[Device],
    layers: int,
    moe: int = 0,
    room: Room | None = None,
) -> Placement:
    if options.split_mode == "none":
        gpus = gpus[options.main_gpu : options.main_gpu + 1] or gpus[:1]
    mode: Literal["none", "layer", "row"] = "row" if options.split_mode == "row" else "layer"
    return Placement(
        devices=tuple(gpu.name for gpu in gpus),
        gpu_layers=min(layers, footprint.layers or _ALL),
        split=_shares(options, gpus, room or {}),
        mode="none" if len(gpus) == 1 else mode,
        cpu_moe=moe,
    )


def _shares(options: LoadOptions, gpus: Sequence[Device], room: Room) -> tuple[float, ...]:
    """What each device takes of the whole: as asked for, else by what is free."""
    given = [float(part) for part in options.tensor_split.split(",")] if options.tensor_split != "auto" else []
    parts = (given + [0.0] * len(gpus))[: len(gpus)]
    if sum(parts) <= 0:
        parts = [float(_usable(gpu.name, room.get(gpu.pool, gpu.free))) for gpu in gpus]
    whole = sum(parts)
    return tuple(part / whole for part in parts) if whole > 0 else (1.0 / len(gpus),) * len(gpus)


def _chosen(options: LoadOptions, devices: Sequence[Device]) -> tuple[Sequence[Device], tuple[str, ...]]:
    """Devices to offload to, in the order in which they count, and what there is to say about the choice. Raises
    InvalidRequest for one that isn't there."""
    gpus = selected(options.device, _survey(devices))
    if options.device == "cpu":
        return (), ("the CPU was asked for",)
    if options.num_gpu == 0:
        return (), ("num_gpu 0 keeps everything with the CPU",)
    if not gpus and options.num_gpu > 0:
        return (), (f"no GPU was found, so num_gpu {options.num_gpu} counts for nothing",)
    return gpus, () if gpus else ("no GPU was found",)


def _survey(devices: Sequence[Device]) -> DeviceSurvey:
    return DeviceSurvey(devices=tuple(devices), backends=tuple(dict.fromkeys(each.backend for each in devices)))


def _usable(pool: str, free: int) -> int:
    """What of a pool may be planned with."""
    return free if pool == HOST else max(0, free - max(_MARGIN, free // _MARGIN_SHARE))


def _shared(gpus: Iterable[Device]) -> tuple[str, ...]:
    return tuple(gpu.name for gpu in gpus if gpu.pool == HOST)


def _alone(options: LoadOptions) -> LoadOptions:
    return msgspec.structs.replace(options, num_parallel=1, cells=options.num_ctx, wide_sequences=0, wide_cells=0)


def _need(footprint: Footprint, options: LoadOptions, placement: Placement, shared: Sequence[str]) -> Need:
    return need(footprint, options, placement, correction(footprint.corrections, options, placement), shared)


def _fewest(low: int, high: int, fits: Callable[[int], bool]) -> int:
    """The smallest number from `low` on that fits, `high` if none does; what fits is all above it."""
    while low < high:
        middle = (low + high) // 2
        if fits(middle):
            high = middle
        else:
            low = middle + 1
    return low


def _words(
    footprint: Footprint, options: LoadOptions, placement: Placement, wanted: Need, room: Room
) -> tuple[str, ...]:
    words: list[str] = []
    layers = footprint.layers
    if not placement.devices or not placement.gpu_layers:
        words.append("on the CPU")
    else:
        where = " and ".join(placement.devices)
        if placement.gpu_layers >= layers:
            words.append(f"all {layers} layers on {where}")
        else:
            why = f"num_gpu is {options.num_gpu}" if _is_part(footprint, options) else "more do not fit"
            words.append(f"{placement.gpu_layers} of {layers} layers on {where}, the others on the CPU: {why}")
        if placement.cpu_moe:
            words.append(f"the experts of {placement.cpu_moe} layers stay with the CPU")
    for pool, size in wanted.pools.items():
        what = "memory" if pool == HOST else f"{pool}'s memory"
        words.append(f"{human_bytes(size)} of {human_bytes(room.get(pool, 0))} free {what}")
    return tuple(words)


def _names(gpus: Iterable[Device]) -> str:
    return ", ".join(gpu.name for gpu in gpus)
