"""The scores of a pool as columns of numbers: from one array, from arrays by name, from a table."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vl4pose._arrays import as_numpy
from vl4pose._sentences import did_you_mean
from vl4pose.results import Analysis
from vl4pose.skeleton import shown

if TYPE_CHECKING:
    from vl4pose.score_table import ScoreTable

__all__ = [
    "ScoreColumns",
    "as_embeddings",
    "as_numbers",
    "as_score_table",
    "embeddings_of",
    "score_columns",
]

Float64Array = npt.NDArray[np.float64]

_RANKABLE = ("confidence", "per_link")  # of the columns of lists


@dataclass(frozen=True)
class ScoreColumns:
    """A pool of N rows, and what is known of each.

    Attributes
    ----------
    num_rows : int
    names : tuple of str, or None
        The columns of numbers; None where the scores are one array, which stands for whichever
        column is asked for.
    read : callable
        Returns the column of a name, (N,) or (N, J) float64, NaN where there is no value.
    table : ScoreTable or None
        Where the scores came as one; of a file or folder, only what a ranking can be made of.
    path : str or None
        Where the rest of the table is.
    """

    num_rows: int
    names: tuple[str, ...] | None
    read: Callable[[str], Float64Array]
    table: ScoreTable | None = None
    path: str | None = None

    def numbers(self, name: str, reduce: Callable[..., Any] | None = None) -> Float64Array:
        """Return a column (N,), NaN where there is no value.

        ``reduce`` makes one number of each row where the column has several, one per joint.

        Raises
        ------
        ValueError
            ``scores must have the column ...``, listing those there are.
        """
        if self.names is not None and name not in self.names:
            raise ValueError(
                f"scores must have the column {name!r} of numbers, got "
                + (", ".join(self.names) + did_you_mean(name, self.names) if self.names else "none")
            )
        values = self.read(name)
        if values.ndim == 2 and values.shape[1] == 0:  # of lists that are all null
            return np.full(self.num_rows, np.nan)
        if values.ndim == 2 and reduce is not None:
            return np.asarray(reduce(values, axis=1), np.float64)
        if values.ndim != 1:
            raise ValueError(f"column {name!r} must hold one number a row, got {values.shape[1:]}")
        return values

    @property
    def has_score(self) -> bool:
        """Whether there is a score: of one array, the array is it."""
        return self.names is None or self.has("score")

    def embeddings(self) -> npt.NDArray[np.float32] | None:
        """Return the column of embeddings (N, D), NaN where a row has none; None without any."""
        return None if self.table is None else embeddings_of(self.path or self.table)

    def rows(self, indices: npt.NDArray[np.int64]) -> ScoreTable:
        """Return rows of the table with all their columns.

        Raises
        ------
        TypeError
            ``scores must be a table``, where they are arrays.
        RuntimeError
            If the file has changed since the scores were read.
        """
        if self.table is None:
            raise TypeError("scores must be a table to make a table of a selection, got arrays")
        if self.path is None:
            return self.table.take(indices)
        from vl4pose.score_table import read_scores

        names = [name for name in ("image", "score") if name in self.table.rows.column_names]
        known = self.table.take(indices).rows.select(names)
        try:
            table = read_scores(self.path, rows=indices)
            is_same = table.rows.select(names).equals(known)
        except (KeyError, OSError, ValueError):
            is_same = False
        if not is_same:
            raise RuntimeError(f"'{self.path}' must stay as it is while rows are selected from it")
        return table

    def has(self, name: str) -> bool:
        """Return whether a column is there by its own name."""
        return self.names is not None and name in self.names


def score_columns(scores: Any) -> ScoreColumns:
    """Return anything that ``select`` takes as scores as columns."""
    if isinstance(scores, ScoreColumns):
        return scores
    if isinstance(scores, Analysis):
        scores = {
            "score": scores.score,
            "log_prob": scores.refined.log_prob,
            "multi_peak_entropy": as_numbers(scores.entropy, "scores.entropy", 2).sum(1),
            "confidence": scores.confidence,
        }
    if isinstance(scores, Mapping):
        return _columns_of_arrays(scores)
    if isinstance(scores, str | os.PathLike):
        return _columns_of_table(_rankable(scores), os.fspath(scores))
    table = as_score_table(scores)
    if table is not None:
        return _columns_of_table(table)
    values = as_numbers(scores, "scores", 1)
    return ScoreColumns(len(values), None, lambda name: values)


def as_score_table(value: Any) -> ScoreTable | None:
    """Return a table of scores from itself, a pyarrow.Table or a DataFrame; None for others."""
    kind = type(value)
    module = kind.__module__.partition(".")[0]
    if kind.__name__ == "DataFrame" and hasattr(value, "__arrow_c_stream__"):
        import pyarrow as pa

        # Of pandas without its index: the rows go by their place.
        is_pandas = module == "pandas"
        value = pa.Table.from_pandas(value, preserve_index=False) if is_pandas else pa.table(value)
        kind, module = type(value), "pyarrow"
    if kind.__name__ == "ScoreTable" and module == "vl4pose":
        table: ScoreTable = value
        return table
    if kind.__name__ == "Table" and module == "pyarrow":
        from vl4pose.score_table import METADATA_KEY, ScoreTable

        metadata = (value.schema.metadata or {}).get(METADATA_KEY)
        return ScoreTable(
            value.replace_schema_metadata(None), {} if metadata is None else json.loads(metadata)
        )
    return None


def embeddings_of(table: ScoreTable | str) -> npt.NDArray[np.float32] | None:
    """Return the column of embeddings (N, D), NaN where a row has none; None where none has one.

    Raises
    ------
    ValueError
        ``embedding must have one length in all rows``.
    """
    if isinstance(table, str):
        read = _reader(table)
        if "embedding" not in read(table, rows=[]).rows.column_names:
            return None
        table = read(table, columns=["embedding"])
    if "embedding" not in table.rows.column_names:
        return None
    parts = [part for part in table.rows["embedding"].chunks if len(part)]
    present = [np.asarray(part.is_valid()) for part in parts]
    # Of a part, so that there is no second copy of all: they can be most of the memory.
    flat = [part.drop_null().flatten().to_numpy(zero_copy_only=False) for part in parts]
    sizes = {len(f) // p.sum() for f, p in zip(flat, present, strict=True) if p.any()}
    if not sizes or 0 in sizes:
        return None
    if len(sizes) > 1:
        raise ValueError(f"embedding must have one length in all rows, got {sorted(sizes)}")
    (size,) = sizes
    points = np.full((len(table), size), np.nan, np.float32)
    start = 0
    for values, valid in zip(flat, present, strict=True):
        points[start : start + len(valid)][valid] = values.reshape(-1, size)
        start += len(valid)
    return points


def as_embeddings(values: Any, argument: str) -> npt.NDArray[Any]:
    """Return embeddings (N, D) as float32 if they are, else as float64; a masked one is NaN."""
    array = values if isinstance(values, np.ma.MaskedArray) else as_numpy(values)
    if type(array) is np.ndarray and array.dtype == np.float32 and array.ndim == 2:
        return array
    return as_numbers(values, argument, 2)


def as_numbers(values: Any, argument: str, ndim: int) -> Float64Array:
    """Return real numbers as float64; a masked one is NaN.

    Raises
    ------
    TypeError
        ``<argument> must hold real numbers``.
    ValueError
        ``<argument> must have the shape (N,)`` or ``(N, D)``.
    """
    is_masked = isinstance(values, np.ma.MaskedArray)
    array = values if is_masked else as_numpy(values)
    if array.size == 0 and array.dtype.kind == "O":
        array = array.astype(np.float64)
    if array.dtype.kind not in "fiu":
        got = array.dtype if array.ndim else shown(values)
        raise TypeError(f"{argument} must hold real numbers, got {got}")
    if array.ndim != ndim:
        shape = "(N,)" if ndim == 1 else "(N, D)"
        raise ValueError(f"{argument} must have the shape {shape}, got {array.shape}")
    if is_masked:
        return np.asarray(np.ma.filled(array.astype(np.float64), np.nan))
    return np.asarray(array, np.float64)


def _columns_of_arrays(arrays: Mapping[Any, Any]) -> ScoreColumns:
    columns: dict[str, Float64Array] = {}
    for name, values in arrays.items():
        if not isinstance(name, str):
            raise TypeError(f"scores must have columns named by strings, got {shown(name)}")
        ndim = 2 if np.ndim(values) == 2 else 1
        columns[name] = as_numbers(values, f"scores[{name!r}]", ndim)
    if not columns:
        raise ValueError("scores must have at least one column, got none")
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        got = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ValueError(f"scores must have columns of one length, got {got}")
    num_rows = next(iter(lengths.values()))
    return ScoreColumns(num_rows, tuple(columns), columns.__getitem__)


def _reader(path: str | os.PathLike[str]) -> Callable[..., ScoreTable]:
    try:
        from vl4pose.score_table import read_scores
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"'{os.fspath(path)}' cannot be read without pyarrow: pip install 'vl4pose[cli]'",
            name=error.name,
        ) from error
    return read_scores


def _rankable(path: str | os.PathLike[str]) -> ScoreTable:
    """Read the columns that rankings and percentiles are made of: a part of the memory of all."""
    read = _reader(path)
    schema = read(path, rows=[]).rows.schema
    columns = [f.name for f in schema if f.name in _RANKABLE or not f.type.num_fields]
    return read(path, columns=columns)


def _columns_of_table(table: ScoreTable, path: str | None = None) -> ScoreColumns:
    import pyarrow as pa

    def is_number(kind: pa.DataType) -> bool:
        return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))

    names = [field.name for field in table.rows.schema if is_number(field.type)]
    if "confidence" in table.rows.column_names:
        names.append("confidence")

    def read(name: str) -> Float64Array:
        if is_number(table.rows.schema.field(name).type):
            return table.numbers(name)
        return table.arrays(name)

    return ScoreColumns(len(table), tuple(names), read, table, path)
