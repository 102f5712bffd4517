"""The table's promises about time, and its rows. What it measures takes an hour, and is run by hand."""

import pytest

from tests.benchmarks.llama_server import cells
from tests.benchmarks.users import HEAD, ROWS, lines

ON_A_CPU = [row for name, row in ROWS.items() if name != "8b"]


def test_the_whole_table_is_planned_within_an_hour_and_the_quick_one_within_five_minutes() -> None:
    assert sum(row.seconds for row in ON_A_CPU) <= 57 * 60
    assert sum(row.quick_seconds for row in ON_A_CPU) <= 4.6 * 60


@pytest.mark.parametrize(("tokens", "share"), [(1, 256), (256, 256), (257, 512)])
def test_a_slot_is_as_long_as_llama_cpp_rounds_it(tokens: int, share: int) -> None:
    assert cells(tokens) == share


def test_slots_hold_the_longest_prompt_and_its_answer() -> None:
    assert ROWS["42m-mixed"].tokens >= 2000 + 64
    assert ROWS["42m-shared"].tokens >= 1000 + 100 + 64
    assert ROWS["demo"].is_plain
    assert not ROWS["42m-mixed"].is_plain
    assert not ROWS["42m-shared"].is_plain


def result(target: str, rate: float | None, cut: bool = False) -> dict[str, object]:
    latency = {"p50": 0.5, "p99": 1.25}
    requests = {"failed": 2}
    rates = {"output_tokens_per_s": rate, "cut": cut}
    return {"target": target, "requests": requests, "ttft_s": latency, "gap_s": latency, **rates}


def test_rows() -> None:
    ratio = {"median": 1.1, "min": 1.0, "max": 1.2}
    document = {
        "row": "42m",
        "users": 128,
        "raw_tokens_per_s": 250.0,
        "results": [result("runner", 220.0), result("llama-server", 200.0, cut=True), result("one slot", 99.0)],
        "comparisons": [
            {"under": "llama-server", "output_tokens_per_s": ratio},
            {"under": "one slot", "output_tokens_per_s": None},
        ],
        "notes": ["mind this"],
    }
    first, second = lines(document)
    assert first == (
        "| 42m | 128 | 220 | 200* | 1.10 (1.00 to 1.20) | 250 | 0.88 | 500 ms / 500 ms | 1250 ms / 1250 ms | 2 / 2"
        " | mind this |"
    )
    assert second.startswith("| 42m (one slot) | 128 | 220 | 99.0 | - | - | - |")
    assert {row.count("|") for row in (first, second, *HEAD.splitlines())} == {12}


def test_a_level_that_gave_nothing_still_has_its_row() -> None:
    empty = {"row": "demo", "users": 1, "raw_tokens_per_s": None, "results": [], "comparisons": [], "notes": []}
    assert list(lines(empty)) == ["| demo | 1 | - | - | - | - | - | - / - | - / - | - / - |  |"]
