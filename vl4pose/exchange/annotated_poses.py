"""What every format reads: the people that somebody annotated, and how they are made one's own.

Tools know images, joints and people by other names, orders and ids than the table that they came
from. `AnnotatedPoses` holds what a file says; `matched` finds the skeleton's joints and, of a
selection, the rows that are meant.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from vl4pose.annotations import joint_places
from vl4pose.exchange.image_names import ImageNames
from vl4pose.exchange.poses_to_annotate import PoseToAnnotate
from vl4pose.skeleton import Skeleton, nearest

__all__ = [
    "UNCHANGED",
    "AnnotatedPose",
    "AnnotatedPoses",
    "Changes",
    "compare",
    "in_skeleton",
    "known_images",
    "matched",
]

Array = npt.NDArray[np.float64]
Visibility = npt.NDArray[np.uint8]

HIDDEN, VISIBLE = 1, 2
# CVAT writes hundredths of a pixel, so that points which nobody touched come back this far off.
UNCHANGED = 0.05


@dataclass(frozen=True, eq=False)
class AnnotatedPose:
    """A person that somebody annotated.

    Attributes
    ----------
    image : str
        As the file names it.
    joints : dict of str to (x, y, visibility)
        Image pixels, the centre of a pixel at integers; visibility 1 (hidden) or 2 (visible).
        Joints that are not annotated are not in it.
    person_id : str, optional
    box : (x, y, width, height), optional
        Image pixels from the image's corner.
    size : (width, height), optional
        Of the image.
    """

    image: str
    joints: Mapping[str, tuple[float, float, int]]
    person_id: str | None = None
    box: tuple[float, float, float, float] | None = None
    size: tuple[int, int] | None = None
    keypoints: Array = field(default_factory=lambda: np.empty((0, 2)))
    visibility: Visibility = field(default_factory=lambda: np.empty(0, np.uint8))

    def __str__(self) -> str:
        return self.image + (f" #{self.person_id}" if self.person_id is not None else "")


@dataclass(frozen=True, eq=False)
class AnnotatedPoses:
    """The people of a file.

    Attributes
    ----------
    poses : list of AnnotatedPose
    joint_names : tuple of str, optional
        Those that the file declares, annotated or not; None where it declares none.
    images : dict of str to (width, height) or None
        Every image of the file, also those without a person.
    left_out : dict of str to int
        What was not read, on purpose, and how many.
    """

    poses: list[AnnotatedPose]
    joint_names: tuple[str, ...] | None = None
    images: dict[str, tuple[int, int] | None] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Changes:
    """What became of the poses that a selection asked for.

    Attributes
    ----------
    asked, annotated, unchanged, added : int
        Rows of the selection; those that somebody annotated; of these, those whose every joint is
        where the pre-annotation had it; people that the selection does not have.
    missing : list of PoseToAnnotate
        Rows that nobody annotated.
    moved_px : float
        The mean distance from pre-annotation to annotation, over all joints that have both; NaN
        without any.
    moved_joints : int
        Joints that are farther than 0.05 pixels from their pre-annotation.
    joints : int
        Joints that have both.
    farthest : list of (str, float)
        The poses that were moved most, and their mean distance.
    """

    asked: int
    annotated: int
    unchanged: int
    added: int
    missing: list[PoseToAnnotate]
    moved_px: float
    moved_joints: int
    joints: int
    farthest: list[tuple[str, float]]


def in_skeleton(poses: AnnotatedPoses, skeleton: Skeleton) -> AnnotatedPoses:
    """Return the same people with ``keypoints`` (J, 2), NaN, and ``visibility`` (J,) of a skeleton.

    Joints go by name: in any order and case, and short names too.

    Raises
    ------
    ValueError
        If the file declares joints, but not each of the skeleton once; or, where it declares none,
        a joint has another name than those of the skeleton.
    """
    if poses.joint_names is not None:
        places = joint_places(poses.joint_names, skeleton, "joint")
        index = {poses.joint_names[place]: joint for joint, place in enumerate(places)}
    else:
        index = {}
        for name in {name for pose in poses.poses for name in pose.joints}:
            try:
                index[name] = skeleton.joint_index(name.strip().lower())
            except ValueError as error:
                known = nearest(name, skeleton.joints)
                raise ValueError(f"joints must each be {known}, got {name!r}") from error
        twice = [name for name, count in Counter(index.values()).items() if count > 1]
        if twice:
            names = ", ".join(repr(name) for name in index if index[name] == twice[0])
            raise ValueError(f"joints must have one name each, got {names}")

    def placed(pose: AnnotatedPose) -> AnnotatedPose:
        keypoints = np.full((skeleton.num_joints, 2), np.nan)
        visibility = np.zeros(skeleton.num_joints, np.uint8)
        for name, (x, y, flag) in pose.joints.items():
            if name in index:
                if not np.isfinite([x, y]).all():
                    raise ValueError(f"joints must be at finite x, y, got {x}, {y} in {pose}")
                keypoints[index[name]] = x, y
                visibility[index[name]] = flag
        return replace(pose, keypoints=keypoints, visibility=visibility)

    return replace(poses, poses=[placed(pose) for pose in poses.poses])


def known_images(
    poses: AnnotatedPoses, known: Iterable[str], root: str | None = None
) -> AnnotatedPoses:
    """Return the same people with the names of images that are known, relative to the root.

    Raises
    ------
    ValueError
        If an image is not known, several fit, or its name leaves the root.
    """
    names = ImageNames(known, root)
    found = {name: names.find(name) for name in poses.images}
    for name in {pose.image for pose in poses.poses} - found.keys():
        found[name] = names.find(name)
    shared = [name for name, count in Counter(found.values()).items() if count > 1]
    if shared:
        same = ", ".join(repr(name) for name in found if found[name] == shared[0])
        raise ValueError(f"images must be in the file once, got {same} for {shared[0]!r}")
    return replace(
        poses,
        poses=[replace(pose, image=found[pose.image]) for pose in poses.poses],
        images={found[name]: size for name, size in poses.images.items()},
    )


def matched(
    poses: AnnotatedPoses, asked: Sequence[PoseToAnnotate]
) -> tuple[AnnotatedPoses, list[PoseToAnnotate | None]]:
    """Return the same people with the ids, boxes and sizes of the rows that they were asked as.

    In an image, people are matched by their ids, and those without one to the nearest
    pre-annotation; one that is left may be one without a pre-annotation, in their order.

    Parameters
    ----------
    poses : AnnotatedPoses
        With keypoints, and images by the names of ``asked``.
    asked : sequence of PoseToAnnotate

    Returns
    -------
    poses : AnnotatedPoses
    rows : list of PoseToAnnotate or None
        Of each person, the row; None for people who were added.
    """
    of_image: dict[str, list[PoseToAnnotate]] = {}
    for row in asked:
        of_image.setdefault(row.image, []).append(row)
    here: dict[str, list[int]] = {}
    for i, pose in enumerate(poses.poses):
        here.setdefault(pose.image, []).append(i)
    rows: list[PoseToAnnotate | None] = [None] * len(poses.poses)
    for image, indices in here.items():
        candidates = of_image.get(image, [])
        for i, row in _pairs([poses.poses[i] for i in indices], candidates):
            rows[indices[i]] = row
    out = [
        pose if row is None else _as_asked(pose, row)
        for pose, row in zip(poses.poses, rows, strict=True)
    ]
    return replace(poses, poses=out), rows


def compare(
    poses: Sequence[AnnotatedPose],
    rows: Sequence[PoseToAnnotate | None],
    asked: Sequence[PoseToAnnotate],
    num_farthest: int = 5,
) -> Changes:
    """Return what a person changed of the pre-annotations.

    Parameters
    ----------
    poses, rows
        As `matched` returns them.
    asked : sequence of PoseToAnnotate
        All rows of the selection.
    num_farthest : int
        How many of the poses that were moved most to name.
    """
    answered = {id(row) for row in rows if row is not None}
    distances, means = [], []
    unchanged = 0
    for pose, row in zip(poses, rows, strict=True):
        if row is None or row.keypoints is None:
            continue
        distance = np.linalg.norm(pose.keypoints - row.keypoints, axis=1)
        both = np.isfinite(distance)
        same_joints = np.array_equal(np.isnan(pose.keypoints), np.isnan(row.keypoints))
        unchanged += bool(same_joints and (distance[both] <= UNCHANGED).all())
        if both.any():
            distances.append(distance[both])
            means.append((str(pose), float(distance[both].mean())))
    every = np.concatenate(distances) if distances else np.empty(0)
    return Changes(
        asked=len(asked),
        annotated=len(answered),
        unchanged=unchanged,
        added=sum(row is None for row in rows),
        missing=[row for row in asked if id(row) not in answered],
        moved_px=float(every.mean()) if len(every) else float("nan"),
        moved_joints=int((every > UNCHANGED).sum()),
        joints=len(every),
        farthest=sorted(means, key=lambda item: -item[1])[:num_farthest],
    )


def _pairs(
    poses: Sequence[AnnotatedPose], asked: Sequence[PoseToAnnotate]
) -> list[tuple[int, PoseToAnnotate]]:
    """Return which person is which row, in an image."""
    left = list(range(len(poses)))
    free = list(range(len(asked)))
    pairs = []

    def pair(i: int, k: int) -> None:
        pairs.append((i, asked[k]))
        left.remove(i)
        free.remove(k)

    for i, pose in enumerate(poses):
        same = [
            k for k in free if pose.person_id is not None and asked[k].person_id == pose.person_id
        ]
        if same:
            pair(i, same[0])
    distances = sorted(
        (_distance(poses[i], asked[k]), i, k)
        for i in left
        for k in free
        if asked[k].keypoints is not None
    )
    for distance, i, k in distances:
        if i in left and k in free and np.isfinite(distance):
            pair(i, k)
    for i in left[:]:
        if not free:
            break
        pair(i, free[0])
    return pairs


def _distance(pose: AnnotatedPose, row: PoseToAnnotate) -> float:
    if row.keypoints is None:
        return float("inf")
    distance = np.linalg.norm(pose.keypoints - row.keypoints, axis=1)
    both = np.isfinite(distance)
    return float(distance[both].mean()) if both.any() else float("inf")


def _as_asked(pose: AnnotatedPose, row: PoseToAnnotate) -> AnnotatedPose:
    return replace(
        pose,
        person_id=pose.person_id if row.person_id is None else row.person_id,
        box=row.frame if pose.box is None else pose.box,
        size=pose.size or row.size,
    )
