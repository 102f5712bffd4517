"""Upkeep of the store: /runner/verify and /runner/prune.

A verification goes on for as long as the disk takes, so it streams how far it is, and ends when its caller leaves.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping

import msgspec
from aiohttp import web

from registry.collect import Pruned
from registry.progress import Progress
from registry.verify import Sample, Verified
from runner.api import streams
from runner.api.body import json_response, read, to_json
from runner.api.failures import Failure
from runner.api.fields import Answers, Fields
from runner.config import parse_duration
from runner.errors import InvalidRequest
from runner.inference.jobs import Jobs
from runner.inference.models import Models


class VerifyRequest(msgspec.Struct, kw_only=True):
    """`models` are those to look at, all of them where none is named. `sample` is a share of the files to hash, as in
    "5%", or their number; `seed` chooses the same ones again. With `repair`, what is bad is fetched again."""

    models: list[str] = msgspec.field(default_factory=list)
    sample: str | int | None = None
    seed: int | None = None
    repair: bool = False
    stream: bool | None = None


class BadFile(msgspec.Struct, kw_only=True):
    """`digest` is a blob's, in full. `models` are all that need it, `quarantined` where it lies now. `outcome` is
    broken, repaired, or not needed."""

    kind: str
    digest: str | None
    path: str
    reason: str
    models: list[str]
    quarantined: str | None
    outcome: str
    advice: str


class AsideFile(msgspec.Struct, kw_only=True):
    """A file in quarantine: what it should have been, and what it was, as far as that was noted."""

    path: str
    size: int
    expected: str
    actual: str


class VerifyResult(msgspec.Struct, kw_only=True):
    """`sound` unless something is broken and not repaired. `checked` of `files` were hashed, `bytes` in all; `seed`
    is the sample's. Unfinished downloads and the quarantine are nothing bad."""

    sound: bool
    models: int
    files: int
    checked: int
    bytes: int
    seed: int | None
    bad: list[BadFile]
    unfinished: int
    unfinished_bytes: int
    quarantine: list[AsideFile]


class VerifyStep(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One line of a verification; the last has the status `success` and the result."""

    status: str
    digest: str = ""
    total: int | None = None
    completed: int | None = None
    result: VerifyResult | None = None


class PruneRequest(msgspec.Struct, kw_only=True):
    """`grace` is how long a file that nothing needs is kept, in seconds or as in "30m"; 0 also removes unfinished
    downloads and the quarantine. With `dry_run` nothing is removed, and the answer is what would be."""

    grace: float | str | None = None
    dry_run: bool = False


class RemovedFile(msgspec.Struct, kw_only=True):
    """`kind` is blob, reference, unfinished or quarantined. The file that a reference led to stays where it is."""

    kind: str
    path: str
    size: int


class Freed(msgspec.Struct, kw_only=True):
    """Files that were removed, or would be, and the bytes that the disk has back; `shared` are bytes of files that
    other programs still hold by a name of their own. `references` are other tools' files that are forgotten, and
    stay."""

    count: int
    bytes: int
    shared: int
    references: int
    removed: list[RemovedFile]


FIELDS: Mapping[str, Fields] = {
    "/runner/verify": Fields(VerifyRequest),
    "/runner/prune": Fields(PruneRequest),
}
"""What becomes of each field."""

ANSWERS: Mapping[str, Answers] = {
    "/runner/verify": Answers(VerifyResult, VerifyStep),
    "/runner/prune": Answers(Freed),
}
"""What comes back, endpoint by endpoint."""


class _Failed(msgspec.Struct, kw_only=True):
    error: str
    code: str


_DONE = "success"
_NDJSON = streams.Framing(
    "application/x-ndjson",
    failed=lambda failure: _line(_failed(failure)),
)


class Upkeep:
    """The endpoints that look after the store."""

    def __init__(self, jobs: Jobs, models: Models) -> None:
        self._jobs = jobs
        self._models = models

    def routes(self) -> tuple[web.RouteDef, ...]:
        """Paths and handlers."""
        return (web.post("/runner/verify", self.verify), web.post("/runner/prune", self.prune))

    async def verify(self, request: web.Request) -> web.StreamResponse:
        """Hold the store's files against their digests, and bring back what is bad."""
        body = await read(request, VerifyRequest) if request.can_read_body else VerifyRequest()
        steps = self._verified(self._jobs.verify(body.models, sample=_sample(body), repair=body.repair))
        if body.stream is not False:
            return await streams.send(request, _lines(steps), _NDJSON)
        result = None
        async with streams.closing(steps):
            async for step in steps:
                if isinstance(step, Verified):
                    result = _result(step)
        return json_response(to_json(result))

    async def _verified(
        self, steps: AsyncGenerator[Progress | Verified, None]
    ) -> AsyncGenerator[Progress | Verified, None]:
        """The same; models with bad files are unloaded before that is told."""
        async with streams.closing(steps):
            async for step in steps:
                if isinstance(step, Verified):
                    for name in sorted({name for bad in step.bad for name in bad.models}):
                        await self._models.let_go(name)
                yield step

    async def prune(self, request: web.Request) -> web.Response:
        """Remove the files that no model uses."""
        body = await read(request, PruneRequest) if request.can_read_body else PruneRequest()
        return json_response(to_json(_freed(await self._models.prune(_grace(body.grace), body.dry_run))))


async def _lines(steps: AsyncGenerator[Progress | Verified, None]) -> AsyncGenerator[bytes, None]:
    async with streams.closing(steps):
        async for step in steps:
            if isinstance(step, Verified):
                yield _line(VerifyStep(status=_DONE, result=_result(step)))
                continue
            if step.status == _DONE:  # a repair's pull has ended, and not the verification
                continue
            yield _line(
                VerifyStep(
                    status=step.status,
                    digest=str(step.digest) if step.digest else "",
                    total=step.total or None,
                    completed=step.completed if step.total else None,
                )
            )


def _sample(body: VerifyRequest) -> Sample | None:
    if body.sample is None:
        if body.seed is not None:
            raise InvalidRequest("seed needs the sample that it is to choose", field="seed")
        return None
    try:
        return Sample.parse(str(body.sample), body.seed)
    except ValueError as error:
        raise InvalidRequest(f"sample {error}", field="sample") from None


def _grace(given: float | str | None) -> float | None:
    if given is None:
        return None
    try:
        seconds = parse_duration(given) if isinstance(given, str) else given
    except ValueError as error:
        raise InvalidRequest(f"grace {error}", field="grace") from None
    if not 0 <= seconds < float("inf"):
        raise InvalidRequest("grace must be a time, and not less than 0", field="grace")
    return seconds


def _result(found: Verified) -> VerifyResult:
    return VerifyResult(
        sound=found.is_sound,
        models=found.models,
        files=found.there,
        checked=found.blobs,
        bytes=found.size,
        seed=found.seed,
        bad=[
            BadFile(
                kind=each.kind,
                digest=str(each.digest) if each.digest is not None else None,
                path=str(each.path),
                reason=each.reason,
                models=list(each.models),
                quarantined=str(each.quarantined) if each.quarantined is not None else None,
                outcome=each.outcome,
                advice=each.advice,
            )
            for each in found.bad
        ],
        unfinished=found.unfinished,
        unfinished_bytes=found.unfinished_size,
        quarantine=[
            AsideFile(path=str(each.path), size=each.size, expected=each.expected, actual=each.actual)
            for each in found.quarantined
        ],
    )


def _freed(pruned: Pruned) -> Freed:
    return Freed(
        count=pruned.count,
        bytes=pruned.bytes,
        shared=pruned.shared,
        references=pruned.references,
        removed=[RemovedFile(kind=each.kind, path=str(each.path), size=each.size) for each in pruned.removed],
    )


def _line(value: msgspec.Struct) -> bytes:
    return to_json(value) + b"\n"


def _failed(failure: Failure) -> _Failed:
    return _Failed(error=failure.message, code=failure.code)
