"""Low heatmaps, and of these such that differ: a recipe from industry."""

from __future__ import annotations

import math

import numpy as np

from vl4pose._options import flag
from vl4pose.active.k_centre import index_class
from vl4pose.active.strategies.confidence import Confidence
from vl4pose.active.strategies.core_set import farthest_first, has_embedding
from vl4pose.active.strategies.pool import Pool
from vl4pose.active.strategies.strategy import Indices, StepwiseStrategy, by_rank, checked_share

__all__ = ["KaplanLensu"]


class KaplanLensu(StepwiseStrategy):
    """Keeps the images with the lowest heatmaps, and spreads over the embeddings of these.

    Parameters
    ----------
    share : float, above 0, at most 1, default 0.2
        Of the pool, that is kept. A budget that is larger takes all of them, and the rest by the
        heatmaps alone.
    approximate : bool, default True
        Spread with an approximate-neighbour index (the extra ``ann``), as the recipe does; else
        exactly, which was faster up to 100,000 centres where we measured.

    Notes
    -----
    After Kaplan, Juvonen and Lensu [1]_, who had 1,000 images annotated a cycle for a product.
    Taken from them are the two stages, uncertainty by the heatmaps' activation and then diversity
    by approximate nearest neighbours of features, and the share of 20 %. The full text was not at
    hand, and so the rest is ours: activation is the mean of the heatmaps' maxima, as of
    `Confidence`; features are the pose network's own, where theirs are of a network that was
    trained for something else; and the images are spread by greedy k-centre around those that are
    labelled (:func:`vl4pose.active.k_centre.k_centre`, which says how its index is used). Where
    nothing is labelled it begins with the least confident image.

    Cost: one pass of the pose network for each of the N images of the pool and the M labelled ones.
    Then ``share`` N of them are looked up in the index once, and those that are far again each time
    that the radius of the choice shrinks by a twentieth; exactly, at most (M + budget) ``share`` N
    distances.

    References
    ----------
    .. [1] Kaplan, Juvonen and Lensu, "A Practical Hybrid Active Learning Approach for Human Pose
       Estimation", S+SSPR 2020.
    """

    name = "kaplan-lensu"
    title = "Kaplan-Lensu"
    needs = ("confidence", "embedding")
    needs_labelled = ("embedding",)

    def __init__(self, share: float = 0.2, approximate: bool = True) -> None:
        self.share = checked_share(share)
        self.approximate = flag(approximate, "approximate")

    def check_packages(self) -> None:
        """Raise an ImportError where it needs an index and usearch is not installed."""
        if self.approximate:
            index_class()

    def order(
        self, pool: Pool, labelled: Pool, num_images: int, rng: np.random.Generator
    ) -> Indices:
        """Return the kept images, the farthest first, and then the others by their heatmaps."""
        doubt = Confidence().rank(pool)
        ranked = by_rank(doubt)
        ranked = ranked[(~np.isnan(doubt) & has_embedding(pool))[ranked]]
        num_kept = math.ceil(self.share * len(ranked))
        spread = farthest_first(
            pool,
            labelled,
            ranked[:num_kept],
            num_images,
            approximate=self.approximate,
            seed=int(rng.integers(2**31)) if self.approximate else 0,
        )
        return np.concatenate([spread, ranked[num_kept:]])[:num_images]
