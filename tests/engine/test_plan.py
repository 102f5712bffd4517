"""The plan of one step, for any snapshot."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.engine.plan import HEADROOM, PATIENCE, Row, Snapshot, Step, Work, plan
from tests.engine.planning import check


def snapshot(
    running: list[Work] | None = None,
    waiting: list[Work] | None = None,
    *,
    slots: int = 8,
    cells: int = 1000,
    budget: int = 512,
    chunk: int = 256,
    drafts: int = 0,
) -> Snapshot:
    return Snapshot(running or [], waiting or [], slots, cells, budget, chunk, drafts)


def decoding(key: int, cells: int = 10, drafts: int = 0) -> Work:
    return Work(key, cells, 1, decoding=True, drafts=drafts)


def prefill(key: int, remaining: int, cells: int = 0) -> Work:
    return Work(key, cells, remaining)


# -- one step


def test_nothing_to_do() -> None:
    assert plan(snapshot()) == Step((), (), ())


def test_a_newcomer_starts_at_once() -> None:
    assert plan(snapshot(waiting=[prefill(1, 20)])) == Step((), (1,), (Row(1, 20),))


def test_a_long_prompt_takes_several_steps() -> None:
    assert plan(snapshot(waiting=[prefill(1, 900)])).rows == (Row(1, 512),)
    assert plan(snapshot([prefill(1, 388, cells=512)], cells=488)).rows == (Row(1, 388),)


def test_everybody_decodes_and_what_is_left_goes_to_the_oldest_prompt() -> None:
    running = [decoding(1), prefill(2, 300), decoding(3), prefill(4, 300)]
    assert plan(snapshot(running)).rows == (Row(1, 1), Row(3, 1), Row(2, 256))


def test_beside_decodes_only_a_chunk_of_prompt_is_computed() -> None:
    step = plan(snapshot([decoding(1)], [prefill(2, 500)]))
    assert step == Step((), (2,), (Row(1, 1), Row(2, 256)))
    assert plan(snapshot([], [prefill(2, 500)])).rows == (Row(2, 500),)


def test_several_newcomers_share_a_step() -> None:
    step = plan(snapshot(waiting=[prefill(key, 100) for key in range(8)]))
    assert step.admitted == (0, 1, 2, 3, 4, 5)
    assert step.rows[-1] == Row(5, 12)


def test_no_more_are_admitted_than_there_are_slots() -> None:
    assert plan(snapshot(waiting=[prefill(key, 1) for key in range(8)], slots=3)).admitted == (0, 1, 2)


def test_nobody_overtakes_the_one_that_does_not_fit_yet() -> None:
    step = plan(snapshot([decoding(1)], [prefill(2, 900), prefill(3, 5)], cells=500))
    assert step.admitted == ()


def test_a_newcomer_needs_room_beyond_its_prompt() -> None:
    fits = 1 + HEADROOM + 100 + HEADROOM  # the running one's next token and its headroom, the prompt and its own
    assert plan(snapshot([decoding(1)], [prefill(2, 100)], cells=fits)).admitted == (2,)
    assert plan(snapshot([decoding(1)], [prefill(2, 100)], cells=fits - 1)).admitted == ()


def test_alone_a_request_needs_no_headroom() -> None:
    assert plan(snapshot(waiting=[prefill(1, 100)], cells=100)).admitted == (1,)


def test_a_running_prompt_keeps_the_cells_that_it_still_needs() -> None:
    step = plan(snapshot([prefill(1, 800)], [prefill(2, 100)], cells=1000, budget=256))
    assert step.admitted == ()
    assert step.rows == (Row(1, 256),)


def test_when_cells_run_out_the_newest_give_theirs_up() -> None:
    running = [decoding(1, 40), decoding(2, 30), decoding(3, 20)]
    step = plan(snapshot(running, [prefill(4, 1)], cells=2))
    assert step == Step((3,), (), (Row(1, 1), Row(2, 1)))
    step = plan(snapshot([decoding(1, 40), prefill(2, 9, cells=0), prefill(3, 9, cells=0)], cells=1))
    assert step.preempted == (3, 2)
    assert step.rows == (Row(1, 1),)


def test_the_last_one_is_never_preempted() -> None:
    assert plan(snapshot([decoding(1, 10)], cells=1)) == Step((), (), (Row(1, 1),))


# -- drafts


def test_drafts_follow_the_token_that_they_guess_on_from() -> None:
    step = plan(snapshot([decoding(1, drafts=4), decoding(2), decoding(3, drafts=2)], drafts=16))
    assert step.rows == (Row(1, 5), Row(2, 1), Row(3, 3))


def test_drafts_keep_to_the_rows_of_logits_that_are_left() -> None:
    step = plan(snapshot([decoding(1, drafts=4), decoding(2, drafts=4)], drafts=5))
    assert step.rows == (Row(1, 5), Row(2, 2))


@pytest.mark.parametrize("short", ["cells", "budget"])
def test_everybody_gets_on_before_anybody_tries_drafts(short: str) -> None:
    running = [decoding(1, drafts=4), decoding(2, drafts=4), prefill(3, 50)]
    step = plan(
        snapshot(running, drafts=16, cells=4 if short == "cells" else 999, budget=4 if short != "cells" else 99)
    )
    assert step == Step((), (), (Row(1, 2), Row(2, 1), Row(3, 1)))


def test_nobody_is_preempted_for_a_draft() -> None:
    assert plan(snapshot([decoding(1, drafts=9), decoding(2)], cells=2, drafts=9)).preempted == ()


def test_drafts_are_no_prompts_and_leave_those_their_chunk() -> None:
    step = plan(snapshot([decoding(1, drafts=4), prefill(2, 500)], chunk=100, drafts=16))
    assert step.rows == (Row(1, 5), Row(2, 100))


# -- who starts next


def test_a_prompt_that_stands_ready_goes_before_one_that_came_little_earlier() -> None:
    cold, ready = Work(1, 0, 100, waited=0.6), Work(2, 0, 100, cached=99, waited=0.2)
    assert plan(snapshot(waiting=[cold, ready])).admitted == (2, 1)


def test_of_two_prompts_that_stand_ready_the_one_with_less_to_compute_goes_first() -> None:
    some, most = Work(1, 0, 100, cached=10), Work(2, 0, 100, cached=90)
    assert plan(snapshot(waiting=[some, most])).admitted == (2, 1)


def test_nobody_overtakes_whoever_has_waited_long() -> None:
    cold, ready = Work(1, 0, 100, waited=PATIENCE + 0.2), Work(2, 0, 100, cached=99, waited=0.2)
    assert plan(snapshot(waiting=[cold, ready])).admitted == (1, 2)


def test_nobody_overtakes_what_has_to_be_resumed() -> None:
    resumed, ready = Work(1, 0, 100, waited=math.inf), Work(2, 0, 100, cached=99, waited=1e9)
    assert plan(snapshot(waiting=[resumed, ready])).admitted == (1, 2)


def test_the_preferred_one_that_does_not_fit_is_not_overtaken_either() -> None:
    large, small = Work(1, 0, 900, cached=890, waited=0.1), Work(2, 0, 5, waited=0.2)
    assert plan(snapshot([decoding(9)], [small, large], cells=500)).admitted == ()


def test_only_what_does_not_stand_ready_is_computed() -> None:
    waiting = [Work(1, 0, 300, cached=299), Work(2, 0, 300, cached=200), prefill(3, 50)]
    assert plan(snapshot(waiting=waiting)).rows == (Row(1, 1), Row(2, 100), Row(3, 50))


def test_even_of_a_prompt_that_stands_ready_whole_a_token_is_computed() -> None:
    assert plan(snapshot(waiting=[Work(1, 0, 300, cached=300)])).rows == (Row(1, 1),)


def test_cells_of_a_prompt_that_stands_ready_are_taken_with_it() -> None:
    waiting = [Work(1, 0, 400, cached=399), Work(2, 0, 400, cached=399)]
    assert plan(snapshot(waiting=waiting, cells=700)).admitted == (1,)


# -- groups


def test_those_who_rest_have_no_rows_and_give_up_cells_where_they_are_newest() -> None:
    resting = replace(decoding(2, 10), rests=True)
    assert plan(snapshot([decoding(1), resting])).rows == (Row(1, 1),)
    step = plan(snapshot([decoding(1), resting], cells=0))
    assert (step.preempted, step.rows) == ((2,), (Row(1, 1),))
    waits = plan(snapshot([resting, decoding(1)], cells=0))  # and where they are older, others make way
    assert (waits.preempted, waits.rows) == ((1,), ())


def test_nobody_overtakes_one_who_rests() -> None:
    large, small = replace(prefill(1, 900), rests=True, waited=0.5), prefill(2, 5)
    assert plan(snapshot([decoding(9)], [large, small], cells=500)).admitted == ()
    assert plan(snapshot([], [large, small], cells=500)).admitted == ()
    assert plan(snapshot([], [large, small], cells=2000)).admitted == (2,)
    assert plan(snapshot([], [large, small], cells=2000, slots=1)).admitted == ()


# -- any snapshot that the loop can be in

works = st.builds(
    lambda cells, remaining, decoding, drafts, cached, waited, rests: Work(
        0,
        cells,
        1 if decoding else remaining,
        decoding,
        drafts if decoding else 0,
        min(cached, remaining),
        waited=waited,
        rests=rests,
    ),
    st.integers(0, 60),
    st.integers(1, 60),
    st.booleans(),
    st.integers(0, 6),
    st.integers(0, 60),
    st.floats(0, 3) | st.just(math.inf),
    st.booleans(),
)


@settings(max_examples=300)
@given(
    st.lists(works, max_size=6),
    st.lists(works, max_size=6),
    st.integers(0, 3),
    st.integers(0, 120),
    st.integers(0, 40),
    st.integers(1, 64),
    st.integers(0, 12),
)
def test_a_plan_keeps_to_budget_and_cells(
    running: list[Work], waiting: list[Work], slots: int, free: int, extra: int, chunk: int, drafts: int
) -> None:
    running = [replace(work, key=key, cached=0) for key, work in enumerate(running)]
    waiting = [replace(work, key=100 + key, cells=0, decoding=False, drafts=0) for key, work in enumerate(waiting)]
    budget = len(running) + slots + extra + 1  # the worker sees to it that every slot could decode
    given_ = Snapshot(running, waiting, slots, free, budget, chunk, drafts)
    check(given_, plan(given_))
