"""Tables of scores: their columns, and reading them from a file or from a folder of shards.

`vl4pose score` writes them, `vl4pose select` takes rows out of them and adds columns of its own;
reports and exports read both.
"""

from __future__ import annotations

import errno
import functools
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from vl4pose.skeleton import Skeleton, nearest

if TYPE_CHECKING:
    from vl4pose.pool.shards import ShardEntry
    from vl4pose.pool.storage import Folder

__all__ = ["METADATA_KEY", "PARTIAL", "SCHEMA", "ScoreTable", "read_scores"]

METADATA_KEY = b"vl4pose"

PARTIAL = ", or read it with partial=True"  # the end of an error, for Python alone

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
        ("link_params", _POINTS),  # [length, log-variance] of each link, in heatmap pixels
        ("entropy", _FLOATS),
        ("confidence", _FLOATS),
        ("keypoints", _POINTS),  # [x, y] in image pixels, the highest pixel of each map
        ("refined_keypoints", _POINTS),
        ("peak_index", pa.list_(pa.int32())),
        ("changed", pa.list_(pa.bool_())),
        ("peaks", pa.list_(_POINTS)),  # of each joint, [x, y, weight, posterior], in image pixels
        ("heatmap_scale", pa.list_(pa.float64())),  # image pixels to a heatmap pixel, along x and y
        ("embedding", _FLOATS),  # where asked for
    ]
)


@dataclass(frozen=True)
class ScoreTable:
    """Rows of scores, and what they were computed with.

    Attributes
    ----------
    rows : pyarrow.Table
        One row per person, the columns of ``SCHEMA``; those of a selection have more.
    metadata : dict
        What the file says of itself under ``b"vl4pose"``: version, software, machine, settings,
        skeleton, models, link_params, source, heatmap_size, counts and, of a selection, selection.
        Where some rows were scored in another environment (another kind of CPU, another number of
        threads), ``differs`` says how many and what was another.
    """

    rows: pa.Table
    metadata: dict[str, Any]

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def skeleton(self) -> Skeleton:
        """The skeleton that the rows were scored with."""
        data = self.metadata["skeleton"]
        return Skeleton(
            data["name"], data["joints"], data["links"], pairs=data["pairs"], sigmas=data["sigmas"]
        )

    @property
    def root(self) -> str:
        """What the names of images are relative to: a folder or a URL."""
        return str(self.metadata["source"]["root"])

    def numbers(self, column: str) -> npt.NDArray[np.float64]:
        """Return a column (N,) of numbers, NaN where there is none."""
        values: npt.NDArray[np.float64] = (
            self.rows[column].cast(pa.float64()).to_numpy(zero_copy_only=False)
        )
        return values

    def arrays(self, column: str) -> npt.NDArray[np.float64]:
        """Return a column (N, ...) of lists of one shape, NaN where there is none.

        That is every column of lists but ``peaks``, of which joints have different numbers.
        """
        values = self.rows[column].combine_chunks()
        shape = [len(values)]
        present = np.asarray(values.is_valid())
        while pa.types.is_list(values.type):
            filled = values.drop_null()
            length = len(filled[0]) if len(filled) else 0
            shape.append(length)
            values = filled.flatten()
        out = np.full(shape, np.nan)
        if present.any():
            flat = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
            out[present] = flat.reshape(int(present.sum()), *shape[1:])
        return out

    def take(self, rows: npt.ArrayLike) -> ScoreTable:
        """Return the rows of these indices, in their order."""
        return replace(self, rows=self.rows.take(pa.array(np.asarray(rows, np.int64))))


def read_scores(
    path: str | os.PathLike[str],
    *,
    partial: bool = False,
    columns: Sequence[str] | None = None,
    rows: npt.ArrayLike | None = None,
) -> ScoreTable:
    """Read a table of scores or a selection.

    Parameters
    ----------
    path : path or URL
        A .parquet file, or the folder of shards that ``vl4pose score`` writes.
    partial : bool
        Read what there is of a folder that a run has not finished: the rows of its finished shards,
        in the order of the pool.
    columns : sequence of str, optional
        Keep these alone. A million rows take some 2 GB with all their columns.
    rows : (n,) array_like of int, optional
        Read the rows of these indices alone, in their order, in the memory that they take. What
        holds none of them is not read: of no rows, only what there is to know of the table.

    Raises
    ------
    FileNotFoundError
        If there is nothing.
    ValueError
        ``... must be a table of vl4pose score, got ...``; ``... must be complete, got 2,048 of
        5,000 rows``; ``columns must each be one of ..., got ...``; or if the file of a shard is not
        the one that was written.

    Notes
    -----
    Each shard's SHA-256 is compared with the manifest's.
    """
    from vl4pose.pool.storage import LocalFolder, is_url, open_folder  # which needs fsspec at URLs

    if is_url(path):
        place, _, name = str(path).rstrip("/").rpartition("/")
        if name.lower().endswith(".parquet"):
            source: Any = pa.BufferReader(open_folder(place).read(name))
            return _table_of_file(path, source, columns, rows)
        return _table_of_folder(path, open_folder(path), partial, columns, rows)
    if Path(path).is_dir():
        return _table_of_folder(path, LocalFolder(Path(path)), partial, columns, rows)
    return _table_of_file(path, Path(path), columns, rows)


def _table_of_file(
    path: str | os.PathLike[str],
    source: Any,
    columns: Sequence[str] | None,
    indices: npt.ArrayLike | None,
) -> ScoreTable:
    names = None if columns is None else list(columns)
    try:
        if names is not None:
            _check_columns(names, pq.read_schema(source).names)
        if indices is None:
            rows = pq.read_table(source, columns=names)
        else:
            with pq.ParquetFile(source) as file:
                groups = range(file.num_row_groups)
                picked = _PickedRows(indices, file.schema_arrow.empty_table())
                for group in groups:
                    read = functools.partial(file.read_row_group, group, columns=names)
                    picked.take(file.metadata.row_group(group).num_rows, read)
            rows = picked.table(names)
    except pa.ArrowInvalid as error:
        raise ValueError(f"'{path}' must be a table of vl4pose score: {error}") from error
    metadata = (rows.schema.metadata or {}).get(METADATA_KEY)
    if metadata is None:
        raise ValueError(
            f"'{path}' must be a table of vl4pose score, got a Parquet file without its settings"
        )
    told = json.loads(metadata)
    if not isinstance(told, dict):
        raise ValueError(
            f"'{path}' must be a table of vl4pose score, got a Parquet file with other settings"
        )
    return ScoreTable(rows.replace_schema_metadata(None), told)


def _check_columns(wanted: Sequence[str], there: Sequence[str]) -> None:
    for name in wanted:
        if name not in there:
            raise ValueError(f"columns must each be {nearest(name, there)}, got {name!r}")


class _PickedRows:
    """Rows that are picked out of the parts of a table, one part after the other."""

    def __init__(self, indices: npt.ArrayLike, empty: pa.Table) -> None:
        wanted = np.asarray(indices, np.int64)
        self._order = np.argsort(wanted, kind="stable")
        self._wanted = wanted[self._order]
        self._empty = empty
        self._parts: list[pa.Table] = []
        self._start = 0

    def take(self, num_rows: int, read: Callable[[], pa.Table]) -> None:
        """Pick from a part of so many rows, which is read if there is anything to pick."""
        first, last = np.searchsorted(self._wanted, [self._start, self._start + num_rows])
        if last > first:
            self._parts.append(read().take(pa.array(self._wanted[first:last] - self._start)))
        self._start += num_rows

    def table(self, names: list[str] | None) -> pa.Table:
        """Return the rows in the order that was asked for."""
        outside = self._wanted[(self._wanted < 0) | (self._wanted >= self._start)]
        if len(outside):
            raise ValueError(f"rows must be from 0 to {self._start - 1}, got {outside[0]}")
        empty = self._empty if names is None else self._empty.select(names)
        table = pa.concat_tables([empty, *(part.cast(empty.schema) for part in self._parts)])
        return table.take(pa.array(np.argsort(self._order, kind="stable")))


def _table_of_folder(
    path: str | os.PathLike[str],
    folder: Folder,
    partial: bool,
    columns: Sequence[str] | None,
    indices: npt.ArrayLike | None,
) -> ScoreTable:
    from vl4pose.pool.manifest import MANIFEST, Manifest
    from vl4pose.pool.shards import sha256_of

    if not folder.has(MANIFEST):
        if not folder.exists():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        raise ValueError(
            f"'{path}' must be a table of vl4pose score, got a folder without '{MANIFEST}'"
        )
    try:
        manifest = Manifest.from_bytes(folder.read(MANIFEST))
    except ValueError as error:
        raise ValueError(f"'{path}/{MANIFEST}' {error}") from error
    if not manifest.is_complete and not partial:
        raise ValueError(
            f"'{path}' must be complete, got {manifest.num_rows:,} of {manifest.num_people:,} "
            f"rows: finish it with vl4pose score --resume{PARTIAL}"
        )
    names = SCHEMA.names if columns is None else list(columns)
    _check_columns(names, SCHEMA.names)
    schema = SCHEMA.empty_table().select(names).schema

    def read(entry: ShardEntry) -> pa.Table:
        try:
            content = folder.read(entry.file)
        except FileNotFoundError:
            content = b""
        if sha256_of(content) != entry.sha256:
            raise ValueError(
                f"'{path}/{entry.file}' must be as it was written, got another SHA-256 or no file: "
                "vl4pose score --resume makes it again"
            )
        rows = pq.read_table(pa.BufferReader(content), columns=names).select(names)
        return rows.replace_schema_metadata(None).cast(schema)

    entries = [entry for _, entry in sorted(manifest.entries.items())]
    if indices is None:
        rows = pa.concat_tables([schema.empty_table(), *map(read, entries)])
    else:
        picked = _PickedRows(indices, schema.empty_table())
        for entry in entries:
            picked.take(entry.rows, functools.partial(read, entry))
        rows = picked.table(None)
    return ScoreTable(rows, manifest.table_metadata())
