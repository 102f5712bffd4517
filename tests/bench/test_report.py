"""What people and programs are shown."""

import json
from dataclasses import replace

import pytest

from runner.bench import report
from runner.bench.client import Failed
from runner.bench.shape import Goals, Rate, Users
from runner.bench.summary import summarise
from runner.bench.watch import Strain
from tests.bench import made
from tests.bench.test_watch import flat


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        (0.0, "0"),
        (0.1234, "0.123"),
        (1.5, "1.5"),
        (9.999, "10"),
        (99.94, "99.9"),
        (100.0, "100"),
        (12345.6, "12346"),
    ],
)
def test_numbers(value: float | None, shown: str) -> None:
    assert report.number(value) == shown


def test_tables() -> None:
    _, found = made.run("runner", "other", levels=(Users(8),), goals=Goals(ttft=0.6))
    assert report.rates(found, goals=True) == (
        ("LOAD", "SERVER", "OK", "FAILED", "IN/OUT", "TOK/S", "PER USER", "GOOD/S"),
        [
            ("8 users", "runner", "1", "0", "100/5", "5", "20", "1 (100%)"),
            ("8 users", "other", "1", "0", "100/5", "2.5", "10", "0 (0%)"),
        ],
    )
    assert report.latencies(found) == (
        ("LOAD", "SERVER", "TTFT P50/P95/P99", "GAP", "END TO END"),
        [
            ("8 users", "runner", "500/500/500 ms", "50/50/50 ms", "700/700/700 ms"),
            ("8 users", "other", "1000/1000/1000 ms", "100/100/100 ms", "1400/1400/1400 ms"),
        ],
    )
    assert report.comparison(found, ["runner", "other"]) == (
        ("LOAD", "RATIO", "TOK/S", "TTFT P50", "GAP P50", "E2E P50"),
        [("8 users", "runner / other", "2.00 (2.00 to 2.00)", "0.50", "0.50", "0.50")],
    )


def test_what_wasnt_measured_is_a_dash() -> None:
    nothing = made.outcome(failure=Failed("connect", "nobody there"))
    found = [summarise([made.turn("a", Rate(0.5), nothing)], Goals())]
    assert report.rates(found, goals=False)[1] == [("0.5/s", "a", "0", "1", "-/-", "-", "-")]
    assert report.latencies(found)[1] == [("0.5/s", "a", "-", "-", "-")]


def test_the_document_has_everything_and_no_key() -> None:
    run, found = made.run("runner", "other", goals=Goals(itl=0.06))
    document = report.document(run, found, "2020-01-01T00:00:00+00:00")
    text = json.dumps(document, allow_nan=False)
    assert "hush" not in text
    assert list(document) == [
        "runner",
        "started_at",
        "cut",
        "machine",
        "seed",
        "rounds",
        "workload",
        "goals",
        "targets",
        "results",
        "comparisons",
        "notes",
    ]
    assert document["goals"] == {"itl": 0.06}
    assert document["targets"][0]["model"] == "m"
    first = document["results"][0]
    assert (first["target"], first["load"], first["requests"]["ok"]) == ("runner", {"users": 1}, 1)
    assert first["ttft_s"] == {"mean": 0.5, "p50": 0.5, "p95": 0.5, "p99": 0.5, "max": 0.5}
    assert first["goodput"] == {"per_second": 1.0, "share": 1.0}
    assert first["generator"] == [{"loop_lag_s": None, "send_delay_s": None, "cpu_share": 0.1}]
    compared = document["comparisons"][0]
    assert (compared["over"], compared["under"]) == ("runner", "other")
    assert compared["output_tokens_per_s"] == {"median": 2.0, "min": 2.0, "max": 2.0}
    assert compared["e2e_p50"] == pytest.approx(0.5)


def test_loads_as_json() -> None:
    assert report.load(Rate(0.5, 2.0)) == {"rate": 0.5, "burstiness": 2.0}
    assert report.load(Rate(0.5, float("inf"))) == {"rate": 0.5, "burstiness": None}


def test_what_the_reader_must_know_is_said() -> None:
    run, _ = made.run("a")
    lost = made.outcome(failure=Failed("status 503", "the queue is full"))
    early = made.outcome(wanted=64)
    uncounted = made.outcome(output_tokens=None)
    turn = made.turn("a", Users(8), lost, lost, early, uncounted)
    turn.strain = Strain(flat(1.0), flat(0.0), 0.1)
    run.met["a"] = replace(run.met["a"], counts=False)
    said = report.notes([summarise([turn], Goals())], run.met)
    assert [sentence.split(":")[0] for sentence in said[1:]] == ["8 users, a"] * 4
    for words, sentence in zip(
        (
            "names no token counts",
            "2 requests failed (2 x status 503); the first: the queue is full",
            "1 of 2 answers ended early, after 5 tokens",
            "1 answers came without a token count",
            "was too slow, or short of CPU: its event loop was late",
        ),
        said,
        strict=True,
    ):
        assert words in sentence


def test_nothing_is_said_of_a_run_without_fault() -> None:
    run, found = made.run("a", "b")
    assert report.notes(found, run.met) == []


def test_a_turn_in_one_line() -> None:
    _, [found] = made.run("a", levels=(Users(8),))
    assert report.line(found) == ("8 users, a: 1 answered in 1 s, 5 tok/s, TTFT 500/500/500 ms, gap 50/50/50 ms")
