"""Which labelled images an unlabelled one is like, and with what probability."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from vl4pose._options import integer, real
from vl4pose.active.k_centre import finite_rows

__all__ = ["Neighbours", "nearest_labelled", "neighbour_probabilities"]

Float64Array = npt.NDArray[np.float64]

_AT_ONCE = 2**23  # numbers
_STEPS = 100
_MAX_PERPLEXITY = 1e9
_SMALLEST_STEP = 1e-300


class Neighbours(NamedTuple):
    """The nearest labelled images of each image of a pool.

    Attributes
    ----------
    indices : (N, k) int64
        Which labelled images, the nearest first; of equally near ones the lower index. Which of
        several that are equally near is the last one is left open.
    probabilities : (N, k) float64
        They sum to 1.
    """

    indices: npt.NDArray[np.int64]
    probabilities: Float64Array


def nearest_labelled(
    embeddings: Any, labelled: Any, *, num_neighbours: int = 30, perplexity: float = 20.0
) -> Neighbours:
    """Find the nearest labelled images, and how probable it is that each is the one alike.

    Parameters
    ----------
    embeddings : (N, D) floating
        Of the pool.
    labelled : (M, D) floating
        Of the labelled images, at least one.
    num_neighbours : int, at least 1
        k; of fewer labelled images all are taken.
    perplexity : float, at least 1
        As for `neighbour_probabilities`.

    Returns
    -------
    Neighbours
        Of min(k, M) columns.

    Raises
    ------
    TypeError, ValueError
        ``embeddings must be ...``, ``labelled must be (M, D) like embeddings``, ``labelled must
        hold at least one row``, ``num_neighbours must be ...``, ``perplexity must be ...``.

    Notes
    -----
    Exact, by all N M Euclidean distances, a block of them at a time. They are computed from dot
    products in double; those of the k nearest are computed again from differences, for products
    cannot tell rows apart that are nearly the same.
    """
    rows = finite_rows(embeddings, "embeddings").astype(np.float64)
    given = finite_rows(labelled, "labelled").astype(np.float64)
    (N, D), M = rows.shape, len(given)
    if given.shape[1] != D:
        raise ValueError(f"labelled must be (M, {D}) like embeddings, got {given.shape}")
    if M == 0:
        raise ValueError("labelled must hold at least one row, got none")
    k = min(integer(num_neighbours, "num_neighbours", 1), M)
    centre = given.mean(axis=0)  # near which products lose the fewest digits
    rows, given = rows - centre, given - centre
    indices = np.empty((N, k), np.int64)
    squared = np.empty((N, k))
    lengths = np.einsum("md,md->m", given, given)
    step = max(_AT_ONCE // max(M, k * D), 1)
    for begin in range(0, N, step):
        part = rows[begin : begin + step]
        # Without the length of the pool's own row, which changes no order.
        by_product = lengths - 2 * part @ given.T
        near = np.sort(np.argpartition(by_product, k - 1, axis=1)[:, :k], axis=1)
        exact = np.square(part[:, None] - given[near]).sum(axis=-1)
        order = np.argsort(exact, axis=1, kind="stable")
        indices[begin : begin + step] = np.take_along_axis(near, order, 1)
        squared[begin : begin + step] = np.take_along_axis(exact, order, 1)
    return Neighbours(indices, neighbour_probabilities(squared, perplexity))


def neighbour_probabilities(squared_distances: Any, perplexity: float = 20.0) -> Float64Array:
    """Return probabilities of neighbours that fall with the distance, of a given perplexity.

    Parameters
    ----------
    squared_distances : (N, k) array_like
        Of each row's neighbours, at least one; finite and at least 0.
    perplexity : float, at least 1
        How many neighbours a row is to have in effect: the exponential of the entropy of its
        probabilities.

    Returns
    -------
    (N, k) float64
        Rows sum to 1. Where ``perplexity`` is k or more they are uniform. Where so many neighbours
        are equally near that no width makes so few of them count, these nearest ones share it all.

    Raises
    ------
    TypeError, ValueError
        ``squared_distances must be ...``, ``perplexity must be ...``.

    Notes
    -----
    As in t-SNE [1]_: p(j | i) is proportional to exp(-d_ij^2 / (2 sigma_i^2)), and sigma_i is found
    by bisection such that the perplexity of row i is right. The distances' unit does not matter.

    References
    ----------
    .. [1] van der Maaten and Hinton, "Visualizing Data using t-SNE", JMLR 2008.

    Examples
    --------
    >>> print(neighbour_probabilities([[1.0, 1.0, 4.0]], 2.5).round(3))
    [[0.46 0.46 0.08]]
    """
    perplexity = real(perplexity, "perplexity", 1.0, _MAX_PERPLEXITY)
    squared = np.asarray(squared_distances, np.float64)
    if squared.ndim != 2 or squared.shape[1] == 0:
        raise ValueError(
            f"squared_distances must be (N, k) with k at least 1, got shape {squared.shape}"
        )
    if not (np.isfinite(squared) & (squared >= 0)).all():
        raise ValueError("squared_distances must be finite and at least 0")
    farther = squared - squared.min(axis=1, keepdims=True)
    largest = farther.max(axis=1, keepdims=True)
    farther /= np.where(largest > 0, largest, 1.0)
    # Beside the farthest such a step is none, and its reciprocal would not fit a double.
    farther[farther < _SMALLEST_STEP] = 0.0
    is_nearest = farther == 0
    if perplexity >= squared.shape[1] or is_nearest.all():
        return np.full(squared.shape, 1 / squared.shape[1])
    target = np.log(perplexity)
    # log of 1 / (2 sigma^2) between where all neighbours count the same and where but the nearest
    # ones do, in double.
    second = np.where(is_nearest, np.inf, farther).min(axis=1, keepdims=True)
    low, high = np.full_like(second, np.log(1e-9)), np.log(800.0) - np.log(second)
    is_equal = is_nearest.all(axis=1, keepdims=True)
    low, high = np.where(is_equal, 0.0, low), np.where(is_equal, 0.0, high)
    for _ in range(_STEPS):
        middle = 0.5 * (low + high)
        _, entropy = _softmax(farther, middle)
        is_wide = entropy > target
        low, high = np.where(is_wide, middle, low), np.where(is_wide, high, middle)
    # The upper end is the narrowest, all of it on the nearest where nothing else will do.
    return _softmax(farther, high)[0]


def _softmax(farther: Float64Array, log_precision: Float64Array) -> tuple[Float64Array, Any]:
    """Return probabilities (N, k), and their entropies (N, 1) in nats."""
    logits = -farther * np.exp(log_precision)
    weights = np.exp(logits)
    total = weights.sum(axis=1, keepdims=True)
    probabilities = weights / total
    entropy = np.log(total) - (probabilities * logits).sum(axis=1, keepdims=True)
    return probabilities, entropy
