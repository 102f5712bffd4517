"""`runner config`: every setting, its value, and where the value comes from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from runner.cli import output, wording
from runner.cli.arguments import AsJson, Host
from runner.cli.client import Client
from runner.cli.connect import daemon, settings
from runner.cli.failures import Exit, Failure
from runner.config import SETTINGS, Address, ModelSettings, Places, Settings

EXAMPLES = """
runner config
runner config --json
runner config reload
"""
_SECRET = "api_key"
_ASK = 5.0  # seconds
_WHEN = {
    "now": "in force",
    "load": "in force; a loaded model that it concerns is let go, and loaded anew at its next request",
    "start": "waits until the daemon is started again: `runner shutdown`, then `runner serve`",
}
_SPANS = ("queue_timeout", "keep_alive", "load_timeout")
_SIZES = ("prefix_ram", "prefix_disk")


def command(
    action: Annotated[
        str | None, typer.Argument(metavar="[reload]", help="Have the daemon read config.yaml again now.")
    ] = None,
    as_json: AsJson = False,
    host: Host = None,
) -> None:
    """Show every setting, and where its value comes from.

    A setting is given as a flag of `runner serve`, as RUNNER_<NAME> in the environment, or in config.yaml, in this
    order of weight. The daemon sees a change of config.yaml by itself, within a few seconds.
    """
    if action is not None:
        _reload(action, as_json, host)
        return
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
    _tell_what_waits(found)


def _reload(action: str, as_json: bool, host: str | None) -> None:
    if action != "reload":
        raise Failure(f"config takes nothing or reload, not {action!r}", Exit.USAGE)
    change = daemon(host, autostart=False, warns=False).post("/runner/config/reload", {})
    if as_json:
        output.data(change)
        return
    for key, words in _WHEN.items():
        if names := change.get(key):
            output.line(f"{', '.join(map(str, names))}: {words}")
    if not any(change.get(key) for key in _WHEN):
        output.line("nothing has changed")


def _tell_what_waits(found: Settings) -> None:
    """What a daemon that runs says of settings that it hasn't taken over."""
    with suppress(Failure):  # there may be none, or an older one
        said = Client(found.host, found.api_key).get("/runner/config", timeout=_ASK)
        if said.get("refused"):
            output.say(f"The daemon goes on with what it had: {said['refused']}")
        waiting = [str(row.get("name")) for row in said.get("settings", []) if row.get("waiting") is not None]
        if waiting:
            output.say(f"{', '.join(waiting)}: {_WHEN['start']}")


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
    if name == "per_model":
        return {model: _entry(entry) for model, entry in value.items()}
    if isinstance(value, Mapping):
        return [f"{name}={model}" for name, model in value.items()]
    return list(value) if isinstance(value, tuple) else value


def _entry(entry: ModelSettings) -> dict[str, Any]:
    """What is set of a model's entry."""
    found: dict[str, Any] = {"options": dict(entry.options)} if entry.options else {}
    if entry.keep_alive is not None:
        found["keep_alive"] = wording.duration(entry.keep_alive)
    return found | ({"pin": True} if entry.pin else {})


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return json.dumps(value) if value else ""
    return ",".join(value) if isinstance(value, list) else str(value)
