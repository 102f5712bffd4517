"""What the process that tries llama.cpp says, and what its end says; and when a disk is too full."""

from __future__ import annotations

import msgspec
import pytest

from runner.protocol.checkup import Finding, of_disk, of_process

FOUND = Finding("sandbox", "ok", "shut in")
LINE = msgspec.json.encode(FOUND) + b"\n"
GIB = 2**30


def test_what_it_says_before_it_dies_counts() -> None:
    assert of_process(0, LINE, b"noise") == (FOUND,)
    found = of_process(-4, LINE + b"{half", b"Illegal instruction\n")
    assert found[0] == FOUND
    assert found[1].state == "fail"
    assert "signal 4" in found[1].said
    assert "Illegal instruction" in found[1].said
    assert "GGML_NATIVE=OFF" in found[1].advice
    (slow,) = of_process(None, b"", b"")
    assert "longer than a minute" in slow.said
    (failed,) = of_process(1, b"", b"x" * 5000)
    assert len(failed.said) < 400


@pytest.mark.parametrize(
    ("writable", "free", "state"),
    [(True, 50 * GIB, "ok"), (True, 5 * GIB, "warn"), (True, GIB // 2, "fail"), (False, 50 * GIB, "warn")],
)
def test_a_disk(writable: bool, free: int, state: str) -> None:
    found = of_disk("/models", writable, free, 3)
    assert found.state == state
    assert bool(found.advice) == (state != "ok")
