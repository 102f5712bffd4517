"""The store for callers on the event loop: each call runs on a thread, names are parsed, errors stay the registry's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from registry.collect import Pruned
from registry.digests import Digest
from registry.errors import BadBlob, BadName, Corrupt, NotFound
from registry.gguf.reader import Header, read_header
from registry.ingest import Ingest
from registry.manifest import SOURCE
from registry.names import HUGGING_FACE, Name
from registry.store import DEFAULT_GRACE, Store
from registry.stored import BrokenModel, StoredModel
from runner.inference.adapters import AdapterFinder, Worn, described, own
from runner.inference.aliases import Aliases
from runner.inference.prefixes import PrefixFolders
from runner.protocol.commands import Adapters

T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Removed:
    """What removing a model gave: bytes that the disk has back, and bytes of files that other programs still hold by
    names of their own. `from_hub` says that the model came from Hugging Face, whose cache such a file is in."""

    freed: int
    shared: int
    from_hub: bool


class Models:
    """What may be done with stored models. `unload` is told the name of a model that is about to go, and what was
    computed of prompts for it goes from `prefixes`. Where a model is only looked at, `aliases` lead to it as well."""

    def __init__(
        self,
        store: Store,
        threads: Executor,
        unload: Callable[[str], Awaitable[bool]],
        prefixes: PrefixFolders | None = None,
        aliases: Aliases | None = None,
    ) -> None:
        self._store = store
        self._threads = threads
        self._unload = unload
        self._prefixes = prefixes
        self._aliases = aliases or Aliases()
        self._adapters = AdapterFinder(lambda name: self._aliases.find(store, name))

    async def list(self) -> tuple[StoredModel, ...]:
        """Every whole model, the one changed last first."""
        return await self._in_thread(self._store.list)

    async def broken(self) -> tuple[BrokenModel, ...]:
        """Every name that is there and can't be used, with the reason."""
        return await self._in_thread(self._store.broken)

    async def show(self, name: str) -> StoredModel:
        """One model. Raises BadName, NotFound with near names, Corrupt."""
        return await self._in_thread(self._aliases.find, self._store, name)

    async def asked(self, name: str) -> StoredModel:
        """The model that a request of this name is computed with: as `show`, or of `model:adapter` the model."""
        return await self._in_thread(self._asked, name)

    async def worn(self, name: str) -> tuple[StoredModel, tuple[Worn, ...]]:
        """The same with the adapters that the request would have: the model's own, or those in `model:adapter`."""
        return await self._in_thread(self._worn, name)

    async def aliases(self) -> tuple[tuple[str, StoredModel], ...]:
        """Names that stand for a model, patterns apart, each with that model."""
        return await self._in_thread(self._aliases.listed, self._store)

    async def header(self, name: str) -> Header:
        """The header of a model's first file. Raises as `show` does, and BadGGUF."""
        model = await self.show(name)
        return await self._in_thread(read_header, model.weights[0])

    async def projector(self, name: str) -> Header | None:
        """The header of a model's projector, if it has one. Raises as `header` does."""
        model = await self.show(name)
        return await self._in_thread(read_header, model.projector) if model.projector else None

    async def copy(self, source: str, target: str) -> bool:
        """Give a model a second name; True if another model had it, and has it no more. Raises as `show` does."""
        return await self._in_thread(self._copy, Name.parse(source), Name.parse(target))

    async def remove(self, name: str) -> Removed:
        """Unload a model if it is loaded, and remove its name. Raises BadName, NotFound."""
        wanted = Name.parse(name)
        await self._unload(name)
        removed = await self._in_thread(self._remove, wanted)
        await self._in_thread(self._sweep)
        return removed

    async def prune(self, grace: float | None = None, dry_run: bool = False) -> Pruned:
        """Remove blobs that no model needs, and prefixes of models that are gone.

        What is younger than `grace` seconds stays, an hour by default. With `dry_run` all stays.
        """
        freed = await self._in_thread(self._store.prune, DEFAULT_GRACE if grace is None else grace, dry_run)
        if not dry_run:
            await self._in_thread(self._sweep)
        return freed

    async def let_go(self, name: str) -> bool:
        """Unload a model whose files turned out to be bad: its worker has the old ones mapped, even once they are back.

        False if it isn't loaded.
        """
        return await self._unload(name)

    async def has_blob(self, digest: Digest | str) -> bool:
        """Whether the store has this content, for a create that is to follow: it is kept for that. Raises BadDigest."""
        return await self._in_thread(self._awaits, _parsed(digest))

    async def write_blob(self, digest: Digest | str, chunks: AsyncIterator[bytes]) -> bool:
        """Take in content that must have this digest; True if it is new, False if it was there and is sound.

        Raises BadDigest, HashMismatch or a StorageFault, and whatever the chunks raise; then nothing is kept.
        """
        expected = _parsed(digest)
        blobs = self._store.blobs
        if await self._in_thread(self._awaits, expected):
            try:
                await self._in_thread(blobs.ensure_intact, expected)
            except BadBlob as error:
                log.warning("%s; taking it in anew", error)
            else:
                return False
        self._store.expect(expected)
        ingest: Ingest = await self._in_thread(blobs.begin)
        try:
            async for chunk in chunks:
                await self._in_thread(ingest.write, chunk)
            await self._in_thread(blobs.commit, ingest, expected)
        except BaseException:
            ingest.abandon()
            raise
        return True

    def _asked(self, name: str) -> StoredModel:
        return self._meant(name)[0]

    def _worn(self, name: str) -> tuple[StoredModel, tuple[Worn, ...]]:
        model, adapters = self._meant(name)
        if not adapters:
            return model, ()
        paths = tuple(Path(each.path) for each in adapters)
        model = model if frozenset(paths) == frozenset(model.adapters) else replace(model, adapters=paths)
        return model, described(adapters, self._store.list())

    def _meant(self, name: str) -> tuple[StoredModel, Adapters]:
        try:
            model = self._aliases.find(self._store, name)
        except (BadName, NotFound):
            if (split := self._adapters.split(name)) is None:
                raise
            return split
        return model, own(model)

    def _awaits(self, digest: Digest) -> bool:
        if not self._store.blobs.has(digest):
            return False
        self._store.expect(digest)
        return self._store.blobs.has(digest)  # a prune may have been quicker

    def _copy(self, source: Name, target: Name) -> bool:
        try:
            before = self._store.show(target).digest
        except NotFound:
            before = None
        except Corrupt:
            self._store.copy(source, target)
            return True
        return self._store.copy(source, target).digest != before and before is not None

    def _remove(self, name: Name) -> Removed:
        origin = ""
        with suppress(Corrupt, NotFound):
            origin = self._store.show(name).manifest.annotations.get(SOURCE, "")
        gone = self._store.remove(name)
        return Removed(gone.bytes, gone.shared, origin.startswith(f"https://{HUGGING_FACE}/"))

    def _sweep(self) -> None:
        if self._prefixes is not None:
            self._prefixes.sweep(self._store.list())

    async def _in_thread(self, function: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *args)


def _parsed(digest: Digest | str) -> Digest:
    return Digest.parse(digest) if isinstance(digest, str) else digest
