"""What drafts bring and what they cost: the same requests with and without, in turns, over HTTP.

    python -m tests.benchmarks.speculation demo --users 1,4,16 --draft

`repeating` makes the model go on with a text that repeats itself. The `ordinary` answer is drawn at temperature 1, so
that little is to be gained, and the ratio says what trying costs. Models are `demo`, a shape of `random_gguf`, or the
path of a GGUF.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelfiles.embedded import demo_gguf
from tests.benchmarks.daemon import Daemon
from tests.benchmarks.random_gguf import SHAPES, write

CHAT = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
LINE = "The red fox runs over the hill. "
PROMPTS = {
    "repeating": CHAT.format(f"Say it again: {LINE * 4}") + LINE * 4,
    "ordinary": CHAT.format("How do I pull a model, and where does Runner keep it?"),
}
TEMPERATURES = {"repeating": 0.0, "ordinary": 1.0}
LOOKUP: dict[str, Any] = {"prompt_lookup_num_tokens": 8, "draft_num_predict": 0}
WAYS: dict[str, dict[str, Any]] = {
    "off": {"prompt_lookup_num_tokens": 0, "draft_num_predict": 0},
    "lookup": LOOKUP,
    "draft model": {"prompt_lookup_num_tokens": 0, "draft_num_predict": 4},
}


@dataclass(frozen=True, slots=True)
class Turn:
    """All users once: tokens a second together, and how many tokens of the drafts came true."""

    rate: float
    drafted: int
    accepted: int


def turn(daemon: Daemon, text: str, users: int, tokens: int, options: dict[str, Any]) -> Turn:
    """Ask as many times at once as there are users. Raises RuntimeError for an answer that is none."""

    def ask(user: int) -> dict[str, Any]:
        body = {"model": "measured", "prompt": f"{user % 7} {PROMPTS[text]}", "raw": True, "stream": False}
        chosen = {
            "temperature": TEMPERATURES[text],
            "seed": user,
            "num_predict": tokens,
            "ignore_eos": True,
            "num_ctx": 1024,
        } | options
        answer = daemon.post("/api/generate", body | {"options": chosen})
        if not isinstance(answer, dict) or "eval_count" not in answer:
            raise RuntimeError(f"generate answered {answer}")
        return answer

    started = time.perf_counter()
    with ThreadPoolExecutor(users) as pool:
        answers = list(pool.map(ask, range(users)))
    took = time.perf_counter() - started
    drafted, accepted = (
        sum(answer.get(key, 0) for answer in answers) for key in ("draft_count", "draft_accepted_count")
    )
    return Turn(sum(answer["eval_count"] for answer in answers) / took, drafted, accepted)


def measure(daemon: Daemon, users: int, tokens: int, rounds: int, ways: list[str]) -> None:
    """Print a row for each prompt and way: the median of the rounds, and the ratio to doing without, round by round."""
    for name in PROMPTS:
        turns: dict[str, list[Turn]] = {way: [] for way in ways}
        for each in range(rounds + 1):  # the first warms up
            for way in ways[each % len(ways) :] + ways[: each % len(ways)]:
                done = turn(daemon, name, users, tokens, WAYS[way])
                if each:
                    turns[way].append(done)
        for way in ways:
            ratios = sorted(mine.rate / off.rate for mine, off in zip(turns[way], turns["off"], strict=True))
            drafted, accepted = (sum(getattr(each, key) for each in turns[way]) for key in ("drafted", "accepted"))
            share = f"{accepted / drafted:.0%} of {drafted}" if drafted else "nothing drafted"
            print(
                f"| {name} | {users} | {way} | {statistics.median(each.rate for each in turns[way]):.1f} | "
                f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) | {share} |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure speculation against doing without.")
    parser.add_argument("model", help="demo, a shape of random_gguf, or the path of a GGUF")
    parser.add_argument("--users", default="1,4,16")
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--draft", action="store_true", help="also with the model as its own draft model")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = demo_gguf() if arguments.model == "demo" else Path(arguments.model)
        if arguments.model in SHAPES:
            path = Path(folder) / f"{arguments.model}.gguf"
            write(SHAPES[arguments.model], path)
        with Daemon(Path(folder) / "home") as daemon:
            daemon.create("measured", path, "FROM {path}\n" + ("DRAFT {path}\n" if arguments.draft else ""))
            print("| text | users | drafts | tok/s | against none | came true |\n| --- | --- | --- | --- | --- | --- |")
            for users in map(int, arguments.users.split(",")):
                ways = [way for way in WAYS if way != "draft model" or arguments.draft]
                measure(daemon, users, arguments.tokens, arguments.rounds, ways)


if __name__ == "__main__":
    main()
