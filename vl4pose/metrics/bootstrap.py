"""Confidence intervals of means and other ratios of sums, by resampling what is summed."""

from __future__ import annotations

import math
import numbers
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vl4pose._options import choice, integer
from vl4pose.skeleton import shown

__all__ = ["METHODS", "Resampling", "checked_resampling", "ratio", "ratio_interval"]

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
        NaN where n is less than 2 or no denominator is above 0.
    """
    num_rows, num_ratios = numerators.shape
    low, high = np.full((2, num_ratios), np.nan)
    if num_rows < 2:
        return low, high
    resampled = _resampled(numerators, denominators, resampling)
    sums, counts = numerators.sum(axis=0), denominators.sum(axis=0)
    estimates = ratio(sums, counts)
    tail = (1 - resampling.level) / 2
    for column in np.flatnonzero(counts > 0):
        ratios = resampled[:, column]
        ratios = ratios[~np.isnan(ratios)]
        if not len(ratios):
            continue
        levels = (tail, 1 - tail)
        if resampling.method == "bca":
            left_out = ratio(
                sums[column] - numerators[:, column], counts[column] - denominators[:, column]
            )
            levels = _bca_levels(ratios, estimates[column], left_out[~np.isnan(left_out)], tail)
        low[column], high[column] = np.quantile(ratios, levels)
    return low, high


def _resampled(
    numerators: Float64Array, denominators: Float64Array, resampling: Resampling
) -> Float64Array:
    """Return (num_resamples, M) ratios, NaN where nothing was drawn."""
    num_rows = len(numerators)
    columns = np.concatenate([numerators, denominators], axis=1)
    generator = np.random.default_rng(resampling.seed)
    step = max(1, _MAX_DRAWS // num_rows)
    made = []
    for start in range(0, resampling.num_resamples, step):
        num = min(step, resampling.num_resamples - start)
        drawn = generator.integers(0, num_rows, (num, num_rows))
        drawn += num_rows * np.arange(num)[:, None]
        times = np.bincount(drawn.ravel(), minlength=num * num_rows).reshape(num, num_rows)
        sums, counts = np.split(times.astype(np.float64) @ columns, 2, axis=1)
        made.append(ratio(sums, counts))
    return np.concatenate(made)


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
        moved_z = bias + z / (1 - acceleration * z)
        return 0.5 if math.isnan(moved_z) else _NORMAL.cdf(moved_z)

    return moved(tail), moved(1 - tail)


def ratio(sums: Float64Array, counts: Float64Array) -> Float64Array:
    """Return sums over counts, NaN where a count is 0."""
    ratios: Float64Array = np.divide(
        sums, counts, out=np.full(np.shape(sums), np.nan), where=counts > 0
    )
    return ratios
