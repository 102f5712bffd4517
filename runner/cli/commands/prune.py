"""`runner prune`: free what no model uses."""

from __future__ import annotations

from typing import Annotated

import typer

from runner.cli import output, wording
from runner.cli.arguments import AsJson, Host
from runner.cli.client import Json
from runner.cli.connect import daemon

EXAMPLES = """
runner prune
runner prune --dry-run
runner prune --grace 0
"""


def command(
    grace: Annotated[
        str | None,
        typer.Option("--grace", metavar="TIME", help="Keep what is younger, 1h by default; 0 also clears leftovers."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    as_json: AsJson = False,
    host: Host = None,
) -> None:
    """Remove the files that no model uses any more.

    Unfinished downloads, and files in quarantine, are kept for a week unless --grace is 0.
    """
    body: Json = {"dry_run": dry_run} | ({} if grace is None else {"grace": grace})
    freed = daemon(host).post("/runner/prune", body, timeout=None)
    count, size = int(freed.get("count") or 0), int(freed.get("bytes") or 0)
    shared, removed = int(freed.get("shared") or 0), freed.get("removed") or []
    if as_json:
        output.data({"count": count, "bytes": size, "shared": shared, "removed": removed})
        return
    if dry_run:
        for each in removed:
            kind, bytes_ = each.get("kind", "file"), wording.size(int(each.get("size") or 0))
            output.line(output.on_one_line(f"{kind}: {each.get('path')} ({bytes_})"))
    verb, end = ("would remove", "to be freed") if dry_run else ("removed", "freed")
    output.line(f"{verb} {wording.counted(count, 'file')}, {wording.size(size)} {end}")
    if shared:
        output.say(f"{wording.size(shared)} more stay on the disk, as other programs have these files too")
