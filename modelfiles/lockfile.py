"""The lock file, `runner.lock.yaml`: which bytes each model's name stands for, so that others get the same.

Pure: text to values and back. Nothing in it depends on a machine or a time, so equal stores write equal bytes.
Knows no store and no network.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, TypeAlias

import yaml

from modelfiles import places
from modelfiles.near import near
from modelfiles.places import Place

FILE: Final = "runner.lock.yaml"
VERSION: Final = 1

_HEADER = """\
# The exact files of each model. Written by `runner lock`, for `runner pull --locked` and `runner up`.
# Keep it under version control; `runner update` and `runner lock` change it, people needn't.
"""


@dataclass(frozen=True, slots=True)
class LockedFile:
    """A GGUF of a model: the name that it has at its source, its digest, its bytes."""

    title: str
    digest: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedPull:
    """A model that is pulled. `reference` leads to its `source`, which had these files at this `revision`.

    `digest` is that of the model that Runner makes of them.
    """

    reference: str
    source: str
    revision: str
    digest: str
    files: tuple[LockedFile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedCreate:
    """A model that is created, by the project file that declares it. `modelfile` is the digest of what that says.

    `base` is the model that it is made from, empty where it is made of files alone. `digest` is that of the model made,
    empty where its weights are quantized on the way: machines round differently.
    """

    base: str
    modelfile: str
    quantize: str = ""
    digest: str = ""


Locked: TypeAlias = LockedPull | LockedCreate


@dataclass(frozen=True, slots=True)
class Lock:
    """Models by name, as the store writes it."""

    models: Mapping[str, Locked] = field(default_factory=lambda: MappingProxyType({}))

    def find(self, name: str) -> tuple[str, Locked] | None:
        """The entry of a name, in any case and with or without the tag `latest`; its name as written, and it."""
        wanted = folded(name)
        return next(((key, each) for key, each in self.models.items() if folded(key) == wanted), None)

    def near(self, name: str) -> tuple[str, ...]:
        """Names in the lock that may have been meant."""
        plain = {key.removesuffix(":latest"): key for key in self.models}  # or all would be alike
        return tuple(plain[each] for each in near(name.removesuffix(":latest"), plain))

    def with_entries(self, entries: Mapping[str, Locked]) -> "Lock":
        """The lock with these entries in the place of their older ones."""
        replaced = {folded(name) for name in entries}
        kept = {name: each for name, each in self.models.items() if folded(name) not in replaced}
        return Lock({**kept, **entries})


def folded(name: str) -> str:
    """One spelling of a name: no capitals, and always a tag."""
    last = name.rpartition("/")[2]
    return name.lower() if ":" in last or "@" in name else f"{name.lower()}:latest"


def same_reference(one: str, other: str) -> bool:
    """Whether two references lead to the same place: letter case counts in URLs only, and `latest` may be left out."""
    return one == other or _canonical(one) == _canonical(other)


def _canonical(reference: str) -> str:
    scheme, mark, rest = reference.partition("://")
    scheme = scheme.lower()
    if not mark:
        return folded(reference)
    if scheme in ("http", "https"):
        return reference
    first, slash, _ = rest.partition("/")
    if scheme in ("oci", "docker"):  # what a name with its host means anyway
        has_host = slash and ("." in first or ":" in first or first.lower() == "localhost")
        return folded(rest if has_host else f"docker.io/{rest}")
    return f"{scheme}://{folded(rest)}"


def write(lock: Lock) -> str:
    """The text of a lock file; `read` gives an equal lock."""
    models = {name: _plain(lock.models[name]) for name in sorted(lock.models, key=lambda each: (folded(each), each))}
    content = {"version": VERSION, "models": models}
    body = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, default_flow_style=False, width=10**6)
    return f"{_HEADER}{body}"


def read(file: str, text: str) -> Lock:
    """The lock that a text holds; `file` is what to call it. Raises FileError with line and field."""
    top = places.read(file, text)
    entries = top.entries()
    if "version" in entries and (version := entries["version"]).count() != VERSION:
        raise version.wrong(f"this version of Runner knows {VERSION}; a later one wrote this file")
    found: dict[str, Locked] = {}
    seen: dict[str, str] = {}
    for name, place in top.fields(("version", "models"))["models"].entries().items():
        if folded(name) in seen:
            raise place.wrong(f"is the same name as {seen[folded(name)]}")
        seen[folded(name)] = name
        found[name] = _locked(place)
    return Lock(found)


def differences(before: Lock, after: Lock) -> tuple[str, ...]:
    """What changed from one lock to another, a line each; nothing for equal locks."""
    lines = []
    olds, news = ({folded(name): each for name, each in lock.models.items()} for lock in (before, after))
    names = {folded(name): name for name in (*before.models, *after.models)}
    for key in sorted(names):
        name, old, new = names[key], olds.get(key), news.get(key)
        if old is None:
            lines.append(f"{name} isn't in it")
        elif new is None:
            lines.append(f"{name} is in it, and shouldn't be")
        elif (old := _respelt(old, new)) != new:
            lines.append(f"{name}: {', '.join(_changes(old, new))}")
    return tuple(lines)


def _respelt(old: Locked, new: Locked) -> Locked:
    """An entry with its names as another has them, where only letter case keeps them apart."""
    if isinstance(old, LockedPull) and isinstance(new, LockedPull) and same_reference(old.reference, new.reference):
        source = new.source if old.source.lower() == new.source.lower() else old.source
        return replace(old, reference=new.reference, source=source)
    if isinstance(old, LockedCreate) and isinstance(new, LockedCreate) and same_reference(old.base, new.base):
        return replace(old, base=new.base)
    return old


def _changes(old: Locked, new: Locked) -> Iterable[str]:
    before, after = _plain(old), _plain(new)
    for key in dict.fromkeys((*before, *after)):
        if before.get(key) != after.get(key):
            yield key if key == "files" else f"{key} {before.get(key, 'none')} became {after.get(key, 'none')}"


def _plain(locked: Locked) -> dict[str, object]:
    if isinstance(locked, LockedPull):
        return {
            "reference": locked.reference,
            "source": locked.source,
            "revision": locked.revision,
            "digest": locked.digest,
            "files": [{"title": each.title, "digest": each.digest, "size": each.size} for each in locked.files],
        }
    given = {
        "from": locked.base,
        "modelfile": locked.modelfile,
        "quantize": locked.quantize,
        "digest": locked.digest,
    }
    return {key: value for key, value in given.items() if value}


def _locked(place: Place) -> Locked:
    if "modelfile" in place.entries():
        created = place.fields(("modelfile",), ("from", "quantize", "digest"))
        return LockedCreate(
            base=created["from"].word() if "from" in created else "",
            modelfile=created["modelfile"].digest(),
            quantize=created["quantize"].word() if "quantize" in created else "",
            digest=created["digest"].digest() if "digest" in created else "",
        )
    pulled = place.fields(("reference", "source", "revision", "digest", "files"))
    files = tuple(map(_file, pulled["files"].items()))
    if not files:
        raise pulled["files"].wrong("must name at least one file")
    return LockedPull(
        reference=pulled["reference"].word(),
        source=pulled["source"].word(),
        revision=pulled["revision"].word(),
        digest=pulled["digest"].digest(),
        files=files,
    )


def _file(place: Place) -> LockedFile:
    given = place.fields(("digest", "size"), ("title",))
    title = given["title"].word() if "title" in given and given["title"].node.value else ""
    return LockedFile(title, given["digest"].digest(), given["size"].count())
