"""What loads teach about estimates: how much larger each kind of buffer turned out than it was told. Pure values.

A correction holds for one model and one shape of load: types of cache, flash attention, step and devices. A model's
correction of another shape is better than none; one of another build of llama.cpp isn't.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from runner.protocol.devices import Placement
from runner.protocol.events import Ready
from runner.protocol.options import LoadOptions, cache_types
from runner.scheduler.memory.footprint import Correction, Footprint
from runner.scheduler.memory.need import NONE
from runner.scheduler.memory.takes import CPU, Takes, lanes, takes

MOST_MODELS = 256
_MOST_SHAPES = 8  # for each model
_LOW, _HIGH = 0.25, 4.0


@dataclass(frozen=True, slots=True)
class Lesson:
    """What is known of one model: corrections, the latest first, and the context chosen for it (0: none yet), with the
    most that it was chosen from."""

    corrections: tuple[Correction, ...] = ()
    context: int = 0
    ceiling: int = 0


@dataclass(frozen=True, slots=True)
class Calibration:
    """Lessons by model, those learned last at the end. `engine` is the build of llama.cpp that gave the corrections."""

    engine: str = ""
    lessons: Mapping[str, Lesson] = field(default_factory=dict)

    def of(self, model: str) -> Lesson:
        """What is known of this model."""
        return self.lessons.get(model, Lesson())

    def learned(self, model: str, engine: str, found: Correction) -> Calibration:
        """The same with a further correction. Those of another engine are forgotten."""
        lessons = dict(self.lessons)
        if engine != self.engine:
            lessons = {name: replace(each, corrections=()) for name, each in lessons.items()}
        lesson = lessons.pop(model, Lesson())
        others = [each for each in lesson.corrections if each.shape != found.shape]
        lessons[model] = replace(lesson, corrections=(found, *others[: _MOST_SHAPES - 1]))
        return Calibration(engine, _bounded(lessons))

    def chosen(self, model: str, context: int, ceiling: int) -> Calibration:
        """The same with the context that was chosen for a model."""
        lessons = dict(self.lessons)
        lessons[model] = replace(lessons.pop(model, Lesson()), context=context, ceiling=ceiling)
        return Calibration(self.engine, _bounded(lessons))


def correction(known: Sequence[Correction], options: LoadOptions, placement: Placement) -> Correction:
    """What to correct the estimate of such a load with: by the same shape, else by the last one on the same devices."""
    shape = shape_of(options, placement)
    for each in known:
        if each.shape == shape:
            return each
    devices = shape.split(" ", 1)[0]
    return next((each for each in known if each.shape.split(" ", 1)[0] == devices), NONE)


def learn(footprint: Footprint, options: LoadOptions, placement: Placement | None, ready: Ready) -> Correction | None:
    """The correction that makes the estimate of a load what its worker reported. None if that tells nothing."""
    where = placement or CPU
    lane, _ = lanes(footprint, options)
    told = sum(takes(footprint, options, where, lane, at_first=True).values(), Takes())
    if footprint.draft is not None:
        drafting = Placement(
            devices=where.devices[:1], gpu_layers=footprint.draft.layers if where.gpu_layers else 0, split=(1.0,)
        )
        told += sum(takes(footprint.draft, options, drafting, lane, at_first=True).values(), Takes())
    weights, kv, compute = (sum(each.values()) for each in (ready.weights_bytes, ready.kv_bytes, ready.compute_bytes))
    if not compute:
        return None
    return Correction(
        _ratio(weights - footprint.projector, told.weights),
        _ratio(kv, told.kv),
        1.0 if footprint.projector else _ratio(compute, told.compute),  # what shows images reports into the same
        shape_of(options, where),
    )


def shape_of(options: LoadOptions, placement: Placement) -> str:
    """What of a load decides how far its estimate is off: devices first, then what its caches and steps are like."""
    devices = "+".join(placement.devices) or "cpu"
    k, v = cache_types(options)
    return f"{devices} {k}/{v} flash-{options.flash_attn} batch-{options.num_batch} layers-{placement.gpu_layers}"


def sane(ratio: float) -> bool:
    """Whether a correction may be believed; of one that isn't, something else was measured."""
    return _LOW <= ratio <= _HIGH


def _ratio(reported: int, told: int) -> float:
    if reported <= 0 or told <= 0 or not sane(reported / told):
        return 1.0
    return round(reported / told, 5)


def _bounded(lessons: dict[str, Lesson]) -> dict[str, Lesson]:
    while len(lessons) > MOST_MODELS:
        del lessons[next(iter(lessons))]
    return lessons
