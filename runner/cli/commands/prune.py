"""`runner prune`: free what no model uses."""

from __future__ import annotations

from typing import Annotated

import typer

from runner.cli import output, wording
from runner.cli.arguments import AsJson, Host
from runner.cli.client import Json
from runner.cli.connect import daemon
from runner.cli.failures import Exit, Failure
from runner.config import parse_duration

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
    try:
        if parse_duration(grace or 0) == float("inf"):  # as negative ones are read
            raise ValueError(f"takes a time that is not less than 0, not {grace!r}")
    except ValueError as error:
        raise Failure(f"--grace {error}", Exit.USAGE) from None
    body: Json = {"dry_run": dry_run} | ({} if grace is None else {"grace": grace})
    freed = daemon(host).post("/runner/prune", body, timeout=None)
    count, size = int(freed.get("count") or 0), int(freed.get("bytes") or 0)
    shared, removed = int(freed.get("shared") or 0), freed.get("removed") or []
    references = int(freed.get("references") or 0)
    if as_json:
        output.data({"count": count, "bytes": size, "shared": shared, "references": references, "removed": removed})
        return
    if dry_run:
        for each in removed:
            kind, bytes_ = each.get("kind", "file"), wording.size(int(each.get("size") or 0))
            output.line(output.on_one_line(f"{kind}: {each.get('path')} ({bytes_})"))
    verb, end = ("would remove", "to be freed") if dry_run else ("removed", "freed")
    output.line(f"{verb} {wording.counted(count, 'file')}, {wording.size(size)} {end}")
    if shared:
        output.say(f"{wording.size(shared)} more stay on the disk, as other programs have these files too")
    if references:
        one = references == 1
        what = "1 file of another tool is" if one else f"{references} files of other tools are"
        output.say(f"{what} not {'needed' if dry_run else 'referred to'} any more, and {'stays' if one else 'stay'}")
