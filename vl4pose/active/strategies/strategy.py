"""What all strategies have in common: which of a pool's images should be annotated next."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from vl4pose._options import integer
from vl4pose.active.strategies.pool import Pool

__all__ = ["Strategy"]

Float64Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


class Strategy(ABC):
    """Chooses images of a pool for annotation.

    Attributes
    ----------
    name : str
        As configurations and tables call it: "core-set".
    title : str
        As figures call it: "Core-Set".
    needs : collection of str
        What it asks of the pool, by the names of `vl4pose.active.strategies.pool.ARRAYS`.
    needs_labelled : collection of str
        What it asks of the labelled images.
    head : str or None
        The small network that must be trained beside the pose network for what it needs, a key of
        ``vl4pose.simulation.heads.HEADS``.
    dropout : bool
        Whether the pose network must have dropout for it.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    needs: Collection[str] = ()
    needs_labelled: Collection[str] = ()
    head: ClassVar[str | None] = None
    dropout: ClassVar[bool] = False

    @abstractmethod
    def rank(
        self, pool: Pool, labelled: Pool | None = None, rng: np.random.Generator | None = None
    ) -> Float64Array:
        """Return how soon each image of the pool should be annotated.

        Parameters
        ----------
        pool : Pool
            N images without annotations.
        labelled : Pool, optional
            Those that are annotated, for strategies that look at them.
        rng : numpy.random.Generator, optional
            For strategies that draw.

        Returns
        -------
        (N,) float64
            Higher is sooner; NaN of an image that cannot be ranked.
        """

    def select(self, pool: Pool, labelled: Pool, budget: int, rng: np.random.Generator) -> Indices:
        """Return the images to annotate next.

        Parameters
        ----------
        pool : Pool
            N images without annotations.
        labelled : Pool
            Those that are annotated.
        budget : int, 0 to N
            How many to choose.
        rng : numpy.random.Generator

        Returns
        -------
        (budget,) int64
            Different indices into the pool, the most urgent first. Of equal ranks the lower index
            comes first; images that cannot be ranked come last.

        Raises
        ------
        ValueError
            ``budget must ...``.
        """
        budget = checked_budget(budget, pool)
        return np.argsort(-self.rank(pool, labelled, rng), kind="stable")[:budget]


def checked_budget(budget: object, pool: Pool) -> int:
    """Return a budget that the pool can fill, or raise ``budget must ...``."""
    number = integer(budget, "budget", 0)
    if number > len(pool):
        raise ValueError(f"budget must be at most the pool's {len(pool)} images, got {number}")
    return number
