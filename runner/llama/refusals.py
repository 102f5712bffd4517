"""What llama.cpp refuses, from the lines of its log to an error that says what to change. Pure text."""

from __future__ import annotations

import re

from runner.errors import InvalidRequest, LoadFailed, RunnerError
from runner.llama.library import version
from runner.protocol.options import LoadOptions, cache_types

_ARCHITECTURE = re.compile(r"unknown model architecture: '(.*?)'")
_BLOCKS = re.compile(r"([KV]) cache type (\S+) with block size (\d+) does not divide n_embd_head_[kv]=(\d+)")
_ALIKE = "does not support different K"
_FLASH = re.compile(r"quantized V cache (?:requires|was requested)")


def unloadable(words: str) -> LoadFailed:
    """The error of a model that isn't loaded: its architecture where that is why, and which llama.cpp refuses it."""
    if match := _ARCHITECTURE.search(words):
        return LoadFailed(
            f"the model's architecture {match[1][:64]!r} isn't known to llama-cpp-python {version()}; a newer Runner "
            "may run it"
        )
    return LoadFailed(
        f"llama.cpp could not load the model: {words or 'no reason given'} (llama-cpp-python {version()})"
    )


def no_context(words: str, options: LoadOptions) -> RunnerError:
    """The error of a context that isn't made: the option at fault, where it is one's."""
    if match := _BLOCKS.search(words):
        side = "k" if match[1] == "K" else "v"
        return InvalidRequest(
            f"a cache of type {match[2]} packs {match[3]} values together, and this model's heads have {match[4]}: "
            "take f16, bf16 or f32",
            field=field_of(side, options),
        )
    if _ALIKE in words:
        k, v = cache_types(options)
        return InvalidRequest(
            f"this model keeps keys and values in one, so {k} for keys and {v} for values cannot be",
            field=field_of("v" if options.cache_type_v != "auto" else "k", options),
        )
    if _FLASH.search(words):
        return InvalidRequest(
            f"values of type {cache_types(options)[1]} need flash attention, which is off with this model or these "
            "options: take f16, bf16 or f32",
            field=field_of("v", options),
        )
    return LoadFailed(f"llama.cpp could not make a context: {words or 'no reason given'}")


def field_of(side: str, options: LoadOptions) -> str:
    """The option that decided the type of one side of the KV cache, "k" or "v", as a request names it."""
    own = options.cache_type_k if side == "k" else options.cache_type_v
    return "options.kv_cache_type" if own == "auto" else f"options.cache_type_{side}"
