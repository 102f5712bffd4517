"""A model's vocabulary as llguidance wants it: the tables by which a grammar says which tokens may come next.

llguidance brings a builder of its own for llama.cpp, which calls what llama-cpp-python warns of, once for each token.
"""

from __future__ import annotations

import ctypes
from typing import cast

import llama_cpp.llama_cpp as lib
from llguidance import LLTokenizer

from runner.errors import Unsupported
from runner.llama.model import Model

_SPECIAL = b"\xff"  # before the bytes of a token that is no text


def tables(model: Model) -> LLTokenizer:
    """Build the tables; half a second for 150k tokens, so once for each model, which must outlive them.

    Every token that ends an answer counts as the end. Raises Unsupported for a vocabulary that can't be tabled.
    """
    written = (model.read_piece(token, special=True) for token in range(model.n_vocab))
    tokens = [_SPECIAL + data if _is_special(model, token, data) else data for token, data in enumerate(written)]
    try:
        built = LLTokenizer.from_llamacpp(  # type: ignore[attr-defined] # its stubs leave it out
            tokens=tokens,
            vocab_ptr=model.vocab,
            tokenize_fptr=ctypes.cast(lib._lib.llama_tokenize, ctypes.c_void_p).value,
            eos_token=sorted(model.end_tokens),
            slices=None,
        )
    except ValueError as error:
        raise Unsupported(f"this model's vocabulary cannot be bound to a form: {error}", field="model") from error
    return cast(LLTokenizer, built)


def _is_special(model: Model, token: int, data: bytes) -> bool:
    """Whether a token is a marker, which no text of an answer may contain as such."""
    attributes = lib.llama_vocab_get_attr(model.vocab, token)
    return bool(attributes & lib.LLAMA_TOKEN_ATTR_CONTROL) or (
        bool(attributes & lib.LLAMA_TOKEN_ATTR_USER_DEFINED) and data.startswith(b"<") and data.endswith(b">")
    )
