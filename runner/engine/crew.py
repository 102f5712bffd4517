"""A few threads that share the rows of a step.

Sampling and scoring spend their time in C and NumPy, which let go of the interpreter's lock. Each row is worked on by
itself, so the results don't depend on who took which.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

_MOST = 8  # threads; more only wait for each other's lock
# Values to look at in a step, about half a millisecond of work. Below it, waking threads costs more than it saves.
WORTHWHILE = 1 << 19


class Crew:
    """`size` threads, the caller's included. They are started on first use."""

    def __init__(self, size: int, worthwhile: int = WORTHWHILE) -> None:
        self._size = max(1, min(size, _MOST))
        self._worthwhile = worthwhile
        self._threads: ThreadPoolExecutor | None = None

    def each(self, work: Callable[[T], R], items: Sequence[T], values: int) -> list[R]:
        """`work` done on every item, in the items' order. All together look at about `values` values.

        Raises what `work` raised, once everybody has stopped.
        """
        if self._size == 1 or len(items) < 2 or values < self._worthwhile:
            return [work(item) for item in items]
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._size - 1, thread_name_prefix="crew")
        task = _Task(work, items)
        helpers = [self._threads.submit(task.share) for _ in range(min(self._size, len(items)) - 1)]
        try:
            task.share()
        finally:
            errors = [error for helper in helpers if (error := helper.exception()) is not None]
        if errors:
            raise errors[0]
        return task.results()

    def close(self) -> None:
        """Let the threads go."""
        if self._threads is not None:
            self._threads.shutdown()
            self._threads = None


class _Task(Generic[T, R]):
    """Items that several threads take one after the other."""

    def __init__(self, work: Callable[[T], R], items: Sequence[T]) -> None:
        self._work = work
        self._items = items
        self._next = count()  # advancing it is atomic
        self._done: dict[int, R] = {}

    def share(self) -> None:
        """Take items until none is left."""
        while (index := next(self._next)) < len(self._items):
            self._done[index] = self._work(self._items[index])

    def results(self) -> list[R]:
        return [self._done[index] for index in range(len(self._items))]
