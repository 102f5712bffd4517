"""Numbers in the words that tables show."""

from datetime import UTC, datetime, timedelta

import pytest

from runner.cli import wording

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KB"),
        (4_665_344, "4.7 MB"),
        (637_000_000, "637 MB"),
        (2_019_393_189, "2.0 GB"),
        (43 * 10**9, "43 GB"),
        (1.5 * 10**12, "1.5 TB"),
        (999_999, "1.0 MB"),
        (9_960_000, "10 MB"),
        (64_700_000, "65 MB"),
    ],
)
def test_sizes_are_decimal(count: float, words: str) -> None:
    assert wording.size(count) == words


def test_a_mark_of_a_web_server_is_cut_to_what_it_says() -> None:
    assert wording.short_digest('"abc-12"') == wording.short_digest('W/"abc-12"') == "abc-12"
    assert wording.short_digest("sha256:" + "ab12" * 16) == "ab12ab12ab12"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (119, "About a minute"),
        (120, "2 minutes"),
        (3600, "About an hour"),
        (2 * 3600, "2 hours"),
        (47 * 3600, "47 hours"),
        (48 * 3600, "2 days"),
        (13 * 86400, "13 days"),
        (21 * 86400, "3 weeks"),
        (90 * 86400, "3 months"),
        (3 * 365 * 86400, "3 years"),
    ],
)
def test_spans_come_in_one_unit(seconds: float, words: str) -> None:
    assert wording.span(seconds) == words


@pytest.mark.parametrize(
    ("moment", "words"),
    [
        ("2026-05-04T11:55:00Z", "5 minutes ago"),
        ("2026-05-04T13:54:59.123456+02:00", "5 minutes ago"),
        ("2026-05-04T12:00:01Z", "Less than a second ago"),  # clocks differ
        ("", "-"),
        ("yesterday", "-"),
    ],
)
def test_past_moments(moment: str, words: str) -> None:
    assert wording.ago(moment, NOW) == words


@pytest.mark.parametrize(
    ("moment", "words"),
    [
        ((NOW + timedelta(minutes=4, seconds=30)).isoformat(), "4 minutes from now"),
        ((NOW - timedelta(seconds=1)).isoformat(), "Stopping..."),
        ((NOW + timedelta(days=100 * 365)).isoformat(), "Forever"),
        (None, "Forever"),
    ],
)
def test_when_a_model_leaves(moment: str | None, words: str) -> None:
    assert wording.until(moment, NOW) == words


@pytest.mark.parametrize(
    ("total", "on_gpu", "words"),
    [(100, 0, "100% CPU"), (100, 100, "100% GPU"), (100, 48, "52%/48% CPU/GPU"), (0, 0, "Unknown"), (1, 2, "Unknown")],
)
def test_processor(total: int, on_gpu: int, words: str) -> None:
    assert wording.processor(total, on_gpu) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0ns"), (890_000, "890µs"), (56_700_000, "56.700ms"), (1_234_000_000, "1.234s"), (62_500_000_000, "1m2.500s")],
)
def test_measured_times(count: int, words: str) -> None:
    assert wording.nanoseconds(count) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(300, "5m"), (5400, "1h30m"), (45, "45s"), (0, "0s"), (0.5, "0.5s"), (float("inf"), "forever")],
)
def test_configured_times(seconds: float, words: str) -> None:
    assert wording.duration(seconds) == words
