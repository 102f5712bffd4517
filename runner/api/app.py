"""The HTTP application: the dialects' paths joined, and the layers that every request passes, in one visible order."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from runner.api import failures, guard, trace
from runner.api.inflight import IN_FLIGHT, InFlight
from runner.api.metrics import Metrics
from runner.api.native.models import Inventory
from runner.api.native.routes import Generation
from runner.api.native.transfers import Transfers
from runner.api.native.write import error as native_error
from runner.api.openai.responses.routes import Responses
from runner.api.openai.responses.store import ResponseStore
from runner.api.openai.routes import OpenAI
from runner.api.openai.write import error as openai_error
from runner.api.own import Own
from runner.api.streams import PATIENCE, Patience
from runner.api.traffic import Traffic
from runner.config import Settings
from runner.inference.jobs import Jobs
from runner.inference.models import Models
from runner.inference.service import Service

_OPENAI = ("/v1/", "/v2/", "/rerank")
"""How the paths of OpenAI's dialect begin."""


@dataclass(frozen=True, slots=True)
class Services:
    """All that the endpoints call. `shutdown` asks the daemon to end; it returns at once."""

    service: Service
    models: Models
    jobs: Jobs
    responses: ResponseStore
    settings: Settings
    shutdown: Callable[[], None]


def build_app(services: Services, patience: Patience | None = None) -> web.Application:
    """The application, ready for `runner.api.server.serve`."""
    traffic = Traffic()
    app = web.Application(
        middlewares=[
            trace.middleware,
            traffic.middleware,
            failures.middleware(_wording),
            guard.middleware(guard.Guard.of(services.settings)),
            _lost,
        ],
        client_max_size=services.settings.max_body,
    )
    app[IN_FLIGHT] = InFlight()
    app[PATIENCE] = patience or Patience()
    app.on_response_prepare.append(trace.add_headers)
    for part in (
        Generation(services.service, services.models),
        Inventory(services.models, services.service),
        Transfers(services.jobs, services.models),
        OpenAI(services.service, services.models),
        Responses(services.service, services.responses),
        Own(services.models, services.settings, services.shutdown),
        Metrics(services.service, traffic),
    ):
        app.add_routes(part.routes())
    return app


def _wording(request: web.Request) -> failures.Wording:
    """Whose words an error on this path takes; outside the dialects, the plainest."""
    return openai_error if request.path.startswith(_OPENAI) else native_error


@web.middleware
async def _lost(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Say more about a path that isn't there, and turn newcomers away from a server that is closing."""
    if request.app[IN_FLIGHT].closing:
        raise failures.shutting_down()
    missing = request.match_info.http_exception
    if isinstance(missing, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(missing.allowed_methods))
        missing.text = f"{request.path} takes {allowed}, not {request.method}"
    elif isinstance(missing, web.HTTPNotFound):
        missing.text = f"there is no {request.path}{_hint(request)}"
    return await handler(request)


def _hint(request: web.Request) -> str:
    """The path that was probably meant: base URLs end in one slash or one /v1 too many."""
    path = re.sub(r"/{2,}", "/", request.path).rstrip("/")
    path = re.sub(r"^(?:/v1|/api)+(?=/(?:v1|api)/)", "", path)
    known = {resource.canonical for resource in request.app.router.resources()}
    return f"; did you mean {path}?" if path != request.path and path in known else ""
