"""`runner rm`: remove models from the store."""

from __future__ import annotations

from runner.cli import output
from runner.cli.arguments import Host, Models
from runner.cli.connect import daemon
from runner.cli.each import each

EXAMPLES = """
runner rm llama3.2:1b
runner rm mine mine:old
"""


def command(models: Models, host: Host = None) -> None:
    """Remove models from the store.

    Files that other models share with them stay.
    """
    client = daemon(host)

    def remove(model: str) -> None:
        client.delete("/api/delete", {"model": model})
        output.line(f"deleted {output.on_one_line(model)!r}")

    each(models, remove)
