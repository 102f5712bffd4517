"""`python -m runner.engine.devices`: which devices this build of llama.cpp sees on this machine, as one line of JSON.

A process of its own: drivers of GPUs hang, abort and print, and what they hold of a GPU's memory goes with the process.
"""

from __future__ import annotations

import os
import sys

import msgspec

from runner.engine.parent import die_with_parent
from runner.errors import RunnerError
from runner.llama import devices, library


def main() -> int:
    """Print a `protocol.devices.DeviceSurvey`; returns the exit status."""
    die_with_parent()
    # Whatever native code prints goes where people look, not beside the answer.
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        library.start()
        found = devices.survey(library.version())
    except RunnerError as error:
        sys.stderr.write(error.message + "\n")
        return 1
    with answer:
        answer.write(msgspec.json.encode(found) + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
