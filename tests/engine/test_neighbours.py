"""A worker computes with as many threads as get to run."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from runner.engine.neighbours import Neighbours, Reading
from runner.llama.cores import Cores
from runner.protocol.options import LoadOptions


class Machine:
    """Readings of a machine with some cores, on which time passes by hand."""

    def __init__(self, cores: int, asked: int = 0) -> None:
        self.time = self.all = self.own = 0.0
        self.cores = Cores(LoadOptions(num_ctx=256, num_parallel=1, num_thread=asked), allowed=cores)
        self.neighbours = Neighbours(self.cores, self.read, cores)

    def read(self) -> Reading:
        return self.time, self.all, self.own

    def second(self, own: float, others: float, seconds: float = 1.0) -> int:
        """The threads that are to compute after a second in which so many cores were used."""
        self.time += seconds
        self.own += own * seconds
        self.all += (own + others) * seconds
        self.neighbours.look()
        return self.cores.now


@pytest.mark.parametrize(
    ("cores", "own", "others", "threads"),
    [
        (2, 2.0, 0.0, 2),
        (2, 1.6, 0.4, 2),  # a daemon and its clients
        (2, 1.0, 1.0, 1),
        (2, 0.7, 1.3, 1),
        (2, 0.0, 2.0, 1),  # never none
        (8, 4.0, 4.0, 4),
        (8, 2.0, 0.3, 8),
        (2, 3.0, -1.0, 2),  # clocks that don't agree
    ],
)
def test_what_others_leave(cores: int, own: float, others: float, threads: int) -> None:
    at = Machine(cores)
    at.second(own, others)
    assert at.second(own, others) == threads


def test_one_busy_second_takes_no_thread_away() -> None:
    at = Machine(4)
    assert [at.second(1.0, 3.0), at.second(4.0, 0.0), at.second(1.0, 3.0), at.second(1.0, 3.0)] == [4, 4, 4, 1]


def test_all_come_back_when_the_others_are_gone() -> None:
    at = Machine(4)
    at.second(1.0, 3.0)
    assert [at.second(1.0, 3.0), at.second(1.0, 1.0), at.second(3.0, 0.0)] == [1, 3, 4]


def test_a_look_right_after_another_says_nothing() -> None:
    at = Machine(2)
    at.second(0.0, 2.0)
    assert at.second(0.0, 2.0, seconds=0.01) == 2
    assert at.second(0.0, 2.0) == 1


def test_workers_and_neighbours_count_together_and_a_number_that_was_asked_for_stays() -> None:
    at = Machine(8)
    at.cores.share(2)
    assert [at.second(4.0, 1.0), at.second(4.0, 1.0)] == [4, 4]
    assert [at.second(3.0, 5.0), at.second(3.0, 5.0)] == [4, 3]
    asked = Machine(8, asked=8)
    assert [asked.second(1.0, 7.0), asked.second(1.0, 7.0)] == [8, 8]


def test_what_cannot_be_read_changes_nothing() -> None:
    at = Machine(2)
    at.second(0.0, 2.0)
    assert at.second(0.0, 2.0) == 1

    def broken() -> Reading:
        raise OSError(5, "Input/output error")

    at.neighbours._read = broken
    assert at.second(2.0, 0.0) == 1


def test_the_kernels_counts() -> None:
    """Beside programs that keep one of two cores busy at least there is room for one thread."""
    cores = Cores(LoadOptions(num_ctx=256, num_parallel=1), allowed=2)
    neighbours = Neighbours(cores, count=2)
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        for _ in range(100):
            time.sleep(0.2)
            neighbours.look()
            if cores.now == 1:
                break
    finally:
        for each in busy:
            each.kill()
            each.wait()
    assert cores.now == 1
