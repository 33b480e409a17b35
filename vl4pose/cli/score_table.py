"""The table of scores: its columns, and a Parquet file that is there completely or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from vl4pose.cli.batches import Batch
from vl4pose.image_transform import ImageTransform
from vl4pose.results import Analysis, Status

__all__ = ["METADATA_KEY", "SCHEMA", "ScoreWriter", "score_rows"]

METADATA_KEY = b"vl4pose"

_FLOATS = pa.list_(pa.float32())
_POINTS = pa.list_(_FLOATS)

SCHEMA = pa.schema(
    [
        ("image", pa.string()),  # relative to the metadata's source.root
        ("person_id", pa.string()),
        ("box", pa.list_(pa.float64())),  # x, y, width, height as annotated
        ("width", pa.int32()),  # of the upright image
        ("height", pa.int32()),
        ("error", pa.string()),
        ("status", pa.uint8()),  # bits of vl4pose.Status
        ("params_flag", pa.bool_()),  # params were clamped or not finite
        ("score", pa.float32()),
        ("log_prob", pa.float32()),  # of the refined pose
        ("multi_peak_entropy", pa.float32()),  # the sum of entropy
        ("per_link", _FLOATS),
        ("entropy", _FLOATS),
        ("confidence", _FLOATS),
        ("keypoints", _POINTS),  # [x, y] in image pixels, the highest pixel of each map
        ("refined_keypoints", _POINTS),
        ("peak_index", pa.list_(pa.int32())),
        ("changed", pa.list_(pa.bool_())),
    ]
)

_ROWS_PER_GROUP = 4096


def score_rows(
    batch: Batch,
    analysis: Analysis[npt.NDArray[Any]] | None,
    heatmap_size: tuple[int, int],
    transform: ImageTransform,
) -> pa.Table:
    """Return one row per person of a batch.

    Parameters
    ----------
    batch : Batch
    analysis : Analysis of arrays, optional
        Of the people that have pixels, in their order; None when there are none.
    heatmap_size : (int, int)
        (width, height).
    transform : ImageTransform
        What the pixels were made with.
    """
    people, decoded = batch.people, batch.decoded
    sizes = [d.image_size or (None, None) for d in decoded]
    columns: dict[str, Any] = {
        "image": [_utf8(person.image) or None for person in people],
        "person_id": [person.person_id and _utf8(person.person_id) for person in people],
        "box": [person.box for person in people],
        "width": [width for width, _ in sizes],
        "height": [height for _, height in sizes],
        "error": [d.error and _utf8(d.error) for d in decoded],
    }
    if analysis is not None:
        columns |= _results(batch, analysis, heatmap_size, transform)
    nothing = [None] * len(people)
    return pa.table(
        [pa.array(columns.get(field.name, nothing), field.type) for field in SCHEMA], SCHEMA
    )


def _results(
    batch: Batch,
    analysis: Analysis[npt.NDArray[Any]],
    heatmap_size: tuple[int, int],
    transform: ImageTransform,
) -> dict[str, list[Any]]:
    scored = [i for i, decoded in enumerate(batch.decoded) if decoded.placement is not None]
    placements = [d.placement for d in batch.decoded if d.placement is not None]
    status = analysis.status
    unfit_heatmaps = (status & Status.NONFINITE_HEATMAP) != 0
    unfit = (status & (Status.NONFINITE_HEATMAP | Status.NONFINITE_PARAMS)) != 0
    flagged_params = (status & (Status.CLAMPED_PARAMS | Status.NONFINITE_PARAMS)) != 0
    none_missing = np.zeros_like(unfit)

    def in_image(xy: npt.NDArray[Any]) -> list[Any]:
        return [
            transform.heatmap_to_image(of_image, heatmap_size, placement).tolist()
            for of_image, placement in zip(xy, placements, strict=True)
        ]

    refined = analysis.refined
    columns = {
        "status": (status.tolist(), none_missing),
        "params_flag": (flagged_params.tolist(), none_missing),
        "score": (analysis.score.tolist(), unfit),
        "log_prob": (refined.log_prob.tolist(), unfit),
        "multi_peak_entropy": (analysis.entropy.sum(1, np.float64).tolist(), unfit_heatmaps),
        "per_link": (analysis.per_link.tolist(), unfit),
        "entropy": (analysis.entropy.tolist(), unfit_heatmaps),
        "confidence": (analysis.confidence.tolist(), unfit_heatmaps),
        "keypoints": (in_image(analysis.keypoints), unfit_heatmaps),
        "refined_keypoints": (in_image(refined.keypoints), unfit),
        "peak_index": (refined.peak_index.tolist(), unfit),
        "changed": (refined.changed.tolist(), unfit),
    }
    rows: dict[str, list[Any]] = {}
    for name, (values, missing) in columns.items():
        rows[name] = [None] * len(batch.people)
        for i, value, absent in zip(scored, values, missing, strict=True):
            rows[name][i] = None if absent else value
    return rows


def _utf8(text: str) -> str:
    """Return text that Parquet can hold: bytes of a file name that are no UTF-8 are spelled out."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


class ScoreWriter:
    """Writes a table beside its final place and moves it there when it is complete.

    A context manager: leaving it without :meth:`finish` removes what was written.

    Parameters
    ----------
    path : Path
        Where the table goes; what is there is replaced by :meth:`finish` and not before. A symbolic
        link stays, and its target is written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()
        self._temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}.tmp")
        self._finished = False
        # Without the Arrow schema, readers find the metadata in the table's schema too.
        self._parquet = pq.ParquetWriter(
            self._temporary, SCHEMA, compression="zstd", store_schema=False
        )
        self._pending: list[pa.Table] = []

    def append(self, rows: pa.Table) -> None:
        """Add rows in the form of ``SCHEMA``."""
        self._pending.append(rows)
        if sum(map(len, self._pending)) >= _ROWS_PER_GROUP:
            self._flush()

    def finish(self, metadata: Mapping[str, object]) -> None:
        """Store the metadata and put the file in its place."""
        self._flush()
        text = json.dumps(metadata, allow_nan=False)
        self._parquet.add_key_value_metadata({METADATA_KEY: text.encode()})
        self._parquet.close()
        with self._temporary.open("rb") as file:
            os.fsync(file.fileno())
        self._temporary.replace(self._path)
        self._finished = True

    def __enter__(self) -> ScoreWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None and not self._finished:
            error.add_note("nothing was written")
        try:
            if self._parquet.is_open:
                self._parquet.close()
        finally:
            self._temporary.unlink(missing_ok=True)

    def _flush(self) -> None:
        if self._pending:
            self._parquet.write_table(pa.concat_tables(self._pending))
            self._pending.clear()
