"""Pull: a name's files from their source into the store, verified, and made a model.

A file comes from the store if it is there, else from the cache of its source, else over the network; it takes its
space once. Knows neither HTTP nor file names: those are the source's.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial

from modelfiles.sizes import human_bytes
from registry import embedded
from registry.assemble import Part, Recipe, assemble
from registry.errors import (
    BadGGUF,
    BadManifest,
    BadSource,
    Unreachable,
    UnsupportedModel,
)
from registry.fetch import Fetch
from registry.manifest import REFERENCE, REVISION, SOURCE
from registry.names import Name
from registry.offers import find_offer, meant
from registry.origins import Reach
from registry.pins import check_manifest
from registry.progress import Cancel, Progress, Report, never, unheard
from registry.resolve import Pin, Reference, Wanted
from registry.sources.source import Nearby, Offer
from registry.store import Lease, Store
from registry.stored import StoredModel
from registry.texts import with_texts
from registry.transfer.download import WAITS, Manner
from registry.transfer.http import Http
from registry.transfer.pace import Pace

_MOST_TOGETHER = 8  # connections for one file: each has a little on its way that a crash costs


@dataclass(frozen=True, slots=True, kw_only=True)
class PullSettings:
    """How to pull. `memory` is bytes that a model may have when a name leaves the choice to us.

    `waits` are seconds between tries while the network is down, `connections` as many as one host is asked for at once.
    `rate` is bytes a second at most, 0 for no limit; `pace` is a limit that several pulls share. `patience` is how
    many seconds a connection may bring next to nothing. `nearby` is what other tools on this machine have.
    """

    reach: Reach = field(default_factory=Reach)
    memory: int | None = None
    waits: tuple[float, ...] = WAITS
    connections: int = 8
    rate: int = 0
    nearby: Nearby | None = None
    pace: Pace | None = None
    patience: float = 30.0

    def manner(self, rate: int) -> Manner:
        """How to download under these settings, and under a `rate` of its own."""
        own = rate or self.rate
        paces = (*((self.pace,) if self.pace else ()), *((Pace(own),) if own else ()))
        # Half of what a host may be asked for at once: another pull must not wait for the whole of this one.
        connections = min(max(self.connections // 2, 1), _MOST_TOGETHER)
        return Manner(waits=self.waits, connections=connections, paces=paces, patience=self.patience)


def pull(
    store: Store,
    wanted: Wanted | str,
    *,
    progress: Report = unheard,
    cancelled: Cancel = never,
    settings: PullSettings | None = None,
    http: Http | None = None,
) -> StoredModel:
    """Fetch a model, or bring it up to date. Returns it once it is durable.

    `http` is shared with others where it is given. Raises NotFound, UnknownTag, NotAsLocked, Denied, Unreachable,
    HashMismatch, BadGGUF, UnsupportedModel, NoSpace or another StorageFault, or Cancelled. Then no model has changed;
    what has arrived of a file is kept for the next try, unless it is the reason.
    """
    wanted = Wanted(reference=wanted) if isinstance(wanted, str) else wanted
    settings = settings or PullSettings()
    if embedded.is_meant(wanted.reference):
        return embedded.ensure_demo(store, progress)
    reference = meant(store, wanted.reference)
    name = Name.parse(wanted.name) if wanted.name else reference.name
    reach = replace(settings.reach, insecure=True) if wanted.insecure else settings.reach
    progress(Progress("pulling manifest"))
    with nullcontext(http) if http else Http(timeout=reach.timeout, connections=settings.connections) as opened:
        source, offer = find_offer(store, name, reference, opened, reach, settings.memory, wanted.pin, cancelled)
        titles = ", ".join(each.title for each in offer.files)
        progress(Progress(f"found {titles} ({human_bytes(offer.size)})"))
        if offer.why:
            progress(Progress(f"chose {offer.quantization or titles} ({human_bytes(offer.size)}): {offer.why}"))
        with store.lease() as lease:
            manner = settings.manner(wanted.rate)
            state = f"{reference.text}\n{offer.revision}"
            fetch = Fetch(store, lease, source, state, progress, cancelled, manner, settings.nearby)
            return _publish(store, lease, fetch, name, reference, offer, wanted.pin, progress)


def _publish(
    store: Store,
    lease: Lease,
    fetch: Fetch,
    name: Name,
    reference: Reference,
    offer: Offer,
    pin: Pin | None,
    progress: Report,
) -> StoredModel:
    """Fetch all that a model needs, and make it one."""
    for file in offer.files:
        if file.digest is not None:
            lease.hold(file.digest)
    fetch.check_room(offer.files)
    texts = [(each.kind, fetch.small(each.file)) for each in offer.texts]
    digests = fetch.all(offer.files)
    parts = {file: Part(digests[file], file.title) for file in offer.files}
    recipe = Recipe(
        files=tuple(parts[file] for file in (*offer.weights, *offer.projectors)),
        adapters=tuple(parts[file] for file in offer.adapters),
        draft=tuple(parts[file] for file in offer.draft),
        quantization=offer.quantization,
        created=offer.created,
        sampling=dict(reference.sampling),
        renderer=offer.renderer,
        parser=offer.parser,
        requires=offer.requires,
        annotations={SOURCE: offer.origin, REVISION: offer.revision, REFERENCE: reference.text},
    )
    try:
        approve = partial(check_manifest, reference, pin=pin) if pin is not None else None
        model = assemble(store, lease, name, with_texts(recipe, texts), progress, approve)
    except (BadGGUF, UnsupportedModel, BadSource):
        # Blobs that turned out to be no model go, once nobody leases them.
        lease.release()
        store.discard([each.digest for each in parts.values()])
        raise
    except BadManifest as error:
        raise Unreachable(f"{reference.text}: what its source has makes no sense ({error})") from error
    fetch.share(offer.files)
    progress(Progress("success"))
    return model
