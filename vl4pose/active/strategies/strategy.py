"""What all strategies have in common: which of a pool's images should be annotated next."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from vl4pose._options import integer
from vl4pose.active.strategies.pool import Pool
from vl4pose.skeleton import shown

__all__ = ["StepwiseStrategy", "Strategy", "by_rank", "checked_budget", "checked_share"]

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
    observation_options : mapping of str to mapping
        Of arrays that it needs and that are observed with options of its own, by their names: what
        the function that observes the array is to be called with. Another strategy's array of the
        same name is another one, then.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    needs: Collection[str] = ()
    needs_labelled: Collection[str] = ()
    head: ClassVar[str | None] = None
    observation_options: Mapping[str, Mapping[str, Any]] = MappingProxyType({})

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
            For strategies that draw; by default a new one, whose draws nothing repeats.

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
        self.prepare(pool, labelled)
        return by_rank(self.rank(pool, labelled, rng))[:budget]

    def check_packages(self) -> None:  # noqa: B027 (most need none)
        """Raise an ImportError where a package is missing that `select` will need.

        For who wants to know before networks are trained.
        """

    def prepare(self, pool: Pool, labelled: Pool | None = None) -> None:
        """Have networks look at the images once, for all that the strategy needs.

        `select` does so. Before `rank` it saves passes where a pool is observed and the strategy
        needs several arrays.
        """
        pool.prepare(self.needs)
        if labelled is not None and len(labelled) > 0:
            labelled.prepare(self.needs_labelled)


class StepwiseStrategy(Strategy):
    """Chooses images one after the other, each in view of those that were chosen before it."""

    @abstractmethod
    def order(
        self, pool: Pool, labelled: Pool, num_images: int, rng: np.random.Generator
    ) -> Indices:
        """Return the images that it chooses first.

        Parameters
        ----------
        pool : Pool
            N images without annotations.
        labelled : Pool
            Those that are annotated, perhaps none.
        num_images : int, 0 to N
            How many to choose. More of them begin with the same ones.
        rng : numpy.random.Generator

        Returns
        -------
        (n,) int64
            Different indices into the pool; fewer than ``num_images`` where the others cannot be
            ranked.
        """

    def rank(
        self, pool: Pool, labelled: Pool | None = None, rng: np.random.Generator | None = None
    ) -> Float64Array:
        """Return ranks: n for the first image, 1 for the last of the n that can be ranked.

        It chooses the whole pool for that, where `select` stops at the budget.
        """
        known = Pool(0) if labelled is None else labelled
        self.prepare(pool, known)
        order = self.order(pool, known, len(pool), np.random.default_rng(rng))
        ranks = np.full(len(pool), np.nan)
        ranks[order] = np.arange(len(order), 0, -1)
        return ranks

    def select(self, pool: Pool, labelled: Pool, budget: int, rng: np.random.Generator) -> Indices:
        """Return the images to annotate next, as `Strategy.select` does."""
        budget = checked_budget(budget, pool)
        self.prepare(pool, labelled)
        first = self.order(pool, labelled, budget, np.random.default_rng(rng))[:budget]
        is_left = np.ones(len(pool), np.bool_)
        is_left[first] = False
        return np.concatenate([first, np.flatnonzero(is_left)[: budget - len(first)]])


def by_rank(ranks: Float64Array) -> Indices:
    """Return indices, the highest rank's first; of equal ranks the lower one, NaN last."""
    return np.argsort(-ranks, kind="stable")


def checked_budget(budget: object, pool: Pool) -> int:
    """Return a budget that the pool can fill, or raise ``budget must ...``."""
    number = integer(budget, "budget", 0)
    if number > len(pool):
        raise ValueError(f"budget must be at most the pool's {len(pool)} images, got {number}")
    return number


def checked_share(share: object) -> float:
    """Return a share of a pool, or raise ``share must ...``."""
    if isinstance(share, bool) or not isinstance(share, int | float | np.integer | np.floating):
        raise TypeError(f"share must be a number, got {shown(share)}")
    if not 0 < share <= 1:
        raise ValueError(f"share must be greater than 0 and at most 1, got {shown(share)}")
    return float(share)
