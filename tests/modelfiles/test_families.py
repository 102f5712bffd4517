"""Families behind RENDERER and PARSER names, and the warnings."""

import pytest

from modelfiles.families import FAMILIES, family, warnings
from modelfiles.parse import parse

# The names that Ollama 0.33 prints.
RENDERERS = [
    "qwen3-coder",
    "qwen3-vl-instruct",
    "qwen3-vl-thinking",
    "qwen3.5",
    "qwen3.8",
    "ornith",
    "cogito",
    "deepseek3.1",
    "olmo3",
    "olmo3.1",
    "olmo3-think",
    "olmo3-32b-think",
    "nemotron-3-nano",
    "nemotron-3.5-nano",
    "gemma4",
    "gemma4-small",
    "gemma4-large",
    "functiongemma",
    "glm-4.7",
    "glm-ocr",
    "lfm2",
    "lfm2-thinking",
    "laguna",
    "poolside-v1",
    "cohere",
    "glimmer",
]
PARSERS = [
    "qwen3",
    "qwen3-thinking",
    "qwen3.5",
    "ornith",
    "qwen3-coder",
    "qwen3-vl-instruct",
    "qwen3-vl-thinking",
    "ministral",
    "passthrough",
    "harmony",
    "cogito",
    "deepseek3",
    "olmo3",
    "olmo3-think",
    "nemotron-3-nano",
    "nemotron-3.5-nano",
    "functiongemma",
    "glm-4.7",
    "gemma4",
    "gemma4-no-thinking",
    "glm-ocr",
    "lfm2",
    "lfm2-thinking",
    "laguna",
    "poolside-v1",
    "cohere",
    "glimmer",
]


@pytest.mark.parametrize("name", sorted({*RENDERERS, *PARSERS, *FAMILIES, "glm-4.6"}))
def test_every_name_has_a_family(name: str) -> None:
    assert family(name) in FAMILIES
    assert family(name.upper()) == family(name)
    assert warnings(parse(f"FROM m\nRENDERER {name}\nPARSER {name}")) == ()


@pytest.mark.parametrize(
    ("name", "expected"),
    [("harmony", "gpt-oss"), ("qwen3-vl-thinking", "qwen3"), ("qwen3", "qwen3"), ("glm-4.7", "glm"), ("nope", None)],
)
def test_family(name: str, expected: str | None) -> None:
    assert family(name) == expected


def test_warnings_name_what_has_no_effect() -> None:
    text = (
        "FROM m\nPARAMETER numa true\nPARAMETER f16_kv true\nPARAMETER numa false\nPARAMETER top_k 1\n"
        "RENDERER qwen3\nPARSER warp9\n"
    )
    assert warnings(parse(text)) == (
        "PARAMETER numa no longer has an effect",
        "PARAMETER f16_kv no longer has an effect",
        "PARSER warp9 is not a family that Runner knows; the model's own template is used",
    )
