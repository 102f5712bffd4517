"""The radix tree against a list of who holds what."""

from __future__ import annotations

from array import array

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from runner.engine.prefixes import Prefixes, common

TOKENS = st.lists(st.integers(0, 2), max_size=12)
SPACES = st.sampled_from([None, "adapter"])


def shared_by(one: list[int], other: list[int]) -> int:
    pairs = zip(one, other, strict=False)
    return next((place for place, (mine, theirs) in enumerate(pairs) if mine != theirs), min(len(one), len(other)))


def tree(**held: list[int]) -> Prefixes[str]:
    prefixes: Prefixes[str] = Prefixes()
    for holder, tokens in held.items():
        prefixes.add(holder, tokens)
    return prefixes


def test_everybody_below_holds_the_common_beginning() -> None:
    match = tree(a=[1, 2, 3, 4], b=[1, 2, 3, 5, 6], c=[9]).match([1, 2, 3, 7])
    assert match.length == 3
    assert list(match.holders()) == ["a", "b"]
    assert match.ends == ()


def test_who_ends_on_the_way_is_told_with_his_length() -> None:
    match = tree(a=[1], b=[1, 2, 3], c=[1, 2, 3, 4, 5], d=[1, 2]).match([1, 2, 3, 4, 4])
    assert match.ends == ((1, "a"), (2, "d"), (3, "b"))
    assert (match.length, list(match.holders())) == (4, ["c"])


def test_those_nearest_to_the_end_of_the_match_come_first() -> None:
    match = tree(far=[1, 2, 3, 4, 5], near=[1, 2, 3], other=[1, 2, 3, 7]).match([1, 2, 3])
    assert next(match.holders()) == "near"


def test_nothing_in_common_is_held_by_nobody() -> None:
    match = tree(a=[1, 2]).match([3])
    assert (match.length, match.ends, list(match.holders())) == (0, (), [])
    assert tree().match([1]).length == 0


def test_spaces_know_nothing_of_each_other() -> None:
    prefixes: Prefixes[str] = Prefixes()
    prefixes.add("a", [1, 2, 3], "one adapter")
    assert prefixes.match([1, 2, 3]).length == 0
    assert prefixes.match([1, 2, 3], "one adapter").length == 3


def test_what_others_hold_too() -> None:
    prefixes = tree(a=[1, 2, 3], b=[1, 2, 4, 4], c=[1, 2], d=[7])
    assert [prefixes.covered(holder) for holder in "abcd"] == [2, 2, 2, 0]


def test_a_prompt_of_a_hundred_thousand_tokens_splits_anywhere() -> None:
    long = list(range(100_000))
    prefixes = tree(a=long, b=[*long[:77_777], 5], c=[*long[:12], 5])
    assert prefixes.match(long).length == 100_000
    assert prefixes.match([*long[:77_777], 6]).length == 77_777
    assert prefixes.match([*long[:12], 6]).length == 12


class PrefixesMachine(RuleBasedStateMachine):
    """Any order of calls: matches are what a search through all holders finds."""

    @initialize()
    def begin(self) -> None:
        self.prefixes: Prefixes[int] = Prefixes()
        self.held: dict[int, tuple[str | None, list[int]]] = {}
        self.next = 0

    @rule(tokens=TOKENS, space=SPACES)
    def add(self, tokens: list[int], space: str | None) -> None:
        self.prefixes.add(self.next, tokens, space)
        self.held[self.next] = (space, tokens)
        self.next += 1

    @precondition(lambda self: self.held)
    @rule(data=st.data(), tokens=TOKENS)
    def advance(self, data: st.DataObject, tokens: list[int]) -> None:
        holder = data.draw(st.sampled_from(sorted(self.held)))
        self.prefixes.advance(holder, tokens)
        space, before = self.held[holder]
        self.held[holder] = (space, before + tokens)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        holder = data.draw(st.sampled_from(sorted(self.held)))
        self.prefixes.remove(holder)
        del self.held[holder]

    @rule()
    def clear(self) -> None:
        self.prefixes.clear()
        self.held.clear()

    @rule(wanted=TOKENS, space=SPACES)
    def match(self, wanted: list[int], space: str | None) -> None:
        inside = {holder: tokens for holder, (where, tokens) in self.held.items() if where == space}
        match = self.prefixes.match(wanted, space)
        shared = {holder: shared_by(tokens, wanted) for holder, tokens in inside.items()}
        assert match.length == max(shared.values(), default=0)
        if match.length:
            assert sorted(match.holders()) == sorted(
                holder for holder, length in shared.items() if length == match.length
            )
        ends = {holder: len(tokens) for holder, tokens in inside.items() if tokens and shared[holder] == len(tokens)}
        assert {holder: length for length, holder in match.ends} == ends
        assert [length for length, _ in match.ends] == sorted(length for length, _ in match.ends)

    @invariant()
    def each_is_covered_by_what_the_others_hold(self) -> None:
        if not hasattr(self, "held"):
            return
        assert len(self.prefixes) == len(self.held)
        for holder, (space, tokens) in self.held.items():
            others = [held for other, (where, held) in self.held.items() if where == space and other != holder]
            assert self.prefixes.covered(holder) == max((shared_by(tokens, other) for other in others), default=0)


TestPrefixesMachine = PrefixesMachine.TestCase
TestPrefixesMachine.settings = settings(max_examples=80, stateful_step_count=40)


def test_common_beginnings() -> None:
    for size in (0, 1, 2, 63, 64, 65):
        one = array("i", range(size))
        assert common(one, array("i", [*range(size), 7])) == size
        assert common(array("i", [*range(size), 7]), array("i", [*range(size), 8])) == size
