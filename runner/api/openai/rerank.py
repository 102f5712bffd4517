"""/v1/rerank, in the shape that Jina's and Cohere's clients know: read, and written. OpenAI has no such endpoint."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from runner.api import values
from runner.api.body import to_json
from runner.api.fields import Answers, Fields
from runner.api.openai.wire import EmbeddingsUsage
from runner.errors import InvalidRequest
from runner.inference.requests import Ranked, Rerank

MOST_DOCUMENTS = 2048


class Document(msgspec.Struct):
    """A document as an object, as some clients send it."""

    text: str


class RerankRequest(msgspec.Struct, kw_only=True):
    model: str | None = None
    query: str | None = None
    documents: list[str | Document] | None = None
    top_n: int | None = None
    return_documents: bool | None = None
    keep_alive: Any = None
    rank_fields: Any = None
    max_chunks_per_doc: Any = None
    max_tokens_per_doc: Any = None
    truncate_prompt_tokens: Any = None


FIELDS: Mapping[str, Fields] = {
    "/v1/rerank": Fields(
        RerankRequest,
        {"rank_fields": (["text"],), "max_chunks_per_doc": (), "max_tokens_per_doc": (), "truncate_prompt_tokens": ()},
        {"user": "Runner keeps no accounts, and nobody looks requests up by this"},
    ),
}
"""What becomes of each field."""


class RankedDocument(msgspec.Struct, kw_only=True):
    """`index` is its place in the request."""

    index: int
    relevance_score: float
    document: Document | UnsetType = UNSET


class Rankings(msgspec.Struct, kw_only=True):
    """The best first."""

    id: str
    object: str
    model: str
    results: list[RankedDocument]
    usage: EmbeddingsUsage


ALIASES: Mapping[str, str] = {"/v2/rerank": "/v1/rerank", "/rerank": "/v1/rerank"}
ANSWERS: Mapping[str, Answers] = {"/v1/rerank": Answers(Rankings)}


def read(body: RerankRequest) -> Rerank:
    """Raises InvalidRequest naming the field."""
    values.refuse(body, FIELDS["/v1/rerank"].later)
    model = values.required(body.model, "model")
    query = values.required(body.query, "query")
    if not body.documents:
        raise InvalidRequest("documents must hold at least one document", field="documents")
    if len(body.documents) > MOST_DOCUMENTS:
        raise InvalidRequest(
            f"documents must hold at most {MOST_DOCUMENTS} documents, not {len(body.documents)}", field="documents"
        )
    if body.top_n is not None and body.top_n < 1:
        raise InvalidRequest("top_n must be at least 1", field="top_n")
    return Rerank(
        model=model,
        query=query,
        documents=tuple(each if isinstance(each, str) else each.text for each in body.documents),
        keep_alive=values.keep_alive(body.keep_alive),
    )


def write(asked: Rerank, ranked: Ranked, body: RerankRequest) -> bytes:
    """All of /v1/rerank: the best documents first, those alike in their order."""
    best = sorted(range(len(ranked.scores)), key=lambda index: -ranked.scores[index])
    return to_json(
        Rankings(
            id=f"rerank-{uuid.uuid4().hex}",
            object="list",
            model=asked.model,
            results=[
                RankedDocument(
                    index=index,
                    relevance_score=ranked.scores[index],
                    document=Document(asked.documents[index]) if body.return_documents else UNSET,
                )
                for index in best[: body.top_n]
            ],
            usage=EmbeddingsUsage(prompt_tokens=ranked.prompt_tokens, total_tokens=ranked.prompt_tokens),
        )
    )
