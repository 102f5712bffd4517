"""Which tokens the next decode computes: a pure function of a snapshot.

Running sequences decode first, then drafts are tried, and what is left of the token budget goes to prefill in chunks,
oldest first. Only one group of sequences takes part in a step; the others rest, and what is theirs is respected. When
cells run out, the newest sequence gives its cells up and waits again; the oldest always gets on, so every request ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

HEADROOM = 32  # cells that must be left for each newcomer beyond its prompt, lest it be preempted at once
PATIENCE = 1.0  # seconds: who has waited so much longer is overtaken by nobody, however much of a prompt stands ready


@dataclass(frozen=True, slots=True)
class Work:
    """A sequence as the plan sees it: `cells` it gives back if all newer ones are preempted before it (so cells that
    several hold count with the oldest of them), `remaining` tokens to compute before its next one.

    A decoding one may want to try `drafts` tokens behind it. A waiting one has `waited` so many seconds (inf if it ran
    before), and `cached` of its remaining tokens stand computed in cells that would become its own. It has `lent` more
    in the cells of a running one. One that `rests` is of another group than the step.
    """

    key: int
    cells: int
    remaining: int
    decoding: bool = False
    drafts: int = 0
    cached: int = 0
    lent: int = 0
    waited: float = 0.0
    rests: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Running and waiting sequences, each oldest first, and what they share.

    `cells_free` counts those that idle prefixes could give up. `chunk` bounds the prefill of a step in which somebody
    decodes, so that his next token doesn't wait for a stranger's long prompt. `drafts` bounds all drafted tokens of the
    step together: each takes a row of logits.
    """

    running: Sequence[Work]
    waiting: Sequence[Work]
    slots_free: int
    cells_free: int
    budget: int
    chunk: int
    drafts: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """Compute the next `count` tokens of a sequence; of a decoding one, all but the first are drafted."""

    key: int
    count: int


@dataclass(frozen=True, slots=True)
class Step:
    """What to do next, in this order: preempt, admit, compute."""

    preempted: tuple[int, ...]
    admitted: tuple[int, ...]
    rows: tuple[Row, ...]


@dataclass(slots=True)
class _Room:
    """What is left of the step."""

    budget: int
    cells: int

    def take(self, count: int) -> int:
        """As much of `count` as there is room for."""
        count = max(0, min(count, self.budget, self.cells))
        self.budget -= count
        self.cells -= count
        return count


def plan(snapshot: Snapshot) -> Step:
    """Decide the next step. Budget and cells are never exceeded; somebody of the group always advances if anybody
    can."""
    running = list(snapshot.running)
    room = _Room(snapshot.budget, snapshot.cells_free)
    preempted = _preempt(running, room)
    rows = _decode(running, room, snapshot.drafts)
    if rows:
        room.budget = min(room.budget, snapshot.chunk)
    for work in running:
        if not work.decoding and not work.rests and (count := room.take(work.remaining)):
            rows.append(Row(work.key, count))
    admitted = [] if preempted else _admit(snapshot, running, room, rows)
    return Step(tuple(preempted), tuple(admitted), tuple(rows))


def _preempt(running: list[Work], room: _Room) -> list[int]:
    """Take the newest out of `running` until all others can get on; their keys."""
    preempted: list[int] = []
    # Each running sequence that decodes needs a cell, and a prefill at least one to get on.
    while len(running) > 1 and room.cells < sum(
        1 for work in running if not work.rests and (work.decoding or work.remaining)
    ):
        newest = running.pop()
        preempted.append(newest.key)
        room.cells += newest.cells
    return preempted


def _decode(running: list[Work], room: _Room, drafts: int) -> list[Row]:
    """A row for everybody who decodes, and then drafts behind it, oldest first, from what nobody else needs."""
    rows: list[Row] = []
    prefills = sum(not work.decoding and not work.rests for work in running)
    decoding = [work for work in running if work.decoding and not work.rests and room.take(1)]
    for work in decoding:
        drafted = min(work.drafts, drafts, room.cells - prefills, room.budget - prefills)
        drafted = room.take(drafted)
        drafts -= drafted
        rows.append(Row(work.key, 1 + drafted))
    return rows


def _admit(snapshot: Snapshot, running: list[Work], room: _Room, rows: list[Row]) -> list[int]:
    """Keys of those who start now; what is computed of them is appended to `rows`.

    Nobody overtakes one who rests and came before: what he will need is kept for him until it is his group's turn.
    """
    prompts = {work.key for work in running if not work.decoding}
    # What the running ones will still need for their prompts is spoken for.
    spoken_for = sum(work.remaining for work in running) - sum(row.count if row.key in prompts else 1 for row in rows)
    spare = room.cells - spoken_for - HEADROOM * len(running)
    admitted: list[int] = []
    for work in sorted(snapshot.waiting, key=_urgency)[: snapshot.slots_free]:
        alone = not running and not admitted and not work.rests
        if room.budget <= 0 or (spare < work.remaining + HEADROOM and not alone):
            break  # nobody overtakes the one that doesn't fit yet
        if work.rests:
            spare -= work.remaining + HEADROOM
            continue
        admitted.append(work.key)
        if count := room.take(max(1, work.remaining - work.cached)):
            rows.append(Row(work.key, count))
        room.cells = max(0, room.cells - work.cached)
        spare -= work.remaining + HEADROOM
    return admitted


def _urgency(work: Work) -> float:
    """First come, first served, except that a prompt that stands ready counts as having come a little earlier."""
    ready = (work.cached + work.lent) / max(1, work.remaining + work.lent)
    return -(work.waited + PATIENCE * min(1.0, ready))
