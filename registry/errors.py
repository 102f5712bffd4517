"""Everything that can go wrong between a model's name and its bytes.

    RegistryError
    ├── BadName              a model name that the grammar refuses
    ├── BadDigest            not sha256: and 64 lower-case hex digits
    ├── BadManifest          a manifest or config that can't be read
    ├── BadGGUF              no GGUF, cut short, or lying about its lengths
    │   └── Truncated        the header goes on past the bytes at hand
    ├── BadSource            a FROM, ADAPTER or file that can't be used, and why
    │   └── Unreadable       it isn't there, or not for this process to read
    ├── UnsupportedModel     well formed, but nothing this engine runs
    ├── NotFound             no such model; carries near names
    │   └── UnknownTag       the repository is there, this quantization isn't; carries what is
    ├── Corrupt              bytes that aren't what their digest says
    │   ├── BadBlob          found in the store; says which blob, and where it was put
    │   └── HashMismatch     found while taking bytes in; says where they were put aside
    ├── QuantizeFailed       the quantizer gave up, or its process died
    ├── NotAsLocked          sound, but not what a lock file says
    ├── Unreachable          the other end doesn't answer, or answers nonsense
    ├── Denied               the other end knows us not, or not enough
    ├── Locked               another process has the store
    ├── StoreTooNew          a later version of Runner wrote this store
    ├── StorageFault         the disk said no
    │   ├── NoSpace          it is full, or would be
    │   └── Unwritable       read-only, or not ours to write
    └── Cancelled            the caller changed its mind

A message says what is wrong, with which model, digest or path, and what to do next.
"""

from __future__ import annotations

from pathlib import Path

from modelfiles.sizes import human_bytes


class RegistryError(Exception):
    """Base of all errors that the registry raises on purpose."""


class BadName(RegistryError):
    """A model name outside the grammar."""


class BadDigest(RegistryError):
    """A digest outside the one accepted form."""


class BadManifest(RegistryError):
    """A manifest, config or metadata layer that can't be read."""


class BadGGUF(RegistryError):
    """A file that must not reach native code.

    `path` is the file if known, else an empty string.
    """

    def __init__(self, reason: str, path: str = "") -> None:
        self.reason = reason
        self.path = path
        super().__init__(f"{path}: {reason}" if path else reason)


class Truncated(BadGGUF):
    """The header needs bytes that the file doesn't have (or not yet, while it is being fetched)."""


class BadSource(RegistryError):
    """What a Modelfile or a caller points to can't be used."""


class Unreadable(BadSource):
    """A file that isn't there as this process sees the disk, or that it may not read; whoever asks may see more."""


class UnsupportedModel(RegistryError):
    """A sound file that the installed engine can't run; `architecture` is the one that is unknown, if that is why."""

    def __init__(self, message: str, architecture: str = "") -> None:
        self.architecture = architecture
        super().__init__(message)


class NotFound(RegistryError):
    """No such model. `near` holds names that the caller may have meant."""

    def __init__(self, name: str, near: tuple[str, ...] = (), hint: str = "") -> None:
        self.name = name
        self.near = near
        self.hint = hint
        message = f"model '{name}' not found"
        if near:
            message += f"; did you mean {', '.join(near)}?"
        if hint:
            message += f" {hint}" if near else f". {hint}"
        super().__init__(message)


class UnknownTag(NotFound):
    """The repository has no such quantization; `available` holds (tag, bytes) of each that it has.

    With `several`, it has more than one that fits, and those are `available`.
    """

    def __init__(
        self, name: str, available: tuple[tuple[str, int], ...], near: tuple[str, ...] = (), several: bool = False
    ) -> None:
        self.available = available
        listed = ", ".join(f"{tag} ({human_bytes(size)})" for tag, size in available)
        super().__init__(name, near, f"Available: {listed}" if listed else "It has no GGUF files.")
        if several:
            self.args = (f"{name}: several builds fit: {listed}; say one",)


class Corrupt(RegistryError):
    """Bytes in the store that aren't what their digest says, or aren't there at all."""


class BadBlob(Corrupt):
    """A blob that can't be what its name says. `actual` is the digest that its bytes have, if they were read;
    `quarantined` is where they lie now, None where they couldn't be moved. `stays`: the file isn't ours to move."""

    def __init__(
        self,
        path: Path,
        digest: str,
        reason: str,
        actual: str | None,
        quarantined: Path | None,
        stays: bool = False,
    ) -> None:
        self.path = path
        self.digest = digest
        self.reason = reason
        self.actual = actual
        self.quarantined = quarantined
        where = f"it was put aside in {quarantined}" if quarantined else f"it can't be moved from {path}"
        if stays:
            where = f"it stays at {path}, and isn't used any more"
        super().__init__(
            f"blob {digest} {reason}; {where}. `runner verify --repair` brings it back if it came from a source; "
            "else pull or create the model again"
        )


class HashMismatch(Corrupt):
    """Incoming bytes have another hash or length than promised; `quarantined` is where they lie now."""

    def __init__(self, expected: str, actual: str, quarantined: Path | None) -> None:
        self.expected = expected
        self.actual = actual
        self.quarantined = quarantined
        kept = f"The bytes were put aside in {quarantined}." if quarantined else "Nothing was kept."
        super().__init__(f"hash mismatch: expected {expected}, got {actual}. {kept} Try again.")


class QuantizeFailed(RegistryError):
    """The quantizer gave up, or its process died; nothing of what it wrote was kept."""


class NotAsLocked(RegistryError):
    """What was pulled, or would be, isn't what was written down of it; says what differs. Nothing was changed."""


class Unreachable(RegistryError):
    """The source can't be reached or doesn't make sense; trying again later may help.

    `after` is how many seconds it asked us to stay away, 0 if it is busy and didn't say; None for any other trouble.
    """

    def __init__(self, message: str, after: float | None = None) -> None:
        self.after = after
        super().__init__(message)


class Denied(RegistryError):
    """The source refuses us: no token, a wrong one, or terms not accepted."""


class Locked(RegistryError):
    """Another process has the store open. `pid` is 0 and the texts are empty where it left no word."""

    def __init__(self, path: Path, pid: int, host: str, since: str) -> None:
        self.path = path
        self.pid = pid
        self.host = host
        self.since = since
        holder = f"process {pid} on {host} since {since}" if pid else "another process"
        super().__init__(f"the store {path} is in use by {holder}; stop it, or use another store")


class StoreTooNew(RegistryError):
    """The store's format is of a later version; nothing in it was touched."""


class StorageFault(RegistryError):
    """The file system refused. `path` is what was being worked on."""

    def __init__(self, message: str, path: Path) -> None:
        self.path = path
        super().__init__(message)


class NoSpace(StorageFault):
    """Not enough room. `needed` and `free` are bytes, None where unknown."""

    def __init__(self, path: Path, needed: int | None = None, free: int | None = None) -> None:
        self.needed = needed
        self.free = free
        if needed is None or free is None:
            text = f"no space left on the disk of {path}"
        else:
            text = f"not enough space on the disk of {path}: {human_bytes(needed)} needed, {human_bytes(free)} free"
        super().__init__(f"{text}. Free some (runner rm, runner prune) and try again.", path)


class Unwritable(StorageFault):
    """A read-only file system, or one that isn't ours to write."""


class Cancelled(RegistryError):
    """Stopped because the caller asked; what was fetched so far is kept for the next try."""
