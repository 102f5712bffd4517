"""Threads that share a step's rows: the results are those of one thread, whoever took what."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from runner.engine.crew import WORTHWHILE, Crew


@pytest.fixture
def crew() -> Iterator[Crew]:
    made = Crew(3, worthwhile=1)
    yield made
    made.close()


def test_results_come_in_the_order_of_the_items(crew: Crew) -> None:
    items = list(range(500))
    assert crew.each(lambda item: item * item, items, values=500) == [item * item for item in items]
    assert crew.each(str, items[:2], values=2) == ["0", "1"]


def test_the_work_is_shared(crew: Crew) -> None:
    """Three items that wait for each other can only be done by three threads, the caller's among them."""
    together = threading.Barrier(3, timeout=60)

    def work(_: int) -> int:
        together.wait()
        return threading.get_ident()

    threads = crew.each(work, range(3), values=3)
    assert len(set(threads)) == 3
    assert threading.get_ident() in threads


@pytest.mark.parametrize(
    ("size", "items", "values"), [(1, 8, WORTHWHILE), (4, 1, WORTHWHILE), (4, 8, WORTHWHILE - 1), (0, 8, WORTHWHILE)]
)
def test_what_is_not_worth_it_stays_on_the_callers_thread(size: int, items: int, values: int) -> None:
    crew = Crew(size)
    before = threading.active_count()
    assert set(crew.each(lambda _: threading.get_ident(), range(items), values)) == {threading.get_ident()}
    assert threading.active_count() == before


def test_an_error_of_any_thread_is_the_callers(crew: Crew) -> None:
    def work(item: int) -> int:
        if item % 2:
            raise ValueError(f"item {item}")
        return item

    for _ in range(20):
        with pytest.raises(ValueError, match="item"):
            crew.each(work, range(8), values=8)
    assert crew.each(work, [0, 2, 4], values=3) == [0, 2, 4]


def test_closing_ends_the_threads_and_may_be_repeated() -> None:
    crew = Crew(4, worthwhile=1)
    crew.close()
    crew.each(str, range(8), values=8)
    assert any(thread.name.startswith("crew") for thread in threading.enumerate())
    crew.close()
    crew.close()
    assert not any(thread.name.startswith("crew") for thread in threading.enumerate())
