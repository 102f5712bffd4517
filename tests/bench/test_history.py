"""Figures of earlier runs: kept, found again when the question is the same, and bounded."""

import json
from pathlib import Path

import pytest

from runner.bench import history
from runner.bench.history import append, changes, entries
from runner.bench.shape import Rate, Users
from tests.bench import made

THEN, NOW = "2020-01-01T00:00:00+00:00", "2020-01-02T00:00:00+00:00"


def kept(at: str, *names: str, slow: float = 1.0, **more: object) -> list[history.Json]:
    run, found = made.run(*names, slow=slow, **more)  # type: ignore[arg-type]
    return entries(run, found, at)


def test_a_regression_shows(tmp_path: Path) -> None:
    file = tmp_path / "state" / "history.jsonl"
    assert changes(file, kept(THEN, "a")) == []
    append(file, kept(THEN, "a"))
    append(file, kept(THEN, "a", slow=0.5, levels=(Rate(1.0),)))
    one, eight = changes(file, kept(NOW, "a", slow=1.25))
    assert (one.load, eight.load) == ("1 user", "8 users")
    assert one.changes == pytest.approx(
        {"output_tokens_per_s": 0.8, "ttft_p50_s": 1.25, "gap_p50_s": 1.25, "e2e_p50_s": 1.25}
    )
    assert one.worse == ("output_tokens_per_s", "ttft_p50_s", "gap_p50_s", "e2e_p50_s")
    assert str(one) == (
        f"1 user, a: tok/s -20.0%, TTFT +25.0%, gap +25.0%, E2E +25.0% since {THEN}  <- worse: tok/s, TTFT, gap, E2E"
    )


def test_better_and_nearly_the_same_are_no_regression(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    append(file, kept(THEN, "a", slow=1.0))
    assert [change.worse for change in changes(file, kept(NOW, "a", slow=0.5))] == [(), ()]
    assert [change.worse for change in changes(file, kept(NOW, "a", slow=1.04))] == [(), ()]


def test_only_the_last_of_equal_questions_counts(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    append(file, kept(THEN, "a", slow=9.0))
    append(file, kept(NOW, "a", slow=1.0))
    append(file, kept(NOW, "b", slow=5.0))
    assert {change.changes["ttft_p50_s"] for change in changes(file, kept(NOW, "a"))} == {1.0}
    assert changes(file, kept(NOW, "a", levels=(Users(9),))) == []


def test_what_was_cut_or_never_answered_is_not_kept() -> None:
    run, _ = made.run("a")
    run.turns[0].cut = True
    run.turns[1].outcomes.clear()
    from runner.bench.summary import summaries

    assert entries(run, summaries(run.turns, run.plan.goals), NOW) == []


def test_no_key_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    append(file, kept(NOW, "a"))
    assert "hush" not in file.read_text()
    assert file.stat().st_mode & 0o077 == 0


def test_lines_that_are_none_are_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    append(file, kept(THEN, "a"))
    good = file.read_bytes()
    figures = json.loads(good.splitlines()[0]) | {"figures": {"output_tokens_per_s": "fast", "ttft_p50_s": True}}
    file.write_bytes(b'\xff\n{"half": \n[]\n5\n{"figures": 5}\n' + good + json.dumps(figures).encode())
    one, eight = changes(file, kept(NOW, "a", slow=2.0))
    assert one.changes == {}, "the last entry for one user holds no figures"
    assert eight.changes["ttft_p50_s"] == pytest.approx(2.0)


def test_the_file_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "history.jsonl"
    monkeypatch.setattr(history, "_LARGEST", 20_000)
    for number in range(100):
        append(file, kept(f"{number}", "a"))
        assert file.stat().st_size <= 21_000
    lines = file.read_text().splitlines()
    assert json.loads(lines[-1])["at"] == "99"
    assert file.stat().st_mode & 0o077 == 0
    assert changes(file, kept(NOW, "a"))[0].since == "99"
