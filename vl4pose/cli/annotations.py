"""People in boxes: COCO keypoints JSON, and CSV with one person per line."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vl4pose.cli.errors import did_you_mean

__all__ = ["Person", "read_coco", "read_csv"]

_BOX_COLUMNS = ("x", "y", "width", "height")


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


def read_coco(path: Path) -> tuple[list[Person], dict[str, int]]:
    """Return the people of a COCO keypoints file, and how much of what was left out.

    Every annotation is one person, but for crowd regions (``iscrowd``). An image without an
    annotation gives none.

    Raises
    ------
    ValueError
        If the file is not JSON of that form.
    """
    data = json.loads(path.read_text(encoding="utf-8"))
    try:
        names = {image["id"]: str(image["file_name"]) for image in data["images"]}
        annotations = [(item["image_id"], item) for item in data["annotations"]]
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(
            "must be a COCO file: 'images' with id and file_name, 'annotations' with image_id "
            f"and bbox; got an error at {error}"
        ) from error
    people = []
    for image_id, item in annotations:
        if item.get("iscrowd"):
            continue
        person_id = str(item["id"]) if "id" in item else None
        if image_id in names:
            box, error_text = _parse_box(item.get("bbox"))
            people.append(Person(names[image_id], person_id, box, error_text))
        else:
            people.append(Person("", person_id, error=f"no image has the id {image_id!r}"))
    ignored = {
        "crowd regions": len(annotations) - len(people),
        "images without a person": len(names.keys() - {image_id for image_id, _ in annotations}),
    }
    return people, {what: count for what, count in ignored.items() if count}


def read_csv(path: Path) -> tuple[list[Person], dict[str, int]]:
    """Return the people of a CSV with the columns image, x, y, width, height and perhaps id.

    Other columns are not read.

    Raises
    ------
    ValueError
        If a column is missing, or the id's is misspelled.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file, skipinitialspace=True)
        found = [name.strip() for name in rows.fieldnames or ()]
        rows.fieldnames = found
        for name in ("image", *_BOX_COLUMNS):
            if name not in found:
                raise ValueError(
                    f"must have the columns image, {', '.join(_BOX_COLUMNS)} and may have id; "
                    f"got no {name!r}{did_you_mean(name, found)}"
                )
        try:
            return [_csv_person(row) for row in rows], {}
        except csv.Error as error:
            raise ValueError(f"line {rows.line_num}: {error}") from error


def _csv_person(row: dict[str, str | None]) -> Person:
    image = row["image"] or ""
    box, error = _parse_box([row[name] for name in _BOX_COLUMNS])
    return Person(image, row.get("id") or None, box, error if image else "no image is named")


def _parse_box(
    value: object,
) -> tuple[tuple[float, float, float, float] | None, str | None]:
    rule = "box must be four finite numbers x, y, width, height"
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 4:
        return None, f"{rule}, got {value!r}"
    try:
        x, y, width, height = (float(number) for number in value)
    except (TypeError, ValueError):
        return None, f"{rule}, got {list(value)!r}"
    if not all(map(math.isfinite, (x, y, width, height))):
        return None, f"{rule}, got {list(value)!r}"
    return (x, y, width, height), None
