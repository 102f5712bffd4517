"""How a run is written on a command line, and what is refused."""

import math
from collections.abc import Callable

import pytest

from runner.bench import shape
from runner.bench.shape import Goals, Lengths, Rate, Target, Users


def test_lengths() -> None:
    assert shape.lengths("64") == Lengths(64, 64)
    assert shape.lengths("32-2000") == Lengths(32, 2000)
    assert str(Lengths(64, 64)) == "64"
    assert str(Lengths(32, 2000)) == "32-2000"


def test_levels() -> None:
    assert shape.users("1,8, 32") == (Users(1), Users(8), Users(32))
    assert shape.rates("0.5,2", 1.0) == (Rate(0.5), Rate(2.0))
    assert [str(level) for level in (Users(1), Users(8), Rate(0.5))] == ["1 user", "8 users", "0.5/s"]
    assert shape.burstiness("inf") == math.inf


def test_goals() -> None:
    assert shape.goals("ttft:500ms, itl:50ms") == Goals(ttft=0.5, itl=0.05)
    assert shape.goals("e2e:1m") == Goals(e2e=60.0)
    assert not Goals()
    assert Goals(tpot=0.1)


def test_targets() -> None:
    assert shape.target("http://127.0.0.1:8080") == Target("127.0.0.1:8080", "http://127.0.0.1:8080/v1")
    assert shape.target("https://api.example.com/openai/v1/") == Target(
        "api.example.com", "https://api.example.com/openai/v1"
    )
    assert shape.target("a b=http://[::1]:1#org/model:4b") == Target("a b", "http://[::1]:1/v1", "org/model:4b")
    assert shape.target("http://h", "mine").name == "mine"


def test_a_key_is_not_shown() -> None:
    assert "hush" not in repr(Target("a", "http://h/v1", key="hush"))


@pytest.mark.parametrize(
    ("read", "text"),
    [
        *(
            (shape.lengths, text)
            for text in ("", "0", "-5", "5-", "9-3", "1.5", "x", "1000001", "1-2-3", "٣", "1" * 30)
        ),
        *((shape.users, text) for text in ("", "0", "1,,2", "1,1", "10001", "-1", "1;2", "True")),
        *((lambda text: shape.rates(text, 1.0), text) for text in ("0", "-1", "nan", "inf", "1e9", "", "1,1")),
        *((shape.burstiness, text) for text in ("0", "0.001", "-1", "nan", "x")),
        *((shape.span, text) for text in ("0", "-1s", "25h", "x", "inf", "nan")),
        *((shape.goals, text) for text in ("", "ttft", "ttft:500", "ttft:0ms", "p99:5ms", "ttft:-5ms", "ttft:5ms,")),
        *((shape.number(0, 2), text) for text in ("-1", "3", "nan", "inf", "x")),
        *((shape.extra, text) for text in ("", "[]", "5", "{", "[" * 100_000)),
        *(
            (shape.target, text)
            for text in (
                "",
                "host:80",
                "ftp://h",
                "http://",
                "http://u:p@h",
                "http://h:x",
                "http://h?a=1",
                "a=b=http://h",
            )
        ),
    ],
)
def test_what_is_refused(read: Callable[[str], object], text: str) -> None:
    with pytest.raises(ValueError, match="takes"):
        read(text)
