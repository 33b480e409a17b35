"""Annotated people of Leeds Sports Pose and of its extended training set: their joints.mat."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vl4pose.annotations import Person, joint_places
from vl4pose.skeleton import Skeleton

__all__ = ["FLAGS", "read_mat"]

FLAGS = ("occluded", "annotated")

_JOINTS = (
    *("rankl", "rknee", "rhip", "lhip", "lknee", "lankl"),
    *("rwri", "relb", "rsho", "lsho", "lelb", "lwri"),
    *("neck", "head"),
)


def read_mat(path: Path, skeleton: Skeleton, flag: str | None = None) -> list[Person]:
    """Return the people of a ``joints.mat``, in its order; person n is all of the n-th image.

    Parameters
    ----------
    path : Path
        Holds ``joints``: 3 x 14 x N, as Leeds Sports Pose has them, with the images im0001.jpg,
        im0002.jpg, ...; or 14 x 3 x N, as the extended set does, with im00001.jpg, ...
    skeleton : Skeleton
        Of joints among the 14.
    flag : {"occluded", "annotated"}, optional
        What a flag of 1 says of a joint: that it is occluded, where all joints are annotated, or
        that it is annotated, where the coordinates of the others mean nothing. By default it goes
        by the shape, for Leeds Sports Pose means the first and the extended set the second.

    Raises
    ------
    ValueError
        If the file holds nothing of that form, or a joint of the skeleton is not among the 14.
    """
    import scipy.io

    try:
        joints = scipy.io.loadmat(path, variable_names=["joints"]).get("joints")
    except OSError:
        raise
    except Exception as error:  # a damaged file is met with errors of every kind
        raise ValueError(f"must be a MATLAB file of version 4 to 7.2: {error}") from error
    shape: tuple[int, ...] = () if joints is None else joints.shape
    if len(shape) != 3 or shape[:2] not in ((3, 14), (14, 3)):
        got = "none" if joints is None else " x ".join(map(str, shape))
        raise ValueError(
            "must hold 'joints', 3 x 14 x N as Leeds Sports Pose does, or 14 x 3 x N as its "
            f"extended training set, got {got}"
        )
    is_extended = shape[0] == 14
    order = joint_places(_JOINTS, skeleton, "joint")
    # (N, J, 3)
    triples = np.asarray(joints, np.float64).transpose((2, 0, 1) if is_extended else (2, 1, 0))
    coordinates, flags = triples[:, order, :2], triples[:, order, 2]
    missing = ~np.isfinite(coordinates).all(axis=2, keepdims=True)
    if (flag or FLAGS[is_extended]) == "annotated":
        missing |= flags[..., None] == 0
    digits = 5 if is_extended else 4
    return [
        Person(f"im{number:0{digits}d}.jpg", keypoints=keypoints)
        for number, keypoints in enumerate(np.where(missing, np.nan, coordinates), 1)
    ]
