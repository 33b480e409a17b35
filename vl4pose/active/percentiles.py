"""How a score compares with those of a reference set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vl4pose.active.score_columns import ScoreColumns, score_columns

__all__ = ["Reference", "check_scored_alike", "percentiles", "reference_of"]

Float64Array = npt.NDArray[np.float64]

# What decides a score, and so whether two tables can be compared.
_SETTINGS = {
    "input": ("input_size", "fit", "crop_scale", "scale", "mean", "std", "heatmap_align"),
    "scoring": (
        "method",
        "num_peaks",
        "min_distance",
        "threshold_abs",
        "threshold_rel",
        "exclude_border",
        "temperature",
    ),
}
_MODELS = ("pose", "aux", "params")


@dataclass(frozen=True)
class Reference:
    """Scores to compare with.

    Attributes
    ----------
    is_pool : bool
        Whether they are the pool's own.
    name : str or None
        The file they come from.
    scores : (M,) float64 or None
        Sorted, without those that do not exist.
    link_terms : tuple of (M,) float64 arrays
        The terms of each link, the same way; empty where they are not known.
    """

    is_pool: bool
    name: str | None
    scores: Float64Array | None
    link_terms: tuple[Float64Array, ...] = ()

    @property
    def title(self) -> str:
        """What a sentence calls it."""
        return "pool" if self.is_pool else "reference"

    def percentiles(self, values: Float64Array) -> Float64Array:
        """Return the share of the scores, 0 to 100, that are not higher than each value."""
        if self.scores is None:
            return np.full(np.shape(values), np.nan)
        return percentiles(self.scores, values)

    def to_json(self) -> dict[str, Any]:
        """Return what a selection says of its reference."""
        return {
            "kind": self.title,
            "file": self.name,
            "rows": None if self.scores is None else len(self.scores),
        }


def percentiles(ordered: Float64Array, values: Float64Array) -> Float64Array:
    """Return the share of sorted numbers, 0 to 100, that are not higher than each value.

    Parameters
    ----------
    ordered : (M,) float64
    values : (n,) float64

    Returns
    -------
    (n,) float64
        NaN for a value that is NaN, or where there is nothing to compare with.
    """
    if not len(ordered):
        return np.full(np.shape(values), np.nan)
    shares = 100 * np.searchsorted(ordered, values, side="right") / len(ordered)
    return np.where(np.isnan(values), np.nan, shares)


def reference_of(reference: Any, pool: ScoreColumns) -> Reference:
    """Return the scores of a ``reference=`` argument, or of the pool where it is None.

    Raises
    ------
    ValueError
        ``reference must be scored as the pool was``, naming what differs; ``reference must hold
        scores``.
    """
    if reference is None:
        return _reference(pool, is_pool=True, name=None)
    columns = score_columns(reference)
    if not columns.has_score or not columns.num_rows:
        raise ValueError("reference must hold scores, got none")
    if columns.table is not None and pool.table is not None:
        check_scored_alike(columns.table.metadata, pool.table.metadata, "reference", "pool")
    made = _reference(columns, is_pool=False, name=columns.path)
    if made.scores is None or not len(made.scores):
        raise ValueError("reference must hold scores, got none that is a number")
    return made


def _reference(columns: ScoreColumns, *, is_pool: bool, name: str | None) -> Reference:
    if not columns.has_score:
        return Reference(is_pool, name, None)
    terms: tuple[Float64Array, ...] = ()
    if columns.table is not None and "per_link" in columns.table.rows.column_names:
        per_link = columns.table.arrays("per_link")
        if per_link.ndim == 2:
            terms = tuple(map(_ordered, per_link.T))
    return Reference(is_pool, name, _ordered(columns.numbers("score")), terms)


def _ordered(values: Float64Array) -> Float64Array:
    return np.sort(values[~np.isnan(values)])


def check_scored_alike(
    metadata: dict[str, Any], others: dict[str, Any], argument: str, other: str
) -> None:
    """Raise an error where two tables differ in what decides a score.

    Parameters
    ----------
    metadata, others : dict
        Of the two tables.
    argument, other : str
        What an error calls the tables.

    Raises
    ------
    ValueError
        ``<argument> must be scored as the <other> was, got another ...``.
    """

    def decisive(metadata: dict[str, Any]) -> dict[str, Any]:
        settings, models = metadata.get("settings", {}), metadata.get("models", {})
        told = {
            name: settings.get(part, {}).get(name)
            for part, names in _SETTINGS.items()
            for name in names
        }
        told |= {f"{name} network": (models.get(name) or {}).get("sha256") for name in _MODELS}
        skeleton = metadata.get("skeleton") or {}
        return told | {"skeleton": {name: skeleton.get(name) for name in ("joints", "links")}}

    theirs, ours = decisive(metadata), decisive(others)
    for name, value in theirs.items():
        if value != ours[name]:
            there, here = value, ours[name]
            if name == "skeleton":
                there, here = (_skeleton_name(table) for table in (metadata, others))
            shown = "" if there == here else f": {there!r} there, {here!r} in the {other}"
            raise ValueError(
                f"{argument} must be scored as the {other} was, got another {name}{shown}"
            )


def _skeleton_name(metadata: dict[str, Any]) -> str | None:
    return (metadata.get("skeleton") or {}).get("name")
