"""How far to trust the peaks of a pose network, found with annotated images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vl4pose.nn.peak_variance import NoPeakError, PeakFit, fit_peak_variance
from vl4pose.skeleton import Skeleton
from vl4pose.training.dataset import PoseDataset, batches_of
from vl4pose.training.networks import frozen_output
from vl4pose.training.positions import batches_in_order
from vl4pose.training.reporting import Reporter

__all__ = ["fit_peaks"]

_MOST_IMAGES = 500  # more change nothing, and their heatmaps have to be held
_FEWEST_JOINTS = 100  # fewer may all be right or wrong by chance
_BATCH = 4  # as for the features of a network on the CPU


def fit_peaks(
    pose: Callable[[Tensor], Any],
    dataset: PoseDataset,
    params: npt.NDArray[np.float64],
    *,
    skeleton: Skeleton,
    num_peaks: int,
    min_distance: int,
    device: torch.device,
    workers: int,
    reporter: Reporter,
) -> PeakFit | None:
    """Fit temperature and variance of the peaks, on 500 images of a dataset at most.

    Parameters
    ----------
    pose : torch.nn.Module or callable
        As for `vl4pose.training.fit`.
    dataset : PoseDataset
    params : (N, L, 2) float64 array
        Length and log-variance of each link of all N images of the dataset.
    skeleton : Skeleton
    num_peaks, min_distance : int
        As for `vl4pose.analyze`.
    device : torch.device
        Where the pose network is.
    workers : int
        Threads that read images ahead.
    reporter : Reporter

    Returns
    -------
    fit : PeakFit or None
        None if fewer than 100 joints lie near a peak: of few images, or of a pose network that has
        learned nothing.
    """
    count = min(len(dataset), _MOST_IMAGES)
    chosen = np.linspace(0, len(dataset) - 1, count).round().astype(int)
    batches = [chosen[rows].tolist() for rows in batches_in_order(count, _BATCH)]
    reporter.stage("looking at peaks", count)
    heatmaps, keypoints, visible = [], [], []
    for batch in batches_of(dataset, batches, workers):
        maps, _ = frozen_output(pose, batch.inputs.to(device))
        heatmaps.append(maps[:, -1].float().cpu())
        keypoints.append(batch.keypoints)
        visible.append(batch.visible)
        reporter.advance(len(maps))
    try:
        fit = fit_peak_variance(
            torch.cat(heatmaps),
            params[chosen],
            torch.cat(keypoints),
            visible=torch.cat(visible),
            skeleton=skeleton,
            num_peaks=num_peaks,
            min_distance=min_distance,
        )
    except NoPeakError:
        return None
    return fit if fit.num_joints >= _FEWEST_JOINTS else None
