"""What to train on: the people of a file of annotations, and which of them to validate on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vl4pose.annotations import LeftOut, Person, read_coco, read_csv
from vl4pose.cli.checks import check_file
from vl4pose.cli.errors import UsageError, needing_extras, reason
from vl4pose.lsp_annotations import read_mat
from vl4pose.skeleton import Skeleton

__all__ = ["AnnotatedPeople", "read_annotated_people", "split_by_image"]


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
    """Read the joints of a skeleton from COCO keypoints JSON, a CSV, or a joints.mat.

    Parameters
    ----------
    argument : str
        What the user calls the file.
    path : Path
    images_dir : Path, optional
        Where the images are; by default beside the file.
    skeleton : Skeleton
    images_argument : str
        What the user calls the folder of the images.
    mat_flag : {"occluded", "annotated"}, optional
        As for `read_mat`.
    limit : int, optional
        Take the first so many of the file.

    Raises
    ------
    UsageError
        If the file is not there, not as it should be, or lists nobody; or none of its images is
        there.
    """
    check_file(argument, path)
    root = path.parent if images_dir is None else images_dir
    if not root.is_dir():
        raise UsageError(f"{images_argument} must be a folder, got '{root}'")
    suffix = path.suffix.lower()
    left_out: list[LeftOut] = []
    try:
        if suffix == ".json":
            people, left_out = read_coco(path, skeleton)
        elif suffix == ".csv":
            people, left_out = read_csv(path, skeleton)
        elif suffix == ".mat":
            with needing_extras():
                people = read_mat(path, skeleton, mat_flag)
        else:
            raise UsageError(f"{argument} must be a .json, a .csv or a .mat, got '{path}'")
    except (OSError, ValueError) as error:
        raise UsageError(f"'{path}': {reason(error)}") from error
    if not people:
        but = "; left out: " + ", ".join(map(str, left_out)) if left_out else ""
        raise UsageError(f"'{path}' must list at least one person, got none{but}")
    people = people[:limit]
    if not any((root / person.image).is_file() for person in people if person.image):
        raise UsageError(
            f"'{root}' holds no image of '{path}': say where they are with {images_argument}"
        )
    people.sort(key=lambda person: person.image)
    return AnnotatedPeople(root.resolve(), people, left_out)


def split_by_image(
    people: Sequence[Person], share: float, seed: int
) -> tuple[list[int], list[int]]:
    """Return whom to train on and whom to validate on, never people of the same image.

    Parameters
    ----------
    people : sequence of Person
    share : float
        Of the images to validate on, rounded; at least one image is left to either side.
    seed : int

    Returns
    -------
    training, validation : lists of int
        Indices into ``people``.

    Raises
    ------
    UsageError
        If there are not two images.
    """
    images = sorted({person.image for person in people})
    if len(images) < 2:
        raise UsageError(
            f"--val must be a file of annotations unless there are two images, got {share:g}"
        )
    num_validation = min(max(round(share * len(images)), 1), len(images) - 1)
    chosen = np.random.default_rng(seed).permutation(len(images))[:num_validation]
    of_validation = {images[index] for index in chosen}
    parts: tuple[list[int], list[int]] = ([], [])
    for index, person in enumerate(people):
        parts[person.image in of_validation].append(index)
    return parts
