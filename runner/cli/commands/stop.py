"""`runner stop`: take models out of memory."""

from __future__ import annotations

from runner.cli import output
from runner.cli.arguments import Host, Models
from runner.cli.connect import daemon
from runner.cli.each import each

EXAMPLES = """
runner stop qwen3
runner stop qwen3 nomic-embed-text
"""


def command(models: Models, host: Host = None) -> None:
    """Unload models; what they are answering ends first.

    One that is pinned stays so: its next request loads it anew, and then it stays.
    """
    client = daemon(host, autostart=False)
    loaded = client.get("/api/ps").get("models") or ()
    pinned = {str(each.get("name")).lower() for each in loaded if each.get("pinned")}

    def stop(model: str) -> None:
        client.post("/api/generate", {"model": model, "keep_alive": 0, "stream": False})
        if pinned & {model.lower(), f"{model.lower()}:latest"}:
            output.say(f'{model} is still pinned: its next request loads it, to stay; "runner unpin {model}" ends that')

    each(models, stop)
