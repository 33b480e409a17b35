"""The training of one network in one cycle, which a kill at any moment does not lose."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from vl4pose.simulation.pace import Pace, SimulationError, TimeUpError
from vl4pose.training.checkpoints import Checkpoints
from vl4pose.training.optimisation import GRADIENT_NORM, parameter_groups, rate_at
from vl4pose.training.positions import seed_at

__all__ = ["Recipe", "train"]

_STEPS_BETWEEN_LOOKS = 50  # at the loss, for which a GPU has to be waited for


class Recipe(Protocol):
    """What a training is told: the tables [training] and [heads] are such."""

    @property
    def batch_size(self) -> int:
        """Images in a batch."""

    @property
    def learning_rate(self) -> float:
        """The highest."""

    @property
    def weight_decay(self) -> float:
        """Of weights."""

    @property
    def warmup(self) -> float:
        """Share of the steps in which the learning rate rises."""


def train(
    module: nn.Module,
    loss_of: Callable[[Tensor], Tensor],
    *,
    num_samples: int,
    num_steps: int,
    recipe: Recipe,
    position: tuple[int, ...],
    half: torch.dtype | None,
    device: torch.device,
    checkpoints: Checkpoints,
    pace: Pace,
) -> float:
    """Train a module, from its checkpoint on if there is one.

    Parameters
    ----------
    module : torch.nn.Module
        In training mode when it is given; its weights are those to begin with.
    loss_of : callable
        Returns the loss of the samples of the given indices, (B,) int64 on the CPU.
    num_samples, num_steps : int
    recipe : Recipe
    position : tuple of int
        The seed, and what else tells this training from others: all that is random depends on it
        and on the step alone.
    half : torch.dtype, optional
        What the networks compute in under autocast; float16 needs a scaled loss.
    device : torch.device
    checkpoints : Checkpoints
        Stay when it is over, for whoever keeps the weights to remove.
    pace : Pace

    Returns
    -------
    seconds : float
        That the training took, of all processes that had a part in it; without what a kill undid.

    Raises
    ------
    TimeUpError
        After a checkpoint.
    SimulationError
        ``the loss must stay finite``.

    Notes
    -----
    Samples come in random order, every one once before any comes again, in batches of one size:
    what is left of an order begins the next batch. So nothing that is compiled for a size is
    compiled for another.
    """
    optimizer = torch.optim.AdamW(
        parameter_groups(module, recipe.learning_rate, recipe.weight_decay)
    )
    scaler = torch.amp.GradScaler(device.type, enabled=half == torch.float16)
    state, problems = checkpoints.load()
    for problem in problems:
        pace.reporter.note(f"{problem}: the one before is used")
    step, before = 0, 0.0
    if state is not None:
        module.load_state_dict(state["module"])
        _load_optimizer(optimizer, state["optimizer"])
        scaler.load_state_dict(state["scaler"])
        step, before = state["step"], state["seconds"]
        pace.reporter.advance(step)
    start = last_checkpoint = time.monotonic()
    losses = torch.zeros((), dtype=torch.float64, device=device)

    def seconds() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return before + time.monotonic() - start

    def look() -> None:
        if not math.isfinite(float(losses)):
            raise SimulationError(
                f"the loss must stay finite, got {float(losses)} by step {step}: train with a "
                "lower learning_rate"
            )

    def save() -> None:
        look()
        checkpoints.save(
            {
                "module": module.state_dict(),
                "optimizer": optimizer.state_dict()["state"],
                "scaler": scaler.state_dict(),
                "step": step,
                "seconds": seconds(),
            }
        )

    order = _Order(num_samples, recipe.batch_size, position)
    while step < num_steps:
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * rate_at(step, recipe.warmup * num_steps, num_steps)
        seed_at(*position, step)
        loss = loss_of(order.batch(step))
        optimizer.zero_grad()
        scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(module.parameters(), GRADIENT_NORM)
        scaler.step(optimizer)
        scaler.update()
        losses += loss.detach()
        step += 1
        pace.reporter.advance(1)
        if step == num_steps:
            break
        if pace.is_over():
            save()
            raise TimeUpError
        if time.monotonic() - last_checkpoint >= pace.checkpoint_seconds:
            save()
            last_checkpoint = time.monotonic()
        elif step % _STEPS_BETWEEN_LOOKS == 0:
            look()
    look()
    return seconds()


class _Order:
    """Which samples a step takes: of one random order after another."""

    def __init__(self, num_samples: int, batch_size: int, position: tuple[int, ...]) -> None:
        self._num_samples = num_samples
        self._batch_size = batch_size
        self._position = position
        self._orders: dict[int, Any] = {}

    def batch(self, step: int) -> Tensor:
        first = step * self._batch_size
        places = np.arange(first, first + self._batch_size)
        rounds, places = np.divmod(places, self._num_samples)
        self._orders = {number: self._order(number) for number in np.unique(rounds).tolist()}
        samples = [self._orders[r][p] for r, p in zip(rounds.tolist(), places, strict=True)]
        return torch.tensor(np.array(samples, np.int64))

    def _order(self, number: int) -> Any:
        if number in self._orders:
            return self._orders[number]
        return np.random.default_rng([*self._position, number]).permutation(self._num_samples)


def _load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    loaded = optimizer.state_dict()
    loaded["state"] = {int(index): value for index, value in state.items()}
    optimizer.load_state_dict(loaded)
    # In the layout of their weights in memory, as they were: sums of another order of the same
    # numbers may differ in their last bits.
    for weight, values in optimizer.state.items():
        for name, value in values.items():
            if name != "step" and isinstance(value, Tensor):
                values[name] = torch.empty_like(weight).copy_(value)
