"""In which order to annotate a pool: strategies, each of which gives every row a priority."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vl4pose.active.score_columns import ScoreColumns
from vl4pose.skeleton import nearest, shown

__all__ = ["STRATEGIES", "Strategy", "parse_strategy", "priorities"]

Float64Array = npt.NDArray[np.float64]

STRATEGIES = ("likelihood", "entropy", "likelihood+entropy", "confidence", "random")
_COLUMN = "column:"
_OTHER_NAMES = {
    "score": "likelihood",
    "log-likelihood": "likelihood",
    "expected-likelihood": "likelihood",
    "multi-peak-entropy": "entropy",
    "multipeak-entropy": "entropy",
    "mpe": "entropy",
    "1-confidence": "confidence",
    "heatmap-activation": "confidence",
}


@dataclass(frozen=True)
class Strategy:
    """What to rank by.

    Attributes
    ----------
    name : str
        One of ``STRATEGIES``, or ``"column:NAME"``.
    column : str or None
        Of ``"column:NAME"``, the NAME.
    lowest_first : bool
        Of a column, whether its lowest values come first.
    """

    name: str
    column: str | None = None
    lowest_first: bool = False

    @property
    def title(self) -> str:
        """What a sentence says after "by"."""
        titles = {
            "entropy": "multi-peak entropy",
            "likelihood+entropy": "likelihood and multi-peak entropy",
            "random": "chance",
        }
        return titles.get(self.name, self.name) if self.column is None else self.column


def parse_strategy(strategy: Any, lowest_first: bool = False) -> Strategy:
    """Return the strategy of a name.

    Parameters
    ----------
    strategy : str
        One of ``STRATEGIES``, in any case, with spaces, hyphens or underscores, and by its other
        names ("multi-peak entropy", "1 - confidence"); or ``"column:NAME"``.
    lowest_first : bool
        For a column only.

    Raises
    ------
    TypeError
        ``strategy must be a name, got ...``.
    ValueError
        ``strategy must be one of ...``, with the nearest; ``lowest_first must be left out``.
    """
    if not isinstance(strategy, str):
        raise TypeError(f"strategy must be a name, got {shown(strategy)}")
    if strategy.startswith(_COLUMN):
        name = strategy.removeprefix(_COLUMN)
        if not name:
            raise ValueError(f"strategy must name a column behind '{_COLUMN}', got {strategy!r}")
        return Strategy(strategy, name, lowest_first)
    parts = [re.sub(r"[\s_-]+", "-", part.strip().lower()) for part in strategy.split("+")]
    parts = sorted({_OTHER_NAMES.get(part, part) for part in parts}, reverse=True)
    name = "+".join(parts)
    if name not in STRATEGIES:
        valid = (*STRATEGIES, f"{_COLUMN}NAME")
        raise ValueError(f"strategy must be {nearest(strategy, valid)}, got {strategy!r}")
    if lowest_first:
        raise ValueError(
            f"lowest_first must be left out with strategy {name!r}, which has a direction of its "
            f"own: it is for '{_COLUMN}NAME'"
        )
    return Strategy(name)


def priorities(strategy: Strategy, columns: ScoreColumns, rng: np.random.Generator) -> Float64Array:
    """Return how soon each row should be annotated.

    Parameters
    ----------
    strategy : Strategy
    columns : ScoreColumns
    rng : numpy.random.Generator
        For "random".

    Returns
    -------
    (N,) float64
        Higher is sooner; NaN where a row has no value to rank by:

        - "likelihood": minus the column ``score``;
        - "entropy": the column ``multi_peak_entropy``;
        - "confidence": 1 minus the mean over joints of the column ``confidence``, the highest
          pixels of the heatmaps (heatmap activation);
        - "likelihood+entropy": the mean of the ranks by both among the rows that have both, over
          their number: in (0, 1], with equal values sharing the mean of their ranks;
        - "random": a uniform draw in [0, 1);
        - "column:NAME": the column, or minus it where the lowest come first.

    Raises
    ------
    ValueError
        ``scores must have the column ...``; ``scores must be a table or arrays by name``, where one
        array cannot serve the strategy.
    """
    if columns.names is None and (strategy.column or "+" in strategy.name):
        raise ValueError(
            f"scores must be a table or arrays by name for strategy {strategy.name!r}, got one "
            "array"
        )
    if strategy.column is not None:
        values = columns.numbers(strategy.column)
        return -values if strategy.lowest_first else values
    if strategy.name == "likelihood":
        return -columns.numbers("score")
    if strategy.name == "entropy":
        return columns.numbers("multi_peak_entropy")
    if strategy.name == "confidence":
        return 1 - columns.numbers("confidence", np.mean)
    if strategy.name == "random":
        return rng.random(columns.num_rows)
    likelihood, entropy = columns.numbers("score"), columns.numbers("multi_peak_entropy")
    both = ~(np.isnan(likelihood) | np.isnan(entropy))
    out = np.full(columns.num_rows, np.nan)
    ranks = _ranks(-likelihood[both]) + _ranks(entropy[both])
    out[both] = ranks / (2 * max(len(ranks), 1))
    return out


def _ranks(values: Float64Array) -> Float64Array:
    """Return ranks from 1, the lowest value's, upwards; equal values share their mean."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean: Float64Array = (last - (counts - 1) / 2)[group.reshape(-1)]
    return mean
