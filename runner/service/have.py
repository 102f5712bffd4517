"""Models that a daemon is to have: each is pulled where it is missing, then kept loaded. `python -m runner.service.have
MODEL...`, in the background, through the `runner` command; what fails is tried again. Knows no daemon's insides.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from runner.config import load

Call = Callable[[Sequence[str]], int]
"""Runs `runner` with these arguments; its exit code."""
_UNAVAILABLE = 69
_POLL = 1.0  # seconds until a daemon that doesn't answer yet is asked again
_PATIENCE = 120.0  # seconds until one that never does is given up
_AGAIN, _LATEST = 10.0, 300.0  # seconds until what failed is tried again, at first and at most


def have(models: Sequence[str], call: Call, sleep: Callable[[float], None] = time.sleep) -> bool:
    """Pull and pin each, for as long as it takes. False when no daemon answered for too long."""
    missing, pause, silent = list(models), _AGAIN, 0.0
    while missing:
        status = _one(missing[0], call)
        if status == 0:
            missing.pop(0)
            pause = _AGAIN
        elif status == _UNAVAILABLE:
            if silent >= _PATIENCE:
                return False
            silent += _POLL
            sleep(_POLL)
            continue
        else:
            sys.stderr.write(f"runner: {missing[0]} is not there yet; trying again in {pause:.0f} seconds\n")
            missing.append(missing.pop(0))
            sleep(pause)
            pause = min(_LATEST, 2 * pause)
        silent = 0.0
    return True


def _one(model: str, call: Call) -> int:
    shown = call(("show", model, "--json"))
    if shown == _UNAVAILABLE:
        return shown
    if shown != 0 and (pulled := call(("pull", model))) != 0:
        return pulled
    return call(("pin", model))


def main(models: Sequence[str]) -> int:
    """Leave for the background, where the system knows how, and see to the models."""
    if hasattr(os, "fork") and os.fork():
        return 0
    host = load().host
    there = f"[::1]:{host.port}" if ":" in host.host else f"127.0.0.1:{host.port}"
    # Any address of this machine's own is named by what it listens on, which is no place to call.
    ours = dict(os.environ) | {"RUNNER_HOST": there if host.host in ("0.0.0.0", "::") else str(host)}
    ours["RUNNER_AUTOSTART"] = "0"

    def call(words: Sequence[str]) -> int:
        output = subprocess.DEVNULL if words[0] == "show" else None
        return subprocess.run(
            [sys.executable, "-m", "runner", *words], stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=ours
        ).returncode

    return 0 if have(models, call) else _UNAVAILABLE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
