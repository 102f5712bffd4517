"""What looking at requests costs the daemon's loop: an entry in the ledger, a part of an answer, a look at the queue.

    python -m tests.benchmarks.ledger

Times of this process's loop thread alone: no daemon, no worker, no HTTP. The best of several rounds is told.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

from runner.inference.entry import Leg, Source
from runner.inference.ledger import Ledger
from runner.inference.requests import Piece
from tests.fakes.scheduling import Bench, want

SOURCE = Source("POST", "/api/chat", "ollama", "127.0.0.1")
PIECE = Piece(text=" word", tokens=1)


def seconds(act: Callable[[], object], times: int, rounds: int) -> float:
    """Of one call, in the best round."""
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(times):
            act()
        best = min(best, (time.perf_counter() - start) / times)
    return best


def one_request(ledger: Ledger) -> None:
    """A request from its beginning to its end."""
    entry = ledger.open("request", SOURCE, lambda: None)
    entry.ride("model", "interactive")
    ledger.end(entry, 200)


def crowd(count: int) -> Ledger:
    """A ledger in which so many wait for one model, of fifty clients."""
    bench = Bench(queue=2 * count)
    ledger = Ledger(watcher=bench.scheduler.view, clock=lambda: bench.now)
    bench.submit(want("model"))
    bench.load("model")
    for number in range(count):
        leg = ledger.open(f"request-{number}", SOURCE, lambda: None).ride("model", "interactive")
        asked = replace(want("model"), client=f"client-{number % 50}")
        leg.ticket = bench.scheduler.view.ticket(bench.submit(asked).id)
    return ledger


def main() -> None:
    parser = argparse.ArgumentParser(description="What the ledger of requests costs.")
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    ledger, bare = Ledger(), Leg()
    kept = Ledger(bodies=True).open("request", SOURCE, lambda: None).ride("model", "interactive")
    print(f"a request          {1e6 * seconds(lambda: one_request(ledger), 2000, rounds):8.1f} us")
    print(f"a part of an answer{1e6 * seconds(lambda: bare.take(PIECE), 50_000, rounds):8.2f} us")
    print(f"  and its text kept{1e6 * seconds(lambda: kept.take(PIECE), 10_000, rounds):8.2f} us")
    for count in (512, 10_000):
        waiting = crowd(count)
        queue = seconds(lambda waiting=waiting: waiting.under_way(1000), 1, rounds)
        rows = seconds(lambda waiting=waiting: waiting.rows(100), 1, rounds)
        print(f"{count} waiting: the queue {1e3 * queue:.1f} ms, a list of 100 {1e3 * rows:.1f} ms")


if __name__ == "__main__":
    main()
