"""Near names."""

import time

import pytest

from modelfiles.near import did_you_mean, near

KNOWN = ("qwen3", "qwen3-coder", "llama3.2", "nomic-embed-text", "Zephyr")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("qwen4", ("qwen3",)),
        ("QWEN3", ("qwen3", "qwen3-coder")),
        ("lama3.2", ("llama3.2",)),
        ("embed", ("nomic-embed-text",)),
        ("zephyr", ("Zephyr",)),
        ("zzz", ()),
        ("open2", ()),
        ("llama", ("llama3.2",)),
        ("queen", ()),
        ("", ()),
    ],
)
def test_near(name: str, expected: tuple[str, ...]) -> None:
    assert near(name, KNOWN) == expected


def test_at_most_so_many() -> None:
    assert near("qwen", [f"qwen{number}" for number in range(9)], most=2) == ("qwen8", "qwen7")


def test_wording() -> None:
    assert did_you_mean("qwen3-code", KNOWN) == "; did you mean qwen3-coder or qwen3?"
    assert did_you_mean("zzz", KNOWN) == ""


def test_a_strangers_long_name_costs_little() -> None:
    started = time.process_time()
    near("x" * 10**6, [f"x{number}" * 20 for number in range(100)])
    assert time.process_time() - started < 2
