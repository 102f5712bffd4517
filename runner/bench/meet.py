"""Getting to know a server before it is measured: its model, the fields it takes, and how it counts tokens.

All of that is asked over the same wire as the load. Raises Unusable when there is no point in going on.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import aiohttp

from runner.bench.client import Accepts, Client, Failed, Outcome, Refusal, connected
from runner.bench.clock import Clock
from runner.bench.prompts import GUESS, Fit, Prompt, each_word, fitted
from runner.bench.shape import Target, Workload

# Statuses that mean "this field I do not take" where the same request without it is fine.
_FIELD = (400, 422)


class Unusable(Exception):
    """The server cannot be measured. `status` is HTTP's when it answered, None when it could not be reached."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


@dataclass(frozen=True, slots=True)
class Met:
    """A server that is known: its target with a model, and what it takes and how it counts.

    `counts` is False when it names no token counts, so that lengths are a guess and rates unknown.
    """

    target: Target
    accepts: Accepts
    fit: Fit
    counts: bool


async def meet(target: Target, workload: Workload, seed: str, clock: Clock) -> Met:
    """Ask what must be known. The first answer may take as long as a model takes to load. Raises Unusable."""
    async with connected(target, clock) as session:
        client = Client(session, target, workload, Accepts(), clock)
        if target.model is None:
            target = replace(target, model=await _only_model(client))
        rng = random.Random(f"{seed}/meet")  # the same for every server, so that equal tokenizers give equal prompts
        (few, first), (many, second) = each_word(rng, 1), each_word(rng, 2)
        accepts, short = await _taken(session, target, workload, Prompt("", first, 1), clock)
        client = Client(session, target, workload, accepts, clock)
        long = await client.ask(Prompt("", second, 1), clock.now())
    if long.failure is not None:
        raise _unusable(target, long.failure)
    if short.prompt_tokens is None or long.prompt_tokens is None:
        return Met(target, accepts, Fit(0.0, GUESS), counts=False)
    fit = fitted((few, short.prompt_tokens), (many, long.prompt_tokens))
    return Met(target, accepts, fit, counts=True)


async def _only_model(client: Client) -> str:
    name = client.target.name
    try:
        models = await client.models()
    except Refusal as refusal:
        raise Unusable(f"{name} refuses: {refusal.message}", refusal.status) from None
    except (OSError, TimeoutError, aiohttp.ClientError) as error:
        raise Unusable(
            f"{name} at {client.target.url} cannot be reached: {str(error) or type(error).__name__}"
        ) from None
    if len(models) != 1:
        known = f"; it has {', '.join(models[:10])}" if models else ""
        raise Unusable(f"which model of {name} shall be measured? Name it with --model, or as URL#MODEL{known}", 404)
    return models[0]


async def _taken(
    session: aiohttp.ClientSession, target: Target, workload: Workload, prompt: Prompt, clock: Clock
) -> tuple[Accepts, Outcome]:
    """The most that the server takes, and its answer to it. Raises Unusable when it takes nothing."""

    async def ask(accepts: Accepts) -> Outcome:
        return await Client(session, target, workload, accepts, clock).ask(prompt, clock.now())

    most, *fewer = _ladder(workload)
    first = await ask(most)
    if first.failure is None:
        return most, first
    if first.failure.status in _FIELD:
        for accepts in fewer:
            outcome = await ask(accepts)
            if outcome.failure is None:
                return accepts, outcome
    raise _unusable(target, first.failure)


def _ladder(workload: Workload) -> list[Accepts]:
    """From what most local servers take down to what the strictest cloud does."""
    rungs = [Accepts(ignore_eos=False), Accepts(ignore_eos=False, max_field="max_completion_tokens")]
    rungs.append(replace(rungs[-1], temperature=False))
    rungs.append(Accepts(ignore_eos=False, include_usage=False))
    return [Accepts(), *rungs] if workload.ignore_eos else rungs


def _unusable(target: Target, failure: Failed) -> Unusable:
    if failure.status is not None:
        return Unusable(f"{target.name} answers {failure.status}: {failure.message}", failure.status)
    return Unusable(f"{target.name} at {target.url}: {failure.message}")
