"""How much the load generator can take: `runner bench` against a server that only sends chunks at a set pace.

    python -m tests.benchmarks.generator
    python -m tests.benchmarks.generator --users 128 --gap 10 --seconds 5

Every user is sent a chunk each `--gap` milliseconds by a process of its own, which notes how late it was itself. What
`runner bench` then reports should be that pace; where it isn't, the columns say whose fault that was.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from runner.bench.spread import spread

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def framed(value: object) -> bytes:
    """One event as one chunk of the body."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    event = b"data: " + data + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(event), event)


TEXT = framed({"id": "x", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": " word"}}]})


class Paced:
    """One tick for all streams: whoever is being answered gets a chunk at each."""

    def __init__(self, gap: float) -> None:
        self.late: list[float] = []  # seconds, tick by tick
        self._gap = gap
        self._streams: dict[asyncio.StreamWriter, list[int]] = {}  # chunks sent, and wanted

    async def tick(self) -> None:
        due = time.perf_counter()
        while True:
            due += self._gap
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            if self._streams:
                self.late.append(time.perf_counter() - due)
            for writer, progress in list(self._streams.items()):
                progress[0] += 1
                writer.write(TEXT)
                if progress[0] == progress[1]:
                    del self._streams[writer]
                    writer.write(_ending(progress[1]))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Requests of one connection, one after another."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
                body = json.loads(await reader.readexactly(int(length[1]) if length else 0))
                writer.write(_HEAD)
                self._streams[writer] = [0, body["max_tokens"]]
        except (asyncio.IncompleteReadError, ConnectionError):
            self._streams.pop(writer, None)
            writer.close()


def _ending(tokens: int) -> bytes:
    end = framed({"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]})
    usage = framed({"choices": [], "usage": {"prompt_tokens": 20, "completion_tokens": tokens}})
    return end + usage + framed(b"[DONE]") + b"0\r\n\r\n"


async def pace(gap: float) -> None:
    """Serve until standard input ends; print the port first, and last how late the ticks were."""
    paced = Paced(gap)
    server = await asyncio.start_server(paced.serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    ticking = asyncio.create_task(paced.tick())
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    ticking.cancel()
    found = spread(paced.late)
    print(json.dumps([found.p50, found.p99] if found else [0.0, 0.0]), flush=True)
    os._exit(0)  # connections that idle are nobody's concern any more


@contextmanager
def running(gap: float) -> Iterator[tuple[str, list[float]]]:
    """The server in a process of its own: its URL, and a list that holds how late it was (p50, p99) afterwards."""
    command = [sys.executable, "-m", "tests.benchmarks.generator", "--pace", str(gap)]
    late: list[float] = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}", late
        finally:
            process.stdin.close()
            late += json.loads(process.stdout.readline() or "[]")


def measure(users: int, gap: float, seconds: float) -> tuple[dict[str, Any], list[float]]:
    """What `runner bench` reports, and how late the server was."""
    tokens = max(2, round(seconds / 2 / gap))  # two requests a user
    with running(gap) as (url, late), tempfile.TemporaryDirectory() as home:
        command = [sys.executable, "-m", "runner", "bench", "--url", f"paced={url}#any", "--concurrency", str(users)]
        command += ["--requests", str(2 * users), "--output-tokens", str(tokens), "--no-history", "--json"]
        environment = os.environ | {"RUNNER_HOME": home}
        done = subprocess.run(command, env=environment, capture_output=True, check=True)
    return json.loads(done.stdout), late


def main() -> None:
    parser = argparse.ArgumentParser(description="How much the load generator can take.")
    parser.add_argument("--users", type=int, nargs="+", default=[1, 32, 128, 512])
    parser.add_argument("--gap", type=float, nargs="+", default=[100.0, 20.0], help="milliseconds")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--pace", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.pace is not None:
        asyncio.run(pace(arguments.pace))
        return
    print("| users | gap asked | chunks/s | gap reported p50 / p99 | server late p50 / p99 | loop lag p99 | CPU | |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for gap in arguments.gap:
        for users in arguments.users:
            document, late = measure(users, gap / 1000, arguments.seconds)
            [found] = document["results"]
            [own] = found["generator"]
            times = [1000 * value for value in (found["gap_s"]["p50"], found["gap_s"]["p99"], *late)]
            print(
                f"| {users} | {gap:g} ms | {1000 * users / gap:.0f} | {times[0]:.1f} / {times[1]:.1f} ms"
                f" | {times[2]:.1f} / {times[3]:.1f} ms | {1000 * own['loop_lag_s']['p99']:.1f} ms"
                f" | {own['cpu_share']:.0%} | {'; '.join(document['notes']) or 'kept up'} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
