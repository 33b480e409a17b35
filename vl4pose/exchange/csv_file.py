"""CSV with one person per line: to annotate by other means, and for `vl4pose score` and `fit`.

The columns are image, perhaps id, x, y, width and height of the box, ``<joint>_x`` and
``<joint>_y`` in image pixels, and behind them what is known of the pose.

Notes
-----
A spreadsheet takes a cell that begins with = + - or @ for a formula, and a file's name may be one.
A name that begins so is written as ``./=name``, which is the same file; an id or a text, with an
apostrophe in front, as spreadsheets do; ids are read back without it.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from vl4pose._atomic_file import write_atomically
from vl4pose.annotations import read_csv
from vl4pose.exchange.annotated_poses import AnnotatedPoses
from vl4pose.exchange.coco import from_people
from vl4pose.exchange.poses_to_annotate import PoseToAnnotate
from vl4pose.skeleton import Skeleton

__all__ = ["read", "write"]

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_BOX = ("x", "y", "width", "height")


def write(poses: Sequence[PoseToAnnotate], skeleton: Skeleton, out: Path) -> None:
    """Write the file ``out``, people in order of priority.

    Raises
    ------
    ValueError
        If an image's name ends in a space, which readers of CSV take off.
    """
    attributes = list(dict.fromkeys(name for pose in poses for name in pose.attributes))
    has_boxes = any(pose.box is not None for pose in poses)
    has_ids = any(pose.person_id is not None for pose in poses)
    has_problems = any(pose.problem is not None for pose in poses)
    header = ["image", *(["id"] if has_ids else []), *(_BOX if has_boxes else ())]
    header += [f"{joint}_{axis}" for joint in skeleton.joints for axis in "xy"]
    header += [f"{joint}_confidence" for joint in skeleton.joints]
    header += [*attributes, *(["problem"] if has_problems else [])]
    text = io.StringIO(newline="")
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(header)
    for pose in poses:
        cells: list[object] = [_name(pose.image)]
        if has_ids:
            cells.append(_text(pose.person_id))
        if has_boxes:
            cells += ["" if n is None else f"{n:.10g}" for n in pose.frame or [None] * 4]
        keypoints = pose.keypoints
        if keypoints is None:
            keypoints = np.full((skeleton.num_joints, 2), np.nan)
        confidence = pose.confidence
        if confidence is None:
            confidence = np.full(skeleton.num_joints, np.nan)
        cells += ["" if np.isnan(n) else f"{n:.4f}" for n in keypoints.ravel()]
        cells += ["" if np.isnan(n) else f"{n:.6g}" for n in confidence]
        values = (pose.attributes.get(name, "") for name in attributes)
        cells += [_text(value) if isinstance(value, str) else value for value in values]
        if has_problems:
            cells.append(_text(pose.problem))
        lines.writerow(cells)
    write_atomically(out, text.getvalue().encode())


def read(path: Path, skeleton: Skeleton) -> AnnotatedPoses:
    """Read people with the joints of a skeleton, as `vl4pose.annotations.read_csv` does.

    A person without a joint is an image that nobody annotated.

    Raises
    ------
    ValueError
        If a column is missing or there twice.
    """
    people = []
    for person in read_csv(path, skeleton)[0]:
        name, person_id = person.image.removeprefix("./"), person.person_id
        if person_id is not None and person_id[0] == "'" and person_id[1:].startswith(_FORMULA):
            person_id = person_id[1:]
        people.append(replace(person, image=name, person_id=person_id))
    images = dict.fromkeys(person.image for person in people)
    return from_people(people, skeleton, images, Counter())


def _name(name: str) -> str:
    if name != name.rstrip():
        raise ValueError(f"names of images must not end in a space for CSV, got {name!r}")
    return f"./{name}" if name.startswith((*_FORMULA, " ", "'", "./")) else name


def _text(text: str | None) -> str:
    if text is None:
        return ""
    text = text.strip()
    is_number = text.removeprefix("-").replace(".", "", 1).isdecimal()
    return f"'{text}" if text.startswith(_FORMULA) and not is_number else text
