"""Which rows of a pool can be selected at all, and what the choice among them needs to know."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vl4pose.active.score_columns import (
    ScoreColumns,
    as_embeddings,
    as_score_table,
    score_columns,
)

if TYPE_CHECKING:
    from vl4pose.score_table import ScoreTable

__all__ = ["Candidates", "Labelled", "find_candidates", "known_labels", "pool_embeddings"]

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Labelled:
    """What is annotated already.

    Attributes
    ----------
    num_rows : int
    embeddings : (M, D) floating, or None
        Where the choice needs them.
    in_pool : (N,) bool
        Which rows of the pool are among it.
    """

    num_rows: int
    embeddings: npt.NDArray[Any] | None
    in_pool: BoolArray


@dataclass(frozen=True)
class Candidates:
    """The selectable rows of a pool of N.

    Attributes
    ----------
    is_selectable : (N,) bool
    ranked : (n,) int64
        Their indices, the highest priority first, of equal ones the lower index.
    counts : dict of int
        The rows of the pool, those that lack something, by what that is, and the selectable ones. A
        row that lacks several things counts once.
    """

    is_selectable: BoolArray
    ranked: npt.NDArray[np.int64]
    counts: dict[str, int]


def find_candidates(
    priority: npt.NDArray[np.float64],
    columns: ScoreColumns,
    embeddings: npt.NDArray[Any] | None,
    labelled: Labelled | None,
    order: npt.NDArray[np.float64] | None,
) -> Candidates:
    """Return the rows that have all that is needed of them and are not labelled.

    Parameters
    ----------
    priority : (N,) float64
        NaN where there is none.
    columns : ScoreColumns
        Whatever the priority is made of, a row needs a score.
    embeddings : (N, D) floating, optional
        Where they are needed.
    labelled : Labelled, optional
    order : (N,) float64, optional
        Of frames, where it is needed; NaN where it is not known.
    """
    lacking = {"without_score": np.isnan(priority)}
    if columns.has_score:
        lacking["without_score"] |= np.isnan(columns.numbers("score"))
    if embeddings is not None:
        lacking["without_embedding"] = ~np.isfinite(embeddings).all(1)
    if labelled is not None:
        lacking["labelled"] = labelled.in_pool
    if order is not None:
        lacking["without_order"] = np.isnan(order)
    is_selectable = np.ones(columns.num_rows, np.bool_)
    counts = {"rows": columns.num_rows}
    for name, missing in lacking.items():
        counts[name] = int((is_selectable & missing).sum())
        is_selectable &= ~missing
    counts["selectable"] = int(is_selectable.sum())
    ranked = np.flatnonzero(is_selectable)
    ranked = ranked[np.argsort(-priority[ranked], kind="stable")]
    return Candidates(is_selectable, ranked, counts)


def pool_embeddings(embeddings: Any, columns: ScoreColumns) -> npt.NDArray[Any]:
    """Return the embeddings (N, D) of the pool, in which NaN marks what is missing.

    Raises
    ------
    ValueError
        ``embeddings must ...``.
    """
    if embeddings is None:
        points = columns.embeddings()
        if points is None:
            where = "" if columns.table is None else ", or the table scored with --embeddings"
            raise ValueError(
                f"embeddings must be given with diversity or min_separation{where}, got none"
            )
        return points
    points = as_embeddings(embeddings, "embeddings")
    if len(points) != columns.num_rows:
        raise ValueError(
            f"embeddings must have one row per score ({columns.num_rows}), got {len(points)}"
        )
    return points


def known_labels(
    labelled: Any, columns: ScoreColumns, embeddings: npt.NDArray[Any] | None
) -> Labelled | None:
    """Return what a ``labelled=`` argument says of the pool.

    Parameters
    ----------
    labelled : (M, D) array_like, ScoreTable, pyarrow.Table, path or None
    columns : ScoreColumns
    embeddings : (N, D) floating, optional
        Of the pool, where the choice needs any.

    Raises
    ------
    ValueError
        ``labelled must ...``.
    """
    if labelled is None:
        return None
    source = labelled if isinstance(labelled, ScoreColumns) else None
    if isinstance(labelled, str | os.PathLike) or as_score_table(labelled) is not None:
        source = score_columns(labelled)
    if source is None and embeddings is None:
        raise ValueError("labelled must go with diversity or min_separation where it is embeddings")
    points = None
    if embeddings is not None:
        size = embeddings.shape[1]
        points = _labelled_embeddings(labelled, source, size).astype(embeddings.dtype)
        if points.shape[1] != size:
            raise ValueError(
                f"labelled must have as many values a row as the embeddings ({size}), got "
                f"{points.shape[1]}"
            )
    in_pool = np.zeros(columns.num_rows, np.bool_)
    if source is None:
        assert points is not None
        return Labelled(len(points), points, in_pool)
    if columns.table is not None and source.table is not None:
        in_pool = _in_both(columns.table, source.table)
    return Labelled(source.num_rows, points, in_pool)


def _labelled_embeddings(labelled: Any, source: ScoreColumns | None, size: int) -> npt.NDArray[Any]:
    if source is None:
        points = as_embeddings(labelled, "labelled")
        if not np.isfinite(points).all():
            raise ValueError("labelled must hold finite embeddings, got NaN or inf")
        return points
    if not source.num_rows:
        return np.empty((0, size))
    of_table = source.embeddings()
    if of_table is None:
        raise ValueError("labelled must be a table with embeddings, got one without")
    return of_table[np.isfinite(of_table).all(1)]


def _in_both(pool: ScoreTable, labelled: ScoreTable) -> BoolArray:
    """Return which rows of the pool are people that the other table has too."""

    def people(table: ScoreTable, argument: str) -> list[tuple[Any, ...]]:
        if "image" not in table.rows.column_names:
            raise ValueError(f"{argument} must have a column image to tell what is labelled")
        images = table.rows["image"].to_pylist()
        persons = [None] * len(images)
        if "person_id" in table.rows.column_names:
            persons = table.rows["person_id"].to_pylist()
        root = table.metadata.get("source", {}).get("root")
        return [(root, image, person) for image, person in zip(images, persons, strict=True)]

    known = set(people(labelled, "labelled"))
    return np.array([person in known for person in people(pool, "scores")], np.bool_)
