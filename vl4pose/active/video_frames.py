"""Which video a row is a frame of, and when: from columns, or from the names of images."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vl4pose._arrays import as_numpy
from vl4pose.active.score_columns import ScoreColumns, as_numbers
from vl4pose.skeleton import nearest

__all__ = ["FOLDER", "NAME", "folder_of", "frame_number", "frame_order", "group_index", "name_of"]

FOLDER, NAME = "folder", "name"
_LAST_DIGITS = re.compile(r"\d+(?=\D*\Z)")


def folder_of(image: str) -> str:
    """Return the folder of an image's name, "" where it has none."""
    return image.rpartition("/")[0]


def name_of(image: str) -> str:
    """Return an image's name without its frame number, the last run of digits, and ending.

    That of ``a/clip2_0031.png`` is ``a/clip2_``.
    """
    folder, slash, file = image.rpartition("/")
    stem, dot, _ = file.rpartition(".")
    return folder + slash + _LAST_DIGITS.sub("", stem if dot else file)


def frame_number(image: str) -> float:
    """Return the last run of digits in an image's name, not in its folders; NaN without one."""
    file = image.rpartition("/")[2]
    stem, dot, _ = file.rpartition(".")
    digits = _LAST_DIGITS.search(stem if dot else file)
    return float(digits[0]) if digits else np.nan


def group_index(groups: Any, columns: ScoreColumns) -> npt.NDArray[np.int64]:
    """Return a number from 0 for each row's group.

    Parameters
    ----------
    groups : (N,) array_like of strings or integers, str or None
        Or the name of a column; with a table also "folder" or "name": of what the images are
        called. None puts all rows into one group.
    columns : ScoreColumns

    Raises
    ------
    TypeError, ValueError
        ``groups must ...``.
    """
    if groups is None:
        return np.zeros(columns.num_rows, np.int64)
    if isinstance(groups, str):
        values = _column(groups, "groups", columns)
    else:
        array = groups if isinstance(groups, Sequence) else as_numpy(groups)
        if np.ndim(array) != 1 or len(array) != columns.num_rows:
            raise ValueError(
                f"groups must have the shape (N,) = ({columns.num_rows},), got {np.shape(array)}"
            )
        values = array.tolist() if isinstance(array, np.ndarray) else array
    index: dict[Any, int] = {}
    try:
        return np.array([index.setdefault(value, len(index)) for value in values], np.int64)
    except TypeError as error:
        raise TypeError(f"groups must hold strings or integers: {error}") from error


def frame_order(order: Any, columns: ScoreColumns) -> npt.NDArray[np.float64]:
    """Return where each row is within its group (N,), NaN where that is not known.

    Parameters
    ----------
    order : (N,) array_like of numbers, or str
        Or the name of a column; with a table also or "name": the number in the image's name.
    columns : ScoreColumns

    Raises
    ------
    TypeError, ValueError
        ``order must ...``.
    """
    if isinstance(order, str):
        values = _column(order, "order", columns)
        if isinstance(values, np.ndarray):
            return values
        if order != NAME:
            raise ValueError(f"order must be a column of numbers, got {order!r}")
        return np.array([np.nan if name is None else frame_number(name) for name in values])
    numbers = as_numbers(order, "order", 1)
    if len(numbers) != columns.num_rows:
        raise ValueError(
            f"order must have one number per row ({columns.num_rows}), got {len(numbers)}"
        )
    return np.where(np.isfinite(numbers), numbers, np.nan)


def _column(name: str, argument: str, columns: ScoreColumns) -> Iterable[Any]:
    """Return a column, of numbers as an array; that of images for names made of them."""
    if columns.table is None:
        if not columns.has(name):
            raise ValueError(f"{argument} must be an array where scores are no table, got {name!r}")
        return columns.numbers(name)
    rows = columns.table.rows
    derived = (FOLDER, NAME) if argument == "groups" else (NAME,)
    if name in derived:
        if "image" not in rows.column_names:
            raise ValueError(f"{argument} must be a column where there is no image, got {name!r}")
        make = {("groups", FOLDER): folder_of, ("groups", NAME): name_of}.get((argument, name))
        images = rows["image"].to_pylist()
        return images if make is None else [i if i is None else make(i) for i in images]
    if columns.has(name):
        return columns.numbers(name)
    if name not in rows.column_names:
        flat = [field.name for field in rows.schema if not field.type.num_fields]
        valid = [*derived, *(flat if argument == "groups" else columns.names or ())]
        raise ValueError(f"{argument} must be {nearest(name, valid)}, got {name!r}")
    values: list[Any] = rows[name].to_pylist()
    if any(isinstance(value, list | dict) for value in values):
        raise TypeError(f"{argument} must be a column of strings or numbers, got {name!r}")
    return values
