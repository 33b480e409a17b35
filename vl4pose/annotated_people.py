"""The annotated people of a file of any kind, and where their images are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vl4pose._existing_file import check_file
from vl4pose._sentences import reason
from vl4pose.annotations import LeftOut, Person, read_coco, read_csv
from vl4pose.lsp_annotations import read_mat
from vl4pose.skeleton import Skeleton

__all__ = ["AnnotatedPeople", "read_annotated_people", "read_people"]


@dataclass(frozen=True)
class AnnotatedPeople:
    """Everyone in a file of annotations.

    Attributes
    ----------
    root : Path
        What the names of the images are relative to; absolute.
    people : list of Person
        Sorted by image, those of one image in the order of the file.
    left_out : list of LeftOut
    """

    root: Path
    people: list[Person]
    left_out: list[LeftOut]

    @property
    def has_boxes(self) -> bool:
        """Whether any person is in a box, and not all of an image."""
        return any(person.box is not None for person in self.people)


def read_people(
    argument: str, path: Path, skeleton: Skeleton, mat_flag: str | None = None
) -> tuple[list[Person], list[LeftOut]]:
    """Read the joints of a skeleton from COCO keypoints JSON, a CSV, or a joints.mat.

    Parameters
    ----------
    argument : str
        What the user calls the file.
    path : Path
    skeleton : Skeleton
    mat_flag : {"occluded", "annotated"}, optional
        As for `read_mat`.

    Returns
    -------
    people : list of Person
        In the order of the file.
    left_out : list of LeftOut

    Raises
    ------
    ValueError
        If the file is not there or not as it should be.
    """
    check_file(argument, path)
    suffix = path.suffix.lower()
    if suffix not in (".json", ".csv", ".mat"):
        raise ValueError(f"{argument} must be a .json, a .csv or a .mat, got '{path}'")
    try:
        if suffix == ".mat":
            return read_mat(path, skeleton, mat_flag), []
        return (read_coco if suffix == ".json" else read_csv)(path, skeleton)
    except (OSError, ValueError) as error:
        raise ValueError(f"'{path}': {reason(error)}") from error


def read_annotated_people(
    argument: str,
    path: Path,
    images_dir: Path | None,
    skeleton: Skeleton,
    *,
    images_argument: str = "--images",
    mat_flag: str | None = None,
    limit: int | None = None,
) -> AnnotatedPeople:
    """Read the people of a file and find their images.

    Parameters
    ----------
    argument, path, skeleton, mat_flag
        As for `read_people`.
    images_dir : Path, optional
        Where the images are; by default beside the file.
    images_argument : str
        What the user calls the folder of the images.
    limit : int, optional
        Take the first so many of the file.

    Raises
    ------
    ValueError
        As `read_people`; or if the file lists nobody, or none of its images is there.
    """
    people, left_out = read_people(argument, path, skeleton, mat_flag)
    root = path.parent if images_dir is None else images_dir
    if not root.is_dir():
        raise ValueError(f"{images_argument} must be a folder, got '{root}'")
    if not people:
        but = "; left out: " + ", ".join(map(str, left_out)) if left_out else ""
        raise ValueError(f"'{path}' must list at least one person, got none{but}")
    people = people[:limit]
    if not any((root / person.image).is_file() for person in people if person.image):
        raise ValueError(
            f"'{root}' holds no image of '{path}': say where they are with {images_argument}"
        )
    people.sort(key=lambda person: person.image)
    return AnnotatedPeople(root.resolve(), people, left_out)
