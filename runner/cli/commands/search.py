"""`runner search`: models by words, in the catalog and on Hugging Face."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from runner.cli import output
from runner.cli.arguments import AsJson, Host
from runner.cli.cards import look as lookcard
from runner.cli.client import Json
from runner.cli.connect import daemon
from runner.cli.failures import Exit, Failure

_MOST = 100
EXAMPLES = """
runner search qwen
runner search "code apache" --limit 5
runner search
runner search embedding --catalog
"""


def command(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="Words to look for; none lists the catalog.")] = "",
    limit: Annotated[int, typer.Option("--limit", help=f"Most rows of each kind, up to {_MOST}.")] = 20,
    only: Annotated[bool, typer.Option("--catalog", help="The catalog alone; asks no network.")] = False,
    as_json: AsJson = False,
    host: Host = None,
) -> None:
    """Find models to pull.

    The catalog's models were chosen by hand, and are there without a network; what Hugging Face has beyond them, nobody
    at Runner has looked at. Sizes and whether they fit this machine are rough here: `runner pull --dry-run MODEL` looks
    closely.
    """
    if not 1 <= limit <= _MOST:
        raise Failure(f"--limit takes a number from 1 to {_MOST}, not {limit}", Exit.USAGE)
    body = {"text": text, "limit": limit, "hub": not only}
    found = daemon(host).post("/runner/search", body, timeout=None)
    if as_json:
        output.data(found)
    else:
        _show(found, text, limit, only)


def _show(found: Json, text: str, limit: int, only: bool) -> None:
    entries, repositories = found.get("catalog") or [], found.get("hub") or []
    tags = sum(len(entry.get("tags") or ()) for entry in entries)
    folded = tags > limit and bool(text.strip())
    if entries and folded:
        output.line("IN THE CATALOG\n")
    if entries and (folded or not text.strip()):
        output.table(lookcard.OVERVIEW, lookcard.overview(entries), lookcard.OVERVIEW_SPARE)
    elif entries:
        output.line("IN THE CATALOG\n")
        text = lookcard.catalog(entries)
        output.line(output.folded(text, output.columns(sys.stdout), "    ") if sys.stdout.isatty() else text)
    if repositories:
        output.line(("\n" if entries else "") + "ON HUGGING FACE, unchecked\n")
        output.table(lookcard.HUB, lookcard.hub(repositories, datetime.now(UTC)), lookcard.HUB_SPARE)
    if not entries and not repositories:
        asked = ""
        if not found.get("note") and text.strip():
            asked = " in the catalog; Hugging Face wasn't asked" if only else " in the catalog or on Hugging Face"
        output.say(f"nothing found for {output.on_one_line(text)!r}{asked}")
    if folded:
        output.say(f"a row for each model, as all of their tags are more than {limit} rows: --limit {min(tags, _MOST)}")
    if found.get("note"):
        output.say(f"Hugging Face could not be searched: {output.on_one_line(str(found['note']))}")
