"""Annotated poses as the training reads them: one by one, and in batches read ahead in threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from itertools import islice
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

__all__ = ["Annotations", "Batch", "PoseDataset", "annotations_of", "batches_of"]

# Batches that are being read or wait for the network: what bounds the memory of a run.
_AHEAD = 2


class PoseDataset(Protocol):
    """Anything with a length whose items are (image, keypoints, visible).

    ``image`` is network input, a float Tensor (3, H, W); ``keypoints`` a float Tensor (J, 2) in
    heatmap pixels, of any value where not visible; ``visible`` a bool Tensor (J,), True where a
    joint is annotated. The same index gives the same item each time, and from any thread. A
    `torch.utils.data.TensorDataset` of images, keypoints and visible is one.

    A dataset whose images are costly to read may have a method ``annotations()`` that returns
    (keypoints, visible) of all its items, as Tensors (N, J, 2) and (N, J).
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sequence[Any]: ...


class Annotations(NamedTuple):
    """The poses of a dataset, or of a batch.

    Attributes
    ----------
    keypoints : Tensor (N, J, 2) of float32
        Heatmap pixels.
    visible : Tensor (N, J) of bool
    """

    keypoints: Tensor
    visible: Tensor


class Batch(NamedTuple):
    """Items of a dataset, stacked.

    Attributes
    ----------
    inputs : Tensor (B, 3, H, W), or tuple of Tensors (B, ...)
        Images, or the features of a frozen pose network.
    keypoints : Tensor (B, J, 2) of float32
    visible : Tensor (B, J) of bool
    """

    inputs: Any
    keypoints: Tensor
    visible: Tensor


def annotations_of(dataset: PoseDataset) -> Annotations:
    """Return the poses of a whole dataset."""
    if hasattr(dataset, "annotations"):
        keypoints, visible = dataset.annotations()
    else:
        items = [dataset[index] for index in range(len(dataset))]
        keypoints = torch.stack([keypoints for _, keypoints, _ in items])
        visible = torch.stack([visible for _, _, visible in items])
    return Annotations(keypoints.float(), visible)


def batches_of(
    dataset: PoseDataset, batches: Iterable[Sequence[int]], workers: int
) -> Iterator[Batch]:
    """Yield the batches of the given indices, in order.

    Parameters
    ----------
    dataset : PoseDataset
    batches : iterable of sequence of int
    workers : int
        Threads that read items ahead; 0 reads them in this one when they are asked for.
    """
    if workers == 0:
        for indices in batches:
            yield _stacked([dataset[index] for index in indices])
        return
    remaining = iter(batches)
    waiting: deque[list[Future[Sequence[Any]]]] = deque()
    with ExitStack() as stack:
        pool = ThreadPoolExecutor(workers, thread_name_prefix="vl4pose-read")
        stack.callback(pool.shutdown, cancel_futures=True)
        while True:
            for indices in islice(remaining, _AHEAD + 1 - len(waiting)):
                waiting.append([pool.submit(dataset.__getitem__, index) for index in indices])
            if not waiting:
                return
            yield _stacked([future.result() for future in waiting.popleft()])


def _stacked(items: list[Sequence[Any]]) -> Batch:
    inputs, keypoints, visible = zip(*items, strict=True)
    if isinstance(inputs[0], Tensor):
        stacked: Any = torch.stack(inputs)
    else:
        stacked = tuple(torch.stack(maps) for maps in zip(*inputs, strict=True))
    return Batch(stacked, torch.stack(keypoints).float(), torch.stack(visible))
