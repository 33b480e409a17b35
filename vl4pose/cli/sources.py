"""What to score: people found in folders, globs, files and annotations, in one order.

Every source gives the same list on every run. Images are sorted by their name relative to the
root, character by character, and people of one image stay in the order of their file.
"""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vl4pose.cli.annotations import LeftOut, Person, read_coco, read_csv
from vl4pose.cli.errors import UsageError, did_you_mean, reason

__all__ = ["IMAGE_SUFFIXES", "Source", "find_people"]

IMAGE_SUFFIXES = (
    ".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png",
    ".pnm", ".ppm", ".tif", ".tiff", ".webp",
)  # fmt: skip
_SHOWN_ENDINGS = 5


@dataclass(frozen=True)
class Source:
    """Everything that was found.

    Attributes
    ----------
    kind : {"folder", "files", "coco", "csv"}
    root : Path
        What the names of the images are relative to; absolute.
    people : list of Person
        In the order of the output.
    left_out : list of LeftOut
    """

    kind: str
    root: Path
    people: list[Person]
    left_out: list[LeftOut] = field(default_factory=list)

    @property
    def has_boxes(self) -> bool:
        """Whether this lists people in boxes, and not whole images."""
        return self.kind in ("coco", "csv")


def find_people(arguments: Sequence[str], images_dir: Path | None = None) -> Source:
    """Return the people that the command line's IMAGES stand for.

    Parameters
    ----------
    arguments : sequence of str
        A folder (searched with everything below it, hidden files and links to folders left out);
        files; globs, where ``**`` crosses folders; or one COCO keypoints .json or one .csv.
    images_dir : Path, optional
        Where the files named in a .json or .csv are; by default beside it.

    Raises
    ------
    UsageError
        If something does not exist, is not what it should be, or nothing is found.
    """
    if any(a.lower().endswith((".json", ".csv")) for a in arguments):
        if len(arguments) > 1:
            raise UsageError("IMAGES must be one file of annotations alone, got others beside it")
        return _from_annotations(Path(arguments[0]), images_dir)
    if images_dir is not None:
        raise UsageError("--images goes with a .json or .csv of boxes, got none")
    if len(arguments) == 1 and Path(arguments[0]).is_dir():
        return _from_folder(Path(arguments[0]))
    return _from_files(arguments)


def _from_folder(folder: Path) -> Source:
    root = folder.resolve()
    names, others = [], []
    for parent, folders, files in os.walk(root, onerror=_unreadable_folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if name.startswith(".") or not name.lower().endswith(IMAGE_SUFFIXES):
                others.append(Path(name).suffix or name)
            else:
                names.append((Path(parent) / name).relative_to(root).as_posix())
    if not names:
        raise UsageError(f"IMAGES must hold at least one image, got none in '{folder}'")
    people = [Person(name) for name in sorted(names)]
    endings = [ending for ending, _ in Counter(others).most_common(_SHOWN_ENDINGS + 1)]
    endings[_SHOWN_ENDINGS:] = ["..."] * (len(endings) > _SHOWN_ENDINGS)
    left_out = [LeftOut("other files", len(others), ", ".join(endings))] if others else []
    return Source("folder", root, people, left_out)


def _unreadable_folder(error: OSError) -> None:
    raise UsageError(f"cannot list the folder '{error.filename}': {error.strerror}") from error


def _from_files(arguments: Sequence[str]) -> Source:
    paths: set[Path] = set()
    for argument in arguments:
        # A name that exists is itself, whatever brackets it holds.
        exists = Path(argument).exists()
        matches = [argument] if exists else glob.glob(argument, recursive=True)  # noqa: PTH207
        # abspath, for resolve() would name the targets of links instead of the links.
        files = [Path(os.path.abspath(m)) for m in matches if not Path(m).is_dir()]  # noqa: PTH100
        if not files:
            raise UsageError(_nothing_found(argument, matches))
        paths.update(files)
    root = Path(os.path.commonpath({path.parent for path in paths}))
    names = sorted(path.relative_to(root).as_posix() for path in paths)
    return Source("files", root, [Person(name) for name in names])


def _nothing_found(argument: str, matches: Sequence[str]) -> str:
    if matches:
        return f"IMAGES must be one folder, or files and globs, got the folder '{argument}'"
    if glob.has_magic(argument):
        return f"IMAGES must match at least one file, got none for '{argument}'"
    path = Path(argument)
    siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    return f"IMAGES must exist, got '{argument}'{did_you_mean(path.name, siblings)}"


def _from_annotations(path: Path, images_dir: Path | None) -> Source:
    if not path.is_file():
        raise UsageError(_nothing_found(str(path), []))
    root = path.parent if images_dir is None else images_dir
    if not root.is_dir():
        raise UsageError(f"--images must be a folder, got '{root}'")
    kind, read = ("coco", read_coco) if path.suffix.lower() == ".json" else ("csv", read_csv)
    try:
        people, left_out = read(path)
    except (OSError, ValueError) as error:
        raise UsageError(f"'{path}': {reason(error)}") from error
    if not people:
        but = "; left out: " + ", ".join(map(str, left_out)) if left_out else ""
        raise UsageError(f"'{path}' must list at least one person, got none{but}")
    if not any((root / person.image).is_file() for person in people):
        raise UsageError(f"'{root}' holds no image of '{path}': say where they are with --images")
    # Sorting is stable: people of one image stay in the order of the file.
    return Source(kind, root.resolve(), sorted(people, key=lambda p: p.image), left_out)
