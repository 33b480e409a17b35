"""``vl4pose import``: what people annotated, as training data for ``vl4pose fit``."""

from __future__ import annotations

import csv
import json
import math
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile, ZipFile, is_zipfile

import numpy as np
import typer

from vl4pose.annotated_people import read_people
from vl4pose.cli.checks import check_file, check_out, read_skeleton
from vl4pose.cli.errors import (
    RunError,
    UsageError,
    naming_options,
    needing_extras,
    printable,
    reason,
)
from vl4pose.cli.export import check_format, naming_packages
from vl4pose.cli.options import import_annotations as opt
from vl4pose.cli.options import shared
from vl4pose.cli.score_files import read_table
from vl4pose.skeleton import Skeleton

if TYPE_CHECKING:
    from vl4pose.exchange.annotated_poses import AnnotatedPose, AnnotatedPoses, Changes

__all__ = ["detect_format", "import_annotations"]

_SHOWN = 5
_MARGIN = 0.1  # of the longer side of people's joints, around those who have no box


def import_annotations(
    annotated: opt.AnnotatedFile,
    out: opt.Out,
    format: opt.Format = None,  # noqa: A002 the option's name
    selection: opt.Selection = None,
    skeleton: opt.SkeletonName = None,
    images_dir: opt.ImagesDir = None,
    merge: opt.Merge = None,
    merge_limit: opt.MergeLimit = None,
    label: shared.Label = "person",
) -> None:
    """Check the command line, read, match and merge, write, and say what became of the poses."""
    check_out(out, ".json")
    if not annotated.is_dir():
        check_file("ANNOTATED", annotated)
    if format is not None:
        check_format(format)
    if selection is None and skeleton is None:
        raise UsageError("--selection or --skeleton must be given, got neither")
    if merge_limit is not None and merge is None:
        raise UsageError(f"--merge-limit goes with --merge, got {merge_limit}")
    if images_dir is not None and not images_dir.is_dir():
        raise UsageError(f"--images must be a folder, got '{images_dir}'")
    for option, file in (("ANNOTATED", annotated), ("--merge", merge)):
        if file is not None and file.resolve() == out.resolve():
            raise UsageError(f"--out must be another file than {option}, got '{out}'")
    table = None if selection is None else read_table("--selection", selection)
    joints = _skeleton(skeleton, None if table is None else table.skeleton)
    with needing_extras():
        from vl4pose.exchange import coco, deeplabcut
        from vl4pose.exchange.annotated_poses import compare, in_skeleton, known_images, matched
        from vl4pose.exchange.poses_to_annotate import poses_to_annotate
    name = format or detect_format(annotated)
    root = images_dir or _local(None if table is None else table.root)
    with naming_packages():
        try:
            asked = [] if table is None else poses_to_annotate(table)
            poses = in_skeleton(_read(name, annotated, joints), joints)
            known = {pose.image for pose in asked}
            if name == "deeplabcut":
                poses = deeplabcut.named_as_exported(poses, known)
            if known and images_dir is not None:
                known |= _names_below(images_dir, poses.images)
            poses = known_images(poses, known, None if root is None else str(root.resolve()))
            poses, rows = matched(poses, asked)
            people = _with_boxes(poses.poses, root)
        except (OSError, ValueError) as error:
            raise UsageError(f"'{annotated}': {reason(error)}") from error
    if not people:
        but = ", ".join(f"{number:,} {what}" for what, number in poses.left_out.items())
        raise RunError(
            f"'{annotated}' must have at least one annotated person, got none"
            + (f"; left out: {but}" if but else "")
        )
    changes = compare(people, rows, asked)
    earlier = None if merge is None else _earlier(merge, joints, root, merge_limit)
    anew = {pose.image for pose in people}
    kept = [] if earlier is None else [p for p in earlier.poses if p.image not in anew]
    coco.write_training([*kept, *people], joints, out, label=label)
    _show(name, poses, people, changes if asked else None)
    if earlier is not None:
        typer.echo(
            f"Merged {_count(len(kept), 'person', 'people')} of {printable(str(merge))}, but not "
            f"{len(earlier.poses) - len(kept):,} in images annotated anew"
        )
        for what, number in earlier.left_out.items():
            typer.echo(f"  left out: {number:,} {printable(what)}")
    num_images = len({pose.image for pose in [*kept, *people]})
    typer.echo(
        f"Wrote {_count(len(kept) + len(people), 'person', 'people')} in "
        f"{_count(num_images, 'image', 'images')} to {printable(str(out))}"
    )
    if root is not None:
        typer.echo(f"Train with: vl4pose fit {printable(str(out))} --images {printable(str(root))}")


def detect_format(path: Path) -> str:
    """Return which format a file or folder is of.

    Raises
    ------
    UsageError
        If it is none that can be told.
    """
    suffix = path.suffix.lower()
    if path.is_dir() or suffix == ".h5":
        return "deeplabcut"
    if suffix == ".slp":
        return "sleap"
    if suffix == ".xml":
        return "cvat"
    if suffix == ".csv":
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            first = next(csv.reader(file), [""])
        return "deeplabcut" if first and first[0].strip() == "scorer" else "csv"
    if suffix == ".zip" and is_zipfile(path):
        with ZipFile(path) as archive:
            return "cvat" if "annotations.xml" in archive.namelist() else "coco"
    if suffix == ".json":
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UsageError(f"'{path}' must be JSON: {error}") from error
        return "label-studio" if isinstance(data, list) else "coco"
    raise UsageError(
        f"--format must be given for a file that ends in none of .json, .xml, .zip, .csv, .h5 and "
        f".slp, got '{path}'"
    )


def _skeleton(given: str | None, selected: Skeleton | None) -> Skeleton:
    joints = selected if given is None else read_skeleton(given)
    assert joints is not None
    if given is not None and selected is not None and joints.joints != selected.joints:
        raise UsageError(
            f"--skeleton must have the joints of --selection, {', '.join(selected.joints)}, got "
            f"{', '.join(joints.joints)}"
        )
    return joints


def _local(root: str | None) -> Path | None:
    return Path(root) if root is not None and Path(root).is_dir() else None


def _names_below(root: Path, names: Iterable[str]) -> set[str]:
    """Return the names of those images that are in the folder, relative to it."""
    from vl4pose.exchange.image_names import below_root

    found = set()
    for name in names:
        with suppress(ValueError):
            found.add(below_root(name, str(root.resolve())))
    return {name for name in found if (root / name).is_file()}


def _read(name: str, path: Path, skeleton: Skeleton) -> AnnotatedPoses:
    from vl4pose.exchange import coco, csv_file, cvat, deeplabcut, label_studio, sleap

    if path.is_dir() and name != "deeplabcut":
        raise UsageError(f"ANNOTATED must be a file for --format {name}, got the folder '{path}'")
    if name == "coco":
        return _read_coco_zip(path, skeleton) if is_zipfile(path) else coco.read(path, skeleton)
    if name == "csv":
        return csv_file.read(path, skeleton)
    readers = {
        "cvat": cvat.read,
        "label-studio": label_studio.read,
        "deeplabcut": deeplabcut.read,
        "sleap": sleap.read,
    }
    return readers[name](path)


def _read_coco_zip(path: Path, skeleton: Skeleton) -> AnnotatedPoses:
    """Read the one .json of an archive, as CVAT exports COCO Keypoints."""
    from vl4pose.exchange import coco

    try:
        with ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.lower().endswith(".json")]
            if len(names) != 1:
                raise ValueError(f"must hold one .json, got {len(names)}")
            content = archive.read(names[0])
    except BadZipFile as error:
        raise ValueError(f"must be a zip: {error}") from error
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "annotations.json"
        file.write_bytes(content)
        return coco.read(file, skeleton)


def _with_boxes(poses: Sequence[AnnotatedPose], root: Path | None) -> list[AnnotatedPose]:
    """Return everyone with a size and a box.

    Who has no box has all of the image, when alone in it; else the extent of the joints and a
    margin, so that each is cropped apart.
    """
    from vl4pose.exchange.image_files import upright_size

    alone = Counter(pose.image for pose in poses)
    sizes: dict[str, tuple[int, int]] = {}
    out = []
    for pose in poses:
        size = pose.size or sizes.get(pose.image)
        if size is None and root is not None and (root / pose.image).is_file():
            size = sizes[pose.image] = upright_size(root / pose.image)
        box = pose.box
        if box is None and size is not None and alone[pose.image] == 1:
            box = (0.0, 0.0, float(size[0]), float(size[1]))
        elif box is None and alone[pose.image] > 1:
            low, high = np.nanmin(pose.keypoints, axis=0), np.nanmax(pose.keypoints, axis=0)
            margin = _MARGIN * float((high - low).max()) + 1
            low, high = low - margin, high + margin
            if size is not None:
                low, high = np.maximum(low, 0), np.minimum(high, size)
            x, y, width, height = (round(float(n), 2) for n in (*low, *(high - low)))
            box = (x, y, width, height)
        if box is None:
            raise ValueError(
                f"the size of image {pose.image!r} must be known: say where the images are with "
                "--images"
            )
        out.append(replace(pose, size=size, box=box))
    return out


def _earlier(
    path: Path, skeleton: Skeleton, root: Path | None, limit: int | None
) -> AnnotatedPoses:
    """Return the people of an earlier file of training data."""
    from vl4pose.exchange import coco
    from vl4pose.exchange.annotated_poses import in_skeleton, known_images

    with needing_extras(), naming_options():
        people, _ = read_people("--merge", path, skeleton)
    try:
        sizes = coco.image_sizes(path) if path.suffix.lower() == ".json" else {}
        poses = coco.from_people(people[:limit], skeleton, sizes, Counter())
        poses = known_images(in_skeleton(poses, skeleton), ())
        return replace(poses, poses=_with_boxes(poses.poses, root))
    except (OSError, ValueError) as error:
        raise UsageError(f"'{path}': {reason(error)}") from error


def _show(
    name: str, poses: AnnotatedPoses, people: Sequence[AnnotatedPose], changes: Changes | None
) -> None:
    typer.echo(
        f"Read {_count(len(people), 'annotated person', 'annotated people')} of {name} in "
        f"{_count(len({pose.image for pose in people}), 'image', 'images')}"
    )
    for what, number in poses.left_out.items():
        typer.echo(f"  left out: {number:,} {printable(what)}")
    if changes is None:
        return
    missing = changes.missing
    typer.echo(
        f"Of {changes.asked:,} asked for, {changes.annotated:,} are annotated and "
        f"{len(missing):,} missing; {changes.added:,} were added"
    )
    for pose in missing[:_SHOWN]:
        why = "nobody is annotated there" if pose.image in poses.images else "not in the file"
        typer.echo(f"  missing: {printable(str(pose))} ({why})")
    if len(missing) > _SHOWN:
        typer.echo(f"  and {len(missing) - _SHOWN:,} more")
    if math.isfinite(changes.moved_px):
        typer.echo(
            f"Moved: {changes.moved_joints:,} of {changes.joints:,} joints, by "
            f"{changes.moved_px:.1f} pixels in the mean of all; "
            f"{_count(changes.unchanged, 'pose is', 'poses are')} as proposed"
        )
    from vl4pose.exchange.annotated_poses import UNCHANGED

    for pose_name, distance in changes.farthest:
        if distance > UNCHANGED:
            typer.echo(f"  {distance:.1f} pixels: {printable(pose_name)}")


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
