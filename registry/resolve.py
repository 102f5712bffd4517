"""From what a person types to a place: which name a model will have, and where its files are. Asks no network.

A place is one of a few values, one for each kind of source; who can fetch from it, `origins` knows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote, urlsplit

from modelfiles import catalog
from modelfiles.parameters import Value
from registry.digests import Digest
from registry.errors import BadName, BadSource, NotFound
from registry.names import DEFAULT_HOST, DEFAULT_NAMESPACE, DOCKER, HUGGING_FACE, OLLAMA, Name


@dataclass(frozen=True, slots=True)
class HubPlace:
    """A repository of Hugging Face and the tag wanted of it: a quantization, a file's name, or `latest`."""

    repository: str
    tag: str


@dataclass(frozen=True, slots=True)
class OciPlace:
    """A repository of a container registry and its tag; with `digest`, the manifest that it must be."""

    host: str
    repository: str
    tag: str
    digest: Digest | None = None


@dataclass(frozen=True, slots=True)
class OllamaPlace:
    """A repository of a registry that speaks as Ollama's does: Ollama's own, or Hugging Face's /v2."""

    host: str
    repository: str
    tag: str


@dataclass(frozen=True, slots=True)
class UrlPlace:
    """One GGUF by its URL, the first shard standing for all; `digest` if the person gave it as `#sha256=…`."""

    url: str
    digest: Digest | None = None


Place = HubPlace | OciPlace | OllamaPlace | UrlPlace


@dataclass(frozen=True, slots=True)
class Reference:
    """`text` leads to the same place again. `name` is what the model is called unless somebody says otherwise.

    `sampling` holds parameters that the catalog recommends where nobody else does.
    """

    text: str
    name: Name
    place: Place
    sampling: tuple[tuple[str, Value], ...] = ()


@dataclass(frozen=True, slots=True)
class Pin:
    """A revision that a model was at: the commit or manifest digest of its source, and its files' digests by title.

    The first title is a file of the model's weights. `model` is the digest of the manifest that Runner made of it.
    """

    revision: str
    digests: tuple[tuple[str, Digest], ...] = ()
    model: Digest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A pull as somebody asks for it.

    `reference` is a name or URL as typed, `name` what to call the model instead of what the reference says. With
    `pin`, exactly what stood there then. `insecure` allows plain HTTP beyond loopback, and certificates that nobody
    signed; `rate` is bytes a second at most, 0 for no limit.
    """

    reference: str
    name: str | None = None
    pin: Pin | None = None
    insecure: bool = False
    rate: int = field(default=0, compare=False)


Form = Literal["docker", "cncf"]
"""How a model lies in a container registry: as Docker Model Runner has it, or by CNCF's ModelPack."""
Forms = Form | Literal["both"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """A push as somebody asks for it: a `model` of the store, and what to call it in a container registry.

    Without a `target` it is the model's own name. `insecure` is as for a pull.
    """

    model: str
    target: str | None = None
    form: Forms = "docker"
    insecure: bool = False


def called(host: str) -> str:
    """A registry's host as people say it: `docker.io`, where its endpoint is another."""
    return next((name for name, endpoint in _ENDPOINTS.items() if endpoint == host), host)


def refer(text: str) -> Reference:
    """Read what a person types after `pull`: a catalog name, a name with its host, or a URL.

    Schemes: hf:// ollama:// oci:// docker:// and https:// (http://) for a GGUF. Raises BadName, BadDigest, BadSource,
    or NotFound with near names for a short name that the catalog doesn't have.
    """
    scheme, mark, rest = text.partition("://")
    scheme = scheme.lower() if mark else ""
    if scheme in ("http", "https") and not _is_hub(rest):
        return _of_url(text)
    if scheme in ("http", "https"):
        return _of_hub_url(text)
    if scheme == "ollama":
        return _of_ollama(text, rest)
    if scheme in ("oci", "docker"):
        return _of_registry(text, rest if _has_host(rest) else f"{DOCKER}/{rest}")
    named, at, _ = text.partition("@")
    name = Name.parse(named if at else text)
    if name.host not in (DEFAULT_HOST, HUGGING_FACE, OLLAMA):
        return _of_registry(text, text)
    if at:
        raise BadSource(f"{text[:200]}: only a container registry's name may carry a digest (with '@')")
    if name.host == OLLAMA:
        return Reference(str(name), name, OllamaPlace(_ENDPOINTS[OLLAMA], name.repository, name.tag))
    if name.host == HUGGING_FACE:
        return Reference(str(name), name, HubPlace(name.repository, name.tag))
    return _of_catalog(name)


_ENDPOINTS: Mapping[str, str] = {
    OLLAMA: "registry.ollama.ai",
    DOCKER: "registry-1.docker.io",
    HUGGING_FACE: "huggingface.co",
}
"""Hosts that answer under another name than people call them by."""
_HUB_HOSTS = ("hf.co", "huggingface.co", "www.huggingface.co")
_HUB_FILE = re.compile(
    r"/(?P<repository>[^/]+/[^/]+)/(?:resolve|blob)/(?P<revision>[^/]+)/(?P<path>.+\.gguf)", re.IGNORECASE
)
_SHARD = re.compile(r"-[0-9]{5}-of-[0-9]{5}$")
_OTHER = re.compile(r"[^A-Za-z0-9_.-]+")


def _is_hub(rest: str) -> bool:
    return re.split(r"[/?#]", rest, maxsplit=1)[0].lower() in _HUB_HOSTS


def _has_host(rest: str) -> bool:
    first, slash, _ = rest.partition("/")
    return bool(slash) and ("." in first or ":" in first or first.lower() == "localhost")


def _of_catalog(name: Name) -> Reference:
    """Where a short name leads, and how the authors would have the model sampled."""
    if name.namespace != DEFAULT_NAMESPACE:
        raise NotFound(str(name), hint=f"For a repository of Hugging Face, say hf.co/{name}.")
    listed = catalog.find(name.model, name.tag)
    if listed is None:
        raise NotFound(str(name), _near(name))
    return Reference(str(name), name, HubPlace(listed.repo, listed.quantization), listed.sampling)


def _of_hub_url(text: str) -> Reference:
    """A repository's page, or the address of one of its files."""
    found = _HUB_FILE.fullmatch(urlsplit(text).path)
    if found is None:
        name = Name.parse(text)
    else:
        if found[2] != "main":
            raise BadSource(f"{text[:200]}: pulls follow the branch main; leave the revision to `runner lock`")
        file = unquote(found[3]).rpartition("/")[2]
        name = Name.parse(f"{HUGGING_FACE}/{found[1]}:{_word(file)}")
    return Reference(str(name), name, HubPlace(name.repository, name.tag))


def _of_ollama(text: str, rest: str) -> Reference:
    name = Name.parse(rest if _has_host(rest) else f"{OLLAMA}/{rest}")
    return Reference(text, name, OllamaPlace(_ENDPOINTS.get(name.host, name.host), name.repository, name.tag))


def _of_registry(text: str, rest: str) -> Reference:
    named, at, digest = rest.partition("@")
    name = Name.parse(named)
    wanted = Digest.parse(digest) if at else None
    # Registries of containers know lower case only.
    place = OciPlace(_ENDPOINTS.get(name.host, name.host), name.repository.lower(), name.tag, wanted)
    return Reference(text, name, place)


def _of_url(text: str) -> Reference:
    """A GGUF somewhere on the web; it is called as its address is, without the scheme and what follows a '?'."""
    try:
        parts = urlsplit(text)
        host = (parts.hostname or "") + (f":{parts.port}" if parts.port else "")
    except ValueError as error:
        raise BadSource(f"{text[:200]}: not a URL ({error})") from error
    if parts.username or parts.password:
        raise BadSource("a URL must not carry a user or a password: it would stand in the model's manifest")
    folders = [unquote(each) for each in parts.path.split("/") if each]
    if not host or not folders:
        raise BadSource(f"{text[:200]}: a URL must lead to a .gguf file: https://host/path/to/model.gguf")
    file = folders.pop()
    if not file.lower().endswith(".gguf"):
        plain = text.partition("://")[2][:200]
        raise BadSource(f"{text[:200]}: a URL must lead to a .gguf file; is the name {plain} meant, without a scheme?")
    digest = None
    if parts.fragment:
        key, _, given = parts.fragment.partition("=")
        if key != "sha256":
            raise BadSource(f"{text[:200]}: only #sha256=… may follow")
        digest = Digest.parse(f"sha256:{given}")
    model = _word(_SHARD.sub("", file[: -len(".gguf")]))
    try:
        name = Name.parse("/".join([host, *map(_word, folders[-8:]), model]))
    except BadName as error:
        raise BadSource(f"{text[:200]} makes no model name ({error}); give one with --name") from error
    return Reference(text, name, UrlPlace(parts._replace(fragment="").geturl(), digest))


def _word(text: str) -> str:
    """A text made fit to be part of a name."""
    return _OTHER.sub("-", text).strip(".-")[:128] or "model"


def _near(name: Name) -> tuple[str, ...]:
    entry = catalog.find_entry(name.model)
    if entry is not None:  # the model is known, this tag isn't
        known = [f"{entry.name}:{each.tag}" for each in entry.tags]
        return catalog.near(str(name), known) or tuple(known[:3])
    return catalog.near(name.model, [each.name for each in catalog.entries()])
