"""The author's `general.sampling.*` by the names of Runner's parameters.

Plain mappings in and out. How they weigh against other sources of defaults, the callers decide.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from modelfiles.errors import ParameterError
from modelfiles.parameters import PARAMETERS, Value, check

log = logging.getLogger(__name__)

# A GGUF carries llama.cpp's names; those not here are the same as ours.
_NAMES = {"temp": "temperature", "penalty_last_n": "repeat_last_n", "penalty_repeat": "repeat_penalty"}


def recommended(sampling: Mapping[str, int | float | str]) -> dict[str, Value]:
    """The author's sampling defaults from a GGUF, by our names. What doesn't fit the table is left out."""
    found: dict[str, Value] = {}
    for key, value in sampling.items():
        name = _NAMES.get(key, key)
        if name not in PARAMETERS or PARAMETERS[name].when != "sample":
            continue
        try:
            # Six digits are what 32 bits hold: 0.6 was written, not 0.6000000238418579.
            found[name] = check(name, float(f"{value:.6g}") if isinstance(value, float) else value)
        except ParameterError as error:
            log.info("the model's own default for %s is ignored: it %s", name, error.reason)
    return found
