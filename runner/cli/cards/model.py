"""What `show` says about a model: /api/show's answer as sections, or one part of it as it stands.

Pure text, shared by the verb and by the chat's /show.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from runner.cli.cards.columns import columns
from runner.cli.client import Json
from runner.cli.output import printable

PARTS = ("modelfile", "parameters", "system", "template", "license")
_INDENT = "    "
_EXCERPT = 2  # lines of a system message or a licence
_LONGEST = 60  # characters of one metadata value
_FACTS = ("context_length", "embedding_length")


def part(info: Json, name: str) -> str:
    """One of PARTS, as it was written; empty when the model has none."""
    return str(info.get(name) or "")


def card(info: Json, width: int, verbose: bool = False) -> str:
    """Every section that has something to say, text wrapped to `width` columns."""
    metadata = info.get("model_info") or {}
    sections = [
        ("Model", columns(_model_rows(info, metadata))),
        ("Adapters", columns((str(each.get("name")), _scale(each)) for each in info.get("adapters") or ())),
        ("Source", columns(_source_rows(info))),
        ("Note", _wrapped(str(metadata.get("general.description") or ""), width)),
        ("Capabilities", [str(name) for name in info.get("capabilities") or ()]),
        ("Parameters", columns(_parameter_rows(part(info, "parameters")))),
    ]
    if verbose:
        sections += [
            ("Metadata", columns((key, _value(metadata[key])) for key in sorted(metadata))),
            ("Tensors", columns(_tensor_rows(info.get("tensors") or ()))),
        ]
    sections += [("System", _excerpt(part(info, "system"))), ("License", _excerpt(part(info, "license")))]
    return "\n\n".join(
        "\n".join((f"  {title}", *(f"{_INDENT}{printable(line)}" for line in lines)))
        for title, lines in sections
        if lines
    )


def _model_rows(info: Json, metadata: Json) -> Iterable[tuple[str, str]]:
    details = info.get("details") or {}
    architecture = metadata.get("general.architecture") or details.get("family")
    yield "architecture", str(architecture or "unknown")
    if details.get("parameter_size"):
        yield "parameters", str(details["parameter_size"])
    for key in _FACTS:
        value = metadata.get(f"{architecture}.{key}")
        if value is not None:
            yield key.replace("_", " "), str(value)
    if details.get("quantization_level"):
        yield "quantization", str(details["quantization_level"])
    if info.get("requires"):
        yield "requires", str(info["requires"])


def _source_rows(info: Json) -> Iterable[tuple[str, str]]:
    source, recipe = info.get("source") or {}, info.get("recipe") or {}
    rows = (
        ("pulled as", source.get("reference")),
        ("from", source.get("origin")),
        ("revision", source.get("revision")),
        ("created from", recipe.get("base")),
    )
    for name, value in rows:
        if value:
            yield name, str(value)


def _scale(adapter: Json) -> str:
    return f"scale {adapter.get('scale', 1):g}"


def _parameter_rows(text: str) -> Iterable[tuple[str, str]]:
    for line in text.splitlines():
        name, _, value = line.strip().partition(" ")
        if name:
            yield name, value.strip()


def _tensor_rows(tensors: Iterable[Json]) -> Iterable[tuple[str, str, str]]:
    for tensor in tensors:
        yield str(tensor.get("name")), str(tensor.get("type")), str(tensor.get("shape"))


def _wrapped(text: str, width: int) -> list[str]:
    lines: list[str] = []
    for paragraph in text.splitlines():
        lines += textwrap.wrap(paragraph, max(20, width - len(_INDENT))) or [""]
    return lines


def _excerpt(text: str) -> list[str]:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines if len(lines) <= _EXCERPT else [*lines[:_EXCERPT], "..."]


def _value(value: object) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."
