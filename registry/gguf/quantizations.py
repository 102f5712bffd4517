"""The types that the engine's quantizer makes, by the names that people give them.

Plain data, read from the llama.cpp that `architectures.ENGINE` names. Knows no file and no tensor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from modelfiles.near import did_you_mean
from registry.errors import BadSource
from registry.gguf.format import FILE_TYPES

# Files that others make; llama.cpp's quantizer has no way to them.
_NOT_MADE = frozenset({"NVFP4"})
_ALIASES = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M", "FP16": "F16", "FP32": "F32"}
# Without an importance matrix the result of these would be noise, and llama.cpp refuses. Mixtures that use them for
# some tensors only are found out when the model is looked at.
_BLIND: Final = frozenset({"IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ3_XXS", "Q2_K_S"})

WHOLE: Final = frozenset({"F32", "F16", "BF16"})
"""Tensor types that hold a model's own values, so that quantizing begins with them."""


@dataclass(frozen=True, slots=True)
class QuantType:
    """A type of file: its name as people say it, its `general.file_type`, and whether it needs an importance matrix."""

    name: str
    number: int
    needs_imatrix: bool


QUANT_TYPES: Final = {
    name: QuantType(name, number, name in _BLIND) for number, name in FILE_TYPES.items() if name not in _NOT_MADE
}
"""Every type that can be asked for, by its name."""


def quant_type(text: str) -> QuantType:
    """The type that a text names, in any case; raises BadSource with near names for any other."""
    name = text.strip().upper()
    found = QUANT_TYPES.get(_ALIASES.get(name, name))
    if found is None:
        meant = did_you_mean(name, QUANT_TYPES) or "."
        raise BadSource(f"unknown quantization {text[:40]!r}{meant} There are {', '.join(QUANT_TYPES)}")
    return found
