"""The HTTP application: the dialects' paths joined, and the layers that every request passes, in one visible order."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from aiohttp import web

from runner.api import callers, failures, guard, recording, trace
from runner.api.anthropic.routes import Anthropic
from runner.api.anthropic.write import STATUSES as ANTHROPIC_STATUSES
from runner.api.anthropic.write import error as anthropic_error
from runner.api.dialects import DIALECTS
from runner.api.inflight import IN_FLIGHT, InFlight, shutting_down
from runner.api.llamacpp.routes import Llamacpp
from runner.api.llamacpp.write import error as llamacpp_error
from runner.api.metrics import Metrics
from runner.api.native.models import Inventory
from runner.api.native.routes import Generation
from runner.api.native.transfers import Transfers
from runner.api.native.write import error as native_error
from runner.api.openai.responses.routes import Responses
from runner.api.openai.responses.store import ResponseStore
from runner.api.openai.routes import OpenAI
from runner.api.openai.write import error as openai_error
from runner.api.openapi import OpenAPI
from runner.api.own.adopt import Adopting
from runner.api.own.daemon import Own
from runner.api.own.doctor import Doctor
from runner.api.own.look import Looking
from runner.api.own.origins import Origins
from runner.api.own.pin import Pinning
from runner.api.own.plan import Planning
from runner.api.own.requests import Requests
from runner.api.own.search import Searching
from runner.api.own.verify import Upkeep
from runner.api.own.why import Why
from runner.api.remote import fetching
from runner.api.streams import PATIENCE, Patience
from runner.api.traffic import Traffic
from runner.api.unknown import UNKNOWN, Unknown
from runner.config import Settings
from runner.config.live import Apply, Live
from runner.inference.adoptions import Adoptions
from runner.inference.checkup import Checkup
from runner.inference.discovery import Discovery
from runner.inference.jobs import Jobs
from runner.inference.ledger import Ledger
from runner.inference.models import Models
from runner.inference.plans import Plans
from runner.inference.service import Service
from runner.inference.updates import Updates

_OPENAI = ("/v1/", "/v2/", "/rerank")
"""How the paths of OpenAI's dialect begin."""
_LLAMACPP = ("/tokenize", "/detokenize", "/apply-template", "/infill")
_ANTHROPIC = "/v1/messages"
_MODELS = "/v1/models"
_VERSION = "anthropic-version"
"""The header by which Anthropic's clients are known on the path that two dialects share."""
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Services:
    """All that the endpoints call. `shutdown` asks the daemon to end; it returns at once."""

    service: Service
    models: Models
    jobs: Jobs
    responses: ResponseStore
    settings: Settings
    shutdown: Callable[[], None]
    updates: Updates
    adoptions: Adoptions
    discovery: Discovery
    plans: Plans
    live: Live | None = None  # where the settings may change
    checkup: Checkup | None = None
    ledger: Ledger = field(default_factory=Ledger)


class Front(Protocol):
    """What stands at `/` for browsers: a page, and paths of its own beside it."""

    def routes(self) -> Iterable[web.RouteDef]:
        """Paths and handlers."""

    async def front(self, request: web.Request) -> web.StreamResponse:
        """The page itself."""


def build_app(services: Services, patience: Patience | None = None, front: Front | None = None) -> web.Application:
    """The application, ready for `runner.api.server.serve`. Without a `front` everybody gets a line of text at `/`."""
    traffic, rules = Traffic(), guard.Rules(services.settings)
    app = web.Application(
        middlewares=[
            trace.middleware,
            traffic.middleware,
            failures.middleware(_wording, _statuses),
            guard.middleware(rules),
            recording.middleware,
            callers.middleware,
            _lost,
        ],
        client_max_size=services.settings.max_body,
    )
    app[IN_FLIGHT] = InFlight()
    app[recording.LEDGER] = services.ledger
    app[PATIENCE] = patience or Patience()
    app[UNKNOWN] = unknown = Unknown(DIALECTS)
    app.on_response_prepare.append(trace.add_headers)
    app.on_response_prepare.append(_name_for_anthropic)
    of_openai = OpenAI(services.service, services.models)
    of_anthropic = Anthropic(services.service, services.models)
    for part in (
        Generation(services.service, services.models),
        Inventory(services.models, services.service),
        Transfers(services.jobs, services.models),
        of_openai,
        Responses(services.service, services.responses),
        of_anthropic,
        Llamacpp(services.service, services.models),
        Own(
            services.models,
            services.live or Live(services.settings),
            services.shutdown,
            front.front if front is not None else None,
        ),
        Upkeep(services.jobs, services.models),
        Origins(services.updates),
        Pinning(services.service),
        Adopting(services.adoptions),
        Looking(services.discovery),
        Searching(services.discovery),
        Why(services.service),
        Planning(services.plans),
        Requests(services.ledger, services.live or Live(services.settings)),
        Metrics(services.service, traffic, unknown),
        OpenAPI(),
    ):
        app.add_routes(part.routes())
    if front is not None:
        app.add_routes(front.routes())
    if services.checkup is not None:
        app.add_routes(Doctor(services.checkup).routes())
    if services.live is not None:
        services.live.tell(_following(rules, services))
    app.router.add_get(_MODELS, _either(of_openai.models, of_anthropic.models))
    app.router.add_get(_MODELS + "/{name:.+}", _either(of_openai.model, of_anthropic.model))
    return app


def _following(rules: guard.Rules, services: Services) -> Apply:
    """Goes by new settings from the next request on."""

    async def take(_old: Settings, new: Settings) -> None:
        rules.take(new)
        services.responses.resize(new.stored_responses, new.stored_responses_size)
        services.ledger.take(new.request_log, bodies=new.request_bodies)
        services.service.fetch_by(fetching(new.image_urls))

    return take


def _wording(request: web.Request) -> failures.Wording:
    """Whose words an error on this path takes; outside the dialects, the plainest."""
    if request.path.startswith(_LLAMACPP):
        return llamacpp_error
    if _is_anthropic(request):
        return anthropic_error
    return openai_error if request.path.startswith(_OPENAI) else native_error


def _statuses(request: web.Request) -> Mapping[str, int]:
    return ANTHROPIC_STATUSES if _is_anthropic(request) else {}


def _is_anthropic(request: web.Request) -> bool:
    return request.path.startswith(_ANTHROPIC) or (request.path.startswith(_MODELS) and _VERSION in request.headers)


def _either(of_openai: _Handler, of_anthropic: _Handler) -> _Handler:
    """One path in two dialects: who names Anthropic's version is answered as it answers."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return await (of_anthropic if _VERSION in request.headers else of_openai)(request)

    return answer


async def _name_for_anthropic(request: web.Request, response: web.StreamResponse) -> None:
    """Put the request's id where Anthropic's clients look for it."""
    if _is_anthropic(request) and trace.REQUEST_ID in request:
        response.headers["request-id"] = request[trace.REQUEST_ID]


@web.middleware
async def _lost(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Say more about a path that isn't there, and turn newcomers away from a server that is closing."""
    if request.app[IN_FLIGHT].closing:
        raise shutting_down()
    missing = request.match_info.http_exception
    if isinstance(missing, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(missing.allowed_methods))
        missing.text = f"{request.path} takes {allowed}, not {request.method}"
    elif isinstance(missing, web.HTTPNotFound):
        missing.text = f"there is no {request.path}{_hint(request)}"
    return await handler(request)


def _hint(request: web.Request) -> str:
    """The path that was probably meant: base URLs have a slash or a /v1 too many, or lack it."""
    path = re.sub(r"/{2,}", "/", request.path).rstrip("/")
    bare = re.sub(r"^(?:/v1|/api)+(?=/)", "", path)
    known = {resource.canonical for resource in request.app.router.resources()}
    for meant in (path, bare, f"/v1{bare}", f"/api{bare}"):
        if meant != request.path and meant in known:
            return f"; did you mean {meant}?"
    return ""
