"""Sequence ids and the prefixes left in them, against a memory that does what llama.cpp's does."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule

from runner.engine.slots import Slots


class Memory:
    """The tokens that stand in each sequence's cells, and which cells those are: sequences may share them.

    With `cuttable` off only whole sequences can be dropped. With `own` each has cells of its own, and gets copies.
    """

    def __init__(self, count: int, *, cuttable: bool = True, own: bool = False) -> None:
        self.held: list[list[int]] = [[] for _ in range(count)]
        self.cells: list[list[object]] = [[] for _ in range(count)]
        self._cuttable = cuttable
        self._own = own
        self.saved: list[tuple[list[int], int]] = []

    def save(self, seq: int, tokens: array[int], own: int) -> None:
        assert self.held[seq] == list(tokens)
        self.saved.append((list(tokens), own))

    def used(self, sequences: Iterable[int]) -> int:
        """Cells that these sequences hold, each counted once."""
        return len({cell for seq in sequences for cell in self.cells[seq]})

    def forget(self, seq: int, start: int) -> bool:
        if start > 0 and not self._cuttable:
            return False
        del self.held[seq][start:]
        del self.cells[seq][start:]
        return True

    def share(self, source: int, target: int) -> None:
        assert not self.held[target]  # llama.cpp would mix the two
        self.held[target] = self.held[source].copy()
        self.cells[target] = [object() for _ in self.held[target]] if self._own else self.cells[source].copy()

    def decode(self, seq: int, start: int, tokens: list[int]) -> None:
        assert start == len(self.held[seq])  # llama.cpp refuses a gap or an overlap
        self.held[seq] += tokens
        self.cells[seq] += [object() for _ in tokens]

    def clear(self) -> None:
        self.held = [[] for _ in self.held]
        self.cells = [[] for _ in self.held]


def make(count: int = 4, cells: int = 100, *, cuttable: bool = True, own: bool = False) -> tuple[Slots, Memory]:
    memory = Memory(count, cuttable=cuttable, own=own)
    slots = Slots(count, cells, memory.forget, memory.share, cuttable=cuttable, apart=own, save=memory.save)
    return slots, memory


def compute(slots: Slots, memory: Memory, tokens: list[int]) -> int:
    """Acquire a slot and compute all of `tokens` in it."""
    seq, shared = slots.acquire(tokens)
    assert memory.held[seq] == tokens[:shared]
    memory.decode(seq, shared, tokens[shared:])
    slots.extend(seq, tokens[shared:])
    return seq


def leave(slots: Slots, memory: Memory, tokens: list[int]) -> int:
    """A request that has come and gone."""
    seq = compute(slots, memory, tokens)
    slots.release(seq)
    return seq


def test_the_next_turn_continues_where_the_last_one_ended() -> None:
    slots, memory = make()
    first = leave(slots, memory, [1, 2, 3, 4])
    assert slots.acquire([1, 2, 3, 4, 5, 6]) == (first, 4)


def test_idle_prefixes_give_up_what_they_hold_beyond_a_limit_the_oldest_first() -> None:
    slots, memory = make()
    first, second = leave(slots, memory, [1, *range(10, 30)]), leave(slots, memory, [2, *range(10, 30)])
    running = compute(slots, memory, [3, *range(10, 40)])
    slots.retire(30)
    assert (memory.held[first], len(memory.held[second]), len(memory.held[running])) == ([], 21, 31)
    slots.retire(0)  # nothing has come to rest since
    assert len(memory.held[second]) == 21
    slots.release(running)
    slots.retire(0)
    assert slots.cells_used == 0


def test_what_idle_prefixes_share_with_the_running_stays() -> None:
    slots, memory = make()
    system = list(range(20))
    leave(slots, memory, [*system, 50, 51])
    running = compute(slots, memory, [*system, 60])
    slots.retire(2)
    assert slots.cells_used == 23
    slots.release(running)


def test_one_token_is_always_left_to_compute() -> None:
    slots, memory = make()
    first = leave(slots, memory, [1, 2, 3, 4])
    assert slots.acquire([1, 2, 3, 4]) == (first, 3)
    assert memory.held[first] == [1, 2, 3]


def test_what_differs_is_dropped() -> None:
    slots, memory = make()
    first = leave(slots, memory, [1, 2, 3, 4])
    assert slots.acquire([1, 2, 9, 9, 9]) == (first, 2)
    assert memory.held[first] == [1, 2]
    assert (slots.cells_busy, slots.cells_used) == (2, 2)


def test_the_longest_prefix_wins() -> None:
    slots, memory = make()
    short = compute(slots, memory, [1, 2, 3])
    long = compute(slots, memory, [1, 2, 3, 4, 5])
    slots.release(long)
    slots.release(short)
    assert slots.acquire([1, 2, 3, 4, 5, 6]) == (long, 5)
    assert slots.acquire([1, 2, 3, 4, 5, 6]) == (short, 3)


def test_a_running_sequence_lends_its_beginning() -> None:
    slots, memory = make()
    prompt = list(range(30))
    first = compute(slots, memory, [*prompt, 50, 51])
    second, shared = slots.acquire([*prompt, 60])
    assert second != first
    assert shared == 30
    assert memory.held[second] == prompt
    assert memory.held[first] == [*prompt, 50, 51]
    assert (slots.cells_used, slots.cells_busy, slots.free) == (32, 32, 2)


def test_for_a_few_tokens_nobody_is_forked() -> None:
    slots, memory = make(2)
    first = compute(slots, memory, [1, 2, 3])
    second, shared = slots.acquire([1, 2, 3, 4])
    assert second != first
    assert shared == 0
    assert slots.free == 0


def test_a_long_conversation_is_not_given_up_for_a_common_beginning() -> None:
    slots, memory = make()
    system = [1] * 5
    chat = leave(slots, memory, [*system, *range(10, 60)])
    other, shared = slots.acquire([*system, 7, 8])
    assert other != chat
    assert shared == 0
    assert slots.acquire([*system, *range(10, 60), 70]) == (chat, 55)


def test_the_same_prompt_again_takes_the_place_of_its_answer() -> None:
    slots, memory = make()
    first = leave(slots, memory, [1, 2, *range(10, 60)])
    assert slots.acquire([1, 2]) == (first, 1)


def test_a_long_common_beginning_is_shared_and_what_follows_it_stays() -> None:
    slots, memory = make()
    document = list(range(20))
    first = leave(slots, memory, [*document, *range(100, 140)])
    other, shared = slots.acquire([*document, 7, 8])
    assert (other != first, shared) == (True, 20)
    assert len(memory.held[first]) == 60
    assert slots.cells_used == 60


def test_without_another_id_a_long_common_beginning_is_taken_over() -> None:
    slots, memory = make(1)
    document = list(range(20))
    first = leave(slots, memory, [*document, *range(100, 140)])
    assert slots.acquire([*document, 7, 8]) == (first, 20)
    assert memory.saved == [([*document, *range(100, 140)], 60)]


def test_an_empty_slot_goes_before_the_one_that_was_idle_longest() -> None:
    slots, memory = make(3)
    a = compute(slots, memory, [1] * 9)
    b = compute(slots, memory, [2] * 3)
    slots.release(a)
    slots.release(b)
    third, _ = slots.acquire([3, 3])
    assert third not in (a, b)
    assert slots.acquire([4, 4])[0] == a  # the longer one, but idle for longer
    assert slots.acquire([5, 5])[0] == b


def test_room_is_made_by_giving_up_the_oldest_prefixes() -> None:
    slots, memory = make(4, 10)
    busy = compute(slots, memory, [9, 9])
    a, b, c = (compute(slots, memory, [token, token]) for token in (1, 2, 3))
    for seq in (b, a, c):
        slots.release(seq)
    slots.make_room(2)
    assert slots.cells_used == 8
    slots.make_room(3)
    assert memory.held[b] == []
    assert slots.cells_used == 6
    slots.make_room(100)
    assert [len(memory.held[seq]) for seq in (busy, a, b, c)] == [2, 0, 0, 0]
    assert slots.cells_used == slots.cells_busy == 2


def test_what_is_not_to_be_kept_is_dropped() -> None:
    slots, memory = make()
    seq = compute(slots, memory, [1, 2, 3])
    slots.release(seq, keep=False)
    assert memory.held[seq] == []
    assert slots.cells_used == 0
    assert slots.free == 4


def test_a_state_that_cannot_be_cut_is_computed_anew() -> None:
    slots, memory = make(1, cuttable=False)
    seq = leave(slots, memory, [1, 2, 3, 4])
    assert slots.acquire([1, 2, 9]) == (seq, 0)
    assert memory.held[seq] == []
    slots.extend(seq, [1, 2, 9])
    memory.decode(seq, 0, [1, 2, 9])
    slots.release(seq)
    assert slots.acquire([1, 2, 9, 4]) == (seq, 3)  # nothing to cut


def test_a_state_that_cannot_be_cut_is_gone_on_from_where_it_stands() -> None:
    slots, memory = make(3, cuttable=False)
    prompt = list(range(20))
    first = leave(slots, memory, prompt)
    found = slots.find([*prompt[:18], 77])
    assert (found.length, found.seq, found.known) == (0, None, 18)
    second, shared = slots.acquire([*prompt, 40])
    assert (second != first, shared) == (True, 20)  # others may want to go on from there too
    assert memory.held[first] == prompt
    assert slots.acquire(prompt)[1] == 0  # one token must be left to compute


def test_a_copy_is_left_where_an_id_is_empty() -> None:
    slots, memory = make(3, cuttable=False)
    first = compute(slots, memory, list(range(20)))
    assert slots.leave_copy(first)
    compute(slots, memory, [77])
    assert not slots.leave_copy(first)  # what is left is idle, not empty
    memory.decode(first, 20, [30])
    slots.extend(first, [30])
    assert (slots.cells_used, slots.cells_busy) == (22, 22)
    slots.release(first, keep=False)
    assert slots.acquire([*range(20), 5])[1] == 20


def test_who_loses_cells_is_told_before() -> None:
    slots, memory = make(2, 1000)
    first = leave(slots, memory, list(range(600)))
    second, _ = slots.acquire([*range(500), 7])  # shares 500
    memory.decode(second, 500, [7] * 300)
    slots.extend(second, [7] * 300)
    slots.release(second)
    slots.make_room(120)
    assert memory.saved == [(list(range(600)), 100)]
    assert memory.held[first] == []
    slots.make_room(300)
    assert memory.saved[1:] == [([*range(500), *[7] * 300], 800)]
    assert memory.held[second] == [*range(500), *[7] * 44]  # from the end, 256 at a time


def test_after_a_reset_nothing_stands_anywhere() -> None:
    slots, memory = make()
    leave(slots, memory, [1, 2, 3])
    compute(slots, memory, [4, 5])
    slots.reset()
    assert (slots.free, slots.cells_used, slots.cells_busy) == (4, 0, 0)
    assert slots.acquire([1, 2, 3])[1] == 0


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 1000, 1001])
def test_the_shared_length_is_exact(size: int) -> None:
    slots, memory = make(1, 5000)
    leave(slots, memory, list(range(2000)))
    wanted = [*range(size), 9999, 9999]
    slots_, memory_ = make(1, 5000)
    leave(slots_, memory_, list(range(size)))
    assert slots_.acquire(wanted)[1] == size
    assert slots.acquire(list(range(size)))[1] == size - 1


def test_no_more_is_reused_than_may_be() -> None:
    slots, memory = make()
    first = leave(slots, memory, [1, 2, 3, 4])
    assert slots.acquire([1, 2, 3, 4, 5], 2) == (first, 2)
    assert memory.held[first] == [1, 2]


def test_who_may_reuse_nothing_takes_an_empty_slot() -> None:
    slots, memory = make()
    first = leave(slots, memory, [1, 2, 3, 4])
    other, shared = slots.acquire([1, 2, 3, 4, 5], 0)
    assert (other != first, shared) == (True, 0)
    assert memory.held[first] == [1, 2, 3, 4]


# -- forks


def test_a_fork_holds_the_same_cells_and_they_count_once() -> None:
    slots, memory = make()
    first = compute(slots, memory, [1, 2, 3])
    second = slots.fork(first)
    assert second is not None
    assert second != first
    assert memory.held[second] == [1, 2, 3]
    assert (slots.free, slots.cells_used, slots.cells_busy) == (2, 3, 3)
    for seq, token in ((first, 4), (second, 5)):
        memory.decode(seq, 3, [token])
        slots.extend(seq, [token])
    assert (slots.cells_used, slots.cells_busy) == (5, 5)
    slots.release(first, keep=False)
    assert (slots.cells_used, slots.cells_busy) == (4, 4)
    slots.release(second, keep=False)
    assert (slots.cells_used, slots.cells_busy) == (0, 0)


def test_there_is_no_fork_without_a_sequence_id() -> None:
    slots, memory = make(2)
    first = compute(slots, memory, [1, 2, 3])
    assert slots.fork(first) is not None
    assert slots.fork(first) is None


def test_a_fork_takes_the_place_of_what_was_idle_longest() -> None:
    slots, memory = make(3)
    old, new = compute(slots, memory, [7] * 2), compute(slots, memory, [8] * 9)
    slots.release(old)
    slots.release(new)
    first = compute(slots, memory, [1, 2])
    assert first not in (old, new)
    assert slots.fork(first) == old
    assert slots.fork(first) == new
    assert slots.cells_used == 2


def test_what_each_holds_counts_for_the_first_that_is_named() -> None:
    slots, memory = make()
    first = compute(slots, memory, [1, 2, 3])
    second = slots.fork(first)
    assert second is not None
    memory.decode(second, 3, [4, 5])
    slots.extend(second, [4, 5])
    third = slots.fork(second)
    assert third is not None
    assert slots.held([first, second, third]) == [3, 2, 0]
    assert slots.held([third, second, first]) == [5, 0, 0]
    slots.release(third)
    assert slots.held([second]) == [5]


def test_an_idle_fork_gives_its_cells_up_only_as_far_as_nobody_else_holds_them() -> None:
    slots, memory = make(4, 10)
    first = compute(slots, memory, [1, 2, 3, 4])
    second = slots.fork(first)
    assert second is not None
    memory.decode(second, 4, [5, 6])
    slots.extend(second, [5, 6])
    slots.release(second)
    assert (slots.cells_used, slots.cells_busy) == (6, 4)
    slots.make_room(5)
    assert (slots.cells_used, slots.cells_busy) == (4, 4)
    assert memory.held[first] == [1, 2, 3, 4]


def test_a_prefix_that_others_hold_too_is_cut_for_one_alone() -> None:
    slots, memory = make(2)
    first = compute(slots, memory, [1, 2, 3, 4])
    second = slots.fork(first)
    assert second is not None
    slots.release(second)
    again, shared = slots.acquire([1, 2, 9])
    assert (again, shared) == (second, 2)
    assert memory.held[first] == [1, 2, 3, 4]
    assert (slots.cells_used, slots.cells_busy) == (4, 4)
    assert slots.held([second, first]) == [2, 2]


def test_a_part_is_lent_and_given_back() -> None:
    slots, memory = make(2)
    whole = leave(slots, memory, [1, 2, 3, 4, 5])
    part = slots.lend(whole, 3)
    assert part is not None
    assert memory.held[part] == [1, 2, 3]
    assert slots.cells_used == 5  # nothing is copied
    assert slots.lend(whole, 2) is None  # there is no other id
    slots.release(part, keep=False)
    assert (memory.held[whole], memory.held[part], slots.cells_used) == ([1, 2, 3, 4, 5], [], 5)


# -- cells of one's own


def test_a_copy_counts_its_own_cells() -> None:
    slots, memory = make(own=True)
    first = compute(slots, memory, [1, 2, 3])
    second = slots.fork(first)
    assert second == 1
    assert memory.held[second] == [1, 2, 3]
    assert slots.held([first, second]) == [3, 3]
    assert (slots.cells_used, slots.cells_busy) == (6, 6)
    slots.release(first, keep=False)
    assert slots.cells_used == 3


def test_nobody_needs_an_idle_prefix_of_another() -> None:
    slots, memory = make(own=True)
    idle = leave(slots, memory, [1, 2, 3])
    slots.make_room(1000)
    assert memory.held[idle] == [1, 2, 3]
    slots.give_up(idle)
    assert (memory.held[idle], slots.cells_used) == ([], 0)


def in_use(slots: Slots) -> list[int]:
    return [index for index, slot in enumerate(slots._slots) if slot.busy]


@pytest.mark.parametrize(
    ("busy", "moves"),
    [
        ([], 0),
        ([3], 0),
        ([2, 3, 4], 0),
        ([0, 1, 3], 1),
        ([0, 2, 3, 4], 1),
        ([0, 5], 1),
        ([0, 3, 4, 6, 9], 2),
        ([0, 1, 2, 3, 4, 5, 6, 7, 9], 1),
    ],
)
def test_ids_in_use_are_brought_together_by_the_fewest_moves(busy: list[int], moves: int) -> None:
    slots, memory = make(10, own=True)
    everybody = [compute(slots, memory, [seq, seq, seq]) for seq in range(10)]
    for seq in set(everybody) - set(busy):
        slots.release(seq, keep=False)
    moved = slots.gather()
    assert len(moved) == moves
    after = in_use(slots)
    assert after == [*range(after[0], after[0] + len(busy))] if busy else after == []
    now = sorted(moved.get(seq, seq) for seq in busy)
    assert now == after
    assert {moved.get(seq, seq): memory.held[moved.get(seq, seq)] for seq in busy} == {
        moved.get(seq, seq): [seq] * 3 for seq in busy
    }
    assert slots.gather() == {}


def test_a_kept_prefix_is_spared_where_another_place_does_as_well() -> None:
    slots, memory = make(5, own=True)
    everybody = [compute(slots, memory, [seq] * 4) for seq in range(5)]
    slots.release(everybody[1])
    for seq in (2, 3):
        slots.release(everybody[seq], keep=False)
    assert slots.gather() == {0: 3}
    assert memory.held[1] == [1] * 4


def test_a_kept_prefix_that_is_in_the_way_goes_elsewhere() -> None:
    slots, memory = make(6, own=True)
    everybody = [compute(slots, memory, [seq] * 4) for seq in range(6)]
    slots.release(everybody[5], keep=False)
    slots.release(everybody[2])
    assert len(slots.gather()) == 1
    index, shared = slots.acquire([2, 2, 2, 2, 5])
    assert (index, shared) != (2, 4)
    assert shared == 4


@pytest.mark.parametrize("order", [(5, 2), (2, 5)])
def test_where_no_place_is_empty_the_prefix_that_was_used_last_stays(order: tuple[int, int]) -> None:
    slots, memory = make(6, own=True)
    everybody = [compute(slots, memory, [seq] * 4) for seq in range(6)]
    for seq in order:
        slots.release(everybody[seq])
    assert slots.gather() == {4: 2}
    assert memory.held[2] == [4] * 4
    assert memory.held[5] == [order[-1]] * 4


def test_a_newcomer_fills_the_gap_between_others() -> None:
    slots, memory = make(8, own=True)
    everybody = [compute(slots, memory, [seq] * 4) for seq in range(5)]
    slots.release(everybody[2])
    assert slots.acquire([9, 9]) == (2, 0)
    assert slots.acquire([9, 9]) == (5, 0)
    assert slots.gather() == {}


class SlotsMachine(RuleBasedStateMachine):
    """Any order of calls that the loop may make: what Slots believes is what the memory holds."""

    busy: Bundle[int] = Bundle("busy")

    @initialize(count=st.integers(1, 6), cells=st.integers(1, 60), cuttable=st.booleans(), own=st.booleans())
    def begin(self, count: int, cells: int, cuttable: bool, own: bool) -> None:
        own = own and cuttable
        self.slots, self.memory = make(count, cells, cuttable=cuttable, own=own)
        self.count = count
        self.own = own
        self.running: set[int] = set()

    @precondition(lambda self: self.slots.free)
    @rule(target=busy, tokens=st.lists(st.integers(0, 2), min_size=1, max_size=12))
    def acquire(self, tokens: list[int]) -> int:
        seq, shared = self.slots.acquire(tokens)
        assert seq not in self.running
        assert 0 <= shared < len(tokens)
        assert self.memory.held[seq] == tokens[:shared]
        self.running.add(seq)
        return seq

    @rule(target=busy, seq=busy)
    def fork(self, seq: int) -> int:
        if seq not in self.running:
            return seq
        others = {other: self.memory.held[other].copy() for other in self.running}
        fork = self.slots.fork(seq)
        assert (fork is None) == (len(self.running) == self.count)
        if fork is None:
            return seq
        assert fork not in self.running
        assert self.memory.held[fork] == self.memory.held[seq]
        assert {other: self.memory.held[other] for other in self.running} == others
        self.running.add(fork)
        return fork

    @rule(seq=busy, tokens=st.lists(st.integers(0, 2), min_size=1, max_size=6))
    def compute(self, seq: int, tokens: list[int]) -> None:
        if seq not in self.running:
            return
        self.slots.make_room(len(tokens))
        if self.slots.cells - self.slots.cells_used < len(tokens):
            return  # the plan would have preempted somebody
        self.memory.decode(seq, len(self.memory.held[seq]), tokens)
        self.slots.extend(seq, tokens)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def preempt_the_newest(self, data: st.DataObject) -> None:
        """What the plan is told that each gives back is what comes free, one after the other."""
        order = data.draw(st.permutations(sorted(self.running)))
        held = self.slots.held(order)
        for seq, size in zip(reversed(order), reversed(held), strict=True):
            before = self.slots.cells_busy
            self.slots.release(seq, keep=False)
            self.running.remove(seq)
            assert before - self.slots.cells_busy == size

    @rule(seq=consumes(busy), keep=st.booleans())
    def release(self, seq: int, keep: bool) -> None:
        if seq in self.running:
            self.running.remove(seq)
            self.slots.release(seq, keep=keep)

    @rule(cells=st.integers(0, 80))
    def make_room(self, cells: int) -> None:
        busy = [list(self.memory.held[seq]) for seq in sorted(self.running)]
        self.slots.make_room(cells)
        assert [self.memory.held[seq] for seq in sorted(self.running)] == busy
        free = self.slots.cells - self.slots.cells_used
        assert self.own or free >= cells or self.slots.cells_used == self.slots.cells_busy

    @precondition(lambda self: self.own)
    @rule()
    def gather(self) -> None:
        held = {seq: self.memory.held[seq].copy() for seq in self.running}
        moved = self.slots.gather()
        assert set(moved) <= self.running
        now = {moved.get(seq, seq): tokens for seq, tokens in held.items()}
        assert {seq: self.memory.held[seq] for seq in now} == now
        assert not now or max(now) - min(now) == len(now) - 1
        self.running = set(now)

    @rule()
    def reset(self) -> None:
        self.slots.reset()
        self.memory.clear()
        self.running.clear()

    @invariant()
    def counts_are_the_memorys(self) -> None:
        if not hasattr(self, "slots"):
            return
        assert self.slots.cells_used == self.memory.used(range(self.count))
        assert self.slots.cells_busy == self.memory.used(self.running)
        assert [list(slot.tokens) for slot in self.slots._slots] == self.memory.held
        assert self.slots.free == self.count - len(self.running)


TestSlotsMachine = SlotsMachine.TestCase
TestSlotsMachine.settings = settings(max_examples=60, stateful_step_count=40)
