"""Every dialect in one list: whatever is generated from their tables, or must hold for all of them, goes by it."""

from __future__ import annotations

from typing import Any

from runner.api.anthropic import wire as anthropic
from runner.api.fields import Answers, Dialect
from runner.api.llamacpp import wire as llamacpp
from runner.api.native import answers
from runner.api.native import wire as native
from runner.api.openai import rerank
from runner.api.openai import wire as openai
from runner.api.openai.responses import events as responses
from runner.api.openai.responses.wire import FIELDS as RESPONSE_FIELDS
from runner.api.own import tables as own

DIALECTS = (
    Dialect("ollama", "Ollama's", answers.Error, native.FIELDS, answers.ANSWERS, streams="application/x-ndjson"),
    Dialect(
        "openai",
        "OpenAI's",
        openai.Error,
        {**openai.FIELDS, **rerank.FIELDS, **RESPONSE_FIELDS},
        {
            **openai.ANSWERS,
            **rerank.ANSWERS,
            **responses.ANSWERS,
            "/v1/models": Answers((openai.Models, anthropic.Models)),  # by the header `anthropic-version`
            "/v1/models/{name}": Answers((openai.Model, anthropic.Model)),
        },
        rerank.ALIASES,
    ),
    Dialect("anthropic", "Anthropic's", anthropic.Error, anthropic.FIELDS, anthropic.ANSWERS),
    Dialect("llamacpp", "llama-server's and vLLM's", llamacpp.Error, llamacpp.FIELDS, llamacpp.ANSWERS),
    Dialect(
        "runner",
        "Runner's own",
        answers.Error,
        own.FIELDS,
        {**own.ANSWERS, "/metrics": Answers("text/plain"), "/openapi.json": Answers(dict[str, Any])},
        streams="application/x-ndjson",
    ),
)


def dialect_of(path: str) -> Dialect | None:
    """The dialect that has an endpoint under this path pattern."""
    return next((dialect for dialect in DIALECTS if dialect.owns(path)), None)
