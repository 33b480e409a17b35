"""Tables of scores with images, and what a report makes of them, for the tests of reports."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from made_scores import made_scores
from PIL import Image

from vl4pose.score_table import ScoreTable

LINK, JOINT = 3, 4  # that tests filter by
_DATA = re.compile(r'<script type="application/json" id="data">(.*?)</script>', re.DOTALL)


def table_with_images(
    folder: Path, num_rows: int = 40, *, failed: tuple[int, ...] = (7,), **more: Any
) -> ScoreTable:
    """Return made scores, and draw the images that they name; their file names are 000.png ..."""
    names = more.pop("images", None) or [f"{i:03d}.png" for i in range(num_rows)]
    source = {"kind": "folder", "root": str(folder)}
    table = made_scores(num_rows, images=names, failed=failed, source=source, **more)
    rng = np.random.default_rng(1)
    for i, name in enumerate(names):
        if i in failed or "/" in name:
            continue
        width, height = (table.rows[side][i].as_py() for side in ("width", "height"))
        pixels = rng.integers(60, 200, (height, width, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / name, format="png")
    return table


def with_column(table: ScoreTable, name: str, values: list[Any]) -> ScoreTable:
    """Return a table with other values in a column, which it has or gets."""
    rows = table.rows
    if name not in rows.column_names:
        return replace(table, rows=rows.append_column(name, pa.array(values)))
    index = rows.column_names.index(name)
    field = rows.schema.field(name)
    return replace(table, rows=rows.set_column(index, field, pa.array(values, field.type)))


def selection_of(table: ScoreTable, rows: list[int]) -> ScoreTable:
    """Return what a selection of these rows is, the first to annotate first."""
    chosen = table.take(rows)
    columns = {
        "rank": list(range(1, len(rows) + 1)),
        "chosen_by": ["ranking"] * len(rows),
        "percentile": [10.0 * i for i in range(len(rows))],
        "reasons": [f"Reason number {i}." for i in range(len(rows))],
        "worst_links": [[{"link": "head>neck", "log_likelihood": -9.5, "z": -4.25}]] * len(rows),
        "ambiguous_joints": [[{"joint": "head", "num_peaks": 3, "entropy": 1.0}]] * len(rows),
        "swap_suspects": [[{"pair": "left_knee/right_knee", "gain": 2.5}]] * len(rows),
    }
    for name, values in columns.items():
        chosen = with_column(chosen, name, values)
    metadata = {**chosen.metadata, "selection": {"strategy": "likelihood", "budget": len(rows)}}
    return replace(chosen, metadata=metadata)


def data_of(page: str) -> dict[str, Any]:
    """Return what a page holds."""
    match = _DATA.search(page)
    assert match
    data: dict[str, Any] = json.loads(match[1])
    return data
