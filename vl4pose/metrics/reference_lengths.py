"""The length of each person that errors are divided by."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vl4pose.metrics.pose_pairs import annotated, numbers_of
from vl4pose.skeleton import Skeleton, nearest, resolve_skeleton, shown

__all__ = ["NORMALIZATIONS", "reference_lengths"]

Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

NORMALIZATIONS = ("torso", "head", "box")
_TORSO = (("left_shoulder", "right_hip"), ("right_shoulder", "left_hip"))
_HEAD = (("head", "neck"),)
_HEAD_BOX_SCALE = 0.6  # MPII: of the diagonal


def reference_lengths(
    truth: Any,
    visible: Any = None,
    *,
    normalize_by: Any = "torso",
    boxes: Any = None,
    skeleton: Skeleton | str | None = None,
) -> Float64Array:
    """Return the length that each person's errors are divided by.

    Parameters
    ----------
    truth : (N, J, 2) array_like
        Annotated joints, in pixels.
    visible : (N, J) bool array_like, optional
        Which are annotated, default all; the others are not read.
    normalize_by : {"torso", "head", "box"} or (N,) array_like
        "torso": the longer of the diagonals left shoulder to right hip and right shoulder to left
        hip, of those that are annotated. "head": 0.6 times the diagonal of the head's box, as MPII
        has it; without boxes, the distance from the joint "head" (its top) to "neck". "box": the
        longer side of the person's box; without boxes, of that of the annotated joints, as in
        Yang and Ramanan. An array: these lengths.
    boxes : (N, 4) array_like, optional
        [x, y, width, height] in pixels: of heads for "head", of people for "box".
    skeleton : Skeleton, str or None
        None goes by the number of joints. Only "torso" and "head" read it.

    Returns
    -------
    lengths : (N,) float64
        In pixels; NaN where the joints are not annotated, or the length is 0 or NaN.

    Raises
    ------
    TypeError, ValueError
        ``normalize_by must be one of torso, head, box or an array (N,)``; ``normalize_by must be
        ... for a skeleton without ...``; ``boxes must be ...``; ``truth`` and ``visible`` as for
        `pck`.

    Notes
    -----
    Torso: Sapp and Taskar, MODEC, CVPR 2013 (one diagonal). Head: Andriluka et al., CVPR 2014. Box:
    Yang and Ramanan, PAMI 2013.
    """
    joints, seen = annotated(truth, visible)
    num_people = len(joints)
    if not isinstance(normalize_by, str):
        if normalize_by is None or isinstance(normalize_by, bool | Skeleton):
            raise TypeError(_rule(shown(normalize_by)))
        lengths = numbers_of(normalize_by, "normalize_by", (num_people,), "(N,)")
        _check_lengths(lengths, "normalize_by")
    elif normalize_by not in NORMALIZATIONS:
        raise ValueError(_rule(repr(normalize_by), normalize_by))
    elif normalize_by == "torso":
        lengths = _longest(joints, seen, _TORSO, "torso", skeleton)
    elif boxes is not None:
        sides = numbers_of(boxes, "boxes", (num_people, 4), "(N, 4)")[:, 2:]
        _check_lengths(sides, "boxes")
        sides = np.where(np.all(sides > 0, axis=1)[:, None], sides, np.nan)
        if normalize_by == "head":
            lengths = _HEAD_BOX_SCALE * np.hypot(sides[:, 0], sides[:, 1])
        else:
            lengths = sides.max(axis=1, initial=0)
    elif normalize_by == "head":
        lengths = _longest(joints, seen, _HEAD, "head", skeleton)
    else:
        lengths = _extent(joints, seen)
    if boxes is not None and not (isinstance(normalize_by, str) and normalize_by != "torso"):
        raise ValueError("boxes must be None unless normalize_by is 'head' or 'box', got boxes")
    return np.where(lengths > 0, lengths, np.nan)


def _rule(got: str, name: str = "") -> str:
    return f"normalize_by must be {nearest(name, NORMALIZATIONS)} or an array (N,), got {got}"


def _check_lengths(lengths: Float64Array, argument: str) -> None:
    wrong = lengths[(lengths < 0) | np.isinf(lengths)]
    if wrong.size:
        raise ValueError(f"{argument} must hold lengths of at least 0, finite, got {wrong[0]:g}")


def _longest(
    joints: Float64Array,
    seen: BoolArray,
    pairs: tuple[tuple[str, str], ...],
    name: str,
    skeleton: Skeleton | str | None,
) -> Float64Array:
    """Return the longest of the distances of some pairs of joints, 0 where none is annotated."""
    resolved = resolve_skeleton(skeleton, joints.shape[1])
    try:
        index = [[resolved.joint_index(joint) for joint in pair] for pair in pairs]
    except ValueError:
        needed = ", ".join(joint for pair in pairs for joint in pair)
        boxes = " and boxes" if name == "head" else ""
        raise ValueError(
            f"normalize_by must be 'box' or an array (N,){boxes and ', or come with boxes,'} for "
            f"skeleton {resolved.name!r}, which lacks some of {needed}, got {name!r}"
        ) from None
    first, second = np.array(index).T
    distances = np.linalg.norm(joints[:, first] - joints[:, second], axis=2)
    longest: Float64Array = np.where(seen[:, first] & seen[:, second], distances, 0).max(axis=1)
    return longest


def _extent(joints: Float64Array, seen: BoolArray) -> Float64Array:
    """Return the longer side of the box of the annotated joints, 0 where there are none."""
    where = np.broadcast_to(seen[..., None], joints.shape)
    highest = joints.max(axis=1, where=where, initial=-np.inf)
    lowest = joints.min(axis=1, where=where, initial=np.inf)
    extent: Float64Array = np.maximum(highest - lowest, 0).max(axis=1)
    return extent
