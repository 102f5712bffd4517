"""Which file of a repository a tag means: told from file names alone.

Publishers name quantizations in many ways, but always as a word of their own in the file's or folder's
name. Pure: knows no network.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from modelfiles.near import near
from modelfiles.sizes import human_bytes
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
_ROOM = 0.8
"""The share of the memory that weights may take: the KV cache and what is computed with need the rest."""
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

    `latest` is the usual quantization, or the largest whose weights leave room in `memory` bytes. Raises UnknownTag,
    with all there are, if none matches or several do, and BadSource if files of the one meant are missing.
    """
    whole = [each for each in found if each.whole]
    if whole and tag.lower() == LATEST:
        return _only(name, _usual(whole, memory))
    for matches in _RULES:
        matching = [each for each in found if matches(each, tag.lower())]
        if matching:
            return _checked(_only(name, [each for each in matching if each.whole] or matching))
    raise UnknownTag(name, tuple((each.tag, each.size) for each in whole), _nearest(tag, whole))


def why(found: Sequence[Candidate], chosen: Candidate, tag: str, memory: int | None = None) -> str:
    """In words, how `choose` came to its choice; nothing where the tag named it outright."""
    whole = [each for each in found if each.whole]
    if tag.lower() != LATEST:
        is_other = chosen.quantization.lower() == tag.lower() != chosen.label.lower()
        return f"no build is called {tag} alone, and this is the only one with that quantization" if is_other else ""
    if len(whole) == 1:
        return "it is the only build there"
    if memory is None:
        usual = chosen.quantization in _PREFERRED
        return (
            "the usual quantization" if usual else "none of the usual quantizations is there, and this is the largest"
        )
    has = f"{human_bytes(memory)} of memory"
    if not _has_room(chosen, memory):
        return f"the smallest there is, though it leaves too little of the {has}"
    if all(_has_room(each, memory) for each in whole) or chosen.quantization == _PREFERRED[0]:
        return f"the usual quantization, and it fits into {has}"
    return f"the largest that fits into {has}"


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
    fitting = [each for each in found if _has_room(each, memory)]
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


def _has_room(each: Candidate, memory: int | None) -> bool:
    return memory is None or each.size <= memory * _ROOM


def _only(name: str, matching: list[Candidate]) -> Candidate:
    if len(matching) == 1:
        return matching[0]
    if len({(_last(each.stem).lower(), each.label) for each in matching}) == 1:
        # The same file name in several folders, or once whole and once in shards: nothing could tell them apart.
        return min(matching, key=lambda each: (len(each.files), len(each.stem), each.stem))
    # Told apart by their file names, which are tags too.
    raise UnknownTag(name, tuple((_last(each.stem), each.size) for each in matching), several=True)


def _nearest(tag: str, whole: Sequence[Candidate]) -> tuple[str, ...]:
    """Tags that were probably meant: by how they are spelt, or else of as many bits."""
    spelt = near(tag, [each.tag for each in whole])
    bits = re.search(r"(?<![A-Za-z0-9])I?[QT]Q?([1-8])", tag, re.IGNORECASE)
    if spelt or bits is None:
        return spelt
    alike = sorted((abs(_bits(each.quantization) - int(bits[1])), -each.size, each.tag) for each in whole if each.label)
    return tuple(tag for distance, _, tag in alike if distance <= 1)[:3]


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
