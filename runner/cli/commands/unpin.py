"""`runner unpin`: no longer keep models in memory."""

from __future__ import annotations

from runner.cli import output
from runner.cli.arguments import Host, Models
from runner.cli.connect import daemon
from runner.cli.each import each

EXAMPLES = """
runner unpin qwen3
"""


def command(models: Models, host: Host = None) -> None:
    """No longer keep models in memory.

    They aren't unloaded by this: they go when their time is over, or others need their room.
    """
    client = daemon(host, autostart=False)

    def unpin(model: str) -> None:
        if client.post("/runner/unpin", {"model": model})["changed"]:
            output.say(f"{model} is pinned no more: it goes when its time is over, or others need its room")
        else:
            client.post("/api/show", {"model": model})  # one that isn't there is an error, and said to be
            output.say(f"{model} was not pinned")

    each(models, unpin)
