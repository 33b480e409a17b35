"""Unlikely poses and heatmaps with several peaks, by the sum of their ranks."""

from __future__ import annotations

import numpy as np

from vl4pose.active.strategies.likelihood import VL4Pose
from vl4pose.active.strategies.multi_peak_entropy import MultiPeakEntropy
from vl4pose.active.strategies.pool import Pool
from vl4pose.active.strategies.strategy import Float64Array, Strategy

__all__ = ["VL4PoseEntropy"]


class VL4PoseEntropy(Strategy):
    """Chooses images that are high in both orders, of `VL4Pose` and of `MultiPeakEntropy`.

    Parameters
    ----------
    method : {"expected", "max", "marginal"}
        As of `VL4Pose`.

    Notes
    -----
    The likelihood sees poses that no body takes, the entropy joints that may be in several places.
    Their scales have nothing in common, nor do two networks' scales; so the ranks are added, in
    which each counts the same. That is our way. What it is worth on photographs is in
    bench/QUALITY.md; :func:`vl4pose.select` calls it "likelihood+entropy".

    Cost: that of `VL4Pose`, and sorting twice.

    References
    ----------
    Shukla, Roy, Singh, Ahmed and Alahi, "VL4Pose: Active Learning Through Out-Of-Distribution
    Detection For Pose Estimation", BMVC 2022. Liu and Ferrari, "Active Learning for Human Pose
    Estimation", ICCV 2017.
    """

    name = "vl4pose+entropy"
    title = "VL4Pose + entropy"
    head = "aux"

    def __init__(self, method: str = "expected") -> None:
        self._likelihood, self._entropy = VL4Pose(method), MultiPeakEntropy()
        self.method = self._likelihood.method
        self.needs = (*self._likelihood.needs, *self._entropy.needs)

    def rank(
        self, pool: Pool, labelled: Pool | None = None, rng: np.random.Generator | None = None
    ) -> Float64Array:
        """Return the mean of the two ranks over the number of images, in (0, 1].

        Of images that have both; NaN of the others.
        """
        self.prepare(pool)
        unlikely, entropy = self._likelihood.rank(pool), self._entropy.rank(pool)
        has_both = ~(np.isnan(unlikely) | np.isnan(entropy))
        ranks = np.full(len(pool), np.nan)
        both = _ranks(unlikely[has_both]) + _ranks(entropy[has_both])
        ranks[has_both] = both / (2 * max(len(both), 1))
        return ranks


def _ranks(values: Float64Array) -> Float64Array:
    """Return ranks from 1, the lowest value's, upwards; equal values share their mean."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean: Float64Array = (last - (counts - 1) / 2)[group.reshape(-1)]
    return mean
