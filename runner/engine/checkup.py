"""`python -m runner.engine.checkup [MODE]`: shuts itself in as a worker does, says what holds, and decodes a few tokens
inside. A line of JSON for each finding; a build that can't compute here ends it by a signal.
"""

from __future__ import annotations

import os
import re
import sys
import time
from contextlib import suppress
from typing import BinaryIO

import msgspec

from modelfiles.embedded import demo_gguf
from runner.engine import probe
from runner.engine.parent import die_with_parent
from runner.engine.sandbox import places
from runner.engine.sandbox.enter import Work, enter
from runner.errors import RunnerError
from runner.llama import library
from runner.llama.devices import survey
from runner.protocol.checkup import REINSTALL, Finding
from runner.protocol.sandbox import NEEDED, WORDS, Mode, Promise, Sandbox


def main(arguments: list[str]) -> int:
    """Look at both. Returns the exit status."""
    die_with_parent()
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever native code prints is no answer
    mode: Mode = msgspec.convert(arguments[0] if arguments else "on", Mode)
    model = str(demo_gguf())
    try:
        promises = enter(Sandbox(mode), Work((model,), gpu=places.has_gpu(library.folder())))
    except RunnerError as error:
        _say(answers, Finding("sandbox", "fail", error.message, "set sandbox to on, or off"))
        return 0
    _say(answers, of_promises(promises, mode))
    with suppress(RunnerError):  # the decode will say it better
        _say(answers, _of_build())
    began = time.monotonic()
    try:
        found = probe.decoded(model)
    except RunnerError as error:
        _say(answers, Finding("engine", "fail", error.message, REINSTALL))
        return 0
    took = time.monotonic() - began
    on = ", ".join(found["devices"])
    _say(answers, Finding("engine", "ok", f"llama-cpp-python {found['engine']} computes on {on} ({took:.1f} s)"))
    return 0


def _of_build() -> Finding:
    """What this llama.cpp was built with. Told before anything is computed, which may be its end."""
    library.start()
    found = survey(library.version())
    features = " ".join(re.findall(r"(\w+) = 1", found.system)) or "nothing that it names"
    said = f"llama-cpp-python {found.engine} with {', '.join(found.backends)}; its code for processors uses {features}"
    return Finding("build", "ok", said)


def of_promises(promises: tuple[Promise, ...], mode: Mode) -> Finding:
    """What holds of a worker's shell, in words."""
    lacking = [promise for promise in promises if not promise.holds]
    if not lacking:
        return Finding(
            "sandbox", "ok", "a process that runs a model reaches its own files, no network and no other program"
        )
    if mode == "off":
        return Finding("sandbox", "warn", "processes that run models are not shut in: sandbox is off", "set it to on")
    said = "; ".join(f"not that {WORDS[promise.what]} ({promise.why})" for promise in lacking)
    if not any(promise.what in NEEDED for promise in lacking):
        return Finding("sandbox", "ok", f"a process that runs a model is shut in, but {said}")
    advice = "pull models from people you trust only; Linux 6.2 and later has all of it"
    return Finding("sandbox", "warn", f"a process that runs a model is not shut in fully: {said}", advice)


def _say(pipe: BinaryIO, finding: Finding) -> None:
    pipe.write(msgspec.json.encode(finding) + b"\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
