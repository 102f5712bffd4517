"""Quantize: a model's own values made smaller on the way into the store, by a quantizer that is given.

Decides what may be quantized and whether there is room; what comes out is checked, hashed and published like any blob.
Native code never runs here: the quantizer is a process of its own, and this knows only its order and its file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

from registry.assemble import Part
from registry.digests import CHUNK, Digest
from registry.disk import storage
from registry.errors import BadGGUF, BadSource, Cancelled, NoSpace, QuantizeFailed
from registry.gguf.facts import Facts
from registry.gguf.imatrix import Imatrix, read_imatrix
from registry.gguf.quantizations import WHOLE, QuantType
from registry.gguf.reader import Header, TensorInfo, read_header
from registry.ingest import Ingest
from registry.progress import Cancel, Progress, Report
from registry.store import Lease, Store

_SLACK = 64 << 10  # bytes that a header may grow by
_TYPE_WORD = re.compile(r"[-._]?(?:BF16|F16|FP16|F32|FP32)(?=$|[-._])", re.IGNORECASE)
_SHARD_WORD = re.compile(r"-[0-9]{5}-of-[0-9]{5}$")


@dataclass(frozen=True, slots=True)
class Quantization:
    """What a create asks for: a type for the model, one for its draft model, and what was measured of the model, as a
    file or as an uploaded blob."""

    kind: QuantType | None = None
    draft: QuantType | None = None
    imatrix: Path | Digest | None = None

    def check(self) -> None:
        """Raise BadSource for what can't be had of any model, before one is looked at."""
        if self.imatrix is not None and self.kind is None:
            raise BadSource("an importance matrix (imatrix) is for quantizing; say to what with quantize")
        for kind, blind in ((self.kind, self.imatrix is None), (self.draft, True)):
            if kind is not None and kind.needs_imatrix and blind:
                raise _needs_imatrix(kind)


@dataclass(frozen=True, slots=True)
class Order:
    """What a quantizer is to do: read `source` (the first of its shards, with the others beside it) and write `target`,
    of the file type `number`, with what an importance matrix says."""

    source: Path
    target: Path
    number: int
    imatrix: Imatrix | None


Planned = Callable[[int, bool], None]
"""Told before any work how many bytes the tensors will have, and whether an importance matrix is missing."""
Watch = Callable[[], None]
"""Called every now and then while the work goes on. Where one of the two raises, the quantizer ends and raises it."""
Quantizer = Callable[[Order, Planned, Watch], None]
"""Raises QuantizeFailed with what went wrong; what it has written by then is nobody's."""


@dataclass(frozen=True, slots=True)
class Source:
    """A model's file on its way to the quantizer: a blob, or a local file that needn't become one."""

    path: Path
    title: str
    header: Header


class Mill:
    """Quantizes models of one create. Raises, wherever it does, with the store as it was but for leased blobs."""

    def __init__(self, store: Store, lease: Lease, quantizer: Quantizer, progress: Report, cancelled: Cancel) -> None:
        self._store = store
        self._lease = lease
        self._quantizer = quantizer
        self._progress = progress
        self._cancelled = cancelled

    def imatrix(self, given: Path | Digest) -> Imatrix:
        """The importance matrix that a create names. Raises BadSource."""
        if isinstance(given, Path):
            return read_imatrix(given)
        self._lease.hold(given)
        if not self._store.blobs.has(given):
            raise BadSource(f"imatrix: blob {given} isn't in the store; upload it first")
        self._store.blobs.ensure_intact(given, cancelled=self._cancelled)
        return read_imatrix(self._store.blobs.path(given), "imatrix")

    def quantized(
        self, sources: Sequence[Source], facts: Facts, kind: QuantType, imatrix: Imatrix | None
    ) -> Part | None:
        """A new blob, leased, of a model's shards in order; None if they are of that type already.

        Raises BadSource for what can't be quantized, NoSpace, QuantizeFailed or Cancelled.
        """
        if facts.quantization == kind.name:
            self._progress(Progress(f"{sources[0].title} is {kind.name} already"))
            return None
        _check_values(sources)
        if imatrix is not None:
            imatrix = _fitting(imatrix, sources)
        ingest = self._store.blobs.begin()
        try:
            with self._together(sources) as first:
                self._work(Order(first, ingest.path, kind.number, imatrix), sources, kind, facts.quantization)
            _check_result(ingest, sources)
            digest = self._hashed(ingest)
            self._lease.hold(digest)
            self._store.blobs.commit(ingest)
        except BaseException:
            ingest.abandon()
            raise
        return Part(digest, _renamed(sources[0].title, kind))

    def _work(self, order: Order, sources: Sequence[Source], kind: QuantType, was: str) -> None:
        status, total = f"quantizing {was} model to {kind.name}", 0
        headers = sum(each.header.data_offset + 32 * len(each.header.tensors) for each in sources) + _SLACK

        def planned(size: int, is_blind: bool) -> None:
            nonlocal total
            if is_blind:
                raise _needs_imatrix(kind)
            total = size + headers
            free = self._store.disk.free(order.target.parent)
            if free < total:
                raise NoSpace(order.target, total, free)

        def watch() -> None:
            if self._cancelled():
                raise Cancelled("cancelled while quantizing")
            if total:
                self._progress(Progress(status, None, total, min(_size(order.target), total)))

        self._progress(Progress(f"looking at what {kind.name} will take"))
        try:
            self._quantizer(order, planned, watch)
        except QuantizeFailed:
            missing = total - _size(order.target)
            free = self._store.disk.free(order.target.parent)
            if 0 <= free < missing:
                raise NoSpace(order.target, missing, free) from None
            raise
        self._progress(Progress(status, None, total, total))

    @contextmanager
    def _together(self, sources: Sequence[Source]) -> Iterator[Path]:
        """The first of all shards, with the others beside it under the names by which llama.cpp finds them."""
        if len(sources) == 1:
            yield sources[0].path
            return
        disk, prefix = self._store.disk, uuid4().hex
        folder = self._store.root / "ingest"
        links = [folder / f"{prefix}-{index:05}-of-{len(sources):05}.gguf" for index in range(1, len(sources) + 1)]
        try:
            with storage("putting shards side by side", folder):
                for source, link in zip(sources, links, strict=True):
                    real = source.path.resolve()
                    try:
                        disk.symlink(str(real), link)
                    except OSError:  # where only some may make them; a hard link costs the blob its stamp
                        if not disk.link(real, link):
                            raise
            yield links[0]
        finally:
            for link in links:
                with suppress(OSError):
                    disk.remove(link)

    def _hashed(self, ingest: Ingest) -> Digest:
        buffer = bytearray(CHUNK)
        view = memoryview(buffer)
        total = _size(ingest.path)
        with storage("reading what was quantized", ingest.path), open(ingest.path, "rb", buffering=0) as file:
            while got := file.readinto(buffer):
                ingest.count(view[:got])
                self._progress(Progress("hashing", None, total, min(ingest.size, total)))
                if self._cancelled():
                    raise Cancelled("cancelled while hashing")
        return ingest.digest()


def _check_values(sources: Sequence[Source]) -> None:
    """Quantizing what is quantized loses twice, so only a model's own values are taken."""
    for source in sources:
        for tensor in source.header.tensors:
            if tensor.type.block > 1:
                raise BadSource(
                    f"{source.title}: it is quantized already ({tensor.name} is {tensor.type.name}); "
                    f"only {', '.join(sorted(WHOLE))} models can be quantized"
                )


def _fitting(imatrix: Imatrix, sources: Sequence[Source]) -> Imatrix:
    """What of an importance matrix is about these tensors; raises BadSource if it is of another model."""
    shapes = {tensor.name: tensor.shape for source in sources for tensor in source.header.tensors}
    known = [each for each in imatrix.entries if each.name in shapes]
    if not known:
        raise BadSource(
            f"{imatrix.path.name}: an importance matrix of another model; none of its tensors is in this one"
        )
    fitting = []
    for each in known:
        shape = (*shapes[each.name], 1, 1)
        wanted = shape[0] * shape[2]
        if each.count == wanted:
            fitting.append(each)
        elif "token_embd" not in each.name:  # which llama.cpp passes over where it doesn't fit
            raise BadSource(
                f"{imatrix.path.name}: an importance matrix of another model; it has {each.count} values for "
                f"{each.name}, which takes {wanted}"
            )
    return replace(imatrix, entries=tuple(fitting))


def _check_result(ingest: Ingest, sources: Sequence[Source]) -> None:
    try:
        made = read_header(ingest.path)
    except BadGGUF as error:
        raise QuantizeFailed(f"the quantizer wrote no sound GGUF: {error.reason}") from error
    wanted = {tensor.name: _length(tensor) for source in sources for tensor in source.header.tensors}
    if {tensor.name: _length(tensor) for tensor in made.tensors} != wanted:
        raise QuantizeFailed("the quantizer wrote other tensors than it was given")


def _length(tensor: TensorInfo) -> tuple[int, int]:
    """Of a row, and of all of it: whether dimensions of 1 are written down is the writer's affair."""
    return (tensor.shape or (1,))[0], tensor.count


def _needs_imatrix(kind: QuantType) -> BadSource:
    return BadSource(
        f"{kind.name} needs an importance matrix (imatrix); without one the model would talk nonsense. "
        "Give one with --imatrix, or take a type with more bits"
    )


def _renamed(title: str, kind: QuantType) -> str:
    """'tiny-F16.gguf' as 'tiny-Q4_K_M.gguf': the file name that people would give."""
    stem = title[:-5] if title.lower().endswith(".gguf") else title
    return f"{_TYPE_WORD.sub('', _SHARD_WORD.sub('', stem)) or 'model'}-{kind.name}.gguf"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
