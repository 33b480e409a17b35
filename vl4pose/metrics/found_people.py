"""Which predicted poses find whom, kept so that average precision can be resampled.

faster-coco-eval, which computes the numbers, gives them for the images as they are. An interval
needs them for images drawn several times or not at all: the same from weights of the images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["AREAS", "FoundPeople", "ImageOfPeople"]

Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

AREAS = {"": (0.0, 1e10), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
_OKS = np.linspace(0.5, 0.95, 10)
_RECALLS = np.linspace(0, 1, 101)


class ImageOfPeople(NamedTuple):
    """An image: its D poses, highest score first, and its G people.

    Attributes
    ----------
    similarity : (D, G) float64
        OKS.
    scores, pose_areas : (D,) float64
    areas : (G,) float64
    is_ignored : (G,) bool
        Who need not be found.
    """

    similarity: Float64Array
    scores: Float64Array
    pose_areas: Float64Array
    areas: Float64Array
    is_ignored: BoolArray


@dataclass(frozen=True, eq=False)
class FoundPeople:
    """The poses of N images that count, by falling score, at each of the T OKS thresholds.

    Attributes
    ----------
    image : (D,) int64
        Which image each is of.
    right, wrong : (T, D) bool
        Whether it finds somebody; whether it finds nobody. Neither, where that does not count.
    num_people : (N,) float64
        To be found in each image.
    """

    image: npt.NDArray[np.int64]
    right: BoolArray
    wrong: BoolArray
    num_people: Float64Array

    @classmethod
    def of(cls, images: Sequence[ImageOfPeople], area: str) -> FoundPeople:
        """Match poses to people as COCO does, people outside a range of areas being ignored."""
        low, high = AREAS[area]
        right, wrong, num_people = [], [], []
        for image in images:
            ignored = image.is_ignored | (image.areas < low) | (image.areas > high)
            found, found_ignored = _matched(image.similarity, ignored)
            outside = (image.pose_areas < low) | (image.pose_areas > high)
            right.append(found)
            wrong.append(~found & ~found_ignored & ~outside)
            num_people.append((~ignored).sum())
        scores = np.concatenate([image.scores for image in images])
        order = np.argsort(-scores, kind="stable")
        of_image = np.repeat(np.arange(len(images)), [len(image.scores) for image in images])
        return cls(
            of_image[order],
            np.concatenate(right, axis=1)[:, order],
            np.concatenate(wrong, axis=1)[:, order],
            np.array(num_people, np.float64),
        )

    def averages(self, times: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Return precision and recall at each threshold, every image counted so many times.

        Parameters
        ----------
        times : (N,) float64

        Returns
        -------
        precision, recall : (T,) float64
            NaN where there is nobody to find. Precision is the mean over 101 levels of recall.

        Notes
        -----
        A pose that counts w times is w poses of one score. At the last of them the precision is
        the highest that this recall has, where they are right; where they are wrong, an earlier
        one's: so that the ends alone give what all of them would.
        """
        num_people = float(times @ self.num_people)
        if num_people == 0:
            nothing = np.full(len(_OKS), np.nan)
            return nothing, nothing
        weight = times[self.image]
        right = np.cumsum(self.right * weight, axis=1)
        wrong = np.cumsum(self.wrong * weight, axis=1)
        recall = right / num_people
        precision = right / (right + wrong + np.spacing(1))
        best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        averages = np.zeros(len(_OKS))
        for threshold, reached in enumerate(recall):
            first = np.searchsorted(reached, _RECALLS)
            known = best[threshold, first[first < len(reached)]]
            averages[threshold] = known.sum() / len(_RECALLS)
        return averages, recall[:, -1] if recall.shape[1] else np.zeros(len(_OKS))


def _matched(similarity: Float64Array, ignored: BoolArray) -> tuple[BoolArray, BoolArray]:
    """Return whether each pose finds a person who counts, or an ignored one, (T, D) each.

    Each pose takes, highest score first, the most similar person who is left; an ignored one only
    where there is no other.
    """
    found, found_ignored = np.zeros((2, len(_OKS), len(similarity)), np.bool_)
    for threshold, least in enumerate(_OKS):
        left = np.ones(len(ignored), np.bool_)
        for pose, of_people in enumerate(similarity):
            for candidates in (left & ~ignored, left & ignored):
                enough = candidates & (of_people >= least)
                if enough.any():
                    # Of equals the last, as COCO's loop has it.
                    values = np.where(enough, of_people, -1)[::-1]
                    person = len(values) - 1 - int(np.argmax(values))
                    left[person] = False
                    (found_ignored if ignored[person] else found)[threshold, pose] = True
                    break
    return found, found_ignored
