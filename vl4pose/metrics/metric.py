"""What every metric returns: values of images and joints, their means, and intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from vl4pose._options import flag
from vl4pose.metrics.bootstrap import checked_resampling, ratio, ratio_interval

__all__ = ["Interval", "Metric"]

Float64Array = npt.NDArray[np.float64]


class Interval(NamedTuple):
    """A confidence interval.

    Attributes
    ----------
    low, high : float or float64 array
        Its ends, in the shape of what it is for; NaN where fewer than two images count.
    level : float
        The confidence, between 0 and 1.
    method : str
        "bca" or "percentile".
    """

    low: Any
    high: Any
    level: float
    method: str


@dataclass(frozen=True, eq=False, repr=False)
class Metric:
    """A metric of N images and K joints (of K links for PCP), maybe at T thresholds.

    Attributes
    ----------
    name : str
        "PCK", "OKS", ...
    parts : tuple of K str
        Names of the joints or links.
    values : (N, K) or (T, N, K) array
        What is averaged: 1 for right and 0 for wrong, a similarity, or a distance.
    counted : (N, K) bool
        Which of them are; the others hold nothing of meaning.
    average : {"joints", "images"}
        The mean is that of all joints that count, or of the images' own means.
    """

    name: str
    parts: tuple[str, ...]
    values: npt.NDArray[Any]
    counted: npt.NDArray[np.bool_]
    average: Literal["joints", "images"] = "joints"

    @property
    def per_joint(self) -> Float64Array:
        """Mean of each joint (for PCP of each link), (K,) or (T, K); NaN for those never seen."""
        return ratio(*(sums.sum(axis=-2) for sums in self._of_joints()))

    @property
    def mean(self) -> Any:
        """Mean over joints or images: a float, or (T,); NaN where nothing counts."""
        return _plain(ratio(*(sums.sum(axis=-1) for sums in self._of_images())))

    @property
    def count(self) -> npt.NDArray[np.int64]:
        """In how many images each joint counts, (K,)."""
        return np.asarray(self.counted.sum(axis=0), np.int64)

    @property
    def num_images(self) -> int:
        """How many images have a joint that counts."""
        return int(self.counted.any(axis=1).sum())

    def __repr__(self) -> str:
        """Return the mean and what it is of, not the values."""
        mean = np.array2string(np.asarray(self.mean), precision=4)
        parts = f"{len(self.parts)} {'links' if self.name.startswith('PCP') else 'joints'}"
        return f"<Metric {self.name}: mean {mean}, {parts}, {self.num_images} images>"

    def interval(
        self,
        level: float = 0.95,
        *,
        per_joint: bool = False,
        method: Literal["bca", "percentile"] = "bca",
        num_resamples: int = 10_000,
        seed: int = 0,
    ) -> Interval:
        """Return a bootstrap confidence interval of the mean, or of each joint's.

        Parameters
        ----------
        level : float
            Confidence, above 0 and below 1.
        per_joint : bool
            Of ``per_joint`` instead of ``mean``.
        method : {"bca", "percentile"}
            Bias-corrected and accelerated, or quantiles of the resampled means.
        num_resamples : int
            How often as many images as there are, of those that count, are drawn with replacement.
        seed : int
            Of ``numpy.random.default_rng``. The same seed draws the same images.

        Returns
        -------
        Interval
            Of floats, or of arrays in the shape of what it is for.

        Raises
        ------
        TypeError, ValueError
            ``level must be above 0 and below 1``, ``method must be one of ...``,
            ``num_resamples must be ...``, ``seed must be ...``.

        Notes
        -----
        Images are drawn, not joints: the joints of one person are not independent. Resamples in
        which a joint is never annotated say nothing of it and are left out. Where all images
        agree, the interval is a point. After Efron, Better bootstrap confidence intervals, JASA
        1987, and Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 13 and 14,
        as ``scipy.stats.bootstrap``. People of one photograph are taken for independent.
        """
        resampling = checked_resampling(level, method, num_resamples, seed)
        sums, counts = self._of_joints() if flag(per_joint, "per_joint") else self._of_images()
        images_last = sums.ndim - 2 if per_joint else sums.ndim - 1
        sums, counts = (np.moveaxis(array, images_last, 0) for array in (sums, counts))
        shape = sums.shape[1:]
        used = self.counted.any(axis=1)
        rows = (self.num_images, math.prod(shape))
        low, high = ratio_interval(sums[used].reshape(rows), counts[used].reshape(rows), resampling)
        low, high = (_plain(end.reshape(shape)) for end in (low, high))
        return Interval(low, high, resampling.level, resampling.method)

    def difference(self, other: Metric) -> Metric:
        """Return this less another method's result on the same images, as a metric of its own.

        Its mean is the difference of the means, and its interval the paired one: both methods are
        resampled together, so that what makes an image hard for both cancels. Two methods differ at
        the given confidence where the interval leaves out 0.

        Parameters
        ----------
        other : Metric
            The same metric, of the same images, annotations and thresholds.

        Raises
        ------
        TypeError
            ``other must be a Metric``.
        ValueError
            ``other must be of the same metric, images and annotations``, saying what differs.
        """
        if not isinstance(other, Metric):
            raise TypeError(f"other must be a Metric, got {type(other).__name__}")
        rule = "other must be of the same metric, images and annotations"
        for what in ("name", "average", "parts"):
            mine, theirs = getattr(self, what), getattr(other, what)
            if mine != theirs:
                raise ValueError(f"{rule}, got {what} {theirs!r} beside {mine!r}")
        if self.values.shape != other.values.shape:
            raise ValueError(f"{rule}, got {other.values.shape} values beside {self.values.shape}")
        if not np.array_equal(self.counted, other.counted):
            differing = int((self.counted != other.counted).any(axis=1).sum())
            raise ValueError(f"{rule}, got {differing} images in which other joints count")
        pair = (np.where(self.counted, np.asarray(m.values, np.float64), 0) for m in (self, other))
        values = np.subtract(*pair)
        return Metric(f"{self.name} difference", self.parts, values, self.counted, self.average)

    def _of_joints(self) -> tuple[Float64Array, Float64Array]:
        """Return values and how often they count, (..., N, K)."""
        values = np.where(self.counted, self.values, 0).astype(np.float64)
        return values, np.broadcast_to(self.counted, values.shape).astype(np.float64)

    def _of_images(self) -> tuple[Float64Array, Float64Array]:
        """Return sums over the joints and how many they are sums of, (..., N)."""
        sums = np.where(self.counted, self.values, 0).sum(axis=-1, dtype=np.float64)
        counts = np.broadcast_to(self.counted.sum(axis=-1), sums.shape).astype(np.float64)
        if self.average == "joints":
            return sums, counts
        return np.divide(sums, np.maximum(counts, 1)), (counts > 0).astype(np.float64)


def _plain(array: Float64Array) -> Any:
    """Return an array of one number and no axes as a float."""
    return array if array.ndim else float(array)
