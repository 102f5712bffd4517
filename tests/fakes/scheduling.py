"""A scheduler on a bench: time by hand, workers that do what the test says, outlets that remember.

Nothing here sleeps, spawns or threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from runner.errors import RunnerError
from runner.protocol.commands import Cancel, Command, Embed, Generate, Load, TextPrompt, Why
from runner.protocol.events import Done, Ended, Failed, Outcome, Ready, Reason, Started, Text, Usage, Vectors
from runner.protocol.options import LoadOptions, SampleOptions
from runner.scheduler.effects import Reports
from runner.scheduler.failures import Exit
from runner.scheduler.fleet import Member
from runner.scheduler.loop import Limits, Scheduler
from runner.scheduler.memory import Footprint
from runner.scheduler.stock import Host, Stock
from runner.scheduler.ticket import Admission, Priority, Want

GIB = 2**30
SMALL = Footprint(weights=100 * 2**20, kv=1024, state=0, vocabulary=1000, width=64)


def want(
    model: str = "a",
    *,
    num_ctx: int = 1024,
    keep_alive: float | None = None,
    has_work: bool = True,
    text: str = "",
    footprint: Footprint = SMALL,
    digest: str = "",
    num_parallel: int = 1,
    named: frozenset[str] = frozenset(),
    num_batch: int = 512,
    key: str = "",
    client: str = "",
    priority: Priority = "interactive",
    generation: int = 0,
) -> Want:
    """A request for a small model; `num_parallel` is the sequences of its worker."""
    return Want(
        model=model,
        digest=digest or f"digest of {key or model}",
        key=key or model,
        load=Load(
            (f"/weights/{key or model}",), LoadOptions(num_ctx=num_ctx, num_parallel=num_parallel, num_batch=num_batch)
        ),
        footprint=footprint,
        work=Generate(0, TextPrompt(text or f"for {model}"), SampleOptions()) if has_work else None,
        named=named,
        keep_alive=keep_alive,
        client=client,
        priority=priority,
        generation=generation,
    )


def embedding(model: str, text: str) -> Want:
    """A request for the vector of a text."""
    return replace(want(model), work=Embed(0, (text,)))


def ready(sequences: int = 1, context_length: int = 1024) -> Ready:
    """What a worker reports once it has loaded."""
    return Ready(
        context_length=context_length, cells=context_length * sequences, sequences=sequences, vocabulary=1000,
        embedding_length=64, devices=("CPU",), gpu_layers=0, layers=2, weights_bytes={}, kv_bytes={}, compute_bytes={},
        load_ns=1, engine="fake", has_template=True,
    )  # fmt: skip


@dataclass(eq=False)
class Heard:
    """An outlet that remembers, and insists on hearing of one outcome only."""

    want: Want
    admissions: list[Admission] = field(default_factory=list)
    events: list[Started | Text | Ended] = field(default_factory=list)
    outcome: Outcome | RunnerError | str | None = None
    deaf: bool = False  # set when the request is cancelled: nothing may be heard after that
    id: int = 0

    def admit(self, admission: Admission) -> None:
        self._check()
        self.admissions.append(admission)

    def put(self, event: Started | Text | Ended) -> None:
        self._check()
        self.events.append(event)

    def finish(self, event: Outcome | None) -> None:
        self._check()
        self.outcome = event or "resident"

    def fail(self, error: RunnerError) -> None:
        self._check()
        self.outcome = error

    def _check(self) -> None:
        if self.outcome is not None or self.deaf:
            raise AssertionError(f"request {self.id} hears more after its end")


@dataclass
class Recorder:
    """Effects that only write down what they are asked for."""

    loads: dict[int, tuple[str, Load]] = field(default_factory=dict)  # of workers that have not exited
    sent: list[tuple[int, Command]] = field(default_factory=list)
    stopped: list[int] = field(default_factory=list)
    wake_at: float | None = None

    def start(self, run: int, model: str, load: Load, reports: Reports) -> None:
        self.loads[run] = (model, load)

    def send(self, run: int, command: Command) -> None:
        self.sent.append((run, command))

    def stop(self, run: int, why: Why = "idle") -> None:
        self.stopped.append(run)

    def wake(self, at: float | None, tick: Callable[[], None]) -> None:
        self.wake_at = at


class Bench:
    """A scheduler with its effects recorded, and verbs for what workers and clients do."""

    def __init__(
        self,
        *,
        models: int = 1,
        queue: int = 100,
        keep_alive: float = 300.0,
        memory: int = 64 * GIB,
        queue_timeout: float = math.inf,
        stock: Stock | None = None,
    ) -> None:
        self.now = 0.0
        self.memory = memory  # of the whole machine
        self.effects = Recorder()
        limits = Limits(models, queue, keep_alive, queue_timeout=queue_timeout)
        self.scheduler = Scheduler(limits, self.effects, clock=lambda: self.now, stock=stock or Host(self._available))

    def _available(self) -> int:
        """What workers have taken is gone, except for weights: those are mapped from files."""
        return self.memory - sum(member.taken.moving for member in self.scheduler.view.residents())

    def submit(self, wanted: Want) -> Heard:
        heard = Heard(wanted)
        heard.id = self.scheduler.submit(wanted, heard)
        return heard

    def cancel(self, heard: Heard) -> None:
        heard.deaf = True
        self.scheduler.cancel(heard.id)

    def member(self, model: str) -> Member | None:
        return next((m for m in self.scheduler.view.residents() if m.model == model), None)

    def run(self, model: str) -> int:
        member = self.member(model)
        if member is None:
            raise AssertionError(f"{model} has no worker")
        return member.run

    def state(self, model: str) -> str:
        member = self.member(model)
        return member.state if member else "absent"

    def load(self, model: str, sequences: int = 1) -> None:
        self.scheduler.events(self.run(model), [ready(sequences)])

    def refuse(self, model: str, message: str = "bad file") -> None:
        self.scheduler.events(self.run(model), [Failed(None, "load_failed", message)])

    def text(self, heard: Heard, text: str = "x") -> None:
        self.scheduler.events(
            self._holder(heard), [Started(id=heard.id, prompt_tokens=1), Text(heard.id, text, 1, ids=(1,))]
        )

    def started(self, *all_heard: Heard) -> None:
        for heard in all_heard:
            self.scheduler.events(self._holder(heard), [Started(id=heard.id, prompt_tokens=1)])

    def done(self, heard: Heard, reason: Reason = "stop") -> None:
        self.scheduler.events(self._holder(heard), [Done(heard.id, reason, Usage())])

    def vectors(self, heard: Heard) -> None:
        self.scheduler.events(self._holder(heard), [Vectors(heard.id, b"", 0, 0, Usage())])

    def exit(
        self,
        model: str,
        code: int | None = -9,
        fault: str | None = None,
        *,
        starved: bool = False,
        hung: bool = False,
    ) -> None:
        run = self.run(model)
        self.effects.loads.pop(run, None)
        self.scheduler.exited(run, Exit(code, fault, starved=starved, hung=hung))

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self.scheduler.tick()

    def worked_on(self, run: int) -> list[int]:
        """The ids of requests that were handed to a worker."""
        return [c.id for r, c in self.effects.sent if r == run and isinstance(c, Generate | Embed)]

    def cancels(self, run: int) -> list[int]:
        return [c.id for r, c in self.effects.sent if r == run and isinstance(c, Cancel)]

    def _holder(self, heard: Heard) -> int:
        for member in self.scheduler.view.residents():
            if heard.id in member.inside:
                return member.run
        raise AssertionError(f"request {heard.id} is in no worker")
