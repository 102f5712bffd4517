"""Settings as people and scripts see them: values as config.yaml would have them, secrets only as set or not."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from runner.cli import wording
from runner.cli.output import on_one_line
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


def rows(heads: Sequence[str], found: Iterable[Sequence[str]], width: int) -> str:
    """Name, value and source in lines of `width` columns. Nothing is cut, so that it can be copied: what comes behind a
    value that is too long stands below it."""
    lines = [[on_one_line(cell) for cell in row] for row in (heads, *found)]
    name, value, source = (max(map(len, column)) for column in zip(*lines, strict=True))
    gap = "    " if name + value + source + 8 <= width else "  "
    value = min(value, max(width - name - source - 2 * len(gap), len("VALUE")))
    text = ""
    for first, second, third in lines:
        begun = f"{first.ljust(name)}{gap}"
        if len(second) > value and third:
            text += f"{begun}{second}\n{' ' * (name + len(gap) + value)}{gap}{third}\n"
        else:
            text += f"{begun}{second.ljust(value)}{gap}{third}".rstrip() + "\n"
    return text


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
