"""What all trainings of networks share: groups of weights, learning rate, half precision."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

__all__ = ["GRADIENT_NORM", "amp_dtype", "parameter_groups", "rate_at"]

GRADIENT_NORM = 1.0  # to which gradients are clipped


def parameter_groups(network: nn.Module, rate: float, weight_decay: float) -> list[dict[str, Any]]:
    """Return the optimiser's groups of a network; biases and normalisations do not decay."""
    weights = [weight for weight in network.parameters() if weight.ndim > 1]
    others = [other for other in network.parameters() if other.ndim <= 1]
    return [
        {"params": weights, "initial_lr": rate, "weight_decay": weight_decay},
        {"params": others, "initial_lr": rate, "weight_decay": 0.0},
    ]


def rate_at(step: int, rising: float, num_steps: float) -> float:
    """Return the learning rate of a step, as a share of the highest.

    Parameters
    ----------
    step : int
        From 0.
    rising : float
        Steps over which it rises from zero, in equal steps.
    num_steps : float
        All steps; after the rise it falls along half a cosine.
    """
    if step < rising:
        return min(1.0, (step + 1) / rising)
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / (num_steps - rising)))


def amp_dtype(device: torch.device) -> torch.dtype:
    """Return the half precision that a device computes fast in."""
    if device.type == "cuda" and not torch.cuda.is_bf16_supported():
        return torch.float16
    return torch.bfloat16
