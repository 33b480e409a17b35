"""Scores, poses and reasons as fields of FiftyOne's samples.

Points are relative there, from 0 at the image's edge to 1: a pixel x of ours, an integer at the
pixel's centre, becomes (x + 1/2) / width.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from vl4pose.results import Status
from vl4pose.score_table import ScoreTable, read_scores
from vl4pose.skeleton import Skeleton, shown

try:
    import fiftyone as fo
except ImportError as error:
    raise ImportError(
        f"vl4pose.adapters.fiftyone needs FiftyOne ({error}): pip install fiftyone"
    ) from error

__all__ = ["Written", "keypoint_skeleton", "write_scores"]

# What of a row becomes an attribute of its pose, those of a selection if they are there.
_ATTRIBUTES = ("person_id", "score", "log_prob", "multi_peak_entropy")
_OF_SELECTION = ("rank", "priority", "percentile", "chosen_by", "reasons")


class Written(NamedTuple):
    """How scores and samples met.

    Attributes
    ----------
    num_samples : int
        Samples that have the fields now.
    num_unscored_samples : int
        Samples of images that no row is about, left as they were.
    num_unused_rows : int
        Rows of images that no sample shows.
    """

    num_samples: int
    num_unscored_samples: int
    num_unused_rows: int


def write_scores(
    samples: Iterable[Any],
    scores: ScoreTable | str | os.PathLike[str],
    *,
    field: str = "vl4pose",
    root: str | os.PathLike[str] | None = None,
) -> Written:
    """Write scores and refined poses into fields of the samples of the same images.

    Parameters
    ----------
    samples : fiftyone.Dataset, view, or iterable of fiftyone.Sample
        Matched by ``filepath``.
    scores : ScoreTable, path or URL
        What ``vl4pose score`` or ``vl4pose select`` wrote.
    field : str, default "vl4pose"
        The field of the poses, and how the names of the others begin.
    root : path or URL, optional
        What the table's names of images are relative to, where that is not the folder in which they
        were scored.

    Returns
    -------
    Written

    Raises
    ------
    TypeError
        ``field must be a string``.
    ValueError
        ``field must be a name``; ``samples must show images of the scores``, if none does.

    Notes
    -----
    The fields of a sample, by their names if ``field`` is "vl4pose":

    - ``vl4pose``: ``fiftyone.Keypoints``, one for each person that was scored. A keypoint has the
      refined ``points``, nan where there is none; their ``confidence``, the heights of the highest
      pixels of the heatmaps, which need not end at 1; the skeleton's name as ``label``;
      ``score``, ``log_prob``, ``multi_peak_entropy`` and ``person_id``; ``status``, names of
      `vl4pose.Status`; ``changed``, the joints that refinement moved to a lower peak; and of a
      selection ``rank``, ``priority``, ``percentile``, ``chosen_by`` and ``reasons``.
    - ``vl4pose_score``: the lowest score of its persons, to sort by.
    - ``vl4pose_status``: the names of whatever happened to any of them.
    - ``vl4pose_error``: why the image was not scored.
    - of a selection, ``vl4pose_rank``: the lowest of its persons, and ``vl4pose_reasons``: the
      reasons, in the order of the ranks.

    A value that does not exist is None. For the bones to be drawn, set
    ``dataset.skeletons[field] = keypoint_skeleton(scores)``.
    """
    if not isinstance(field, str):
        raise TypeError(f"field must be a string, got {shown(field)}")
    if not field.isidentifier() or field.startswith("_"):
        raise ValueError(f"field must be a name that starts with a letter, got {field!r}")
    table = scores if isinstance(scores, ScoreTable) else read_scores(scores)
    skeleton = table.skeleton
    where = table.root if root is None else os.fspath(root)
    unused: dict[str, list[dict[str, Any]]] = {}
    wanted = [name for name in table.rows.column_names if name not in ("embedding", "peaks")]
    for row in table.rows.select(wanted).to_pylist():
        unused.setdefault(_path(where, row["image"]), []).append(row)
    num_rows = sum(map(len, unused.values()))
    written: set[str] = set()
    num_samples = num_unscored = num_used = 0
    example = None
    for sample in _each(samples):
        path = _path("", sample.filepath)
        rows = unused.get(path)
        if rows is None:
            num_unscored += 1
            example = example or path
            continue
        for name, value in _fields(rows, skeleton, field).items():
            sample[name] = value
        num_samples += 1
        num_used += len(rows) if path not in written else 0
        written.add(path)
    if num_samples == 0 and num_unscored > 0 and num_rows > 0:
        raise ValueError(
            f"samples must show images of the scores, such as {next(iter(unused))!r}, got "
            f"{num_unscored} others, such as {example!r}; root says where the images are"
        )
    return Written(num_samples, num_unscored, num_rows - num_used)


def keypoint_skeleton(scores: ScoreTable | Skeleton) -> Any:
    """Return the ``fiftyone.KeypointSkeleton`` of a table or a skeleton, by which bones are drawn.

    Parameters
    ----------
    scores : ScoreTable or Skeleton
        Its joints are the labels, its links the edges.
    """
    skeleton = scores.skeleton if isinstance(scores, ScoreTable) else scores
    return fo.KeypointSkeleton(
        labels=list(skeleton.joints), edges=[list(link) for link in skeleton.links]
    )


def _each(samples: Any) -> Iterator[Any]:
    """Return the samples; those of a dataset are saved, in batches, once they are left."""
    if hasattr(samples, "iter_samples"):
        return iter(samples.iter_samples(autosave=True))
    return iter(samples)


def _path(root: str, name: str) -> str:
    """Return a full path, or a URL as it is."""
    path = name if not root or "://" in name else os.path.join(root, name)  # noqa: PTH118
    return path if "://" in path else os.path.abspath(path)  # noqa: PTH100


def _fields(rows: list[dict[str, Any]], skeleton: Skeleton, field: str) -> dict[str, Any]:
    scores = [row["score"] for row in rows if _number(row["score"]) is not None]
    status = Status(0)
    for row in rows:
        status |= Status(row["status"] or 0)
    fields = {
        field: fo.Keypoints(
            keypoints=[_pose(row, skeleton) for row in rows if row["refined_keypoints"] is not None]
        ),
        f"{field}_score": min(scores, default=None),
        f"{field}_status": _names(status),
        f"{field}_error": next((row["error"] for row in rows if row["error"] is not None), None),
    }
    if "rank" in rows[0]:
        ranked = sorted(rows, key=lambda row: row["rank"])
        fields[f"{field}_rank"] = ranked[0]["rank"]
        fields[f"{field}_reasons"] = [row["reasons"] for row in ranked]
    return fields


def _pose(row: dict[str, Any], skeleton: Skeleton) -> Any:
    size = np.array([row["width"], row["height"]])
    points = (np.array(_numbers(row["refined_keypoints"])) + 0.5) / size
    points[~np.isfinite(points).all(axis=1)] = np.nan
    return fo.Keypoint(
        label=skeleton.name,
        points=[(float(x), float(y)) for x, y in points],
        confidence=[math.nan if value is None else value for value in row["confidence"]],
        status=_names(Status(row["status"] or 0)),
        changed=[
            joint for joint, moved in zip(skeleton.joints, row["changed"], strict=True) if moved
        ],
        **{name: _number(row[name]) for name in _ATTRIBUTES},
        **{name: _number(row[name]) for name in _OF_SELECTION if name in row},
    )


def _numbers(points: list[Any]) -> list[list[float]]:
    """Return points, nan for those and for coordinates that do not exist."""
    return [
        [math.nan if x is None else x for x in (point if point is not None else (None, None))]
        for point in points
    ]


def _number(value: Any) -> Any:
    """Return a value, None for one that is not finite."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _names(status: Status) -> list[str]:
    return [bit.name for bit in Status if bit in status and bit.name is not None]
