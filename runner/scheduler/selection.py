"""Which devices an option names: words of people to rows of the table. Pure; knows no memory and no model."""

from __future__ import annotations

from collections.abc import Sequence

from runner.errors import InvalidRequest
from runner.protocol.devices import Device, DeviceSurvey

AUTO, CPU = "auto", "cpu"
_FIELD = "options.device"
_NAMES = {
    "cpu": "CPU",
    "cuda": "CUDA",
    "rocm": "ROCm",
    "metal": "Metal",
    "vulkan": "Vulkan",
    "sycl": "SYCL",
    "musa": "MUSA",
    "opencl": "OpenCL",
    "cann": "CANN",
    "blas": "BLAS",
}  # as their makers write them
_FOR_ANY = ("vulkan", "opencl")
_OTHER_WORDS = {"hip": "rocm", "mtl": "metal"}


def automatic(devices: Sequence[Device]) -> tuple[Device, ...]:
    """The GPUs that are used when nobody names any: those with memory of their own before those that share the
    machine's, and of one backend only, since several may see the same card: one made for it before Vulkan and OpenCL,
    then the one with most memory."""
    usable = [each for each in devices if each.kind == "gpu"] or [each for each in devices if each.kind == "igpu"]
    memory: dict[str, int] = {}
    for each in usable:
        memory[each.backend] = memory.get(each.backend, 0) + (each.total or each.free)
    best = max(memory, key=lambda backend: (backend not in _FOR_ANY, memory[backend], backend), default=None)
    return tuple(each for each in usable if each.backend == best)


def selected(device: str, survey: DeviceSurvey) -> tuple[Device, ...]:
    """The devices that the option means, in its order; none for the CPU alone. Raises InvalidRequest."""
    word = device.strip().lower()
    word = _OTHER_WORDS.get(word, word)
    if word == AUTO:
        return automatic(survey.devices)
    if word == CPU:
        return ()
    usable = [each for each in survey.devices if each.kind in ("gpu", "igpu")]
    of_backend = tuple(each for each in usable if each.backend == word)
    if of_backend:
        return of_backend
    if word in _NAMES and word not in survey.backends:
        raise _refused(survey, f"this build of llama.cpp has no {_NAMES[word]}; it has: {backends(survey)}")
    if word in survey.backends:
        raise _refused(survey, f"llama.cpp finds no device of {_NAMES.get(word, word)} here; {present(survey)}")
    by_name = {each.name.lower(): each for each in usable}
    names = [name.strip().lower() for name in device.split(",")]
    for name, written in zip(names, device.split(","), strict=True):
        if name not in by_name:
            raise _refused(survey, f"there is no device {written.strip()[:40]!r} to put layers on; {present(survey)}")
    if len(set(names)) < len(names):
        raise InvalidRequest(f"option device names a device twice: {device[:100]}", field=_FIELD)
    return tuple(by_name[name] for name in names)


def canonical(device: str, survey: DeviceSurvey) -> str:
    """The option as llama.cpp spells what it means: auto, cpu, or names of devices. Raises as `selected` does."""
    word = device.strip().lower()
    return word if word in (AUTO, CPU) else ",".join(each.name for each in selected(device, survey))


def backends(survey: DeviceSurvey) -> str:
    """What this build was made with, for a sentence."""
    return ", ".join(_NAMES.get(each, each) for each in survey.backends)


def present(survey: DeviceSurvey) -> str:
    """The devices there are, as the end of a sentence."""
    return "there is: " + ", ".join(
        f"{each.name} ({each.description})" if each.description else each.name for each in survey.devices
    )


def _refused(survey: DeviceSurvey, why: str) -> InvalidRequest:
    return InvalidRequest(f"option device: {survey.problem or why}", field=_FIELD)
