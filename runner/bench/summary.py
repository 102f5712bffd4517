"""What turns add up to: rates, latencies, failures and goodput of one server under one load. Pure.

Definitions are those of `vllm bench serve` unless said otherwise: TTFT from sending to the first chunk with text, a gap
from one chunk with text to the next, TPOT the mean time per token after the first, end to end until the stream is over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from runner.bench.client import Outcome
from runner.bench.shape import GAP_SHARE, Goals, Level
from runner.bench.spread import Spread, percentile, spread
from runner.bench.turn import Turn
from runner.bench.watch import Strain


@dataclass(frozen=True, slots=True)
class Goodput:
    """Answers within all goals: how many a second, and what share of all requests."""

    per_second: float
    share: float


@dataclass(frozen=True, slots=True)
class Summary:
    """One server under one load, over all its turns. Times in seconds; None where nothing was measured.

    `cut` says that the only turn there is was ended before its time: its rates are too low, for answers under way don't
    count. `output_rates` are the turns' own tokens per second by round.
    """

    target: str
    level: Level
    cut: bool
    seconds: float
    ok: int
    failures: Mapping[str, int]  # by kind
    first_failure: str | None
    unfinished: int
    peak: int
    uncounted: int  # answers whose server named no count of tokens
    short: int  # answers with fewer tokens than asked for
    input_tokens: float | None  # mean of a request
    cached_tokens: float | None  # of these, mean; None when the server doesn't say
    output_tokens: float | None  # mean of an answer
    chunk_tokens: float | None  # mean tokens of a chunk
    output_rate: float | None  # tokens a second, all users together
    total_rate: float | None  # the same, prompts counted too
    request_rate: float
    user_rate: float | None  # tokens a second after the first that the median user sees
    ttft: Spread | None
    gap: Spread | None
    tpot: Spread | None
    e2e: Spread | None
    goodput: Goodput | None
    strains: tuple[Strain, ...]
    output_rates: Mapping[int, float]

    @property
    def failed(self) -> int:
        return sum(self.failures.values())

    @property
    def complaints(self) -> list[str]:
        """Where the load generator's own slowness isn't negligible, in the worst turn's words."""
        return max((strain.complaints(self.ttft, self.gap) for strain in self.strains), key=len, default=[])


def summaries(turns: Iterable[Turn], goals: Goals) -> list[Summary]:
    """One for each server and load, loads in the order of the plan."""
    grouped: dict[tuple[Level, str], list[Turn]] = {}
    for turn in sorted(turns, key=lambda each: each.round):
        grouped.setdefault((turn.level, turn.target), []).append(turn)
    levels = list(dict.fromkeys(level for level, _ in grouped))
    return [
        summarise([turn for turn in group if not turn.cut] or group[:1], goals)
        for level in levels
        for (of, _), group in grouped.items()
        if of == level
    ]


def summarise(turns: Sequence[Turn], goals: Goals) -> Summary:
    """The sum of at least one turn, all of one server under one load."""
    outcomes = [outcome for turn in turns for outcome in turn.outcomes]
    answered = [outcome for outcome in outcomes if outcome.failure is None]
    failures = [outcome.failure for outcome in outcomes if outcome.failure is not None]
    counted = [outcome for outcome in answered if outcome.output_tokens is not None]
    seconds = sum(_seconds(turn) for turn in turns)
    chunks = sum(outcome.chunks for outcome in counted)
    tpots = [value for value in map(tpot, answered) if value is not None]
    per_token = spread(tpots)
    return Summary(
        target=turns[0].target,
        level=turns[0].level,
        cut=any(turn.cut for turn in turns),
        seconds=seconds,
        ok=len(answered),
        failures=dict(Counter(failure.kind for failure in failures).most_common()),
        first_failure=failures[0].message if failures else None,
        unfinished=sum(turn.unfinished for turn in turns),
        peak=max(turn.peak for turn in turns),
        uncounted=len(answered) - len(counted),
        short=sum((outcome.output_tokens or 0) < outcome.wanted for outcome in counted),
        input_tokens=_mean(outcome.prompt_tokens for outcome in answered),
        cached_tokens=_mean(outcome.cached_tokens for outcome in answered),
        output_tokens=_mean(outcome.output_tokens for outcome in answered),
        chunk_tokens=_tokens(counted) / chunks if chunks else None,
        output_rate=_rate(_tokens(counted), seconds) if counted else None,
        total_rate=_rate(_tokens(counted) + sum(each.prompt_tokens or 0 for each in counted), seconds)
        if counted
        else None,
        request_rate=_rate(len(answered), seconds),
        user_rate=1 / per_token.p50 if per_token is not None and per_token.p50 > 0 else None,
        ttft=spread(outcome.first - outcome.started for outcome in answered if outcome.first is not None),
        gap=spread(gap for outcome in answered for gap in outcome.gaps),
        tpot=per_token,
        e2e=spread(outcome.ended - outcome.started for outcome in answered),
        goodput=_goodput(outcomes, goals, seconds) if goals else None,
        strains=tuple(turn.strain for turn in turns if turn.strain is not None),
        output_rates={turn.round: _own_rate(turn) for turn in turns if not turn.cut},
    )


def tpot(outcome: Outcome) -> float | None:
    """Mean seconds per token after the first chunk; None for an answer that has no second token."""
    if outcome.output_tokens is None or outcome.output_tokens < 2 or outcome.first is None or outcome.last is None:
        return None
    return (outcome.last - outcome.first) / (outcome.output_tokens - 1)


def is_good(outcome: Outcome, goals: Goals) -> bool:
    """True for an answer within every goal. What could not be measured met no goal."""
    if outcome.failure is not None:
        return False
    gap = percentile(sorted(outcome.gaps), GAP_SHARE) if outcome.gaps else None
    ttft = None if outcome.first is None else outcome.first - outcome.started
    measured = (
        (goals.ttft, ttft),
        (goals.itl, 0.0 if gap is None and outcome.chunks == 1 else gap),  # one chunk has no gap to be late in
        (goals.tpot, 0.0 if outcome.output_tokens == 1 else tpot(outcome)),
        (goals.e2e, outcome.ended - outcome.started),
    )
    return all(goal is None or (value is not None and value <= goal) for goal, value in measured)


def ratios(over: Summary, under: Summary) -> tuple[float, float, float] | None:
    """The median, least and greatest ratio of tokens per second over the rounds that both have; None without any."""
    both = sorted(
        over.output_rates[number] / under.output_rates[number]
        for number in over.output_rates.keys() & under.output_rates.keys()
        if under.output_rates[number] > 0
    )
    return (percentile(both, 50), both[0], both[-1]) if both else None


def _goodput(outcomes: Sequence[Outcome], goals: Goals, seconds: float) -> Goodput:
    good = sum(is_good(outcome, goals) for outcome in outcomes)
    return Goodput(_rate(good, seconds), good / len(outcomes) if outcomes else 0.0)


def _seconds(turn: Turn) -> float:
    """From the first request to the last answer. A turn that runs has no length yet."""
    return 0.0 if turn.ended is None else turn.ended - turn.started


def _own_rate(turn: Turn) -> float:
    return _rate(_tokens([each for each in turn.outcomes if each.failure is None]), _seconds(turn))


def _tokens(outcomes: Iterable[Outcome]) -> int:
    return sum(outcome.output_tokens or 0 for outcome in outcomes)


def _rate(amount: float, seconds: float) -> float:
    return amount / seconds if seconds > 0 else 0.0


def _mean(values: Iterable[int | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
