"""`runner --version`: ours, and a word when the daemon's is another."""

from __future__ import annotations

from runner import __version__
from runner.cli import output
from runner.cli.connect import daemon
from runner.cli.failures import Failure

_PATIENCE = 0.5  # seconds; the version is known without the daemon


def command() -> None:
    """Print Runner's version."""
    output.line(f"runner {__version__}")
    try:
        theirs = daemon(None, autostart=False).get("/api/version", _PATIENCE).get("runner")
    except Failure:
        return  # no daemon, nothing to compare
    if theirs and theirs != __version__:
        output.say(f"Note: the daemon is runner {theirs}; `runner shutdown` ends it, and the next command starts ours")
