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
    """List the models in the store. A broken one is marked, and what is wrong with it said."""
    told = daemon(host).get("/api/tags")
    models, broken = (
        [each for each in told.get(part) or () if str(each.get("name", "")).lower().startswith(prefix.lower())]
        for part in ("models", "broken")
    )
    if as_json:
        output.data([*map(_row, models), *(_row(each) | {"broken": each.get("reason")} for each in broken)])
        return
    now = datetime.now(UTC)
    output.table(
        ("NAME", "ID", "SIZE", "MODIFIED"),
        [
            *(
                (
                    str(model.get("name", "")),
                    wording.short_digest(str(model.get("digest", ""))),
                    wording.size(model.get("size", 0)),
                    wording.ago(str(model.get("modified_at", "")), now),
                )
                for model in models
            ),
            *((str(each.get("name", "")), "broken", "-", "-") for each in broken),
        ],
    )
    for each in broken:
        output.say(output.on_one_line(f"{each.get('name')} is broken: {each.get('reason')}"))
    if broken:
        output.say("`runner verify MODEL --repair` brings back what came from a source; `runner rm MODEL` removes it")


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
