"""Model names: `[host/][namespace/]model[:tag]`, parsed, printed and made safe as file paths.

Registries of containers have names of more parts and of fewer: their namespace may hold slashes, or be empty.

Knows no catalog and no store: whether a name exists is someone else's question.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from registry.errors import BadName

DEFAULT_HOST = "runner.local"
DEFAULT_NAMESPACE = "library"
DEFAULT_TAG = "latest"
HUGGING_FACE = "hf.co"
OLLAMA = "ollama.com"
DOCKER = "docker.io"

# 128 is what OCI allows a tag; Hugging Face's repositories stay below 97, Ollama's parts below 81.
_PART_LIMIT = 128
_HOST_LIMIT = 253
_PART = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_-])?")
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[0-9]{1,5})?")
# Windows opens a device for these, whatever the extension; a store must survive being carried there.
_DEVICE = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE)
_HOST_ALIASES = {
    "huggingface.co": HUGGING_FACE,
    "www.huggingface.co": HUGGING_FACE,
    "registry.ollama.ai": OLLAMA,
    "index.docker.io": DOCKER,
    "registry-1.docker.io": DOCKER,
}
# Where people leave the namespace out. None: it has to be there.
_NAMESPACES = {DEFAULT_HOST: DEFAULT_NAMESPACE, HUGGING_FACE: None, OLLAMA: DEFAULT_NAMESPACE, DOCKER: "ai"}
_SLASH, _EMPTY = "%2F", "-"  # no part of a name holds the one or is the other
_DEPTH = 8


@dataclass(frozen=True, slots=True)
class Name:
    """A full model name. Parts keep their case; two names with the same `key` are the same model."""

    host: str
    namespace: str
    model: str
    tag: str

    @classmethod
    def parse(cls, text: str) -> Name:
        """Read a name as people type it; raises BadName naming the part that is wrong.

        Missing parts take the defaults. A URL of a Hugging Face repository is accepted as its name.
        """
        rest = _without_scheme(text)
        if "@" in rest:
            raise BadName(f"invalid model name {_shown(text)}: a name carries no digest (no '@')")
        path, tag = _split_tag(rest)
        parts = path.split("/")
        if len(parts) > 2 or (len(parts) == 2 and _looks_like_host(parts[0])):
            host, *parts = parts
        else:
            host = DEFAULT_HOST
        host = _checked_host(_HOST_ALIASES.get(host.lower(), host.lower()), text)
        *namespaces, model = parts
        default = _NAMESPACES.get(host, "")
        if not namespaces and default is None:
            raise BadName(
                f"invalid model name {_shown(text)}: {host!r} is a host, so a namespace must follow: "
                f"{host}/namespace/{model}"
            )
        if len(namespaces) > (1 if host in _NAMESPACES else _DEPTH):
            raise BadName(f"invalid model name {_shown(text)}: at most host/namespace/model, then :tag")
        return cls(
            host,
            "/".join(_checked("namespace", each, text) for each in namespaces) or default or "",
            _checked("model", model, text),
            _checked("tag", tag if tag is not None else DEFAULT_TAG, text),
        )

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What makes two names equal: case doesn't count."""
        return (self.host.lower(), self.namespace.lower(), self.model.lower(), self.tag.lower())

    @property
    def parts(self) -> tuple[str, str, str, str]:
        """The folders and file of this name's manifest; safe on every file system (a colon is not)."""
        return (self.host.replace(":", "%3A"), self.namespace.replace("/", _SLASH) or _EMPTY, self.model, self.tag)

    @classmethod
    def from_parts(cls, host: str, namespace: str, model: str, tag: str) -> Name:
        """The inverse of `parts`; raises BadName for anything that `parse` would not have made."""
        shown = "/".join((host, namespace, model, tag))
        checked_host = _checked_host(host.replace("%3A", ":"), shown)
        namespaces = [] if namespace == _EMPTY else namespace.split(_SLASH)
        if len(namespaces) > _DEPTH or (len(namespaces) != 1 and checked_host in _NAMESPACES):
            raise BadName(f"invalid model name {_shown(shown)}: {namespace[:100]!r} is no namespace there")
        return cls(
            checked_host,
            "/".join(_checked("namespace", each, shown) for each in namespaces),
            _checked("model", model, shown),
            _checked("tag", tag, shown),
        )

    @property
    def repository(self) -> str:
        """`namespace/model`, as remote hosts call it."""
        return f"{self.namespace}/{self.model}" if self.namespace else self.model

    @property
    def short(self) -> str:
        """The name without its tag, in its shortest form."""
        # A dot in a two-part name reads as a host, so such names are printed whole.
        if self.host != DEFAULT_HOST or _looks_like_host(self.namespace):
            return f"{self.host}/{self.repository}"
        return self.model if self.namespace == DEFAULT_NAMESPACE else f"{self.namespace}/{self.model}"

    def __str__(self) -> str:
        return f"{self.short}:{self.tag}"


def _without_scheme(text: str) -> str:
    if not text:
        raise BadName("invalid model name: it is empty")
    if len(text) > _HOST_LIMIT + 3 * _PART_LIMIT + 16:
        raise BadName(f"invalid model name {_shown(text)}: it is too long ({len(text)} characters)")
    scheme, mark, rest = text.partition("://")
    if not mark:
        return text
    if scheme.lower() not in ("https", "hf"):
        raise BadName(f"invalid model name {_shown(text)}: {scheme[:16]}:// isn't a source that Runner knows")
    rest = rest.rstrip("/")
    if scheme.lower() == "hf":
        return f"{HUGGING_FACE}/{rest}"
    if _HOST_ALIASES.get(rest.partition("/")[0].lower(), rest.partition("/")[0].lower()) != HUGGING_FACE:
        raise BadName(f"invalid model name {_shown(text)}: leave out https://, a name begins with its host")
    return rest


def _split_tag(text: str) -> tuple[str, str | None]:
    folder, slash, last = text.rpartition("/")
    model, colon, tag = last.partition(":")
    return f"{folder}{slash}{model}", tag if colon else None


def _looks_like_host(part: str) -> bool:
    return "." in part or ":" in part or part.lower() == "localhost"


def _checked(kind: str, part: str, text: str) -> str:
    if not part:
        raise BadName(f"invalid model name {_shown(text)}: the {kind} is empty")
    if len(part) > _PART_LIMIT:
        raise BadName(f"invalid model name {_shown(text)}: the {kind} has more than {_PART_LIMIT} characters")
    if not _PART.fullmatch(part):
        raise BadName(
            f"invalid model name {_shown(text)}: the {kind} {part[:100]!r} may hold letters, digits, '_', '-' "
            "and '.', beginning with a letter, digit or '_' and not ending with '.'"
        )
    if _DEVICE.fullmatch(part):
        raise BadName(f"invalid model name {_shown(text)}: {part!r} is reserved on Windows")
    return part


def _checked_host(host: str, text: str) -> str:
    if len(host) > _HOST_LIMIT or not _HOST.fullmatch(host) or ".." in host or _DEVICE.fullmatch(host):
        raise BadName(f"invalid model name {_shown(text)}: {host[:100]!r} isn't a host name")
    return host


def _shown(text: str) -> str:
    return repr(text if len(text) <= 120 else f"{text[:120]}…")
