"""Ten models, room for three, a thousand requests: none is lost, and none waits for longer than is promised."""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from modelfiles.embedded import demo_gguf
from tests.benchmarks.daemon import Daemon

pytestmark = pytest.mark.faults

SEED = 20261121
MODELS = [f"m{number}" for number in range(10)]
ROOM = 3
CLIENTS = 10
AT_ONCE = 10  # requests that each client has under way at any time
REQUESTS = 1000
HOLD = 0.5  # seconds that a swap of so small a model lets others go first, and that a fresh worker is left to its own
BATCH = 30.0  # seconds that a request of the batch may wait behind others, at most


@dataclass
class Asked:
    """One request, and what became of it. Times are seconds: until the first word, and until the end."""

    kind: str
    model: str
    is_batch: bool
    first: float = 0.0
    whole: float = 0.0
    outcomes: list[str] = field(default_factory=list)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """Ten models of the demo's weights, which differ in a byte of their names and so in their digests. They may have
    the memory of three and a half of them, and nothing else keeps a fourth out."""
    settings = {"max_loaded_models": 10, "max_queue": 5000, "prefix_disk": 0, "prefix_ram": 0, "num_parallel": 8}
    data, name = demo_gguf().read_bytes(), b"general.name\x08\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00"
    assert data.count(name) == 1
    with Daemon(tmp_path / "home", **settings) as running:
        for number, model in enumerate(MODELS):
            path = tmp_path / f"{model}.gguf"
            at = data.index(name) + len(name)
            path.write_bytes(data[: at + 3] + str(number).encode() + data[at + 4 :])
            running.create(model, path, "FROM {path}\nPARAMETER num_ctx 512\nPARAMETER num_gpu 0\n")
            path.unlink()
        (host,) = running.post("/runner/plan", {"model": MODELS[0], "options": {"num_gpu": 0}})["pools"]
        running.stop()
        running.environment["RUNNER_MAX_MEMORY"] = str(round((ROOM + 0.5) * host["needs"]))
        running.start()
        yield running


def test_a_thousand_requests_for_ten_models_with_room_for_three(daemon: Daemon, tally: Callable[[str], None]) -> None:
    began = time.monotonic()
    asked, most = asyncio.run(_crowd(daemon.url))
    spent = time.monotonic() - began
    outcomes = Counter(outcome for each in asked for outcome in each.outcomes)
    counted = _metrics(daemon)
    loads = int(counted["runner_model_load_seconds_count"])
    drain = 2 * _p99([each.whole - each.first for each in asked if each.outcomes == ["answered"]])
    load = counted["runner_model_load_seconds_sum"] / loads
    # Of the others' models each may come first, once: others go before it, its worker drains and ends, the next loads.
    bound = (len(MODELS) + 1) * (2 * HOLD + drain + load)
    p99 = {
        batch: _p99([each.first for each in asked if each.is_batch is batch and each.first]) for batch in (False, True)
    }
    tally(
        f"ten models, memory for {ROOM}, at most {most} there, {REQUESTS} requests in {spent:.0f} s: "
        f"{dict(outcomes)}, {loads} loads"
    )
    tally(f"until the first word, p99 of the bound: {p99[False]:.1f} of {bound:.1f} s")
    tally(f"the same of the batch: {p99[True]:.1f} of {bound + BATCH:.1f} s; seed {SEED}")
    assert len(asked) == REQUESTS
    assert most == ROOM
    assert all(len(each.outcomes) == 1 for each in asked)
    assert set(outcomes) <= {"answered", "cancelled"}
    assert outcomes["cancelled"] <= REQUESTS // 10
    assert counted["runner_num_requests_running"] == counted["runner_num_requests_waiting"] == 0
    assert counted["runner_worker_deaths_total"] == 0
    assert loads < REQUESTS / 3, "no swap for each request"
    assert p99[False] <= bound
    assert p99[True] <= bound + BATCH


async def _crowd(url: str) -> tuple[list[Asked], int]:
    """Clients who each have a few requests under way at any time, until all are answered; and how many models were
    there at once at the most."""
    dice, asked, most = random.Random(SEED), [], 0
    left = iter(range(REQUESTS))
    connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(url, connector=connector, timeout=timeout) as session:

        async def client(number: int) -> None:
            for _ in left:
                kind = dice.choices(["chat", "generate", "openai", "embed"], [4, 3, 2, 2])[0]
                each = Asked(kind, dice.choice(MODELS), is_batch=dice.random() < 0.2)
                asked.append(each)
                patience = dice.uniform(0.0, 5.0) if dice.random() < 0.05 else None
                await _ask(session, each, f"key of client {number}", patience, dice.randint(4, 16))

        async def watch() -> None:
            nonlocal most
            while True:
                async with session.get("/api/ps") as response:
                    told = (await response.json())["models"]
                most = max(most, sum(each["size"] > 0 for each in told))
                await asyncio.sleep(0.25)

        watching = asyncio.create_task(watch())
        async with asyncio.TaskGroup() as group:
            for number in range(CLIENTS * AT_ONCE):
                group.create_task(client(number % CLIENTS))
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    return asked, most


async def _ask(session: aiohttp.ClientSession, asked: Asked, key: str, patience: float | None, tokens: int) -> None:
    headers = {"Authorization": f"Bearer {key}"} | ({"X-Runner-Priority": "batch"} if asked.is_batch else {})
    began = time.monotonic()
    try:
        async with asyncio.timeout(patience):
            path, body = _request(asked, tokens)
            async with session.post(path, json=body, headers=headers) as response:
                last = b""
                async for line in response.content:
                    asked.first = asked.first or time.monotonic() - began
                    last = line if line.strip() else last
                asked.outcomes.append(_outcome(asked.kind, response.status, last))
    except TimeoutError:
        asked.outcomes.append("cancelled")
        asked.first = 0.0
    asked.whole = time.monotonic() - began


def _request(asked: Asked, tokens: int) -> tuple[str, dict[str, Any]]:
    messages = [{"role": "user", "content": "How do I pull a model?"}]
    match asked.kind:
        case "chat":
            return "/api/chat", {"model": asked.model, "messages": messages, "options": {"num_predict": tokens}}
        case "generate":
            return "/api/generate", {"model": asked.model, "prompt": "To pull", "options": {"num_predict": tokens}}
        case "openai":
            body = {"model": asked.model, "messages": messages, "max_tokens": tokens, "stream": True}
            return "/v1/chat/completions", body
        case _:
            return "/api/embed", {"model": asked.model, "input": ["one text", "and another"]}


def _outcome(kind: str, status: int, last: bytes) -> str:
    """`answered`, if the answer has the end that it must have; otherwise what came instead."""
    if status != 200:
        return f"{status} {last[:100]!r}"
    if kind == "openai":
        return "answered" if last.strip() == b"data: [DONE]" else f"cut off at {last[:100]!r}"
    told = json.loads(last)
    is_whole = len(told.get("embeddings", ())) == 2 if kind == "embed" else told.get("done") is True
    return "answered" if is_whole else f"cut off at {last[:100]!r}"


def _metrics(daemon: Daemon) -> Counter[str]:
    """Every metric, all models together."""
    totals: Counter[str] = Counter()
    with urllib.request.urlopen(f"{daemon.url}/metrics", timeout=60) as response:
        for line in response.read().decode().splitlines():
            if found := re.fullmatch(r"(runner_\w+)(?:\{.*\})? ([0-9.e+-]+)", line):
                totals[found[1]] += float(found[2])  # type: ignore[assignment]
    return totals


def _p99(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)]
