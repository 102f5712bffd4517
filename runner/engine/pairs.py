"""A query and a document as one input of a model that ranks, put together as llama.cpp's server does.

By the template of the model's own where it has one, else by the vocabulary's separators.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from runner.llama.model import Model

_PLACES = re.compile(r"\{(query|document)\}")


def pairing(model: Model, query: str) -> Callable[[str], list[int]]:
    """What gives the token ids of this query with a document."""
    template = model.chat_template("rerank")
    if template is not None:
        return lambda document: model.tokenize(_filled(template, query, document), special=True, bos=False)
    eos = model.eos if model.eos >= 0 else model.sep
    end = [eos] if model.adds_eos and eos >= 0 else []
    start = [model.bos] if model.adds_bos and model.bos >= 0 else []
    middle = [model.sep] if model.adds_sep and model.sep >= 0 else []
    before = [*start, *model.tokenize(query, special=False, bos=False), *end, *middle]
    return lambda document: [*before, *model.tokenize(document, special=False, bos=False), *end]


def _filled(template: str, query: str, document: str) -> str:
    """In one go: a query that speaks of {document} stays as it is."""
    return _PLACES.sub(lambda place: query if place[1] == "query" else document, template)
