"""``vl4pose export``: a selection into an annotation tool, with its poses."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from vl4pose.cli.checks import check_images, check_out
from vl4pose.cli.errors import (
    RunError,
    UsageError,
    needing_extras,
    printable,
)
from vl4pose.cli.options import export as opt
from vl4pose.cli.options import shared
from vl4pose.cli.score_files import read_table
from vl4pose.skeleton import nearest

if TYPE_CHECKING:
    from vl4pose.exchange.poses_to_annotate import ImageToAnnotate, PoseToAnnotate
    from vl4pose.score_table import ScoreTable

__all__ = ["FORMATS", "check_format", "export", "naming_packages"]

FORMATS = ("coco", "cvat", "label-studio", "deeplabcut", "sleap", "csv")

_SUFFIXES = {"coco": ".json", "csv": ".csv", "sleap": ".slp"}
_COPYING = ("cvat", "deeplabcut")
_SHOWN = 5
_PACKAGES = {
    "sleap_io": "sleap-io is not installed: pip install 'vl4pose[sleap]'",
    "pandas": "pandas is not installed: pip install pandas tables",
    "tables": "tables is not installed: pip install tables",
}


def export(
    scores: opt.Scores,
    format: opt.Format,  # noqa: A002 the option's name
    out: opt.Out,
    limit: opt.Limit = None,
    label: shared.Label = "person",
    images_dir: opt.ImagesDir = None,
    url_prefix: opt.UrlPrefix = None,
    copy_images: opt.CopyImages = False,
    scorer: opt.ScorerName = None,
) -> None:
    """Check the command line, write the files, and say what is in them and what to do next."""
    check_format(format)
    _check_out(out, format)
    for option, value, formats in (
        ("--url-prefix", url_prefix, ("label-studio",)),
        ("--scorer", scorer, ("deeplabcut",)),
        ("--copy-images", copy_images or None, _COPYING),
        ("--images", images_dir, ("sleap", "label-studio", *_COPYING)),
    ):
        if value is not None and format not in formats:
            rule = " or ".join(formats)
            raise UsageError(f"{option} goes with --format {rule}, got {format}")
    if images_dir is not None:
        images_dir = check_images(images_dir)
    if not label.strip():
        raise UsageError("--label must have a name, got none")
    table = read_table("SCORES", scores)
    with needing_extras():
        from vl4pose.exchange.poses_to_annotate import images_to_annotate, poses_to_annotate
    try:
        poses = poses_to_annotate(table, limit)
    except ValueError as error:
        raise UsageError(f"'{scores}': {error}") from error
    if not poses:
        raise UsageError(f"SCORES must have at least one row, got none in '{scores}'")
    images = images_to_annotate(poses)
    root = table.root if images_dir is None else images_dir
    if copy_images and not Path(root).is_dir():
        raise UsageError(f"--images must be the folder of the images to copy, got '{root}'")
    with naming_packages():
        try:
            notes = _write(
                format,
                poses,
                images,
                table,
                out,
                label=label,
                root=root,
                url_prefix=url_prefix,
                scorer=scorer,
                copy=copy_images,
            )
        except ValueError as error:
            raise RunError(f"--format {format}: {error}") from error
    copied = str(out / "images.zip") if copy_images and format == "cvat" else None
    _show(format, poses, images, out, root, notes, copied)


def check_format(name: str) -> None:
    """Raise an error, with the nearest, unless there is a format of that name."""
    if name not in FORMATS:
        raise UsageError(f"--format must be {nearest(name, FORMATS)}, got {name!r}")


@contextmanager
def naming_packages() -> Iterator[None]:
    """Turn a missing package of a format into a sentence that says how to install it."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _PACKAGES:
            raise
        raise RunError(_PACKAGES[package]) from error


def _check_out(out: Path, name: str) -> None:
    if name in _SUFFIXES:
        check_out(out, _SUFFIXES[name])
        return
    if out.is_file():
        raise UsageError(f"--out must be a folder for --format {name}, got the file '{out}'")
    if out.suffix.lower() in (".json", ".xml", ".zip", ".csv", ".h5"):
        raise UsageError(f"--out must be a folder for --format {name}, got '{out}'")
    folder = out if out.is_dir() else out.resolve().parent
    if not folder.is_dir():
        raise UsageError(f"--out must be in a folder that exists, got '{out}'")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise RunError(f"cannot write into '{folder}': permission denied")


def _write(
    name: str,
    poses: Sequence[PoseToAnnotate],
    images: Sequence[ImageToAnnotate],
    table: ScoreTable,
    out: Path,
    *,
    label: str,
    root: str,
    url_prefix: str | None,
    scorer: str | None,
    copy: bool,
) -> list[str]:
    """Write the files of a format, and return what there is to say of them."""
    from vl4pose.exchange import (
        coco,
        csv_file,
        cvat,
        deeplabcut,
        image_files,
        label_studio,
        sleap,
    )

    skeleton = table.skeleton
    if name == "coco":
        coco.write(images, skeleton, out, label=label)
    elif name == "csv":
        csv_file.write(poses, skeleton, out)
    elif name == "sleap":
        sleap.write(images, skeleton, out, root=root)
    elif name == "label-studio":
        prefix = label_studio.address_of(root) if url_prefix is None else url_prefix
        label_studio.write(images, skeleton, out, label=label, url_prefix=prefix)
    elif name == "cvat":
        cvat.write(images, skeleton, out, label=label)
        if copy:
            image_files.zip_images(Path(root), [image.name for image in images], out / "images.zip")
    else:
        notes = deeplabcut.write(images, skeleton, out, scorer=scorer or "vl4pose")
        if copy:
            places = deeplabcut.places_of(image.name for image in images)
            image_files.copy_images(Path(root), places, out)
        return notes
    return []


def _show(
    name: str,
    poses: Sequence[PoseToAnnotate],
    images: Sequence[ImageToAnnotate],
    out: Path,
    root: str,
    notes: Sequence[str],
    copied: str | None,
) -> None:
    without = [pose for pose in poses if pose.keypoints is None]
    typer.echo(
        f"Wrote {_count(len(poses), 'person', 'people')} in "
        f"{_count(len(images), 'image', 'images')} to {printable(str(out))}: "
        f"{len(poses) - len(without):,} with a pose, {len(without):,} without"
    )
    for pose in without[:_SHOWN]:
        typer.echo(f"  without a pose: {printable(str(pose))} ({printable(pose.problem or '')})")
    if len(without) > _SHOWN:
        typer.echo(f"  and {len(without) - _SHOWN:,} more")
    for note in notes:
        typer.echo(f"Note: {note}")
    for line in _NEXT[name]:
        places = {
            "out": str(out),
            "root": root,
            "parent": str(Path(root).parent),
            "images": copied or f"these images of {root} (--copy-images puts them into a zip)",
        }
        typer.echo(line.format_map({name: printable(place) for name, place in places.items()}))


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


_NEXT: dict[str, tuple[str, ...]] = {
    "coco": ("The names of the images are relative to {root}",),
    "csv": ("The names of the images are relative to {root}",),
    "cvat": (
        "In CVAT: create a task with the labels of {out}/labels.json (tab Raw) and {images}, then "
        "Upload annotations, CVAT 1.1: {out}/annotations.xml",
    ),
    "label-studio": (
        "In Label Studio: paste {out}/interface.xml as the labelling interface (Code), then import "
        "{out}/tasks.json",
        "It finds files of this machine with LOCAL_FILES_SERVING_ENABLED=true, "
        "LOCAL_FILES_DOCUMENT_ROOT={parent} and a local storage of {root}",
    ),
    "deeplabcut": (
        "Copy the folders of {out}/labeled-data into your project's, open each in the napari "
        "plugin, correct, and save",
    ),
    "sleap": (
        "Open {out} in SLEAP: the images are its Labeling Suggestions, in order of priority",
    ),
}
