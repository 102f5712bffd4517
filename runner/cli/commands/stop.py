"""`runner stop`: take models out of memory."""

from __future__ import annotations

from runner.cli.arguments import Host, Models
from runner.cli.connect import daemon
from runner.cli.each import each
from runner.cli.failures import Failure, Refused

EXAMPLES = """
runner stop qwen3
runner stop qwen3 nomic-embed-text
"""


def command(models: Models, host: Host = None) -> None:
    """Unload models; what they are answering ends first."""
    client = daemon(host, autostart=False)

    def stop(model: str) -> None:
        try:
            client.post("/api/generate", {"model": model, "keep_alive": 0, "stream": False})
        except Refused as refusal:
            if refusal.status != 404:
                raise
            raise Failure(f"couldn't find model {model!r} to stop: {refusal.message}") from None

    each(models, stop)
