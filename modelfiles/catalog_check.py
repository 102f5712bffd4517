"""Whether the catalog's files are in good form: `python -m modelfiles.catalog_check` prints each fault and fails.

The reader refuses what can't be read. This looks for what can, and is probably a slip: a quantization that nobody
makes, a size that doesn't go with the parameters, a licence that nobody gives. Asks no network.
"""

import re
import sys
from collections.abc import Iterable, Iterator
from typing import Final

from modelfiles.catalog import CatalogEntry, CatalogTag, entries
from modelfiles.errors import CatalogError

BITS: Final = {
    "Q2_K": 3.0, "Q3_K_S": 3.5, "Q3_K_M": 3.9, "Q3_K_L": 4.2, "Q4_0": 4.6, "Q4_K_S": 4.6, "Q4_K_M": 4.9, "IQ4_XS": 4.3,
    "MXFP4": 4.3, "Q5_0": 5.5, "Q5_K_S": 5.5, "Q5_K_M": 5.7, "Q6_K": 6.6, "Q8_0": 8.5, "F16": 16.0, "BF16": 16.0,
    "F32": 32.0,
}  # fmt: skip
"""Quantizations that the catalog may name, with their usual bits per parameter."""
LICENCES: Final = frozenset(
    {
        "Apache-2.0", "MIT", "CC-BY-NC-4.0", "DeepSeek", "Falcon LLM", "Gemma", "Health AI Developer Foundations",
        "LFM Open", "Llama 3.1 Community", "Llama 3.2 Community", "Llama 3.3 Community", "Mistral Non-Production",
        "NVIDIA Open Model", "Qwen Research",
    }
)  # fmt: skip

_PARAMETERS = re.compile(r"E?([0-9.]+)([BM])(?: to E?([0-9.]+)([BM]))?")
_NUMBER = re.compile(r"([0-9.]+)([bm])(?:-|$)")
_LICENCE = re.compile(r"(?P<main>[^()]+?)(?: \((?P<builds>[^,()]+), (?P<other>[^()]+)\))?")
_SMALLEST, _LARGEST = 0.6, 1.8  # of what parameters and bits make: vocabularies are large, and projectors lie apart
_ROUNDED = 1.3  # a build's number against the model's: 22M and 23M are the same
_UNNAMED = frozenset({"mixedbread-ai/mxbai-embed-large-v1"})  # repositories with a GGUF that don't say so


def faults(listed: Iterable[CatalogEntry] | None = None) -> list[str]:
    """One sentence for each fault, naming the model and the build. Raises CatalogError for what can't be read."""
    found: list[str] = []
    owners: dict[tuple[str, str], str] = {}
    for entry in entries() if listed is None else listed:
        found += [f"{entry.name}: {fault}" for fault in _of_entry(entry)]
        for tag in entry.tags:
            owner = owners.setdefault((tag.repo, tag.quantization), entry.name)
            if owner != entry.name:
                found.append(f"{entry.name}:{tag.tag}: the same file is {owner}'s")
    return found


def main() -> int:
    """Print the faults; the exit status."""
    try:
        found = faults()
    except CatalogError as error:
        found = [str(error)]
    for each in found:
        print(each)
    if not found:
        listed = entries()
        print(f"{len(listed)} models, {sum(len(each.tags) for each in listed)} tags, no fault")
    return 1 if found else 0


def _of_entry(entry: CatalogEntry) -> Iterator[str]:
    licence = _LICENCE.fullmatch(entry.licence)
    for each in (licence["main"], licence["other"]) if licence else (entry.licence,):
        if each is not None and each not in LICENCES:
            yield f"the licence {each!r} is not in the list of licences"
    if entry.context % 256 or not 256 <= entry.context <= 2**24:
        yield f"a context of {entry.context} tokens is not one that models have"
    if entry.summary.endswith(".") or len(entry.summary) > 90:
        yield "the summary must be one line of at most 90 characters, without a full stop"
    span = _span(entry.parameters)
    if span is None:
        yield f"the parameters {entry.parameters!r} must read like 7B or 0.5B to 32B"
        return
    for tag in entry.tags:
        yield from (f"{tag.tag}: {fault}" for fault in _of_tag(tag, span, counts="E" not in entry.parameters))


def _of_tag(tag: CatalogTag, span: tuple[float, float], counts: bool) -> Iterator[str]:
    """`counts`: parameters that are called effective say nothing of a file's size."""
    if "gguf" not in tag.repo.lower() and tag.repo not in _UNNAMED:
        yield f"{tag.repo} doesn't look like a repository of GGUFs"
    bits = BITS.get(tag.quantization)
    if bits is None:
        yield f"{tag.quantization} is not one of the quantizations that are usual"
        return
    named = _NUMBER.match(tag.tag)
    least, most = span
    if named is not None and "x" not in tag.tag:
        number = _count(named[1], named[2])
        if not least / _ROUNDED <= number <= most * _ROUNDED:
            yield "its number of parameters is outside what the model says"
        least = most = number
    low, high = (count * bits / 8 for count in (least * _SMALLEST, most * _LARGEST))
    if counts and not low <= tag.size_hint <= high:
        bounds = f"{low / 1e9:.2f} to {high / 1e9:.2f}"
        yield f"{tag.size_hint / 1e9:.2f} GB is not plausible for {tag.quantization}: {bounds}"


def _span(parameters: str) -> tuple[float, float] | None:
    found = _PARAMETERS.fullmatch(parameters)
    if found is None:
        return None
    least = _count(found[1], found[2])
    return least, _count(found[3], found[4]) if found[3] else least


def _count(number: str, unit: str) -> float:
    return float(number) * (10**9 if unit.lower() == "b" else 10**6)


if __name__ == "__main__":
    sys.exit(main())
