"""DeepLabCut: ``labeled-data/<folder>/`` with predictions to refine, and the labels back.

The poses are written as DeepLabCut writes those of a network, ``machinelabels-iter0`` with a
likelihood beside x and y: opened in its napari plugin they are corrected and saved as
``CollectedData_<scorer>``, which is what is read back. The plugin opens the .h5, for which pandas
and tables must be installed; the .csv is always written.

Notes
-----
- Points are pixels with their centre at integers, as napari has them: nothing is moved.
- DeepLabCut knows a folder per video, not folders in folders, and no reasons: ``images.json`` says
  for each image where it was and what is known of it. `read` finds it above the labels.
- The likelihood is the height of the heatmap's highest pixel, whatever the network's scale.
- Several people in an image make a project of several animals: ``individual1`` and so on.
- There is no flag for hidden joints: one that is annotated is visible.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vl4pose._atomic_file import unfinished, write_atomically
from vl4pose.exchange.annotated_poses import VISIBLE, AnnotatedPose, AnnotatedPoses
from vl4pose.exchange.image_names import below_root
from vl4pose.exchange.poses_to_annotate import ImageToAnnotate
from vl4pose.skeleton import Skeleton

__all__ = [
    "IMAGES",
    "LABELED_DATA",
    "PREDICTIONS",
    "named_as_exported",
    "places_of",
    "read",
    "write",
]

LABELED_DATA, PREDICTIONS, IMAGES = "labeled-data", "machinelabels-iter0", "images.json"

_LEVELS = ("scorer", "individuals", "bodyparts", "coords")
_COORDS = ("x", "y", "likelihood")

Cells = list[list[str]]


def places_of(images: Iterable[str]) -> dict[str, str]:
    """Return where each image goes: ``labeled-data/<folder>/<file>``.

    An image of the folder ``day 1/cam`` goes to ``day 1-cam``, one without a folder to ``images``.

    Raises
    ------
    ValueError
        If two images would go to the same place, or a name leaves the root.
    """
    places = {image: _place(image) for image in images}
    if len(set(places.values())) < len(places):
        ((place, _),) = Counter(places.values()).most_common(1)
        raise ValueError(f"names of images must differ for DeepLabCut, got two for {place!r}")
    return places


def named_as_exported(poses: AnnotatedPoses, images: Iterable[str]) -> AnnotatedPoses:
    """Return the same people with the names that images had before they were exported.

    So labels are known in a project that their folders were copied to, without images.json.
    """
    before = {_place(image): image for image in images}
    return replace(
        poses,
        poses=[replace(pose, image=before.get(pose.image, pose.image)) for pose in poses.poses],
        images={before.get(name, name): size for name, size in poses.images.items()},
    )


def write(
    images: Sequence[ImageToAnnotate], skeleton: Skeleton, out: Path, *, scorer: str = "vl4pose"
) -> list[str]:
    """Write the predictions of each folder below ``out``, and images.json.

    Returns
    -------
    notes : list of str
        What could not be written, in sentences.
    """
    places = places_of(image.name for image in images)
    of_folder: dict[str, list[ImageToAnnotate]] = {}
    for image in images:
        of_folder.setdefault(places[image.name].split("/")[1], []).append(image)
    num_people = max((len(image.poses) for image in images), default=1)
    notes: list[str] = []
    for folder, members in of_folder.items():
        target = out / LABELED_DATA / folder
        target.mkdir(parents=True, exist_ok=True)
        header, rows = _table(members, places, skeleton, scorer, num_people)
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows([*header, *rows])
        write_atomically(target / f"{PREDICTIONS}.csv", text.getvalue().encode())
        notes = _write_h5(target / f"{PREDICTIONS}.h5", header, rows)
    entries = {
        places[image.name]: {
            "image": image.name,
            "size": image.size,
            "people": [
                {"id": pose.person_id, "box": pose.box, "problem": pose.problem, **pose.attributes}
                for pose in image.poses
            ],
        }
        for image in images
    }
    entries = _entries_of(out / IMAGES) | entries  # of earlier exports, too
    text_of_entries = json.dumps(entries, indent=1, allow_nan=False) + "\n"
    write_atomically(out / IMAGES, text_of_entries.encode())
    return notes


def read(path: Path) -> AnnotatedPoses:
    """Read the labels of a project's folder, of one of its folders, or of one .csv or .h5.

    Of a folder, every ``CollectedData_*.csv`` in it is read, or where there is none, every .h5:
    DeepLabCut saves both.

    Raises
    ------
    ValueError
        If there are no labels, or they are predictions or not of that form.
    ModuleNotFoundError
        If an .h5 is named itself, and pandas or tables is not installed.
    """
    files = [path]
    if path.is_dir():
        files = sorted(path.rglob("CollectedData_*.csv"))
        if not files:
            files = sorted(path.rglob("CollectedData_*.h5"))
        if not files:
            raise ValueError(
                "must hold labels of DeepLabCut, CollectedData_*.csv or .h5, got none: "
                f"{PREDICTIONS} are predictions, which its napari plugin saves as labels"
            )
    elif path.name.startswith("machinelabels"):
        raise ValueError("must be what somebody labelled, CollectedData_*, got predictions")
    out = AnnotatedPoses([], ())
    names: dict[str, None] = {}
    for file in files:
        cells = _cells_of_h5(file) if file.suffix.lower() == ".h5" else _cells_of_csv(file)
        try:
            part = _poses(cells)
        except ValueError as error:
            raise ValueError(f"'{file.name}' {error}") from error
        places = _places_beside(file)
        for place in part.images:
            if place in out.images:
                raise ValueError(f"must hold each image once, got {place!r} again in '{file}'")
        names.update(dict.fromkeys(part.joint_names or ()))
        out.left_out.update(part.left_out)
        for pose in part.poses:
            out.poses.append(_as_exported(pose, places))
        for place in part.images:
            entry = places.get(place, {})
            out.images[str(entry.get("image", place))] = _size(entry)
    return AnnotatedPoses(out.poses, tuple(names), out.images, out.left_out)


def _place(image: str) -> str:
    *folders, name = below_root(image).split("/")
    return "/".join([LABELED_DATA, "-".join(folders) or "images", name])


def _table(
    images: Sequence[ImageToAnnotate],
    places: dict[str, str],
    skeleton: Skeleton,
    scorer: str,
    num_people: int,
) -> tuple[Cells, Cells]:
    """Return the lines of the header and those of the images, all of text."""
    animals = [f"individual{n + 1}" for n in range(num_people)]
    columns = [
        (scorer, animal, joint, coord)
        for animal in animals
        for joint in skeleton.joints
        for coord in _COORDS
    ]
    header = [
        [level, "", "", *(column[k] for column in columns)]
        for k, level in enumerate(_LEVELS)
        if level != "individuals" or num_people > 1
    ]
    rows = []
    for image in images:
        values = np.full((num_people, skeleton.num_joints, 3), np.nan)
        for n, pose in enumerate(image.poses):
            if pose.keypoints is not None:
                values[n, :, :2] = pose.keypoints
                if pose.confidence is not None:
                    placed = ~np.isnan(pose.keypoints).any(axis=1)
                    values[n, placed, 2] = pose.confidence[placed]
        numbers = ["" if np.isnan(value) else f"{value:.6f}" for value in values.ravel()]
        rows.append([*places[image.name].split("/"), *numbers])
    return header, rows


def _write_h5(path: Path, header: Cells, rows: Cells) -> list[str]:
    try:
        import pandas as pd  # type: ignore[import-untyped, unused-ignore]
        import tables  # type: ignore[import-not-found, import-untyped, unused-ignore]  # noqa: F401
    except ModuleNotFoundError as error:
        return [f"no .h5 was written, which DeepLabCut opens: {error.name} is not installed"]
    frame = pd.DataFrame(
        [[float(cell or "nan") for cell in row[3:]] for row in rows],
        index=pd.MultiIndex.from_tuples([tuple(row[:3]) for row in rows]),
        columns=pd.MultiIndex.from_arrays(
            [line[3:] for line in header], names=[line[0] for line in header]
        ),
    )
    with unfinished(path) as temporary:
        frame.to_hdf(temporary, key="df_with_missing", mode="w")
        temporary.replace(path)
    return []


def _cells_of_csv(path: Path) -> Cells:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return [line for line in csv.reader(file) if line]


def _cells_of_h5(path: Path) -> Cells:
    """Return what the .csv of the same labels holds."""
    import pandas as pd

    try:
        frame = pd.read_hdf(path)
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise ValueError(f"'{path.name}' must be labels of DeepLabCut: {error}") from error
    columns = frame.columns.to_frame()
    header = [[str(name), *map(str, columns[name])] for name in columns.columns]
    rows = [
        ["/".join(place) if isinstance(place, tuple) else str(place), *map(_number, values)]
        for place, values in zip(frame.index, frame.to_numpy(), strict=True)
    ]
    return header + rows


def _number(value: Any) -> str:
    return "" if value is None or np.isnan(value) else repr(float(value))


def _poses(cells: Cells) -> AnnotatedPoses:
    levels: dict[str, list[str]] = {}
    for line in cells[: len(_LEVELS)]:
        if line[0].strip() in _LEVELS:
            levels[line[0].strip()] = line
    if not {"scorer", "bodyparts", "coords"} <= levels.keys():
        first = ", ".join(repr(line[0]) for line in cells[: len(_LEVELS)])
        raise ValueError(f"must begin with lines of scorer, bodyparts and coords, got {first}")
    coords = levels["coords"]
    start = next((i for i, name in enumerate(coords) if i and name in _COORDS), len(coords))
    if "likelihood" in coords:
        raise ValueError("must be what somebody labelled, got predictions with a likelihood")
    animals = levels.get("individuals", [""] * len(coords))
    out = AnnotatedPoses([], tuple(dict.fromkeys(levels["bodyparts"][start:])))
    for number, row in enumerate(cells[len(levels) :], start=len(levels) + 1):
        if len(row) != len(coords):
            raise ValueError(f"line {number} must have {len(coords)} fields, got {len(row)}")
        place = "/".join(row[:start]).replace("\\", "/")
        out.images[place] = None
        people: dict[str, dict[str, dict[str, float]]] = {}
        for i in range(start, len(coords)):
            if row[i].strip().lower() in ("", "nan"):
                continue
            try:
                value = float(row[i])
            except ValueError:
                raise ValueError(f"line {number} must hold numbers, got {row[i]!r}") from None
            joint = people.setdefault(animals[i], {}).setdefault(levels["bodyparts"][i], {})
            joint[coords[i]] = value
        for points in people.values():
            joints = {
                name: (point["x"], point["y"], VISIBLE)
                for name, point in points.items()
                if point.keys() >= {"x", "y"}
            }
            if joints:
                out.poses.append(AnnotatedPose(place, joints))
        if not people:
            out.left_out["images without a label"] += 1
    return out


def _places_beside(file: Path) -> dict[str, dict[str, Any]]:
    """Return what images.json says, of the nearest folder above the labels that has one."""
    for folder in list(file.resolve().parents)[:3]:
        if (folder / IMAGES).is_file():
            return _entries_of(folder / IMAGES)
    return {}


def _entries_of(path: Path) -> dict[str, dict[str, Any]]:
    """Return what an images.json says; one of somebody else's says nothing."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    if not isinstance(entries, dict) or not all(isinstance(v, dict) for v in entries.values()):
        return {}
    return entries


def _size(entry: dict[str, Any]) -> tuple[int, int] | None:
    size = entry.get("size")
    return (int(size[0]), int(size[1])) if isinstance(size, list) and len(size) == 2 else None


def _as_exported(pose: AnnotatedPose, places: dict[str, dict[str, Any]]) -> AnnotatedPose:
    entry = places.get(pose.image, {})
    return AnnotatedPose(str(entry.get("image", pose.image)), pose.joints, size=_size(entry))
