"""What the settings say of models: the length of a context, options for all and for single ones, the workers' shell.

Weighs less than a request and a Modelfile, and more than the author's advice; `inference/options` merges.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from registry.errors import BadName
from registry.names import Name
from runner.config import ModelSettings
from runner.protocol.sandbox import Sandbox

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Defaults:
    """`context_length` in tokens (0: none), `num_parallel` sequences (0: auto), `models` by any of their names.

    `generation` counts how often all of this has changed.
    """

    context_length: int = 0
    num_parallel: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    models: Mapping[str, ModelSettings] = field(default_factory=dict)
    sandbox: Sandbox = field(default_factory=Sandbox)
    generation: int = 0

    def options_of(self, name: Name) -> dict[str, Any]:
        """The options for a model: its own entry's over those for all."""
        return {**self.options, **self.of(name).options}

    def keep_alive_of(self, name: Name) -> float | None:
        """Seconds that it stays without requests, None where its entry doesn't say. One that is pinned stays."""
        entry = self.of(name)
        return math.inf if entry.pin and entry.keep_alive is None else entry.keep_alive

    def of(self, name: Name) -> ModelSettings:
        """A model's entry, empty where it has none."""
        for written, entry in self.models.items():
            try:
                if Name.parse(written).key == name.key:
                    return entry
            except BadName as error:
                log.warning("per_model: %s", error)
        return ModelSettings()
