"""Whether what a request asks of devices and of the KV cache can be done on this machine, said before a load begins.

Pure: options, the header's facts and the table of devices in; the same options, spelt as llama.cpp does, or an error
that names the field out. Where the model goes in the end is the plan's business.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from registry.gguf.facts import Facts
from runner.errors import InvalidRequest
from runner.protocol.devices import Device, DeviceSurvey
from runner.protocol.options import LoadOptions, cache_types
from runner.scheduler.selection import CPU, canonical, present, selected

_BLOCK = 32  # values that every packed type of a KV cache keeps together
_PACKED = frozenset(("q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"))


def settled(options: LoadOptions, facts: Facts, survey: DeviceSurvey) -> LoadOptions:
    """The options with devices by llama.cpp's names. Raises InvalidRequest naming the field at fault."""
    _check_cache(options, facts)
    device = canonical(options.device, survey)
    chosen = selected(device, survey)
    _check_main(options, chosen, survey)
    _check_mode(options, chosen, survey)
    return msgspec.structs.replace(options, device=device, tensor_split=_shares(options, chosen, survey))


def _check_cache(options: LoadOptions, facts: Facts) -> None:
    if not facts.cache.layers:  # nothing is kept
        return
    k, v = cache_types(options)
    for side, kind, length in (("k", k, facts.key_length), ("v", v, facts.value_length)):
        if kind in _PACKED and length % _BLOCK:
            raise InvalidRequest(
                f"{_name(side, options)} {kind} packs {_BLOCK} values together, and the heads of this model have "
                f"{length}: take f16, bf16 or f32",
                field=f"options.{_name(side, options)}",
            )
    if v in _PACKED and options.flash_attn == "off":
        name = _name("v", options)
        raise InvalidRequest(
            f"{name} {v} needs flash attention for the values, and flash_attn is off", field=f"options.{name}"
        )
    if k != v and not any(layer.values for layer in facts.cache.layers):
        name = _name("v" if options.cache_type_v != "auto" else "k", options)
        raise InvalidRequest(
            f"this model keeps keys and values in one, so {k} for keys and {v} for values cannot be",
            field=f"options.{name}",
        )


def _name(side: str, options: LoadOptions) -> Literal["kv_cache_type", "cache_type_k", "cache_type_v"]:
    """The option that decided one side's type."""
    if side == "k":
        return "kv_cache_type" if options.cache_type_k == "auto" else "cache_type_k"
    return "kv_cache_type" if options.cache_type_v == "auto" else "cache_type_v"


def _check_main(options: LoadOptions, chosen: tuple[Device, ...], survey: DeviceSurvey) -> None:
    if options.main_gpu and options.device.strip().lower() != CPU and options.main_gpu >= len(chosen):
        raise InvalidRequest(
            f"option main_gpu is {options.main_gpu}, and {_counted(chosen, survey)}", field="options.main_gpu"
        )


def _check_mode(options: LoadOptions, chosen: tuple[Device, ...], survey: DeviceSurvey) -> None:
    if options.split_mode != "row":
        return
    unable = next((each for each in chosen if each.backend not in survey.splits_rows), None)
    if unable is not None:
        why = f"llama.cpp cannot give {unable.name} a part of a matrix: take layer or none"
    elif not chosen:
        why = f"row divides matrices among GPUs, and {_counted(chosen, survey)}"
    elif len({each.backend for each in chosen}) > 1:
        why = "row takes GPUs of one backend"
    else:
        return
    raise InvalidRequest(f"option split_mode: {why}", field="options.split_mode")


def _shares(options: LoadOptions, chosen: tuple[Device, ...], survey: DeviceSurvey) -> str:
    """`tensor_split` as numbers with commas between them, one for each device."""
    text = options.tensor_split.strip().lower()
    if text == "auto" or options.device.strip().lower() == CPU:
        return "auto"
    shares = [_share(each, text) for each in text.split(",")]
    if len(shares) != len(chosen):
        raise _bad_shares(f"has {len(shares)} shares, and {_counted(chosen, survey)}")
    if not sum(shares):
        raise _bad_shares("must give at least one device a share")
    return ",".join(f"{share:g}" for share in shares)


def _share(text: str, whole: str) -> float:
    try:
        share = float(text)
    except ValueError:
        raise _bad_shares(f"must be shares such as 3,1, not {whole[:40]!r}") from None
    if not math.isfinite(share) or share < 0:
        raise _bad_shares(f"has the share {text.strip()[:40]}: shares are 0 or more")
    return share


def _bad_shares(why: str) -> InvalidRequest:
    return InvalidRequest(f"option tensor_split {why}", field="options.tensor_split")


def _counted(chosen: tuple[Device, ...], survey: DeviceSurvey) -> str:
    if not chosen:
        return f"there is no GPU to use; {present(survey)}"
    names = ", ".join(each.name for each in chosen)
    return f"{len(chosen)} GPUs are used: {names}" if len(chosen) > 1 else f"one GPU is used: {names}"
