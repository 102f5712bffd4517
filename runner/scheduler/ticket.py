"""What a request wants of the fleet, and the ticket it holds until its one outcome.

A `Want` is made by whoever knows what the request means; the scheduler compares and admits, and never looks inside the
work itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

from runner.errors import RunnerError
from runner.protocol.commands import Load, Work
from runner.protocol.events import Ended, Outcome, Ready, Started, Text
from runner.protocol.options import LoadOptions
from runner.scheduler.memory import Footprint
from runner.scheduler.meters import Journey
from runner.scheduler.told import Account

Priority = Literal["interactive", "batch"]
"""Who answers a person goes before what nobody looks at; but for so long only."""


@dataclass(frozen=True, slots=True)
class Want:
    """A request, as far as residency is concerned.

    `load` says how to load the model if it has to be loaded; its `num_parallel` 0 and `cells` 0 leave these two to the
    memory plan. `named` are the load options that the caller asked for in so many words: only those, and a longer
    context, are reason enough to load a resident model anew. `automatic`: nobody asked for this
    context. `words` say what was decided about the load. `generation` is that of the settings by which it was. Without
    `work`, the model is only to be made resident.
    """

    model: str  # the full name
    digest: str  # of the manifest
    key: str  # what decides the worker: models with the same key share one
    load: Load
    footprint: Footprint
    work: Work | None = None
    named: frozenset[str] = frozenset()
    keep_alive: float | None = None  # seconds, inf for ever; None leaves it as it is
    client: str = ""  # whose it is, for fairness among clients
    context_from: str = ""  # where the context length comes from: request, modelfile, config, default or model
    priority: Priority = "interactive"
    automatic: bool = False
    words: tuple[str, ...] = ()
    generation: int = 0

    def is_served_by(self, digest: str, loaded: Load) -> bool:
        """Whether a worker with this load can take the request, or another load is needed."""
        if self.load.options.num_ctx > loaded.options.num_ctx:
            return False
        if digest != self.digest and _files(self.load) != _files(loaded):
            return False
        if "draft_model" in self.named and self.load.draft != loaded.draft:
            return False
        mine, theirs = self.load.options, loaded.options
        return all(getattr(mine, name) == getattr(theirs, name) for name in self.named - {"num_ctx", "draft_model"})


def _files(load: Load) -> tuple[object, ...]:
    """What it is a load of. A draft model changes no answer, and one that matters is named."""
    return load.weights, load.projector, load.embedding


@dataclass(frozen=True, slots=True)
class Admission:
    """A worker took the request. `load_ns` of the `waited_ns` since its arrival, its model was being loaded.

    On its arrival `position` others were to go before it, and it was to wait `estimate` seconds.
    """

    ready: Ready
    options: LoadOptions
    waited_ns: int
    load_ns: int
    position: int = 0
    estimate: float = 0.0


class Outlet(Protocol):
    """Where a request's events go. Exactly one of `finish` and `fail` is called, once, and nothing after it.

    A request that a worker died under goes on in another: as long as none of its answer had left, `admit` and a Started
    come again, and after that nothing shows it. Nothing here may call back into the scheduler before it returns.
    """

    def admit(self, admission: Admission) -> None: ...

    def put(self, event: Started | Text | Ended) -> None: ...

    def finish(self, event: Outcome | None) -> None:
        """The request is done; None if it had no work and its model is resident now."""

    def fail(self, error: RunnerError) -> None: ...


Place = tuple[int, int, int]
"""Where a ticket stands in its line: rank, share, arrival. Smaller goes first."""


@dataclass(slots=True, eq=False)
class Ticket:
    """One request from its arrival to its outcome. Changed by the scheduler's loop only."""

    id: int
    want: Want
    outlet: Outlet
    arrived: float
    journey: Journey
    run: int | None = None  # the worker that holds it, None while it waits
    told: Account = field(default_factory=Account)
    first_text: float | None = None  # when the first of the answer left
    is_resumed: bool = False  # a worker died under it
    entered: float = 0.0  # when its worker got it
    began: bool = False  # its worker has begun to compute it,
    advanced: bool = False  # and it has made a new token there
    fruitless: int = 0  # workers that died under it in a row, each before it had a new token there
    counted: int = 0  # of these, those that only it can have killed
    failed_loads: int = 0  # in a row, that it waited for
    cancelled: bool = False
    aged: bool = False  # of the batch, but has waited so long that it counts as the others do
    place: Place | None = None  # in its line; kept when a worker has it, for it may come back
    floor: int = 0  # the place among lines that it had on arrival
    hold: float | None = None  # until when others may still be served before the swap that it waits for
    position: int = 0  # how many were to go before it when it came
    estimate: float = 0.0  # seconds that it was to wait when it came

    @property
    def rank(self) -> int:
        return 1 if self.want.priority == "batch" and not self.aged else 0
