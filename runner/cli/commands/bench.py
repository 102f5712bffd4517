"""`runner bench`: measures any OpenAI-compatible server as many users would see it, and compares several."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from runner.bench import shape
from runner.bench.shape import Goals, Level, Plan, Target, Workload
from runner.cli import output
from runner.cli.arguments import AsJson, Host
from runner.cli.connect import daemon, usable_settings
from runner.cli.failures import Exit, Failure, Refused, Unavailable

if TYPE_CHECKING:
    from runner.bench.run import Observer, Run
    from runner.bench.summary import Summary
    from runner.bench.turn import Turn

EXAMPLES = """
runner bench
runner bench --model qwen3:4b --concurrency 1,8,32,128 --input-tokens 100 --output-tokens 64
runner bench --url http://127.0.0.1:8000 --rate 0.5,1,2 --duration 2m --goal ttft:500ms,itl:50ms
runner bench --compare llama-server=http://127.0.0.1:8080 --rounds 3 --plot users.svg
runner bench --url https://api.example.com/v1#some-model --api-key env:EXAMPLE_KEY --json
"""
_T = TypeVar("_T")
_USERS = "1,8,32"


def command(
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="Server to measure: [NAME=]URL[#MODEL]. [default: the daemon]")
    ] = None,
    compare: Annotated[
        list[str] | None, typer.Option(metavar="URL", help="Another server, in turns with the first; repeatable.")
    ] = None,
    model: Annotated[str | None, typer.Option(metavar="MODEL", help="Model, where a URL names none.")] = None,
    api_key: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY", help="Key for --url, or NAME=KEY for another; env:VARIABLE reads it from there."),
    ] = None,
    concurrency: Annotated[
        str | None, typer.Option(metavar="N,...", help=f"Users at a time, level after level. [default: {_USERS}]")
    ] = None,
    rate: Annotated[
        str | None, typer.Option(metavar="R,...", help="Requests a second instead of users, level after level.")
    ] = None,
    burstiness: Annotated[
        str, typer.Option(metavar="B", help="Of arrivals at a rate: 1 Poisson, less in bursts, inf evenly.")
    ] = "1",
    requests: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=1_000_000, help="Requests a turn. [default: 2 a user, 8 at least]"),
    ] = None,
    duration: Annotated[
        str | None, typer.Option(metavar="TIME", help="Send for so long instead: 30s, 2m. [default at a rate: 30s]")
    ] = None,
    input_tokens: Annotated[str, typer.Option(metavar="N[-M]", help="Length of prompts.")] = "128",
    output_tokens: Annotated[str, typer.Option(metavar="N[-M]", help="Length of answers.")] = "64",
    shared_prefix: Annotated[
        int, typer.Option(metavar="N", min=0, max=shape.MOST_TOKENS, help="Tokens before each prompt that all share.")
    ] = 0,
    endpoint: Annotated[str, typer.Option(metavar="NAME", help="chat or completions.")] = shape.CHAT,
    ignore_eos: Annotated[
        bool, typer.Option("--ignore-eos/--no-ignore-eos", help="Ask for answers of full length, where that is known.")
    ] = True,
    temperature: Annotated[str, typer.Option(metavar="T", help="Of the sampling.")] = "0",
    extra: Annotated[str, typer.Option(metavar="JSON", help="More fields for every request.")] = "{}",
    warmup: Annotated[int, typer.Option(metavar="N", min=0, max=10_000, help="Requests before each turn.")] = 1,
    rounds: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=100, help="Times that all is done. [default: 1, or 2 to compare]"),
    ] = None,
    goal: Annotated[
        str | None, typer.Option(metavar="GOALS", help="What makes an answer good: ttft:1s,itl:50ms; also tpot, e2e.")
    ] = None,
    seed: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Same seed, same prompts. [default: another each time]")
    ] = None,
    timeout: Annotated[str, typer.Option(metavar="TIME", help="Longest time for one request.")] = "10m",
    limit: Annotated[
        str | None, typer.Option(metavar="TIME", help="Longest time for all; what came by then is shown.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw the figures as SVG.")] = None,
    no_history: Annotated[
        bool, typer.Option("--no-history", help="Neither keep the figures nor compare them.")
    ] = False,
    as_json: AsJson = False,
    host: Host = None,
) -> None:
    """Measure how fast a server is, and for how many.

    Works with every server that speaks OpenAI's dialect. Figures are shown beside those of the last run that asked
    the same. Ctrl-C ends it, and shows what came by then.
    """
    levels = _levels(concurrency, rate, _read("--burstiness", shape.burstiness, burstiness))
    workload = Workload(
        endpoint=_read("--endpoint", _one_of(shape.ENDPOINTS), endpoint),
        input=_read("--input-tokens", shape.lengths, input_tokens),
        output=_read("--output-tokens", shape.lengths, output_tokens),
        shared_prefix=shared_prefix,
        requests=requests,
        duration=_maybe("--duration", shape.span, duration),
        warmup=warmup,
        temperature=_read("--temperature", shape.number(0, 100), temperature),
        ignore_eos=ignore_eos,
        extra=_read("--extra", shape.extra, extra),
        timeout=_read("--timeout", shape.span, timeout),
    )
    _check_folder(plot)
    goals = _maybe("--goal", shape.goals, goal) or Goals()
    longest = _maybe("--limit", shape.span, limit)
    plan = Plan(
        targets=_targets(url, compare or [], model, api_key or [], host),
        levels=levels,
        workload=workload,
        seed=seed or secrets.token_hex(4),
        rounds=rounds or (2 if compare else 1),
        limit=longest,
        goals=goals,
    )
    history = None if no_history else usable_settings(host)[0].folders.state / "bench" / "history.jsonl"
    _measure(plan, _Wanted(as_json, plot, history))


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What becomes of the figures."""

    as_json: bool
    plot: Path | None
    history: Path | None


def _measure(plan: Plan, wanted: _Wanted) -> None:
    """Take the turns, and publish what they gave, also when they were interrupted."""
    from runner.bench.meet import Unusable
    from runner.bench.run import Run, bench
    from runner.bench.summary import summaries

    run = Run(plan)
    began = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        with _observer(plan) as observer:
            asyncio.run(bench(run, observer))
    except Unusable as error:
        if error.status is None:
            raise Unavailable(error.message) from None
        raise Refused(error.message, error.status) from None
    except KeyboardInterrupt:
        _publish(run, summaries(run.turns, plan.goals), began, wanted)
        raise
    found = summaries(run.turns, plan.goals)
    _publish(run, found, began, wanted)
    if not any(summary.ok for summary in found):
        raise Failure("no request was answered" + (" before --limit was over" if run.cut else ""))


def _publish(run: Run, found: list[Summary], began: str, wanted: _Wanted) -> None:
    from runner.bench import report
    from runner.bench.plot import svg

    if not found and not wanted.as_json:
        return
    changes = _remembered(run, found, began, wanted.history)
    if wanted.as_json:
        output.data({**report.document(run, found, began), "changes": changes})
    else:
        _print(run, found, changes)
    if wanted.plot is not None:
        wanted.plot.write_text(svg(found, _title(run)), encoding="utf-8")
        output.say(f"Plot: {wanted.plot}")


def _print(run: Run, found: list[Summary], changes: list[str]) -> None:
    from runner.bench import report

    output.table(*report.rates(found, bool(run.plan.goals)))
    output.line("")
    output.table(*report.latencies(found))
    if len(run.plan.targets) > 1:
        output.line("")
        output.table(*report.comparison(found, [target.name for target in run.plan.targets]))
    if changes:
        output.line("")
        for change in changes:
            output.line(output.on_one_line(change))
    if run.cut:
        output.say("Note: the run was cut short; a load marked (cut) was under way")
    for note in report.notes(found, run.met):
        output.say(f"Note: {output.on_one_line(note)}")
    output.say(f"Seed: {run.plan.seed}")


def _remembered(run: Run, found: list[Summary], began: str, path: Path | None) -> list[str]:
    """Keep the figures, and say how they have changed; a file that cannot be used costs no measured figure."""
    from runner.bench import history

    if path is None:
        return []
    entries = history.entries(run, found, began)
    try:
        changes = history.changes(path, entries)
        history.append(path, entries)
    except OSError as error:
        output.say(f"Note: the history {path} cannot be used: {error.strerror or error}")
        return []
    return [str(change) for change in changes]


def _title(run: Run) -> str:
    asked = run.plan.workload
    models = dict.fromkeys(met.target.model or "" for met in run.met.values())
    prefix = f", {asked.shared_prefix} shared" if asked.shared_prefix else ""
    return f"{', '.join(models)}: {asked.input} tokens in{prefix}, {asked.output} out"


def _observer(plan: Plan) -> AbstractContextManager[Observer]:
    if output.may_style(sys.stderr):
        from runner.bench.live import LiveTable

        return LiveTable(output.printable)
    return nullcontext(_Lines(plan.goals))


class _Lines:
    """A line for every turn that has ended, where nothing can be drawn."""

    def __init__(self, goals: Goals) -> None:
        self._goals = goals

    def meeting(self, name: str) -> None:
        output.say(f"Getting to know {name}")

    def began(self, turn: Turn) -> None:
        """The end says it all."""

    def ended(self, turn: Turn) -> None:
        from runner.bench import report
        from runner.bench.summary import summarise

        output.say(report.line(summarise([turn], self._goals)))


def _levels(concurrency: str | None, rate: str | None, burstiness: float) -> tuple[Level, ...]:
    if rate is None:
        return _read("--concurrency", shape.users, concurrency or _USERS)
    if concurrency is not None:
        raise Failure("--concurrency and --rate are two ways to load a server; give one", Exit.USAGE)
    return _read("--rate", lambda text: shape.rates(text, burstiness), rate)


def _targets(
    url: str | None, compare: list[str], model: str | None, keys: list[str], host: str | None
) -> tuple[Target, ...]:
    """The server to measure and those to compare it with, under names of their own, with their keys."""
    others = [_read("--compare", shape.target, text) for text in compare]
    if url is not None and host is not None:
        raise Failure("--host names a daemon of Runner and --url any server; give one", Exit.USAGE)
    first = _read("--url", shape.target, url) if url is not None else _daemon(host)
    targets = [first, *others]
    names = [target.name for target in targets]
    for name in names:
        if names.count(name) > 1:
            raise Failure(f"two servers are called {name!r}; name them with NAME=URL", Exit.USAGE)
    given = _keys(keys, names)
    return tuple(
        replace(target, model=target.model or model, key=given.get(target.name, target.key)) for target in targets
    )


def _daemon(host: str | None) -> Target:
    client = daemon(host)
    client.get("/api/version")  # starts it where that is wanted
    return Target("runner", f"{client.address.url}/v1", key=usable_settings(host)[0].api_key)


def _keys(given: Iterable[str], names: list[str]) -> dict[str, str]:
    """Keys by server. A key may hold `=` itself, so only a server's name before it is one."""
    found = {}
    for text in given:
        name, sign, key = text.partition("=")
        if not sign or name not in names:
            name, key = names[0], text
        if key.startswith("env:"):
            variable = key.removeprefix("env:")
            if not os.environ.get(variable):
                raise Failure(f"--api-key names {variable}, which is not in the environment", Exit.USAGE)
            key = os.environ[variable]
        if not key.isascii() or not key.isprintable():
            raise Failure("--api-key takes a key of printable ASCII characters", Exit.USAGE)
        found[name] = key
    return found


def _check_folder(plot: Path | None) -> None:
    """Better said before the run than after it."""
    if plot is not None and (plot.is_dir() or not plot.parent.is_dir()):
        raise Failure(f"--plot takes a file in a folder that exists, not {str(plot)!r}", Exit.USAGE)


def _one_of(allowed: tuple[str, ...]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"takes {' or '.join(allowed)}, not {text!r}")
        return text

    return read


def _maybe(option: str, read: Callable[[str], _T], text: str | None) -> _T | None:
    return None if text is None else _read(option, read, text)


def _read(option: str, read: Callable[[str], _T], text: str) -> _T:
    try:
        return read(text)
    except ValueError as error:
        raise Failure(f"{option} {error}", Exit.USAGE) from None
