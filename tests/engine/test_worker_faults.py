"""A fault of ours in one request: it is answered, and the worker goes on."""

from __future__ import annotations

import os
import subprocess
import sys

from modelfiles.embedded import demo_gguf
from runner.protocol.codec import FrameReader, pack_command, unpack_events
from runner.protocol.commands import Embed, Generate, Load, Stop, TextPrompt
from runner.protocol.events import Done, Event, Failed, Vectors
from runner.protocol.options import LoadOptions, SampleOptions

# A worker whose preparation of embeddings has a bug.
FAULTY = """
import sys
from runner.engine.mailbox import Mailbox
from runner.engine.worker import main
Mailbox.inputs = lambda self, command: command.inputs[99]
sys.exit(main())
"""


def test_a_request_that_cannot_be_prepared_is_answered_and_the_next_one_served() -> None:
    commands = [
        Load((str(demo_gguf()),), LoadOptions(num_ctx=256, num_parallel=2, num_thread=1)),
        Embed(1, ("one",)),
        Generate(2, TextPrompt("def"), SampleOptions(temperature=0.0, num_predict=2)),
        Embed(3, ("two",)),
    ]
    with subprocess.Popen(
        [sys.executable, "-c", FAULTY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(b"".join(map(pack_command, commands)))
        process.stdin.flush()
        ends: dict[int | None, Event] = {}
        frames = FrameReader()
        while len(ends) < 3:
            data = os.read(process.stdout.fileno(), 1 << 16)
            assert data, "the worker ended"
            for body in frames.feed(data):
                ends |= {e.id: e for e in unpack_events(body) if isinstance(e, Done | Failed | Vectors)}
        process.stdin.write(pack_command(Stop()))
        process.stdin.close()
        log = process.stderr.read().decode()
        assert process.wait(timeout=60) == 0
    for key in (1, 3):
        failed = ends[key]
        assert isinstance(failed, Failed)
        assert failed.code == "internal_error"
    assert isinstance(ends[2], Done)
    assert "IndexError" in log
