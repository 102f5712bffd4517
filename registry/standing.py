"""How stored models stand: what a text means here, and what a model's source has now against what is stored.

Looks at sources and fetches nothing but the small texts of a repository; changes nothing.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, replace
from typing import Literal

from registry import embedded
from registry.assemble import Recipe
from registry.digests import Digest, git_hash
from registry.errors import Corrupt, NotFound, RegistryError, UnknownTag, Unreachable
from registry.manifest import MODEL, REFERENCE, REVISION, WEIGHTS
from registry.names import Name
from registry.origins import Reach, open_source
from registry.resolve import HubPlace, Reference, refer
from registry.sources.source import Offer, RemoteFile, Source
from registry.store import Store
from registry.stored import StoredModel
from registry.texts import with_texts
from registry.transfer.http import SOON, Http
from registry.transfer.incoming import in_time

log = logging.getLogger(__name__)

_NO_TAG = "latest"
_LONGEST_TEXT = 16 << 20
_LARGEST_READ = 64 << 20  # as for a pull: larger files come with a SHA-256

State = Literal["current", "outdated", "local", "gone", "unreachable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a text means: the model's name as the store writes it, and the reference that a pull would take ('' where
    there is none). `stored` is the model where it is here and whole; `problem` says why one that is here can't be used.
    """

    asked: str
    name: Name
    reference: str
    stored: StoredModel | None
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A model against its source.

    `local` models have none; of `gone` ones the source has nothing under that name any more; `problem` says more of
    those and of the unreachable. A new `latest` revision with the same content leaves a model `current`. `files` are
    what the source has now, `size` the bytes of them that aren't stored yet.
    """

    model: StoredModel
    state: State
    latest: str = ""
    files: tuple[RemoteFile, ...] = ()
    size: int = 0
    problem: str = ""


def known(store: Store, text: str) -> Known:
    """What a text means here. Raises BadName, BadDigest or BadSource where it can mean nothing."""
    name, reference = _meant(text)
    try:
        stored = store.show(name)
    except NotFound:
        return Known(asked=text, name=name, reference=reference, stored=None)
    except Corrupt as error:
        return Known(asked=text, name=name, reference=reference, stored=None, problem=str(error))
    return Known(asked=text, name=stored.name, reference=reference, stored=stored)


def compare(store: Store, model: StoredModel, http: Http, reach: Reach, memory: int | None = None) -> Standing:
    """Ask a model's source what it has now. Raises nothing of the registry's: what goes wrong is the answer."""
    text = model.manifest.annotations.get(REFERENCE)
    if text is None:
        return Standing(model=model, state="local")
    try:
        source, offer = _look(refer(text), model, http, reach, memory)
        changed = _differs(store, model, source, offer)
    except NotFound as error:
        return Standing(model=model, state="gone", problem=str(error))
    except RegistryError as error:
        return Standing(model=model, state="unreachable", problem=str(error))
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        # One source that nobody can make sense of says nothing about the other models.
        log.warning("%s: what its source says can't be used", text, exc_info=True)
        return Standing(model=model, state="unreachable", problem=f"its source makes no sense ({type(error).__name__})")
    missing = (each for each in offer.files if each.digest is None or not store.blobs.has(each.digest, each.size))
    return Standing(
        model=model,
        state="outdated" if changed else "current",
        latest=offer.revision,
        files=offer.files,
        size=sum(each.size for each in missing) if changed else 0,
    )


def _meant(text: str) -> tuple[Name, str]:
    try:
        reference = refer(text)
    except NotFound:  # in no catalog, so a name that somebody gave
        name = Name.parse(text)
        return name, str(name) if name.key == embedded.NAME.key else ""
    return reference.name, reference.text


def _look(
    reference: Reference, model: StoredModel, http: Http, reach: Reach, memory: int | None
) -> tuple[Source, Offer]:
    """A look at the source, at the build that was chosen when the model was pulled: machines change, models don't."""
    place = reference.place
    tags = [""]
    if isinstance(place, HubPlace) and place.tag.lower() == _NO_TAG:
        tags = [each for each in (model.manifest.of(MODEL)[0].title, model.config.quantization) if each] or tags
    for tag in tags:
        chosen = replace(reference, place=replace(place, tag=tag)) if tag and isinstance(place, HubPlace) else reference
        source = open_source(chosen, http, reach)
        try:
            return source, source.look(memory)
        except UnknownTag:
            if tag == tags[-1]:
                raise
    raise AssertionError("there is always a tag to try")


def _differs(store: Store, model: StoredModel, source: Source, offer: Offer) -> bool:
    """Whether a pull would bring other content. The names of files and commits aren't content."""
    if offer.revision == model.manifest.annotations.get(REVISION):
        return False
    held = [layer for layer in model.manifest.layers if layer.media_type in WEIGHTS]
    digests = Counter(layer.digest for layer in held)
    by_git: dict[str, Digest] = {}
    if any(each.digest is None for each in offer.files):
        small = (layer.digest for layer in held if layer.size <= _LARGEST_READ)
        by_git = {git_hash(store.blobs.path(digest).read_bytes()): digest for digest in small}
    if digests != Counter(each.digest or by_git.get(each.git_hash) for each in offer.files):
        return True
    texts = [(each.kind, _read(source, each.file)) for each in offer.texts]
    told, config = with_texts(Recipe(files=()), texts), model.config
    if (told.template, told.system, told.messages, told.licenses) != (
        model.template,
        model.system,
        model.messages,
        model.licenses,
    ):
        return True
    # A model may have more parameters than its source: not all of them come from there.
    if any(model.parameters.get(name) != value for name, value in told.parameters.items()):
        return True
    engine = (told.renderer, told.parser, told.requires)
    return any(kind == "config" for kind, _ in texts) and engine != (config.renderer, config.parser, config.requires)


def _read(source: Source, file: RemoteFile) -> bytes:
    if file.size > _LONGEST_TEXT:
        raise Unreachable(f"{file.path} has {file.size} bytes, too many for a text")
    found = bytearray()
    with source.open_at(file)(0, None) as incoming, in_time(incoming, SOON, file.path):
        for chunk in incoming.chunks:
            found += chunk
            if len(found) > file.size:
                break
    if len(found) != file.size:
        raise Unreachable(f"{file.path}: the source sends {len(found)} bytes instead of {file.size}")
    return bytes(found)
