"""The one merge of options: request over Modelfile over settings over the author's advice over the table's defaults.

Works on plain mappings by the names of `modelfiles.parameters`. Knows no model and no request beyond its options.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

from modelfiles.errors import ParameterError
from modelfiles.parameters import PARAMETERS, Value, check
from registry.gguf.sampling import recommended as by_our_names
from runner.errors import InvalidRequest
from runner.protocol.options import LoadOptions, SampleOptions

log = logging.getLogger(__name__)

_MOST_BIASES = 1024
_LARGEST_BIAS = 100.0
_SAMPLING = frozenset(SampleOptions.__struct_fields__)
_LOADING = frozenset(LoadOptions.__struct_fields__) - {"num_parallel", "cells"}
_DIVIDING = frozenset(("split_mode", "tensor_split"))


def checked(options: Mapping[str, Any]) -> dict[str, Value]:
    """A request's options, typed by the table. None counts as not given; unknown names are logged and left out.

    Raises InvalidRequest naming the option. `logit_bias` is apart, see `logit_bias`.
    """
    found: dict[str, Value] = {}
    for name, value in options.items():
        if value is None or name == "logit_bias":
            continue
        if name not in PARAMETERS:
            log.warning("option %s is ignored: it is not a parameter that Runner knows", str(name)[:100])
            continue
        try:
            found[name] = check(name, value)
        except ParameterError as error:
            raise InvalidRequest(f"option {name} {error.reason}", field=f"options.{name}") from None
    return found


def recommended(sampling: Mapping[str, int | float | str]) -> dict[str, Value]:
    """The author's sampling defaults from a GGUF, by our names. What doesn't fit the table is left out."""
    return {name: value for name, value in by_our_names(sampling).items() if name in _SAMPLING}


def sample_options(given: Mapping[str, Value], bias: Mapping[int, float]) -> SampleOptions:
    """Sampling options from merged values; what isn't in them takes the table's default."""
    values: dict[str, Any] = {
        name: given.get(name, spec.default)
        for name, spec in PARAMETERS.items()
        if spec.when == "sample" and name in _SAMPLING
    }
    values["num_predict"] = max(-1, values["num_predict"])  # -2 means the same to the engine: until the context is full
    return SampleOptions(**values, logit_bias=dict(bias))


def load_options(given: Mapping[str, Value], *, num_ctx: int, num_parallel: int) -> LoadOptions:
    """Load options from merged values. `num_ctx` is decided by the caller, `num_parallel` 0 means auto. Whoever names a
    `main_gpu`, and not how to divide the model, means that GPU alone."""
    values: dict[str, Any] = {
        name: given.get(name, spec.default)
        for name, spec in PARAMETERS.items()
        if spec.when == "load" and name in _LOADING and name != "num_ctx"
    }
    if values["main_gpu"] and not given.keys() & _DIVIDING:
        values["split_mode"] = "none"
    return LoadOptions(num_ctx=num_ctx, num_parallel=num_parallel, **values)


def named_for_loading(options: Mapping[str, Value]) -> frozenset[str]:
    """The load options among those that a request gave."""
    return frozenset(options) & (_LOADING | {"draft_model"})


def logit_bias(options: Mapping[str, Any]) -> dict[int, float]:
    """The request's bias by token id, -100 to 100. Raises InvalidRequest."""
    given = options.get("logit_bias")
    if given is None:
        return {}
    field = "options.logit_bias"
    if not isinstance(given, Mapping):
        raise InvalidRequest("logit_bias must be an object of token ids and numbers", field=field)
    if len(given) > _MOST_BIASES:
        raise InvalidRequest(f"logit_bias has {len(given)} entries; {_MOST_BIASES} are allowed", field=field)
    found: dict[int, float] = {}
    for token, bias in given.items():
        if not str(token).isdecimal() or len(str(token)) > 10:
            raise InvalidRequest(f"logit_bias: {str(token)[:40]!r} is no token id", field=field)
        if isinstance(bias, bool) or not isinstance(bias, int | float) or not _is_within(bias):
            raise InvalidRequest("logit_bias: each bias must be a number from -100 to 100", field=field)
        found[int(token)] = float(bias)
    return found


def _is_within(bias: float) -> bool:
    return math.isfinite(bias) and -_LARGEST_BIAS <= bias <= _LARGEST_BIAS
