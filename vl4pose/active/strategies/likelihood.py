"""Unlikely poses first: VL4Pose."""

from __future__ import annotations

import numpy as np

from vl4pose._options import choice
from vl4pose.active.strategies.pool import Pool
from vl4pose.active.strategies.strategy import Float64Array, Strategy

__all__ = ["METHODS", "VL4Pose", "score_name"]

# "sum" is left out: it grows with the number of peaks and is no likelihood.
METHODS = ("expected", "max", "marginal")


class VL4Pose(Strategy):
    """Chooses images whose predicted pose is unlikely, given the bones that one expects.

    Parameters
    ----------
    method : {"expected", "max", "marginal"}
        Which log-likelihood of an image, as of :func:`vl4pose.score`: the expectation over the
        poses that the peaks make, that of the most probable one, or of all of them together.

    Notes
    -----
    Shukla et al. [1]_; "expected" is their Eq. 3. The others are what the released code draws poses
    by ("max"), and the likelihood proper.

    Cost: one pass of the pose network, and of the small auxiliary one on its features, for each of
    the N images; the likelihood itself took 0.1 % of that where we measured.

    References
    ----------
    .. [1] Shukla, Roy, Singh, Ahmed and Alahi, "VL4Pose: Active Learning Through
       Out-Of-Distribution Detection For Pose Estimation", BMVC 2022.
    """

    name = "vl4pose"
    title = "VL4Pose"
    head = "aux"

    def __init__(self, method: str = "expected") -> None:
        self.method = choice(method, "method", METHODS)
        self.needs = (score_name(self.method),)

    def rank(
        self, pool: Pool, labelled: Pool | None = None, rng: np.random.Generator | None = None
    ) -> Float64Array:
        """Return minus the log-likelihood, in nats."""
        return -np.asarray(pool[score_name(self.method)], np.float64)


def score_name(method: str) -> str:
    """Return what a method's log-likelihoods are called in a pool."""
    return f"score_{method}"
