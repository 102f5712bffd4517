"""/runner/provenance and /runner/outdated: where models came from, and what their sources have now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

from registry.stored import StoredModel
from runner.api.body import json_response, to_json
from runner.api.body import read as read_body
from runner.api.fields import Answers, Fields
from runner.api.provenance import LayerInfo, Recipe, Source, layers_of, recipe_of, source_of
from runner.inference.updates import Updates

if TYPE_CHECKING:
    from registry.standing import Known, Standing


class ProvenanceRequest(msgspec.Struct, kw_only=True):
    """`models` are names and references of any kind; without them, all that is stored is told."""

    models: list[str] | None = None


class OutdatedRequest(msgspec.Struct, kw_only=True):
    """`models` are names of stored models; without them, all. `insecure` is as for a pull."""

    models: list[str] | None = None
    insecure: bool | None = None


class Made(msgspec.Struct, kw_only=True):
    """A model that is here, and what it came from or was made of."""

    digest: str
    quantization: str
    modified_at: str
    source: Source | UnsetType = UNSET
    recipe: Recipe | UnsetType = UNSET
    layers: list[LayerInfo]


class Meaning(msgspec.Struct, kw_only=True):
    """What `asked` means: the `name` that the model has here, and the `reference` that a pull would take (empty where
    there is none). `stored` is there if the model is; `problem` says why one that is there can't be used."""

    asked: str
    name: str
    reference: str
    stored: Made | UnsetType = UNSET
    problem: str


class Meanings(msgspec.Struct, kw_only=True):
    models: list[Meaning]


class FileInfo(msgspec.Struct, kw_only=True):
    """A file at its source; `digest` is empty where the source doesn't tell it."""

    title: str
    digest: str
    size: int


class Stands(msgspec.Struct, kw_only=True):
    """A model against its source. `status` is current, outdated, local (it has no source), gone (its source has it no
    more) or unreachable; `problem` tells more of the last two. `files` are those of the `latest` revision, `size` is
    the bytes of them that would have to be fetched."""

    name: str
    reference: str
    status: str
    revision: str
    latest: str
    size: int
    files: list[FileInfo]
    problem: str


class Standings(msgspec.Struct, kw_only=True):
    models: list[Stands]


FIELDS: Mapping[str, Fields] = {
    "/runner/provenance": Fields(ProvenanceRequest),
    "/runner/outdated": Fields(OutdatedRequest),
}
ANSWERS: Mapping[str, Answers] = {
    "/runner/provenance": Answers(Meanings),
    "/runner/outdated": Answers(Standings),
}


class Origins:
    """What the command line needs for lock files, updates and projects."""

    def __init__(self, updates: Updates) -> None:
        self._updates = updates

    def routes(self) -> tuple[web.RouteDef, ...]:
        """Paths and handlers."""
        return (
            web.post("/runner/provenance", self.provenance),
            web.post("/runner/outdated", self.outdated),
        )

    async def provenance(self, request: web.Request) -> web.Response:
        """What names mean and where the models came from. Asks no network."""
        body = await read_body(request, ProvenanceRequest)
        if body.models is None:
            found = [
                Meaning(asked="", name=str(each.name), reference="", stored=_made(each), problem="")
                for each in await self._updates.stored()
            ]
        else:
            found = [_meaning(each) for each in await self._updates.known(body.models)]
        return json_response(to_json(Meanings(models=found)))

    async def outdated(self, request: web.Request) -> web.Response:
        """What the sources of models have now."""
        body = await read_body(request, OutdatedRequest)
        found = await self._updates.standing(body.models, bool(body.insecure))
        return json_response(to_json(Standings(models=[_stands(each) for each in found])))


def _meaning(known: Known) -> Meaning:
    return Meaning(
        asked=known.asked,
        name=str(known.name),
        reference=known.reference,
        stored=_made(known.stored) if known.stored is not None else UNSET,
        problem=known.problem,
    )


def _made(stored: StoredModel) -> Made:
    return Made(
        digest=str(stored.digest),
        quantization=stored.config.quantization,
        modified_at=stored.modified_at.isoformat(),
        source=source_of(stored),
        recipe=recipe_of(stored),
        layers=layers_of(stored),
    )


def _stands(standing: Standing) -> Stands:
    source = source_of(standing.model)
    return Stands(
        name=str(standing.model.name),
        reference=source.reference if source else "",
        status=standing.state,
        revision=source.revision if source else "",
        latest=standing.latest,
        size=standing.size,
        files=[
            FileInfo(title=each.title, digest=str(each.digest) if each.digest else "", size=each.size)
            for each in standing.files
        ],
        problem=standing.problem,
    )
