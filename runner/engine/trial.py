"""Tries a stranger's grammar in a process of its own before the worker compiles it.

Compiling is native code that some grammars keep busy for minutes or fill the memory with, and that can't be
interrupted. So a helper process (`python -m runner.engine.trial`) checks the text, compiles it and walks a few steps
through it, under a limit of time and memory that ends it; the worker goes on whatever happens there. It knows no model:
its vocabulary is the 256 bytes.
"""

from __future__ import annotations

import os
import random
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import BinaryIO

import msgspec
from llguidance import LLMatcher, LLTokenizer

from runner.engine import demand, grammar, schema
from runner.engine.parent import die_with_parent
from runner.errors import InvalidRequest
from runner.protocol.codec import FrameReader
from runner.protocol.commands import Constraint

SECONDS = 0.7  # of computing that a trial may take
_LONGEST = 1.8  # seconds, however busy the machine is
_MEMORY = 2 << 30  # bytes of address space
_STEPS, _WALKS = 48, 2
_FAULT_SECONDS = 0.3  # spent on saying which keyword it is
_NOTHING = "nothing can match it"
_LENGTH = struct.Struct(">I")


class Verdict(msgspec.Struct, frozen=True):
    """What became of a constraint: the grammar that llguidance compiles, or why there is none."""

    source: str = ""
    message: str = ""
    field: str | None = None


class Trial:
    """The helper process, started on first use and again after it died. For one thread."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def judge(self, constraint: Constraint) -> str:
        """The constraint as a grammar that is known to compile. Raises InvalidRequest within two seconds."""
        body = msgspec.msgpack.encode(constraint)
        verdict = self._ask(_LENGTH.pack(len(body)) + body)
        if verdict is None:
            self.close()
            raise InvalidRequest(
                f"{constraint.field} is too complex: it takes too long to compile, or too much memory",
                field=constraint.field,
            )
        if verdict.message:
            raise InvalidRequest(verdict.message, field=verdict.field)
        return verdict.source

    def close(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _ask(self, frame: bytes) -> Verdict | None:
        """What the process answers; None when it died over it."""
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(frame)
        except BrokenPipeError:
            return None
        frames = FrameReader()
        while data := os.read(process.stdout.fileno(), 1 << 16):
            for body in frames.feed(data):
                return msgspec.msgpack.decode(body, type=Verdict)
        return None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "runner.engine.trial"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])},  # this very package
            )
        return self._process


# -- in the helper process


def main() -> int:
    """Judge constraints from stdin until it closes. Returns the exit status."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever native code prints is no answer
    _limit_memory()
    frames = FrameReader()
    while data := os.read(0, 1 << 16):
        for body in frames.feed(data):
            constraint = msgspec.msgpack.decode(body, type=Constraint)
            _send(answers, _timed(constraint))
    return 0


def _send(pipe: BinaryIO, verdict: Verdict) -> None:
    body = msgspec.msgpack.encode(verdict)
    pipe.write(_LENGTH.pack(len(body)) + body)


def _timed(constraint: Constraint) -> Verdict:
    """The verdict. When the time is over, the kernel ends the process, whatever native code it is in."""
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.setitimer(signal.ITIMER_REAL, _LONGEST)
    try:
        return Verdict(source=tried(constraint))
    except InvalidRequest as error:
        return Verdict(message=error.message, field=error.field)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.setitimer(signal.ITIMER_PROF, 0)


def _limit_memory() -> None:
    if sys.platform == "linux":  # elsewhere the limit isn't kept, or counts what is only reserved
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))


def tried(constraint: Constraint) -> str:
    """The grammar of a constraint, after it was compiled and walked through. Raises InvalidRequest."""
    field = constraint.field
    try:
        source = grammar.source(constraint)
    except ValueError as wrong:  # a number that is none
        raise InvalidRequest(f"{field}: {wrong}", field=field) from None
    matcher = _compiled(source)
    if error := told(matcher.get_error()):
        if constraint.kind == "calls":
            _blame(demand.read(constraint.text))
        place, keyword = _fault(constraint, error) if constraint.kind == "schema" else (field, None)
        if keyword:
            words = f"the schema keyword {keyword} cannot be honoured (at {place}): {error}"
            raise InvalidRequest(words, field=f"{place}.{keyword}")
        raise InvalidRequest(f"{place}: {error}", field=place)
    if error := _walked(matcher):
        raise InvalidRequest(f"{field}: {error}", field=field)
    return source


def _blame(demanded: demand.Demand) -> None:
    """Raise what is wrong with the schema of a single tool, if that is what it is."""
    for offer in demanded.offers:
        own = demand.parameters(offer)
        tried(Constraint("schema", msgspec.json.encode(own).decode(), demand.field_of(offer)))


def _fault(constraint: Constraint, error: str) -> tuple[str, str | None]:
    """The place of the schema that has this error, and the keyword, as far as time allows to find them."""
    deadline = time.monotonic() + _FAULT_SECONDS

    def error_of(candidate: schema.Schema) -> str:
        return told(_compiled(grammar.of_schema(candidate)).get_error()) if time.monotonic() < deadline else ""

    prepared = schema.prepared(grammar.decoded_schema(constraint), constraint.field)
    return schema.at_fault(prepared, constraint.field, error_of)


def _compiled(source: str) -> LLMatcher:
    return LLMatcher(_BYTES, source, log_level=0, limits=grammar.LIMITS)


def _walked(start: LLMatcher) -> str:
    """What goes wrong on the way of a few random answers; empty when nothing does."""
    dice = random.Random(0)
    for _ in range(_WALKS):
        matcher = start.deep_copy()
        for _ in range(_STEPS):
            if matcher.is_stopped() and not matcher.is_error():
                break
            mask = matcher.compute_bitmask()
            if error := matcher.get_error():
                return told(error)
            allowed = [token for token in range(256) if mask[token >> 3] >> (token & 7) & 1]
            if not allowed:
                return "" if matcher.is_accepting() else _NOTHING
            matcher.consume_token(dice.choice(allowed))
    return ""


def told(error: str) -> str:
    """llguidance's words in one line, empty for none: a regular expression's fault stands behind its picture."""
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    if lines and lines[0].startswith("NoExtension"):
        return _NOTHING
    fault = next((line.removeprefix("error: ") for line in lines if line.startswith("error: ")), None)
    return (fault or (lines[0] if lines else ""))[:300]


_BYTES = LLTokenizer("byte")

if __name__ == "__main__":
    sys.exit(main())
