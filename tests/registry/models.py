"""Models made quickly: a store's test needs them by the dozen."""

from pathlib import Path

from modelfiles.parse import parse
from registry.create import create
from registry.store import Store
from registry.stored import StoredModel
from tests import tiny_gguf


def gguf_file(folder: Path, name: str = "tiny.gguf", seed: str = "x") -> Path:
    """A sound little GGUF; files of another `seed` have other bytes."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tiny_gguf.model(extra={"general.version": seed}).build())
    return path


def make(store: Store, name: str, folder: Path, seed: str = "x", more: str = "") -> StoredModel:
    """A model in the store, from a GGUF that isn't linked to it."""
    path = gguf_file(folder, f"{seed}.gguf", seed)
    return create(store, name, parse(f"FROM ./{path.name}\n{more}"), base=folder, taking="copy")
