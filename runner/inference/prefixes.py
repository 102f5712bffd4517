"""The files of computed prefixes, as the daemon sees them: whose they are, where they go, and which have to go.

Workers write and read them (`engine/archive`); here only folders are named and removed.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from registry import manifest as media
from registry.stored import StoredModel
from runner.protocol.commands import PrefixStore


@dataclass(slots=True)
class PrefixFolders:
    """Every model's folder below `root`. `ram` and `disk` are the limits in bytes, 0 for none; the daemon may give it
    others."""

    root: Path
    ram: int
    disk: int

    def of(self, model: StoredModel) -> PrefixStore:
        """What a worker of this model may keep, and where."""
        return PrefixStore(self.ram, self.disk, str(self.root), _key(model))

    def sweep(self, kept: Iterable[StoredModel]) -> None:
        """Remove the files of every model but these: they hold what somebody wrote to a model that is gone."""
        keys = {_key(model) for model in kept}
        with suppress(FileNotFoundError):
            for folder in list(self.root.iterdir()):
                if folder.name not in keys:
                    shutil.rmtree(folder, ignore_errors=True)


def _key(model: StoredModel) -> str:
    """Names what decides a prefix's state: weights and projector, whatever it is called or told to say. With which
    adapters it was computed, each file says."""
    layers = [layer for kind in (media.MODEL, media.PROJECTOR) for layer in model.manifest.of(kind)]
    return hashlib.sha256(" ".join(str(layer.digest) for layer in layers).encode()).hexdigest()[:32]
