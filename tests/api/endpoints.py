"""The application's routes, and a good body for every endpoint that takes one. A new endpoint is a line more."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from runner.api.app import Services, build_app
from runner.api.dialects import DIALECTS
from runner.api.fields import Fields
from runner.api.openai.responses.store import ResponseStore
from runner.config import load
from tests.api.fakes import (
    FakeAdoptions,
    FakeCheckup,
    FakeDiscovery,
    FakeJobs,
    FakeModels,
    FakePlans,
    FakeService,
    FakeUpdates,
)

HI = [{"role": "user", "content": "Hi"}]
CHAT: dict[str, Any] = {"model": "demo", "messages": HI}
BODIES: dict[str, dict[str, Any]] = {
    "/api/generate": {"model": "demo", "prompt": "x", "stream": False},
    "/api/chat": {**CHAT, "stream": False},
    "/api/embed": {"model": "demo", "input": "x"},
    "/api/embeddings": {"model": "demo", "prompt": "x"},
    "/api/show": {"model": "demo"},
    "/api/copy": {"source": "demo", "destination": "x"},
    "/api/delete": {"model": "demo"},
    "/api/pull": {"model": "x", "stream": False},
    "/api/push": {"model": "demo", "to": "ghcr.io/a/b", "stream": False},
    "/api/create": {"model": "x", "from": "demo", "stream": False},
    "/v1/chat/completions": CHAT,
    "/v1/completions": {"model": "demo", "prompt": "x"},
    "/v1/embeddings": {"model": "demo", "input": "x"},
    "/v1/rerank": {"model": "ranker", "query": "x", "documents": ["y"]},
    "/v1/responses": {"model": "demo", "input": "x"},
    "/v1/responses/input_tokens": {"model": "demo", "input": "x"},
    "/v1/messages": {**CHAT, "max_tokens": 5},
    "/v1/messages/count_tokens": CHAT,
    "/tokenize": {"model": "demo", "content": "x"},
    "/detokenize": {"model": "demo", "tokens": [1]},
    "/apply-template": {"model": "demo", "messages": HI},
    "/runner/verify": {"stream": False},
    "/runner/prune": {},
    "/runner/adopt": {"from": "ollama", "models": ["tiny"], "stream": False},
    "/runner/look": {"model": "x"},
    "/runner/why": {"model": "demo"},
    "/runner/plan": {"model": "x"},
    "/runner/search": {"text": "x"},
    "/infill": {"model": "demo", "input_prefix": "x", "input_suffix": "y"},
    "/runner/provenance": {"models": ["demo"]},
    "/runner/outdated": {},
    "/runner/pin": {"model": "demo"},
    "/runner/unpin": {"model": "demo"},
}
TABLE: dict[str, Fields] = {path: fields for dialect in DIALECTS for path, fields in dialect.fields.items()}


def method(path: str) -> str:
    """The method that the endpoint takes its body with."""
    return "DELETE" if path == "/api/delete" else "POST"


def routes() -> Sequence[web.AbstractRoute]:
    """Every route of an application."""

    async def made() -> web.Application:
        adoptions: Any = FakeAdoptions()
        parts: Any = (FakeService(), FakeModels(), FakeJobs(), ResponseStore(1, 1))
        updates: Any = FakeUpdates(FakeModels())
        discovery: Any = FakeDiscovery()
        plans: Any = FakePlans()
        return build_app(
            Services(
                *parts, load({}, environ={}), lambda: None, updates, adoptions, discovery, plans, None, FakeCheckup()
            )
        )

    return list(asyncio.run(made()).router.routes())
