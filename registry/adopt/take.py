"""Adopting one model: its files shared, linked or referred to, hashed, and made a model under its name.

Whose files they are and where they lie was found before; nothing of them is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext

from modelfiles.sizes import human_bytes
from registry.adopt.files import read_small
from registry.adopt.found import YOURS, Found, FoundFile, FoundText
from registry.assemble import Part, Recipe, assemble, sort_out
from registry.digests import Digest, digest_of
from registry.errors import BadSource, Corrupt, HashMismatch, NotFound
from registry.gguf.reader import read_header
from registry.manifest import BASE, RECIPE, REFERENCE, REVISION, SOURCE, WEIGHTS, Manifest
from registry.names import Name
from registry.progress import Cancel, Progress, Report, is_news, never, unheard
from registry.store import NOTHING, Filed, Lease, Store, not_replaced
from registry.stored import StoredModel
from registry.texts import with_texts


def adopt(store: Store, found: Found, progress: Report = unheard, cancelled: Cancel = never) -> StoredModel:
    """Make a model of another tool's files where they are. Costs the time to hash them, and a glance if they are known.

    A model of the same name and files is left as it is, or made whole; one of other files, or one that nobody can tell
    the files of, is never replaced, be it broken or made while this was hashing. Raises BadSource, BadGGUF,
    UnsupportedModel, HashMismatch, Cancelled or a StorageFault; then the store is as it was.
    """
    progress(Progress(f"adopting {found.name}{_of(found)}"))
    there = _there(store, found)
    if there is not None and not (there.manifest and _may_be(there.manifest, found)):
        raise BadSource(not_replaced(found.name))
    headers = [read_header(each.path) for each in found.files]
    # What can't be run is said now: hashing takes minutes.
    sort_out(headers, [each.title for each in found.files])
    with store.lease() as lease, _taking_back(store, lease):
        parts = {each: _take(store, lease, each, found, progress, cancelled) for each in found.all_files}
        # Minutes may have passed, so look again; what comes in between still, `publish` sees.
        there = _there(store, found)
        if there is not None and _weights(there.manifest) != {each.digest for each in parts.values()}:
            raise BadSource(not_replaced(found.name))
        model = _whole(store, found) or assemble(
            store, lease, found.name, _recipe(found, parts), progress, expected=NOTHING
        )
    progress(Progress(_told(store, found, model)))
    return model


def here_as(models: Iterable[StoredModel], found: Found) -> Name | None:
    """The name that the model has among the store's, as far as can be told without hashing; None if it isn't there.

    Under another name it is told by digests, and only where that model was brought as it is: what somebody made of the
    same weights is another one.
    """
    models = tuple(models)
    for each in models:
        if each.name.key == found.name.key and _may_be(each.manifest, found):
            return each.name
    claimed = {each.digest for each in found.all_files}
    for each in models:
        if _weights(each.manifest) == claimed and not {RECIPE, BASE} & each.manifest.annotations.keys():
            return each.name
    return None


def _whole(store: Store, found: Found) -> StoredModel | None:
    try:
        return store.show(found.name)
    except (NotFound, Corrupt):
        return None


def _there(store: Store, found: Found) -> Filed | None:
    """The manifest that has the name now, whole or not: a broken model is somebody's too."""
    return next((each for each in store.manifests() if each.name.key == found.name.key), None)


def _may_be(manifest: Manifest, found: Found) -> bool:
    """Whether a model may consist of these files: by digests where all are known, else by their lengths."""
    claimed = {each.digest for each in found.all_files}
    if None not in claimed:
        return _weights(manifest) == claimed
    sizes = sorted(layer.size for layer in manifest.layers if layer.media_type in WEIGHTS)
    return sizes == sorted(each.size for each in found.all_files)


def _weights(manifest: Manifest | None) -> set[Digest]:
    return {layer.digest for layer in manifest.layers if layer.media_type in WEIGHTS} if manifest else set()


def _of(found: Found) -> str:
    return "" if found.owner == YOURS else f" of {found.owner}"


@contextmanager
def _taking_back(store: Store, lease: Lease) -> Iterator[None]:
    """Take back what was brought in, if the block fails."""
    try:
        yield
    except BaseException:
        brought = lease.held
        lease.release()
        store.discard(brought)
        raise


def _take(store: Store, lease: Lease, file: FoundFile, found: Found, progress: Report, cancelled: Cancel) -> Part:
    """A file's blob, whose bytes have been hashed when this returns."""
    tell = _teller(progress, f"hashing {file.title} of {found.name}", file.size)
    tell(0)
    if file.digest is not None:
        lease.hold(file.digest)
    with store.blobs.exclusive(file.digest, cancelled) if file.digest else nullcontext():
        try:
            digest = store.blobs.adopt(
                file.path,
                file.digest,
                progress=tell,
                cancelled=cancelled,
                hold=lease.hold,
                owner=found.owner,
            )
        except HashMismatch as error:
            raise BadSource(
                f"{found.name}: {file.path} has other bytes than {found.owner} says: their digest is "
                f"{error.actual}, and not {error.expected}; have {found.owner} fetch it again"
            ) from error
    tell(file.size)
    return Part(digest, file.title)


def _teller(progress: Report, status: str, size: int) -> Callable[[int], None]:
    """Tells how far a file is: no more often than anyone could watch."""
    told = -1

    def tell(done: int) -> None:
        nonlocal told
        done = min(done, size)
        if is_news(told, done, size):
            told = done
            progress(Progress(status, None, size, done))

    return tell


def _recipe(found: Found, parts: Mapping[FoundFile, Part]) -> Recipe:
    notes = {SOURCE: found.origin, REVISION: found.revision, REFERENCE: found.reference}
    recipe = Recipe(
        files=tuple(parts[each] for each in found.files),
        adapters=tuple(parts[each] for each in found.adapters),
        draft=tuple(parts[each] for each in found.draft),
        quantization=found.quantization,
        created=found.created,
        annotations=notes if found.reference else {},
        renderer=found.renderer,
        parser=found.parser,
        requires=found.requires,
    )
    return with_texts(recipe, [(each.kind, _read(each, found)) for each in found.texts])


def _read(text: FoundText, found: Found) -> bytes:
    data = read_small(text.file.path)
    if text.file.digest is not None and digest_of(data) != text.file.digest:
        raise BadSource(f"{found.name}: {text.file.path} has other bytes than {found.owner} says")
    return data


def _told(store: Store, found: Found, model: StoredModel) -> str:
    """How the model's files came in, for whoever asked."""
    referred = [each.digest for each in model.manifest.layers if store.blobs.references.get(each.digest) is not None]
    if not referred:
        return f"adopted {model.name}"
    where = "they are" if found.owner == YOURS else f"{found.owner} has them"
    size = human_bytes(sum(map(store.blobs.size, referred)))
    return f"adopted {model.name}: {size} stay where {where}, and are needed there"
