"""Which prefixes are worth a file: what saves most for its bytes, within the time and the disk there is."""

from __future__ import annotations

from array import array
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from runner.engine.farewell import LEAST, Budget, Candidate, Rates, Use, chance, worth_keeping

RATES = Rates(token=0.004, byte=2e-9)
PLENTY = Budget(seconds=60.0, size=2**40)
KB = 12_000  # bytes of a token


def candidate(
    name: str, tokens: list[int], *, each: int = KB, filed: int = 0, use: Use | None = None
) -> Candidate[str]:
    return Candidate(name, array("i", tokens), each * len(tokens), filed, use or Use())


def names(kept: list[Candidate[str]]) -> list[str]:
    return [each.what for each in kept]


def test_what_saves_most_for_its_bytes_goes_first() -> None:
    new = candidate("new", list(range(500)))
    half_there = candidate("half there", list(range(1000, 1500)), filed=250)
    chat = candidate("chat", list(range(2000, 2500)), use=Use(is_chat=True))
    old = candidate("old", list(range(3000, 3500)), use=Use(at=-7200.0))
    assert names(worth_keeping([old, half_there, new, chat], PLENTY, RATES, 0.0)) == [
        "chat",
        "new",
        "half there",
        "old",
    ]


def test_what_two_have_in_common_counts_once() -> None:
    system = list(range(1000))
    one, two = (
        candidate(name, [*system, *tail]) for name, tail in (("one", range(2000, 2100)), ("two", range(3000, 3040)))
    )
    assert names(worth_keeping([one, two], PLENTY, RATES, 0.0)) == ["one"]  # forty tokens more are no file's worth
    # A state that serves only for all of its tokens has nothing in common with another.
    assert sorted(names(worth_keeping([one, two], PLENTY, RATES, 0.0, cuttable=False))) == ["one", "two"]


def test_with_somebody_waiting_only_what_saves_more_than_it_takes_is_written() -> None:
    slow = candidate("slow to write", list(range(500)), each=2_000_000)
    quick = candidate("quick to write", list(range(1000, 1500)))
    waiting = replace(PLENTY, weight=1.0)
    assert names(worth_keeping([slow, quick], waiting, RATES, 0.0)) == ["quick to write"]
    assert sorted(names(worth_keeping([slow, quick], PLENTY, RATES, 0.0))) == ["quick to write", "slow to write"]


def test_one_that_does_not_fit_any_more_leaves_the_room_to_a_smaller_one() -> None:
    large, small = candidate("large", list(range(900)), use=Use(times=3)), candidate("small", list(range(1000, 1200)))
    assert names(worth_keeping([large, small], replace(PLENTY, size=300 * KB), RATES, 0.0)) == ["small"]
    assert names(worth_keeping([large, small], replace(PLENTY, seconds=300 * KB * RATES.byte), RATES, 0.0)) == ["small"]


def test_who_came_back_often_and_lately_is_likely_to_come_again() -> None:
    assert chance(Use(is_chat=True), 0.0) > chance(Use(), 0.0)
    assert chance(Use(times=5), 0.0) > chance(Use(times=1), 0.0)
    assert chance(Use(at=100.0), 100.0) > chance(Use(at=0.0), 100.0)
    assert 0.0 < chance(Use(), 1e9) < chance(Use(times=100), 0.0) <= 1.0


PREFIXES = st.lists(
    st.builds(
        lambda head, tail, length, each, filed, times: candidate(
            "",
            [*range(head), *range(10_000 * tail, 10_000 * tail + length)],
            each=each,
            filed=filed,
            use=Use(times=times),
        ),
        st.integers(0, 300),
        st.integers(1, 6),
        st.integers(1, 300),
        st.integers(1, 100_000),
        st.integers(0, 100),
        st.integers(1, 5),
    ),
    max_size=8,
)


@given(PREFIXES, st.floats(0, 0.2), st.integers(0, 50_000_000), st.sampled_from([0.0, 1.0]), st.booleans())
def test_the_budget_holds_and_every_file_is_of_use(
    candidates: list[Candidate[str]], seconds: float, size: int, weight: float, cuttable: bool
) -> None:
    budget = Budget(seconds, size, weight)
    kept = worth_keeping(candidates, budget, RATES, 0.0, cuttable=cuttable)
    assert sum(each.size for each in kept) <= size
    assert sum(each.size for each in kept) * RATES.byte <= seconds + 1e-9
    for place, each in enumerate(kept):
        assert len(each.tokens) - each.filed >= LEAST
        for before in kept[:place] if cuttable else ():
            shared = sum(1 for one, other in zip(each.tokens, before.tokens, strict=False) if one == other)
            assert len(each.tokens) - shared >= LEAST
    # With all the time and room there is, only what another serves for, or what is too little, is left out.
    everything = worth_keeping(candidates, PLENTY, RATES, 0.0, cuttable=cuttable)
    assert len(everything) >= len(kept)
