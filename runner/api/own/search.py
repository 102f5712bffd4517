"""/runner/search: models by words, in the catalog and among the hub's repositories."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from runner.api.body import json_response, read, to_json
from runner.api.fields import Answers, Fields
from runner.api.own.look import Fits, fits
from runner.errors import InvalidRequest
from runner.inference.discovery import Discovery

if TYPE_CHECKING:
    from registry.search import EntryFound, RepositoryFound, TagFound

MOST = 100
"""The highest limit."""
_USUAL = 20


class SearchRequest(msgspec.Struct, kw_only=True):
    """`text` is words to look for, none for the whole catalog; `limit` is for each part; `hub` false: no network."""

    text: str = ""
    limit: int | None = None
    hub: bool | None = None


class Tag(msgspec.Struct, kw_only=True):
    """One file of a model of the catalog; `latest` is what the name alone means. `size` is rough, and so is `fits`."""

    tag: str
    latest: bool
    repository: str
    quantization: str
    size: int
    stored: bool
    fits: Fits | None


class Entry(msgspec.Struct, kw_only=True):
    """A model of the catalog; `parameters` says in words how large its builds are."""

    name: str
    kind: str
    summary: str
    licence: str
    parameters: str
    context: int
    aliases: list[str]
    tags: list[Tag]


class Repository(msgspec.Struct, kw_only=True):
    """A repository of Hugging Face; `model` is what to pull it by. `supported` is null where nobody knows.

    `downloads` are those of a month; `gated` means that terms have to be accepted first; `modified` is RFC 3339.
    """

    model: str
    downloads: int
    likes: int
    gated: bool
    licence: str
    modified: str | None
    architecture: str
    supported: bool | None
    parameters: int
    context: int
    stored: bool


class Searched(msgspec.Struct, kw_only=True):
    """`note` says why the hub's part is missing, if it is."""

    catalog: list[Entry]
    hub: list[Repository]
    note: str


FIELDS: Mapping[str, Fields] = {
    "/runner/search": Fields(SearchRequest, notes={"limit": f"1 to {MOST}; {_USUAL} where nothing is said"})
}
ANSWERS: Mapping[str, Answers] = {"/runner/search": Answers(Searched)}


class Searching:
    """The endpoint that finds models."""

    def __init__(self, discovery: Discovery) -> None:
        self._discovery = discovery

    def routes(self) -> tuple[web.RouteDef, ...]:
        """Paths and handlers."""
        return (web.post("/runner/search", self.search),)

    async def search(self, request: web.Request) -> web.Response:
        """Find models by words."""
        body = await read(request, SearchRequest)
        limit = _USUAL if body.limit is None else body.limit
        if not 1 <= limit <= MOST:
            raise InvalidRequest(f"limit must be between 1 and {MOST}, not {limit}", field="limit")
        if len(body.text) > 200:
            raise InvalidRequest("text must have at most 200 characters", field="text")
        found = await self._discovery.search(body.text, limit, body.hub is not False)
        answer = Searched(
            catalog=[_entry(each) for each in found.catalog],
            hub=[_repository(each) for each in found.hub],
            note=found.note,
        )
        return json_response(to_json(answer))


def _entry(found: EntryFound) -> Entry:
    entry = found.entry
    return Entry(
        name=entry.name,
        kind=entry.kind,
        summary=entry.summary,
        licence=entry.licence,
        parameters=entry.parameters,
        context=entry.context,
        aliases=list(entry.aliases),
        tags=[_tag(each) for each in found.tags],
    )


def _tag(found: TagFound) -> Tag:
    return Tag(
        tag=found.tag,
        latest=found.latest,
        repository=found.repository,
        quantization=found.quantization,
        size=found.size,
        stored=found.stored,
        fits=fits(found.fit),
    )


def _repository(found: RepositoryFound) -> Repository:
    model = found.model
    return Repository(
        model=f"hf.co/{model.repository}",
        downloads=model.downloads,
        likes=model.likes,
        gated=model.gated,
        licence=model.licence,
        modified=model.modified.isoformat() if model.modified else None,
        architecture=model.architecture,
        supported=found.supported,
        parameters=model.parameters,
        context=model.context_length,
        stored=found.stored,
    )
