"""Average precision of poses by their object keypoint similarity, as COCO measures it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from vl4pose._options import choice
from vl4pose.metrics.bootstrap import Resampling, checked_resampling, draws, interval_ends
from vl4pose.metrics.found_people import FoundPeople, ImageOfPeople
from vl4pose.metrics.keypoint_similarity import checked_areas, checked_sigmas
from vl4pose.metrics.metric import Interval
from vl4pose.metrics.pose_pairs import annotated, numbers_of
from vl4pose.skeleton import Skeleton

__all__ = ["AveragePrecision", "oks_ap"]

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class AveragePrecision:
    """COCO's ten numbers for keypoints; NaN where there is nobody to find.

    Attributes
    ----------
    ap, ar : float
        Average precision and recall, means over the OKS thresholds 0.50, 0.55, ... 0.95.
    ap50, ap75, ar50, ar75 : float
        At the thresholds 0.50 and 0.75.
    ap_medium, ap_large, ar_medium, ar_large : float
        Of people of 32^2 to 96^2, and of more, pixels squared.
    """

    ap: float
    ap50: float
    ap75: float
    ap_medium: float
    ap_large: float
    ar: float
    ar50: float
    ar75: float
    ar_medium: float
    ar_large: float
    _images: Mapping[int, ImageOfPeople] = field(repr=False)

    def interval(
        self,
        name: str = "ap",
        level: float = 0.95,
        *,
        method: Literal["bca", "percentile"] = "bca",
        num_resamples: int = 1000,
        seed: int = 0,
    ) -> Interval:
        """Return a bootstrap confidence interval of one of the numbers.

        Parameters
        ----------
        name : str
            "ap", "ap50", ... "ar_large".
        level, method, num_resamples, seed
            As for `Metric.interval`. Images are drawn, with all the people in them.

        Returns
        -------
        Interval
            Of floats.

        Raises
        ------
        TypeError, ValueError
            ``name must be one of ...``, and as `Metric.interval`.

        Notes
        -----
        Every resample, and for "bca" every image left out, is an evaluation of its own: seconds for
        the 5,000 images of COCO's validation.
        """
        return self._interval((self,), name, checked_resampling(level, method, num_resamples, seed))

    def difference(
        self,
        other: AveragePrecision,
        name: str = "ap",
        level: float = 0.95,
        *,
        method: Literal["bca", "percentile"] = "bca",
        num_resamples: int = 1000,
        seed: int = 0,
    ) -> Interval:
        """Return the interval of the difference to another method on the same people.

        The difference itself is ``a.ap - b.ap``. Both are resampled together, as in
        `Metric.difference`.

        Parameters
        ----------
        other : AveragePrecision
            Of the same annotations.
        name, level, method, num_resamples, seed
            As for `interval`.

        Returns
        -------
        Interval
            Of floats; the two differ at this confidence where it leaves out 0.

        Raises
        ------
        TypeError, ValueError
            ``other must be an AveragePrecision``, ``other must be of the same people``, and as
            `interval`.
        """
        if not isinstance(other, AveragePrecision):
            raise TypeError(f"other must be an AveragePrecision, got {type(other).__name__}")
        for frame in self._images.keys() | other._images.keys():
            mine, theirs = (of._images.get(frame, _EMPTY) for of in (self, other))
            same = all(map(np.array_equal, mine[3:], theirs[3:]))
            if not same:
                raise ValueError(f"other must be of the same people, got others in image {frame}")
        resampling = checked_resampling(level, method, num_resamples, seed)
        return self._interval((self, other), name, resampling)

    @staticmethod
    def _interval(
        results: tuple[AveragePrecision, ...], name: str, resampling: Resampling
    ) -> Interval:
        """Return the interval of the first result, less the second if there is one."""
        stem, threshold, area = _NUMBERS[choice(name, "name", tuple(_NUMBERS))]
        frames = sorted(set().union(*(result._images for result in results)))
        found = [
            FoundPeople.of([result._images.get(frame, _EMPTY) for frame in frames], area)
            for result in results
        ]

        def statistic(times: Float64Array) -> float:
            numbers = []
            for people in found:
                at_thresholds = people.averages(times)[stem == "ar"]
                numbers.append(at_thresholds if threshold is None else at_thresholds[threshold])
            return float(np.mean(numbers[0]) - (np.mean(numbers[1]) if len(numbers) > 1 else 0))

        resampled = [statistic(t) for some in draws(len(frames), resampling) for t in some]
        left_out = np.full((len(frames), 1), np.nan)
        if resampling.method == "bca":
            times = np.ones(len(frames))
            for row in range(len(frames)):
                times[row] = 0
                left_out[row] = statistic(times)
                times[row] = 1
        estimate = np.array([statistic(np.ones(len(frames)))])
        low, high = interval_ends(np.array(resampled)[:, None], estimate, left_out, resampling)
        return Interval(float(low[0]), float(high[0]), resampling.level, resampling.method)


# Precision or recall, which of the thresholds (None: their mean), people of which areas.
_NUMBERS: dict[str, tuple[str, int | None, str]] = {
    f"{stem}{suffix}": (stem, threshold, area)
    for stem in ("ap", "ar")
    for suffix, threshold, area in (
        ("", None, ""),
        ("50", 0, ""),
        ("75", 5, ""),
        ("_medium", None, "medium"),
        ("_large", None, "large"),
    )
}
_EMPTY = ImageOfPeople(
    np.zeros((0, 0)), np.zeros(0), np.zeros(0), np.zeros(0), np.zeros(0, np.bool_)
)
_MAX_POSES = 20  # of an image


def oks_ap(
    keypoints: Any,
    scores: Any,
    truth: Any,
    visible: Any = None,
    *,
    areas: Any,
    image_index: Any = None,
    truth_image_index: Any = None,
    boxes: Any = None,
    sigmas: Any = None,
    skeleton: Skeleton | str | None = None,
) -> AveragePrecision:
    """Average precision and recall of predicted poses by OKS, COCO's metric for keypoints.

    Parameters
    ----------
    keypoints : (N, J, 2) array_like or Tensor
        Predicted (x, y) of N poses, in image pixels.
    scores : (N,) array_like
        How sure each pose is; only their order matters. COCO's top-down networks are usually given
        the score of the person's box times the mean confidence of the joints.
    truth : (M, J, 2) array_like or Tensor
        Annotated (x, y) of M people, in image pixels.
    visible : (M, J) bool array_like or Tensor, optional
        Which joints are annotated, default all; the others are not read. People without any are to
        be ignored, as COCO does: nobody has to find them.
    areas : (M,) array_like
        Area of each person, in pixels squared, as for `oks`; above 0.
    image_index : (N,) integer array_like, optional
        Which image each predicted pose is in, any numbers. By default every pose is in an image of
        its own, and N = M.
    truth_image_index : (M,) integer array_like, optional
        Which image each annotated person is in, with ``image_index``.
    boxes : (M, 4) array_like, optional
        [x, y, width, height] of the people, which only those without an annotated joint need: poses
        near them are not held against anyone.
    sigmas, skeleton
        As for `oks`.

    Returns
    -------
    AveragePrecision

    Raises
    ------
    ImportError
        ``oks_ap needs faster-coco-eval: pip install 'vl4pose[metrics]'``.
    TypeError, ValueError
        As `oks`; ``keypoints must be finite``, ``scores must be ...``, ``areas must be above 0``,
        ``image_index must ...``, ``truth_image_index must ...``, ``boxes must ...``.

    Notes
    -----
    Lin et al., Microsoft COCO, ECCV 2014; https://cocodataset.org/#keypoints-eval. At most 20 poses
    of an image count. The evaluation is faster-coco-eval's; it runs on the CPU.
    """
    evaluator = _evaluator()
    poses, seen = annotated(truth, visible)
    num_people, num_joints = seen.shape
    predicted, _ = annotated(_predicted(keypoints, num_joints))
    certainty = numbers_of(scores, "scores", (len(predicted),), "(N,)")
    if not np.isfinite(certainty).all():
        wrong = certainty[~np.isfinite(certainty)][0]
        raise ValueError(f"scores must be finite, got {wrong:g}")
    area = checked_areas(areas, num_people)
    if not (area > 0).all():
        raise ValueError(f"areas must be above 0, got {area[~(area > 0)][0]:g}")
    deviations = checked_sigmas(sigmas, skeleton, num_joints)
    frames, truth_frames = _image_indices(
        image_index, truth_image_index, len(predicted), num_people
    )
    bounds = (
        np.zeros((num_people, 4))
        if boxes is None
        else numbers_of(boxes, "boxes", (num_people, 4), "(M, 4)")
    )
    flagged = np.concatenate([poses, 2.0 * seen[..., None]], axis=2).reshape(num_people, -1)
    triples = np.concatenate([predicted, np.ones((*predicted.shape[:2], 1))], axis=2)
    dataset = {
        "images": [{"id": int(frame)} for frame in np.union1d(frames, truth_frames)],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [
            {
                "id": row + 1,
                "image_id": int(truth_frames[row]),
                "category_id": 1,
                "keypoints": flagged[row].tolist(),
                "num_keypoints": int(seen[row].sum()),
                "area": float(area[row]),
                "bbox": bounds[row].tolist(),
                "iscrowd": 0,
            }
            for row in range(num_people)
        ],
    }
    results = [
        {
            "image_id": int(frames[row]),
            "category_id": 1,
            "keypoints": triples[row].ravel().tolist(),
            "score": float(certainty[row]),
        }
        for row in range(len(predicted))
    ]
    people = evaluator.COCO(dataset)
    run = evaluator.COCOeval_faster(
        people, people.loadRes(results), "keypoints", kpt_oks_sigmas=deviations
    )
    run.evaluate()
    run.accumulate()
    run.summarize()
    numbers = [float("nan") if value < 0 else float(value) for value in run.stats[:10]]
    named = dict(zip(_NUMBERS, numbers, strict=True))
    images = {}
    extent = np.ptp(predicted, axis=1).prod(axis=1) if len(predicted) else np.zeros(0)
    for frame in np.union1d(frames, truth_frames).tolist():
        in_frame = np.flatnonzero(frames == frame)
        best = in_frame[np.argsort(-certainty[in_frame], kind="stable")][:_MAX_POSES]
        people_in_frame = np.flatnonzero(truth_frames == frame)
        similarity = np.reshape(run.ious[frame, 1], (len(best), len(people_in_frame)))
        is_ignored = ~np.any(seen[people_in_frame], axis=1)
        images[frame] = ImageOfPeople(
            similarity, certainty[best], extent[best], area[people_in_frame], is_ignored
        )
    return AveragePrecision(**named, _images=images)


def _evaluator() -> Any:
    try:
        return importlib.import_module("faster_coco_eval")
    except ImportError:
        raise ImportError("oks_ap needs faster-coco-eval: pip install 'vl4pose[metrics]'") from None


def _predicted(keypoints: Any, num_joints: int) -> Float64Array:
    try:
        poses, _ = annotated(keypoints)
    except (TypeError, ValueError) as error:
        message = str(error).replace("truth must be finite where visible", "truth must be finite")
        raise type(error)(message.replace("truth", "keypoints", 1)) from None
    if poses.shape[1] != num_joints:
        raise ValueError(
            f"keypoints must be of as many joints as truth ({num_joints}), got {poses.shape[1]}"
        )
    return poses


def _image_indices(
    image_index: Any, truth_image_index: Any, num_poses: int, num_people: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    if (image_index is None) != (truth_image_index is None):
        name = "image_index" if image_index is None else "truth_image_index"
        raise ValueError(f"{name} must be given where the other one is, got None")
    if image_index is None:
        if num_poses != num_people:
            raise ValueError(
                f"image_index must be given unless there is one pose per person, got {num_poses} "
                f"poses for {num_people} people"
            )
        every = np.arange(num_people)
        return every, every
    made = []
    for name, index, size, letters in (
        ("image_index", image_index, num_poses, "(N,)"),
        ("truth_image_index", truth_image_index, num_people, "(M,)"),
    ):
        array = np.asarray(index)
        if array.dtype.kind not in "iu":
            raise TypeError(f"{name} must hold integers, got {array.dtype}")
        made.append(numbers_of(array, name, (size,), letters).astype(np.int64))
    return made[0], made[1]
