"""What to score: people found in folders, globs, files and annotations, in one order.

Every source gives the same list on every run. Images are sorted by their name relative to the
root, character by character, and people of one image stay in the order of their file.
"""

from __future__ import annotations

import glob
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vl4pose._sentences import did_you_mean, reason
from vl4pose.annotations import LeftOut, Person, read_coco, read_csv
from vl4pose.pool.people import People
from vl4pose.pool.storage import Folder, LocalFolder, RemoteFolder, is_url, open_folder, remote

__all__ = ["IMAGE_SUFFIXES", "Source", "find_people"]

IMAGE_SUFFIXES = (
    ".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png",
    ".pnm", ".ppm", ".tif", ".tiff", ".webp",
)  # fmt: skip
_SHOWN_ENDINGS = 5
_SURELY_THERE = 1000  # of so many images named, one must be there

Arguments = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


@dataclass(frozen=True)
class Source:
    """Everything that was found.

    Attributes
    ----------
    kind : {"folder", "files", "coco", "csv"}
    images : Folder
        What the names of the images are relative to.
    people : People
        In the order of the output.
    left_out : list of LeftOut
    arguments : list of str
        What it was found by.
    """

    kind: str
    images: Folder
    people: People
    left_out: list[LeftOut] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)

    @property
    def root(self) -> str:
        """What the names of the images are relative to: an absolute path, or a URL."""
        return self.images.url

    @property
    def has_boxes(self) -> bool:
        """Whether this lists people in boxes, and not whole images."""
        return self.kind in ("coco", "csv")

    def to_json(self) -> dict[str, Any]:
        """Return what a table says of its source."""
        return {
            "kind": self.kind,
            "arguments": self.arguments,
            "root": self.root,
            "ignored": {item.what: item.number for item in self.left_out},
        }


def find_people(images: Arguments, images_dir: str | os.PathLike[str] | None = None) -> Source:
    """Return the people that are to be scored.

    Parameters
    ----------
    images : path, URL, or sequence of them
        A folder (searched with everything below it, hidden files and links to folders left out);
        files; globs, where ``**`` crosses folders; or one COCO keypoints .json or one .csv. URLs
        are of any protocol that fsspec knows.
    images_dir : path or URL, optional
        Where the files named in a .json or .csv are; by default beside it.

    Raises
    ------
    ValueError
        If something does not exist, is not what it should be, or nothing is found: ``images must
        ...``, ``images_dir must ...``.
    ModuleNotFoundError
        If a URL needs a package that is not installed.
    """
    given = [images] if isinstance(images, str | os.PathLike) else images
    arguments = [os.fspath(argument) for argument in given]
    if not arguments:
        raise ValueError("images must hold at least one image, got an empty list")
    if any(a.lower().endswith((".json", ".csv")) for a in arguments):
        if len(arguments) > 1:
            raise ValueError("images must be one file of annotations alone, got others beside it")
        source = _from_annotations(arguments[0], images_dir)
    elif images_dir is not None:
        raise ValueError("images_dir goes with a .json or .csv of boxes, got none")
    elif any(map(is_url, arguments)):
        try:
            source = _from_urls(arguments)
        except (ValueError, ModuleNotFoundError):
            raise
        except Exception as error:  # file systems of fsspec raise what their clients do
            raise ValueError(
                f"images must be where they can be listed, got '{arguments[0]}': "
                f"{type(error).__name__}: {error}"
            ) from error
    elif len(arguments) == 1 and Path(arguments[0]).is_dir():
        source = _from_folder(Path(arguments[0]))
    else:
        source = _from_files(arguments)
    source.arguments.extend(arguments)
    return source


def _from_folder(folder: Path) -> Source:
    root = folder.resolve()
    names: list[str] = []
    others: Counter[str] = Counter()
    for parent, folders, files in os.walk(root, onerror=_unreadable_folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        below = Path(parent).relative_to(root).as_posix()
        prefix = "" if below == "." else f"{below}/"
        for name in files:
            if _is_image(name):
                names.append(prefix + name)
            else:
                others[_ending(name)] += 1
    if not names:
        raise ValueError(f"images must hold at least one image, got none in '{folder}'")
    return Source("folder", LocalFolder(root), _sorted_people(names), _left_out(others))


def _unreadable_folder(error: OSError) -> None:
    raise ValueError(f"cannot list the folder '{error.filename}': {error.strerror}") from error


def _is_image(name: str) -> bool:
    return not name.startswith(".") and name.lower().endswith(IMAGE_SUFFIXES)


def _ending(name: str) -> str:
    return Path(name).suffix or name


def _sorted_people(names: Iterable[str]) -> People:
    return People(Person(name) for name in sorted(names))


def _left_out(others: Counter[str]) -> list[LeftOut]:
    endings = [ending for ending, _ in others.most_common(_SHOWN_ENDINGS + 1)]
    endings[_SHOWN_ENDINGS:] = ["..."] * (len(endings) > _SHOWN_ENDINGS)
    return [LeftOut("other files", others.total(), ", ".join(endings))] if others else []


def _from_files(arguments: Sequence[str]) -> Source:
    paths: set[str] = set()
    for argument in arguments:
        # A name that exists is itself, whatever brackets it holds.
        exists = Path(argument).exists()
        matches = [argument] if exists else glob.glob(argument, recursive=True)  # noqa: PTH207
        # abspath, for resolve() would name the targets of links instead of the links.
        files = [os.path.abspath(m) for m in matches if not os.path.isdir(m)]  # noqa: PTH100, PTH112
        if not files:
            raise ValueError(_nothing_found(argument, matches))
        paths.update(files)
    root = Path(os.path.commonpath({os.path.dirname(path) for path in paths}))  # noqa: PTH120
    names = (Path(path).relative_to(root).as_posix() for path in paths)
    return Source("files", LocalFolder(root), _sorted_people(names))


def _nothing_found(argument: str, matches: Sequence[str]) -> str:
    if matches:
        return f"images must be one folder, or files and globs, got the folder '{argument}'"
    if glob.has_magic(argument):
        return f"images must match at least one file, got none for '{argument}'"
    path = Path(argument)
    siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    return f"images must exist, got '{argument}'{did_you_mean(path.name, siblings)}"


def _from_urls(arguments: Sequence[str]) -> Source:
    """Return the images of a folder, or of files and globs, that are all in one file system."""
    if len(arguments) == 1 and not glob.has_magic(arguments[0]):
        folder = open_folder(arguments[0])
        if isinstance(folder, LocalFolder):
            return _from_folder(folder.path) if folder.path.is_dir() else _from_files([folder.url])
        if not folder.filesystem.isfile(folder.path):
            return _from_remote_folder(folder)
    filesystem, paths = None, set()
    for argument in arguments:
        if not is_url(argument):
            raise ValueError(f"images must all be URLs or all be paths, got '{argument}' too")
        this, pattern = remote(argument)
        if filesystem not in (None, this):
            raise ValueError(f"images must be in one file system, got '{argument}' too")
        filesystem = this
        if this.isfile(pattern):
            found = [pattern]
        else:
            found = [path for path in this.glob(pattern) if this.isfile(path)]
        if not found:
            raise ValueError(f"images must match at least one file, got none for '{argument}'")
        paths.update(found)
    assert filesystem is not None
    root = os.path.commonpath({path.rpartition("/")[0] or "/" for path in paths})
    url = filesystem.unstrip_protocol(root)
    names = [path[len(root) :].lstrip("/") for path in paths]
    folder = open_folder(url)
    return Source("files", folder, _sorted_people(names))


def _from_remote_folder(folder: RemoteFolder) -> Source:
    names: list[str] = []
    others: Counter[str] = Counter()
    for path in folder.filesystem.find(folder.path):
        name = path[len(folder.path) :].lstrip("/")
        *parents, last = name.split("/")
        if any(parent.startswith(".") for parent in parents):
            continue
        if _is_image(last):
            names.append(name)
        else:
            others[_ending(last)] += 1
    if not names:
        raise ValueError(f"images must hold at least one image, got none in '{folder.url}'")
    return Source("folder", folder, _sorted_people(names), _left_out(others))


def _from_annotations(argument: str, images_dir: str | os.PathLike[str] | None) -> Source:
    if is_url(argument):
        place, _, name = argument.rpartition("/")
        beside: LocalFolder | RemoteFolder = open_folder(place)
        if not beside.has(name):
            raise ValueError(f"images must exist, got '{argument}'")
    else:
        path = Path(argument)
        if not path.is_file():
            raise ValueError(_nothing_found(argument, []))
        beside, name = LocalFolder(path.parent.resolve()), path.name
    folder = beside if images_dir is None else open_folder(images_dir)
    if isinstance(folder, LocalFolder):
        if not folder.path.is_dir():
            raise ValueError(f"images_dir must be a folder, got '{images_dir or folder.url}'")
        folder = LocalFolder(folder.path.resolve())
    is_coco = argument.lower().endswith(".json")
    kind, read = ("coco", read_coco) if is_coco else ("csv", read_csv)
    try:
        if isinstance(beside, LocalFolder):
            people, left_out = read(beside.path / name)
        else:
            with tempfile.TemporaryDirectory() as copies:
                copy = Path(copies, name)
                copy.write_bytes(beside.read(name))
                people, left_out = read(copy)
    except (OSError, ValueError) as error:
        raise ValueError(f"'{argument}': {reason(error)}") from error
    if not people:
        but = "; left out: " + ", ".join(map(str, left_out)) if left_out else ""
        raise ValueError(f"'{argument}' must list at least one person, got none{but}")
    looked_at = people if isinstance(folder, LocalFolder) else people[:_SURELY_THERE]
    if not any(person.image and folder.has(person.image) for person in looked_at):
        raise ValueError(
            f"'{images_dir or folder.url}' holds no image of '{argument}': say where they are with "
            "images_dir"
        )
    # Sorting is stable: people of one image stay in the order of the file.
    people.sort(key=lambda person: person.image)
    return Source(kind, folder, People(people), left_out)
