"""One caller's request as the ledger has it: where it came from, how far it has come, and its one end.

Of a request under way the figures are read from the scheduler's ticket when somebody looks, so that a token costs
nothing here. Knows no wire.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from runner.inference.requests import CallPart, Embedded, Finished, Piece, Ranked, Timings
from runner.inference.texts import Texts
from runner.protocol.commands import Generate
from runner.protocol.events import Started
from runner.scheduler.ticket import Admission, Priority, Ticket

State = Literal["waiting", "loading", "prefill", "generating", "done", "failed", "cancelled"]
_ORDER: tuple[State, ...] = ("waiting", "loading", "prefill", "generating")
_SETTLED = 0.05  # seconds of an answer before which its speed is no figure


@dataclass(frozen=True, slots=True)
class Source:
    """Where a request comes from. `client` is an address, or a key's short mark."""

    method: str
    path: str
    dialect: str
    client: str = ""


@dataclass(frozen=True, slots=True)
class End:
    """How a request ended. `status` is HTTP's; 499 was never sent, or says that the request was cancelled."""

    state: State
    status: int
    at: float  # on the ledger's clock
    code: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """What is known in numbers, None until it is. Times are seconds."""

    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    queue: float | None = None
    load: float | None = None
    first_token: float | None = None
    prefill: float | None = None
    decode: float | None = None
    tokens_per_second: float | None = None


_NOTHING = Figures()


class Leg:
    """One of the scheduler's requests that a caller's is made of. `texts` is None while texts aren't kept."""

    def __init__(self, number: int = 0, texts: Callable[[], Texts | None] = lambda: None) -> None:
        self.ticket: Ticket | None = None
        self.reason: str | None = None
        self._number = number
        self._texts = texts
        self._admission: Admission | None = None
        self._counts: tuple[int, int, int] | None = None  # tokens of the prompt, those found computed, of the answer
        self._timings: Timings | None = None

    def admitted(self, admission: Admission) -> None:
        """A worker has it; again, if it is started over."""
        self._admission = admission

    def started(self, event: Started) -> None:
        """Its worker has begun to compute it."""
        texts = self._texts() if event.prompt is not None else None
        if texts is not None and event.prompt is not None:
            texts.put("prompt", event.prompt, event.prompt_cut, (self._number, 0))

    def take(self, part: object) -> None:
        """A part of its answer leaves, or all of it."""
        if isinstance(part, Piece):
            if (texts := self._texts()) is not None:
                self._keep(part, texts)
        elif isinstance(part, Finished):
            self.reason = part.reason
            self._counts = (part.prompt_tokens, part.cached_tokens, part.completion_tokens)
            self._timings = part.timings
        elif isinstance(part, Embedded | Ranked):
            self._counts, self._timings = (part.prompt_tokens, 0, 0), part.timings

    def _keep(self, piece: Piece, texts: Texts) -> None:
        place = (self._number, piece.choice)
        texts.add("thinking", piece.thinking, place)
        texts.add("answer", piece.text, place)
        if piece.call is not None:
            texts.add("calls", _called(piece.call), place)

    def state(self, is_loading: Callable[[str], bool]) -> State:
        """How far it has come. One whose worker died waits again."""
        ticket = self.ticket
        if ticket is None:
            return "waiting"
        if ticket.run is None:
            return "loading" if is_loading(ticket.want.key) else "waiting"
        if ticket.first_text is not None:
            return "generating"
        # Its worker has it, and may have no sequence free for it yet. Inputs to embed are never told to have begun.
        is_begun = ticket.journey.began_at is not None or not isinstance(ticket.want.work, Generate)
        return "prefill" if is_begun else "waiting"

    def figures(self, began: float, now: float) -> Figures:
        """What is known at `now`, of a request that came at `began`."""
        ticket, admission, timings = self.ticket, self._admission, self._timings
        first = ticket.first_text if ticket else None
        first_token = None if first is None else max(0.0, first - began)
        if self._counts is not None and timings is not None:
            prompt, cached, completion = self._counts
            decode = timings.decode / 1e9
            return Figures(
                prompt, cached, completion, timings.queue / 1e9, timings.load / 1e9, first_token,
                timings.prefill / 1e9, decode, completion / decode if completion and decode else None,
            )  # fmt: skip
        load = admission.load_ns / 1e9 if admission else None
        queue = max(0.0, admission.waited_ns / 1e9 - (load or 0.0)) if admission else None
        if ticket is None:
            return Figures(queue=queue, load=load)
        journey = ticket.journey
        began_at, told = journey.began_at, journey.told
        decode_so_far = now - first if first is not None else 0.0
        return Figures(
            journey.prompt_tokens if began_at is not None else None,
            journey.cached_tokens if began_at is not None else None,
            told if began_at is not None else None,
            queue,
            load,
            first_token,
            max(0.0, first - began_at) if first is not None and began_at is not None else None,
            decode_so_far if first is not None else None,
            told / decode_so_far if told and decode_so_far >= _SETTLED else None,
        )


@dataclass(slots=True, eq=False)
class Entry:
    """Changed by the ledger and by whoever serves the request, on one event loop. `stop` makes its client hear that it
    was cancelled."""

    id: str
    number: int  # in the order of arrival
    at: datetime
    began: float
    source: Source
    stop: Callable[[], None]
    texts: Texts | None = None
    model: str = ""  # as asked, then by its full name
    priority: Priority = "interactive"
    is_stream: bool = False
    is_cancelled: bool = False  # somebody asked for that
    is_told: bool = False  # its client has its end, or is being told: nothing can be cancelled
    legs: list[Leg] = field(default_factory=list)
    places: int = 0  # that have been given out
    end: End | None = None
    reason: str | None = None
    figures: Figures = _NOTHING  # once it has ended

    def place(self) -> int:
        """The next of its requests' place among them. They may come to the scheduler in another order."""
        self.places += 1
        return self.places - 1

    def ride(self, model: str, priority: Priority, place: int | None = None) -> Leg:
        """A request of it is about to be given to the scheduler, for a model by its full name."""
        self.model, self.priority = model, priority
        leg = Leg(self.place() if place is None else place, lambda: self.texts)
        self.legs.append(leg)
        return leg

    def state(self, is_loading: Callable[[str], bool]) -> State:
        """Of several legs the one that is furthest."""
        if self.end is not None:
            return self.end.state
        return max((leg.state(is_loading) for leg in self.legs), key=_ORDER.index, default="waiting")

    def measured(self, now: float) -> Figures:
        """Tokens of all legs together, and the times of the slowest."""
        if self.end is not None:
            return self.figures
        return together([leg.figures(self.began, now) for leg in self.legs]) if self.legs else _NOTHING

    def close(self, end: End) -> None:
        """It has ended: keep the figures, and let go of everything that the scheduler had of it."""
        self.figures = self.measured(end.at)
        self.reason = next((leg.reason for leg in reversed(self.legs) if leg.reason), None)
        self.end = end
        for leg in self.legs:
            leg.ticket = None  # it knows the leg in turn, by its outlet
        self.legs.clear()
        self.stop = _nothing


def together(legs: Iterable[Figures]) -> Figures:
    """Several legs' figures as one."""
    figures = list(legs)
    if len(figures) == 1:
        return figures[0]
    completion = _sum(each.completion_tokens for each in figures)
    decode = _most(each.decode for each in figures)
    firsts = [each.first_token for each in figures if each.first_token is not None]
    return Figures(
        _sum(each.prompt_tokens for each in figures),
        _sum(each.cached_tokens for each in figures),
        completion,
        _most(each.queue for each in figures),
        _most(each.load for each in figures),
        min(firsts, default=None),
        _most(each.prefill for each in figures),
        decode,
        completion / decode if completion and decode and any(each.tokens_per_second for each in figures) else None,
    )


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _most(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _called(call: CallPart) -> str:
    """A part of a call: a line for each, its name and then the JSON of its arguments."""
    name = f"{call.name} " if call.name else ""
    return f"{name}{call.arguments}" + ("\n" if call.complete else "")


def _nothing() -> None:
    """An ended request can't be stopped."""


ENTRY: ContextVar[Entry | None] = ContextVar("entry", default=None)
"""The request that is being served here, where it is one that the ledger has."""
