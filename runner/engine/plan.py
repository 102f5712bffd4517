"""Which tokens the next decode computes: a pure function of a snapshot.

Running sequences decode first, what is left of the token budget goes to prefill in chunks, oldest first. When cells run
out, the newest sequence gives its cells up and waits again; the oldest always gets on, so every request ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

HEADROOM = 32  # cells that must be left for each newcomer beyond its prompt, lest it be preempted at once


@dataclass(frozen=True, slots=True)
class Work:
    """A sequence as the plan sees it: `cells` it gives back if all newer ones are preempted before it (so cells that
    several hold count with the oldest of them), `remaining` tokens to compute before its next one. A newcomer takes
    `found` more cells for what is computed of it already, unless they are a running one's."""

    key: int
    cells: int
    remaining: int
    decoding: bool = False
    found: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Running and waiting sequences, each oldest first, and what they share.

    `cells_free` counts those that idle prefixes could give up. `chunk` bounds the prefill of a step in which somebody
    decodes, so that his next token doesn't wait for a stranger's long prompt.
    """

    running: Sequence[Work]
    waiting: Sequence[Work]
    slots_free: int
    cells_free: int
    budget: int
    chunk: int


@dataclass(frozen=True, slots=True)
class Row:
    """Compute the next `count` tokens of a sequence."""

    key: int
    count: int


@dataclass(frozen=True, slots=True)
class Step:
    """What to do next, in this order: preempt, admit, compute."""

    preempted: tuple[int, ...]
    admitted: tuple[int, ...]
    rows: tuple[Row, ...]


def plan(snapshot: Snapshot) -> Step:
    """Decide the next step. Budget and cells are never exceeded; somebody always advances if anybody can."""
    running = list(snapshot.running)
    cells = snapshot.cells_free
    preempted: list[int] = []
    # Each running sequence that decodes needs a cell, and a prefill at least one to get on.
    while len(running) > 1 and cells < sum(1 for work in running if work.decoding or work.remaining):
        newest = running.pop()
        preempted.append(newest.key)
        cells += newest.cells

    rows: list[Row] = []
    budget = snapshot.budget
    for work in running:
        if work.decoding and budget > 0 and cells > 0:
            rows.append(Row(work.key, 1))
            budget -= 1
            cells -= 1
    if rows:
        budget = min(budget, snapshot.chunk)
    for work in running:
        count = 0 if work.decoding else min(work.remaining, budget, cells)
        if count > 0:
            rows.append(Row(work.key, count))
            budget -= count
            cells -= count

    admitted: list[int] = []
    if not preempted:
        # What the running ones will still need for their prompts is spoken for.
        spoken_for = sum(work.remaining for work in running) - sum(row.count for row in rows)
        spare = cells - spoken_for - HEADROOM * len(running)
        for work in snapshot.waiting[: snapshot.slots_free]:
            alone = not running and not admitted
            if budget <= 0 or (spare < work.remaining + work.found + HEADROOM and not alone):
                break  # first come, first served: nobody overtakes the one that doesn't fit yet
            admitted.append(work.key)
            count = min(work.remaining, budget, max(cells - work.found, min(cells, 1)))
            if count > 0:
                rows.append(Row(work.key, count))
            budget -= count
            cells -= count + work.found
            spare -= work.remaining + work.found + HEADROOM
    return Step(tuple(preempted), tuple(admitted), tuple(rows))
