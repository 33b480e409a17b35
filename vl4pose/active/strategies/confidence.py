"""Low heatmaps first: the least confident predictions."""

from __future__ import annotations

import numpy as np

from vl4pose.active.strategies.pool import Pool
from vl4pose.active.strategies.strategy import Float64Array, Strategy

__all__ = ["Confidence"]


class Confidence(Strategy):
    """Chooses images whose heatmaps are low: 1 minus the mean over joints of their maxima.

    Notes
    -----
    Least confidence, the usual first thing to try, after Lewis and Gale [1]_, who chose documents
    whose class was least certain. The height of a heatmap stands for a probability here.

    What a rank means depends on the scale that the network was trained to. Where the target of a
    keypoint is a Gaussian of height 1, ranks are from 0, all joints as sure as can be, to 1, no
    joint found. Of height 30, as the networks that came with VL4Pose, they are from -29 to 1. Only
    the order counts, and a factor that all heatmaps share leaves it as it is; but ranks of networks
    with different targets cannot be compared. Nor need a height be calibrated: a network may be
    sure of what it has never seen.

    Cost: one pass of the pose network for each of the N images, and J numbers each.

    References
    ----------
    .. [1] Lewis and Gale, "A Sequential Algorithm for Training Text Classifiers", SIGIR 1994.
    """

    name = "confidence"
    title = "Confidence"
    needs = ("confidence",)

    def rank(
        self, pool: Pool, labelled: Pool | None = None, rng: np.random.Generator | None = None
    ) -> Float64Array:
        """Return 1 minus the mean height; NaN where that of a joint is."""
        ranks: Float64Array = 1 - np.asarray(pool["confidence"], np.float64).mean(axis=1)
        return ranks
