"""`runner ps`: the models in memory."""

from __future__ import annotations

from datetime import UTC, datetime

from runner.cli import output, wording
from runner.cli.arguments import AsJson, Host, Prefix
from runner.cli.client import Json
from runner.cli.connect import daemon

EXAMPLES = """
runner ps
runner ps --json
"""
_KEYS = ("name", "digest", "size", "size_vram", "context_length", "expires_at")
_OUR_KEYS = ("state", "sequences", "running", "waiting")  # which a daemon of Ollama's doesn't have
_UNDER_WAY = {"loading": "Loading...", "stopping": "Stopping..."}


def command(prefix: Prefix = "", as_json: AsJson = False, host: Host = None) -> None:
    """List the models that are loaded, and for how long they stay."""
    models = [
        model
        for model in daemon(host, autostart=False).get("/api/ps").get("models", [])
        if str(model.get("name", "")).lower().startswith(prefix.lower())
    ]
    if as_json:
        output.data([_row(model) for model in models])
        return
    now = datetime.now(UTC)
    output.table(("NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL"), (_cells(model, now) for model in models))


def _cells(model: Json, now: datetime) -> tuple[str, ...]:
    size = int(model.get("size") or 0)
    return (
        str(model.get("name", "")),
        wording.short_digest(str(model.get("digest", ""))),
        wording.size(size),
        wording.processor(size, int(model.get("size_vram") or 0)),
        str(model.get("context_length") or "-"),
        _UNDER_WAY.get(model.get("state", "")) or wording.until(model.get("expires_at"), now),
    )


def _row(model: Json) -> Json:
    return {key: model.get(key) for key in (*_KEYS, *_OUR_KEYS)}
