"""Percentage of correct keypoints, and the area under its curve."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vl4pose._arrays import as_numpy
from vl4pose.metrics.metric import Metric
from vl4pose.metrics.pose_pairs import checked_thresholds, joint_names, pose_pairs
from vl4pose.metrics.reference_lengths import reference_lengths
from vl4pose.skeleton import Skeleton, shown

__all__ = ["joint_errors", "pck", "pck_auc", "pck_of_errors", "pckh"]

Float64Array = npt.NDArray[np.float64]


def joint_errors(
    keypoints: Any,
    truth: Any,
    visible: Any = None,
    *,
    normalize_by: Any = "torso",
    boxes: Any = None,
    skeleton: Skeleton | str | None = None,
) -> Float64Array:
    """Return how far each predicted joint is from the annotated one, in the person's own measure.

    Parameters
    ----------
    keypoints, truth, visible, normalize_by, boxes, skeleton
        As for `pck`.

    Returns
    -------
    errors : (N, J) float64
        Distance over reference length. NaN where it does not count, for a joint that is not
        annotated or a person without the length; infinite where a prediction is not finite.

    Raises
    ------
    TypeError, ValueError
        As `pck`.
    """
    pairs = pose_pairs(keypoints, truth, visible)
    lengths = reference_lengths(
        pairs.truth, pairs.visible, normalize_by=normalize_by, boxes=boxes, skeleton=skeleton
    )
    joint_names(skeleton, pairs.visible.shape[1])  # a skeleton of other joints is an error always
    errors = pairs.distances / lengths[:, None]
    return np.where(pairs.visible, errors, np.nan)


def pck(
    keypoints: Any,
    truth: Any,
    visible: Any = None,
    *,
    thresholds: Any = 0.2,
    normalize_by: Any = "torso",
    boxes: Any = None,
    skeleton: Skeleton | str | None = None,
) -> Metric:
    """Percentage of correct keypoints (PCK), as a fraction.

    Parameters
    ----------
    keypoints : (N, J, 2) array_like or Tensor
        Predicted (x, y) of N people, in pixels of any grid. A joint that is not finite is wrong.
    truth : (N, J, 2) array_like or Tensor
        Annotated (x, y), in pixels of the same grid.
    visible : (N, J) bool array_like or Tensor, optional
        Which joints are annotated and count, default all. The others are not read.
    thresholds : float or sequence of T float
        How far from the annotation a joint may be, the distance itself included, as a share of
        the reference length.
    normalize_by : {"torso", "head", "box"} or (N,) array_like
        The reference length, see `reference_lengths`. People for whom it is 0 or unknown are left
        out.
    boxes : (N, 4) array_like, optional
        [x, y, width, height] in pixels: of heads for "head", of people for "box".
    skeleton : Skeleton, str or None
        None goes by the number of joints.

    Returns
    -------
    Metric
        Its mean is that of all joints that count, as in the evaluations of MPII and HRNet; where
        joints are not annotated equally often, ``np.nanmean(metric.per_joint)``, MMPose's mean,
        is another number. (T,) values for a sequence of thresholds.

    Raises
    ------
    TypeError
        ``keypoints must hold real numbers``, likewise ``truth``; ``visible must be bool``;
        ``thresholds must be a number or a sequence of numbers``; ``normalize_by must be ...``.
    ValueError
        ``keypoints must be (N, J, 2)``, ``truth must be of the shape of keypoints``, ``truth must
        be finite where visible``, ``visible must be (N, J)``, ``thresholds must be ... at least 0
        and finite``; ``normalize_by must be ...``, ``boxes must be ...``, as `reference_lengths`
        says.

    Notes
    -----
    Yang and Ramanan, Articulated human detection with flexible mixtures of parts, PAMI 2013
    (normalised by the box); Sapp and Taskar, MODEC, CVPR 2013 (by the torso).

    Examples
    --------
    >>> truth = np.zeros((1, 2, 2))
    >>> metric = pck(truth + [3.0, 4.0], truth, thresholds=[0.4, 0.5], normalize_by=[10.0])
    >>> metric.mean
    array([0., 1.])
    """
    limits = checked_thresholds(thresholds)
    errors = joint_errors(
        keypoints, truth, visible, normalize_by=normalize_by, boxes=boxes, skeleton=skeleton
    )
    return _of_errors("PCK", errors, limits, skeleton)


def pckh(
    keypoints: Any,
    truth: Any,
    visible: Any = None,
    *,
    thresholds: Any = 0.5,
    head_boxes: Any = None,
    skeleton: Skeleton | str | None = None,
) -> Metric:
    """Percentage of correct keypoints, normalised by the head (PCKh), as a fraction.

    Parameters
    ----------
    keypoints, truth, visible, thresholds, skeleton
        As for `pck`.
    head_boxes : (N, 4) array_like, optional
        [x, y, width, height] of the heads, in pixels: the reference is 0.6 times their diagonal, as
        MPII has it. By default it is the distance from the joint "head" to "neck".

    Returns
    -------
    Metric
        As of `pck`.

    Raises
    ------
    TypeError, ValueError
        As `pck`.

    Notes
    -----
    Andriluka et al., 2D human pose estimation: new benchmark and state of the art analysis, CVPR
    2014. MPII's table leaves out pelvis and thorax: set their ``visible`` to False.
    """
    limits = checked_thresholds(thresholds)
    errors = joint_errors(
        keypoints, truth, visible, normalize_by="head", boxes=head_boxes, skeleton=skeleton
    )
    return _of_errors("PCKh", errors, limits, skeleton)


def pck_auc(
    keypoints: Any,
    truth: Any,
    visible: Any = None,
    *,
    max_threshold: float = 0.5,
    normalize_by: Any = "torso",
    boxes: Any = None,
    skeleton: Skeleton | str | None = None,
) -> Metric:
    """Area under the curve of PCK over its threshold, from 0 to a largest one, as a fraction of it.

    Parameters
    ----------
    keypoints, truth, visible, normalize_by, boxes, skeleton
        As for `pck`.
    max_threshold : float
        Where the curve ends, a share of the reference length above 0.

    Returns
    -------
    Metric
        1 where all joints are exact, 0 where none is within ``max_threshold``.

    Raises
    ------
    TypeError, ValueError
        As `pck`; ``max_threshold must be above 0``.

    Notes
    -----
    The curve is a step function and its area is exact: a joint of error e adds max(0, 1 - e / t)
    for the largest threshold t. Evaluations that add up PCK on a grid (MPII steps of 0.01, MMPose
    20 of them) approach it; ``pck(..., thresholds=grid)`` gives theirs.
    """
    limit = checked_thresholds(max_threshold, "max_threshold")
    if limit.ndim or limit <= 0:
        raise ValueError(f"max_threshold must be one number above 0, got {shown(max_threshold)}")
    errors = joint_errors(
        keypoints, truth, visible, normalize_by=normalize_by, boxes=boxes, skeleton=skeleton
    )
    values = np.maximum(0, 1 - errors / limit)
    return Metric("AUC", joint_names(skeleton, errors.shape[1]), values, ~np.isnan(errors))


def pck_of_errors(
    errors: Any, thresholds: Any = 0.2, *, skeleton: Skeleton | str | None = None
) -> Metric:
    """Percentage of correct keypoints of errors that `joint_errors` returned, as a fraction.

    Parameters
    ----------
    errors : (N, J) array_like
        In reference lengths; NaN where a joint does not count.
    thresholds, skeleton
        As for `pck`.

    Returns
    -------
    Metric
        As of `pck`.

    Raises
    ------
    TypeError, ValueError
        ``errors must hold real numbers``, ``errors must be (N, J)``, ``thresholds must be ...``.
    """
    limits = checked_thresholds(thresholds)
    array = as_numpy(errors)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"errors must hold real numbers, got {array.dtype}")
    if array.ndim != 2:
        raise ValueError(f"errors must be (N, J), got shape {array.shape}")
    return _of_errors("PCK", array.astype(np.float64), limits, skeleton)


def _of_errors(
    name: str, errors: Float64Array, limits: Float64Array, skeleton: Skeleton | str | None
) -> Metric:
    parts = joint_names(skeleton, errors.shape[1])
    return Metric(name, parts, errors <= limits[..., None, None], ~np.isnan(errors))
