"""`runner shutdown`: end the daemon."""

from __future__ import annotations

from runner.cli import output
from runner.cli.arguments import Host
from runner.cli.connect import daemon
from runner.cli.ending import end

EXAMPLES = """
runner shutdown
RUNNER_HOST=127.0.0.1:9000 runner shutdown
"""


def command(host: Host = None) -> None:
    """End the daemon, and wait until it is gone. (`runner stop` unloads a model.)"""
    client = daemon(host, autostart=False)
    end(client)
    output.say(f"The daemon at {client.address.url} has ended")
