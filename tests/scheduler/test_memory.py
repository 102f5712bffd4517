"""The memory plan: what a load takes, how many sequences it gets, what there is for all."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from runner.protocol.commands import Load
from runner.protocol.events import Stats
from runner.protocol.options import LoadOptions, pooled
from runner.scheduler import memory
from runner.scheduler.fleet import Fleet
from runner.scheduler.memory import Footprint, Need

GIB = 2**30
HALF_B = Footprint(weights=530 * 2**20, kv=12 * 1024, state=0, vocabulary=151_936, width=896)
EIGHT_B = Footprint(weights=4_700 * 2**20, kv=128 * 1024, state=0, vocabulary=128_256, width=4096)


def options(num_parallel: int = 0, num_ctx: int = 8192, kv_cache_type: str = "f16") -> LoadOptions:
    return LoadOptions(num_ctx=num_ctx, num_parallel=num_parallel, kv_cache_type=kv_cache_type)


def test_auto_gives_many_sequences_where_there_is_room() -> None:
    fitted = memory.fit(HALF_B, options(), 22 * GIB)
    assert (fitted.num_parallel, fitted.wide_sequences, fitted.wide_cells) == (128, 128, 2048)
    assert (fitted.cells, pooled(fitted)) == (32 * 2048, 32)


def test_with_less_memory_slots_are_shorter_then_fewer_then_there_is_a_pool_only() -> None:
    slots = [memory.fit(HALF_B, options(), room * GIB) for room in (22, 12, 8, 5, 1)]
    assert [(each.wide_sequences, each.wide_cells) for each in slots[:3]] == [(128, 2048), (128, 1280), (128, 768)]
    assert 32 < slots[3].wide_sequences < 128
    assert slots[3].wide_cells == 512
    assert (slots[4].wide_sequences, slots[4].wide_cells) == (0, 0)
    assert 1 < slots[4].num_parallel <= 32


def test_a_projector_takes_its_place_beside_the_weights() -> None:
    seeing = replace(HALF_B, projector=800 * 2**20)
    blind, more = memory.need(HALF_B, options(4)), memory.need(seeing, options(4))
    assert more.moving - blind.moving >= seeing.projector
    assert (more.weights, more.later) == (blind.weights, blind.later)


def test_auto_takes_only_a_share_of_what_is_left() -> None:
    fitted = memory.fit(EIGHT_B, options(), 12 * GIB)
    taken = memory.need(EIGHT_B, fitted)
    assert fitted.cells >= 8192
    assert taken.moving + taken.later <= 0.35 * (12 * GIB - EIGHT_B.weights)
    assert 1 < fitted.num_parallel <= 32


def test_one_request_of_full_length_always_fits_in() -> None:
    fitted = memory.fit(EIGHT_B, options(num_ctx=16384), 7 * GIB)
    assert fitted.cells == 16384


def test_short_contexts_share_nothing() -> None:
    fitted = memory.fit(HALF_B, options(num_ctx=256), 20 * GIB)
    assert (fitted.num_parallel, fitted.cells) == (128, 32 * 256)
    assert (fitted.wide_sequences, fitted.wide_cells) == (128, 256)


def test_a_number_that_was_asked_for_is_kept() -> None:
    few = memory.fit(HALF_B, options(num_parallel=4), 20 * GIB)
    assert (few.num_parallel, few.cells, few.wide_sequences) == (4, 4 * 8192, 0)
    many = memory.fit(HALF_B, options(num_parallel=200), 20 * GIB)
    assert (many.num_parallel, many.wide_sequences, many.wide_cells) == (200, 200, 2048)
    tight = memory.fit(EIGHT_B, options(num_parallel=64), 8 * GIB)
    assert (tight.num_parallel, tight.wide_sequences) == (64, 0)
    assert 8192 <= tight.cells < 64 * 8192


def test_models_that_cannot_be_split_have_a_pool_only() -> None:
    mamba = Footprint(weights=GIB, kv=0, state=10 * 2**20, vocabulary=50_000, width=2048)
    assert memory.fit(mamba, options(), 20 * GIB).wide_sequences == 0
    assert memory.fit(HALF_B, options(), 20 * GIB, splits=False).wide_sequences == 0


def test_a_smaller_cache_type_takes_less() -> None:
    full = memory.need(EIGHT_B, options(num_parallel=1))
    half = memory.need(EIGHT_B, options(num_parallel=1, kv_cache_type="q8_0"))
    assert 0.5 < (half.total - EIGHT_B.weights) / (full.total - EIGHT_B.weights) < 0.8


def test_recurrent_state_counts_per_sequence() -> None:
    mamba = Footprint(weights=GIB, kv=0, state=10 * 2**20, vocabulary=50_000, width=2048)
    one, eight = (memory.need(mamba, options(num_parallel=n)).moving for n in (1, 8))
    assert eight - one >= 7 * mamba.state


def test_mapped_weights_are_still_available() -> None:
    held = [(Need(4 * GIB, GIB), True), (Need(2 * GIB, GIB), False)]
    assert memory.capacity(10 * GIB, held) == 10 * GIB + GIB + 3 * GIB


def test_a_lane_that_does_not_stand_has_taken_nothing() -> None:
    options = memory.fit(HALF_B, LoadOptions(num_ctx=8192, num_parallel=0), 20 * GIB)
    need = memory.need(HALF_B, options)
    assert need.later > GIB
    assert need.total == need.weights + need.moving + need.later
    member = Fleet(300.0).begin("a", "a", "sha256:0", Load(("/a",), options), need, 0.0)
    assert member.taken == Need(need.weights, need.moving)
    stats = Stats(running=0, waiting=0, cells_used=0, cells=0, steps=1, prompt_tokens=0, completion_tokens=0,
                  preemptions=0, is_wide=True)  # fmt: skip
    member.stats = stats
    assert member.taken.total == need.total


@given(
    weights=st.integers(0, 8 * GIB),
    kv=st.integers(0, 512 * 1024),
    vocabulary=st.integers(1000, 260_000),
    num_ctx=st.integers(1, 131_072),
    num_parallel=st.integers(0, 256),
    room=st.integers(0, 64 * GIB),
)
def test_what_is_fitted_fits_if_one_sequence_does(
    weights: int, kv: int, vocabulary: int, num_ctx: int, num_parallel: int, room: int
) -> None:
    footprint = Footprint(weights, kv, 0, vocabulary, 1024)
    asked = LoadOptions(num_ctx=num_ctx, num_parallel=num_parallel)
    fitted = memory.fit(footprint, asked, room)
    assert 1 <= fitted.num_parallel <= 256
    assert fitted.cells >= num_ctx
    assert fitted.num_parallel == (num_parallel or fitted.num_parallel)
    assert fitted.wide_cells % 256 == 0  # llama.cpp would round it up
    if fitted.wide_sequences:
        assert fitted.wide_sequences == fitted.num_parallel
        assert fitted.wide_cells >= min(num_ctx, 512)
    # The logits of a number that was asked for are its own affair; they are small.
    slack = 2 * 4 * footprint.vocabulary * num_parallel
    if memory.least(footprint, asked).total <= room:
        assert memory.need(footprint, fitted).total <= room + slack
