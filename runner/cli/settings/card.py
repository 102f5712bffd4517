"""Settings as people and scripts see them: values as config.yaml would have them, secrets only as set or not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner.cli import wording
from runner.config import SETTINGS, Address, ModelSettings, Places, parse_duration, parse_size, written_size

SECRET = "api_key"
"""The setting that no screen shows."""
_SPANS = {row.name for row in SETTINGS if row.read is parse_duration}
_SIZES = {row.name for row in SETTINGS if row.read is parse_size} | {"max_body"}


def shown(name: str, value: Any) -> Any:
    """A setting's value as the configuration would write it."""
    if name == SECRET:
        return "(set)" if value else ""
    if name in _SPANS:
        return wording.duration(value)
    if name in _SIZES:
        return written_size(value)
    if name == "num_parallel" and value == 0:
        return "auto"
    if isinstance(value, Address | Path | Places):
        return str(value)
    if name == "per_model":
        return {model: _entry(entry) for model, entry in value.items()}
    if isinstance(value, Mapping):
        return [f"{name}={model}" for name, model in value.items()]
    return list(value) if isinstance(value, tuple) else value


def part(value: Any, last: str) -> Any:
    """The value of an entry inside a setting; `last` is its own name."""
    if isinstance(value, ModelSettings):
        return _entry(value)
    if last == "keep_alive":
        return wording.duration(value)
    return dict(value) if isinstance(value, Mapping) else value


def cell(value: Any) -> str:
    """The same in a line of text."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return json.dumps(value) if value else ""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


ZERO = {
    "max_loaded_models": "3",
    "max_memory": "what is free",
    "context_length": "what fits",
    "prefix_ram": "none",
    "prefix_disk": "none",
    "stored_responses": "none",
    "request_log": "none",
    "download_rate": "no limit",
    "log_size": "none",
}
"""What 0 means, where it isn't a number like others."""


def told(name: str, value: Any) -> str:
    """A setting's value, as `shown` gives it, in a table for people."""
    text = cell(value)
    return f"0 ({ZERO[name]})" if name in ZERO and text == "0" else text


def _entry(entry: ModelSettings) -> dict[str, Any]:
    """What is set of a model's entry."""
    found: dict[str, Any] = {"options": dict(entry.options)} if entry.options else {}
    if entry.keep_alive is not None:
        found["keep_alive"] = wording.duration(entry.keep_alive)
    return found | ({"pin": True} if entry.pin else {})
