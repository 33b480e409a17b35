"""Images that would change the network most, if they were labelled as their neighbours are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vl4pose._options import integer, real
from vl4pose.active.strategies.pool import Pool
from vl4pose.active.strategies.strategy import Float64Array, Strategy
from vl4pose.skeleton import shown

__all__ = ["EGLPlusPlus"]


class EGLPlusPlus(Strategy):
    """Chooses images for which the squared length of the loss's gradient is expected to be large.

    Parameters
    ----------
    num_neighbours : int, at least 1
        Labelled images whose poses an image's own may be like, k.
    perplexity : float, at least 1
        How many of them count in effect.
    parameters : str or sequence of str, default "all"
        By which of the network's parameters the gradient is: "all", "last" for those of its last
        layer, or names.
    num_probes : int, at least 1, or None
        Combinations of neighbours that the spread of their gradients is estimated from; None takes
        every neighbour.

    Raises
    ------
    TypeError, ValueError
        ``num_neighbours must be ...``, ``perplexity must be ...``, ``parameters must be ...``,
        ``num_probes must be ...``.

    Notes
    -----
    EGL++ of Shukla [1]_: the label of an image is not known, but those of the labelled images that
    are near it in feature space are. Each of the k nearest has a probability, which falls with its
    distance as in t-SNE, at a width that makes the perplexity right
    (:func:`vl4pose.active.neighbours.nearest_labelled`). The rank is the expectation over them of
    the squared length of the gradient of the heatmaps' loss, if the image had that neighbour's pose
    (:func:`vl4pose.simulation.gradient_length.expected_squared_gradient_length`). Features are the
    pooled ones of the pose network.

    The mean of the neighbours' gradients is exact and their spread about it an estimate, for a pass
    back through the whole network for each of k neighbours takes long. With "last" all is exact and
    nearly free, but prefers images that the network is sure of. On the network that we tried, ranks
    by all parameters said as good as nothing of the error (the function has the numbers).

    Cost: two passes of the pose network for each of the N images of the pool, one for the M
    labelled ones, and N M distances; then, for each of the N, 5 passes back by all parameters, or
    products of k J heatmaps with the last layer's C features.

    References
    ----------
    .. [1] Shukla, "Bayesian Uncertainty and Expected Gradient Length - Regression: Two Sides Of The
       Same Coin?", WACV 2022.
    """

    name = "egl++"
    title = "EGL++"
    needs = ("squared_gradient_length",)

    def __init__(
        self,
        *,
        num_neighbours: int = 30,
        perplexity: float = 20.0,
        parameters: str | Sequence[str] = "all",
        num_probes: int | None = 4,
    ) -> None:
        self.num_neighbours = integer(num_neighbours, "num_neighbours", 1)
        self.perplexity = real(perplexity, "perplexity", 1.0, 1e9)
        if not isinstance(parameters, str):
            if not isinstance(parameters, Sequence) or not all(
                isinstance(name, str) for name in parameters
            ):
                raise TypeError(f"parameters must be names, got {shown(parameters)}")
            parameters = list(parameters)
        self.parameters = parameters
        self.num_probes = None if num_probes is None else integer(num_probes, "num_probes", 1)
        self.observation_options = {
            "squared_gradient_length": {
                "num_neighbours": self.num_neighbours,
                "perplexity": self.perplexity,
                "parameters": self.parameters,
                "num_probes": self.num_probes,
            }
        }

    def rank(
        self, pool: Pool, labelled: Pool | None = None, rng: np.random.Generator | None = None
    ) -> Float64Array:
        """Return the expected squared lengths."""
        return np.array(pool["squared_gradient_length"], np.float64)
