"""Image files with annotated people in them, as a dataset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vl4pose.annotations import Person
from vl4pose.image_transform import ImageTransform
from vl4pose.pool.decoding import UnreadableImageError, read_rgb
from vl4pose.skeleton import Skeleton
from vl4pose.training import processes
from vl4pose.training.dataset import Annotations

__all__ = ["AnnotatedImages", "Failure"]

Pose = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Failure:
    """A person who cannot be trained on, and why."""

    person: Person
    reason: str


class AnnotatedImages:
    """A `PoseDataset` of people in image files.

    Parameters
    ----------
    root : Path
        What the people's images are relative to.
    people : sequence of Person
        With keypoints, in readable images; `open` finds those.
    transform : ImageTransform
    annotations : Annotations
        The people's keypoints in heatmap pixels.
    """

    def __init__(
        self,
        root: Path,
        people: Sequence[Person],
        transform: ImageTransform,
        annotations: Annotations,
    ) -> None:
        self.root = root
        self.people = people
        self.transform = transform
        self._annotations = annotations

    @classmethod
    def open(
        cls,
        root: Path,
        people: Sequence[Person],
        skeleton: Skeleton,
        transform: ImageTransform,
        heatmap_size: tuple[int, int],
        *,
        workers: int = 1,
        advance: Callable[[int], None] = lambda count: None,
    ) -> tuple[AnnotatedImages, list[Failure]]:
        """Read every image once, and return the people to train on and the others.

        Parameters
        ----------
        root : Path
        people : sequence of Person
            Those of one image side by side.
        skeleton : Skeleton
            A person must have both joints of one of its links.
        transform : ImageTransform
        heatmap_size : (int, int)
            (width, height).
        workers : int
            Threads that read images.
        advance : callable
            Is told of how many more people are done.
        """

        def problem_of(person: Person) -> str | None:
            if person.error is not None or person.keypoints is None:
                return person.error or "no keypoints are annotated"
            seen = np.isfinite(person.keypoints[:, 0])
            if not any(seen[list(link)].all() for link in skeleton.links):
                return "no link has both its joints annotated"
            return None

        def poses_of(of_image: list[Person]) -> list[Pose | Failure]:
            problems = [problem_of(person) for person in of_image]
            size, unreadable = (0, 0), None
            if None in problems:  # else there is no need to read the image
                try:
                    size = read_rgb(root / of_image[0].image).size
                except UnreadableImageError as error:
                    unreadable = str(error)
            return [
                _pose(person, problem or unreadable, size, transform, heatmap_size)
                for person, problem in zip(of_image, problems, strict=True)
            ]

        images = [list(of_image) for _, of_image in groupby(people, key=lambda p: p.image)]
        # Neighbours to each process, so that what they return is in order.
        share = np.array_split(np.arange(len(images)), processes.num_processes())
        own = [images[index] for index in share[processes.rank()]]
        results: list[Pose | Failure] = []
        with ThreadPoolExecutor(workers, thread_name_prefix="vl4pose-read") as pool:
            for of_image in pool.map(poses_of, own):
                results += of_image
                advance(len(of_image) * processes.num_processes())
        usable, poses, failures = [], [], []
        for person, result in zip(people, processes.gathered(results), strict=True):
            if isinstance(result, Failure):
                failures.append(result)
            else:
                usable.append(person)
                poses.append(result)
        keypoints = torch.from_numpy(
            np.stack(poses) if poses else np.empty((0, skeleton.num_joints, 2))
        ).float()
        annotations = Annotations(keypoints, keypoints.isfinite().all(-1))
        return cls(root, usable, transform, annotations), failures

    def __len__(self) -> int:
        return len(self.people)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        person = self.people[index]
        try:
            image = read_rgb(self.root / person.image)
        except UnreadableImageError as error:
            raise UnreadableImageError(f"'{self.root / person.image}': {error}") from error
        pixels, _ = self.transform.apply(image, person.box)
        keypoints, visible = self._annotations
        return torch.from_numpy(pixels), keypoints[index], visible[index]

    def subset(self, indices: Sequence[int]) -> AnnotatedImages:
        """Return some of the people."""
        keypoints, visible = self._annotations
        return AnnotatedImages(
            self.root,
            [self.people[index] for index in indices],
            self.transform,
            Annotations(keypoints[indices], visible[indices]),
        )

    def annotations(self) -> Annotations:
        """Return the poses of all people, in heatmap pixels."""
        return self._annotations


def _pose(
    person: Person,
    problem: str | None,
    image_size: tuple[int, int],
    transform: ImageTransform,
    heatmap_size: tuple[int, int],
) -> Pose | Failure:
    """Return a person's keypoints in heatmap pixels."""
    if problem is not None:
        return Failure(person, problem)
    assert person.keypoints is not None
    try:
        placement = transform.place(image_size, person.box)
    except ValueError as error:
        return Failure(person, str(error))
    return transform.image_to_heatmap(person.keypoints, heatmap_size, placement)
