"""Tables to export, for the tests of the formats and those that read them with other libraries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from vl4pose.score_table import METADATA_KEY, SCHEMA, ScoreTable
from vl4pose.skeleton import Skeleton

SKELETON = Skeleton(
    "kite",
    ["head", "left_hand", "right_hand", "tail tip"],
    [("head", "left_hand"), ("head", "right_hand"), ("head", "tail tip")],
)
SELECTION = [
    *("rank int32", "priority double", "chosen_by string", "percentile double", "reasons string"),
]
_TYPES = {"int32": pa.int32(), "double": pa.float64(), "string": pa.string()}


def row(
    image: str,
    keypoints: Sequence[Any] | None,
    *,
    person_id: str | None = None,
    box: Sequence[float] | None = None,
    size: tuple[int, int] | None = (640, 480),
    **more: Any,
) -> dict[str, Any]:
    """Return a row of a selection, without what no export reads."""
    width, height = size or (None, None)
    scored = {"status": 0, "score": -12.5, "confidence": [0.9, 0.8, 0.7, 0.6]}
    if keypoints is None:
        scored = {"status": None, "score": None, "confidence": None}
    return {
        **dict.fromkeys(SCHEMA.names),
        **{"image": image, "person_id": person_id, "box": box, "width": width, "height": height},
        **scored,
        "refined_keypoints": keypoints,
        **more,
    }


def table(rows: Sequence[dict[str, Any]], root: str = "/photos", *, selected: bool = True):
    """Return the rows as a selection, or as a plain table of scores."""
    fields = [*SCHEMA]
    if selected:
        rows = [
            {
                **{"rank": i, "priority": -0.5 * i, "chosen_by": "ranking", "percentile": 1.5 * i},
                **{"reasons": f"number {i}: head>left_hand 3.1 sd too long"},
                **item,
            }
            for i, item in enumerate(rows, start=1)
        ]
        fields += [pa.field(*_typed(name)) for name in SELECTION]
    metadata = {
        "version": "0",
        "skeleton": SKELETON.to_json(),
        "source": {"kind": "coco", "root": root},
        "settings": {},
        "counts": {"found": len(rows), "scored": len(rows), "flagged": 0, "failed": 0},
    }
    return ScoreTable(pa.Table.from_pylist(list(rows), pa.schema(fields)), metadata)


def write_parquet(scores: ScoreTable, path) -> None:
    """Write a table where `read_scores` reads it."""
    import json

    import pyarrow.parquet as pq

    metadata = {METADATA_KEY: json.dumps(scores.metadata).encode()}
    pq.write_table(scores.rows.replace_schema_metadata(metadata), path)


def _typed(text: str) -> tuple[str, pa.DataType]:
    name, kind = text.split()
    return name, _TYPES[kind]


NAN = float("nan")
# In order of priority: people of one image apart, and everything that can be missing.
ROWS = [
    row("b.png", [[10.25, 20.5], [30.0, 40.75], [50.125, 60.0], [70.0, 0.0]]),
    row(
        "day 1/cam/ä & 'q' <1>.jpg",
        [[100.5, 50.25], [90.0, 80.0], [110.0, 81.5], [NAN, NAN]],
        person_id="17",
        box=[60.5, 30.0, 80.25, 120.0],
    ),
    row("two, people.png", [[5, 5], [6.5, 7], [8, 9], [1, 2]], person_id="3", box=[0, 0, 40, 40]),
    row("failed.png", None, size=None, error="cannot identify image file"),
    row("two, people.png", [[205, 5], [206.5, 7], [208, 9], [201, 2]], person_id="4",
        box=[200, 0, 40, 40]),
    row("no pose.png", None, status=8, person_id="9", box=[10, 10, 50, 50]),
    row("=cmd|' /C calc'!A0.png", [[1.5, 2], [3, 4], [5, 6], [7, 8]]),
]  # fmt: skip


def poses_of(rows: Sequence[dict[str, Any]] = ROWS) -> dict[tuple[str, int], np.ndarray]:
    """Return the poses by image and their place among those of the image, where there is one."""
    counts: dict[str, int] = {}
    out = {}
    for item in rows:
        place = counts.setdefault(item["image"], 0)
        counts[item["image"]] += 1
        if item["refined_keypoints"] is not None:
            out[item["image"], place] = np.array(item["refined_keypoints"], np.float64)
    return out
