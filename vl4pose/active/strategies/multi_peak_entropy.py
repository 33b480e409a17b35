"""Heatmaps with several peaks of like height first."""

from __future__ import annotations

import numpy as np

from vl4pose.active.strategies.pool import Pool
from vl4pose.active.strategies.strategy import Float64Array, Strategy

__all__ = ["MultiPeakEntropy"]


class MultiPeakEntropy(Strategy):
    """Chooses images whose joints may be in several places.

    Notes
    -----
    The uncertainty of Liu and Ferrari [1]_: the entropy of the softmax over a heatmap's local
    maxima, summed over the joints. :func:`vl4pose.multi_peak_entropy` computes it, with as many
    peaks as are at most kept, as far apart and at the temperature that its options say.

    The paper weighs it against how much an image says of others like it, by a weight that changes
    from cycle to cycle, and asks for single body parts too. We take the entropy alone, and whole
    images, as those do who compare with it.

    Cost: one pass of the pose network for each of the N images; finding and weighing the peaks took
    0.1 % of that where we measured.

    References
    ----------
    .. [1] Liu and Ferrari, "Active Learning for Human Pose Estimation", ICCV 2017.
    """

    name = "multi-peak-entropy"
    title = "Multi-Peak Entropy"
    needs = ("multi_peak_entropy",)

    def rank(
        self, pool: Pool, labelled: Pool | None = None, rng: np.random.Generator | None = None
    ) -> Float64Array:
        """Return the entropy, in nats."""
        return np.array(pool["multi_peak_entropy"], np.float64)
