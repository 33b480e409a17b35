"""Percentage of correct parts."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from vl4pose._options import choice
from vl4pose.metrics.metric import Metric
from vl4pose.metrics.pose_pairs import checked_thresholds, pose_pairs
from vl4pose.skeleton import Skeleton, resolve_skeleton

__all__ = ["DEFINITIONS", "pcp"]

DEFINITIONS = ("strict", "loose")


def pcp(
    keypoints: Any,
    truth: Any,
    visible: Any = None,
    *,
    thresholds: Any = 0.5,
    definition: Literal["strict", "loose"] = "strict",
    skeleton: Skeleton | str | None = None,
) -> Metric:
    """Percentage of correct parts (PCP), as a fraction: a part is a link of the skeleton.

    Parameters
    ----------
    keypoints, truth, visible
        As for `pck`. A link counts where both its joints are annotated, at different places.
    thresholds : float or sequence of T float
        How far the ends may be off, as a share of the annotated link's length.
    definition : {"strict", "loose"}
        "strict": both ends are within the threshold. "loose": the mean of their distances is.
    skeleton : Skeleton, str or None
        Whose links are the parts; None goes by the number of joints.

    Returns
    -------
    Metric
        Its ``parts`` and ``per_joint`` are of the L links.

    Raises
    ------
    TypeError, ValueError
        As `pck`; ``definition must be one of strict, loose``; ``skeleton must be ...``.

    Notes
    -----
    The strict definition is that of Ferrari, Marin-Jimenez and Zisserman, Progressive search space
    reduction for human pose estimation, CVPR 2008, with the ends' own distances; the loose one is
    that of the code published with it, which Pishchulin et al., Articulated people detection and
    pose estimation: reshaping the future, CVPR 2012, tell apart from it. Published PCP goes by
    sticks that a dataset defines; ours are the skeleton's links.
    """
    limits = checked_thresholds(thresholds)
    choice(definition, "definition", DEFINITIONS)
    pairs = pose_pairs(keypoints, truth, visible)
    resolved = resolve_skeleton(skeleton, pairs.visible.shape[1])
    parent, child = np.array(resolved.links, np.int64).reshape(-1, 2).T
    length = np.linalg.norm(pairs.truth[:, child] - pairs.truth[:, parent], axis=2)
    counted = pairs.visible[:, parent] & pairs.visible[:, child] & (length > 0)
    ends = np.stack([pairs.distances[:, parent], pairs.distances[:, child]])
    error = ends.max(axis=0) if definition == "strict" else ends.mean(axis=0)
    values = error <= limits[..., None, None] * length
    return Metric("PCP", resolved.link_names, values, counted)
