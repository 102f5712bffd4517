"""`runner rm`: remove models from the store."""

from __future__ import annotations

from runner.cli import output, wording
from runner.cli.arguments import Host, Models
from runner.cli.connect import daemon
from runner.cli.each import each

EXAMPLES = """
runner rm llama3.2:1b
runner rm mine mine:old
"""

_REMAIN = {
    True: "{} remain in Hugging Face's cache, which other programs use; `hf cache rm` removes them",
    False: "{} remain on the disk, as other programs have these files too",
}


def command(models: Models, host: Host = None) -> None:
    """Remove models from the store.

    Files that other models share with them stay. A file that is in Hugging Face's cache as well goes on taking its
    space there: other programs use it.
    """
    client = daemon(host)

    def remove(model: str) -> None:
        told = client.delete("/api/delete", {"model": model, "report": True})
        output.line(f"deleted {output.on_one_line(model)!r}")
        if shared := int(told.get("shared") or 0):
            output.say(_REMAIN[bool(told.get("from_hub"))].format(wording.size(shared)))

    each(models, remove)
