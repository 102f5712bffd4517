"""Downloads: MB/s of Runner's downloader, hashing and all, against curl and against hashing alone.

    python -m tests.benchmarks.download --folder FOLDER
    python -m tests.benchmarks.download --folder FOLDER --rate 60 --latency 0.05

A server in a process of its own sends a file of noise over loopback: as fast as it can, or with so many MB/s on each
connection and so many seconds before each answer. `by hand` is curl to a file and then SHA-256 of it. `lag` is how
long the hash took after the last byte had arrived. All sides take turns within a round, because machines are shared:
the ratios are what counts.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import socketserver
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import Process, Queue
from pathlib import Path

from registry.digests import CHUNK
from registry.disk import Disk
from registry.ingest import Ingest
from registry.transfer.download import Manner, download
from registry.transfer.http import Http
from registry.transfer.incoming import Incoming
from registry.transfer.ranges import incoming, range_of

MB = 1e6


class _Answer(socketserver.StreamRequestHandler):
    """Serves one file, whole or a range of it, over a connection that is kept."""

    file: Path
    rate: float
    latency: float

    def handle(self) -> None:
        size = self.file.stat().st_size
        with self.file.open("rb") as file:
            while (asked := self._asked()) is not None:
                start, stop = asked[0], size if asked[1] is None else asked[1]
                time.sleep(self.latency)
                head = [
                    "HTTP/1.1 206 Partial Content" if asked != (0, None) else "HTTP/1.1 200 OK",
                    f"Content-Range: bytes {start}-{stop - 1}/{size}",
                    f"Content-Length: {stop - start}",
                ]
                self.wfile.write("\r\n".join([*head, "", ""]).encode())
                began = time.monotonic()
                at = start
                while at < stop:
                    at += os.sendfile(self.connection.fileno(), file.fileno(), at, min(1 << 20, stop - at))
                    if self.rate and (ahead := (at - start) / self.rate - (time.monotonic() - began)) > 0:
                        time.sleep(ahead)

    def _asked(self) -> tuple[int, int | None] | None:
        asked: tuple[int, int | None] | None = None
        while line := self.rfile.readline().strip().decode():
            if line.startswith("GET"):
                asked = (0, None)
            if line.lower().startswith("range: bytes="):
                first, _, last = line.partition("=")[2].partition("-")
                asked = (int(first), int(last) + 1 if last else None)
        return asked


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients leave when they have what they want."""


def _serve(file: Path, rate: float, latency: float, ports: Queue[int]) -> None:
    handler = type("Handler", (_Answer,), {"file": file, "rate": rate, "latency": latency})
    with _Server(("127.0.0.1", 0), handler) as server:
        ports.put(server.server_address[1])
        server.serve_forever()


@contextmanager
def serving(file: Path, rate: float, latency: float) -> Iterator[str]:
    """A server in another process; its address."""
    ports: Queue[int] = Queue()
    process = Process(target=_serve, args=(file, rate, latency, ports), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ports.get(timeout=30)}/model.gguf"
    finally:
        process.terminate()
        process.join()


def with_runner(url: str, size: int, folder: Path, connections: int) -> tuple[float, float]:
    """MB/s into a file in `folder`, and the seconds that the hash lagged behind."""
    part, journal = folder / "bench.part", folder / "bench.part.journal"
    last = [0.0]

    def arrived(done: int) -> None:
        if done == size:
            last[0] = time.perf_counter()

    with Http(connections=connections) as http:

        @contextmanager
        def open_at(start: int, stop: int | None) -> Iterator[Incoming]:
            with http.open("GET", url, headers=range_of(start, stop)) as response:
                yield incoming(response, url)

        ingest = Ingest.create(Disk(), part)
        began = time.perf_counter()
        try:
            download(open_at, ingest, size, arrived, lambda: False, Manner(connections=connections), journal=journal)
            ended = time.perf_counter()
        finally:
            ingest.abandon()
            journal.unlink(missing_ok=True)
    return size / (ended - began) / MB, ended - last[0]


def with_curl(url: str, size: int) -> float:
    """MB/s of one plain stream that goes nowhere."""
    began = time.perf_counter()
    subprocess.run(["curl", "-sS", "-o", os.devnull, url], check=True)
    return size / (time.perf_counter() - began) / MB


def by_hand(url: str, size: int, folder: Path) -> float:
    """MB/s of one plain stream into a file that is hashed and made durable after it."""
    part = folder / "bench.hand"
    began = time.perf_counter()
    try:
        subprocess.run(["curl", "-sS", "-o", str(part), url], check=True)
        hashing(part, size)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        return size / (time.perf_counter() - began) / MB
    finally:
        part.unlink(missing_ok=True)


def hashing(file: Path, size: int) -> float:
    """MB/s of SHA-256 alone, the file in the page cache."""
    state = hashlib.sha256()
    buffer = memoryview(bytearray(CHUNK))
    began = time.perf_counter()
    with file.open("rb", 0) as opened:
        while got := opened.readinto(buffer):
            state.update(buffer[:got])
    return size / (time.perf_counter() - began) / MB


def main(argv: list[str] | None = None) -> int:
    """Print a line for each round and the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where the files go; twice the size is needed")
    parser.add_argument("--size", type=int, default=1024, help="MiB to download")
    parser.add_argument("--rate", type=float, default=0.0, help="MB/s of each connection, 0 for no limit")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args(argv)
    given.folder.mkdir(parents=True, exist_ok=True)
    file, size = given.folder / "bench.gguf", given.size << 20
    with file.open("wb") as made:
        for _ in range(given.size):
            made.write(os.urandom(1 << 20))
    rows: list[dict[str, float]] = []
    try:
        with serving(file, given.rate * MB, given.latency) as url:
            for number in range(given.rounds):
                rate, lag = with_runner(url, size, given.folder, given.connections)
                hand = by_hand(url, size, given.folder)
                row = {"runner": rate, "lag": lag, "hand": hand, "curl": with_curl(url, size)}
                rows.append(row | {"sha": hashing(file, size)})
                print(_line(f"round {number + 1}", rows[-1]), flush=True)
    finally:
        file.unlink()
    print(_line("median", {name: statistics.median(row[name] for row in rows) for name in rows[0]}))
    return 0


def _line(name: str, row: dict[str, float]) -> str:
    runner, curl, hand, sha = (row[each] for each in ("runner", "curl", "hand", "sha"))
    return (
        f"{name}: runner {runner:.0f} MB/s (lag {row['lag'] * 1000:.0f} ms), by hand {hand:.0f}, curl to nowhere "
        f"{curl:.0f}, sha256 alone {sha:.0f}; runner/hand {runner / hand:.2f}, runner/curl {runner / curl:.2f}, "
        f"runner/sha256 {runner / sha:.2f}"
    )


if __name__ == "__main__":
    sys.exit(main())
