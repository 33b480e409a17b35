"""One process or several: what each of a run under ``torchrun`` does, and what they exchange."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

__all__ = ["broadcast_buffers", "gathered", "num_processes", "rank", "summed", "wait"]

ItemT = TypeVar("ItemT")


def num_processes() -> int:
    """Return how many processes train together."""
    return distributed.get_world_size() if _are_several() else 1


def rank() -> int:
    """Return which of them this is, from 0."""
    return distributed.get_rank() if _are_several() else 0


def summed(values: Tensor) -> Tensor:
    """Return the sum over all processes."""
    if _are_several():
        values = values.clone()
        distributed.all_reduce(values)
    return values


def gathered(items: list[ItemT]) -> list[ItemT]:
    """Return the items of all processes, in the order of their ranks."""
    if not _are_several():
        return items
    lists: list[Any] = [None] * num_processes()
    distributed.all_gather_object(lists, items)
    return [item for of_process in lists for item in of_process]


def broadcast_buffers(module: nn.Module) -> None:
    """Give every process the first one's buffers, such as the means of batch normalisation."""
    if _are_several():
        with torch.no_grad():
            for buffer in module.buffers():
                distributed.broadcast(buffer, 0)


def wait() -> None:
    """Wait until every process is here."""
    if _are_several():
        distributed.barrier()


def _are_several() -> bool:
    return distributed.is_available() and distributed.is_initialized()
