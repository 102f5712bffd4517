"""Adopting one model: its files shared, linked or referred to, hashed, and made a model under its name.

Whose files they are and where they lie was found before; nothing of them is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext

from modelfiles.sizes import human_bytes
from registry.adopt.files import read_small
from registry.adopt.found import Found, FoundFile, FoundText
from registry.assemble import Part, Recipe, assemble, sort_out
from registry.digests import Digest, digest_of
from registry.errors import BadSource, Corrupt, HashMismatch, NotFound
from registry.gguf.reader import read_header
from registry.manifest import REFERENCE, REVISION, SOURCE, WEIGHTS
from registry.progress import Cancel, Progress, Report, never, unheard
from registry.store import Lease, Store
from registry.stored import StoredModel
from registry.texts import with_texts

_STEPS = 500
_STEP = 128 << 10


def adopt(store: Store, found: Found, progress: Report = unheard, cancelled: Cancel = never) -> StoredModel:
    """Make a model of another tool's files where they are. Costs the time to hash them, and a glance if they are known.

    A model of the same name and files is left as it is; one of other files is not replaced. Raises BadSource, BadGGUF,
    UnsupportedModel, HashMismatch, Cancelled or a StorageFault; then the store is as it was.
    """
    progress(Progress(f"adopting {found.name} of {found.owner}"))
    present = _present(store, found)
    if present is not None and not _may_be(present, found):
        raise _taken(found)
    headers = [read_header(each.path) for each in found.files]
    # What can't be run is said now: hashing takes minutes.
    sort_out(headers, [each.title for each in found.files])
    with store.lease() as lease, _taking_back(store, lease):
        parts = {each: _take(store, lease, each, found, progress, cancelled) for each in found.all_files}
        if present is not None:
            if _weights(present) != {each.digest for each in parts.values()}:
                raise _taken(found)
            model = present
        else:
            model = assemble(store, lease, found.name, _recipe(found, parts), progress)
    progress(Progress(_told(store, found, model)))
    return model


def is_here(store: Store, found: Found) -> bool:
    """Whether the store has the model under this name, as far as can be told without hashing."""
    present = _present(store, found)
    return present is not None and _may_be(present, found)


def _present(store: Store, found: Found) -> StoredModel | None:
    try:
        return store.show(found.name)
    except (NotFound, Corrupt):  # a broken one is made whole
        return None


def _may_be(model: StoredModel, found: Found) -> bool:
    """Whether a model may consist of these files: by digests where all are known, else by their lengths."""
    claimed = {each.digest for each in found.all_files}
    if None not in claimed:
        return _weights(model) == claimed
    sizes = sorted(layer.size for layer in model.manifest.layers if layer.media_type in WEIGHTS)
    return sizes == sorted(each.size for each in found.all_files)


def _weights(model: StoredModel) -> set[Digest]:
    return {layer.digest for layer in model.manifest.layers if layer.media_type in WEIGHTS}


def _taken(found: Found) -> BadSource:
    return BadSource(
        f"{found.name}: there is another model of this name already, and it isn't replaced; "
        f"remove it (runner rm {found.name}), or give it another name first (runner cp)"
    )


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
                f"{found.name}: {file.path} has other bytes than {found.owner} says ({error.actual}); "
                f"have {found.owner} fetch it again"
            ) from error
    tell(file.size)
    return Part(digest, file.title)


def _teller(progress: Report, status: str, size: int) -> Callable[[int], None]:
    """Tells how far a file is: no more often than anyone could watch."""
    told = -size

    def tell(done: int) -> None:
        nonlocal told
        done = min(done, size)
        if done == size or done - told >= max(size // _STEPS, _STEP):
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
    return (
        f"adopted {model.name}: {human_bytes(sum(map(store.blobs.size, referred)))} stay where {found.owner} has them, "
        "and are needed there"
    )
