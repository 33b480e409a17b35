"""Which of the annotated people to validate on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vl4pose.annotations import Person
from vl4pose.cli.errors import UsageError

__all__ = ["split_by_image"]


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
