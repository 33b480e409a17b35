"""How many labels a strategy needs for the accuracy that another one has with more."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vl4pose.simulation.seed_statistics import t_quantile

__all__ = ["LabelsSaved", "labels_saved"]

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LabelsSaved:
    """How many labels a strategy needs for the accuracy that another has after a cycle.

    Attributes
    ----------
    cycle : int
        Whose accuracy is meant, of the other strategy.
    num_labels : int
        What the other strategy needs for it.
    needed : float
        What this one needs; infinite where it does not reach it.
    low, high : float
        The interval of ``needed``; infinite where it may never be reached, NaN where there are
        fewer than two seeds.
    num_seeds, num_reached : int
        Seeds that both have, and those of them in which the strategy reaches the accuracy of the
        other in the same seed after any cycle.
    """

    cycle: int
    num_labels: int
    needed: float
    low: float
    high: float
    num_seeds: int
    num_reached: int

    @property
    def saved(self) -> float:
        """How many labels fewer it needs; minus infinity where it does not reach the accuracy."""
        return self.num_labels - self.needed

    @property
    def saved_low(self) -> float:
        """The lower end of its interval."""
        return self.num_labels - self.high

    @property
    def saved_high(self) -> float:
        """The upper end of its interval."""
        return self.num_labels - self.low


def labels_saved(
    values: npt.ArrayLike,
    versus: npt.ArrayLike,
    num_labels: Sequence[int],
    cycle: int,
    level: float = 0.95,
) -> LabelsSaved:
    """Return how many labels a strategy needs for the accuracy that another has after a cycle.

    Parameters
    ----------
    values, versus : (R, C) array_like
        Accuracies, higher being better, of the strategy and of the other, by seed and cycle.
    num_labels : sequence of C int
        Growing.
    cycle : int
        Of the other.
    level : float, default 0.95

    Returns
    -------
    LabelsSaved

    Notes
    -----
    Curves are straight between cycles. ``needed`` is where the mean curve first reaches the other's
    mean. The interval holds every number of labels at which a paired t-test cannot tell the
    strategy's accuracy from that of the other after ``cycle`` (as Fieller's intervals of ratios,
    1954), and everything between these. It is the mean curves that are compared, not the seeds' own
    crossings: a curve that does not grow crosses by chance or not at all, a mean over the seeds in
    which it happens to would be too favourable, and the interval says how little is known then.
    """
    ours, others = np.asarray(values, np.float64), np.asarray(versus, np.float64)
    away = ours - others[:, [cycle]]  # (R, C), and straight between them
    away = away[~np.isnan(away).any(axis=1)]
    labels = np.asarray(num_labels, np.float64)
    num_seeds = len(away)
    reached = int((away >= 0).any(axis=1).sum())
    needed = low = high = math.nan
    if num_seeds:
        needed = _first_reached(away.mean(axis=0), labels)
    if num_seeds >= 2:
        critical = t_quantile(num_seeds - 1, level)
        means = away.mean(axis=0)
        margins = critical * away.std(axis=0, ddof=1) / num_seeds**0.5
        low, high = _undecided(away, labels, critical) or (needed, needed)
        if means[0] > margins[0]:  # clearly there at once
            low = high = needed
        # Where the last cycle is not clearly better, the accuracy may never be reached.
        elif means[-1] < margins[-1] or means[-1] == margins[-1] != 0:
            high = math.inf
    return LabelsSaved(cycle, int(labels[cycle]), needed, low, high, num_seeds, reached)


def _first_reached(means: Float64Array, labels: Float64Array) -> float:
    """Return where a curve that is straight between its points is first at least zero."""
    above = np.flatnonzero(means >= 0)
    if not len(above):
        return math.inf
    after = int(above[0])
    if after == 0:
        return float(labels[0])
    below, step = means[after - 1], labels[after] - labels[after - 1]
    return float(labels[after - 1] + step * below / (below - means[after]))


def _undecided(
    away: Float64Array, labels: Float64Array, critical: float
) -> tuple[float, float] | None:
    """Return the ends of where a t-test cannot tell the mean of curves from zero, if anywhere.

    Between two cycles the mean of the curves is a line and their variance a parabola, so that the
    ends are roots of parabolas.
    """
    share = critical**2 / len(away)
    found: list[float] = []
    for start in range(len(labels) - 1):
        first, slope = away[:, start], away[:, start + 1] - away[:, start]
        mean, rise = first.mean(), slope.mean()
        spread, turn = first - mean, slope - rise
        var, cov, var_slope = (
            float(product.sum()) / (len(away) - 1)
            for product in (spread * spread, spread * turn, turn * turn)
        )
        # (mean + rise u)^2 - share (variance at u), by powers of u in [0, 1]
        constant = mean**2 - share * var
        linear = 2 * (mean * rise - share * cov)
        square = rise**2 - share * var_slope
        places = [u for u, f in ((0.0, constant), (1.0, constant + linear + square)) if f <= 0]
        places += [root for root in _roots(square, linear, constant) if 0 <= root <= 1]
        step = labels[start + 1] - labels[start]
        found += [float(labels[start] + step * u) for u in places]
    return (min(found), max(found)) if found else None


def _roots(square: float, linear: float, constant: float) -> list[float]:
    """Return where a parabola is zero; nowhere, where it is zero everywhere."""
    if square == 0:
        return [-constant / linear] if linear else []
    inside = linear**2 - 4 * square * constant
    if inside < 0:
        return []
    # Without a difference of nearly equal numbers.
    half = -(linear + math.copysign(math.sqrt(inside), linear)) / 2
    return [half / square, constant / half] if half else [0.0]
