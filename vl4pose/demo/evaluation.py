"""What the rankings and the refined poses of a table of scores are worth, given the truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from scipy.stats import rankdata

from vl4pose import metrics
from vl4pose.demo.pictures import KINDS, ORDINARY, Picture

__all__ = ["RANKINGS", "Accuracy", "Evaluation", "Ranking", "auroc", "joint_errors"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

# How suspicious a picture is, high meaning that it should be looked at.
RANKINGS = ("likelihood", "entropy", "confidence", "both")
THRESHOLDS = (0.2, 0.5)  # of the torso
WRONG = 0.5  # of the torso
MANY_WRONG = 3  # of 14 joints


@dataclass(frozen=True)
class Ranking:
    """How well the rankings tell some pictures from others.

    Attributes
    ----------
    found : str
        What they have to find, and among what.
    auroc : tuple of float
        Of each of ``RANKINGS``: the probability that it puts a picture to be found before another;
        NaN where there is none of either.
    """

    found: str
    auroc: tuple[float, ...]


@dataclass(frozen=True)
class Accuracy:
    """How accurate the poses of a kind of picture are.

    Attributes
    ----------
    kind : str
    num_pictures : int
    raw, refined : tuple of float
        Percentage of correct keypoints, as a fraction, at each of ``THRESHOLDS``.
    """

    kind: str
    num_pictures: int
    raw: tuple[float, ...]
    refined: tuple[float, ...]


class Evaluation:
    """A table of ``vl4pose score`` beside the truth.

    Parameters
    ----------
    table : Path
        The Parquet file.
    truth : dict of str to Picture
        By the names of the image files, in the order of the table.
    entropy : (N,) array
        Multi-Peak Entropy of each.
    """

    def __init__(self, table: Path, truth: dict[str, Picture], entropy: FloatArray) -> None:
        self.rows: list[dict[str, Any]] = pq.read_table(table).to_pylist()
        pictures = [truth[row["image"]] for row in self.rows]
        self.kinds = np.array([picture.kind for picture in pictures])
        joints = np.stack([picture.keypoints for picture in pictures])
        self.raw_errors = joint_errors(self._column("keypoints"), joints)
        self.refined_errors = joint_errors(self._column("refined_keypoints"), joints)
        self.suspicions = (
            -self._column("score"),
            entropy,
            -self._column("confidence").mean(axis=1),
            rankdata(-self._column("log_prob")) + rankdata(entropy),
        )

    @property
    def is_bad(self) -> BoolArray:
        """Whether at least ``MANY_WRONG`` joints of the raw pose are wrong."""
        bad: BoolArray = (self.raw_errors > WRONG).sum(axis=1) >= MANY_WRONG
        return bad

    def rankings(self) -> list[Ranking]:
        """Return how well out-of-distribution pictures and bad poses are found."""
        ordinary, bad = self.kinds == ORDINARY, self.is_bad
        rows = [self._ranking(f"{(~ordinary).sum()} out of distribution", ~ordinary, ordinary)]
        for kind in KINDS:
            if kind != ORDINARY:
                where = self.kinds == kind
                rows.append(self._ranking(f"   {where.sum()} {kind}", where, ordinary))
        rows.append(self._ranking(f"{bad.sum()} bad poses of {len(bad)}", bad, ~bad))
        bad_ordinary, good_ordinary = ordinary & bad, ordinary & ~bad
        found = f"   {bad_ordinary.sum()} of {ordinary.sum()} ordinary"
        return [*rows, self._ranking(found, bad_ordinary, good_ordinary)]

    def accuracies(self) -> list[Accuracy]:
        """Return the accuracy before and after refinement, of each kind and of all."""
        masks = {kind: self.kinds == kind for kind in KINDS}
        masks["all"] = np.ones(len(self.rows), np.bool_)
        return [
            Accuracy(
                kind, int(mask.sum()), _pck(self.raw_errors[mask]), _pck(self.refined_errors[mask])
            )
            for kind, mask in masks.items()
        ]

    def _column(self, name: str) -> FloatArray:
        return np.array([row[name] for row in self.rows], np.float64)

    def _ranking(self, found: str, where: BoolArray, others: BoolArray) -> Ranking:
        return Ranking(found, tuple(auroc(values, where, others) for values in self.suspicions))


def joint_errors(keypoints: FloatArray, truth: FloatArray) -> FloatArray:
    """Return how far each joint is from where it should be, in torsos.

    Parameters
    ----------
    keypoints, truth : (N, 14, 2) array
        Of the skeleton "lsp". A torso is the longer of the diagonals between shoulders and hips of
        the truth.

    Returns
    -------
    errors : (N, 14) array
    """
    return metrics.joint_errors(keypoints, truth, normalize_by="torso", skeleton="lsp")


def auroc(suspicion: FloatArray, found: BoolArray, others: BoolArray) -> float:
    """Return how often one to be found is more suspicious than another; equal counts half."""
    a, b = suspicion[found, None], suspicion[others]
    if a.size == 0 or b.size == 0:
        return float("nan")
    return float((a > b).mean() + 0.5 * (a == b).mean())


def _pck(errors: FloatArray) -> tuple[float, ...]:
    return tuple(metrics.pck_of_errors(errors, THRESHOLDS).mean.tolist())
