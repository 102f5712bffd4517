"""`runner ps`: the models in memory, those that are waited for, and how they do."""

from __future__ import annotations

import json
import shutil
import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from runner.cli import output
from runner.cli.arguments import AsJson, Host, Prefix
from runner.cli.cards import ps as pstable
from runner.cli.client import Client, Json
from runner.cli.connect import daemon

EXAMPLES = """
runner ps
runner ps --watch
runner ps --json
"""
_KEYS = ("name", "digest", "size", "size_vram", "context_length", "expires_at")
_OUR_KEYS = (
    "state", "status", "sequences", "running", "waiting", "queued", "estimate", "progress", "memory", "placement",
    "context_source", "kv", "decode_rate", "prefill_rate", "loaded_at", "load_seconds", "pid", "shared_with",
)  # fmt: skip  # which a daemon of Ollama's doesn't have


def command(
    prefix: Prefix = "",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it again and again, until Ctrl-C.")] = False,
    interval: Annotated[
        float, typer.Option("--interval", metavar="SECONDS", min=0.1, max=3600.0, help="Time between two looks.")
    ] = 1.0,
    as_json: AsJson = False,
    host: Host = None,
) -> None:
    """List the models that are loaded or waited for.

    SIZE and PROCESSOR say where the memory is, KV is the share of the context's cells that running requests hold, TOK/S
    what is generated now, all requests together. With --json and --watch, a line of JSON for each look.
    """
    client = daemon(host, autostart=False)
    if watch:
        from runner.cli.watching import watch as again  # on use

        again(lambda: _as_text(_asked(client, prefix), as_json), interval, is_data=as_json)
        return
    answer = _asked(client, prefix)
    if as_json:
        output.data([_row(model) for model in answer["models"]])
        return
    output.line("\n".join(pstable.lines(answer, datetime.now(UTC), _columns())))
    if said := pstable.totals(answer):
        output.say(said)


def _asked(client: Client, prefix: str) -> Json:
    """What the daemon says, of the models whose names begin so."""
    answer = client.get("/api/ps")
    models = [
        each for each in answer.get("models") or () if str(each.get("name", "")).lower().startswith(prefix.lower())
    ]
    return {**answer, "models": models}


def _as_text(answer: Json, as_json: bool) -> str:
    if as_json:
        return json.dumps([_row(model) for model in answer["models"]], ensure_ascii=False)
    lines = pstable.lines(answer, datetime.now(UTC), _columns())
    return "\n".join((*lines, *filter(None, (pstable.totals(answer),))))


def _columns() -> int | None:
    """How wide the terminal is; None where it isn't one."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _row(model: Json) -> Json:
    return {key: model.get(key) for key in (*_KEYS, *_OUR_KEYS)}
