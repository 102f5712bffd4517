"""The shapes that transcripts are held to: what fits them, and what they find wrong."""

from typing import Any

import pytest

from tests.clients.shapes import differences


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        ({"a": 1, "more": 2}, {"a": "<integer>"}),
        ([1.5, 2], ["<number>"]),
        ([], []),
        ("2026-11-21T06:13:51.257834+00:00", "<time>"),
        ("2026-11-21T06:13:51Z", "<time>"),
        ("0.33.0", r"<matches \d+\.\d+\.\d+>"),
        ('stop    "a b"\nseed 1', '<lines \\S+\\s+(".*"|\\S+)>'),
        (None, None),
    ],
)
def test_fits(value: Any, shape: Any) -> None:
    assert list(differences(value, shape)) == []


@pytest.mark.parametrize(
    ("value", "shape", "said"),
    [
        ({"a": {}}, {"a": {"b": "<any>"}}, ".a.b is missing"),
        ({"a": True}, {"a": "<integer>"}, ".a: True is not <integer>"),
        ({"a": 1}, {"a": True}, ".a: 1 is not True"),
        ([], ["<any>"], " is empty"),
        ([{"a": 1}, {"a": "1"}], [{"a": "<integer>"}], "[1].a: '1' is not <integer>"),
        ("2026-11-21T06:13:51.25783+00:00", "<time>", "the whole: '2026-11-21T06:13:51.25783+00:00' is not <time>"),
        ("2026-11-21T06:13:51", "<time>", "the whole: '2026-11-21T06:13:51' is not <time>"),
        ("stop\nseed 1", "<lines \\S+ \\S+>", "the whole: 'stop\\nseed 1' is not <lines \\S+ \\S+>"),
        ({}, [], "the whole: {} is not []"),
    ],
)
def test_finds(value: Any, shape: Any, said: str) -> None:
    assert list(differences(value, shape)) == [said]
