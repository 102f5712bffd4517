"""Finding a model by words: in the catalog, which needs no network, and among the hub's repositories of GGUFs.

The two are told apart all the way: the catalog's models were chosen by hand, the hub's by nobody.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from modelfiles import catalog
from modelfiles.catalog import CatalogEntry, CatalogTag
from registry.errors import Denied, Unreachable
from registry.fits import Fit, fit
from registry.gguf.architectures import ARCHITECTURES
from registry.names import HUGGING_FACE, Name
from registry.origins import Reach, hub_settings
from registry.sources.hub_search import HubModel, search_hub
from registry.store import Store

_WORDS = re.compile(r"[^\s,;]+")


@dataclass(frozen=True, slots=True)
class TagFound:
    """A tag of the catalog. `latest` is what the name alone means; `stored` says whether the store has it under any of
    its names. `fit` is by its rough size, None where the memory isn't known."""

    tag: str
    latest: bool
    repository: str
    quantization: str
    size: int
    stored: bool
    fit: Fit | None


@dataclass(frozen=True, slots=True)
class EntryFound:
    """A model of the catalog, with one tag for each of its files, the smallest first."""

    entry: CatalogEntry
    tags: tuple[TagFound, ...]


@dataclass(frozen=True, slots=True)
class RepositoryFound:
    """A repository of the hub. `supported` is None where the hub doesn't know the architecture."""

    model: HubModel
    stored: bool
    supported: bool | None


@dataclass(frozen=True, slots=True)
class Found:
    """What was found, best first. `note` says why the hub's part is missing, if it is."""

    catalog: tuple[EntryFound, ...]
    hub: tuple[RepositoryFound, ...]
    note: str


def search(
    store: Store,
    text: str,
    *,
    limit: int = 20,
    reach: Reach | None = None,
    memory: int | None = None,
    context: int = 8192,
    hub: bool = True,
) -> Found:
    """Look for `text`'s words; `limit` is for each part. Without words, the whole catalog.

    `memory` is bytes that a model may have here. Raises nothing for a hub that can't be asked: see `note`.
    """
    reach = reach or Reach()
    stored = {model.name for model in store.list()}
    words = [each.lower() for each in _WORDS.findall(text)]
    listed = _of_catalog(words)
    entries = tuple(_entry(each, stored, memory, context) for each in (listed if not words else listed[:limit]))
    if not hub or not words or limit < 1:
        return Found(entries, (), "")
    if reach.registries and HUGGING_FACE not in reach.registries:
        return Found(entries, (), f"{HUGGING_FACE} isn't among the hosts that models may come from")
    try:
        repositories = search_hub(" ".join(words), limit, hub_settings(reach))
    except (Unreachable, Denied) as error:
        return Found(entries, (), str(error))
    return Found(entries, tuple(_repository(each, stored) for each in repositories), "")


def _of_catalog(words: list[str]) -> list[CatalogEntry]:
    """Entries with all the words, by where they have them; by near names if there is none."""
    ranked = []
    for entry in catalog.entries():
        rank = _rank(entry, words)
        if rank is not None:
            ranked.append((rank, entry.name, entry))
    if ranked or not words:
        return [entry for _, _, entry in sorted(ranked, key=lambda each: each[:2])]
    names = {name: entry for entry in catalog.entries() for name in (entry.name, *entry.aliases)}
    return list({names[each].name: names[each] for each in catalog.near("-".join(words), names)}.values())


def _rank(entry: CatalogEntry, words: list[str]) -> int | None:
    """How well an entry answers, 0 the best; None where a word is nowhere in it."""
    names = (entry.name, *entry.aliases)
    rest = " ".join((entry.summary, entry.kind, entry.licence, *(tag.repo for tag in entry.tags))).lower()
    worst = 0
    for word in words:
        if word in names:
            place = 0
        elif any(each.startswith(word) for each in names):
            place = 1
        elif any(word in each for each in names):
            place = 2
        elif word in rest:
            place = 3
        else:
            return None
        worst = max(worst, place)
    return worst


def _entry(entry: CatalogEntry, stored: Iterable[Name], memory: int | None, context: int) -> EntryFound:
    keys = {each.key for each in stored}
    by_file: dict[tuple[str, str], list[CatalogTag]] = {}
    for tag in entry.tags:
        by_file.setdefault((tag.repo, tag.quantization), []).append(tag)
    found = []
    for (repository, quantization), tags in by_file.items():
        # A build's own name says more than `latest`, and comes before its other names.
        shown = next(each for each in tags if each.tag != catalog.LATEST)
        names = [Name.parse(f"{name}:{each.tag}") for name in (entry.name, *entry.aliases) for each in tags]
        names.append(Name.parse(f"{HUGGING_FACE}/{repository}:{quantization}"))
        found.append(
            TagFound(
                tag=shown.tag,
                latest=any(each.tag == catalog.LATEST for each in tags),
                repository=repository,
                quantization=quantization,
                size=shown.size_hint,
                stored=any(each.key in keys for each in names),
                fit=None if memory is None else fit(shown.size_hint, memory, min(context, entry.context)),
            )
        )
    return EntryFound(entry, tuple(sorted(found, key=lambda each: each.size)))


def _repository(model: HubModel, stored: Iterable[Name]) -> RepositoryFound:
    name = model.repository.lower()
    return RepositoryFound(
        model=model,
        stored=any(each.host == HUGGING_FACE and each.repository.lower() == name for each in stored),
        supported=model.architecture in ARCHITECTURES if model.architecture else None,
    )
