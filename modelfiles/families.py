"""The model families behind RENDERER and PARSER, and warnings for what a Modelfile says without effect.

With Ollama these names choose built-in code. Runner's prompts come from the model's own chat template, so a
name only says which family's markers (thinking, tool calls) to expect. Knows the names, not the markers.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from modelfiles.instructions import Modelfile, Parameter
from modelfiles.parameters import DEPRECATED

FAMILIES: Final = frozenset(
    {
        "cogito",
        "cohere",
        "deepseek3",
        "functiongemma",
        "gemma",
        "gemma4",
        "glimmer",
        "glm",
        "gpt-oss",
        "granite",
        "laguna",
        "lfm2",
        "llama3",
        "ministral",
        "mistral",
        "nemotron",
        "olmo3",
        "phi4",
        "plain",
        "qwen2.5",
        "qwen3",
        "qwen3-coder",
        "qwen3.5",
    }
)
"""Every family's name; `plain` has no markers at all."""

_OTHER_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "deepseek3.1": "deepseek3",
        "gemma4-large": "gemma4",
        "gemma4-no-thinking": "gemma4",
        "gemma4-small": "gemma4",
        "glm-4.6": "glm",
        "glm-4.7": "glm",
        "glm-ocr": "glm",
        "harmony": "gpt-oss",
        "lfm2-thinking": "lfm2",
        "nemotron-3-nano": "nemotron",
        "nemotron-3.5-nano": "nemotron",
        "olmo3-32b-think": "olmo3",
        "olmo3-think": "olmo3",
        "olmo3.1": "olmo3",
        "ornith": "qwen3.5",
        "passthrough": "plain",
        "poolside-v1": "laguna",
        "qwen3-thinking": "qwen3",
        "qwen3-vl-instruct": "qwen3",
        "qwen3-vl-thinking": "qwen3",
        "qwen3.8": "qwen3.5",
    }
)


def family(name: str) -> str | None:
    """The family that a RENDERER or PARSER name belongs to; None for a name nobody has told Runner of."""
    known = name.lower()
    return known if known in FAMILIES else _OTHER_NAMES.get(known)


def warnings(modelfile: Modelfile) -> tuple[str, ...]:
    """One sentence for each thing the Modelfile says that has no effect, in its order and without repeats."""
    found: dict[str, None] = {}
    for each in modelfile.instructions:
        if isinstance(each, Parameter) and each.name in DEPRECATED:
            found[f"PARAMETER {each.name} no longer has an effect"] = None
    for instruction, name in (("RENDERER", modelfile.renderer), ("PARSER", modelfile.parser)):
        if name is not None and family(name) is None:
            found[f"{instruction} {name} is not a family that Runner knows; the model's own template is used"] = None
    return tuple(found)
