"""Training: `python -m modelfiles.demo.train.train STAGE --out DIR [--from FILE] [--minutes N]`.

Owns the loop, the clock and the checkpoints. One single-threaded process per core, gradients averaged over
gloo: two OpenMP threads collapse as soon as anybody else uses a core. Progress is elapsed time, so a busy
machine trains less but always finishes its schedule. A stage that was cut off goes on where it stopped.
"""

from __future__ import annotations

import argparse
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import Tensor

from modelfiles.demo.train import feed, head_start, mix
from modelfiles.demo.train.batches import Batch
from modelfiles.demo.train.model import Llama, Shape
from modelfiles.demo.train.optimizer import Optimizer
from modelfiles.demo.train.stages import STAGES, Stage

SAVE_EVERY = 90.0
REPORT_EVERY = 30.0
CLIP = 1.0


class Ledger:
    """Running loss and accuracy by family, for the log."""

    def __init__(self) -> None:
        self.sums: dict[int, list[float]] = {}

    def book(self, losses: Tensor, right: Tensor, families: Tensor) -> None:
        for family in families.unique().tolist():
            of = families == family
            row = self.sums.setdefault(int(family), [0.0, 0.0, 0.0])
            row[0] += float(losses[of].sum())
            row[1] += float(right[of].sum())
            row[2] += float(of.sum())

    def line(self) -> str:
        """One line of `family loss/accuracy`; empties the ledger."""
        parts = [f"{mix.FAMILIES[f]} {s / n:.2f}/{r / n:.2f}" for f, (s, r, n) in sorted(self.sums.items())]
        self.sums.clear()
        return "  ".join(parts)


def loss_of(model: Llama, trunk: Any, batch: Batch, ledger: Ledger) -> Tensor:
    """Weighted cross-entropy over the targets that carry weight; only those meet the output layer."""
    ids, weights = torch.from_numpy(batch.ids), torch.from_numpy(batch.weights)[:, 1:]
    chosen = (weights.flatten() > 0).nonzero().squeeze(1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        states = trunk(ids[:, :-1], torch.from_numpy(batch.segments)[:, :-1])
        logits = model.logits(states.flatten(0, 1).index_select(0, chosen))
    targets, weight = ids[:, 1:].flatten()[chosen], weights.flatten()[chosen]
    losses = F.cross_entropy(logits.float(), targets, reduction="none")
    with torch.no_grad():
        right = logits.argmax(-1) == targets
        ledger.book(losses.detach(), right, torch.from_numpy(batch.families)[:, 1:].flatten()[chosen])
    return (losses * weight).sum() / weight.sum()


def average(model: Llama, elapsed: float, world: int) -> float:
    """Average the gradients over all processes, clip them, and agree on the time that has passed."""
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients] + [torch.tensor([elapsed])])
    if world > 1:
        dist.all_reduce(flat)
        flat /= world
    agreed = float(flat[-1])
    flat = flat[:-1]
    flat *= min(1.0, CLIP / (float(flat.norm()) + 1e-6))
    at = 0
    for gradient in gradients:
        gradient.copy_(flat[at : at + gradient.numel()].view_as(gradient))
        at += gradient.numel()
    return agreed


def save(path: Path, model: Llama, optimizer: Optimizer, stage: Stage, elapsed: float, step: int) -> None:
    """Write a checkpoint aside and rename it."""
    aside = path.with_suffix(".part")
    torch.save(
        {"model": model.state_dict(), "optimizer": optimizer.state(), "stage": stage.name,
         "elapsed": elapsed, "step": step},
        aside,
    )  # fmt: skip
    aside.rename(path)


def resume(model: Llama, optimizer: Optimizer, own: Path, before: Path | None) -> tuple[float, int]:
    """Load this stage's own checkpoint, or the weights of the stage before; returns (elapsed, step)."""
    if own.exists():
        saved = torch.load(own, weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.restore(saved["optimizer"])
        return saved["elapsed"], saved["step"]
    if before is not None:
        model.load_state_dict(torch.load(before, weights_only=True)["model"])
    return 0.0, 0


@dataclass(frozen=True, slots=True)
class Job:
    """What one call of this module does: a stage until its end, or for `seconds`, on `world` processes."""

    stage: Stage
    out: Path
    before: Path | None
    seconds: float
    world: int
    port: int

    @property
    def checkpoint(self) -> Path:
        return self.out / f"{self.stage.name}.pt"


@dataclass(slots=True)
class Run:
    """One process's model on its way through a stage; `trunk` is the model, compiled or not."""

    model: Llama
    trunk: Any
    optimizer: Optimizer
    elapsed: float
    step: int


def work(rank: int, job: Job) -> None:
    """One process of a job, from the checkpoint on."""
    torch.set_num_threads(1)
    if job.world > 1:
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(job.port), "GLOO_SOCKET_IFNAME": "lo"}
        dist.init_process_group("gloo", rank=rank, world_size=job.world)
    torch.manual_seed(1)
    model = Llama(Shape())
    head_start.place(model)
    optimizer = Optimizer(model)
    elapsed, step = resume(model, optimizer, job.checkpoint, job.before)
    compiled = os.environ.get("DEMO_COMPILE", "1") == "1"
    run = Run(model, torch.compile(model) if compiled else model, optimizer, elapsed, step)
    loop(rank, job, run, feed.batches(job.stage, job.out, seed=1000 * rank + step))
    if job.world > 1:
        dist.destroy_process_group()


def loop(rank: int, job: Job, run: Run, batches: Iterator[Batch]) -> None:
    """Read, differentiate, average, step; rank 0 saves and reports."""
    ledger = Ledger()
    begun, tokens, warm = run.elapsed, 0, False
    started = saved = reported = time.monotonic()
    parent = os.getppid()
    while os.getppid() == parent:  # an orphan would train on for nobody
        batch = next(batches)
        loss_of(run.model, run.trunk, batch, ledger).backward()  # type: ignore[no-untyped-call]
        if not warm:  # the first pass compiles: that time is not training time
            warm, started = True, time.monotonic()
        run.elapsed = average(run.model, begun + time.monotonic() - started, job.world)
        done = run.elapsed / (60.0 * job.stage.minutes)
        run.optimizer.step(job.stage.rate(done))
        run.model.zero_grad(set_to_none=True)
        run.step, tokens = run.step + 1, tokens + job.world * batch.ids[:, 1:].size
        # `elapsed` is the same number everywhere, so that all processes stop at the same step
        ending = done >= 1.0 or run.elapsed - begun >= job.seconds
        now = time.monotonic()
        if rank == 0 and (ending or now - saved > SAVE_EVERY):
            save(job.checkpoint, run.model, run.optimizer, job.stage, run.elapsed, run.step)
            saved = now
        if rank == 0 and (ending or now - reported > REPORT_EVERY):
            speed = tokens / (now - reported)
            print(f"{job.stage.name} {done:.1%} step {run.step} {speed:.0f} tok/s  {ledger.line()}", flush=True)
            reported, tokens = now, 0
        if ending:
            break


def main() -> None:
    """Read the command line and start one process per core."""
    parser = argparse.ArgumentParser(description="Train one stage of the demo model.")
    parser.add_argument("stage", choices=list(STAGES))
    parser.add_argument("--out", type=Path, required=True, help="folder of tokenizer and checkpoints")
    parser.add_argument("--from", dest="before", type=Path, help="checkpoint of the stage before")
    parser.add_argument("--minutes", type=float, default=40.0, help="stop after so long; call again to go on")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    job = Job(STAGES[options.stage], options.out, options.before, 60.0 * options.minutes, options.processes, port)
    if job.world == 1:
        work(0, job)
    else:
        mp.spawn(work, args=(job,), nprocs=job.world)


if __name__ == "__main__":
    main()
