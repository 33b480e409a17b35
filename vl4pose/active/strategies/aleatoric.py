"""Large predicted variances first."""

from __future__ import annotations

import numpy as np

from vl4pose.active.strategies.pool import Pool
from vl4pose.active.strategies.strategy import Float64Array, Strategy

__all__ = ["Aleatoric"]


class Aleatoric(Strategy):
    """Chooses images whose keypoints a small network expects to be far off.

    Notes
    -----
    Aleatoric uncertainty of Kendall and Gal [1]_: a log-variance for each joint, learnt on the
    labelled images from the squared distance of the pose network's highest pixel to the annotation
    (:func:`vl4pose.losses.log_variance_loss`). An image's rank is the mean over its joints of the
    variance, the squared distance to expect.

    The paper predicts mean and variance with one network and has no rule for choosing images. Here
    a network of its own, `vl4pose.nn.log_variance_net.LogVarianceNet`, reads the pose network's
    features without a gradient, for the highest pixel has none.

    Cost: one pass of the pose network for each of the N images, and the small network on its
    features; once in a cycle, the latter's training on the M labelled images.

    References
    ----------
    .. [1] Kendall and Gal, "What Uncertainties Do We Need in Bayesian Deep Learning for Computer
       Vision?", NeurIPS 2017.
    """

    name = "aleatoric"
    title = "Aleatoric"
    needs = ("log_variance",)
    head = "log-variance"

    def rank(
        self, pool: Pool, labelled: Pool | None = None, rng: np.random.Generator | None = None
    ) -> Float64Array:
        """Return the mean variance over joints, in heatmap pixels squared."""
        ranks: Float64Array = np.exp(np.asarray(pool["log_variance"], np.float64)).mean(axis=1)
        return ranks
