"""From a name to a place: which repository, at which source, under which tag. Asks no network."""

from __future__ import annotations

from dataclasses import dataclass

from modelfiles import catalog
from registry.errors import BadSource, NotFound
from registry.names import DEFAULT_HOST, DEFAULT_NAMESPACE, HUGGING_FACE, Name


@dataclass(frozen=True, slots=True)
class Place:
    """A repository of Hugging Face and the tag wanted of it."""

    repository: str
    tag: str


def resolve(name: Name) -> Place:
    """Where to pull a name from: the catalog's word for short names, the name itself for hf.co/….

    Raises NotFound with near names, or BadSource for a host that can't be pulled from.
    """
    if name.host == HUGGING_FACE:
        return Place(name.repository, name.tag)
    if name.host != DEFAULT_HOST:
        raise BadSource(f"can't pull {name}: {name.host} isn't a source that Runner knows; hf.co/org/repo:QUANT is")
    if name.namespace != DEFAULT_NAMESPACE:
        raise NotFound(str(name), hint=f"For a repository of Hugging Face, say hf.co/{name}.")
    listed = catalog.find(name.model, name.tag)
    if listed is not None:
        return Place(listed.repo, listed.quantization)
    raise NotFound(str(name), _near(name))


def _near(name: Name) -> tuple[str, ...]:
    entry = catalog.find_entry(name.model)
    if entry is not None:  # the model is known, this tag isn't
        known = [f"{entry.name}:{each.tag}" for each in entry.tags]
        return catalog.near(str(name), known) or tuple(known[:3])
    return catalog.near(name.model, [each.name for each in catalog.entries()])
