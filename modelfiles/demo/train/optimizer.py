"""Muon for matrices, AdamW for embeddings and norms, behind one object.

Knows parameters and gradients only; the learning-rate factor comes from the caller at each step.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

MATRIX_RATE = 0.02
VECTOR_RATE = 0.003
MOMENTUM = 0.95
DECAY = 0.1


def orthogonal(matrix: Tensor, rounds: int = 5) -> Tensor:
    """The nearest orthogonal matrix, roughly, by a quintic Newton-Schulz iteration."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = (matrix / (matrix.norm() + 1e-7)).bfloat16()
    if tall := x.shape[0] > x.shape[1]:
        x = x.T
    for _ in range(rounds):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.T if tall else x).float()


class Optimizer:
    """Owns the momenta of one model; `step(factor)` consumes the gradients in place."""

    def __init__(self, model: nn.Module) -> None:
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        self.matrices = [p for name, p in named if p.ndim == 2 and "token_embd" not in name]
        self.momenta = [torch.zeros_like(p) for p in self.matrices]
        rest = [p for name, p in named if p.ndim != 2 or "token_embd" in name]
        self.adamw = torch.optim.AdamW(rest, lr=VECTOR_RATE, betas=(0.9, 0.98), weight_decay=0.0)

    @torch.no_grad()
    def step(self, factor: float) -> None:
        """One update; `factor` in [0, 1] scales both learning rates."""
        for parameter, momentum in zip(self.matrices, self.momenta, strict=True):
            gradient = parameter.grad
            if gradient is None:
                continue
            momentum.mul_(MOMENTUM).add_(gradient)
            update = orthogonal(gradient + MOMENTUM * momentum)
            rate = MATRIX_RATE * factor * max(1.0, parameter.shape[0] / parameter.shape[1]) ** 0.5
            parameter.mul_(1.0 - DECAY * rate).add_(update, alpha=-rate)
        for group in self.adamw.param_groups:
            group["lr"] = VECTOR_RATE * factor
        self.adamw.step()

    def state(self) -> dict[str, Any]:
        """What `restore` takes."""
        return {"momenta": self.momenta, "adamw": self.adamw.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a `state()` of a model of the same shape."""
        for mine, saved in zip(self.momenta, state["momenta"], strict=True):
            mine.copy_(saved)
        self.adamw.load_state_dict(state["adamw"])
