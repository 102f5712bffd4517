"""What has been measured of requests, model by model, since the daemon began: plain numbers that only grow.

Counted here and not in the workers, so that a worker's death or a reload loses and doubles nothing. Changed by the
scheduler's loop alone; knows no worker and no wire.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from runner.errors import RunnerError
from runner.protocol.commands import Embed, Generate, Rank, Work
from runner.protocol.events import Done, Outcome, Started, Text, Usage, Vectors
from runner.protocol.totals import Tally, Totals
from runner.scheduler.fleet import Member
from runner.scheduler.history import What

Kind = Literal["generate", "embed", "rank", "question", "load"]

SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Bounds for what a request waits and takes."""
GAPS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Bounds for the time between two pieces of an answer."""
TOKENS = (1, 4, 16, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072)
"""Bounds for the tokens of a request."""
_ANSWERED = frozenset({"stop", "length", "done"})


def _seconds() -> Tally:
    return Tally(SECONDS)


def _tokens() -> Tally:
    return Tally(TOKENS)


@dataclass(slots=True, eq=False)
class Meters:
    """One model's. Times are seconds. An outcome is `stop`, `length`, `done` (vectors, scores, a question or a load),
    `cancelled`, or the code of the error that the request failed with."""

    outcomes: Counter[tuple[Kind, str]] = field(default_factory=Counter)
    rejections: Counter[str] = field(default_factory=Counter)  # by code: never taken in
    prompt_tokens: int = 0
    cached_tokens: int = 0  # found computed, of `looked_up` ones
    looked_up: int = 0
    completion_tokens: int = 0
    loads: Tally = field(default_factory=_seconds)
    deaths: int = 0  # workers that ended unasked
    last_death: str = ""  # how the last of them did, in words
    resumes: int = 0  # requests that went on in another worker
    quarantines: int = 0  # requests that workers died of
    queue: Tally = field(default_factory=_seconds)
    first_token: Tally = field(default_factory=_seconds)
    gaps: Tally = field(default_factory=lambda: Tally(GAPS))
    prefill: Tally = field(default_factory=_seconds)
    decode: Tally = field(default_factory=_seconds)
    whole: Tally = field(default_factory=_seconds)
    prompts: Tally = field(default_factory=_tokens)
    answers: Tally = field(default_factory=_tokens)
    engine: Totals = field(default_factory=Totals)  # of the workers that are gone


@dataclass(slots=True, eq=False)
class Journey:
    """How far one request has come, and the meters that hear of it. A request that is started over begins once."""

    meters: Meters
    kind: Kind
    arrived: float
    is_running: bool = False  # a worker computes it
    began_at: float | None = None  # when a worker began to, for the first time,
    prompt_tokens: int = 0  # and what it said of the prompt then
    cached_tokens: int = 0
    told: int = 0  # tokens of the answer that have left
    _ended: bool = False
    _last: dict[int, float] = field(default_factory=dict)  # when each choice was last heard of

    @classmethod
    def of(cls, meters: Meters, work: Work | None, now: float) -> Journey:
        """A request arrives."""
        kinds: dict[type[Work] | None, Kind] = {None: "load", Generate: "generate", Embed: "embed", Rank: "rank"}
        return cls(meters, kinds.get(type(work) if work else None, "question"), now)

    def entered(self) -> None:
        """A worker has it. When it begins to compute an answer, it says so; of vectors it doesn't."""
        self.is_running = self.kind in ("embed", "rank", "question")

    def started(self, event: Started, now: float) -> None:
        """A worker has begun to compute it."""
        self.is_running = True
        if self.began_at is not None:
            return
        self.began_at = now
        self.prompt_tokens, self.cached_tokens = event.prompt_tokens, event.cached_tokens
        self.meters.queue.add(now - self.arrived)
        self.meters.prompt_tokens += event.prompt_tokens
        self.meters.looked_up += event.prompt_tokens
        self.meters.cached_tokens += event.cached_tokens
        self.meters.prompts.add(event.prompt_tokens)

    def said(self, event: Text, now: float) -> None:
        """A part of the answer, or of an echo of the prompt, which has no tokens of the answer."""
        if not event.tokens:
            return
        if not self.told:
            self.meters.first_token.add(now - self.arrived)
        self.told += event.tokens
        self.meters.completion_tokens += event.tokens
        last = self._last.get(event.choice)
        if last is not None:
            self.meters.gaps.add(now - last)
        self._last[event.choice] = now

    def put_back(self) -> None:
        """Its worker died, and it waits for another."""
        self.is_running = False

    def ended(self, outcome: Outcome | RunnerError | None, now: float, *, given_up: bool) -> None:
        """Its one outcome, of which only the first word counts; None for a load that succeeded.

        With `given_up` nobody has waited for it any more, whatever its worker says of it.
        """
        if self._ended:
            return
        self._ended, self.is_running = True, False
        if isinstance(outcome, Done):
            self._count_rest(outcome.usage)
        name = "cancelled" if given_up else _outcome(outcome)
        self.meters.outcomes[self.kind, name] += 1
        if name in _ANSWERED:
            self._answered(outcome, now)

    def _answered(self, outcome: Outcome | RunnerError | None, now: float) -> None:
        meters = self.meters
        meters.whole.add(now - self.arrived)
        if isinstance(outcome, Done):
            meters.prefill.add(outcome.usage.prefill_ns / 1e9)
            meters.decode.add(outcome.usage.decode_ns / 1e9)
            meters.answers.add(outcome.usage.completion_tokens)
        elif isinstance(outcome, Vectors):
            spent = outcome.usage.prefill_ns / 1e9
            meters.queue.add(max(0.0, now - self.arrived - spent))
            meters.prefill.add(spent)
            meters.prompt_tokens += outcome.usage.prompt_tokens
            meters.prompts.add(outcome.usage.prompt_tokens)

    def _count_rest(self, usage: Usage) -> None:
        rest = max(0, usage.completion_tokens - self.told)
        self.told += rest
        self.meters.completion_tokens += rest


def _outcome(outcome: Outcome | RunnerError | None) -> str:
    if isinstance(outcome, RunnerError):
        return outcome.code
    return outcome.reason if isinstance(outcome, Done) else "done"


@dataclass(frozen=True, slots=True)
class Measured:
    """One model as it stands: its meters, its engine's counters over all workers, and the present worker, if any.

    `running` requests are being computed, `waiting` ones are not yet, in the queue or in the worker. To be read at once
    and not kept: meters and member belong to the scheduler.
    """

    model: str
    meters: Meters
    engine: Totals
    member: Member | None
    running: int
    waiting: int
    queued: int = 0  # of those who wait, the ones in the daemon's queue
    happened: Mapping[What, int] = field(default_factory=dict)  # since the daemon began
