"""People in boxes: COCO keypoints JSON, and CSV with one person per line."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vl4pose.cli.errors import did_you_mean

__all__ = ["LeftOut", "Person", "read_coco", "read_csv"]

_BOX_COLUMNS = ("x", "y", "width", "height")
_SINGULAR = {
    "crowd regions": "crowd region",
    "boxes of other categories": "box of another category",
    "images without a person": "image without a person",
    "columns": "column",
    "other files": "other file",
}


@dataclass(frozen=True)
class Person:
    """One row to be: a whole image, or one box of it.

    Attributes
    ----------
    image : str
        Name of the file relative to the source's root, with forward slashes.
    person_id : str, optional
        The annotation's id.
    box : (x, y, width, height), optional
        In image pixels, counted from the image's corner.
    error : str, optional
        Why this person cannot be scored, where the annotation alone tells.
    """

    image: str
    person_id: str | None = None
    box: tuple[float, float, float, float] | None = None
    error: str | None = None


@dataclass(frozen=True)
class LeftOut:
    """What of a source is not scored, on purpose: ``what`` in the plural, and how many."""

    what: str
    number: int
    detail: str = ""

    def __str__(self) -> str:
        noun = _SINGULAR[self.what] if self.number == 1 else self.what
        return f"{self.number:,} {noun}" + (f" ({self.detail})" if self.detail else "")


def read_coco(path: Path) -> tuple[list[Person], list[LeftOut]]:
    """Return the people of a COCO keypoints file, and what was left out.

    Every annotation is one person, but for crowd regions (``iscrowd``) and, in a file that has
    categories, for those of a category that neither has keypoints nor is named "person". An image
    without an annotation gives none.

    Raises
    ------
    ValueError
        If the file is not JSON of that form.
    """
    data = json.loads(path.read_text(encoding="utf-8"))
    images, annotations = _coco_lists(data)
    names = {}
    for where, image in images:
        file_name = _field(where, image, "file_name")
        if not isinstance(file_name, str) or not file_name:
            raise ValueError(f"{where} must have a name as file_name, got {json.dumps(file_name)}")
        names[_identifier(where, image, "id")] = file_name
    is_person = _coco_categories(data.get("categories"))
    people = []
    crowds = others = 0
    peopled = set()
    for where, item in annotations:
        image_id = _identifier(where, item, "image_id")
        person_id = item.get("id")
        if item.get("iscrowd"):
            crowds += 1
        elif not is_person(item):
            others += 1
        else:
            name = None if person_id is None else str(_identifier(where, item, "id"))
            box, error = _parse_box(item.get("bbox"))
            if image_id not in names:
                box, error = None, f"no image has the id {image_id!r}"
            people.append(Person(names.get(image_id, ""), name, box, error))
            peopled.add(image_id)
    left_out = (
        LeftOut("crowd regions", crowds),
        LeftOut("boxes of other categories", others),
        LeftOut("images without a person", len(names.keys() - peopled)),
    )
    return people, [item for item in left_out if item.number]


_Entries = list[tuple[str, dict[str, Any]]]


def _coco_lists(data: object) -> tuple[_Entries, _Entries]:
    """Return the entries of 'images' and of 'annotations', each with what to call it."""
    rule = "must be a COCO keypoints file with 'images' and 'annotations'"
    if isinstance(data, list):
        results = bool(data) and isinstance(data[0], dict) and "image_id" in data[0]
        what = "results, which do not name the images' files" if results else "entries"
        raise ValueError(f"{rule}, got a list of {len(data):,} {what}")
    if not isinstance(data, dict):
        raise ValueError(f"{rule}, got {json.dumps(data)}")
    lists = []
    for key in ("images", "annotations"):
        if key not in data:
            raise ValueError(f"{rule}, but has no {key!r}{did_you_mean(key, data)}")
        if not isinstance(data[key], list):
            raise ValueError(f"{rule}, each a list, got {json.dumps(data[key])[:80]} as {key!r}")
        entries = [(f"{key}[{i}]", entry) for i, entry in enumerate(data[key])]
        for where, entry in entries:
            if not isinstance(entry, dict):
                raise ValueError(f"{where} must be an object, got {json.dumps(entry)[:80]}")
        lists.append(entries)
    return lists[0], lists[1]


def _field(where: str, entry: dict[str, Any], key: str) -> Any:
    if key not in entry:
        raise ValueError(f"{where} must have {key!r}, got {', '.join(entry) or 'nothing'}")
    return entry[key]


def _identifier(where: str, entry: dict[str, Any], key: str) -> int | str:
    value = _field(where, entry, key)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"{where} must have an integer or text as {key}, got {json.dumps(value)}")
    return value


def _coco_categories(categories: object) -> Callable[[dict[str, Any]], bool]:
    """Return which annotations are of people: without categories, or a category_id, all are."""
    if not isinstance(categories, list) or not categories:
        return lambda item: True
    ids = [
        category.get("id")
        for category in categories
        if isinstance(category, dict)
        and (category.get("keypoints") or str(category.get("name")).lower() == "person")
    ]
    return lambda item: item.get("category_id") is None or item["category_id"] in ids


def read_csv(path: Path) -> tuple[list[Person], list[LeftOut]]:
    """Return the people of a CSV with the columns image, x, y, width, height and perhaps id.

    Columns are known by their names in any case, and the id also by ``person_id``. Others are not
    read, and counted as left out. Spaces around values do not count.

    Raises
    ------
    ValueError
        If a column is missing or there twice.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file, skipinitialspace=True)
        try:
            header = [name.strip() for name in next(lines, [])]
            columns = _csv_columns(header)
            people = [
                _csv_person([value.strip() for value in line], header, columns, lines.line_num)
                for line in lines
                if line
            ]
        except csv.Error as error:
            raise ValueError(f"line {lines.line_num}: {error}") from error
    unread = [name for i, name in enumerate(header) if i not in columns.values()]
    return people, [LeftOut("columns", len(unread), ", ".join(unread))] if unread else []


def _csv_columns(header: Sequence[str]) -> dict[str, int]:
    """Return where the columns that are read are."""
    columns: dict[str, int] = {}
    for i, name in enumerate(map(str.lower, header)):
        key = "id" if name == "person_id" else name
        if key not in ("image", *_BOX_COLUMNS, "id"):
            continue
        if key in columns:
            raise ValueError(f"must have each column once, got {header[i]!r} again")
        columns[key] = i
    for name in ("image", *_BOX_COLUMNS):
        if name not in columns:
            raise ValueError(
                f"must have the columns image, {', '.join(_BOX_COLUMNS)} and may have id; "
                f"got no {name!r}{did_you_mean(name, header)} in {', '.join(header) or 'nothing'}"
            )
    return columns


def _csv_person(
    line: Sequence[str], header: Sequence[str], columns: Mapping[str, int], line_number: int
) -> Person:
    values = {key: line[i] if i < len(line) else "" for key, i in columns.items()}
    image, person_id = values["image"], values.get("id") or None
    if len(line) != len(header):
        error = f"line {line_number} must have {len(header)} fields, got {len(line)}"
        return Person(image, person_id, error=error)
    box, error_text = _parse_box([values[name] for name in _BOX_COLUMNS])
    return Person(image, person_id, box, error_text if image else "no image is named")


def _parse_box(
    value: object,
) -> tuple[tuple[float, float, float, float] | None, str | None]:
    rule = "box must be four finite numbers x, y, width, height"
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 4:
        return None, f"{rule}, got {json.dumps(value)}"
    try:
        x, y, width, height = (float(number) for number in value)
    except (TypeError, ValueError):
        return None, f"{rule}, got {list(value)!r}"
    if not all(map(math.isfinite, (x, y, width, height))):
        return None, f"{rule}, got {list(value)!r}"
    return (x, y, width, height), None
