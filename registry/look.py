"""Look before you pull: what a name stands for, whether it would run here, and what fetching it would take.

Reads the headers of the chosen build over ranges, and nothing of its weights. Changes nothing in the store.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from modelfiles.parameters import Value
from registry import embedded
from registry.abilities import abilities
from registry.errors import BadGGUF, BadSource, RegistryError, Unreachable, UnsupportedModel
from registry.fits import Fit, fit
from registry.gguf.check import check, shard_position
from registry.gguf.facts import Facts, facts
from registry.gguf.reader import Header, read_header
from registry.gguf.sampling import recommended
from registry.manifest import REVISION
from registry.names import Name
from registry.offers import find_offer, meant
from registry.origins import Reach
from registry.progress import Cancel, never
from registry.resolve import OciPlace, OllamaPlace, Reference, Wanted
from registry.sources.header import FIRST, read_remote_header
from registry.sources.source import Build, Offer, RemoteFile, Source
from registry.store import Store
from registry.stored import StoredModel
from registry.transfer.http import SOON, Http
from registry.transfer.incoming import in_time

log = logging.getLogger(__name__)

Role = Literal["weights", "projector", "adapter", "draft"]
Place = Literal["stored", "cached", "partial", "missing"]

_MOST_SHARDS = 16  # whose headers are read; the sum over more of them is left out
_SHARD = 64 << 10  # bytes: the header of a further shard, or of a projector
_TEXT = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class LookSettings:
    """How to look. `memory` is bytes that a model may have here, None for unknown; `context` the tokens that one
    conversation gets where the model allows as many; `connections` as many as one host is asked for at once."""

    reach: Reach = field(default_factory=Reach)
    memory: int | None = None
    context: int = 8192
    connections: int = 8


@dataclass(frozen=True, slots=True)
class FileLook:
    """One file of the chosen build: where its bytes are now, and how many have still to come."""

    title: str
    role: Role
    size: int
    place: Place
    missing: int


@dataclass(frozen=True, slots=True)
class BuildLook:
    """One of the builds that could be had. `fit` is None where the machine's memory isn't known."""

    tag: str
    quantization: str
    size: int
    files: int
    chosen: bool
    stored: bool
    fit: Fit | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was seen. `problem` says why the model can't run here; it is empty where it can, as far as one can tell.

    Counts are 0 and texts empty where nothing says. `why` is how the build was chosen where the name left that open.
    `sampling` is what its authors recommend, by the header or else by the catalog.
    `size` is bytes of all files, `fetch` of those still to come, `free` on the store's disk, `read` what looking cost.
    `stored` says whether the store has this very revision under this name.
    """

    name: str
    reference: str
    origin: str
    revision: str
    quantization: str
    why: str
    licence: str
    architecture: str
    supported: bool
    problem: str
    title: str
    parameters: int
    size_label: str
    context_length: int
    chat_template: bool
    capabilities: tuple[str, ...]
    sampling: Mapping[str, Value]
    builds: tuple[BuildLook, ...]
    files: tuple[FileLook, ...]
    size: int
    fetch: int
    free: int
    stored: bool
    read: int


def look(
    store: Store,
    wanted: Wanted | str,
    *,
    settings: LookSettings | None = None,
    http: Http | None = None,
    cancelled: Cancel = never,
) -> Look:
    """What a pull of the same would bring. `http` is shared with others where it is given.

    Raises NotFound, UnknownTag, Denied, Unreachable, BadName, BadSource, or Cancelled. A model that is broken or that
    the engine doesn't know is no error here, but a `problem`.
    """
    wanted = Wanted(reference=wanted) if isinstance(wanted, str) else wanted
    settings = settings or LookSettings()
    if embedded.is_meant(wanted.reference):
        return _of_stored(embedded.ensure_demo(store), store, settings)
    reference = meant(store, wanted.reference)
    name = Name.parse(wanted.name) if wanted.name else reference.name
    reach = replace(settings.reach, insecure=True) if wanted.insecure else settings.reach
    with nullcontext(http) if http else Http(timeout=reach.timeout, connections=settings.connections) as opened:
        source, offer = find_offer(store, name, reference, opened, reach, settings.memory, wanted.pin, cancelled)
        headers = _Headers(store, source, cancelled)
        seen = headers.of(offer)
        made = _made(
            store, settings, name, reference.text, offer, source.builds(), seen, headers.read, source, _asked(reference)
        )
        # The header's word goes before the catalog's, as it will in the model.
        return replace(made, sampling={**dict(reference.sampling), **made.sampling})


def _of_stored(model: StoredModel, store: Store, settings: LookSettings) -> Look:
    """A look at what needs no source: the embedded model."""
    layers = [each for each in model.manifest.layers if store.blobs.path(each.digest) in model.weights]
    files = tuple(RemoteFile(each.title or str(each.digest), each.size, each.digest) for each in layers)
    offer = Offer(
        origin="Runner itself",
        revision=str(model.digest),
        quantization=model.config.quantization,
        weights=files,
        licence=next(iter(model.licenses), "").strip().partition("\n")[0][:100],
    )
    build = Build(offer.quantization, offer.quantization, files)
    seen = _seen([read_header(path) for path in model.weights], (), model.template)
    made = _made(store, settings, model.name, str(model.name), offer, (build,), seen, 0, None)
    return replace(made, stored=True)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the headers told: nothing, an architecture alone, or all facts."""

    architecture: str = ""
    facts: Facts | None = None
    problem: str = ""
    known: bool = False
    capabilities: tuple[str, ...] = ()
    licence: str = ""


class _Headers:
    """Reads headers from wherever the files are: the store, the source's cache, or the source. `read` counts bytes."""

    def __init__(self, store: Store, source: Source, cancelled: Cancel) -> None:
        self._store = store
        self._source = source
        self._cancelled = cancelled
        self.read = 0

    def of(self, offer: Offer) -> _Seen:
        """What the headers of the weights and of a projector say."""
        if not offer.weights:
            return _Seen(problem="there is no model among its files")
        try:
            first = self._header(offer.weights[0])
            count = len(offer.weights)
            further = [self._header(each, _SHARD) for each in offer.weights[1:]] if count <= _MOST_SHARDS else []
            projectors = [self._header(each, _SHARD) for each in offer.projectors]
        except UnsupportedModel as error:
            return _Seen(architecture=error.architecture, problem=str(error))
        except BadGGUF as error:
            return _Seen(problem=str(error))
        return _seen([first, *further], projectors, self._template(offer))

    def _header(self, file: RemoteFile, first: int = FIRST) -> Header:
        path = _local(self._store, self._source, file)
        if path is not None:
            try:
                return read_header(path)
            except (BadGGUF, BadSource) as error:
                log.warning("%s is damaged here, so its header is read at its source: %s", path, error)
        return read_remote_header(self._source, file, first=first, arrived=self._count, cancelled=self._cancelled)

    def _count(self, arrived: int) -> None:
        self.read += arrived

    def _template(self, offer: Offer) -> str | None:
        """The template that the repository has beside the GGUF, which takes the place of the header's."""
        for text in offer.texts:
            if text.kind == "template" and text.file.size <= _TEXT:
                return self._beginning(text.file, text.file.size).decode("utf-8", "replace")
        return None

    def _beginning(self, file: RemoteFile, size: int) -> bytes:
        found = bytearray()
        with self._source.open_at(file)(0, size) as incoming, in_time(incoming, SOON, file.title):
            if incoming.start:
                raise Unreachable(f"{file.title}: asked for its beginning, got bytes from {incoming.start} on")
            for chunk in incoming.chunks:
                found += chunk
                if len(found) >= size:
                    break
        self._count(len(found))
        return bytes(found[:size])


def _seen(headers: Sequence[Header], projectors: Sequence[Header], template: str | None) -> _Seen:
    first = headers[0]
    architecture = str(first.metadata.get("general.architecture", ""))[:64]
    licence = first.metadata.get("general.license", "")
    licence = licence[:100] if isinstance(licence, str) else ""
    try:
        if len(headers) == shard_position(first)[1]:
            found = check(first, headers[1:])
        else:  # more shards than are looked at: their sums stay unknown
            found = replace(facts(first), parameter_count=0)
        eye = check(projectors[0]) if projectors else None
        return _Seen(architecture, found, "", True, abilities(found, template, eye), licence)
    except UnsupportedModel as error:
        return _Seen(architecture, None, str(error), False, (), licence)
    except BadGGUF as error:
        return _Seen(architecture, None, str(error), True, (), licence)


def _made(
    store: Store,
    settings: LookSettings,
    name: Name,
    reference: str,
    offer: Offer,
    builds: Sequence[Build],
    seen: _Seen,
    read: int,
    source: Source | None,
    asked: str = "",
) -> Look:
    found = seen.facts
    files = tuple(_file(store, source, file, role) for file, role in _roles(offer))
    return Look(
        name=str(name),
        reference=reference,
        origin=offer.origin,
        revision=offer.revision,
        quantization=offer.quantization or (found.quantization if found else ""),
        why=offer.why,
        licence=offer.licence or seen.licence,
        architecture=seen.architecture,
        supported=seen.known and not seen.problem,
        problem=seen.problem,
        title=found.name[:200] if found else "",
        parameters=found.parameter_count if found else 0,
        size_label=found.size_label[:40] if found else "",
        context_length=found.context_length if found else 0,
        chat_template=bool(found and (found.chat_template or found.chat_templates)),
        capabilities=seen.capabilities,
        sampling=recommended(found.sampling) if found else {},
        builds=_builds(store, settings, offer, builds, found, asked),
        files=files,
        size=offer.size,
        fetch=sum(each.missing for each in files),
        free=store.disk.free(store.root),
        stored=_is_stored(store, name, offer),
        read=read,
    )


def _builds(
    store: Store, settings: LookSettings, offer: Offer, builds: Sequence[Build], found: Facts | None, asked: str
) -> tuple[BuildLook, ...]:
    """All builds by size; what the headers of one say of the cache holds for all of them.

    `asked` is the tag that was asked for, where the name says one: others may have the same files.
    """
    mine = frozenset(offer.weights)
    # Where only the tags are known, the files are known of the one that was looked at.
    listed = [replace(each, files=offer.weights) if each.tag == asked and not each.files else each for each in builds]
    same = [each for each in listed if frozenset(each.files) == mine]
    if not same:
        same = [Build(offer.quantization, offer.quantization, offer.weights)]
        listed += same
    chosen = next((each for each in same if each.tag == asked), same[0])
    projector = sum(each.size for each in offer.projectors)
    context = settings.context
    if found and found.context_length:
        context = min(context, found.context_length)
    return tuple(
        BuildLook(
            tag=each.tag,
            quantization=each.quantization,
            size=each.size,
            files=len(each.files),
            chosen=each is chosen,
            stored=all(file.digest is not None and store.blobs.has(file.digest, file.size) for file in each.files),
            fit=None
            if settings.memory is None
            else fit(each.size, settings.memory, context, found.cache if found else None, projector),
        )
        for each in sorted(listed, key=lambda each: (each.size, each.tag))
    )


def _asked(reference: Reference) -> str:
    """The tag that a reference asks a registry for; empty where the source has builds and no tags."""
    place = reference.place
    return place.tag if isinstance(place, OciPlace | OllamaPlace) else ""


def _roles(offer: Offer) -> list[tuple[RemoteFile, Role]]:
    roles: tuple[tuple[Role, tuple[RemoteFile, ...]], ...] = (
        ("weights", offer.weights),
        ("projector", offer.projectors),
        ("adapter", offer.adapters),
        ("draft", offer.draft),
    )
    return [(file, role) for role, files in roles for file in files]


def _file(store: Store, source: Source | None, file: RemoteFile, role: Role) -> FileLook:
    if file.digest is not None and store.blobs.has(file.digest, file.size):
        return FileLook(file.title, role, file.size, "stored", 0)
    if source is not None and source.cache is not None and source.cache.find(file) is not None:
        return FileLook(file.title, role, file.size, "cached", 0)
    there = store.blobs.fetched(file.digest) if file.digest is not None else 0
    return FileLook(file.title, role, file.size, "partial" if there else "missing", file.size - there)


def _local(store: Store, source: Source, file: RemoteFile) -> Path | None:
    """Where the file's bytes are on this machine."""
    if file.digest is not None and store.blobs.has(file.digest, file.size):
        return store.blobs.path(file.digest)
    return source.cache.find(file) if source.cache else None


def _is_stored(store: Store, name: Name, offer: Offer) -> bool:
    """Whether the store has this revision under this name already."""
    try:
        return store.show(name).manifest.annotations.get(REVISION) == offer.revision
    except RegistryError:
        return False
