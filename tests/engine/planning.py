"""What holds for every plan, and an engine that applies plans without a model: real slots, cells that are lists."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from runner.engine.plan import PATIENCE, Snapshot, Step, Work, _urgency, plan
from runner.engine.slots import Slots
from runner.engine.turns import Turns
from runner.protocol.commands import Adapters


def check(given_: Snapshot, step: Step) -> None:
    """What holds for every plan."""
    keys = [work.key for work in given_.running]
    assert list(step.preempted) == keys[::-1][: len(step.preempted)]  # the newest, newest first
    waiting = {work.key: work for work in given_.waiting}
    assert len(set(step.admitted)) == len(step.admitted) <= given_.slots_free
    assert not (step.preempted and step.admitted)
    group = {work.key for work in (*given_.running, *given_.waiting) if not work.rests}
    assert group.issuperset((*step.admitted, *(row.key for row in step.rows)))
    for key in step.admitted:  # first come, first served, within the bonus that nobody can outgrow
        passed = [work for work in given_.waiting if work.key not in step.admitted]
        before = [work for work in passed if work.waited > waiting[key].waited + PATIENCE]
        assert all(work.rests for work in before)
        assert len(step.admitted) + len(before) <= given_.slots_free  # a place is kept for those who rest

    left = [work for work in given_.running if work.key not in step.preempted]
    eligible = {work.key: work for work in [*left, *(waiting[key] for key in step.admitted)]}
    rows = {row.key: row.count for row in step.rows}
    assert len(rows) == len(step.rows)
    assert rows.keys() <= eligible.keys()
    assert all(1 <= count <= eligible[key].remaining + eligible[key].drafts for key, count in rows.items())

    freed = sum(work.cells for work in given_.running if work.key in step.preempted)
    assert sum(rows.values()) <= given_.budget
    assert sum(rows.values()) <= given_.cells_free + freed
    decodes = [work.key for work in left if work.decoding and not work.rests]
    if decodes and given_.cells_free + freed >= len(decodes):
        assert all(rows.get(key, 0) >= 1 for key in decodes)
    assert sum(rows[key] - 1 for key in decodes if key in rows) <= given_.drafts
    if decodes:
        assert sum(count for key, count in rows.items() if key not in decodes) <= given_.chunk
    going = [work.key for work in left if not work.rests]
    if going and given_.cells_free + freed > 0:
        assert going[0] in rows  # the oldest gets on in every step of its group, so everybody becomes that and ends
    first = min(given_.waiting, key=_urgency, default=None)
    if not given_.running and first is not None and not first.rests and given_.slots_free and given_.cells_free:
        assert step.rows


@dataclass(eq=False)
class Life:
    """A choice of a request: its prompt, and an answer that its request and its number decide."""

    request: int
    choice: int
    prompt: list[int]
    length: int  # tokens that it will have said when it ends
    key: int
    arrived: int
    unforked: list[int] = field(default_factory=list)  # lengths of the choices that go on from its prompt
    slot: int | None = None
    computed: int = 0
    tokens: list[int] = field(default_factory=list)
    ran: bool = False
    group: Adapters = ()

    def __post_init__(self) -> None:
        self.tokens = self.tokens or self.prompt.copy()

    @property
    def generated(self) -> int:
        return len(self.tokens) - len(self.prompt)

    @property
    def remaining(self) -> int:
        return len(self.tokens) - self.computed

    @property
    def is_decoding(self) -> bool:
        return self.generated > 0 and self.remaining == 1

    def say(self, place: int) -> int:
        """The token at this place of its answer."""
        return (7 * self.request + 3 * self.choice + place) % 5


class Engine:
    """Applies plans as the loop does. A draft of several tokens is right as far as `hits` says, then wrong."""

    def __init__(self, slots: int, cells: int, budget: int, chunk: int, drafts: int = 0) -> None:
        self.cells, self.budget, self.chunk, self.drafts = cells, budget, chunk, drafts
        self.held: list[list[object]] = [[] for _ in range(slots)]  # a cell is an object that sequences may share
        self.slots = Slots(slots, cells, self._forget, self._share)
        self.running: list[Life] = []
        self.waiting: list[Life] = []
        self.ended: Counter[int] = Counter()
        self.incomplete: Counter[int] = Counter()
        self.said: dict[tuple[int, int], list[int]] = {}
        self.wants: Callable[[], int] = lambda: 0  # drafts that a sequence would like to try
        self.hits: Callable[[], int] = lambda: 0  # how many of them are right
        self.cached: Callable[[Life], int] = lambda life: 0
        self.steps = self.preemptions = self._keys = 0
        self.turns = Turns(2.0)  # steps

    def _forget(self, seq: int, start: int) -> bool:
        del self.held[seq][start:]
        return True

    def _share(self, source: int, target: int) -> None:
        assert not self.held[target]
        self.held[target] = self.held[source].copy()

    @property
    def cells_used(self) -> int:
        return len({id(cell) for held in self.held for cell in held})

    def submit(self, request: int, prompt: list[int], *lengths: int, group: Adapters = ()) -> None:
        """A request of one choice for each length."""
        first, *others = lengths
        self._keys += 1
        self.incomplete[request] = len(lengths)
        self.waiting.append(Life(request, 0, prompt, first, self._keys, self.steps, others, group=group))

    def step(self) -> Step:
        """One of the group whose turn it is, or of the next that can do anything."""
        groups = self.turns.order([life.group for life in [*self.running, *self.waiting]], self.steps)
        for group in groups:
            given_ = self._snapshot(group)
            step = plan(given_)
            check(given_, step)
            if step.rows or step.preempted:
                self.turns.took(group, self.steps)
                break
        self._carry_out(step)
        return step

    def _snapshot(self, group: Adapters) -> Snapshot:
        held = self.slots.held([life.slot for life in self.running if life.slot is not None])
        return Snapshot(
            [
                Work(
                    life.key,
                    cells,
                    life.remaining,
                    life.is_decoding,
                    self.wants() if life.is_decoding else 0,
                    rests=life.group != group,
                )
                for life, cells in zip(self.running, held, strict=True)
            ],
            [
                Work(
                    life.key,
                    0,
                    life.remaining,
                    cached=min(self.cached(life), life.remaining),
                    waited=float("inf") if life.ran else (self.steps - life.arrived) / 10,
                    rests=life.group != group,
                )
                for life in self.waiting
            ],
            self.slots.free,
            self.cells - sum(held),
            self.budget,
            self.chunk,
            self.drafts,
        )

    def _carry_out(self, step: Step) -> None:
        self.steps += 1
        for key in step.preempted:
            life = self.running.pop()
            assert life.key == key
            self._let_go(life, keep=False)
            self.waiting.insert(0, life)
            self.preemptions += 1
        for key in step.admitted:
            life = next(each for each in self.waiting if each.key == key)
            self.waiting.remove(life)
            life.slot, life.computed = self.slots.acquire(life.tokens, None, life.group)
            life.ran = True
            self.running.append(life)
        self._compute({row.key: row.count for row in step.rows})

    def _compute(self, counts: dict[int, int]) -> None:
        self.slots.make_room(sum(counts.values()))
        filled = []
        for life in [each for each in self.running if each.key in counts]:
            assert life.slot is not None
            count = min(counts[life.key], life.remaining) if not life.is_decoding else counts[life.key]
            drafted = count - 1 if life.is_decoding else 0
            tokens = [*life.tokens[life.computed : life.computed + count - drafted], *[9] * drafted]
            self.held[life.slot] += [object() for _ in tokens]
            filled.append((life, tokens, drafted))
        assert self.cells_used <= self.cells
        for life, tokens, drafted in filled:
            self._settle(life, tokens, drafted)

    def _settle(self, life: Life, tokens: list[int], drafted: int) -> None:
        if life.slot is None:  # another choice of its request has ended it
            return
        hits = min(drafted, self.hits())
        known = tokens[: len(tokens) - drafted]
        right = [life.say(life.generated + place) for place in range(hits)]
        self.slots.extend(life.slot, [*known, *right, *tokens[len(known) + hits :]])
        if drafted > hits:
            left = life.computed + len(known) + hits
            assert self.slots.trim(life.slot, left) == left
        life.computed += len(known) + hits
        if life.remaining > -hits:
            return
        lives = [life, *(self._fork(life) if not life.generated else [])]
        for each in lives:
            for _ in range(1 + (hits if each is life else 0)):
                each.tokens.append(each.say(each.generated))
                if each.generated == each.length:
                    self._end(each)
                    break

    def _fork(self, life: Life) -> list[Life]:
        assert life.slot is not None
        forks = []
        for choice, length in enumerate(life.unforked, start=1):
            self._keys += 1
            fork = Life(life.request, choice, life.prompt, length, self._keys, life.arrived, ran=True, group=life.group)
            fork.slot = self.slots.fork(life.slot)
            if fork.slot is not None:
                fork.computed = life.computed
                self.running.insert(self.running.index(life) + len(forks) + 1, fork)
            forks.append(fork)
        life.unforked.clear()
        self.waiting[:0] = [fork for fork in forks if fork.slot is None]
        return forks

    def _end(self, life: Life) -> None:
        self.said[life.request, life.choice] = life.tokens[len(life.prompt) :]
        self._leave(life)
        self.incomplete[life.request] -= 1
        if not self.incomplete[life.request]:
            self.ended[life.request] += 1

    def _leave(self, life: Life) -> None:
        if life in self.running:
            self.running.remove(life)
            self._let_go(life, keep=True)
        else:
            self.waiting.remove(life)

    def _let_go(self, life: Life, *, keep: bool) -> None:
        assert life.slot is not None
        self.slots.release(life.slot, keep=keep)
        life.slot, life.computed = None, 0

    def cancel(self, request: int) -> None:
        """End all its choices, if any is left."""
        lives = [life for life in [*self.running, *self.waiting] if life.request == request]
        for life in lives:
            self._leave(life)
        if lives:
            self.ended[request] += 1

    def drain(self, most: int) -> None:
        """Until nobody is left."""
        until = self.steps + most
        while self.running or self.waiting:
            assert self.steps < until, "somebody starves"
            self.step()

    def check_books(self) -> None:
        """What the slots believe is what the cells hold, and only running sequences are busy."""
        assert [len(slot.tokens) for slot in self.slots._slots] == [len(held) for held in self.held]
        assert self.slots.cells_used == self.cells_used <= self.cells
        assert self.slots.free == len(self.held) - len(self.running)
        for life in self.running:
            assert life.slot is not None
            assert list(self.slots._slots[life.slot].tokens) == life.tokens[: life.computed]

    def check_empty(self) -> None:
        """Nothing has leaked: when the idle prefixes are given up as well, nothing is left."""
        self.check_books()
        assert self.slots.cells_busy == 0
        self.slots.make_room(self.cells)
        assert self.slots.cells_used == self.cells_used == 0
