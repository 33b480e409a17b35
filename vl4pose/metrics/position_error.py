"""Mean per-joint position error, as it is, relative to a root, or after Procrustes alignment."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from vl4pose._options import choice, integer
from vl4pose.metrics.metric import Metric
from vl4pose.metrics.pose_pairs import PosePairs, joint_names, pose_pairs
from vl4pose.skeleton import Skeleton, resolve_skeleton

__all__ = ["ALIGNMENTS", "mpjpe"]

Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

ALIGNMENTS = ("root", "procrustes")


def mpjpe(
    keypoints: Any,
    truth: Any,
    visible: Any = None,
    *,
    align: Literal["root", "procrustes"] | None = None,
    root: str | int | None = None,
    skeleton: Skeleton | str | None = None,
) -> Metric:
    """Mean per-joint position error (MPJPE), in the unit of the keypoints.

    Parameters
    ----------
    keypoints, truth : (N, J, 2) or (N, J, 3) array_like or Tensor
        Predicted and annotated positions, in pixels or in millimetres, say.
    visible : (N, J) bool array_like or Tensor, optional
        Which joints are annotated and count, default all. The others are not read.
    align : {None, "root", "procrustes"}
        "root": both poses are moved so that their roots are at the origin; people whose root is
        not annotated are left out, and the root itself counts, with its error of 0, as is usual.
        "procrustes" (PA-MPJPE): the prediction is moved, turned and scaled, not mirrored, to be
        nearest to the annotation in squares of the distances of the joints that count; people with
        fewer than three of them in 2D, four in 3D, are left out, whom nearly any pose would fit.
    root : str or int, optional
        The joint that "root" goes by, default the skeleton's own root (for people in 3D one takes
        the pelvis).
    skeleton : Skeleton, str or None
        None goes by the number of joints; no skeleton is needed but for names.

    Returns
    -------
    Metric
        Its mean is that of all joints that count.

    Raises
    ------
    TypeError, ValueError
        ``keypoints must be (N, J, 2) or (N, J, 3)`` and as `pck`; ``keypoints must be finite where
        visible``; ``align must be one of root, procrustes or None``; ``root must be None unless
        align is 'root'``, ``root must be ...``.

    Notes
    -----
    Ionescu et al., Human3.6M, PAMI 2014 (relative to the root). Procrustes: the closed form of
    Umeyama, PAMI 1991; as the second protocol of Human3.6M.
    """
    if align is not None:
        choice(align, "align", ALIGNMENTS, " or None")
    if root is not None and align != "root":
        raise ValueError(f"root must be None unless align is 'root', got {root!r}")
    pairs = pose_pairs(keypoints, truth, visible, (2, 3))
    num_joints = pairs.visible.shape[1]
    if pairs.missed.any():
        row, joint = np.argwhere(pairs.missed)[0]
        raise ValueError(
            f"keypoints must be finite where visible, got others for joint {joint} in row {row}"
        )
    name, counted = "MPJPE", pairs.visible
    if align == "root":
        index = _root_index(root, skeleton, num_joints)
        counted = counted & pairs.visible[:, index, None]
        pairs = pairs._replace(
            keypoints=pairs.keypoints - pairs.keypoints[:, index, None],
            truth=pairs.truth - pairs.truth[:, index, None],
        )
    elif align == "procrustes":
        name = "PA-MPJPE"
        enough = pairs.visible.sum(axis=1) > pairs.truth.shape[2]
        counted = counted & enough[:, None]
        pairs = pairs._replace(keypoints=_aligned(pairs))
    return Metric(name, joint_names(skeleton, num_joints), pairs.distances, counted)


def _root_index(root: str | int | None, skeleton: Skeleton | str | None, num_joints: int) -> int:
    if root is None:
        return resolve_skeleton(skeleton, num_joints).root
    if isinstance(root, str):
        try:
            return resolve_skeleton(skeleton, num_joints).joint_index(root)
        except ValueError as error:
            message = str(error)
            if not message.startswith("joint must be"):
                raise
            raise ValueError(message.replace("joint must be", "root must be", 1)) from None
    return integer(root, "root", 0, num_joints - 1)


def _aligned(pairs: PosePairs) -> Float64Array:
    """Return the predictions after the similarity that brings them nearest to the truth."""
    weight = pairs.visible[..., None].astype(np.float64)
    count = np.maximum(weight.sum(axis=1, keepdims=True), 1)
    centre = (pairs.keypoints * weight).sum(axis=1, keepdims=True) / count
    truth_centre = (pairs.truth * weight).sum(axis=1, keepdims=True) / count
    pose, truth = (pairs.keypoints - centre) * weight, (pairs.truth - truth_centre) * weight
    # Rows are points: pose @ rotation is nearest to truth.
    u, singular, vt = np.linalg.svd(pose.transpose(0, 2, 1) @ truth)
    mirrors = np.linalg.det(u @ vt) < 0
    u[mirrors, :, -1] *= -1
    singular[mirrors, -1] *= -1
    spread = (pose**2).sum(axis=(1, 2))
    scale = np.divide(singular.sum(axis=1), spread, out=np.zeros_like(spread), where=spread > 0)
    aligned: Float64Array = scale[:, None, None] * (pose @ (u @ vt)) + truth_centre
    return aligned
