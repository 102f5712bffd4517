"""What the daemon says of where models came from, as values. Knows the endpoint, and not what is done with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runner.cli.client import Client, Json

_FILES = ("model", "projector", "adapter", "draft")  # how the types of layers end that are GGUFs


@dataclass(frozen=True, slots=True)
class Held:
    """A model that is in the store. `reference` and `revision` are empty unless it was pulled, `modelfile` unless it
    was created; `base_digest` is that of the model it was created from. `files` are its GGUFs."""

    digest: str
    quantization: str
    modified_at: str
    reference: str
    origin: str
    revision: str
    modelfile: str
    base: str
    base_digest: str
    files: tuple[Json, ...]


@dataclass(frozen=True, slots=True)
class Meant:
    """What a text means: a name, what a pull would take, and the model if it is here. `problem` says why one that is
    here is of no use."""

    name: str
    reference: str
    held: Held | None
    problem: str = ""


def ask(client: Client, texts: Sequence[str]) -> dict[str, Meant]:
    """What each text means. Raises Failure, also for a text that can't be a model's name."""
    if not texts:
        return {}
    answer = client.post("/runner/provenance", {"models": list(dict.fromkeys(texts))})
    return {str(each["asked"]): _meant(each) for each in answer.get("models", [])}


def ask_all(client: Client) -> list[Meant]:
    """Every model of the store, by name."""
    return [_meant(each) for each in client.post("/runner/provenance", {}).get("models", [])]


def _meant(told: Json) -> Meant:
    stored = told.get("stored")
    problem = str(told.get("problem") or "")
    return Meant(str(told["name"]), str(told.get("reference") or ""), _held(stored) if stored else None, problem)


def _held(stored: Json) -> Held:
    source, recipe = stored.get("source") or {}, stored.get("recipe") or {}
    return Held(
        digest=str(stored["digest"]),
        quantization=str(stored.get("quantization") or ""),
        modified_at=str(stored["modified_at"]),
        reference=str(source.get("reference") or ""),
        origin=str(source.get("origin") or ""),
        revision=str(source.get("revision") or ""),
        modelfile=str(recipe.get("modelfile") or ""),
        base=str(recipe.get("base") or ""),
        base_digest=str(recipe.get("base_digest") or ""),
        files=tuple(each for each in stored["layers"] if str(each["media_type"]).rpartition(".")[2] in _FILES),
    )
