"""Randomness that depends on the seed and the position in a run alone, so that runs repeat."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

__all__ = ["batches_in_order", "epoch_batches", "reproducible", "seed_at"]


def seed_at(seed: int, *position: int) -> None:
    """Seed torch's global generators for a position, such as (epoch, step, process)."""
    state = np.random.SeedSequence([seed, *position]).generate_state(1, np.uint64)
    torch.manual_seed(int(state[0]))


def epoch_batches(
    num_samples: int, batch_size: int, seed: int, epoch: int, num_views: int = 1
) -> list[list[int]]:
    """Return the batches of an epoch: every sample once, in random order, in one random view.

    Parameters
    ----------
    num_samples, batch_size, seed, epoch : int
    num_views : int
        View v of sample i has the index ``v * num_samples + i``.

    Returns
    -------
    batches : list of lists of int
        Of nearly equal size, none above ``batch_size``: a small last one would be a noisy step.
    """
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(num_samples)
    order = order + num_samples * generator.integers(num_views, size=num_samples)
    return _cut(order, batch_size)


def batches_in_order(num_samples: int, batch_size: int) -> list[list[int]]:
    """Return batches of neighbours."""
    return _cut(np.arange(num_samples), batch_size)


@contextmanager
def reproducible(device: torch.device) -> Iterator[None]:
    """Let torch repeat itself on this machine, and leave its generators and settings as they were.

    On the CPU it does, for as long as the number of threads is the same. On CUDA, algorithms that
    repeat are slower, and a few operations have none.
    """
    on_cuda = device.type == "cuda"
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cudnn.benchmark,
    )
    with torch.random.fork_rng(devices=[device] if on_cuda else []), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* does not have a deterministic implementation")
        try:
            if on_cuda:
                os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # which repeats too
                torch.use_deterministic_algorithms(True, warn_only=True)
                torch.backends.cudnn.benchmark = False
            yield
        finally:
            if on_cuda:
                torch.use_deterministic_algorithms(before[0], warn_only=before[1])
                torch.backends.cudnn.benchmark = before[2]


def _cut(order: Any, batch_size: int) -> list[list[int]]:
    num_batches = -(-len(order) // batch_size)
    return [batch.tolist() for batch in np.array_split(order, num_batches)]
