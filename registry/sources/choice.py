"""Which file of a repository a tag means: told from file names alone.

Publishers name quantizations in many ways, but always as a word of their own in the file's or folder's
name. Pure: knows no network.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from modelfiles.near import near
from registry.errors import BadSource, UnknownTag
from registry.sources.source import RemoteFile

LATEST = "latest"

_QUANT = (
    r"IQ[1-4]_(?:XXS|XS|NL|S|M)|Q[1-8]_K(?:_(?:XXS|XS|XL|S|M|L))?|Q[1-8]_[01](?:_[48]_[48])?|TQ[12]_0"
    r"|BF16|FP?16|FP?32|MXFP4(?:_MOE)?|NVFP4"
)
# A word of its own: no letter or digit touches it, and no further part follows an underscore.
_LABEL = re.compile(rf"(?<![A-Za-z0-9])(?:(UD|i1)[-_.])?({_QUANT})(?![A-Za-z0-9]|_[A-Za-z0-9])", re.IGNORECASE)
_SHARD = re.compile(r"-(\d{5})-of-(\d{5})$")
_SIDECAR = re.compile(
    r"(?:^|[-._])mmproj(?:$|[-._])|^(?:mtp|eagle3|dflash|dspark)-|^imatrix|^ggml-vocab-", re.IGNORECASE
)
_MEASURED = re.compile(r"(?:^|[-._])imatrix$", re.IGNORECASE)
_PROJECTOR = re.compile(r"(?:^|[-._])mmproj(?:$|[-._])", re.IGNORECASE)
_PREFERRED = ("Q4_K_M", "Q4_K_S", "Q4_K_XL", "Q4_0", "MXFP4", "MXFP4_MOE", "Q5_K_M", "Q8_0", "F16", "BF16")


@dataclass(frozen=True, slots=True)
class Candidate:
    """One build of a model: all its shards. `label` is its quantization as the publisher writes it.

    `shards` is how many files it should have; while an upload is under way there may be fewer.
    """

    stem: str
    label: str
    quantization: str
    files: tuple[RemoteFile, ...]
    shards: int = 1

    @property
    def whole(self) -> bool:
        """Whether all of its files are there."""
        return len(self.files) == self.shards

    @property
    def size(self) -> int:
        """Bytes of all shards."""
        return sum(each.size for each in self.files)

    @property
    def tag(self) -> str:
        """What to call it: its label, or its file name where it has none."""
        return self.label or self.stem.rpartition("/")[2]


def candidates(files: Sequence[RemoteFile]) -> tuple[Candidate, ...]:
    """The builds among a repository's files, by name; incomplete ones too."""
    groups: dict[str, dict[int, RemoteFile]] = {}
    counts: dict[str, int] = {}
    for file in files:
        stem = _stem(file.path)
        if stem is None or _is_sidecar(stem):
            continue
        shard = _SHARD.search(stem)
        name = stem[: shard.start()] if shard else stem
        key = name if shard is None else f"{name} of {shard[2]}"
        groups.setdefault(key, {})[int(shard[1]) if shard else 1] = file
        counts[key] = int(shard[2]) if shard else 1
    found = []
    for key, shards in sorted(groups.items()):
        stem = key.rpartition(" of ")[0] or key
        label, quantization = label_of(stem)
        within = (shards[index] for index in sorted(shards) if 1 <= index <= counts[key])
        found.append(Candidate(stem, label, quantization, tuple(within), counts[key]))
    return tuple(found)


def choose(name: str, found: Sequence[Candidate], tag: str, memory: int | None = None) -> Candidate:
    """The build that a tag means: a file's name, a label, or a quantization under any publisher's prefix.

    `latest` is the usual quantization, or the largest that fits `memory` bytes. Raises UnknownTag, with all
    there are, if none matches or several do, and BadSource if files of the one meant are missing.
    """
    whole = [each for each in found if each.whole]
    if whole and tag.lower() == LATEST:
        return _only(name, tag, _usual(whole, memory))
    for matches in _RULES:
        matching = [each for each in found if matches(each, tag.lower())]
        if matching:
            return _checked(_only(name, tag, matching))
    raise UnknownTag(name, tuple((each.tag, each.size) for each in whole), near(tag, [each.tag for each in whole]))


def projector_for(files: Sequence[RemoteFile], build: Candidate) -> RemoteFile | None:
    """The vision projector that goes with a build: of its folder if there is one, of the nearest precision."""
    projectors = [(file, stem) for file in files if (stem := _stem(file.path)) and _PROJECTOR.search(_last(stem))]
    folder = build.stem.rpartition("/")[0]
    beside = [each for each in projectors if each[1].rpartition("/")[0] == folder]
    wanted = _bits(build.quantization)

    def rank(each: tuple[RemoteFile, str]) -> tuple[int, bool, str]:
        quantization = label_of(each[1])[1]
        return abs(_bits(quantization) - wanted), quantization != "F16", each[1]

    return min(beside or projectors, key=rank)[0] if projectors else None


def label_of(stem: str) -> tuple[str, str]:
    """A file's label and quantization ('UD-Q4_K_XL', 'Q4_K_XL'), from its name or else its folder's."""
    for part in (_last(stem), stem.rpartition("/")[0]):
        matches = list(_LABEL.finditer(part))
        if matches:
            last = matches[-1]
            quantization = last[2].upper().replace("FP", "F") if last[2].upper().startswith("FP") else last[2].upper()
            return (f"{last[1]}-{quantization}" if last[1] else quantization), quantization
    return "", ""


def _matches_file(each: Candidate, tag: str) -> bool:
    stem = tag.removesuffix(".gguf")
    stem = _SHARD.sub("", stem)
    return stem in (each.stem.lower(), _last(each.stem).lower())


def _matches_label(each: Candidate, tag: str) -> bool:
    return each.label.lower() == tag


def _matches_quantization(each: Candidate, tag: str) -> bool:
    return each.quantization.lower() == tag


def _matches_word(each: Candidate, tag: str) -> bool:
    word = rf"(?<![a-z0-9]){re.escape(tag)}(?![a-z0-9]|_[a-z0-9])"
    return re.search(word, each.stem.lower()) is not None


_RULES = (_matches_file, _matches_label, _matches_quantization, _matches_word)


def _usual(found: Sequence[Candidate], memory: int | None) -> list[Candidate]:
    fitting = [each for each in found if memory is None or each.size <= memory]
    if not fitting:
        smallest = min(each.size for each in found)
        return [each for each in found if each.size == smallest]
    for quantization in _PREFERRED:
        plain = [each for each in fitting if each.label == quantization]
        if plain or (prefixed := [each for each in fitting if each.quantization == quantization]):
            return plain or prefixed
        if quantization == _PREFERRED[0] and len(fitting) < len(found):
            break  # the usual one doesn't fit: take the largest that does
    largest = max(each.size for each in fitting)
    return [each for each in fitting if each.size == largest]


def _only(name: str, tag: str, matching: list[Candidate]) -> Candidate:
    if len(matching) == 1:
        return matching[0]
    # Told apart by their file names, which are tags too.
    raise UnknownTag(f"{name} ({tag} means several files)", tuple((_last(each.stem), each.size) for each in matching))


def _checked(build: Candidate) -> Candidate:
    if not build.whole:
        raise BadSource(f"{build.stem}: the repository has only {len(build.files)} of {build.shards} shards")
    return build


def _stem(path: str) -> str | None:
    return path[:-5] if path.lower().endswith(".gguf") else None


def _is_sidecar(stem: str) -> bool:
    last = _last(stem)
    return bool(_SIDECAR.search(last)) or (bool(_MEASURED.search(last)) and not label_of(last)[0])


def _last(stem: str) -> str:
    return stem.rpartition("/")[2]


def _bits(quantization: str) -> int:
    if quantization.endswith(("16", "32")):
        return int(quantization[-2:])
    digits = re.search(r"[0-9]", quantization)
    return int(digits[0]) if digits else 16
