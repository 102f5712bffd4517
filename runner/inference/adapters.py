"""The LoRA adapters of a request: those of its model, those that it names itself, or the one in `model:adapter`.

An adapter is known by the name of a stored model that has it (ADAPTER in its Modelfile), and goes with any model that
it fits by its tensors. Reads the store and headers; knows no worker.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from registry import manifest as media
from registry.errors import BadName, NotFound, RegistryError
from registry.gguf.check import check_adapter
from registry.gguf.facts import facts
from registry.gguf.reader import read_header
from registry.stored import StoredModel
from runner.errors import InvalidRequest
from runner.inference.requests import MOST_LORAS, STRONGEST_LORA, Lora
from runner.protocol.commands import Adapter, Adapters

_REMEMBERED = 256  # answers to whether an adapter fits a model
_SPLITS = 3  # colons of a name that are tried
Find = Callable[[str], StoredModel]
"""The stored model of a name, its files checked; raises as `Store.show` and `Store.check` do."""


@dataclass(frozen=True, slots=True)
class Worn:
    """An adapter in people's words: the stored model that has it, as `lora` would name it, and its strength."""

    name: str
    scale: float


def described(adapters: Adapters, models: Iterable[StoredModel]) -> tuple[Worn, ...]:
    """Adapters by the models that have them; of several, the one that has the fewest, so that its name says most."""
    bearers = sorted(models, key=lambda each: (len(each.adapters), str(each.name)))
    found: list[Worn] = []
    for adapter in adapters:
        names = (str(each.name) for each in bearers if Path(adapter.path) in each.adapters)
        found.append(Worn(next(names, Path(adapter.path).name), adapter.scale))
    return tuple(found)


def own(model: StoredModel) -> Adapters:
    """Those of the Modelfile, each as strong as its file says. One that is named twice counts twice."""
    return _ordered((str(path), 1.0) for path in model.adapters)


class AdapterFinder:
    """Safe to call from several threads."""

    def __init__(self, find: Find) -> None:
        self._find = find
        self._fits: OrderedDict[tuple[Path, ...], str | None] = OrderedDict()  # None, or why it doesn't
        self._lock = threading.Lock()

    def of(self, model: StoredModel, loras: Sequence[Lora]) -> Adapters:
        """What a request wants in place of the model's own. Raises InvalidRequest naming the part of `lora`."""
        if len(loras) > MOST_LORAS:
            raise InvalidRequest(f"lora has {len(loras)} adapters; a request may have {MOST_LORAS}", field="lora")
        found: dict[Path, float] = {}
        for index, lora in enumerate(loras):
            at = f"lora[{index}]"
            if not math.isfinite(lora.scale) or abs(lora.scale) > STRONGEST_LORA:
                raise InvalidRequest(
                    f"{at}.scale must be a number from -{STRONGEST_LORA:g} to {STRONGEST_LORA:g}", field=f"{at}.scale"
                )
            for path in self._paths(model, lora, at):
                if path in found:
                    raise InvalidRequest(f"{at} is an adapter that lora has already", field=at)
                found[path] = lora.scale
        return _ordered((str(path), scale) for path, scale in found.items())

    def split(self, asked: str) -> tuple[StoredModel, Adapters] | None:
        """What `model:adapter` means, where both are stored. Raises InvalidRequest if they don't belong together."""
        for at in [place for place, letter in enumerate(asked) if letter == ":"][: -_SPLITS - 1 : -1]:
            try:
                model, bearer = self._find(asked[:at]), self._find(asked[at + 1 :])
            except (BadName, NotFound):
                continue
            if bearer.adapters:
                self._check(model, bearer, bearer.adapters, asked[at + 1 :], "model")
                return model, own(bearer)
        return None

    def _paths(self, model: StoredModel, lora: Lora, at: str) -> tuple[Path, ...]:
        """The adapters that one part of `lora` means; those of the model itself by their numbers too."""
        if lora.name is None:
            if lora.id is None or not 0 <= lora.id < len(model.adapters):
                have = f"its adapters are 0 to {len(model.adapters) - 1}" if model.adapters else "it has no adapter"
                raise InvalidRequest(f'{at}.id must be that of an adapter of "{model.name}": {have}', field=f"{at}.id")
            return (model.adapters[lora.id],)
        field = f"{at}.name"
        try:
            bearer = self._find(lora.name)
        except NotFound as error:
            near = f"; did you mean {', '.join(error.near)}?" if error.near else ""
            raise InvalidRequest(f'{field}: there is no model "{lora.name[:100]}"{near}', field=field) from error
        except BadName as error:
            raise InvalidRequest(f"{field}: {error}", field=field) from error
        if not bearer.adapters:
            raise InvalidRequest(f'{field}: "{bearer.name}" has no adapter', field=field)
        self._check(model, bearer, bearer.adapters, lora.name, field)
        return bearer.adapters

    def _check(
        self, model: StoredModel, bearer: StoredModel, adapters: Iterable[Path], called: str, field: str
    ) -> None:
        """Whether they were made for weights like this model's. Raises InvalidRequest."""
        if model.manifest.of(media.MODEL) == bearer.manifest.of(media.MODEL):
            return  # they were compared when they were put together
        for adapter in adapters:
            reason = self._reason(adapter, model.weights)
            if reason is not None:
                raise InvalidRequest(f'"{called[:100]}" does not go with "{model.name}": {reason}', field=field)

    def _reason(self, adapter: Path, weights: tuple[Path, ...]) -> str | None:
        key = (adapter, *weights)
        with self._lock:
            if key in self._fits:
                self._fits.move_to_end(key)
                return self._fits[key]
        reason = _why_not(adapter, weights)
        with self._lock:
            self._fits[key] = reason
            while len(self._fits) > _REMEMBERED:
                self._fits.popitem(last=False)
        return reason


def _why_not(adapter: Path, weights: tuple[Path, ...]) -> str | None:
    """Why an adapter doesn't fit these weights; None if it does."""
    try:
        header, base = read_header(adapter), [read_header(path) for path in weights]
        made_for, there = facts(header).architecture, facts(base[0]).architecture
        if made_for != there:
            return f"it is an adapter for {made_for}, and the model is {there}"
        check_adapter(header, base)
    except RegistryError as error:
        return str(error)
    return None


def _ordered(given: Iterable[tuple[str, float]]) -> Adapters:
    """Each once, in the order of their paths, without those of no strength."""
    strengths: dict[str, float] = {}
    for path, scale in given:
        strengths[path] = strengths.get(path, 0.0) + scale
    return tuple(Adapter(path, scale) for path, scale in sorted(strengths.items()) if scale)
