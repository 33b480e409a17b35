"""Images that lie far from each other and from those that are annotated."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vl4pose.active.k_centre import finite_rows, k_centre
from vl4pose.active.strategies.pool import Pool
from vl4pose.active.strategies.strategy import Indices, StepwiseStrategy

__all__ = ["CoreSet", "farthest_first", "has_embedding", "labelled_rows"]


class CoreSet(StepwiseStrategy):
    """Chooses images so that every image is near one that is annotated.

    Notes
    -----
    The greedy choice of Sener and Savarese [1]_: always the image that is farthest from all that
    are labelled or chosen. Exact, by :func:`vl4pose.active.k_centre.k_centre`. Where nothing is
    labelled it begins with the first image.

    The paper starts from the greedy choice and betters it by mixed-integer programs that leave some
    outliers out; we stop at the greedy one, as most do who compare with it. Its distances are
    between activations of a classifier's last fully connected layer. Here they are between pooled
    features of the pose network.

    Cost: one pass of the pose network for each of the N images of the pool and the M labelled ones;
    then at most (M + budget) N distances in D dimensions, of which k-centre leaves most out.

    References
    ----------
    .. [1] Sener and Savarese, "Active Learning for Convolutional Neural Networks: A Core-Set
       Approach", ICLR 2018.
    """

    name = "core-set"
    title = "Core-Set"
    needs = ("embedding",)
    needs_labelled = ("embedding",)

    def order(
        self, pool: Pool, labelled: Pool, num_images: int, rng: np.random.Generator
    ) -> Indices:
        """Return the first images of the greedy choice, and then copies in their order."""
        return farthest_first(pool, labelled, np.flatnonzero(has_embedding(pool)), num_images)


def farthest_first(
    pool: Pool,
    labelled: Pool,
    candidates: Indices,
    num_images: int,
    *,
    approximate: bool = False,
    seed: int = 0,
) -> Indices:
    """Order images so that each is the farthest from those before it and from labelled ones.

    Parameters
    ----------
    pool, labelled : Pool
        With embeddings (N, D) and (M, D); labelled ones that are not finite are passed over.
    candidates : (n,) int64
        Images of the pool to choose from, whose embeddings are finite. Of equally far ones the
        first of them comes first, and where nothing is labelled the first of all.
    num_images : int
        How many to choose at most.
    approximate, seed
        As of :func:`vl4pose.active.k_centre.k_centre`.

    Returns
    -------
    (min(n, num_images),) int64
        Copies of labelled or chosen images come last, in the order of the candidates.
    """
    num_images = min(num_images, len(candidates))
    rows = pool["embedding"][candidates]
    centres = k_centre(
        rows,
        num_images,
        labelled=labelled_rows(labelled, rows.shape[1]),
        approximate=approximate,
        seed=seed,
    ).indices
    is_copy = np.ones(len(candidates), np.bool_)
    is_copy[centres] = False
    copies = np.flatnonzero(is_copy)[: num_images - len(centres)]
    order: Indices = candidates[np.concatenate([centres, copies])]
    return order


def labelled_rows(labelled: Pool, num_columns: int) -> npt.NDArray[Any]:
    """Return the finite embeddings (m, D) of labelled images, perhaps none.

    Raises
    ------
    TypeError, ValueError
        ``labelled embeddings must be ...``, if they are not floating or not (M, D) like the pool's.
    """
    if len(labelled) == 0:
        return np.empty((0, num_columns), np.float32)
    found = labelled["embedding"]
    if found.shape[1] != num_columns:
        raise ValueError(
            f"labelled embeddings must be (M, {num_columns}) like the pool's, got {found.shape}"
        )
    return finite_rows(found[has_embedding(labelled)], "labelled embeddings")


def has_embedding(pool: Pool) -> npt.NDArray[np.bool_]:
    """Return which images' embeddings are finite (N,)."""
    return np.asarray(np.isfinite(pool["embedding"]).all(axis=1))
