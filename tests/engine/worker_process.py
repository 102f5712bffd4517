"""A real worker process on a real model, spoken to as the daemon does."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from runner.protocol.codec import FrameReader, pack_command, unpack_events
from runner.protocol.commands import ChatPrompt, Command, InfillPrompt, Load, PrefixStore, Stop
from runner.protocol.devices import Placement
from runner.protocol.events import Done, Ended, Event, Failed, Logprob, Outcome, Ready, Reason, Started, Stats, Text
from runner.protocol.options import LoadOptions
from runner.protocol.sandbox import Sandbox
from runner.scheduler.environment import worker_environment


@dataclass
class Answer:
    """What one request brought: its start, its one ending, and the text, scores and ending of each choice."""

    texts: dict[int, str] = field(default_factory=dict)
    scores: dict[int, list[Logprob]] = field(default_factory=dict)
    reasons: dict[int, Reason] = field(default_factory=dict)
    started: Started | None = None
    endings: list[Outcome | Failed] = field(default_factory=list)

    @property
    def text(self) -> str:
        """Of the only choice."""
        assert set(self.texts) <= {0}
        return self.texts.get(0, "")

    def take(self, event: Text | Ended | Done) -> None:
        """Something of one choice."""
        if isinstance(event, Text):
            self.texts[event.choice] = self.texts.get(event.choice, "") + event.text
            self.scores.setdefault(event.choice, []).extend(event.logprobs)
        else:
            self.reasons[event.choice] = event.reason

    @property
    def end(self) -> Outcome | Failed:
        assert len(self.endings) == 1, self.endings
        return self.endings[0]


class WorkerProcess:
    """Spawned by name; `load` is sent at once and its outcome is `ready`."""

    def __init__(
        self,
        weights: Path,
        *,
        embedding: bool = False,
        template: str | None = None,
        draft: Path | None = None,
        projector: Path | None = None,
        prefixes: PrefixStore | None = None,
        placement: Placement | None = None,
        readable: Path | None = None,
        **options: Any,
    ) -> None:
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 -- open as long as the process, closed by close()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "runner.engine"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            bufsize=0,
            env=worker_environment(),
        )
        self.stats: list[Stats] = []
        self._template = template  # of the model that is asked for
        self._frames = FrameReader()
        self._events = self._read()
        load = LoadOptions(**({"num_ctx": 512, "num_parallel": 4} | options))
        store = prefixes or PrefixStore()
        self.send(
            Load(
                (str(weights),),
                load,
                draft=(str(draft),) if draft else (),
                projector=str(projector) if projector else None,
                embedding=embedding,
                prefixes=store,
                placement=placement,
                sandbox=Sandbox(readable=(str(readable),) if readable else ()),
            )
        )
        self.ready: Ready | Failed = next(e for e in self._events if isinstance(e, Ready | Failed))

    def send(self, *commands: Command) -> None:
        assert self.process.stdin is not None
        for command in commands:
            prompt = getattr(command, "prompt", None)
            if self._template is not None and isinstance(prompt, ChatPrompt | InfillPrompt):
                command = replace(command, prompt=replace(prompt, usual=self._template))
            self.process.stdin.write(pack_command(command))

    def _read(self) -> Iterator[Event]:
        assert self.process.stdout is not None
        while data := self.process.stdout.read(1 << 16):
            for body in self._frames.feed(data):
                for event in unpack_events(body):
                    if isinstance(event, Stats):
                        self.stats.append(event)
                    yield event

    def events(self) -> Iterator[Event]:
        """What the worker says from here on, until it ends."""
        return self._events

    def answers(self, requests: Iterable[int]) -> dict[int, Answer]:
        """Collect until each of these requests has ended."""
        answers = {request: Answer() for request in requests}
        missing = set(answers)
        while missing:
            event = next(self._events)
            if isinstance(event, Text | Ended | Done):
                answers[event.id].take(event)
            if isinstance(event, Started):
                answers[event.id].started = event
            elif isinstance(event, Outcome | Failed):
                assert event.id is not None
                answers[event.id].endings.append(event)
                missing.discard(event.id)
        return answers

    def ask(self, *commands: Any) -> dict[int, Answer]:
        """Send requests together and collect all their answers."""
        self.send(*commands)
        return self.answers(command.id for command in commands)

    def close(self) -> int:
        """Stop in an orderly way; returns the exit status."""
        if self.process.poll() is None:
            self.send(Stop())
        self.process.communicate(timeout=30)
        self.log.close()
        return self.process.returncode


NEAR_TIE = 0.05  # of log-probability


def agree(one: list[Logprob], other: list[Logprob]) -> bool:
    """Whether two greedy answers are the same up to the first near tie, after which anything goes."""
    for mine, theirs in zip(one, other, strict=True):
        if mine.token != theirs.token:
            return mine.top[0].logprob - mine.top[1].logprob < NEAR_TIE
    return True
