"""Models that a daemon is to have: each is pulled where it is missing, then kept loaded. `python -m runner.service.have
MODEL...`, in the background, through the `runner` command; what fails is tried again while the daemon is there. Knows
no daemon's insides.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence

import psutil

from runner.config import load

Call = Callable[[Sequence[str]], int]
"""Runs `runner` with these arguments; its exit code, or NO_SUCH."""
NO_SUCH = 66
"""A pull's, where its source has no such model: no waiting helps."""
_USAGE, _UNAVAILABLE = 2, 69
_POLL = 1.0  # seconds until a daemon that doesn't answer yet is asked again
_PATIENCE = 120.0  # seconds until one that never does is given up
_AGAIN, _LATEST = 10.0, 300.0  # seconds until what failed is tried again, at first and at most


def have(
    models: Sequence[str],
    call: Call,
    sleep: Callable[[float], None] = time.sleep,
    lives: Callable[[], bool] = lambda: True,
) -> bool:
    """Pull and pin each, for as long as it takes and the daemon `lives`. False where one can't be, or no daemon
    answered for too long."""
    missing, pause, silent, all_there = list(models), _AGAIN, 0.0, True
    while missing:
        if not lives():
            return False
        status = _one(missing[0], call)
        if status == 0:
            missing.pop(0)
            pause = _AGAIN
        elif status in (_USAGE, NO_SUCH):
            sys.stderr.write(f"runner: {missing.pop(0)} can't be had, as said above; it isn't tried again\n")
            all_there = False
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
    return all_there


def _one(model: str, call: Call) -> int:
    shown = call(("show", model, "--json"))
    if shown == _UNAVAILABLE:
        return shown
    if shown != 0 and (pulled := call(("pull", model))) != 0:
        return pulled
    return call(("pin", model))


def called(words: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run `runner` with these words, and pass on what it says; a Call once it has its environment."""
    silent = words[0] == "show"
    with subprocess.Popen(
        [sys.executable, "-m", "runner", *words],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL if silent else None, stderr=subprocess.PIPE,
        env=environ, text=True, errors="replace",
    ) as process:  # fmt: skip
        assert process.stderr is not None
        last = ""
        for line in process.stderr:
            last = line if line.startswith("Error:") else last
            if not silent:
                sys.stderr.write(line)
    # The command has one exit code for all that a daemon refuses; of a repository that changes, its words say so.
    if words[0] == "pull" and process.returncode and "not found" in last and "try again" not in last:
        return NO_SUCH
    return process.returncode


def main(argv: Sequence[str]) -> int:
    """Leave for the background, where the system knows how, and see to the models."""
    parser = argparse.ArgumentParser("python -m runner.service.have", description="Have a daemon keep models loaded.")
    parser.add_argument("--of", type=int, metavar="PID", help="the daemon's process; this one ends with it")
    parser.add_argument("models", nargs="+", metavar="MODEL")
    given = parser.parse_args(argv)
    try:
        daemon = psutil.Process(given.of) if given.of is not None else None
    except psutil.NoSuchProcess:
        return _UNAVAILABLE
    if hasattr(os, "fork") and os.fork():
        return 0
    host = load().host
    there = f"[::1]:{host.port}" if ":" in host.host else f"127.0.0.1:{host.port}"
    # Any address of this machine's own is named by what it listens on, which is no place to call.
    ours = dict(os.environ) | {"RUNNER_HOST": there if host.host in ("0.0.0.0", "::") else str(host)}
    ours["RUNNER_AUTOSTART"] = "0"

    def lives() -> bool:
        try:
            return daemon is None or (daemon.is_running() and daemon.status() != psutil.STATUS_ZOMBIE)
        except psutil.Error:
            return False

    def wait(seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and lives():
            time.sleep(min(_POLL, left))

    return 0 if have(given.models, lambda words: called(words, ours), wait, lives) else _UNAVAILABLE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
