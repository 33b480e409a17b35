"""Unlikely poses of a part of the pool that was chosen for something else."""

from __future__ import annotations

import math

import numpy as np

from vl4pose._options import choice
from vl4pose.active.strategies.core_set import farthest_first, has_embedding
from vl4pose.active.strategies.likelihood import VL4Pose
from vl4pose.active.strategies.pool import Pool
from vl4pose.active.strategies.strategy import Indices, StepwiseStrategy, by_rank, checked_share

__all__ = ["PREFILTERS", "VL4PosePrefiltered"]

PREFILTERS = ("random", "core-set")


class VL4PosePrefiltered(StepwiseStrategy):
    """Chooses unlikely poses of a part of the pool, so that they are not all alike.

    Parameters
    ----------
    prefilter : {"random", "core-set"}
        The part is a simple random sample, or the first choices of k-centre greedy around the
        labelled images.
    share : float, above 0, at most 1, default 0.5
        Of the images that can be ranked, that pass. A budget that is larger takes all of them, and
        then the least likely of the others.
    method : {"expected", "max", "marginal"}
        As of `VL4Pose`.

    Notes
    -----
    VL4Pose [1]_ ranks hands in this way. Frames of a video are alike, and so are their likelihoods:
    the least likely ones are easily frames of one moment, from which one learns the same thing. How
    large the part is, and that k-centre begins around the labelled images, is our choice.

    Cost: that of `VL4Pose`, which the pool is asked for as a whole; by "core-set" also passes for
    the M labelled images, and at most (M + ``share`` N) N distances.

    References
    ----------
    .. [1] Shukla, Roy, Singh, Ahmed and Alahi, "VL4Pose: Active Learning Through
       Out-Of-Distribution Detection For Pose Estimation", BMVC 2022.
    """

    name = "vl4pose-prefiltered"
    title = "VL4Pose, pre-filtered"
    head = "aux"

    def __init__(
        self, prefilter: str = "random", share: float = 0.5, method: str = "expected"
    ) -> None:
        self.prefilter = choice(prefilter, "prefilter", PREFILTERS)
        self.share = checked_share(share)
        self._likelihood = VL4Pose(method)
        self.method = self._likelihood.method
        self.needs = self._likelihood.needs
        if self.prefilter == "core-set":
            self.needs = (*self.needs, "embedding")
            self.needs_labelled = ("embedding",)

    def order(
        self, pool: Pool, labelled: Pool, num_images: int, rng: np.random.Generator
    ) -> Indices:
        """Return those that pass, the least likely first, and then the others in the same way."""
        unlikely = self._likelihood.rank(pool)
        can_be_ranked = ~np.isnan(unlikely)
        if self.prefilter == "core-set":
            can_be_ranked &= has_embedding(pool)
        candidates = np.flatnonzero(can_be_ranked)
        num_passing = math.ceil(self.share * len(candidates))
        if self.prefilter == "core-set":
            passing = farthest_first(pool, labelled, candidates, num_passing)
        else:
            passing = rng.choice(candidates, num_passing, replace=False)
        passes = np.zeros(len(pool), np.bool_)
        passes[passing] = True
        ranked = by_rank(np.where(can_be_ranked, unlikely, np.nan))[: len(candidates)]
        return np.concatenate([ranked[passes[ranked]], ranked[~passes[ranked]]])[:num_images]
