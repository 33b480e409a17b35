"""Images that would change the network most, if they were labelled as their neighbours are."""

from __future__ import annotations

import numpy as np

from vl4pose._options import integer, real
from vl4pose.active.strategies.pool import Pool
from vl4pose.active.strategies.strategy import Float64Array, Strategy

__all__ = ["EGLPlusPlus"]


class EGLPlusPlus(Strategy):
    """Chooses images for which the squared length of the loss's gradient is expected to be large.

    Parameters
    ----------
    num_neighbours : int, at least 1
        Labelled images whose poses an image's own may be like, k.
    perplexity : float, at least 1
        How many of them count in effect.

    Raises
    ------
    TypeError, ValueError
        ``num_neighbours must be ...``, ``perplexity must be ...``.

    Notes
    -----
    EGL++ of Shukla [1]_: the label of an image is not known, but those of the labelled images that
    are near it in feature space are. Each of the k nearest has a probability, which falls with its
    distance as in t-SNE, at a width that makes the perplexity right
    (:func:`vl4pose.active.neighbours.nearest_labelled`). The rank is the expectation over them of
    the squared length of the gradient of the heatmaps' loss, if the image had that neighbour's pose
    (:func:`vl4pose.simulation.gradient_length.expected_squared_gradient_length`). Features are the
    pooled ones of the pose network.

    Gradients are taken by the weights of the network's last layer, those that the heatmaps come out
    of, and not by all of them: that is exact for these weights, and takes one pass of the network
    for an image where all weights take k passes back through it.

    Cost: one pass of the pose network for each of the N images of the pool and the M labelled ones;
    N M distances; then, for each of the N, products of k J heatmaps with the last layer's C
    features.

    References
    ----------
    .. [1] Shukla, "Bayesian Uncertainty and Expected Gradient Length - Regression: Two Sides Of The
       Same Coin?", WACV 2022.
    """

    name = "egl++"
    title = "EGL++"
    needs = ("squared_gradient_length",)

    def __init__(self, *, num_neighbours: int = 30, perplexity: float = 20.0) -> None:
        self.num_neighbours = integer(num_neighbours, "num_neighbours", 1)
        self.perplexity = real(perplexity, "perplexity", 1.0, 1e9)
        self.observation_options = {
            "squared_gradient_length": {
                "num_neighbours": self.num_neighbours,
                "perplexity": self.perplexity,
            }
        }

    def rank(
        self, pool: Pool, labelled: Pool | None = None, rng: np.random.Generator | None = None
    ) -> Float64Array:
        """Return the expected squared lengths."""
        return np.array(pool["squared_gradient_length"], np.float64)
