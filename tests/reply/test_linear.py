"""A megabyte of whatever is worst for a format is read in time that grows as the text does, and little is held back.

Counted are lines of the scanners that are run, and characters that wait for more: no clock.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from runner.formats import CallFormat
from runner.reply import assemble
from runner.reply.assemble import Assembly
from runner.reply.source import Markers
from tests.reply.samples import FORMATS, SAMPLES, TOOLS

_CHUNK = 1024
_HELD = 4096  # characters that may wait beside the latest chunk


def adversaries(form: CallFormat, sample: str) -> Iterator[str]:
    """Texts that are repeated: beginnings of markers, frames that never close, values that never end."""
    frame = form.section[0] if form.section else ""
    opening = form.opening or "<|channel|>"
    head = sample[: sample.index("Gent")]
    yield opening[:-1]
    yield opening
    yield f"{opening} "
    yield f"{frame}\n{opening}x"
    yield sample
    yield f"{head}\\ud83d"
    yield f'{head}</param <|"| ]]> </arg_value{form.value_close[:-1]}'
    yield f"{head}\\\\"
    yield "[[{" if form.shape != "python" else "[f("
    yield '{"name": "add", "parameters": '
    yield " \n"


@pytest.fixture
def lines() -> Iterator[Callable[[], int]]:
    """Counts the lines run in `runner.reply` while the test runs."""
    count = 0
    folder = assemble.__file__.removesuffix("assemble.py")

    def line(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal count
        count += event == "line"
        return line

    def call(frame: FrameType, event: str, arg: object) -> Any:
        return line if frame.f_code.co_filename.startswith(folder) else None

    before = sys.gettrace()
    sys.settrace(call)
    yield lambda: count
    sys.settrace(before)


def run(form: CallFormat, text: str) -> int:
    """Read a text in chunks. The most characters that waited after one of them."""
    assembly = Assembly(None, form, TOOLS)
    most = 0
    for at in range(0, len(text), _CHUNK):
        assembly.feed(text[at : at + _CHUNK])
        most = max(most, assembly.waiting)
    assembly.finish()
    return most


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_twice_the_text_is_twice_the_work(name: str, lines: Callable[[], int]) -> None:
    form = FORMATS[name]
    for worst in adversaries(form, SAMPLES[name]):
        start = lines()
        run(form, (worst * 4000)[:4000])
        middle = lines()
        run(form, (worst * 8000)[:8000])
        once, twice = middle - start, lines() - middle
        assert twice < 2.3 * once + 500, (worst, once, twice)


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_a_megabyte(name: str) -> None:
    """Long frames that never close are the worst; those that close often were counted above."""
    form, sample = FORMATS[name], SAMPLES[name]
    head = sample[: sample.index("Gent")]
    assert run(form, head + "x" * (1 << 20)) <= _CHUNK + _HELD
    assert run(form, (form.opening or "<|start|>")[:-1] * (1 << 16)) <= _CHUNK + _HELD
    assert run(form, " " * (1 << 20)) <= _CHUNK + _HELD


def test_looking_for_markers_looks_at_nothing_twice() -> None:
    looked = Markers(["<tool_call>", "[TOOL"])
    text = "<tool_call" * 1000
    end, found = looked.find(text, 0, False)
    assert (end, found) == (len(text) - len("<tool_call"), "")
    assert looked.find(text + ">", end, False) == (end, "<tool_call>")
