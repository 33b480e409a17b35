"""How scores are distributed, on an axis on which a few very low ones leave the others room."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["ScoreHistogram", "score_histogram"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_NUM_TICKS = 6
# Ranges of more times the distance between the quartiles are compressed.
_LONG_RANGE = 8.0


@dataclass(frozen=True)
class ScoreHistogram:
    """Counts of scores in bins.

    Attributes
    ----------
    edges : (N + 1,) float64
        Scores between the bins.
    counts, selected : (N,) int64
        How many scores a bin holds, and how many of them are selected.
    ticks : list of (float, float)
        Round scores, and where on the axis each is, from 0 at the first edge to 1 at the last; the
        bins are equally wide on it.
    compressed : bool
        Whether the axis is linear about the median and logarithmic far from it. Otherwise it is
        linear.
    """

    edges: FloatArray
    counts: IntArray
    selected: IntArray
    ticks: list[tuple[float, float]]
    compressed: bool


def score_histogram(
    scores: npt.ArrayLike, selected: npt.ArrayLike | None = None, num_bins: int = 40
) -> ScoreHistogram:
    """Count scores.

    Parameters
    ----------
    scores : (N,) array_like
        Those that are not finite are left out.
    selected : (N,) array_like of bool, optional
    num_bins : int, default 40

    Raises
    ------
    ValueError
        ``scores must hold a finite number, got none of ...``, ``selected must be (N,)``.

    Notes
    -----
    Where the scores reach more than 8 times as far as the middle half of them, the axis is
    asinh((score - median) / half the distance between the quartiles).
    """
    values = np.asarray(scores, np.float64).ravel()
    chosen = np.zeros(len(values), bool) if selected is None else np.asarray(selected, bool)
    if chosen.shape != values.shape:
        raise ValueError(f"selected must be (N,) = {values.shape}, got {chosen.shape}")
    finite = np.isfinite(values)
    chosen, values = chosen[finite], values[finite]
    if not len(values):
        raise ValueError(f"scores must hold a finite number, got none of {len(finite)}")
    low, high = float(values.min()), float(values.max())
    if low == high:
        room = max(abs(low), 1.0) * 0.05
        low, high = low - room, high + room
    lower, median, upper = np.percentile(values, [25, 50, 75])
    spread = (upper - lower) / 2
    compressed = bool(0 < 2 * spread * _LONG_RANGE < high - low)

    def place(score: FloatArray) -> FloatArray:
        placed: FloatArray = np.arcsinh((score - median) / spread) if compressed else score
        return placed

    def score_at(placed: FloatArray) -> FloatArray:
        score: FloatArray = median + spread * np.sinh(placed) if compressed else placed
        return score

    first, last = place(np.array([low, high]))
    edges = score_at(np.linspace(first, last, num_bins + 1))
    edges[0], edges[-1] = low, high  # exactly, so that no score falls out by rounding
    counts, _ = np.histogram(values, edges)
    picked, _ = np.histogram(values[chosen], edges)
    ticks = _spread_ticks(first, last, score_at) if compressed else _even_ticks(low, high)
    ticks = [tick for tick in ticks if low <= tick <= high]
    where = (place(np.array(ticks)) - first) / (last - first)
    return ScoreHistogram(
        edges, counts, picked, list(zip(ticks, where.tolist(), strict=True)), compressed
    )


def _even_ticks(low: float, high: float) -> list[float]:
    raw = (high - low) / _NUM_TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))
    return [i * step for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _spread_ticks(
    first: float, last: float, score_at: Callable[[FloatArray], FloatArray]
) -> list[float]:
    """Return rounded scores that are about equally far from each other on the axis."""
    scores = score_at(np.linspace(first, last, _NUM_TICKS + 1)).tolist()
    gaps = np.diff(scores)
    near = np.minimum(np.append(gaps, np.inf), np.insert(gaps, 0, np.inf))
    # To a power of ten below the distance to the neighbours: -340.7 among hundreds is -300.
    steps = [10.0 ** math.floor(math.log10(gap)) for gap in near]
    ticks = {round(score / step) * step for score, step in zip(scores, steps, strict=True)}
    # The ends are rounded inwards.
    ticks.add(math.ceil(scores[0] / steps[0]) * steps[0])
    ticks.add(math.floor(scores[-1] / steps[-1]) * steps[-1])
    return sorted(ticks)
