"""Many users at once: Runner and llama-server in turns, on the same llama.cpp build, model and machine.

    python -m tests.benchmarks.users                       # the whole table, at most an hour
    python -m tests.benchmarks.users --quick               # at most five minutes
    python -m tests.benchmarks.users --row 8b              # one row; this one wants a GPU

llama-server is built from the source package of the installed llama-cpp-python (which takes its own minutes the first
time) and has as many slots as there are users, each as long as it needs. Runner runs with its defaults. Both are
driven by `runner bench --compare`; a row of the table is one load. Times for building and for making models are not in
the hour.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelfiles.embedded import demo_gguf
from runner.bench import shape
from tests.benchmarks import llama_cpp_source
from tests.benchmarks.daemon import Daemon
from tests.benchmarks.llama_server import LlamaServer, batched_bench
from tests.benchmarks.random_gguf import SHAPES, write

Json = dict[str, Any]

RUNNER, PEER, ONE_SLOT = "runner", "llama-server", "one slot"
_MEETING = 600  # tokens of the longest prompt by which the load generator gets to know a server's tokenizer
_MARGIN = 64  # tokens that a prompt may turn out longer than asked, beside a tenth of it
_RAW_SHARE = 0.25  # of a level's time, for llama.cpp alone
_LEAST = 10.0  # seconds of a level, however late it is


@dataclass(frozen=True, slots=True)
class Row:
    """A model under a kind of load. `seconds` are all its levels' together, start-ups included.

    `waves` is how often each user asks in a turn. With `one_slot` the last level is also put to a server that decodes
    one request at a time, as Ollama does by default.
    """

    model: str
    input: str
    output: str
    users: tuple[int, ...]
    seconds: float
    quick_users: tuple[int, ...]
    quick_seconds: float
    prefix: int = 0
    waves: int = 2
    one_slot: bool = False

    @property
    def tokens(self) -> int:
        """The longest that a prompt and its answer get."""
        longest = shape.lengths(self.input).high + self.prefix
        return max(_MEETING, longest + longest // 10 + _MARGIN + shape.lengths(self.output).high)

    @property
    def is_plain(self) -> bool:
        """True when all prompts have one length and nothing in common: what the batched bench can do too."""
        return self.input.isdecimal() and not self.prefix


# 56 minutes and 4:30; what is left of the hour and of the five minutes is for what can't be planned.
ROWS = {
    "demo": Row("demo", "100", "64", (1, 8, 32, 128), 240, (1, 8, 32, 128), 45, one_slot=True),
    "0.5b": Row("0.5b", "100", "64", (1, 8, 32, 128), 1440, (1, 8), 75, waves=1),
    "42m": Row("42m", "100", "64", (1, 8, 32, 128), 420, (1, 8, 32, 128), 60, one_slot=True),
    "42m-mixed": Row("42m", "32-2000", "64", (1, 8, 32, 128), 720, (1, 8), 45),
    "42m-shared": Row("42m", "100", "64", (1, 8, 32, 128), 540, (1, 8), 45, prefix=1000),
    "8b": Row("8b", "512", "256", (1, 10, 50, 100, 128), 1200, (1, 10), 120),
}
_ON_A_GPU = ("8b",)


@dataclass(frozen=True, slots=True)
class Machine:
    """What all rows have in common."""

    server: Path
    raw: Path | None  # the batched bench
    threads: int
    folder: Path
    quick: bool


def main() -> None:
    parser = argparse.ArgumentParser(description="Runner and llama-server in turns, for many users.")
    parser.add_argument("--quick", action="store_true", help="a table in five minutes, of fewer and shorter turns")
    parser.add_argument("--row", action="append", choices=ROWS, help="only this one; repeatable")
    parser.add_argument("--users", type=int, nargs="+", help="instead of the rows' own")
    parser.add_argument("--seconds", type=float, help="for a row, instead of its own")
    parser.add_argument("--llama-server", type=Path, help="instead of building one")
    parser.add_argument("--keep", type=Path, help="folder for the generated models (default: a temporary one)")
    parser.add_argument("--json", type=Path, help="where to write everything that was measured")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        machine = Machine(*_tools(arguments.llama_server), _threads(), folder, arguments.quick)
        rows = arguments.row or [name for name in ROWS if name not in _ON_A_GPU]
        models = {ROWS[name].model: _model(ROWS[name].model, arguments.keep or folder) for name in rows}
        began = time.monotonic()
        print(HEAD, flush=True)
        documents = []
        for name in rows:
            for document in measured(name, models[ROWS[name].model], machine, arguments.users, arguments.seconds):
                documents.append(document)
                print(*lines(document), sep="\n", flush=True)
        print(f"\n{(time.monotonic() - began) / 60:.1f} minutes, {machine.threads} threads", file=sys.stderr)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(documents, indent=1))


def measured(
    name: str, model: Path, machine: Machine, users: list[int] | None, seconds: float | None
) -> Iterator[Json]:
    """Every level of a row as what `runner bench` printed, with the row's name and llama.cpp's own rate put in."""
    row = ROWS[name]
    levels = users or (row.quick_users if machine.quick else row.users)
    deadline = time.monotonic() + (seconds or (row.quick_seconds if machine.quick else row.seconds))
    with Daemon(machine.folder / f"home-{name}", keep_alive="-1") as daemon:
        daemon.create("bench", model)
        for place, count in enumerate(levels):
            # More users take longer, but not as much longer as they are more.
            weights = [each**0.4 for each in levels[place:]]
            share = max(_LEAST, (deadline - time.monotonic()) * weights[0] / sum(weights))
            yield {"row": name, "users": count, **_level(row, count, model, machine, daemon, share)}


def _level(row: Row, users: int, model: Path, machine: Machine, daemon: Daemon, seconds: float) -> Json:
    ends = time.monotonic() + seconds
    has_raw = machine.raw is not None and row.is_plain and not machine.quick
    log = machine.folder / "llama-server.log"
    slots = {PEER: users}
    if row.one_slot and users == row.users[-1] and not machine.quick:
        slots[ONE_SLOT] = 1
    with ExitStack() as stack:
        peers = {
            name: stack.enter_context(
                LlamaServer(
                    machine.server,
                    model,
                    log,
                    slots=count,
                    tokens=row.tokens,
                    threads=machine.threads,
                    caches=row.prefix > 0,
                )
            )
            for name, count in slots.items()
        }
        left = max(_LEAST, (ends - time.monotonic()) * (1 - _RAW_SHARE if has_raw else 1))
        document = _bench(row, users, daemon, {name: peer.url for name, peer in peers.items()}, left, machine.quick)
    raw = None
    if has_raw and machine.raw is not None:
        raw = batched_bench(
            machine.raw,
            model,
            users=users,
            prompt=int(row.input),
            answer=int(row.output),
            threads=machine.threads,
            seconds=max(_LEAST, ends - time.monotonic()),
        )
    return {"raw_tokens_per_s": raw, **document}


def _bench(row: Row, users: int, daemon: Daemon, peers: dict[str, str], seconds: float, quick: bool) -> Json:
    """`runner bench` on one level; it ends by itself in time."""
    waves = 1 if quick else row.waves
    command = [sys.executable, "-m", "runner", "bench", "--model", "bench", "--endpoint", "completions"]
    command += ["--concurrency", str(users), "--requests", str(max(4, users * waves))]
    command += ["--input-tokens", row.input, "--output-tokens", row.output, "--shared-prefix", str(row.prefix)]
    # A wave of as many users goes before each turn, for both: what servers set up for a crowd isn't the crowd's affair.
    command += ["--warmup", str(users), "--rounds", "1" if quick else "2", "--limit", f"{seconds:.0f}s"]
    command += ["--no-history", "--json"]
    for name, url in peers.items():
        command += ["--compare", f"{name}={url}#bench"]
    done = subprocess.run(command, env=daemon.environment, stdout=subprocess.PIPE, check=False)
    if not done.stdout:
        raise RuntimeError(f"`runner bench` ended with {done.returncode} and no figures")
    document: Json = json.loads(done.stdout)
    return document


HEAD = (
    "| model and load | users | Runner tok/s | llama-server tok/s | ratio (least to most) | raw tok/s | of raw"
    " | TTFT p50, Runner / llama-server | gap p99, Runner / llama-server | failed | notes |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
)


def lines(document: Json) -> Iterator[str]:
    """The level as rows of the Markdown table: against llama-server, and against one slot where that was measured."""
    results = {result["target"]: result for result in document["results"]}
    for name in (PEER, ONE_SLOT):
        ours, theirs = results.get(RUNNER, {}), results.get(name, {})
        if name == ONE_SLOT and not theirs:
            continue
        compared = [each for each in document["comparisons"] if each["under"] == name]
        ratio = compared[0]["output_tokens_per_s"] if compared else None
        raw = document["raw_tokens_per_s"] if name == PEER else None
        both = (ours, theirs)
        of_raw = ours["output_tokens_per_s"] / raw if raw and ours.get("output_tokens_per_s") else None
        cells = (
            document["row"] + ("" if name == PEER else f" ({name})"),
            str(document["users"]),
            *(_figure(each.get("output_tokens_per_s")) + ("*" if each.get("cut") else "") for each in both),
            "-" if ratio is None else f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})",
            _figure(raw),
            "-" if of_raw is None else f"{of_raw:.2f}",
            " / ".join(_milliseconds(each.get("ttft_s"), "p50") for each in both),
            " / ".join(_milliseconds(each.get("gap_s"), "p99") for each in both),
            " / ".join(str(each["requests"]["failed"]) if each else "-" for each in both),
            "; ".join(document["notes"]) if name == PEER else "",
        )
        yield "| " + " | ".join(cells) + " |"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def _milliseconds(found: Json | None, point: str) -> str:
    return "-" if found is None else f"{1000 * found[point]:.0f} ms"


def _tools(given: Path | None) -> tuple[Path, Path | None]:
    """llama-server, and the batched bench where that was built beside it."""
    if given is None:
        binaries = llama_cpp_source.build(os.cpu_count() or 1)
        return binaries / "llama-server", binaries / "llama-batched-bench"
    beside = given.with_name("llama-batched-bench")
    return given, beside if beside.exists() else None


def _threads() -> int:
    """As many as Runner takes by itself."""
    from runner.llama.cores import threads
    from runner.protocol.options import LoadOptions

    return threads(LoadOptions(num_ctx=1, num_parallel=1))  # only the threads are looked at


def _model(name: str, folder: Path) -> Path:
    """The file of a model; one that has to be made is made once in a folder."""
    if name == "demo":
        return demo_gguf()
    path = folder / f"{name}.gguf"
    if not path.exists():
        print(f"making {path}", file=sys.stderr)
        folder.mkdir(parents=True, exist_ok=True)
        write(SHAPES[name], path)
    return path


if __name__ == "__main__":
    main()
