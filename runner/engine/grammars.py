"""The grammars of one model: compiled once, the latest kept.

Loaded with the first request that needs it, as the library behind it takes a while.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import numpy as np
from llguidance import LLMatcher, LLTokenizer

from runner.engine import demand, grammar
from runner.engine.constrain import Form
from runner.engine.trial import Trial, told
from runner.errors import InvalidRequest
from runner.formats import markers_of
from runner.llama.model import Model
from runner.llama.vocabulary import tables
from runner.protocol.commands import Constraint

_MOST_GRAMMARS = 64
_MOST_TEXT = 1 << 20  # bytes of all their texts together
# Seconds for each token of a vocabulary in which llguidance lets no other thread run while it makes its tables: twenty
# times what it takes on a machine that has nothing else to do.
_SILENCE = 2e-4

Silence = Callable[[float], AbstractContextManager[object]]
"""Announces that no thread may get to run for so many seconds."""


class Grammars:
    """Compiles constraints for one model. Several threads may ask; new constraints are compiled one after the other.
    Before the first, `silence` is announced."""

    def __init__(self, model: Model, silence: Silence = nullcontext) -> None:
        self._model = model
        self._silence = silence
        self._lock = threading.Lock()
        self._known: OrderedDict[bytes, tuple[Form | InvalidRequest, int]] = OrderedDict()
        self._compiling = threading.Lock()  # holds together what follows
        self._trial = Trial()
        self._tables: LLTokenizer | None = None
        self._specials = np.zeros(0, np.int64)

    def form(self, constraint: Constraint) -> Form:
        """The constraint, compiled.

        Raises InvalidRequest naming the field and what in it is wrong, within two seconds, also for a text that was
        made to take longer.
        """
        grammar.check_size(constraint)
        key = hashlib.sha256("\0".join((constraint.kind, constraint.field, constraint.text)).encode()).digest()
        found = self._find(key)
        if found is None:
            with self._compiling:
                found = self._find(key) or self._keep(key, self._compiled(constraint), len(constraint.text))
        if isinstance(found, InvalidRequest):
            raise InvalidRequest(found.message, field=found.field)
        if found.too_slow:
            raise found.refusal()
        return found

    def close(self) -> None:
        """End the helper process."""
        with self._compiling:
            self._trial.close()

    def _compiled(self, constraint: Constraint) -> Form | InvalidRequest:
        """The form, or why there is none: to be told again at once to who asks again."""
        try:
            source = self._trial.judge(constraint)
        except InvalidRequest as refusal:
            return refusal
        if self._tables is None:
            with self._silence(_SILENCE * self._model.n_vocab):
                self._tables = tables(self._model)
            ids = (token for token in range(self._model.n_vocab) if self._tables.is_special_token(token))
            self._specials = np.fromiter(ids, np.int64)
        specials = self._specials
        if constraint.kind == "calls":
            demanded = demand.read(constraint.text)
            markers = self._markers(demanded, self._tables)
            source = grammar.of_calls(demanded, markers)
            specials = specials[~np.isin(specials, list(markers.values()))]
        matcher = LLMatcher(self._tables, source, log_level=0, limits=grammar.LIMITS)
        if error := told(matcher.get_error()):
            return InvalidRequest(f"{constraint.field}: {error}", field=constraint.field)
        return Form(matcher, specials, constraint.field)

    def _markers(self, demanded: demand.Demand, tables: LLTokenizer) -> dict[str, int]:
        """The markers of a format that are tokens of this vocabulary, and no text."""
        found = {marker: self._model.tokenize(marker, special=True, bos=False) for marker in markers_of(demanded.form)}
        return {
            marker: tokens[0]
            for marker, tokens in found.items()
            if len(tokens) == 1 and tables.is_special_token(tokens[0])
        }

    def _find(self, key: bytes) -> Form | InvalidRequest | None:
        with self._lock:
            if key not in self._known:
                return None
            self._known.move_to_end(key)
            return self._known[key][0]

    def _keep(self, key: bytes, found: Form | InvalidRequest, size: int) -> Form | InvalidRequest:
        with self._lock:
            self._known[key] = found, size
            while len(self._known) > _MOST_GRAMMARS or sum(size for _, size in self._known.values()) > _MOST_TEXT:
                self._known.popitem(last=False)
        return found
