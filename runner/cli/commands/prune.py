"""`runner prune`: free what no model uses."""

from __future__ import annotations

from runner.cli import output, wording
from runner.cli.arguments import AsJson, Host
from runner.cli.connect import daemon

EXAMPLES = """
runner prune
runner prune --json
"""


def command(as_json: AsJson = False, host: Host = None) -> None:
    """Remove the files that no model uses any more."""
    freed = daemon(host).post("/runner/prune", {}, timeout=None)
    count, size = int(freed.get("count") or 0), int(freed.get("bytes") or 0)
    if as_json:
        output.data({"count": count, "bytes": size})
    else:
        output.line(f"removed {count} {'file' if count == 1 else 'files'}, {wording.size(size)} freed")
