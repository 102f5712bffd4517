"""Runs that never took place, for whatever is made of figures."""

from array import array

from runner.bench.client import Accepts, Outcome
from runner.bench.meet import Met
from runner.bench.prompts import Fit
from runner.bench.run import Run
from runner.bench.shape import Goals, Level, Plan, Target, Users, Workload
from runner.bench.summary import Summary, summaries
from runner.bench.turn import Turn
from runner.bench.watch import Strain

NO_GOALS = Goals()
NO_STRAIN = Strain(None, None, 0.1)


def outcome(first: float = 0.5, gap: float = 0.05, tokens: int = 5, **more: object) -> Outcome:
    """A chat of 100 tokens, answered a token a chunk."""
    last = first + gap * (tokens - 1)
    given: dict[str, object] = {
        "due": 0.0,
        "started": 0.0,
        "ended": last,
        "delay": 0.001,
        "first": first,
        "last": last,
        "gaps": array("d", [gap] * (tokens - 1)),
        "chunks": tokens,
        "prompt_tokens": 100,
        "output_tokens": tokens,
        "cached_tokens": 0,
        "wanted": tokens,
        **more,
    }
    return Outcome(**given)  # type: ignore[arg-type]


def turn(target: str, level: Level, *outcomes: Outcome, seconds: float = 1.0, number: int = 0) -> Turn:
    return Turn(target, level, number, ended=seconds, outcomes=list(outcomes), strain=NO_STRAIN)


def run(
    *names: str, levels: tuple[Level, ...] = (Users(1), Users(8)), goals: Goals = NO_GOALS, slow: float = 1.0
) -> tuple[Run, list[Summary]]:
    """A turn for every server and load; each server after the first takes twice as long, and all of them `slow`."""
    targets = tuple(Target(name, f"http://{place}/v1", "m", key="hush") for place, name in enumerate(names))
    made = Run(Plan(targets, levels, Workload(), "s", goals=goals))
    made.met = {target.name: Met(target, Accepts(), Fit(7, 1.5), True) for target in targets}
    for level in levels:
        for place, name in enumerate(names):
            times = slow * (1 + place)
            made.turns.append(turn(name, level, outcome(0.5 * times, 0.05 * times), seconds=times))
    return made, summaries(made.turns, goals)
