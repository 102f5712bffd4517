"""From a name and options to what is stored: the model, its header's facts, its draft, its adapters, options merged.

Reads the store and headers, so it is called off the event loop. Knows no prompt and no load.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelfiles.parameters import Value
from registry.errors import BadName, NotFound, RegistryError, StorageFault
from registry.gguf.facts import Facts, facts
from registry.gguf.reader import read_header
from registry.store import Store
from registry.stored import StoredModel
from runner.errors import InvalidRequest, LoadFailed, UnknownModel, Unsupported
from runner.inference import options as merge
from runner.inference.adapters import AdapterFinder
from runner.inference.adapters import own as own_adapters
from runner.inference.aliases import Aliases
from runner.inference.defaults import Defaults
from runner.inference.requests import Lora
from runner.protocol.commands import Adapters

log = logging.getLogger(__name__)

_REMEMBERED = 64  # headers' facts
_NAMED = 5  # models that an error names


@dataclass(frozen=True, slots=True)
class Source:
    """A model as a request found it, with the facts of its header and the options already merged."""

    asked: str
    model: StoredModel
    facts: Facts
    own: Mapping[str, Any]  # the request's options, checked
    configured: Mapping[str, Any]  # the settings'
    merged: Mapping[str, Any]
    defaults: Defaults
    draft: tuple[Path, ...] = ()  # files of the model that drafts for it
    draft_facts: Facts | None = None
    adapters: Adapters = ()
    others: Callable[[str], Sequence[str]] = lambda capability: ()  # stored models that have a capability

    def has(self, capability: str) -> bool:
        """Whether the model can do that."""
        return capability in self.model.config.capabilities

    def need(self, capability: str, what: str, field: str | None = "model") -> None:
        """Raises Unsupported where it can't, naming stored models that can."""
        if not self.has(capability):
            instead = "; it ranks documents, and takes only /v1/rerank" if self.has("rerank") else ""
            others = self.others(capability)
            more = ", and others" if len(others) > _NAMED else ""
            who = f"; {', '.join(others[:_NAMED])}{more} can" if others else "; no model that is stored can"
            raise Unsupported(f'"{self.asked}" does not support {what}{instead}{who}', field=field)

    @property
    def is_plain(self) -> bool:
        """Whether the request says nothing of how the model is loaded, nor with which adapters."""
        return not merge.named_for_loading(self.own) and self.adapters == own_adapters(self.model)


class Finder:
    """Looks models up in a store, by their names and by `aliases`. Safe to call from several threads."""

    def __init__(self, store: Store, aliases: Aliases) -> None:
        self._store = store
        self._aliases = aliases
        self._adapters = AdapterFinder(self._whole)
        self._facts: OrderedDict[str, Facts] = OrderedDict()
        self._lock = threading.Lock()

    def find(
        self, asked: str, options: Mapping[str, Any], defaults: Defaults, lora: tuple[Lora, ...] | None = None
    ) -> Source:
        """The model of this name, with a request's options and adapters. Raises UnknownModel, InvalidRequest,
        LoadFailed."""
        own = merge.checked(options)
        with _as_request_errors(self._aliases.meant(asked) or asked):
            model, adapters = self._model(asked)
            adapters = adapters if lora is None else self._adapters.of(model, lora)
            found = self._facts_of(str(model.digest), model.weights)
        configured = defaults.options_of(model.name)
        merged = merge.recommended(found.sampling) | configured | dict(model.parameters) | own
        draft = self._draft_of(model, merged.get("draft_model"))
        with _as_request_errors(asked):
            draft_facts = self._facts_of(str(draft[0]), draft) if draft else None
        return Source(
            asked, model, found, own, configured, merged, defaults, draft, draft_facts, adapters, self._having
        )

    def _whole(self, name: str) -> StoredModel:
        """The model of this name, its files checked. Raises as `Store.show` and `Store.check` do."""
        model = self._aliases.find(self._store, name)
        self._store.check(model)
        try:
            return self._store.keep_adapters(model)
        except StorageFault as error:  # a worker that isn't shut in can read it where it lies
            log.warning(
                'an adapter of "%s" stays in another place, where workers may not see it: %s', model.name, error
            )
            return model

    def _model(self, asked: str) -> tuple[StoredModel, Adapters]:
        """The model of this name and its adapters, or else what the name means as `model:adapter`."""
        try:
            model = self._whole(asked)
        except (BadName, NotFound):
            split = self._adapters.split(asked)
            if split is None:
                raise
            return split
        return model, own_adapters(model)

    def _having(self, capability: str) -> Sequence[str]:
        return [str(each.name) for each in self._store.list() if capability in each.config.capabilities]

    def _draft_of(self, model: StoredModel, named: Value | None) -> tuple[Path, ...]:
        """Files of the model that drafts: the one named in the options, or else the model's own."""
        if named is None:
            return model.draft
        try:
            drafting = self._store.show(str(named))
            self._store.check(drafting)
        except RegistryError as error:
            raise InvalidRequest(f"option draft_model: {error}", field="options.draft_model") from error
        return drafting.weights

    def _facts_of(self, key: str, paths: Sequence[Path]) -> Facts:
        with self._lock:
            if known := self._facts.get(key):
                self._facts.move_to_end(key)
                return known
        found = facts(read_header(paths[0]), [read_header(path) for path in paths[1:]])
        with self._lock:
            self._facts[key] = found
            while len(self._facts) > _REMEMBERED:
                self._facts.popitem(last=False)
        return found


@contextmanager
def _as_request_errors(asked: str) -> Iterator[None]:
    """The registry's errors about a model that a request names, in the words of requests."""
    try:
        yield
    except NotFound as error:
        raise UnknownModel(asked, error.near) from error
    except BadName as error:
        raise InvalidRequest(str(error), field="model") from error
    except RegistryError as error:
        raise LoadFailed(str(error)) from error
