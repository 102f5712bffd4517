"""`runner config`: every setting, its value, and where the value comes from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner.cli import output, wording
from runner.cli.arguments import AsJson, Host
from runner.cli.connect import settings
from runner.config import SETTINGS, Address, Places

EXAMPLES = """
runner config
runner config --json
"""
_SECRET = "api_key"
_SPANS = ("queue_timeout", "keep_alive", "load_timeout")
_SIZES = ("prefix_ram", "prefix_disk")


def command(as_json: AsJson = False, host: Host = None) -> None:
    """Show every setting, and where its value comes from.

    A setting is given as a flag of `runner serve`, as RUNNER_<NAME> in the environment, or in config.yaml, in this
    order of weight.
    """
    found = settings(host)
    values: dict[str, Any] = {row.name: _shown(row.name, getattr(found, row.name)) for row in SETTINGS}
    if as_json:
        output.data([{"name": name, "value": value, "source": found.sources[name]} for name, value in values.items()])
        return
    output.table(
        ("NAME", "VALUE", "FROM"), ((name, _cell(value), found.sources[name]) for name, value in values.items())
    )
    file = found.folders.config / "config.yaml"
    output.say(f"\nSettings file: {file}{'' if file.exists() else ' (not there)'}")


def _shown(name: str, value: Any) -> Any:
    """A value as the configuration would write it; secrets are not shown."""
    if name == _SECRET:
        return "(set)" if value else ""
    if name in _SPANS:
        return wording.duration(value)
    if name in _SIZES:
        return f"{value / 2**20:g}MB"
    if name == "num_parallel" and value == 0:
        return "auto"
    if isinstance(value, Address | Path | Places):
        return str(value)
    if isinstance(value, Mapping):
        return [f"{name}={model}" for name, model in value.items()]
    return list(value) if isinstance(value, tuple) else value


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(value) if isinstance(value, list) else str(value)
