"""What keeps two chosen rows apart: the gap between video frames, the distance of embeddings."""

from __future__ import annotations

import bisect
from collections import defaultdict
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["FrameGaps", "NearDuplicates", "Spacing", "pick_in_order"]

RowIndex = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

_CANDIDATES_AT_ONCE = 512
_PAIRS_AT_ONCE = 4096


class Spacing(Protocol):
    """A rule on rows that are chosen together."""

    name: str

    def add(self, row: int) -> None:
        """Count a row among the chosen."""

    def admits(self, rows: RowIndex) -> BoolArray:
        """Return which rows are far enough from all that are chosen."""

    def admits_beside(self, rows: RowIndex, chosen: int) -> BoolArray:
        """Return which rows are far enough from this one."""


class FrameGaps:
    """Frames of one video that are closer than ``min_gap`` are too alike.

    Parameters
    ----------
    group_index : (N,) int
        Which video, or other group, each row is of.
    order : (N,) float
        Its frame number, time or the like: finite.
    min_gap : float
        Rows of a group whose order differs by less are too close.
    """

    name = "gap"

    def __init__(
        self, group_index: RowIndex, order: npt.NDArray[np.float64], min_gap: float
    ) -> None:
        self._group, self._order, self._gap = group_index, order, min_gap
        self._chosen: defaultdict[int, list[float]] = defaultdict(list)  # sorted

    def add(self, row: int) -> None:
        """Count a row among the chosen."""
        bisect.insort(self._chosen[int(self._group[row])], float(self._order[row]))

    def admits(self, rows: RowIndex) -> BoolArray:
        """Return which rows are far enough from all that are chosen."""
        admitted = np.ones(len(rows), np.bool_)
        groups = self._group[rows]
        # Sorted, for there can be as many groups as rows: a search for the members of each would
        # look at every row every time.
        by_group = np.argsort(groups, kind="stable")
        ends = np.flatnonzero(np.diff(groups[by_group])) + 1
        for members in np.split(by_group, ends):
            taken = self._chosen.get(int(groups[members[0]])) if len(members) else None
            if not taken:
                continue
            chosen = np.array([-np.inf, *taken, np.inf])
            order = self._order[rows[members]]
            above = np.searchsorted(chosen, order)
            gaps = np.minimum(chosen[above] - order, order - chosen[above - 1])
            admitted[members] = gaps >= self._gap
        return admitted

    def admits_beside(self, rows: RowIndex, chosen: int) -> BoolArray:
        """Return which rows are far enough from this one."""
        same = self._group[rows] == self._group[chosen]
        admitted: BoolArray = ~(
            same & (np.abs(self._order[rows] - self._order[chosen]) < self._gap)
        )
        return admitted


class NearDuplicates:
    """Rows whose embeddings are closer than ``min_separation`` show nearly the same.

    Parameters
    ----------
    embeddings : (N, D) floating
    min_separation : float
        The Euclidean distance below which two are too close.
    labelled : (M, D) floating, optional
        Embeddings of what is annotated already.
    """

    name = "near-duplicate"

    def __init__(
        self, embeddings: npt.NDArray[Any], min_separation: float, labelled: npt.NDArray[Any] | None
    ) -> None:
        self._embeddings, self._least = embeddings, min_separation
        known = np.empty((0, embeddings.shape[1])) if labelled is None else labelled
        self._chosen = np.asarray(known, np.float64)
        self._new: list[int] = []

    def add(self, row: int) -> None:
        """Count a row among the chosen."""
        self._new.append(row)

    def admits(self, rows: RowIndex) -> BoolArray:
        """Return which rows are far enough from all that are chosen."""
        if self._new:
            new = self._embeddings[self._new].astype(np.float64)
            self._chosen, self._new = np.concatenate([self._chosen, new]), []
        chosen_norms = _square_norms(self._chosen)
        admitted = np.ones(len(rows), np.bool_)
        for start in range(0, len(rows), _CANDIDATES_AT_ONCE):
            part = slice(start, start + _CANDIDATES_AT_ONCE)
            admitted[part] = self._admits(rows[part], chosen_norms)
        return admitted

    def _admits(self, rows: RowIndex, chosen_norms: npt.NDArray[np.float64]) -> BoolArray:
        points = self._embeddings[rows].astype(np.float64)
        admitted = np.ones(len(rows), np.bool_)
        # A product of matrices finds those that may be close, and says so of all that are: its
        # rounding is far below the margin. Of these the distance itself decides.
        point_norms = _square_norms(points)
        for start in range(0, len(self._chosen), _PAIRS_AT_ONCE):
            chosen = self._chosen[start : start + _PAIRS_AT_ONCE]
            norms = point_norms[:, None] + chosen_norms[start : start + _PAIRS_AT_ONCE]
            squares = norms - 2 * (points @ chosen.T)
            i, k = np.nonzero(squares < self._least**2 + 1e-9 * norms)
            for part in range(0, len(i), _PAIRS_AT_ONCE):
                at, of = i[part : part + _PAIRS_AT_ONCE], k[part : part + _PAIRS_AT_ONCE]
                close = np.linalg.norm(points[at] - chosen[of], axis=1) < self._least
                admitted[at[close]] = False
        return admitted

    def admits_beside(self, rows: RowIndex, chosen: int) -> BoolArray:
        """Return which rows are far enough from this one."""
        points = self._embeddings[rows].astype(np.float64)
        distances = np.linalg.norm(points - self._embeddings[chosen].astype(np.float64), axis=1)
        admitted: BoolArray = ~(distances < self._least)
        return admitted


def pick_in_order(
    candidates: RowIndex, number: int, spacings: list[Spacing], passed_over: dict[int, str]
) -> list[int]:
    """Go through rows in their order and take those that are far enough from all taken before.

    Parameters
    ----------
    candidates : (C,) int64
        Row indices, the first to be taken first.
    number : int
        How many to take at most.
    spacings : list of Spacing
        Every row that is taken is added to them.
    passed_over : dict
        The name of the spacing that refused a row, by row: is added to.

    Returns
    -------
    list of int
        Fewer than ``number`` where the candidates end before.
    """
    if not spacings:
        taken: list[int] = candidates[:number].tolist()
        return taken
    picks: list[int] = []
    start = 0
    while len(picks) < number and start < len(candidates):
        block = candidates[start : start + _CANDIDATES_AT_ONCE]
        start += _CANDIDATES_AT_ONCE
        refused_by = np.full(len(block), -1)
        for s, spacing in enumerate(spacings):
            refused_by[(refused_by < 0) & ~spacing.admits(block)] = s
        for i, row in enumerate(block.tolist()):
            if len(picks) == number:
                break
            if refused_by[i] >= 0:
                passed_over[row] = spacings[refused_by[i]].name
                continue
            picks.append(row)
            rest = block[i + 1 :]
            for s, spacing in enumerate(spacings):
                spacing.add(row)
                later = refused_by[i + 1 :]
                later[(later < 0) & ~spacing.admits_beside(rest, row)] = s
    return picks


def _square_norms(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    squares: npt.NDArray[np.float64] = np.einsum("nd,nd->n", points, points)
    return squares
