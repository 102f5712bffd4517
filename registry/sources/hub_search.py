"""Searching Hugging Face for repositories of GGUFs: one request, and its answer as values.

Knows no catalog and no store. What a repository holds, `huggingface` finds out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from registry.sources.hub_api import HubApi, HubSettings, count, licence_of, sensible
from registry.transfer.http import Http

_EXPAND = ("downloads", "likes", "gated", "lastModified", "cardData", "gguf")
MOST = 100
"""Repositories that one search gives at most; the hub's own page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubModel:
    """One repository. `downloads` are those of a month; `gated` means that terms have to be accepted first.

    `parameters` and `context_length` are 0, `architecture` empty where the hub doesn't know.
    """

    repository: str
    downloads: int
    likes: int
    gated: bool
    licence: str
    modified: datetime | None
    architecture: str
    parameters: int
    context_length: int


def search_hub(text: str, limit: int, settings: HubSettings) -> tuple[HubModel, ...]:
    """Repositories with GGUFs whose names hold the words of `text`, the most downloaded first, `limit` at most.

    Raises Unreachable, also for an answer that makes no sense, or Denied.
    """
    most = max(1, min(limit, MOST))
    what = "searching Hugging Face"
    asked = {"search": text, "filter": "gguf", "sort": "downloads", "limit": most, "expand": list(_EXPAND)}
    with sensible(what), Http(timeout=settings.timeout) as http:
        found = HubApi(http, settings).one(f"/api/models?{urlencode(asked, doseq=True)}", what)
        if not isinstance(found, list):
            raise ValueError("no list")
        return tuple(_model(each) for each in found[:most])


def _model(entry: Mapping[str, Any]) -> HubModel:
    gguf = entry.get("gguf") or {}
    return HubModel(
        repository=str(entry["id"])[:200],
        downloads=count(entry.get("downloads") or 0),
        likes=count(entry.get("likes") or 0),
        gated=bool(entry.get("gated")),
        licence=licence_of(entry.get("cardData") or {}),
        modified=_moment(entry.get("lastModified")),
        architecture=str(gguf.get("architecture") or "")[:64],
        parameters=count(gguf.get("total") or 0),
        context_length=count(gguf.get("context_length") or 0),
    )


def _moment(text: object) -> datetime | None:
    return datetime.fromisoformat(text).astimezone(UTC) if isinstance(text, str) else None
