"""Searching Hugging Face for repositories of GGUFs: one request, and its answer as values.

Knows no catalog and no store. What a repository holds, `huggingface` finds out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from registry.sources.huggingface import HubSettings, licence_of, sensible, translated

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
    from huggingface_hub import HfApi
    from huggingface_hub.utils import build_hf_headers, paginate  # type: ignore[attr-defined]  # exported lazily

    api = HfApi(endpoint=settings.endpoint, token=settings.token, library_name="runner")
    count = max(1, min(limit, MOST))
    what = "searching Hugging Face"
    with sensible(what), translated(what):
        # HfApi.list_models would wait for ever for a hub that has fallen silent.
        pages = paginate(
            f"{api.endpoint}/api/models",
            params={"search": text, "filter": "gguf", "sort": "downloads", "limit": count, "expand": list(_EXPAND)},
            headers=build_hf_headers(token=settings.token, library_name="runner"),
            timeout=settings.timeout,
        )
        return tuple(_model(each) for each in islice(pages, count))


def _model(entry: Mapping[str, Any]) -> HubModel:
    gguf = entry.get("gguf") or {}
    return HubModel(
        repository=str(entry["id"])[:200],
        downloads=int(entry.get("downloads") or 0),
        likes=int(entry.get("likes") or 0),
        gated=bool(entry.get("gated")),
        licence=licence_of(entry.get("cardData") or {}),
        modified=_moment(entry.get("lastModified")),
        architecture=str(gguf.get("architecture") or "")[:64],
        parameters=int(gguf.get("total") or 0),
        context_length=int(gguf.get("context_length") or 0),
    )


def _moment(text: object) -> datetime | None:
    return datetime.fromisoformat(text).astimezone(UTC) if isinstance(text, str) else None
