"""What every format writes: the people of a score table or a selection, with their poses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from vl4pose.results import Status
from vl4pose.score_table import ScoreTable

__all__ = ["ImageToAnnotate", "PoseToAnnotate", "images_to_annotate", "poses_to_annotate"]

Array = npt.NDArray[np.float64]

# Columns of a selection or of a score table that a person sees in the tool, where they exist.
_NUMBERS = ("rank", "priority", "percentile", "score", "log_prob", "multi_peak_entropy")
_TEXTS = ("chosen_by", "reasons")


@dataclass(frozen=True, eq=False)
class PoseToAnnotate:
    """One row: a person to annotate, and what is known of the pose.

    Attributes
    ----------
    image : str
        Relative to the table's root.
    person_id : str, optional
    box : (x, y, width, height), optional
        Image pixels from the image's corner; None for people who fill their images.
    size : (width, height), optional
        Of the upright image, where it could be read.
    keypoints : (J, 2) array, optional
        The refined pose in image pixels, NaN where a joint has none; None where no joint has one.
    confidence : (J,) array, optional
        The height of each map's highest pixel.
    problem : str, optional
        Why there is no pose.
    attributes : dict
        rank, score, status, reasons and the like, where the table has them.
    """

    image: str
    person_id: str | None = None
    box: tuple[float, float, float, float] | None = None
    size: tuple[int, int] | None = None
    keypoints: Array | None = None
    confidence: Array | None = None
    problem: str | None = None
    attributes: dict[str, float | int | str] = field(default_factory=dict)

    @property
    def frame(self) -> tuple[float, float, float, float] | None:
        """The box, or all of the image for a person without one."""
        if self.box is not None or self.size is None:
            return self.box
        return 0.0, 0.0, float(self.size[0]), float(self.size[1])

    def __str__(self) -> str:
        return self.image + (f" #{self.person_id}" if self.person_id is not None else "")


@dataclass(frozen=True, eq=False)
class ImageToAnnotate:
    """An image, and its people in order of priority."""

    name: str
    size: tuple[int, int] | None
    poses: Sequence[PoseToAnnotate]

    @property
    def has_pose(self) -> bool:
        """Whether anybody in it is annotated beforehand."""
        return any(pose.keypoints is not None for pose in self.poses)


def poses_to_annotate(table: ScoreTable, limit: int | None = None) -> list[PoseToAnnotate]:
    """Return everyone in a table, in its order.

    Parameters
    ----------
    table : ScoreTable
        Of ``vl4pose select``, or of ``vl4pose score``: what it does not have is left out.
    limit : int, optional
        The first so many alone.

    Raises
    ------
    ValueError
        If the rows lack the columns image or refined_keypoints, or these have other joints than the
        table's skeleton.
    """
    names = table.rows.column_names
    for column in ("image", "refined_keypoints"):
        if column not in names:
            raise ValueError(f"the table must have a column {column!r}, got {', '.join(names)}")
    wanted = (
        *("image", "person_id", "box", "width", "height", "error", "status", "confidence"),
        *("refined_keypoints", *_NUMBERS, *_TEXTS),
    )
    columns = table.rows.select([name for name in wanted if name in names])
    rows = columns.slice(0, limit).to_pylist()
    return [_pose(row, table.skeleton.num_joints) for row in rows]


def images_to_annotate(poses: Sequence[PoseToAnnotate]) -> list[ImageToAnnotate]:
    """Return the images of the poses, each where its most urgent person is."""
    of_image: dict[str, list[PoseToAnnotate]] = {}
    for pose in poses:
        of_image.setdefault(pose.image, []).append(pose)
    return [
        ImageToAnnotate(name, next((p.size for p in people if p.size), None), people)
        for name, people in of_image.items()
    ]


def _pose(row: dict[str, Any], num_joints: int) -> PoseToAnnotate:
    size = (row.get("width"), row.get("height"))
    box = row.get("box")
    keypoints, problem = _keypoints(row, num_joints)
    confidence = row.get("confidence")
    attributes = {
        **{name: row[name] for name in _NUMBERS if _is_finite(row.get(name))},
        **({"status": int(row["status"])} if row.get("status") is not None else {}),
        **{name: row[name] for name in _TEXTS if row.get(name)},
    }
    return PoseToAnnotate(
        image=row["image"],
        person_id=row.get("person_id"),
        box=None if box is None else (box[0], box[1], box[2], box[3]),
        size=None if size[0] is None or size[1] is None else (int(size[0]), int(size[1])),
        keypoints=keypoints,
        confidence=None if confidence is None else np.array(confidence, np.float64),
        problem=problem,
        attributes=attributes,
    )


def _keypoints(row: dict[str, Any], num_joints: int) -> tuple[Array | None, str | None]:
    points = row["refined_keypoints"]
    if points is None:
        status = Status(row.get("status") or 0)
        flags = ", ".join(str(flag.name).lower() for flag in status) if status else "not scored"
        return None, row.get("error") or flags
    if len(points) != num_joints:
        raise ValueError(
            f"refined_keypoints must have the {num_joints} joints of the table's skeleton, got "
            f"{len(points)} for {row['image']!r}"
        )
    missing = (None, None)  # a joint, or one of its coordinates, that is null
    flat = [*chain.from_iterable(missing if point is None else point for point in points)]
    keypoints = np.array(flat, np.float64).reshape(num_joints, 2)
    keypoints[~np.isfinite(keypoints).all(axis=1)] = np.nan
    if np.isnan(keypoints).all():
        return None, "no joint has finite coordinates"
    return keypoints, None


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and bool(np.isfinite(value))
