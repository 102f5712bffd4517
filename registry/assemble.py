"""From blobs to a model: reads the headers, checks them, writes the short layers and the config, publishes.

The last steps that `create` and `pull` share. Knows neither Modelfiles' paths nor networks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import TypeVar

from modelfiles.parameters import Value
from registry import manifest as media
from registry.abilities import abilities
from registry.digests import Digest, digest_of
from registry.errors import BadGGUF, BadSource, UnsupportedModel
from registry.gguf.check import check, check_adapter, shard_position
from registry.gguf.facts import Facts, kind_of
from registry.gguf.metadata import Metadata
from registry.gguf.reader import Header, read_header
from registry.gguf.sampling import recommended
from registry.manifest import Layer, Manifest, ModelConfig
from registry.names import Name
from registry.progress import Progress, Report
from registry.store import Lease, Store
from registry.stored import Message, StoredModel

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Part:
    """A GGUF blob on its way into a model. `title` is the file name that it had."""

    digest: Digest
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What to make a model of.

    `files` are a model's GGUFs in any order: its shards, and perhaps a projector. `quantization` is a better
    name than the header's, if the publisher has one. `sampling` holds parameters for where neither `parameters` nor
    the header have the author's word. `annotations` go into the manifest.
    """

    files: tuple[Part, ...]
    adapters: tuple[Part, ...] = ()
    draft: tuple[Part, ...] = ()
    template: str | None = None
    system: str | None = None
    parameters: Mapping[str, Value] = field(default_factory=dict)
    sampling: Mapping[str, Value] = field(default_factory=dict)
    messages: tuple[Message, ...] = ()
    licenses: tuple[str, ...] = ()
    renderer: str | None = None
    parser: str | None = None
    requires: str | None = None
    parent: str | None = None
    quantization: str = ""
    created: datetime | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sorted:
    """GGUFs by what they are; headers go with their index in the list that was sorted."""

    weights: tuple[int, ...]
    projectors: tuple[int, ...]
    adapters: tuple[int, ...]
    facts: Facts
    projector_facts: Facts | None


def assemble(
    store: Store,
    lease: Lease,
    name: Name,
    recipe: Recipe,
    report: Report,
    approve: Callable[[Manifest], None] | None = None,
    expected: bytes | None = None,
) -> StoredModel:
    """Make a model of blobs that are in the store already and leased.

    `approve` sees the manifest before anyone else does, and may raise. `expected` is as for `Store.publish`. Raises
    BadGGUF or UnsupportedModel for what the engine must not see, BadSource for files that don't belong together; then
    no model has changed.
    """
    headers = [_header(store, part) for part in recipe.files]
    found = sort_out(headers, [part.title or str(part.digest) for part in recipe.files])
    adapters = [*recipe.adapters, *(recipe.files[index] for index in found.adapters)]
    for part in adapters:
        _check_adapter(_header(store, part), part, found.facts, [headers[index] for index in found.weights])
        store.blobs.keep(part.digest)  # workers open it when a request needs it, and see no other folder by then
    recipe = _with_sampling(recipe, found.facts)
    if recipe.draft:
        sort_out([_header(store, part) for part in recipe.draft], [part.title for part in recipe.draft])
    layers = [
        *(_weights(store, media.MODEL, recipe.files[index]) for index in found.weights),
        *(_weights(store, media.PROJECTOR, recipe.files[index]) for index in found.projectors),
        *(_weights(store, media.ADAPTER, part) for part in adapters),
        *(_weights(store, media.DRAFT, part) for part in recipe.draft),
        *_texts(store, lease, recipe, report),
    ]
    config = _write(store, lease, media.CONFIG_TYPE, _config(recipe, found).to_json())
    report(Progress("writing manifest"))
    manifest = Manifest(config, tuple(layers), dict(recipe.annotations))
    if approve is not None:
        approve(manifest)
    return store.publish(name, manifest, expected)


def sort_out(headers: list[Header], titles: list[str]) -> Sorted:
    """Tell a model's shards, its projector and adapters apart by their headers, and check each.

    Errors name the file by its title.
    """
    kinds = [_named(title, partial(_kind, header)) for header, title in zip(headers, titles, strict=True)]
    weights = [index for index, kind in enumerate(kinds) if kind == "model"]
    if not weights:
        raise BadSource(f"no model among {', '.join(titles) or 'no files at all'}")
    weights.sort(key=lambda index: shard_position(headers[index])[0])
    whole = [index for index in weights if shard_position(headers[index])[1] == 1]
    if whole and len(weights) > 1:
        raise BadSource(f"several models: {', '.join(titles[index] for index in weights)}; give one")
    first = weights[0]
    facts = _named(titles[first], lambda: check(headers[first], [headers[index] for index in weights[1:]]))
    projectors = [index for index, kind in enumerate(kinds) if kind == "mmproj"]
    if len(projectors) > 1:
        raise BadSource(f"several projectors: {', '.join(titles[index] for index in projectors)}; give one")
    seen = [_named(titles[index], partial(check, headers[index])) for index in projectors]
    adapters = tuple(index for index, kind in enumerate(kinds) if kind == "adapter")
    return Sorted(tuple(weights), tuple(projectors), adapters, facts, seen[0] if seen else None)


def human_count(count: int) -> str:
    """A number of parameters as people say it: '4.3M', '494M', '8.0B'."""
    for unit, size in (("T", 10**12), ("B", 10**9), ("M", 10**6), ("K", 10**3)):
        if count >= size:
            value = count / size
            return f"{value:.1f}{unit}" if value < 99.95 else f"{value:.0f}{unit}"
    return str(count)


def _kind(header: Header) -> str:
    # Every shard but the first says no more than which one it is.
    return "model" if shard_position(header)[0] > 0 else kind_of(Metadata(header))


def _named(title: str, look: Callable[[], _T]) -> _T:
    try:
        return look()
    except BadGGUF as error:
        raise type(error)(error.reason, error.path or title) from error
    except UnsupportedModel as error:
        raise UnsupportedModel(f"{title}: {error}") from error


def _header(store: Store, part: Part) -> Header:
    try:
        return read_header(store.blobs.path(part.digest))
    except BadGGUF as error:
        raise type(error)(error.reason, part.title or str(part.digest)) from error


def _with_sampling(recipe: Recipe, found: Facts) -> Recipe:
    """The recipe with each parameter of `sampling` that nobody who knows better has set."""
    said = recommended(found.sampling).keys() | recipe.parameters.keys()
    rest = {name: value for name, value in recipe.sampling.items() if name not in said}
    return replace(recipe, parameters={**rest, **recipe.parameters}) if rest else recipe


def _check_adapter(header: Header, part: Part, base: Facts, weights: list[Header]) -> None:
    title = part.title or str(part.digest)
    found = _named(title, lambda: check(header))
    if found.kind != "adapter":
        raise BadSource(f"{title}: not an adapter but a {found.kind}")
    if found.architecture != base.architecture:
        raise BadSource(f"{title}: an adapter for {found.architecture}, and the model is {base.architecture}")
    _named(title, lambda: check_adapter(header, weights))


def _weights(store: Store, media_type: str, part: Part) -> Layer:
    notes = {media.TITLE: part.title} if part.title else {}
    return Layer(media_type, part.digest, store.blobs.size(part.digest), notes)


def _texts(store: Store, lease: Lease, recipe: Recipe, report: Report) -> list[Layer]:
    texts: list[tuple[str, bytes]] = []
    if recipe.template is not None:
        texts.append((media.TEMPLATE, recipe.template.encode()))
    if recipe.system is not None:
        texts.append((media.SYSTEM, recipe.system.encode()))
    if recipe.parameters:
        texts.append((media.PARAMS, media.to_canonical(dict(recipe.parameters))))
    if recipe.messages:
        spoken = [{"role": each.role, "content": each.content} for each in recipe.messages]
        texts.append((media.MESSAGES, media.to_canonical(spoken)))
    texts += [(media.LICENSE, each.encode()) for each in recipe.licenses]
    layers = []
    for media_type, data in texts:
        layer = _write(store, lease, media_type, data)
        report(Progress(f"creating new layer {layer.digest}", layer.digest, layer.size, layer.size))
        layers.append(layer)
    return layers


def _write(store: Store, lease: Lease, media_type: str, data: bytes) -> Layer:
    digest = digest_of(data)
    lease.hold(digest)
    store.blobs.write(data, digest)
    return Layer(media_type, digest, len(data))


def _config(recipe: Recipe, found: Sorted) -> ModelConfig:
    facts = found.facts
    return ModelConfig(
        family=facts.architecture,
        families=(facts.architecture, "clip") if found.projectors else (facts.architecture,),
        architecture=facts.architecture,
        parameter_count=facts.parameter_count,
        parameter_size=human_count(facts.parameter_count),
        quantization=recipe.quantization or facts.quantization,
        context_length=facts.context_length,
        embedding_length=facts.embedding_length,
        capabilities=abilities(facts, recipe.template, found.projector_facts),
        renderer=recipe.renderer,
        parser=recipe.parser,
        requires=recipe.requires,
        parent=recipe.parent,
        created=recipe.created,
    )
