"""`runner list`: the models in the store."""

from __future__ import annotations

from datetime import UTC, datetime

from runner.cli import output, wording
from runner.cli.arguments import AsJson, Host, Prefix
from runner.cli.client import Json
from runner.cli.connect import daemon

EXAMPLES = """
runner list
runner list qwen
runner list --json | jq -r '.[].name'
"""


def command(prefix: Prefix = "", as_json: AsJson = False, host: Host = None) -> None:
    """List the models in the store."""
    models = [
        model
        for model in daemon(host).get("/api/tags").get("models", [])
        if str(model.get("name", "")).lower().startswith(prefix.lower())
    ]
    if as_json:
        output.data([_row(model) for model in models])
        return
    now = datetime.now(UTC)
    output.table(
        ("NAME", "ID", "SIZE", "MODIFIED"),
        (
            (
                str(model.get("name", "")),
                wording.short_digest(str(model.get("digest", ""))),
                wording.size(model.get("size", 0)),
                wording.ago(str(model.get("modified_at", "")), now),
            )
            for model in models
        ),
    )


def _row(model: Json) -> Json:
    details = model.get("details") or {}
    return {
        "name": model.get("name"),
        "digest": model.get("digest"),
        "size": model.get("size"),
        "modified_at": model.get("modified_at"),
        "family": details.get("family"),
        "parameter_size": details.get("parameter_size"),
        "quantization": details.get("quantization_level"),
        "context_length": details.get("context_length"),
        "capabilities": model.get("capabilities"),
    }
