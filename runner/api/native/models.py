"""/api/tags, /api/ps, /api/show, /api/copy, /api/delete and /api/version: what is stored and what is loaded."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web
from msgspec import UNSET

from modelfiles.errors import ModelfileError, ParameterError
from modelfiles.instructions import Parameter
from modelfiles.render import render
from modelfiles.template import is_go_template
from registry.gguf.facts import facts
from registry.gguf.reader import Header
from registry.manifest import ModelConfig
from registry.stored import StoredModel
from runner import __version__
from runner.api import values
from runner.api.body import json_response, to_json
from runner.api.body import read as read_body
from runner.api.native import answers, read, wire
from runner.api.native.write import moment
from runner.api.provenance import layers_of, recipe_of, source_of
from runner.errors import InvalidRequest
from runner.inference.adapters import Worn
from runner.inference.models import Models
from runner.inference.residents import Overview, Resident
from runner.inference.service import Service
from runner.inference.templates import choose
from runner.scheduler.meters import Measured
from runner.scheduler.pools import by_pool

OLLAMA = "0.33.0"
"""The version of Ollama that this dialect is at: clients ask for a recent one before they talk on."""

_FOR_EVER = timedelta(days=36_525)  # clients want a date, and one that their calendars can hold
_SHORT = 5  # items of an array that /api/show gives unasked
_WORDS = {"insert": ".Suffix", "tools": "tools"}
"""Abilities, and the words in a template by which clients know of them."""
_KEY_WIDTH = 30  # clients split the parameters' text by columns


class Inventory:
    """The endpoints that need no loaded model."""

    def __init__(self, models: Models, service: Service) -> None:
        self._models = models
        self._service = service

    def routes(self) -> tuple[web.RouteDef, ...]:
        """Paths and handlers."""
        return (
            web.get("/api/version", self.version),
            web.get("/api/tags", self.tags),
            web.get("/api/ps", self.ps),
            web.post("/api/show", self.show),
            web.post("/api/copy", self.copy),
            web.delete("/api/delete", self.delete),
        )

    async def version(self, request: web.Request) -> web.Response:
        """Whom clients talk to."""
        return json_response(to_json(answers.Version(version=OLLAMA, runner=__version__)))

    async def tags(self, request: web.Request) -> web.Response:
        """Every stored model, the newest first."""
        stored = sorted(await self._models.list(), key=lambda each: each.modified_at, reverse=True)
        broken = [answers.Broken(name=str(each.name), reason=each.reason) for each in await self._models.broken()]
        told = answers.Listing(models=[_listed(each) for each in stored], broken=broken or UNSET)
        return json_response(to_json(told))

    async def ps(self, request: web.Request) -> web.Response:
        """Every model that is loaded or waited for, the one that stays longest first."""
        configs = {str(each.name): each.config for each in await self._models.list()}
        seen = self._service.overview()
        running = [_running(each, configs.get(each.name)) for each in seen.residents]
        running.sort(key=lambda each: each.expires_at, reverse=True)
        return json_response(to_json(answers.Loaded(models=running, totals=_totals(seen))))

    async def show(self, request: web.Request) -> web.Response:
        """All that is known of one model."""
        body = await read_body(request, wire.ShowRequest)
        values.refuse(body, wire.FIELDS["/api/show"].later)
        name, verbose = read.model_of(body), bool(body.verbose)
        found, worn = await self._models.worn(name)  # as a request of this name is answered: `model:adapter` too
        stored, its = _instead(found, body), str(found.name)
        header = await self._models.header(its)
        projector = await self._models.projector(its) if stored.projector else None
        # With `verbose`, a vocabulary is decoded: too long for the event loop.
        return json_response(await asyncio.to_thread(lambda: to_json(_shown(stored, worn, header, projector, verbose))))

    async def copy(self, request: web.Request) -> web.Response:
        """Give a model another name as well."""
        body = await read_body(request, wire.CopyRequest)
        source = values.required(body.source, "source")
        replaced = await self._models.copy(source, values.required(body.destination, "destination"))
        return json_response(to_json(answers.Copied(replaced=replaced))) if body.report else web.Response()

    async def delete(self, request: web.Request) -> web.Response:
        """Unload a model and remove its name."""
        body = await read_body(request, wire.DeleteRequest)
        gone = await self._models.remove(read.model_of(body))
        if not body.report:
            return web.Response()
        return json_response(to_json(answers.Removed(freed=gone.freed, shared=gone.shared, from_hub=gone.from_hub)))


def _listed(stored: StoredModel) -> answers.Listed:
    return answers.Listed(
        name=str(stored.name),
        model=str(stored.name),
        modified_at=moment(stored.modified_at),
        size=stored.size,
        digest=_hex(stored.digest),
        details=_details(stored.config),
        capabilities=stored.config.capabilities,
    )


def _details(config: ModelConfig) -> answers.Details:
    return answers.Details(
        parent_model=config.parent or "",
        format=config.format,
        family=config.family,
        families=config.families,
        parameter_size=config.parameter_size,
        quantization_level=config.quantization,
        context_length=config.context_length,
        embedding_length=config.embedding_length,
    )


def _running(resident: Resident, config: ModelConfig | None) -> answers.Running:
    return answers.Running(
        name=resident.name,
        model=resident.name,
        size=resident.size,
        digest=_hex(resident.digest),
        details=_details(config) if config else None,
        expires_at=moment(resident.expires_at or datetime.now(UTC) + _FOR_EVER),
        size_vram=resident.size_gpu,
        context_length=resident.context_length,
        state=resident.state,
        sequences=resident.sequences,
        running=resident.running,
        waiting=resident.waiting,
        status=resident.status,
        queued=resident.queued,
        estimate=resident.estimate,
        progress=round(resident.progress, 3),
        memory=[
            answers.MemoryHeld(
                device=each.device, pool=each.pool, weights=each.weights, kv=each.kv, compute=each.compute
            )
            for each in resident.memory
        ],
        placement=answers.Lies(
            devices=resident.devices,
            gpu_layers=resident.gpu_layers,
            layers=resident.layers + 1 if resident.layers else 0,
            words=resident.placement,
        ),
        context_source=resident.context_from,
        kv=answers.Cells(total=resident.cells, used=resident.cells_used, busy=resident.cells_busy),
        decode_rate=round(resident.rate.decode, 2),
        prefill_rate=round(resident.rate.prefill, 2),
        loaded_at=moment(resident.loaded_at) if resident.loaded_at else None,
        load_seconds=round(resident.load_seconds, 3),
        pid=resident.pid,
        shared_with=resident.shared_with,
        pinned=resident.is_pinned,
        engine=_engine(resident.measured) if resident.measured else UNSET,
    )


def _totals(seen: Overview) -> answers.Whole:
    held: Counter[str] = Counter()
    workers: set[int] = set()
    for each in seen.residents:
        if each.pid is None or each.pid not in workers:
            held.update(by_pool(each.memory))
        if each.pid is not None:
            workers.add(each.pid)
    return answers.Whole(
        memory=[answers.PoolOf(name=each.name, free=each.free, total=each.total) for each in seen.pools],
        held=dict(held),
        queued=seen.queued,
        queue_limit=seen.most_queued,
        model_limit=seen.most_loaded,
    )


def _engine(measured: Measured) -> answers.Engine:
    meters, engine = measured.meters, measured.engine
    stats = measured.member.stats if measured.member else None
    requests: Counter[str] = Counter()
    for (_, outcome), count in meters.outcomes.items():
        requests[outcome] += count
    waits = meters.queue.spread()
    return answers.Engine(
        requests=dict(requests),
        prompt_tokens=meters.prompt_tokens,
        cached_tokens=meters.cached_tokens,
        completion_tokens=meters.completion_tokens,
        queue_duration=round(waits.sum * 1e9),
        queue_count=sum(waits.counts),
        steps=engine.steps,
        step_tokens=round(engine.step_tokens.sum),
        ubatches=engine.ubatches,
        fill_duration=engine.fill_ns,
        wait_duration=engine.wait_ns,
        sample_duration=engine.sample_ns,
        post_duration=engine.post_ns,
        preemptions=engine.preemptions,
        drafts=engine.drafts,
        draft_tokens=engine.drafted_tokens,
        accepted_tokens=engine.accepted_tokens,
        embed_steps=engine.embed_steps,
        embed_inputs=engine.embed_inputs,
        embed_tokens=engine.embed_tokens,
        embed_duration=engine.embed_ns,
        cells=stats.cells if stats else 0,
        cells_used=stats.cells_used if stats else 0,
        cells_busy=stats.cells_busy if stats else 0,
    )


def _hex(digest: object) -> str:
    return str(digest).removeprefix("sha256:")


def _instead(stored: StoredModel, body: wire.ShowRequest) -> StoredModel:
    """The model as it would be with the request's system text and options. Raises InvalidRequest."""
    options: dict[str, Any] = {}
    for name, value in (body.options or {}).items():
        given = value if isinstance(value, list) else [value]
        try:
            checked = tuple(Parameter(name, each).value for each in given if each is not None)
        except ParameterError as error:
            raise InvalidRequest(f"options.{error}", field=f"options.{name[:100]}") from None
        if checked:
            options[name] = checked if isinstance(value, list) else checked[0]
    return replace(stored, system=body.system or stored.system, parameters={**stored.parameters, **options})


def _shown(
    stored: StoredModel, worn: Sequence[Worn], header: Header, projector: Header | None, verbose: bool
) -> answers.Shown:
    template = choose(stored.template, facts(header))
    return answers.Shown(
        license="\n".join(stored.licenses),
        modelfile=_modelfile(stored),
        parameters=_parameters(stored.parameters),
        template=_telling(template.text or "", stored.config.capabilities),
        template_source=template.source,
        template_reason=template.why,
        system=stored.system or "",
        details=_details(stored.config),
        messages=[answers.Turn(role=role, content=content) for role, content in stored.messages],
        model_info=_model_info(header.metadata, stored, verbose),
        projector_info=_info(projector.metadata, verbose) if projector else UNSET,
        tensors=[{"name": each.name, "type": each.type.name, "shape": each.shape} for each in header.tensors]
        if verbose
        else [],
        capabilities=stored.config.capabilities,
        modified_at=moment(stored.modified_at),
        requires=stored.config.requires or "",
        digest=str(stored.digest),
        source=source_of(stored),
        recipe=recipe_of(stored),
        layers=layers_of(stored),
        adapters=[answers.AdapterInfo(name=each.name, scale=each.scale) for each in worn],
    )


def _telling(template: str, abilities: Sequence[str]) -> str:
    """The template, with a comment before it where clients would miss a word.

    By `.Suffix`, which Ollama's templates have, some know that a model fills gaps, and by `tools` that it calls tools;
    they look into the text, whatever its language.
    """
    words = [word for ability, word in _WORDS.items() if ability in abilities and word not in template]
    if not words:
        return template
    opening, closing = ("{{/*", "*/}}") if is_go_template(template) else ("{#", "#}")
    return f"{opening} takes {' and '.join(words)} {closing}{template}"


def _modelfile(stored: StoredModel) -> str:
    try:
        return render(stored.modelfile())
    except ModelfileError as error:  # a text that the language has no way to write, in a model that works
        return f"# This model has no Modelfile: {error}\n"


def _parameters(parameters: Mapping[str, Any]) -> str:
    """One `key value` line each, a repeated key for each of several values, texts quoted."""
    return "\n".join(
        f"{name:<{_KEY_WIDTH}} {json.dumps(value, ensure_ascii=False)}"
        for name, given in parameters.items()
        for value in (given if isinstance(given, list | tuple) else (given,))
    )


def _model_info(metadata: Mapping[str, Any], stored: StoredModel, verbose: bool) -> dict[str, Any]:
    """The GGUF's metadata; long arrays come empty unless asked for. The template stands in a field of its own.

    VS Code shows `general.basename`, so a model whose header has none goes by the name it is stored under.
    """
    architecture = str(metadata.get("general.architecture", ""))
    # Some clients take the first key that says context_length, so the true one goes ahead of the rest.
    first = ("general.architecture", f"{architecture}.context_length")
    keys: Iterable[str] = dict.fromkeys((*(key for key in first if key in metadata), *metadata))
    told = {"general.parameter_count": stored.config.parameter_count, "general.basename": stored.name.model}
    return told | _info({key: metadata[key] for key in keys}, verbose)


def _info(metadata: Mapping[str, Any], verbose: bool) -> dict[str, Any]:
    return {key: _plain(value, verbose) for key, value in metadata.items() if key != "tokenizer.chat_template"}


def _plain(value: Any, verbose: bool) -> Any:
    if isinstance(value, str) or not isinstance(value, Sequence):
        return value
    return list(value) if verbose or len(value) <= _SHORT else []
