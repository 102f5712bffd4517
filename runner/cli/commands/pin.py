"""`runner pin`: keep models in memory."""

from __future__ import annotations

from runner.cli import output
from runner.cli.arguments import Host, Models
from runner.cli.connect import daemon
from runner.cli.each import each

EXAMPLES = """
runner pin qwen3
runner pin qwen3 nomic-embed-text
"""


def command(models: Models, host: Host = None) -> None:
    """Load models and keep them in memory.

    Neither other models nor time take their place. That holds until `runner unpin`, or until the daemon ends; the
    setting `pin` names those that it begins with.
    """
    client = daemon(host)

    def pin(model: str) -> None:
        client.post("/runner/pin", {"model": model}, timeout=None)  # a load takes its time
        output.say(f'{model} is loaded and stays until "runner unpin {model}"')

    each(models, pin)
