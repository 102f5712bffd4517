"""The catalog: the models people really run, by the short names and tags that Ollama's users know.

One YAML file per family under catalog/, read once and checked strictly. A tag names a repository on Hugging Face and
a quantization, and how its authors would have it sampled; which file that is, and how to fetch it, is for others. The
embedded model isn't in it (`embedded`).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from itertools import chain
from typing import Any, Final, Literal, TypeAlias, get_args

import yaml

try:
    from yaml import CSafeLoader as SafeLoader  # ten times as quick
except ImportError:  # PyYAML built without libyaml
    from yaml import SafeLoader  # type: ignore[assignment]

from modelfiles.errors import CatalogError, ParameterError
from modelfiles.near import near
from modelfiles.parameters import PARAMETERS, Value, check

__all__ = ["CatalogEntry", "CatalogTag", "Kind", "assemble", "entries", "find", "find_entry", "near", "read"]

Kind: TypeAlias = Literal["chat", "code", "embedding", "rerank", "vision"]
LATEST: Final = "latest"
_Sampling: TypeAlias = tuple[tuple[str, Value], ...]


@dataclass(frozen=True, slots=True)
class CatalogTag:
    """One thing to pull. `size_hint` is its rough size in bytes, for choosing before the hub is asked.

    `sampling` holds the parameters that its authors recommend, where neither repository nor GGUF say otherwise.
    """

    tag: str
    repo: str
    quantization: str
    size_hint: int
    sampling: tuple[tuple[str, Value], ...] = ()


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """One short name. `parameters` says in words how large its builds are; `context` is in tokens.

    `tags` opens with `latest`; then, per build, the plain tag and one per quantization (`4b`, `4b-q4_K_M`, `4b-q8_0`).
    """

    name: str
    kind: Kind
    summary: str
    licence: str
    parameters: str
    context: int
    tags: tuple[CatalogTag, ...]
    aliases: tuple[str, ...]


@cache
def entries() -> tuple[CatalogEntry, ...]:
    """Every entry, sorted by name. Raises CatalogError naming the file and the field at fault."""
    folder = files("modelfiles").joinpath("catalog")
    sources = sorted((each for each in folder.iterdir() if each.name.endswith(".yaml")), key=lambda each: each.name)
    return assemble({source.name: source.read_text("utf-8") for source in sources})


def find(model: str, tag: str = LATEST) -> CatalogTag | None:
    """What a short name and tag stand for, in any case; None when the catalog doesn't know them."""
    entry = find_entry(model)
    if entry is None:
        return None
    return next((each for each in entry.tags if each.tag.lower() == tag.lower()), None)


def find_entry(model: str) -> CatalogEntry | None:
    """The entry with this name or alias, in any case."""
    wanted = model.lower()
    return next((entry for entry in entries() if wanted in (entry.name, *entry.aliases)), None)


def assemble(sources: Mapping[str, str]) -> tuple[CatalogEntry, ...]:
    """The entries of several files, given as file name to text, sorted by name. Names and aliases are unique."""
    owners: dict[str, str] = {}
    found: list[CatalogEntry] = []
    for file, text in sources.items():
        for entry in read(file, text):
            for name in (entry.name, *entry.aliases):
                if name in owners:
                    raise CatalogError(file, entry.name, f"the name {name} is taken in {owners[name]}")
                owners[name] = file
            found.append(entry)
    return tuple(sorted(found, key=lambda entry: entry.name))


def read(file: str, text: str) -> tuple[CatalogEntry, ...]:
    """The entries that the text of one catalog file holds."""
    try:
        content = yaml.load(text, _Loader)
    except yaml.YAMLError as fault:
        raise CatalogError(file, "YAML", " ".join(str(fault).split())) from fault
    if not isinstance(content, list) or not content:
        raise CatalogError(file, "file", "must be a list of models")
    return tuple(_entry(_Node(file, f"model {number}", value)) for number, value in enumerate(content, 1))


class _Loader(SafeLoader):
    """The safe loader, but a key given twice is an error rather than the last one silently winning."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for position, key in enumerate(keys):
            if key in keys[:position]:
                raise yaml.constructor.ConstructorError(None, None, f"{key} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


@dataclass(frozen=True, slots=True)
class _Node:
    """A value of a catalog file and its place, so that whatever is wrong with it can be named."""

    file: str
    field: str
    value: object

    def wrong(self, reason: str) -> CatalogError:
        return CatalogError(self.file, self.field, reason)

    def mapping(self) -> dict[str, "_Node"]:
        if not isinstance(self.value, dict) or not self.value:
            raise self.wrong("must be a mapping")
        for key in self.value:
            if not isinstance(key, str):
                raise self.wrong(f"the key {key!r} must be a text; put it in quotes")
        return {key: _Node(self.file, f"{self.field}.{key}", value) for key, value in self.value.items()}

    def fields(self, required: Iterable[str], optional: Iterable[str] = ()) -> dict[str, "_Node"]:
        found = self.mapping()
        for name in required:
            if name not in found:
                raise CatalogError(self.file, f"{self.field}.{name}", "is missing")
        for name, node in found.items():
            if name not in (*required, *optional):
                raise node.wrong("is not a field of the catalog")
        return found

    def text(self, pattern: re.Pattern[str] | None = None) -> str:
        if not isinstance(self.value, str) or not self.value:
            raise self.wrong("must be a text")
        if pattern is not None and not pattern.fullmatch(self.value):
            raise self.wrong(f"{self.value!r} is not of the right form ({pattern.pattern})")
        return self.value

    def positive(self) -> float:
        if isinstance(self.value, bool) or not isinstance(self.value, int | float) or not self.value > 0:
            raise self.wrong("must be a number above 0")
        return self.value

    def items(self) -> tuple["_Node", ...]:
        if not isinstance(self.value, list):
            raise self.wrong("must be a list")
        return tuple(_Node(self.file, f"{self.field}.{number}", value) for number, value in enumerate(self.value, 1))


_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")
_REPO = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
_QUANTIZATION = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*")
_REQUIRED = ("name", "kind", "summary", "licence", "parameters", "context", "latest", "builds")


def _entry(node: _Node) -> CatalogEntry:
    # From here on the model's own name says where, once it is known to have one.
    name = node.fields(_REQUIRED, ("aliases", "sampling"))["name"].text(_NAME)
    fields = _Node(node.file, name, node.value).mapping()
    context = fields["context"].positive()
    if context != int(context):
        raise fields["context"].wrong("must be a whole number of tokens")
    kind = _kind(fields["kind"])
    sampling = _sampling(fields["sampling"], kind) if "sampling" in fields else ()
    return CatalogEntry(
        name=name,
        kind=kind,
        summary=fields["summary"].text(),
        licence=fields["licence"].text(),
        parameters=fields["parameters"].text(),
        context=int(context),
        tags=_tags(fields["builds"], fields["latest"], kind, sampling),
        aliases=tuple(each.text(_NAME) for each in fields["aliases"].items()) if "aliases" in fields else (),
    )


def _kind(node: _Node) -> Kind:
    kinds: tuple[Kind, ...] = get_args(Kind)
    for kind in kinds:
        if kind == node.text():
            return kind
    raise node.wrong(f"must be one of {', '.join(kinds)}, not {node.value}")


def _sampling(node: _Node, kind: Kind) -> _Sampling:
    """Parameters of sampling, checked by the table of parameters."""
    if kind in ("embedding", "rerank"):
        raise node.wrong(f"has no place in a model for {kind}, which generates nothing")
    found: list[tuple[str, Value]] = []
    for name, each in node.mapping().items():
        if name not in PARAMETERS or PARAMETERS[name].when != "sample":
            raise each.wrong("is not a parameter of sampling")
        try:
            found.append((name, check(name, each.value)))
        except ParameterError as fault:
            raise each.wrong(fault.reason) from fault
    return tuple(found)


def _tags(builds: _Node, latest: _Node, kind: Kind, sampling: _Sampling) -> tuple[CatalogTag, ...]:
    by_build = {name: _build(name, node, kind, sampling) for name, node in builds.mapping().items()}
    if latest.text() not in by_build:
        raise latest.wrong(f"there is no build {latest.value}")
    first = by_build[latest.text()][0]
    tags = (
        replace(first, tag=LATEST),
        *chain.from_iterable(by_build.values()),
    )
    seen: set[str] = set()
    for each in tags:
        if each.tag.lower() in seen:
            raise builds.wrong(f"the tag {each.tag} is given twice")
        seen.add(each.tag.lower())
    return tags


def _build(name: str, node: _Node, kind: Kind, sampling: _Sampling) -> list[CatalogTag]:
    """The tags of one build: for each of its names, the plain one (the first quantization) and one per quantization.

    A build's own `sampling` takes the place of its model's.
    """
    fields = node.fields(("repo", "files"), ("also", "sampling"))
    if "sampling" in fields:
        sampling = _sampling(fields["sampling"], kind)
    repo = fields["repo"].text(_REPO)
    sizes = {
        _Node(size.file, size.field, quantization).text(_QUANTIZATION): round(size.positive() * 10**9)
        for quantization, size in fields["files"].mapping().items()
    }
    also = [each.text(_NAME) for each in fields["also"].items()] if "also" in fields else []
    tags: list[CatalogTag] = []
    for each in (_Node(node.file, node.field, name).text(_NAME), *also):
        default = next(iter(sizes))
        tags.append(CatalogTag(each, repo, default, sizes[default], sampling))
        tags.extend(
            CatalogTag(f"{each}-{_suffix(quantization)}", repo, quantization, size, sampling)
            for quantization, size in sizes.items()
        )
    return tags


def _suffix(quantization: str) -> str:
    """A quantization as Ollama's tags write it: q4_K_M, q8_0, fp16, mxfp4."""
    if quantization in ("F16", "F32"):
        return f"fp{quantization[1:]}"
    return f"q{quantization[1:]}" if quantization.startswith("Q") else quantization.lower()
