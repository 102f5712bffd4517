"""Interrupting code that can't be asked to stop."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from runner.prompt.watch import Interrupted, TookTooLong, TookTooMuch, watched

PLENTY = 1 << 50  # bytes


def spin() -> None:
    while True:
        pass


def test_a_loop_without_end_is_interrupted() -> None:
    with pytest.raises(TookTooLong), watched(0.01, PLENTY):
        spin()


def test_code_that_catches_every_exception_is_interrupted_all_the_same() -> None:
    def stubborn() -> None:
        while True:
            try:
                spin()
            except Exception:  # noqa: BLE001 -- the point of it
                continue

    with pytest.raises(TookTooLong), watched(0.01, PLENTY):
        stubborn()


def test_growing_memory_is_interrupted() -> None:
    kept: list[bytes] = []

    def grow() -> None:
        while True:
            kept.append(b"x" * 2**20)

    with pytest.raises(TookTooMuch), watched(300.0, 64 * 2**20):
        grow()
    assert len(kept) > 32


def test_what_is_quick_goes_undisturbed_and_leaves_no_thread() -> None:
    before = threading.active_count()
    for _ in range(50):
        with watched(60.0, PLENTY):
            total = sum(range(100))
    assert total == 4950
    for thread in threading.enumerate():
        if thread.name == "watch":
            thread.join(timeout=10)
    assert threading.active_count() <= before


def test_its_own_errors_come_through() -> None:
    with pytest.raises(KeyError), watched(60.0, PLENTY):
        raise KeyError("own")


def test_no_interrupt_arrives_late() -> None:
    """The block ends about when its time is over: the interrupt comes in it or not at all, never behind it."""
    outcomes = set()
    for attempt in range(300):
        try:
            with watched(attempt * 1e-5, PLENTY):
                for _ in range(200):
                    str(attempt)
            outcomes.add("done")
        except Interrupted:
            outcomes.add("interrupted")
        for _ in range(200):
            str(attempt)
    assert "done" in outcomes


def test_only_the_watched_thread_is_interrupted() -> None:
    stop = threading.Event()
    faults: list[BaseException] = []

    def other() -> None:
        try:
            while not stop.is_set():
                str(1)
        except BaseException as error:  # noqa: BLE001 -- it is what must not happen
            faults.append(error)

    thread = threading.Thread(target=other)
    thread.start()
    try:
        with pytest.raises(TookTooLong), watched(0.01, PLENTY):
            spin()
    finally:
        stop.set()
        thread.join()
    assert faults == []


def test_an_interrupt_that_gets_lost_comes_again() -> None:
    lost = 0

    def lose() -> None:
        nonlocal lost
        try:
            while True:
                pass
        except TookTooLong:  # as Python does with what a finalizer raises
            lost += 1
            if lost > 2:
                raise

    def run() -> None:
        with watched(0.01, PLENTY):
            while True:
                lose()

    with pytest.raises(TookTooLong):
        run()
    assert lost == 3


TRACED = """
import sys, time
from runner.prompt.watch import TookTooLong, watched

with watched(60.0, 1 << 50):
    pass
try:
    with watched(0.01, 1 << 50):
        while True:
            pass
except TookTooLong:
    pass

def step(frame, event, argument):
    return step

def called(): ...

sys.settrace(step)
for _ in range(100):
    called()
sys.settrace(None)
print("went on")
"""


def test_a_debugger_or_a_coverage_tool_goes_on_afterwards() -> None:
    """A notice of an interrupt that stays behind keeps CPython's loop from ever going on under a trace function."""
    done = subprocess.run([sys.executable, "-c", TRACED], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("went on\n", "")
