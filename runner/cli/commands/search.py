"""`runner search`: models by words, in the catalog and on Hugging Face."""

from __future__ import annotations

import shutil
import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from runner.cli import lookcard, output
from runner.cli.arguments import AsJson, Host
from runner.cli.client import Json
from runner.cli.connect import daemon

EXAMPLES = """
runner search qwen
runner search "code apache" --limit 5
runner search
runner search embedding --catalog
"""


def command(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="Words to look for; none lists the catalog.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=100, help="Most results of each kind.")] = 20,
    only: Annotated[bool, typer.Option("--catalog", help="The catalog alone; asks no network.")] = False,
    as_json: AsJson = False,
    host: Host = None,
) -> None:
    """Find models to pull.

    The catalog's models were chosen by hand, and are there without a network; what Hugging Face has beyond them, nobody
    at Runner has looked at. Sizes and whether they fit this machine are rough here: `runner pull --dry-run MODEL` looks
    closely.
    """
    body = {"text": text, "limit": limit, "hub": not only}
    found = daemon(host).post("/runner/search", body, timeout=None)
    if as_json:
        output.data(found)
    else:
        _show(found, text)


def _show(found: Json, text: str) -> None:
    entries, repositories = found.get("catalog") or [], found.get("hub") or []
    if entries and not text.strip():
        rows = lookcard.overview(entries)
        if sys.stdout.isatty():
            rows = lookcard.narrowed(rows, lookcard.OVERVIEW, shutil.get_terminal_size().columns)
        output.table(lookcard.OVERVIEW, rows)
    elif entries:
        output.line("IN THE CATALOG\n")
        output.line(lookcard.catalog(entries))
    if repositories:
        output.line(("\n" if entries else "") + "ON HUGGING FACE, unchecked\n")
        output.table(lookcard.HUB, lookcard.hub(repositories, datetime.now(UTC)))
    if not entries and not repositories:
        output.say(f"nothing found for {output.on_one_line(text)!r}")
    if found.get("note"):
        output.say(f"Hugging Face could not be searched: {output.on_one_line(str(found['note']))}")
