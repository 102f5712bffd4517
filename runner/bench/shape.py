"""What a run asks for: servers, loads, lengths, goals and bounds, and how each is written on a command line.

Values only. A reader raises ValueError with what it takes; whoever calls it knows the option's name.
"""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

from runner.config import parse_duration

_T = TypeVar("_T")

CHAT, COMPLETIONS = "chat", "completions"
ENDPOINTS = (CHAT, COMPLETIONS)
MOST_TOKENS = 1_000_000
MOST_USERS = 10_000
MOST_PER_SECOND = 100_000.0
MOST_SECONDS = 86_400.0
# Of a request's gaps this share must lie within the goal; a single hiccup in a long answer is not what a goal is about.
GAP_SHARE = 95


@dataclass(frozen=True, slots=True)
class Lengths:
    """How many tokens: any number from `low` to `high`, each as likely."""

    low: int
    high: int

    def draw(self, rng: random.Random) -> int:
        return rng.randint(self.low, self.high)

    def __str__(self) -> str:
        return str(self.low) if self.low == self.high else f"{self.low}-{self.high}"


@dataclass(frozen=True, slots=True)
class Users:
    """So many users, each of whom sends the next request as soon as the last is answered."""

    count: int

    def __str__(self) -> str:
        return f"{self.count} user{'s' if self.count > 1 else ''}"


@dataclass(frozen=True, slots=True)
class Rate:
    """So many requests a second on average, whoever is still waiting.

    The gaps between them are gamma distributed with shape `burstiness`: 1 is a Poisson process, less comes in bursts,
    more is steadier, infinity is a metronome.
    """

    per_second: float
    burstiness: float = 1.0

    def __str__(self) -> str:
        return f"{self.per_second:g}/s"


Level = Users | Rate


@dataclass(frozen=True, slots=True)
class Goals:
    """Seconds within which an answer is good; None where there is no goal.

    `ttft` is for the first token, `itl` for the gaps between chunks (95 % of a request's), `tpot` for the mean time per
    token after the first, `e2e` for the whole answer.
    """

    ttft: float | None = None
    itl: float | None = None
    tpot: float | None = None
    e2e: float | None = None

    def __bool__(self) -> bool:
        return any(value is not None for value in (self.ttft, self.itl, self.tpot, self.e2e))


@dataclass(frozen=True, slots=True)
class Target:
    """A server under `name`. `url` is the base that `/chat/completions` is put behind; `model` may be found later."""

    name: str
    url: str
    model: str | None = None
    key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Workload:
    """What is asked, at every level alike. `requests` and `duration` are for one turn; None leaves it to the level."""

    endpoint: str = CHAT
    input: Lengths = Lengths(128, 128)
    output: Lengths = Lengths(64, 64)
    shared_prefix: int = 0  # tokens
    requests: int | None = None
    duration: float | None = None  # seconds in which requests are sent
    warmup: int = 1  # requests before each turn
    temperature: float = 0.0
    ignore_eos: bool = True
    extra: Mapping[str, Any] = field(default_factory=dict)  # goes into every request's body
    timeout: float = 600.0  # seconds for one request


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole run: every target at every level, in turns, `rounds` times; cut off after `limit` seconds."""

    targets: tuple[Target, ...]
    levels: tuple[Level, ...]
    workload: Workload
    seed: str
    rounds: int = 1
    limit: float | None = None
    goals: Goals = Goals()


def whole(low: int, high: int) -> Callable[[str], int]:
    """A reader of whole numbers within bounds."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,18}", text.strip()) or not low <= int(text) <= high:
            raise ValueError(f"takes a whole number from {low} to {high}, not {text!r}")
        return int(text)

    return read


def lengths(text: str) -> Lengths:
    """`64`, or `32-2000`."""
    first, dash, second = text.partition("-")
    read = whole(1, MOST_TOKENS)
    try:
        found = Lengths(read(first), read(second if dash else first))
    except ValueError:
        raise ValueError(f"takes a length such as 64 or 32-2000, up to {MOST_TOKENS}, not {text!r}") from None
    if found.low > found.high:
        raise ValueError(f"takes the shorter length first, not {text!r}")
    return found


def users(text: str) -> tuple[Users, ...]:
    """`1,8,32`: levels in this order."""
    return tuple(Users(count) for count in _several(text, whole(1, MOST_USERS)))


def rates(text: str, burstiness: float) -> tuple[Rate, ...]:
    """`0.5,2,8`: requests a second, levels in this order."""
    return tuple(Rate(rate, burstiness) for rate in _several(text, _rate))


def number(low: float, high: float) -> Callable[[str], float]:
    """A reader of numbers within bounds."""

    def read(text: str) -> float:
        value = _number(text)
        if not low <= value <= high:
            raise ValueError(f"takes a number from {low:g} to {high:g}, not {text!r}")
        return value

    return read


def positive(text: str) -> float:
    """A number above zero; `inf` is one."""
    value = _number(text)
    if not value > 0:
        raise ValueError(f"takes a number above 0, not {text!r}")
    return value


def burstiness(text: str) -> float:
    """0.01 and more; what is as good as a metronome becomes one."""
    value = positive(text)
    if value < 0.01:
        raise ValueError(f"takes 0.01 or more, not {text!r}")
    return value if value < 1e6 else math.inf


def span(text: str) -> float:
    """Seconds from a time with its unit: 500ms, 30s, 5m. A bare number is seconds."""
    seconds = parse_duration(text)
    if not 0 < seconds <= MOST_SECONDS:
        raise ValueError(f"takes a time above 0 and up to 24h, not {text!r}")
    return seconds


def goals(text: str) -> Goals:
    """`ttft:500ms,itl:50ms`. A unit is required: others count these in milliseconds, and Runner counts in seconds."""
    found: dict[str, float] = {}
    for part in text.split(","):
        name, colon, value = (each.strip() for each in part.partition(":"))
        if not colon or name not in Goals.__dataclass_fields__:
            raise ValueError(f"takes ttft, itl, tpot or e2e with a time, such as ttft:500ms,itl:50ms, not {part!r}")
        if not re.search(r"[a-zµ]\s*$", value):
            raise ValueError(f"takes times with their unit, such as {name}:500ms, not {part!r}")
        found[name] = span(value)
    return Goals(**found)


def target(text: str, name: str | None = None) -> Target:
    """`[NAME=]URL[#MODEL]`. Without a name of its own a server is called `name`, or else by its host and port."""
    match = re.fullmatch(r"(?:(?P<name>[^=:/?#]+)=)?(?P<url>https?://.+)", text.strip(), re.DOTALL)
    if match is None:
        raise ValueError(f"takes [NAME=]URL[#MODEL] with http:// or https://, not {text!r}")
    try:
        parts = urlsplit(match["url"])
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"takes [NAME=]URL[#MODEL], and {match['url']!r} is no URL: {error}") from None
    if not host or parts.username is not None or parts.query:
        raise ValueError(f"takes a URL of host, port and path alone, not {match['url']!r}")
    path = parts.path.rstrip("/") or "/v1"
    return Target(
        name=match["name"] or name or parts.netloc,
        url=urlunsplit((parts.scheme, parts.netloc, path, "", "")),
        model=parts.fragment or None,
    )


def extra(text: str) -> dict[str, Any]:
    """A JSON object."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"takes a JSON object, and this is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"takes a JSON object, not {text!r}")
    return value


def _several(text: str, read: Callable[[str], _T]) -> tuple[_T, ...]:
    values = tuple(read(part) for part in text.split(","))
    if len(set(values)) < len(values):
        raise ValueError(f"takes each value once, not {text!r}")
    return values


def _rate(text: str) -> float:
    value = positive(text)
    if value > MOST_PER_SECOND:
        raise ValueError(f"takes at most {MOST_PER_SECOND:g} requests a second, not {text!r}")
    return value


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"takes a number, not {text!r}") from None
    if math.isnan(value):
        raise ValueError(f"takes a number, not {text!r}")
    return value
