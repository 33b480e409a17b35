"""Whether a pose would be likelier with left and right exchanged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vl4pose.scoring import pose_log_likelihood
from vl4pose.skeleton import Skeleton

__all__ = ["Exchange", "exchange_gains", "exchanges"]

_POSES_AT_ONCE = 65536


@dataclass(frozen=True)
class Exchange:
    """One way to exchange left and right.

    Attributes
    ----------
    pair : int
        Index of the pair in ``skeleton.pairs``.
    with_below : bool
        Whether the pairs below it in the tree are exchanged as well.
    order : tuple of int
        Which joint each joint takes its place from.
    """

    pair: int
    with_below: bool
    order: tuple[int, ...]


def exchanges(skeleton: Skeleton) -> list[Exchange]:
    """Return the exchanges of each left/right pair: alone, and with all that hangs below it.

    A network that takes one knee for the other often takes the ankles along. An exchange of the
    knees alone then makes two bones wrong where one was, and hides what happened; that of the
    whole lower legs shows it. Below a pair are the pairs whose one joint is a descendant of its
    left joint and the other of its right one.

    The second exchange is left out where nothing is below, for it would be the first again; and
    where both joints hang from the same one, for then no bone changes but its name: its length
    would only be compared with what is expected of the other side, and say nothing of the image.
    """
    parents = dict.fromkeys(range(skeleton.num_joints), -1)
    parents.update({child: parent for parent, child in skeleton.links})

    def is_below(joint: int, ancestor: int) -> bool:
        while joint >= 0 and joint != ancestor:
            joint = parents[joint]
        return joint == ancestor

    found = []
    for index, (left, right) in enumerate(skeleton.pairs):
        below = [
            (a, b)
            for a, b in skeleton.pairs
            if (is_below(a, left) and is_below(b, right))
            or (is_below(a, right) and is_below(b, left))
        ]
        changes_bones = len(below) > 1 and parents[left] != parents[right]
        for pairs in [[(left, right)]] + ([below] if changes_bones else []):
            order = list(range(skeleton.num_joints))
            for a, b in pairs:
                order[a], order[b] = b, a
            found.append(Exchange(index, len(pairs) > 1, tuple(order)))
    return found


def exchange_gains(
    keypoints: npt.NDArray[np.float64],
    params: npt.NDArray[np.float64],
    skeleton: Skeleton,
    *,
    num_threads: int | None = None,
) -> npt.NDArray[np.float64]:
    """Return by how much each exchange raises the log-likelihood of each pose.

    Parameters
    ----------
    keypoints : (B, J, 2) float64
        Heatmap pixels; NaN throughout a pose that there is none of.
    params : (B, L, 2) float64
        Length and log-variance of each link.
    skeleton : Skeleton
    num_threads : int, optional

    Returns
    -------
    (B, E) float64
        For the E ``exchanges(skeleton)``, the log-likelihood (Eq. 5 of the paper, summed over
        links) of the pose with left and right exchanged, less that of the pose as it is, in nats.
        NaN where the pose or its params are.
    """
    orders = [tuple(range(skeleton.num_joints)), *(e.order for e in exchanges(skeleton))]
    ways = np.array(orders, np.int64)
    gains = np.full((len(keypoints), len(ways) - 1), np.nan)
    known = np.flatnonzero(np.isfinite(keypoints).all((1, 2)) & np.isfinite(params).all((1, 2)))
    step = max(_POSES_AT_ONCE // len(ways), 1)
    for start in range(0, len(known) if len(ways) > 1 else 0, step):
        rows = known[start : start + step]
        poses = keypoints[rows][:, ways].reshape(-1, skeleton.num_joints, 2)
        totals = pose_log_likelihood(
            poses,
            np.repeat(params[rows], len(ways), axis=0),
            skeleton=skeleton,
            num_threads=num_threads,
        ).reshape(len(rows), len(ways))
        gains[rows] = totals[:, 1:] - totals[:, :1]
    return gains
