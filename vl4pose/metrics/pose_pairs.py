"""Predicted poses beside annotated ones, checked."""

from __future__ import annotations

import numbers
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from vl4pose._arrays import as_numpy
from vl4pose.skeleton import Skeleton, resolve_skeleton, shown

__all__ = [
    "PosePairs",
    "annotated",
    "checked_thresholds",
    "joint_names",
    "numbers_of",
    "pose_pairs",
]

Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


class PosePairs(NamedTuple):
    """Predictions and annotations.

    Attributes
    ----------
    keypoints, truth : (N, J, D) float64
        0 where they are not to be read.
    visible : (N, J) bool
        Which joints are annotated.
    missed : (N, J) bool
        Which of these have no finite prediction.
    """

    keypoints: Float64Array
    truth: Float64Array
    visible: BoolArray
    missed: BoolArray

    @property
    def distances(self) -> Float64Array:
        """From prediction to annotation, (N, J): infinite for missed joints, 0 for unseen ones."""
        distances = np.linalg.norm(self.keypoints - self.truth, axis=2)
        return np.where(self.missed, np.inf, distances)


def pose_pairs(
    keypoints: Any, truth: Any, visible: Any = None, dimensions: tuple[int, ...] = (2,)
) -> PosePairs:
    """Return predictions and annotations, checked.

    Raises
    ------
    TypeError, ValueError
        ``keypoints must hold real numbers``, ``keypoints must be (N, J, 2)``, ``truth must be of
        the shape of keypoints``, and as `annotated`.
    """
    predicted = _poses(keypoints, "keypoints", dimensions)
    truth_poses = _poses(truth, "truth", dimensions)
    if truth_poses.shape != predicted.shape:
        raise ValueError(
            f"truth must be of the shape of keypoints, {predicted.shape}, got {truth_poses.shape}"
        )
    truth_poses, seen = annotated(truth_poses, visible, dimensions)
    missed = seen & ~np.isfinite(predicted).all(axis=2)
    predicted = np.where((seen & ~missed)[..., None], predicted, 0)
    return PosePairs(predicted, truth_poses, seen, missed)


def annotated(
    truth: Any, visible: Any = None, dimensions: tuple[int, ...] = (2,)
) -> tuple[Float64Array, BoolArray]:
    """Return annotations, 0 where not visible, and which joints are.

    Raises
    ------
    TypeError, ValueError
        ``truth must hold real numbers``, ``truth must be (N, J, 2)``, ``truth must be finite where
        visible``, ``visible must be bool``, ``visible must be (N, J)``.
    """
    poses = _poses(truth, "truth", dimensions)
    shape = poses.shape[:2]
    seen = np.ones(shape, np.bool_) if visible is None else as_numpy(visible)
    if not seen.ndim:
        raise TypeError(
            f"visible must be a bool array (N, J) or None, got {shown(visible)}: other options go "
            "by name"
        )
    if seen.dtype != np.bool_:
        flags = ": of flags as COCO's, pass flags > 0" if seen.dtype.kind in "fiu" else ""
        raise TypeError(f"visible must be bool, got {seen.dtype}{flags}")
    if seen.shape != shape:
        raise ValueError(f"visible must be (N, J) = {shape}, got {seen.shape}")
    unusable = np.argwhere(seen & ~np.isfinite(poses).all(axis=2))
    if len(unusable):
        row, joint = unusable[0]
        raise ValueError(
            f"truth must be finite where visible, got {poses[row, joint].tolist()} for joint "
            f"{joint} in row {row}"
        )
    return np.where(seen[..., None], poses, 0), seen


def numbers_of(values: Any, argument: str, shape: tuple[int, ...], letters: str) -> Float64Array:
    """Return an argument as a float64 array of a shape, which ``letters`` spell in messages."""
    array = as_numpy(values)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{argument} must hold real numbers, got {array.dtype}")
    if array.shape != shape:
        raise ValueError(f"{argument} must be {letters} = {shape}, got shape {array.shape}")
    return array.astype(np.float64)


def checked_thresholds(thresholds: Any, argument: str = "thresholds") -> Float64Array:
    """Return thresholds as () or (T,) float64."""
    rule = f"{argument} must be a number or a sequence of numbers, at least 0 and finite"
    items = thresholds.tolist() if hasattr(thresholds, "tolist") else thresholds
    for item in [items] if isinstance(items, numbers.Real) else _items(items, rule):
        if isinstance(item, bool) or not isinstance(item, numbers.Real):
            raise TypeError(f"{rule}, got {shown(item)}")
        if not 0 <= float(item) < np.inf:
            raise ValueError(f"{rule}, got {shown(item)}")
    return np.asarray(items, np.float64)


def _items(items: object, rule: str) -> list[Any]:
    """Return a list or tuple that holds something as a list."""
    if not isinstance(items, list | tuple):
        raise TypeError(f"{rule}, got {shown(items)}")
    if not items:
        raise ValueError(f"{rule}, got none")
    return list(items)


def joint_names(skeleton: Skeleton | str | None, num_joints: int) -> tuple[str, ...]:
    """Return the skeleton's joints, or numbers where none is given nor goes by that many."""
    try:
        return resolve_skeleton(skeleton, num_joints).joints
    except ValueError:
        if skeleton is not None:
            raise
        return tuple(map(str, range(num_joints)))


def _poses(poses: Any, argument: str, dimensions: tuple[int, ...]) -> Float64Array:
    array = as_numpy(poses)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{argument} must hold real numbers, got {array.dtype}")
    if array.ndim != 3 or array.shape[2] not in dimensions:
        shapes = " or ".join(f"(N, J, {dimension})" for dimension in dimensions)
        raise ValueError(f"{argument} must be {shapes}, got shape {array.shape}")
    return array.astype(np.float64)
