"""Object keypoint similarity."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vl4pose.metrics.metric import Metric
from vl4pose.metrics.pose_pairs import joint_names, numbers_of, pose_pairs
from vl4pose.skeleton import Skeleton, resolve_skeleton

__all__ = ["checked_areas", "checked_sigmas", "oks"]

Float64Array = npt.NDArray[np.float64]


def oks(
    keypoints: Any,
    truth: Any,
    visible: Any = None,
    *,
    areas: Any,
    sigmas: Any = None,
    skeleton: Skeleton | str | None = None,
) -> Metric:
    """Object keypoint similarity (OKS), between 0 and 1.

    Parameters
    ----------
    keypoints, truth, visible
        As for `pck`.
    areas : (N,) array_like
        Area of each person, in pixels squared: COCO's "area", of the segment. For boxes alone 0.53
        times their area is usual. People of area 0 or NaN are left out.
    sigmas : (J,) array_like, optional
        Standard deviation of each joint's annotations over the square root of the area, default the
        skeleton's; COCO's are those of "coco".
    skeleton : Skeleton, str or None
        None goes by the number of joints.

    Returns
    -------
    Metric
        Its mean is that of the people's own OKS: first over a person's joints that count, then over
        the people. ``per_joint`` is the mean over the people in whom the joint counts.

    Raises
    ------
    TypeError, ValueError
        As `pck`; ``areas must be ...``, ``sigmas must be ...``; ``sigmas must be given for
        skeleton ..., which has none``.

    Notes
    -----
    ``exp(-d^2 / (2 area (2 sigma)^2))`` for a distance d, as COCO's keypoint evaluation has it
    (Lin et al., ECCV 2014; https://cocodataset.org/#keypoints-eval). This compares each prediction
    with its own person; `oks_ap` also finds out whose it is.
    """
    pairs = pose_pairs(keypoints, truth, visible)
    num_people, num_joints = pairs.visible.shape
    deviations = checked_sigmas(sigmas, skeleton, num_joints)
    area = checked_areas(areas, num_people)
    spread = 2 * np.where(area > 0, area, np.nan)[:, None] * (2 * deviations) ** 2
    values = np.exp(-(pairs.distances**2) / spread)
    counted = pairs.visible & (area > 0)[:, None]
    return Metric("OKS", joint_names(skeleton, num_joints), values, counted, "images")


def checked_areas(areas: Any, num_people: int) -> Float64Array:
    """Return areas as (N,) float64, at least 0 or NaN."""
    checked = numbers_of(areas, "areas", (num_people,), "(N,)")
    wrong = checked[(checked < 0) | np.isinf(checked)]
    if wrong.size:
        raise ValueError(f"areas must be at least 0 and finite, got {wrong[0]:g}")
    return checked


def checked_sigmas(sigmas: Any, skeleton: Skeleton | str | None, num_joints: int) -> Float64Array:
    """Return ``sigmas``, or those of the skeleton, as (J,) float64."""
    if sigmas is None:
        resolved = resolve_skeleton(skeleton, num_joints)
        if resolved.sigmas is None:
            raise ValueError(
                f"sigmas must be given for skeleton {resolved.name!r}, which has none, got None"
            )
        sigmas = resolved.sigmas
    checked = numbers_of(sigmas, "sigmas", (num_joints,), "(J,)")
    wrong = checked[~((checked > 0) & (checked < np.inf))]
    if wrong.size:
        raise ValueError(f"sigmas must be positive and finite, got {wrong[0]:g}")
    return checked
