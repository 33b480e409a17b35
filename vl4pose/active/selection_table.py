"""The table of a selection: the chosen rows of a table of scores, and why they were chosen."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vl4pose._atomic_file import write_atomically
from vl4pose.active.percentiles import Reference
from vl4pose.active.rankings import parse_strategy
from vl4pose.active.reasons import POSE_COLUMNS, Choice, pose_reasons, sentence
from vl4pose.score_table import METADATA_KEY, ScoreTable

if TYPE_CHECKING:
    from vl4pose.active.selection import Selection

__all__ = ["SELECTION_FIELDS", "selection_table", "write_selection"]

SELECTION_FIELDS = (
    pa.field("rank", pa.int32()),  # 1 = annotate first
    pa.field("priority", pa.float64()),  # the strategy's value, higher = sooner
    pa.field("chosen_by", pa.string()),  # ranking, diversity or random
    pa.field("percentile", pa.float64()),  # % of the reference set with no higher score
    pa.field(
        "worst_links",  # worst first
        pa.list_(
            pa.struct(
                [
                    ("link", pa.string()),
                    ("log_likelihood", pa.float32()),  # its own expected term, nats
                    ("z", pa.float32()),  # of its length in the argmax pose
                    ("percentile", pa.float32()),  # % of the reference set, same link, no higher
                ]
            )
        ),
    ),
    pa.field(
        "ambiguous_joints",  # the most ambiguous first
        pa.list_(
            pa.struct(
                [
                    ("joint", pa.string()),
                    ("num_peaks", pa.int32()),  # with a tenth of the weight or more
                    ("entropy", pa.float32()),
                ]
            )
        ),
    ),
    pa.field(
        "swap_suspects",  # the largest gain first
        pa.list_(
            pa.struct(
                [
                    ("pair", pa.string()),
                    ("gain", pa.float32()),  # nats
                    ("with_below", pa.bool_()),  # the pairs below it were exchanged as well
                ]
            )
        ),
    ),
    pa.field("reasons", pa.string()),  # one sentence
)


def selection_table(selection: Selection, chosen: ScoreTable, reference: Reference) -> ScoreTable:
    """Return the chosen rows with the columns of ``SELECTION_FIELDS`` behind their own.

    Parameters
    ----------
    selection : Selection
    chosen : ScoreTable
        Its rows, in its order. If they are of a selection, that one's columns are replaced. What
        stands out in a pose is null where they lack the columns that say it.
    reference : Reference
    """
    names = [field.name for field in SELECTION_FIELDS]
    kept = [name for name in chosen.rows.column_names if name not in names]
    chosen = ScoreTable(chosen.rows.select(kept), chosen.metadata)
    is_told = "skeleton" in chosen.metadata and set(POSE_COLUMNS) <= set(kept)
    poses = pose_reasons(chosen, reference) if is_told else None
    ranking = parse_strategy(selection.settings["strategy"], selection.settings["lowest_first"])
    score = _numbers(chosen, "score", np.nan)
    status = _numbers(chosen, "status", 0)
    sentences = [
        sentence(
            Choice(
                str(selection.chosen_by[i]),
                int(selection.position[i]),
                selection.counts["selectable"],
                ranking.title,
                float(score[i]),
                float(selection.percentile[i]),
                int(status[i]),
            ),
            poses[i] if poses else None,
            reference,
        )
        for i in range(len(selection))
    ]
    columns: dict[str, Any] = {
        "rank": selection.rank,
        "priority": selection.priority,
        "chosen_by": selection.chosen_by.tolist(),
        "percentile": selection.percentile,
        "reasons": sentences,
    }
    for name in ("worst_links", "ambiguous_joints", "swap_suspects"):
        columns[name] = [
            [item._asdict() for item in getattr(pose, name)] for pose in poses or ()
        ] or [None] * len(selection)
    rows = chosen.rows
    for field in SELECTION_FIELDS:
        rows = rows.append_column(
            field, pa.array(columns[field.name], field.type, from_pandas=True)
        )
    metadata = {
        **chosen.metadata,
        "selection": {**selection.settings, "counts": selection.counts},
    }
    return ScoreTable(rows, metadata)


def write_selection(table: ScoreTable, path: str | os.PathLike[str]) -> None:
    """Write a table of rows and metadata to a Parquet file, complete or not at all."""
    text = json.dumps(table.metadata, allow_nan=False)
    rows = table.rows.replace_schema_metadata({METADATA_KEY: text.encode()})
    buffer = io.BytesIO()
    pq.write_table(rows, buffer, compression="zstd")
    write_atomically(Path(path), buffer.getvalue())


def _numbers(table: ScoreTable, column: str, missing: float) -> np.ndarray[Any, Any]:
    if column not in table.rows.column_names:
        return np.full(len(table), missing)
    values = table.numbers(column)
    return np.where(np.isnan(values), missing, values)
