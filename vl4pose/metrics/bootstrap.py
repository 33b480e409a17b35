"""Confidence intervals by resampling images: of ratios of sums, and of anything else."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterator
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vl4pose._options import choice, integer
from vl4pose.skeleton import shown

__all__ = [
    "METHODS",
    "Resampling",
    "checked_resampling",
    "draws",
    "interval_ends",
    "ratio",
    "ratio_interval",
]

Float64Array = npt.NDArray[np.float64]

METHODS = ("bca", "percentile")
_MAX_DRAWS = 2**22  # at once, which is 32 MB of indices
_NORMAL = NormalDist()


class Resampling(NamedTuple):
    """How an interval is made, checked."""

    level: float
    method: str
    num_resamples: int
    seed: int


def checked_resampling(
    level: object, method: object, num_resamples: object, seed: object
) -> Resampling:
    """Return the options of an interval, or raise ``<option> must <rule>, got <value>``."""
    if isinstance(level, bool) or not isinstance(level, numbers.Real):
        raise TypeError(f"level must be a real number, got {shown(level)}")
    if not 0 < float(level) < 1:
        raise ValueError(f"level must be above 0 and below 1, got {shown(level)}")
    return Resampling(
        float(level),
        choice(method, "method", METHODS),
        integer(num_resamples, "num_resamples", 1, 10**7),
        integer(seed, "seed", 0),
    )


def ratio_interval(
    numerators: Float64Array, denominators: Float64Array, resampling: Resampling
) -> tuple[Float64Array, Float64Array]:
    """Return intervals of M ratios of sums over n rows, resampling the rows.

    Parameters
    ----------
    numerators, denominators : (n, M) float64
        ``numerators.sum(0) / denominators.sum(0)`` is what the intervals are for.
    resampling : Resampling

    Returns
    -------
    low, high : (M,) float64
        As of `interval_ends`.
    """
    columns = np.concatenate([numerators, denominators], axis=1)
    resampled = [
        ratio(*np.split(times @ columns, 2, axis=1)) for times in draws(len(columns), resampling)
    ]
    sums, counts = numerators.sum(axis=0), denominators.sum(axis=0)
    left_out = ratio(sums - numerators, counts - denominators)
    return interval_ends(np.concatenate(resampled), ratio(sums, counts), left_out, resampling)


def draws(num_rows: int, resampling: Resampling) -> Iterator[Float64Array]:
    """Yield resamples, a few at once: how often each row was drawn, (some, num_rows)."""
    generator = np.random.default_rng(resampling.seed)
    step = max(1, _MAX_DRAWS // max(1, num_rows))
    for start in range(0, resampling.num_resamples, step):
        num = min(step, resampling.num_resamples - start)
        if not num_rows:
            yield np.zeros((num, 0))
            continue
        drawn = generator.integers(0, num_rows, (num, num_rows))
        drawn += num_rows * np.arange(num)[:, None]
        times = np.bincount(drawn.ravel(), minlength=num * num_rows).reshape(num, num_rows)
        yield times.astype(np.float64)


def interval_ends(
    resampled: Float64Array, estimates: Float64Array, left_out: Float64Array, resampling: Resampling
) -> tuple[Float64Array, Float64Array]:
    """Return the ends of the intervals of M statistics of n rows.

    Parameters
    ----------
    resampled : (num_resamples, M) float64
        NaN where a resample says nothing of a statistic.
    estimates : (M,) float64
        From all rows.
    left_out : (n, M) float64
        From all rows but one, each in turn; read by "bca" alone.
    resampling : Resampling

    Returns
    -------
    low, high : (M,) float64
        NaN where n is less than 2, or the estimate NaN.
    """
    low, high = np.full((2, len(estimates)), np.nan)
    if len(left_out) < 2:
        return low, high
    tail = (1 - resampling.level) / 2
    for column in np.flatnonzero(~np.isnan(estimates)):
        values = resampled[:, column]
        values = values[~np.isnan(values)]
        if not len(values):
            continue
        levels = (tail, 1 - tail)
        if resampling.method == "bca":
            others = left_out[:, column]
            levels = _bca_levels(values, estimates[column], others[~np.isnan(others)], tail)
        low[column], high[column] = np.quantile(values, levels)
    return low, high


def _bca_levels(
    ratios: Float64Array, estimate: np.float64, left_out: Float64Array, tail: float
) -> tuple[float, float]:
    """Return which quantiles are the ends: Efron and Tibshirani 1993, equations 14.9 to 14.15."""
    below = ((ratios < estimate).mean() + (ratios <= estimate).mean()) / 2
    smallest = 0.5 / len(ratios)  # no bias is infinite
    bias = _NORMAL.inv_cdf(min(max(float(below), smallest), 1 - smallest))
    away = left_out.mean() - left_out if len(left_out) else left_out
    spread = float((away**2).sum())
    acceleration = float((away**3).sum()) / (6 * spread**1.5) if spread > 0 else 0.0

    def moved(level: float) -> float:
        z = bias + _NORMAL.inv_cdf(level)
        slowed = 1 - acceleration * z
        return _NORMAL.cdf(bias + (z / slowed if slowed else math.copysign(math.inf, z)))

    # An acceleration beyond what the formula is for, of very few images, would turn them around.
    first, second = moved(tail), moved(1 - tail)
    return min(first, second), max(first, second)


def ratio(sums: Float64Array, counts: Float64Array) -> Float64Array:
    """Return sums over counts, NaN where a count is 0."""
    ratios: Float64Array = np.divide(
        sums, counts, out=np.full(np.shape(sums), np.nan), where=counts > 0
    )
    return ratios
