"""/runner/adopt: models that other tools on this machine have. They are listed, or adopted with progress.

Paths on the daemon's machine are named here, so only programs on that machine may ask. What a path stands for, others
find out.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path

import msgspec
from aiohttp import web

from registry.adopt.found import Found
from registry.adopt.places import KINDS
from registry.errors import BadName
from registry.names import Name
from registry.progress import Progress
from registry.sources.local import readable
from runner.api import streams
from runner.api.body import json_response, to_json
from runner.api.body import read as read_body
from runner.api.failures import Failure
from runner.api.fields import Answers, Fields
from runner.api.guard import is_from_this_machine
from runner.errors import InvalidRequest, NotAllowed
from runner.inference.adoptions import Adoptable, Adoptions, Shelf


class AdoptRequest(msgspec.Struct, kw_only=True):
    """`from` is huggingface, ollama, lmstudio, docker, or an absolute path. With `models` or `all` they are adopted,
    without both listed. With `detach` the answer doesn't wait for it; `as` is what to call the one of `models`."""

    place: str | None = msgspec.field(name="from", default=None)
    models: list[str] | None = None
    all: bool = False
    called: str | None = msgspec.field(name="as", default=None)
    detach: bool = False
    stream: bool | None = None


class AdoptableFile(msgspec.Struct, kw_only=True):
    """A file of another tool's; `digest` is what that tool calls it by."""

    title: str
    path: str
    size: int
    digest: str | None


class AdoptableModel(msgspec.Struct, kw_only=True):
    """A model by the name that it would get; `known_as` is what it is called where it is. `state` is new, adopting
    (with `completed` of `total` bytes of a file) or here, under the name `here_as`; `error` is how the last try
    ended."""

    name: str
    owner: str
    known_as: list[str]
    size: int
    files: list[AdoptableFile]
    state: str
    status: str = ""
    total: int = 0
    completed: int = 0
    error: str = ""
    here_as: str = ""


class LeftOut(msgspec.Struct, kw_only=True):
    """What can't be adopted, and why."""

    what: str
    reason: str


class Adoption(msgspec.Struct, kw_only=True):
    """`status` is success, or adopting where it goes on behind the answer. `looked_at` are the paths that a list is
    of, there or not."""

    status: str
    models: list[AdoptableModel]
    left_out: list[LeftOut] = msgspec.field(default_factory=list)
    looked_at: list[str] = msgspec.field(default_factory=list)


class AdoptStep(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One line of an adoption; the last has the status `success`, and the names of the models that are here now."""

    status: str
    total: int | None = None
    completed: int | None = None
    models: list[str] | None = None


class AdoptFailure(msgspec.Struct, kw_only=True):
    """What went wrong, as the last line."""

    error: str
    code: str


FIELDS: Mapping[str, Fields] = {
    "/runner/adopt": Fields(
        AdoptRequest,
        notes={
            "from": f"{', '.join(KINDS)}, or an absolute path",
            "models": "names, there or here",
            "as": "a name, if `models` means one model",
        },
    ),
}
"""What becomes of each field."""
ANSWERS: Mapping[str, Answers] = {"/runner/adopt": Answers(Adoption, event=AdoptStep)}
"""What comes back, endpoint by endpoint."""


def _failed(failure: Failure) -> bytes:
    return to_json(AdoptFailure(error=failure.message, code=failure.code)) + b"\n"


_LINES = streams.Framing("application/x-ndjson", failed=_failed)


class Adopting:
    """The endpoint."""

    def __init__(self, adoptions: Adoptions) -> None:
        self._adoptions = adoptions

    def routes(self) -> tuple[web.RouteDef, ...]:
        """Paths and handlers."""
        return (web.post("/runner/adopt", self.adopt),)

    async def adopt(self, request: web.Request) -> web.StreamResponse:
        """List, or adopt."""
        body = await read_body(request, AdoptRequest)
        if not is_from_this_machine(request):
            raise NotAllowed("adopting is for programs on Runner's own machine", field="from")
        where, wanted = _checked(body)
        if where is None or not (wanted or body.all):
            return json_response(to_json(_listed(await self._adoptions.look(where))))
        models = await self._adoptions.choose(where, wanted, body.all)
        if body.called is not None:
            models = (_renamed(models, body.called),)
        if body.detach:
            self._adoptions.start(models)
            return json_response(to_json(_said("adopting", [Adoptable(each, "adopting") for each in models])))
        steps = self._adoptions.adopt(models)
        if body.stream is not False:
            return await streams.send(request, _lines(steps, models), _LINES)
        async with streams.closing(steps):
            async for _ in steps:
                pass
        return json_response(
            to_json(_said("success", [Adoptable(each, "here", here_as=str(each.name)) for each in models]))
        )


def _checked(body: AdoptRequest) -> tuple[str | None, tuple[str, ...]]:
    """Where to look, and the models wanted. Raises InvalidRequest naming the field."""
    wanted = tuple(body.models or ())
    if body.all and wanted:
        raise InvalidRequest("all and models exclude each other", field="all")
    if body.place is None and (body.all or wanted):
        raise InvalidRequest("from is required: whose models are meant?", field="from")
    if body.place is not None and body.place not in KINDS and not _is_path(body.place):
        raise InvalidRequest(f"from must be {', '.join(KINDS)}, or an absolute path", field="from")
    if body.called is not None and not wanted:
        raise InvalidRequest("as is what to call one of models: which?", field="as")
    if any(not each for each in wanted):
        raise InvalidRequest("models must not hold an empty name", field="models")
    return body.place, wanted


def _renamed(models: tuple[Found, ...], called: str) -> Found:
    """The one model, under another name. Raises InvalidRequest."""
    if len(models) != 1:
        raise InvalidRequest(f"as is for one model, and {len(models)} are meant", field="as")
    try:
        return replace(models[0], name=Name.parse(called))
    except BadName as error:
        raise InvalidRequest(f"as: {error}", field="as") from error


def _is_path(text: str) -> bool:
    return "\0" not in text and Path(text).is_absolute()


async def _lines(steps: AsyncIterator[Progress], models: tuple[Found, ...]) -> AsyncIterator[bytes]:
    async with streams.closing(steps):
        async for step in steps:
            total, completed = (step.total, step.completed) if step.total else (None, None)
            yield to_json(AdoptStep(status=step.status, total=total, completed=completed)) + b"\n"
    yield to_json(AdoptStep(status="success", models=[str(each.name) for each in models])) + b"\n"


def _listed(shelf: Shelf) -> Adoption:
    answer = _said("success", shelf.models)
    answer.looked_at = [readable(str(each)) for each in shelf.places]
    answer.left_out = [LeftOut(what=each.what, reason=each.reason) for each in shelf.passed_over]
    return answer


def _said(status: str, models: tuple[Adoptable, ...] | list[Adoptable]) -> Adoption:
    return Adoption(status=status, models=[_model(each) for each in models])


def _model(each: Adoptable) -> AdoptableModel:
    found, step = each.found, each.step or Progress("")
    files = [
        AdoptableFile(
            title=file.title, path=str(file.path), size=file.size, digest=str(file.digest) if file.digest else None
        )
        for file in found.all_files
    ]
    return AdoptableModel(
        name=str(found.name),
        owner=found.owner,
        known_as=list(found.known_as),
        size=found.size,
        files=files,
        state=each.state,
        status=step.status,
        total=step.total,
        completed=step.completed,
        error=each.failed,
        here_as=each.here_as,
    )
