"""Create: a Modelfile and what it names, made into a model of the store. All of it, or nothing.

A FROM may be a stored model, an uploaded blob, or a local file where the caller allows that. Knows no
network: pulling a model that isn't there is the caller's affair.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal, TypeVar

from modelfiles.errors import ModelfileError
from modelfiles.instructions import Modelfile
from modelfiles.parameters import Value
from modelfiles.render import render
from registry import manifest as media
from registry.assemble import Part, Recipe, assemble, sort_out
from registry.digests import Digest, digest_of
from registry.errors import BadName, BadSource, Cancelled, Unreadable
from registry.gguf.quantizations import QuantType
from registry.gguf.reader import read_header
from registry.manifest import Layer
from registry.names import Name
from registry.progress import Cancel, Progress, Report, never, unheard
from registry.quantize import Mill, Quantization, Quantizer, Source
from registry.sources.local import gguf_files, looks_like_path, refuse_other_formats
from registry.store import Lease, Store
from registry.stored import Message, StoredModel

_T = TypeVar("_T")
_AS_IT_IS = Quantization()


def create(
    store: Store,
    name: Name | str,
    modelfile: Modelfile,
    *,
    base: Path | None = None,
    files: Mapping[str, Digest] | None = None,
    progress: Report = unheard,
    cancelled: Cancel = never,
    taking: Literal["link", "copy"] = "link",
    annotations: Mapping[str, str] | None = None,
    quantization: Quantization = _AS_IT_IS,
    quantizer: Quantizer | None = None,
) -> StoredModel:
    """Make a model of a Modelfile.

    `base` is the folder that relative paths start from; with None no local file is opened at all. `files`
    are uploaded blobs by the names that the Modelfile calls them. `taking` is how local files come in (see
    `Blobs.adopt`). `quantizer` does what `quantization` asks for; local files that it reads aren't taken in. Raises
    BadSource, BadGGUF, UnsupportedModel, NotFound (of a stored model), Corrupt, QuantizeFailed, Cancelled or a
    StorageFault; then the store is as it was.
    """
    wanted = Name.parse(name) if isinstance(name, str) else name
    quantization.check()
    progress(Progress("gathering model components"))
    with store.lease() as lease:
        mill = Mill(store, lease, quantizer, progress, cancelled) if quantizer else None
        kitchen = _Kitchen(store, lease, base, _normal(files or {}), progress, cancelled, taking, quantization, mill)
        with kitchen.cleaning_up():
            recipe = kitchen.recipe(modelfile)
            notes = {**recipe.annotations, **_recipe_note(modelfile), **(annotations or {})}
            recipe = replace(recipe, annotations=notes)
            if cancelled():
                raise Cancelled("cancelled before anything was published")
            made = assemble(store, lease, wanted, recipe, progress)
        held = lease.held
    if quantization.kind or quantization.draft:  # what was quantized is needed by other models, or by nobody
        store.discard(kitchen.own(held))
    return made


@dataclass(frozen=True, slots=True)
class _Kitchen:
    """One create under way. What the lease holds came with it, or was there before."""

    store: Store
    lease: Lease
    base: Path | None
    files: Mapping[str, Digest]
    progress: Report
    cancelled: Cancel
    taking: Literal["link", "copy"]
    quantization: Quantization
    mill: Mill | None

    @contextmanager
    def cleaning_up(self) -> Iterator[None]:
        """Take back what was brought in, if the block fails. Uploads stay: they may be tried again."""
        try:
            yield
        except BaseException:
            brought = self.own(self.lease.held)
            self.lease.release()
            self.store.discard(brought)
            raise

    def own(self, held: Collection[Digest]) -> set[Digest]:
        """All of it but uploads."""
        return set(held) - {*self.files.values(), self.quantization.imatrix}

    def recipe(self, modelfile: Modelfile) -> Recipe:
        sources = modelfile.sources or tuple(self.files)
        if not sources:
            raise BadSource("a Modelfile needs a FROM: a model's name, or a GGUF file")
        parent = self._stored(sources[0])
        recipe = self._inherited(parent) if parent is not None else Recipe(files=())
        found = [*recipe.files, *self._items(sources if parent is None else sources[1:], "FROM")]
        asked = self.quantization
        files = self._settled(found, asked.kind, asked.imatrix)
        drafts = [*self._draft(modelfile.drafts)] or [*recipe.draft]
        return replace(
            recipe,
            files=files,
            quantization="" if asked.kind is not None else recipe.quantization,
            adapters=(*recipe.adapters, *self._brought(self._items(modelfile.adapters, "ADAPTER"))),
            draft=self._settled(drafts, asked.draft, None),
            template=_first(modelfile.template, recipe.template),
            system=_first(modelfile.system, recipe.system),
            parameters=_merged(recipe.parameters, modelfile.parameters),
            messages=tuple(Message(each.role, each.content) for each in modelfile.messages) or recipe.messages,
            licenses=tuple(_once([*recipe.licenses, *modelfile.licenses])),
            renderer=_first(modelfile.renderer, recipe.renderer),
            parser=_first(modelfile.parser, recipe.parser),
            requires=_first(modelfile.requires, recipe.requires),
        )

    def _stored(self, source: str) -> StoredModel | None:
        """The stored model that a FROM names, or None if it means files. Raises NotFound for neither."""
        if self._blobs_of(source) or looks_like_path(source):
            return None
        if self.base is not None and _is_there(self.base / source):
            return None
        try:
            name = Name.parse(source)
        except BadName as error:
            raise BadSource(f"FROM {source[:200]}: neither a file nor a model's name ({error})") from error
        return self.store.show(name)

    def _inherited(self, model: StoredModel) -> Recipe:
        manifest = model.manifest
        layers = {kind: self._kept(manifest.of(kind)) for kind in media.WEIGHTS}
        self.progress(Progress(f"using existing layers of {model.name}"))
        return Recipe(
            files=(*layers[media.MODEL], *layers[media.PROJECTOR]),
            adapters=layers[media.ADAPTER],
            draft=layers[media.DRAFT],
            template=model.template,
            system=model.system,
            parameters=model.parameters,
            messages=model.messages,
            licenses=model.licenses,
            renderer=model.config.renderer,
            parser=model.config.parser,
            requires=model.config.requires,
            parent=str(model.name),
            annotations={media.BASE: str(model.digest)},
            quantization=model.config.quantization,
            created=model.config.created,
        )

    def _kept(self, layers: tuple[Layer, ...]) -> tuple[Part, ...]:
        for layer in layers:
            self.lease.hold(layer.digest)
            self.store.blobs.ensure_intact(layer.digest, cancelled=self.cancelled)
        return tuple(Part(layer.digest, layer.title) for layer in layers)

    def _draft(self, sources: tuple[str, ...]) -> Iterator[Part | Path]:
        if sources and (model := self._stored(sources[0])) is not None:
            yield from self._kept(model.manifest.of(media.MODEL))
        else:
            yield from self._items(sources, "DRAFT")

    def _settled(
        self, items: list[Part | Path], kind: QuantType | None, imatrix: Path | Digest | None
    ) -> tuple[Part, ...]:
        """Everything as blobs; a model's weights quantized on the way, if a type is asked for."""
        items = _once(items)
        if kind is None or not items:
            return self._brought(items)
        if self.mill is None:
            raise BadSource(f"there is nothing here to quantize to {kind.name} with")
        sources = [self._source(each) for each in items]
        found = sort_out([each.header for each in sources], [each.title for each in sources])
        weights = [sources[index] for index in found.weights]
        made = self.mill.quantized(weights, found.facts, kind, self.mill.imatrix(imatrix) if imatrix else None)
        if made is None:
            return self._brought(items)
        rest = [each for index, each in enumerate(items) if index not in found.weights]
        return (made, *self._brought(rest))

    def _source(self, item: Part | Path) -> Source:
        path = self.store.blobs.path(item.digest) if isinstance(item, Part) else item
        title = (item.title or item.digest.short) if isinstance(item, Part) else item.name
        return Source(path, title, read_header(path))

    def _brought(self, items: list[Part | Path]) -> tuple[Part, ...]:
        return tuple(_once([self._adopted(each) if isinstance(each, Path) else each for each in items]))

    def _items(self, sources: tuple[str, ...], instruction: str) -> list[Part | Path]:
        """The GGUFs that file names stand for: uploaded blobs first, then local files, which are still to be read."""
        parts: list[Part | Path] = []
        paths: list[Path] = []
        for source in sources:
            if uploaded := self._blobs_of(source):
                parts += [self._uploaded(title, digest, instruction) for title, digest in uploaded]
            elif self.base is None:
                # The same words whether the file is there or not: the caller may be a stranger.
                raise BadSource(f"{instruction} {source[:200]}: files can't be read from here; upload it first")
            else:
                paths += gguf_files(source, self.base, adapter=instruction == "ADAPTER")
        if instruction == "FROM" and paths and not parts:
            # A look at local headers first: hashing a large file that is useless takes minutes.
            sort_out([read_header(path) for path in _once(paths)], [str(path) for path in _once(paths)])
        return [*parts, *_once(paths)]

    def _blobs_of(self, source: str) -> list[tuple[str, Digest]]:
        if source in (".", "./") and self.files:
            return list(self.files.items())
        title = _plain(source)
        return [(title, self.files[title])] if title in self.files else []

    def _uploaded(self, title: str, digest: Digest, instruction: str) -> Part:
        refuse_other_formats(title, adapter=instruction == "ADAPTER")
        self.lease.hold(digest)
        if not self.store.blobs.has(digest):
            raise BadSource(f"{title}: blob {digest} isn't in the store; upload it first")
        self.store.blobs.ensure_intact(digest, cancelled=self.cancelled)
        return Part(digest, PurePosixPath(title).name)

    def _adopted(self, path: Path) -> Part:
        size = path.stat().st_size if _is_there(path) else 0
        status = f"reading {path.name}"
        self.progress(Progress(status, None, size, 0))
        digest = self.store.blobs.adopt(
            path,
            mode=self.taking,
            progress=lambda done: self.progress(Progress(status, None, max(size, done), done)),
            cancelled=self.cancelled,
            hold=self.lease.hold,
            owner="yours",
        )
        return Part(digest, path.name)


def _is_there(path: Path) -> bool:
    """Raises Unreadable where this process may not even ask."""
    try:
        return path.exists()
    except OSError as error:
        raise Unreadable(f"{path}: can't be read: {error.strerror}") from error


def _recipe_note(modelfile: Modelfile) -> dict[str, str]:
    """What tells, later on, whether a model is still what its Modelfile says. Comments and blanks don't count."""
    try:
        return {media.RECIPE: str(digest_of(render(modelfile).encode()))}
    except ModelfileError:  # made of uploads, or of a text that the language can't write
        return {}


def _normal(files: Mapping[str, Digest]) -> dict[str, Digest]:
    return {_plain(title): digest for title, digest in files.items()}


def _plain(title: str) -> str:
    """A relative name in one spelling: './a' is 'a'. A name that leads outside is nobody's."""
    path = PurePosixPath(title.replace("\\", "/"))
    return str(path) if ".." not in path.parts else title


def _merged(base: Mapping[str, Value], new: Mapping[str, Value]) -> dict[str, Value]:
    return {**base, **new}


def _first(new: str | None, inherited: str | None) -> str | None:
    return inherited if new is None else new


def _once(items: list[_T]) -> list[_T]:
    return list(dict.fromkeys(items))
