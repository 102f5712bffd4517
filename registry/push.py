"""Push: a model of the store into a container registry, in the form or forms wanted, blob by blob and then by name.

Nothing has a name there before all of it is there. Knows neither HTTP nor media types: those are `oci`'s.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

from registry.digests import Digest
from registry.errors import BadName, BadSource, Cancelled, Corrupt, RegistryError
from registry.manifest import REFERENCE
from registry.names import DEFAULT_HOST, HUGGING_FACE, OLLAMA, Name
from registry.oci.client import RegistryClient
from registry.oci.sending import Blob
from registry.oci.upload import Uploader
from registry.oci.write import Artifact, write
from registry.origins import Reach
from registry.progress import Cancel, Progress, Report, is_news, never, unheard
from registry.resolve import Form, Forms, OciPlace, Publication, refer
from registry.store import Lease, Store
from registry.stored import StoredModel, require_blobs
from registry.transfer.download import WAITS
from registry.transfer.http import Http

CNCF_SUFFIX = "-cncf"
"""What the second tag of a push in both forms ends with."""

_TAG_LIMIT = 128
_PATIENCE = 120.0  # seconds
# What container registries take: lower case, and separators only between letters and digits.
_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_OTHER = re.compile(r"[^a-z0-9/]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class PushSettings:
    """How to push: `waits` are seconds between tries while nothing gets through, `connections` go at once."""

    reach: Reach = field(default_factory=Reach)
    waits: tuple[float, ...] = WAITS
    connections: int = 8


@dataclass(frozen=True, slots=True)
class Pushed:
    """What stands in the registry now: a name to pull it by, in which form, and its manifest's digest."""

    name: Name
    form: Form
    digest: Digest


def push(
    store: Store,
    wanted: Publication,
    *,
    progress: Report = unheard,
    cancelled: Cancel = never,
    settings: PushSettings | None = None,
    http: Http | None = None,
) -> tuple[Pushed, ...]:
    """Publish a model; returns what was made, the one with the name that was asked for first.

    Both forms make two tags, of which ModelPack's ends with CNCF_SUFFIX. Raises NotFound, Corrupt (a blob with other
    bytes than it had; nothing has a name then), BadName or BadSource for a target that is no place for it, Denied,
    Unreachable, HashMismatch, Cancelled or a StorageFault. Blobs may have arrived all the same: the next try skips
    them.
    """
    settings = settings or PushSettings()
    reach = replace(settings.reach, insecure=True) if wanted.insecure else settings.reach
    source, form = Name.parse(wanted.model), wanted.form
    place, name = target_of(wanted.target or str(source), source, reach, form)
    with store.lease() as lease, nullcontext(http) if http else _http(settings) as opened:
        stored = _held(store, lease, source)
        progress(Progress("retrieving manifest"))
        artifacts = [write(stored, each) for each in (("docker", "cncf") if form == "both" else (form,))]
        client = RegistryClient(
            opened.heeding(cancelled),
            place.host,
            place.repository,
            insecure=reach.insecure,
            docker_config=reach.docker_config,
            write=True,
        )
        work = _Push(store, stored, Uploader(client, settings.waits), progress, cancelled)
        work.uploader.greet(name.tag)
        work.blobs(artifacts, settings.connections, _origin(stored, place))
        made = [work.name(_tagged(name, each, form), each) for each in artifacts]
    progress(Progress("success", made[0].digest))
    return tuple(made)


def target_of(text: str, model: Name, reach: Reach, form: Forms = "docker") -> tuple[OciPlace, Name]:
    """Where a push goes, and what it is called there. Asks no network.

    Raises BadName or BadSource saying what to type for what is no place of a container registry.
    """
    if "@" in text:
        raise BadName(f"{text[:200]}: a push makes a tag, so no digest may be given (no '@')")
    scheme = text.partition("://")[0].lower() if "://" in text else ""
    if scheme not in ("", "oci", "docker"):
        raise BadSource(f"{text[:200]}: models are pushed to container registries: HOST/NAMESPACE/MODEL[:TAG]")
    if not scheme:
        _check_host(Name.parse(text), model)
    reference = refer(text)
    name, place = reference.name, reference.place
    if not isinstance(place, OciPlace):
        raise BadSource(f"{text[:200]}: models are pushed to container registries: HOST/NAMESPACE/MODEL[:TAG]")
    _check_host(name, model)
    if reach.registries and name.host not in reach.registries:
        raise BadSource(f"{text[:200]}: models may go to {', '.join(reach.registries)} only (setting `registries`)")
    if not _REPOSITORY.fullmatch(name.repository):
        fit = f"{name.host}/{_fit(name.repository)}:{name.tag}"
        raise BadName(
            f"{text[:200]}: container registries want lower case, and nothing but single '.', '_' or '-' within a "
            f"name; push it as {fit}"
        )
    if form == "both" and len(name.tag) + len(CNCF_SUFFIX) > _TAG_LIMIT:
        raise BadName(f"{text[:200]}: the tag is too long for a second one that ends with {CNCF_SUFFIX}")
    return place, name


def _check_host(name: Name, model: Name) -> None:
    shown = _fit(f"{model.model}").replace("/", "-")
    typed = f"`runner push {model} HOST/NAMESPACE/{shown}` with the host of yours, such as ghcr.io"
    if name.host == DEFAULT_HOST:
        raise BadSource(f"{name} names no container registry to push to: type {typed}")
    if name.host == HUGGING_FACE:
        raise BadSource(f"Hugging Face is no container registry; upload there with `hf upload`, or type {typed}")
    if name.host == OLLAMA:
        raise BadSource(f"Ollama's registry takes models from Ollama only; type {typed}")


def _fit(text: str) -> str:
    return "/".join(_OTHER.sub("-", part).strip("-") or "model" for part in text.lower().split("/"))


def _tagged(name: Name, artifact: Artifact, form: Forms) -> Name:
    return replace(name, tag=name.tag + CNCF_SUFFIX) if form == "both" and artifact.form == "cncf" else name


def _http(settings: PushSettings) -> Http:
    # A registry looks through all bytes of a blob before it says that it has it.
    return Http(timeout=settings.reach.timeout, patience=_PATIENCE, connections=settings.connections)


def _held(store: Store, lease: Lease, name: Name) -> StoredModel:
    """The model, with every blob of it kept from being removed meanwhile. Raises NotFound or Corrupt."""
    stored = store.show(name)
    for layer in stored.manifest.blobs:
        lease.hold(layer.digest)
    # It may have been removed before it was held.
    require_blobs(stored.manifest, store.blobs.size_if_there, store.blobs.why_missing)
    return stored


def _origin(model: StoredModel, place: OciPlace) -> str:
    """The repository of the same registry that the model was pulled from: its blobs needn't travel again."""
    try:
        pulled = refer(model.manifest.annotations.get(REFERENCE, "")).place
    except RegistryError:
        return ""
    return pulled.repository if isinstance(pulled, OciPlace) and pulled.host == place.host else ""


@dataclass(frozen=True, slots=True)
class _Push:
    """One push under way."""

    store: Store
    model: StoredModel
    uploader: Uploader
    report: Report
    cancelled: Cancel

    def blobs(self, artifacts: Sequence[Artifact], connections: int, origin: str) -> None:
        """Bring every blob there that isn't yet, several at once; raises the first error, once all have ended."""
        path = self.store.blobs.path
        wanted = {
            layer.digest: Blob(layer.digest, layer.size, path(layer.digest), origin) for layer in artifacts[0].layers
        }
        for each in artifacts:
            wanted[each.config_digest] = Blob(each.config_digest, len(each.config), each.config, origin)
        failed = threading.Event()
        stopped: Cancel = lambda: failed.is_set() or self.cancelled()  # noqa: E731  # names what follows
        errors: list[Exception] = []

        def bring(blob: Blob) -> None:
            try:
                self._bring(blob, stopped)
            except Exception as error:  # noqa: BLE001 - raised below, once no thread is at work any more
                errors.append(error)
                failed.set()  # whatever fails from here on was told to stop

        with ThreadPoolExecutor(connections, "push") as threads:
            wait([threads.submit(bring, each) for each in wanted.values()])
        if errors:
            raise errors[0]

    def name(self, name: Name, artifact: Artifact) -> Pushed:
        """Give what is there its name."""
        if self.cancelled():
            raise Cancelled("cancelled before anything got its name; what has arrived stays there for the next try")
        self.report(Progress("pushing manifest"))
        self.uploader.name(name.tag, artifact.manifest, self.cancelled)
        self.report(Progress(f"pushed {name} ({artifact.digest})"))
        return Pushed(name, artifact.form, artifact.digest)

    def _bring(self, blob: Blob, stopped: Cancel) -> None:
        status = f"pushing {blob.digest.short}"
        tell = _teller(lambda done: self.report(Progress(status, blob.digest, blob.size, done)), blob.size)
        try:
            if not self.uploader.bring(blob, tell, stopped):
                self.report(Progress(f"{blob.digest.short} is there already", blob.digest, blob.size, blob.size))
        except Corrupt as error:
            raise Corrupt(f"model '{self.model.name}': {self._trouble(blob.digest, error)}") from error

    def _trouble(self, digest: Digest, error: Corrupt) -> str:
        """What is wrong with a blob, once it is out of the way, so that the next pull or create brings it anew."""
        try:
            self.store.blobs.rehash(digest, cancelled=self.cancelled)
        except Corrupt as found:
            return f"{found} It was not pushed."
        return f"{error}. `runner verify --repair` looks at every blob and brings bad ones anew"


def _teller(tell: Callable[[int], None], size: int) -> Callable[[int], None]:
    """Tells how far a blob is: never less than before, and no more often than anyone could watch."""
    shown = -1

    def told(count: int) -> None:
        nonlocal shown
        if is_news(shown, count, size):
            shown = count
            tell(count)

    return told
