"""Images on which thinned copies of the network disagree."""

from __future__ import annotations

import numpy as np

from vl4pose._options import integer, real
from vl4pose.active.k_centre import finite_rows
from vl4pose.active.strategies.core_set import has_embedding, labelled_rows
from vl4pose.active.strategies.pool import Pool
from vl4pose.active.strategies.strategy import Float64Array, Indices, StepwiseStrategy, Strategy

__all__ = ["MCDCKE", "MCDropout"]

_AT_ONCE = 2**23  # numbers


class _Sampled(Strategy):
    """What needs the predictive variance."""

    head = "log-variance"

    def __init__(self, *, num_samples: int = 30, dropout_rate: float = 0.3) -> None:
        self.num_samples = integer(num_samples, "num_samples", 2)
        self.dropout_rate = real(dropout_rate, "dropout_rate", 0.0, 0.99)
        self.observation_options = {
            "predictive_variance": {
                "num_samples": self.num_samples,
                "dropout_rate": self.dropout_rate,
            }
        }


class MCDropout(_Sampled):
    """Chooses images whose keypoints are uncertain to a network with dropout.

    Parameters
    ----------
    num_samples : int, at least 2
        Samples, each with other channels dropped, T.
    dropout_rate : float, 0 to 0.99
        How likely each channel is to be dropped.

    Raises
    ------
    TypeError, ValueError
        ``num_samples must be ...``, ``dropout_rate must be ...``.

    Notes
    -----
    Monte Carlo dropout of Gal and Ghahramani [1]_. A joint's predictive variance is that of Kendall
    and Gal [2]_: the mean over T samples of the keypoint's square, less the square of its mean, and
    the mean of the variances that a small network predicts from the same samples' features, as for
    `Aleatoric`. It is summed over x and y. An image's rank is its mean over joints.

    The papers train the network with dropout, before every layer. Ours is trained without, so that
    all strategies can share it; channels are dropped for this variance alone, and before the last
    layer alone, for what was not trained to it breaks down otherwise:
    :func:`vl4pose.simulation.predictive_variance.predictive_variance` has the numbers. There the
    predicted variance is the same in all samples.

    Cost: one pass of the pose network for each of the N images and T of its last layer, and the
    small network on its features; once in a cycle, the latter's training on the M labelled images.

    References
    ----------
    .. [1] Gal and Ghahramani, "Dropout as a Bayesian Approximation: Representing Model Uncertainty
       in Deep Learning", ICML 2016.
    .. [2] Kendall and Gal, "What Uncertainties Do We Need in Bayesian Deep Learning for Computer
       Vision?", NeurIPS 2017.
    """

    name = "mc-dropout"
    title = "MC Dropout"
    needs = ("predictive_variance",)

    def rank(
        self, pool: Pool, labelled: Pool | None = None, rng: np.random.Generator | None = None
    ) -> Float64Array:
        """Return the mean predictive variance over joints, in heatmap pixels squared."""
        ranks: Float64Array = _mean_variance(pool)
        return ranks


class MCDCKE(_Sampled, StepwiseStrategy):
    """Chooses images that are both uncertain, as by `MCDropout`, and far from each other.

    Parameters
    ----------
    num_samples, dropout_rate
        As for `MCDropout`.

    Raises
    ------
    TypeError, ValueError
        ``num_samples must be ...``, ``dropout_rate must be ...``.

    Notes
    -----
    After Caramalau, Bhattarai and Kim [1]_, who join the uncertainty of a Bayesian network to the
    k-centre greedy choice of Core-Set, for hands. How their rule weighs the two we could not
    verify, so this is the idea and not the rule. Ours is the weighted k-centre problem [2]_, solved
    greedily: always the image whose distance from all that are labelled or chosen, times its
    standard deviation (the root of the mean predictive variance over joints), is the largest. It
    has no weight to choose, and neither the unit of the embeddings nor that of the variance
    matters. Of equal ones the first is chosen; where nothing is labelled, the most uncertain one
    comes first. Images for which this is 0, such as copies, come last, in their order.

    Cost: as for `MCDropout`, one more pass of the pose network for each of the N and of the M
    labelled images, and (M + budget) N distances in D dimensions.

    References
    ----------
    .. [1] Caramalau, Bhattarai, Kim, "Active Learning for Bayesian 3D Hand Pose Estimation",
       WACV 2021.
    .. [2] Dyer and Frieze, "A simple heuristic for the p-centre problem", Operations Research
       Letters 1985.
    """

    name = "mcd-cke"
    title = "MCD-CKE"
    needs = ("predictive_variance", "embedding")
    needs_labelled = ("embedding",)

    def order(
        self, pool: Pool, labelled: Pool, num_images: int, rng: np.random.Generator
    ) -> Indices:
        """Return the first images of the greedy choice."""
        variance = _mean_variance(pool)
        is_ranked = has_embedding(pool) & np.isfinite(variance)
        candidates = np.flatnonzero(is_ranked)
        rows = finite_rows(pool["embedding"][candidates], "embedding").astype(np.float64)
        deviation = np.sqrt(np.maximum(variance[candidates], 0.0))
        # Where nothing is labelled, all are equally far from it, and then from the first choice.
        nearest, is_first = np.ones(len(rows)), True
        given = labelled_rows(labelled, rows.shape[1])
        if len(given) > 0:
            nearest, is_first = _nearest(rows, given.astype(np.float64)), False
        chosen = np.empty(min(num_images, len(rows)), np.int64)
        is_left = np.ones(len(rows), np.bool_)
        for i in range(len(chosen)):
            chosen[i] = np.argmax(np.where(is_left, nearest * deviation, -1.0))
            is_left[chosen[i]] = False
            distance = np.sqrt(np.square(rows - rows[chosen[i]]).sum(axis=1))
            nearest = distance if is_first else np.minimum(nearest, distance)
            is_first = False
        order: Indices = candidates[chosen]
        return order


def _mean_variance(pool: Pool) -> Float64Array:
    variance: Float64Array = np.asarray(pool["predictive_variance"], np.float64).mean(axis=1)
    return variance


def _nearest(rows: Float64Array, given: Float64Array) -> Float64Array:
    """Return how far each row is from the nearest given one."""
    centre = given.mean(axis=0)  # near which products lose the fewest digits
    rows, given = rows - centre, given - centre
    lengths = np.einsum("md,md->m", given, given)
    nearest = np.empty(len(rows))
    step = max(_AT_ONCE // len(given), 1)
    for begin in range(0, len(rows), step):
        part = rows[begin : begin + step]
        index = np.argmin(lengths - 2 * part @ given.T, axis=1)
        nearest[begin : begin + step] = np.sqrt(np.square(part - given[index]).sum(axis=1))
    return nearest
