"""The same greedy answers wherever a model lies, and what each place takes: for a machine with a GPU.

    python -m tests.benchmarks.devices [demo | moe | MODEL.gguf] [--tokens 64]

Loads the model on the CPU alone, then wholly, half and not at all (only computing) on the first GPU, over all GPUs, and
with its experts on the CPU. Says for each what llama.cpp reported by device, what the driver says was taken, and how
fast it was. `demo` is the embedded model, `moe` a small one of random weights with experts. Without a GPU it says so.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from modelfiles.embedded import demo_gguf
from runner.protocol.commands import Generate, TextPrompt
from runner.protocol.devices import Device, DeviceSurvey, Placement
from runner.protocol.events import Done, Logprob, Ready
from runner.protocol.options import SampleOptions
from runner.scheduler.child import worker_environment
from runner.scheduler.probe import probe, probe_command
from runner.scheduler.selection import automatic, backends
from tests.engine.random_models import write
from tests.engine.worker_process import WorkerProcess, agree

PROMPT = "def fibonacci(n):\n    "
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Run:
    """One load and one answer. `taken` is what the driver says of each GPU, in bytes."""

    ready: Ready
    scores: list[Logprob]
    text: str
    seconds: float
    taken: Mapping[str, int]

    def on(self, device: str) -> int:
        """Bytes that llama.cpp reported in this device's memory."""
        sizes = (self.ready.weights_bytes, self.ready.kv_bytes, self.ready.compute_bytes)
        return sum(each.get(device, 0) for each in sizes)


def survey() -> DeviceSurvey:
    """What llama.cpp sees here, now. Raises ProbeFailed."""
    return asyncio.run(probe(probe_command(), worker_environment()))


def absent(found: DeviceSurvey) -> str | None:
    """Why there is nothing to be compared, if there isn't."""
    if automatic(found.devices):
        return None
    return (
        f"no GPU: llama.cpp {found.engine} has {backends(found)}, and found {', '.join(d.name for d in found.devices)}"
    )


def placements(gpus: tuple[Device, ...], layers: int) -> dict[str, Placement]:
    """Places for a model of so many layers, its output not counted."""
    first, names = (gpus[0].name,), tuple(gpu.name for gpu in gpus)
    places = {
        "cpu": Placement(),
        "gpu": Placement(devices=first, gpu_layers=layers + 1, mode="none"),
        "half": Placement(devices=first, gpu_layers=(layers + 1) // 2, mode="none"),
        "computing only": Placement(devices=first, gpu_layers=0, mode="none"),
        "experts on cpu": Placement(devices=first, gpu_layers=layers + 1, mode="none", cpu_moe=layers),
    }
    if len(gpus) > 1:
        even = (1.0 / len(gpus),) * len(gpus)
        places["split"] = Placement(devices=names, gpu_layers=layers + 1, split=even)
    return places


def run(path: Path, placement: Placement, tokens: int) -> Run:
    """Load and answer once. Raises RuntimeError for a load or an answer that failed."""
    before = {device.name: device.free for device in survey().devices}
    worker = WorkerProcess(path, placement=placement, num_ctx=2048, num_parallel=1)
    try:
        if not isinstance(worker.ready, Ready):
            raise RuntimeError(f"{placement} could not be loaded: {worker.ready.message}")
        sampling = SampleOptions(temperature=0.0, repeat_penalty=1.0, num_predict=tokens, ignore_eos=True)
        worker.ask(Generate(1, TextPrompt(PROMPT), sampling))  # a GPU's first step compiles and allocates
        began = time.monotonic()
        answer = worker.ask(Generate(2, TextPrompt(PROMPT), sampling, logprobs=2))[2]
        seconds = time.monotonic() - began
        if not isinstance(answer.end, Done):
            raise RuntimeError(f"{placement} did not answer: {answer.end}")
        after = {device.name: device.free for device in survey().devices}
        taken = {name: before[name] - free for name, free in after.items() if name != "CPU"}
        return Run(worker.ready, answer.scores[0], answer.text, seconds, taken)
    finally:
        worker.close()


def compare(path: Path, found: DeviceSurvey, tokens: int) -> dict[str, Run]:
    """A run for each place. The first is the CPU's."""
    first = run(path, Placement(), tokens)
    places = placements(automatic(found.devices), first.ready.layers)
    return {"cpu": first} | {name: run(path, place, tokens) for name, place in places.items() if name != "cpu"}


def model(name: str, folder: Path) -> Path:
    """The model that is meant, made in `folder` if need be."""
    if name == "demo":
        return demo_gguf()
    return write(folder / "moe.gguf", "llama", experts=8, context=2048) if name == "moe" else Path(name)


def main() -> int:
    """Print the table; returns 1 if texts differ where they mustn't."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("model", nargs="?", default="demo")
    parser.add_argument("--tokens", type=int, default=64)
    arguments = parser.parse_args()
    found = survey()
    if why := absent(found):
        sys.stdout.write(f"skipped: {why}\n")
        return 0
    for device in found.devices:
        sys.stdout.write(
            f"{device.name}: {device.description}, {device.free // MIB} of {device.total // MIB} MiB free\n"
        )
    with tempfile.TemporaryDirectory() as folder:
        runs = compare(model(arguments.model, Path(folder)), found, arguments.tokens)
    expected = runs["cpu"].scores
    differ = [name for name, each in runs.items() if not agree(expected, each.scores)]
    sys.stdout.write(
        f"{'place':16} {'layers':>7} {'tok/s':>7} {'flash':>6}  reported (MiB) / taken by the driver's word\n"
    )
    for name, each in runs.items():
        devices = dict.fromkeys(("CPU", *each.ready.devices))
        reported = ", ".join(f"{device} {each.on(device) / MIB:.1f}" for device in devices)
        taken = ", ".join(f"{device} {size / MIB:.0f}" for device, size in each.taken.items() if size)
        layers = f"{each.ready.gpu_layers}/{each.ready.layers + 1}"
        speed = f"{arguments.tokens / each.seconds:.1f}"
        sys.stdout.write(f"{name:16} {layers:>7} {speed:>7} {each.ready.flash_attn!s:>6}  {reported} / {taken or '-'}")
        sys.stdout.write("  ANOTHER TEXT\n" if name in differ else "\n")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
