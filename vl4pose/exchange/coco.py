"""COCO keypoints JSON: to annotate, and to train on.

An image has its people in order of priority; a joint without a place has the flag 0. Whoever fills
an image has a box of all of it, so that `vl4pose score` and `vl4pose fit` take the file as well.
What COCO has no field for is under ``attributes``, where CVAT and Datumaro look too, and
``keypoint_confidence``.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from vl4pose._atomic_file import write_atomically
from vl4pose.annotations import Person, read_coco
from vl4pose.exchange.annotated_poses import VISIBLE, AnnotatedPose, AnnotatedPoses
from vl4pose.exchange.poses_to_annotate import ImageToAnnotate, PoseToAnnotate
from vl4pose.skeleton import Skeleton

__all__ = ["from_people", "image_sizes", "read", "write", "write_training"]

Box = tuple[float, float, float, float]
Size = tuple[int, int] | None

_DERIVED = 0.02  # pixels: a box so close to the joints' extent was computed from them
_NUMBER = re.compile(r"[1-9][0-9]{0,17}|0")


def write(
    images: Sequence[ImageToAnnotate], skeleton: Skeleton, out: Path, *, label: str = "person"
) -> None:
    """Write the file ``out``, with the poses as annotations that somebody corrects."""
    entries: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    people = [pose for image in images for pose in image.poses if _is_drawn(pose)]
    ids = dict(zip(map(id, people), _numbered(pose.person_id for pose in people), strict=True))
    for number, image in enumerate(images, start=1):
        entry = _image(number, image.name, image.size)
        for pose in image.poses:
            if _is_drawn(pose):
                annotations.append(_pre_annotation(pose, ids[id(pose)], number, skeleton))
            else:
                entry["attributes"] = _attributes(pose)
        entries.append(entry)
    _write(out, skeleton, label, entries, annotations)


def write_training(
    poses: Sequence[AnnotatedPose], skeleton: Skeleton, out: Path, *, label: str = "person"
) -> None:
    """Write the people that ``vl4pose fit`` trains on; all of them have a box."""
    numbers: dict[str, int] = {}
    entries, annotations = [], []
    ids = _numbered(pose.person_id for pose in poses)
    for pose, number in zip(poses, ids, strict=True):
        if pose.image not in numbers:
            numbers[pose.image] = len(numbers) + 1
            entries.append(_image(numbers[pose.image], pose.image, pose.size))
        assert pose.box is not None
        named = pose.person_id is not None and pose.person_id != str(number)
        extra = {"attributes": {"person_id": pose.person_id}} if named else {}
        annotations.append(
            _annotation(number, numbers[pose.image], pose.box, pose.keypoints, pose.visibility)
            | extra
        )
    _write(out, skeleton, label, entries, annotations)


def read(path: Path, skeleton: Skeleton) -> AnnotatedPoses:
    """Read the people of a COCO keypoints file.

    A box that is exactly the extent of the person's joints, as CVAT computes it at export, is left
    out: it says nothing that the joints do not.

    Raises
    ------
    ValueError
        If the file is not of that form, or lacks a joint of the skeleton.
    """
    try:
        people, left_out = read_coco(path, skeleton)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"must be JSON: {error}") from error
    data = json.loads(path.read_text(encoding="utf-8"))
    ids = {
        str(entry.get("id")): str(entry["attributes"]["person_id"])
        for entry in data["annotations"]
        if isinstance(entry.get("attributes"), dict) and entry["attributes"].get("person_id")
    }
    people = [
        replace(
            person,
            person_id=ids.get(str(person.person_id), person.person_id),
            box=None if _is_derived(person) else person.box,
        )
        for person in people
    ]
    counted = Counter({item.what: item.number for item in left_out})
    return from_people(people, skeleton, image_sizes(path), counted)


def image_sizes(path: Path) -> dict[str, Size]:
    """Return the images of a COCO file, and their widths and heights where it has them."""
    data = json.loads(path.read_text(encoding="utf-8"))
    return {entry["file_name"]: _size(entry) for entry in data["images"]}


def from_people(
    people: Iterable[Person],
    skeleton: Skeleton,
    images: dict[str, Size],
    left_out: Counter[str],
) -> AnnotatedPoses:
    """Return people that were read with a skeleton.

    Those with an error and those without a joint are left out, counted.
    """
    poses = []
    for person in people:
        if person.error is not None or person.keypoints is None:
            left_out[f"people with an error ({person}: {person.error})"] += 1
            continue
        visibility = person.visibility
        if visibility is None:
            visibility = np.where(np.isnan(person.keypoints).any(axis=1), 0, VISIBLE)
        if not visibility.any():
            left_out["people without a joint"] += 1
            continue
        joints = {
            name: (float(x), float(y), int(flag))
            for name, (x, y), flag in zip(
                skeleton.joints, person.keypoints, visibility, strict=True
            )
            if flag
        }
        size = images.get(person.image)
        poses.append(AnnotatedPose(person.image, joints, person.person_id, person.box, size))
    return AnnotatedPoses(poses, skeleton.joints, images, left_out)


def _is_drawn(pose: PoseToAnnotate) -> bool:
    """Return whether there is a pose or a box."""
    return pose.frame is not None and (pose.keypoints is not None or pose.box is not None)


def _is_derived(person: Person) -> bool:
    points = person.keypoints
    if person.box is None or points is None or np.isnan(points).all():
        return False
    x, y, width, height = person.box
    low, high = np.nanmin(points, axis=0), np.nanmax(points, axis=0)
    return bool(np.abs([*(low - [x, y]), *(high - [x + width, y + height])]).max() <= _DERIVED)


def _size(entry: dict[str, Any]) -> Size:
    width, height = entry.get("width"), entry.get("height")
    if isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0:
        return width, height
    return None


def _numbered(ids: Iterable[str | None]) -> list[int]:
    """Return a number for each: ids that are one stay so, but twice; others follow the highest."""
    given = list(ids)
    kept = {int(name): i for i, name in reversed([*enumerate(given)]) if _is_number(name)}
    numbers = {i: number for number, i in kept.items()}
    following = count(max(kept, default=0) + 1)
    return [numbers[i] if i in numbers else next(following) for i in range(len(given))]


def _is_number(name: str | None) -> TypeGuard[str]:
    return name is not None and _NUMBER.fullmatch(name) is not None


def _image(number: int, name: str, size: Size) -> dict[str, Any]:
    entry: dict[str, Any] = {"id": number, "file_name": name}
    if size is not None:
        entry |= {"width": size[0], "height": size[1]}
    return entry


def _attributes(pose: PoseToAnnotate) -> dict[str, Any]:
    attributes: dict[str, Any] = dict(pose.attributes)
    if pose.person_id is not None:
        attributes["person_id"] = pose.person_id
    if pose.problem is not None:
        attributes["problem"] = pose.problem
    return attributes


def _pre_annotation(
    pose: PoseToAnnotate, number: int, image_number: int, skeleton: Skeleton
) -> dict[str, Any]:
    assert pose.frame is not None
    keypoints = pose.keypoints
    if keypoints is None:
        keypoints = np.full((skeleton.num_joints, 2), np.nan)
    visibility = np.where(np.isnan(keypoints).any(axis=1), 0, VISIBLE)
    out = _annotation(number, image_number, pose.frame, keypoints, visibility)
    out["attributes"] = _attributes(pose)
    if pose.confidence is not None:
        out["keypoint_confidence"] = [
            round(float(value), 6) if np.isfinite(value) else None for value in pose.confidence
        ]
    return out


def _annotation(
    number: int,
    image_number: int,
    box: Box,
    keypoints: npt.NDArray[np.float64],
    visibility: npt.NDArray[Any],
) -> dict[str, Any]:
    flat: list[float | int] = []
    for (x, y), flag in zip(keypoints, visibility, strict=True):
        flat += [round(float(x), 4), round(float(y), 4), int(flag)] if flag else [0, 0, 0]
    return {
        "id": number,
        "image_id": image_number,
        "category_id": 1,
        "bbox": list(box),
        "area": box[2] * box[3],
        "iscrowd": 0,
        "keypoints": flat,
        "num_keypoints": int((visibility > 0).sum()),
    }


def _write(
    out: Path,
    skeleton: Skeleton,
    label: str,
    images: list[dict[str, Any]],
    annotations: list[dict[str, Any]],
) -> None:
    category = {
        "id": 1,
        "name": label,
        "supercategory": "",
        "keypoints": list(skeleton.joints),
        "skeleton": [[parent + 1, child + 1] for parent, child in skeleton.links],
    }
    data = {
        "info": {"description": "written by vl4pose"},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": [category],
    }
    write_atomically(out, (json.dumps(data, indent=1, allow_nan=False) + "\n").encode())
