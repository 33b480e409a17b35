"""In which order to annotate the rows of a table: by strategies that need its columns alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vl4pose.active.score_columns import ScoreColumns
from vl4pose.active.strategies.pool import Pool
from vl4pose.active.strategies.registry import STRATEGIES, make_strategy, spelled
from vl4pose.skeleton import nearest, shown

__all__ = ["RANKINGS", "Ranking", "parse_strategy", "priorities"]

Float64Array = npt.NDArray[np.float64]

# What ranks by each name is the strategy of :mod:`vl4pose.active.strategies` behind it. The names
# are of what the columns say: which of its likelihoods VL4Pose ranks by was settled at scoring.
_STRATEGIES = {
    "likelihood": "vl4pose",
    "entropy": "multi-peak-entropy",
    "likelihood+entropy": "vl4pose+entropy",
    "confidence": "confidence",
    "random": "random",
}
RANKINGS = tuple(_STRATEGIES)
_COLUMN = "column:"
_OTHER_NAMES = {
    "score": "likelihood",
    "log-likelihood": "likelihood",
    "expected-likelihood": "likelihood",
    "vl4pose": "likelihood",
    "multi-peak-entropy": "entropy",
    "multipeak-entropy": "entropy",
    "mpe": "entropy",
    "1-confidence": "confidence",
    "heatmap-activation": "confidence",
}
# Strategies whose second step is an option of its own.
_IN_OTHER_WORDS = {
    "core-set": ": that is diversity 'k-centre' with a shortlist of 1.0",
    "kaplan-lensu": ": that is strategy 'confidence' with diversity 'k-centre'",
}


@dataclass(frozen=True)
class Ranking:
    """What to rank rows by.

    Attributes
    ----------
    name : str
        One of ``RANKINGS``, or ``"column:NAME"``.
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


def parse_strategy(strategy: Any, lowest_first: bool = False) -> Ranking:
    """Return the ranking by a strategy of a name.

    Parameters
    ----------
    strategy : str
        One of ``RANKINGS``, in any case, with spaces, hyphens or underscores, and by its other
        names ("multi-peak entropy", "VL4Pose", "1 - confidence"); or ``"column:NAME"``.
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
        return Ranking(strategy, name, lowest_first)
    parts = spelled(strategy).split("+")
    parts = sorted({_OTHER_NAMES.get(part, part) for part in parts}, reverse=True)
    name = "+".join(parts)
    if name not in RANKINGS:
        valid = (*RANKINGS, f"{_COLUMN}NAME")
        hint = _IN_OTHER_WORDS.get(spelled(strategy), "")
        if not hint and spelled(strategy) in STRATEGIES:
            hint = ", which needs more than a table of scores has"
        raise ValueError(f"strategy must be {nearest(strategy, valid)}, got {strategy!r}{hint}")
    if lowest_first:
        raise ValueError(
            f"lowest_first must be left out with strategy {name!r}, which has a direction of its "
            f"own: it is for '{_COLUMN}NAME'"
        )
    return Ranking(name)


def priorities(ranking: Ranking, columns: ScoreColumns, rng: np.random.Generator) -> Float64Array:
    """Return how soon each row should be annotated.

    Parameters
    ----------
    ranking : Ranking
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
    if columns.names is None and (ranking.column or "+" in ranking.name):
        raise ValueError(
            f"scores must be a table or arrays by name for strategy {ranking.name!r}, got one array"
        )
    if ranking.column is not None:
        values = columns.numbers(ranking.column)
        return -values if ranking.lowest_first else values

    def observe(names: list[str]) -> dict[str, Float64Array]:
        return {name: _column_of_pool(name, columns) for name in names}

    pool = Pool(columns.num_rows, observe=observe)
    return make_strategy(_STRATEGIES[ranking.name]).rank(pool, rng=rng)


def _column_of_pool(name: str, columns: ScoreColumns) -> Float64Array:
    """Return what a table has of one of the arrays of a `Pool`."""
    if name == "confidence":
        return columns.numbers(name, np.mean)[:, np.newaxis]  # as of one joint
    return columns.numbers({"score_expected": "score"}.get(name, name))
