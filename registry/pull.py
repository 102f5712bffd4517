"""Pull: a name's files from their source into the store, verified, and made a model.

A file comes from the store if it is there, else from the cache of its source, else over the network; it takes its
space once. Knows neither HTTP nor file names: those are the source's.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

from modelfiles.errors import ParameterError
from modelfiles.parameters import Value, check
from registry import embedded
from registry.assemble import Part, Recipe, assemble
from registry.errors import (
    BadGGUF,
    BadSource,
    HashMismatch,
    UnsupportedModel,
    human_bytes,
)
from registry.fetch import Fetch
from registry.manifest import REFERENCE, REVISION, SOURCE, ModelConfig
from registry.names import Name
from registry.origins import Reach, open_source
from registry.progress import Cancel, Progress, Report, never, unheard
from registry.resolve import Pin, Reference, Wanted, refer
from registry.sources.source import Offer
from registry.store import Lease, Store
from registry.stored import StoredModel, read_messages
from registry.transfer.download import WAITS, Manner
from registry.transfer.http import Http
from registry.transfer.pace import Pace

log = logging.getLogger(__name__)

_MOST_TOGETHER = 8  # connections for one file: each has a little on its way that a crash costs


@dataclass(frozen=True, slots=True, kw_only=True)
class PullSettings:
    """How to pull. `memory` is bytes that a model may have when a name leaves the choice to us.

    `waits` are seconds between tries while the network is down, `connections` as many as one host is asked for at once.
    `rate` is bytes a second at most, 0 for no limit; `pace` is a limit that several pulls share. `patience` is how
    many seconds a connection may bring next to nothing.
    """

    reach: Reach = field(default_factory=Reach)
    memory: int | None = None
    waits: tuple[float, ...] = WAITS
    connections: int = 8
    rate: int = 0
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

    `http` is shared with others where it is given. Raises NotFound, UnknownTag, Denied, Unreachable, HashMismatch,
    BadGGUF, UnsupportedModel, NoSpace or another StorageFault, or Cancelled. Then no model has changed; what has
    arrived of a file is kept for the next try, unless it is the reason.
    """
    wanted = Wanted(reference=wanted) if isinstance(wanted, str) else wanted
    settings = settings or PullSettings()
    if _means_demo(wanted):
        return embedded.ensure_demo(store, progress)
    reference = refer(wanted.reference)
    name = Name.parse(wanted.name) if wanted.name else reference.name
    reach = replace(settings.reach, insecure=True) if wanted.insecure else settings.reach
    progress(Progress("pulling manifest"))
    with nullcontext(http) if http else Http(timeout=reach.timeout, connections=settings.connections) as opened:
        source = open_source(reference, opened, reach)
        offer = source.look(settings.memory, wanted.pin.revision if wanted.pin else None)
        if wanted.pin is not None:
            _check_pin(reference, offer, wanted.pin)
        titles = ", ".join(each.title for each in offer.files)
        progress(Progress(f"found {titles} ({human_bytes(offer.size)})"))
        with store.lease() as lease:
            fetch = Fetch(store, lease, source, offer.revision, progress, cancelled, settings.manner(wanted.rate))
            return _publish(store, lease, fetch, name, reference, offer, progress)


def _means_demo(wanted: Wanted) -> bool:
    if "://" in wanted.reference or "@" in wanted.reference:
        return False
    return Name.parse(wanted.reference).key == embedded.NAME.key


def _check_pin(reference: Reference, offer: Offer, pin: Pin) -> None:
    """Raises HashMismatch where the source has other files at a revision than when it was written down."""
    if not pin.digests:
        return
    found = {each.title: each.digest for each in offer.files}
    if found != dict(pin.digests):
        raise HashMismatch(
            f"{reference.text} as locked ({', '.join(f'{title} {digest}' for title, digest in pin.digests)})",
            ", ".join(f"{title} {digest}" for title, digest in found.items()),
            None,
        )


def _publish(
    store: Store, lease: Lease, fetch: Fetch, name: Name, reference: Reference, offer: Offer, progress: Report
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
        annotations={SOURCE: offer.origin, REVISION: offer.revision, REFERENCE: reference.text},
    )
    try:
        model = assemble(store, lease, name, _with_texts(recipe, texts), progress)
    except (BadGGUF, UnsupportedModel, BadSource):
        # Blobs that turned out to be no model go, once nobody leases them.
        lease.release()
        store.discard([each.digest for each in parts.values()])
        raise
    fetch.share(offer.files)
    progress(Progress("success"))
    return model


def _with_texts(recipe: Recipe, texts: Sequence[tuple[str, bytes]]) -> Recipe:
    """The recipe with what small files set. Raises BadManifest for one that Runner wrote itself and is wrong."""
    by_kind: dict[str, list[bytes]] = {}
    for kind, data in texts:
        by_kind.setdefault(kind, []).append(data)
    last = {kind: given[-1].decode("utf-8", "replace") for kind, given in by_kind.items()}
    recipe = replace(
        recipe,
        template=last.get("template"),
        system=last.get("system"),
        parameters=_parameters(last.get("params", "")),
        messages=read_messages(by_kind.get("messages", ())),
        licenses=tuple(data.decode("utf-8", "replace") for data in by_kind.get("license", ())),
    )
    if "config" not in by_kind:
        return recipe
    config = ModelConfig.from_json(by_kind["config"][-1])
    return replace(
        recipe,
        renderer=config.renderer,
        parser=config.parser,
        requires=config.requires,
        parent=config.parent,
        quantization=config.quantization,
        created=config.created,
    )


def _parameters(text: str) -> Mapping[str, Value]:
    """The author's parameters, as far as Runner knows them."""
    if not text:
        return {}
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        log.warning("the repository's params aren't JSON: %s", error)
        return {}
    found: dict[str, Value] = {}
    for key, value in given.items() if isinstance(given, dict) else ():
        try:
            found[key] = check(key, value)
        except ParameterError as error:
            log.warning("a parameter of the repository is left out: %s", error)
    return found
