"""`runner stop`: take models out of memory."""

from __future__ import annotations

from runner.cli.arguments import Host, Models
from runner.cli.connect import daemon
from runner.cli.each import each

EXAMPLES = """
runner stop qwen3
runner stop qwen3 nomic-embed-text
"""


def command(models: Models, host: Host = None) -> None:
    """Unload models; what they are answering ends first."""
    client = daemon(host, autostart=False)

    def stop(model: str) -> None:
        client.post("/api/generate", {"model": model, "keep_alive": 0, "stream": False})

    each(models, stop)
