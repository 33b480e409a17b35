"""Annotated people, in boxes or with joints: COCO keypoints JSON, and CSV with one per line."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vl4pose._sentences import did_you_mean
from vl4pose.skeleton import Skeleton, get_skeleton

__all__ = ["Keypoints", "LeftOut", "Person", "joint_places", "read_coco", "read_csv"]

Keypoints = npt.NDArray[np.float64]
Visibility = npt.NDArray[np.uint8]

_BOX_COLUMNS = ("x", "y", "width", "height")
_TRUE, _FALSE = ("1", "true", "yes"), ("0", "false", "no")
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
        Why this person cannot be used, where the annotation alone tells.
    keypoints : (J, 2) float64 array, optional
        The joints' (x, y) in image pixels, where they are read, in the skeleton's order; NaN where
        a joint is not annotated.
    visibility : (J,) integer array, optional
        COCO's flag of each joint, where keypoints are read: 0 not annotated, 1 annotated but
        hidden, 2 visible.
    """

    image: str
    person_id: str | None = None
    box: tuple[float, float, float, float] | None = None
    error: str | None = None
    keypoints: Keypoints | None = field(default=None, compare=False)
    visibility: Visibility | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return (self.image or "?") + (f" #{self.person_id}" if self.person_id is not None else "")


@dataclass(frozen=True)
class LeftOut:
    """What of a source is not scored, on purpose: ``what`` in the plural, and how many."""

    what: str
    number: int
    detail: str = ""

    def __str__(self) -> str:
        noun = _SINGULAR[self.what] if self.number == 1 else self.what
        return f"{self.number:,} {noun}" + (f" ({self.detail})" if self.detail else "")


def read_coco(path: Path, skeleton: Skeleton | None = None) -> tuple[list[Person], list[LeftOut]]:
    """Return the people of a COCO keypoints file, and what was left out.

    Every annotation is one person, but for crowd regions (``iscrowd``) and, in a file that has
    categories, for those of a category that neither has keypoints nor is named "person". An image
    without an annotation gives none.

    With a skeleton, its joints are read too. Their names are those of the annotation's category,
    or COCO's own where the category has none. A joint is annotated where its flag is not 0.

    Raises
    ------
    ValueError
        If the file is not JSON of that form, or names no keypoint for a joint of the skeleton.
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
    keypoints_of = None if skeleton is None else _coco_keypoints(data.get("categories"), skeleton)
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
            keypoints = visibility = None
            if keypoints_of is not None and error is None:
                keypoints, visibility, error = keypoints_of(item)
            if image_id not in names:
                box, error = None, f"no image has the id {image_id!r}"
            people.append(Person(names.get(image_id, ""), name, box, error, keypoints, visibility))
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


_Joints = tuple[Keypoints | None, Visibility | None, str | None]


def _coco_keypoints(categories: object, skeleton: Skeleton) -> Callable[[dict[str, Any]], _Joints]:
    """Return how the joints of an annotation are read: the keypoints, or what is wrong."""
    names_of = [
        (category.get("id"), list(map(str, category["keypoints"])))
        for category in (categories if isinstance(categories, list) else [])
        if isinstance(category, dict) and isinstance(category.get("keypoints"), list)
    ]
    orders: list[tuple[object, list[int]]] = []
    problems = []
    for category_id, names in names_of or [(None, list(get_skeleton("coco").joints))]:
        try:
            orders.append((category_id, joint_places(names, skeleton, "keypoint")))
        except ValueError as error:
            problems.append(error)
    if not orders:
        raise problems[0]

    def keypoints_of(item: dict[str, Any]) -> _Joints:
        own = [order for category_id, order in orders if category_id == item.get("category_id")]
        if not own and len(names_of) > 1:
            return None, None, f"its category has no keypoints of skeleton {skeleton.name!r}"
        order = own[0] if own else orders[0][1]
        flat = item.get("keypoints")
        rule = "keypoints must be three finite numbers x, y, flag each"
        if not isinstance(flat, list) or len(flat) % 3 or len(flat) <= 3 * max(order):
            got = f"{len(flat)} values" if isinstance(flat, list) else json.dumps(flat)[:80]
            return None, None, f"{rule}, got {got}"
        try:
            triples = np.array(flat, np.float64).reshape(-1, 3)[order]
        except (TypeError, ValueError):
            return None, None, f"{rule}, got {json.dumps(flat)[:80]}"
        flags = triples[:, 2]
        if not np.isfinite(triples[flags != 0]).all():
            return None, None, f"{rule}, got {json.dumps(flat)[:80]}"
        keypoints = np.where(flags[:, None] != 0, triples[:, :2], np.nan)
        visibility = np.select([flags == 0, flags == 1], [0, 1], 2).astype(np.uint8)
        return keypoints, visibility, None

    return keypoints_of


def joint_places(names: Sequence[str], skeleton: Skeleton, what: str) -> list[int]:
    """Return where among ``names``, which may be short and in any case, the joints are.

    Raises
    ------
    ValueError
        If a joint is not there, or there twice; ``what`` is what the names are of.
    """
    places: dict[int, int] = {}
    for place, name in enumerate(names):
        try:
            joint = skeleton.joint_index(name.strip().lower())
        except ValueError:
            continue  # of a joint that the skeleton does not have
        if joint in places:
            raise ValueError(f"must have a {what} for each joint once, got {name!r} again")
        places[joint] = place
    for joint, name in enumerate(skeleton.joints):
        if joint not in places:
            raise ValueError(
                f"must have a {what} for each joint of skeleton {skeleton.name!r}, got none for "
                f"{name!r}{did_you_mean(name, names)} in {', '.join(names) or 'nothing'}"
            )
    return [places[joint] for joint in range(skeleton.num_joints)]


def read_csv(path: Path, skeleton: Skeleton | None = None) -> tuple[list[Person], list[LeftOut]]:
    """Return the people of a CSV with the columns image, x, y, width, height and perhaps id.

    Columns are known by their names in any case, and the id also by ``person_id``. Others are not
    read, and counted as left out. Spaces around values do not count.

    With a skeleton, each joint has its columns ``<joint>_x`` and ``<joint>_y`` in image pixels and
    perhaps ``<joint>_visible`` (1 or 0, true or false), where the names of joints may be short
    (``lelb_x``). A joint is annotated unless both coordinates are empty, or it is not visible. The
    columns of the box may then be missing, all four of them: people fill their images.

    Raises
    ------
    ValueError
        If a column is missing or there twice.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file, skipinitialspace=True)
        try:
            header = [name.strip() for name in next(lines, [])]
            columns = _CsvColumns(header, skeleton)
            people = [
                columns.person([value.strip() for value in line], lines.line_num)
                for line in lines
                if line
            ]
        except csv.Error as error:
            raise ValueError(f"line {lines.line_num}: {error}") from error
    unread = [name for i, name in enumerate(header) if i not in columns.read]
    return people, [LeftOut("columns", len(unread), ", ".join(unread))] if unread else []


class _CsvColumns:
    """Where the columns that are read are: ``places`` by name, ``joints`` (J, 3) by joint."""

    def __init__(self, header: Sequence[str], skeleton: Skeleton | None) -> None:
        self.header = header
        self.skeleton = skeleton
        self.places: dict[str, int] = {}
        for i, name in enumerate(map(str.lower, header)):
            key = "id" if name == "person_id" else name
            if key not in ("image", *_BOX_COLUMNS, "id"):
                continue
            if key in self.places:
                raise ValueError(f"must have each column once, got {header[i]!r} again")
            self.places[key] = i
        self.has_boxes = skeleton is None or any(name in self.places for name in _BOX_COLUMNS)
        for name in ("image", *_BOX_COLUMNS) if self.has_boxes else ("image",):
            if name not in self.places:
                raise ValueError(self._missing(name))
        self.joints = [] if skeleton is None else self._joints(skeleton)
        self.read = {*self.places.values(), *chain.from_iterable(self.joints)}

    def person(self, line: Sequence[str], line_number: int) -> Person:
        values = {key: line[i] if i < len(line) else "" for key, i in self.places.items()}
        image, person_id = values["image"], values.get("id") or None
        if len(line) != len(self.header):
            error = f"line {line_number} must have {len(self.header)} fields, got {len(line)}"
            return Person(image, person_id, error=error)
        box, error_text, keypoints = None, None, None
        if self.has_boxes:
            box, error_text = _parse_box([values[name] for name in _BOX_COLUMNS])
        if self.skeleton is not None and error_text is None:
            keypoints, error_text = self._keypoints(line)
        visibility = None
        if keypoints is not None:
            visibility = np.where(np.isnan(keypoints).any(axis=1), 0, 2).astype(np.uint8)
        error_text = error_text if image else "no image is named"
        return Person(image, person_id, box, error_text, keypoints, visibility)

    def _joints(self, skeleton: Skeleton) -> list[tuple[int, ...]]:
        """Return for each joint the places of x and y and perhaps of visible."""
        places = []
        for ending in ("_x", "_y"):
            columns = [i for i, name in enumerate(self.header) if name.lower().endswith(ending)]
            names = [self.header[i][: -len(ending)] for i in columns]
            order = joint_places(names, skeleton, f"column <joint>{ending}")
            places.append([columns[place] for place in order])
        visible = {}
        for i, name in enumerate(map(str.lower, self.header)):
            if name.endswith("_visible"):
                try:
                    visible[skeleton.joint_index(name.removesuffix("_visible"))] = i
                except ValueError:
                    continue  # of a joint that the skeleton does not have
        return [
            (x, y, visible[joint]) if joint in visible else (x, y)
            for joint, (x, y) in enumerate(zip(*places, strict=True))
        ]

    def _keypoints(self, line: Sequence[str]) -> tuple[Keypoints | None, str | None]:
        keypoints = np.full((len(self.joints), 2), np.nan)
        for joint, (x, y, *visible) in enumerate(self.joints):
            if visible:
                flag = line[visible[0]].lower()
                if flag not in (*_TRUE, *_FALSE):
                    name = self.header[visible[0]]
                    return None, f"{name} must be 1 or 0, got {line[visible[0]]!r}"
                if flag in _FALSE:
                    continue
            elif not line[x] and not line[y]:
                continue
            with suppress(ValueError):
                keypoints[joint] = float(line[x]), float(line[y])
            if not np.isfinite(keypoints[joint]).all():
                names = f"{self.header[x]} and {self.header[y]}"
                got = f"{line[x]!r} and {line[y]!r}"
                return None, f"{names} must be finite numbers, or both empty, got {got}"
        return keypoints, None

    def _missing(self, name: str) -> str:
        rule = f"the columns image, {', '.join(_BOX_COLUMNS)} and may have id"
        if self.skeleton is not None:
            rule = (
                "the column image, <joint>_x and <joint>_y for each joint, and all or none of "
                f"{', '.join(_BOX_COLUMNS)}"
            )
        return (
            f"must have {rule}; got no {name!r}{did_you_mean(name, self.header)} "
            f"in {', '.join(self.header) or 'nothing'}"
        )


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
