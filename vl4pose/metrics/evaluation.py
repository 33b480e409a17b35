"""From heatmaps, or a network and images, to metrics."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from vl4pose._arrays import as_numpy, is_tensor
from vl4pose._options import flag, integer
from vl4pose.image_transform import ImageTransform, Placement
from vl4pose.metrics.correct_keypoints import pck, pck_auc, pckh
from vl4pose.metrics.correct_parts import pcp
from vl4pose.metrics.flipped_heatmaps import average_flipped, check_heatmaps
from vl4pose.metrics.metric import Metric
from vl4pose.metrics.pose_pairs import annotated
from vl4pose.metrics.position_error import mpjpe
from vl4pose.results import Decoded
from vl4pose.scoring import decode
from vl4pose.skeleton import Skeleton, nearest, resolve_skeleton, shown

__all__ = ["Evaluation", "evaluate", "named_metric"]

Float64Array = npt.NDArray[np.float64]
MetricFunction = Callable[..., Any]

# What a name such as PCK@0.2 stands for, and the argument that the number is.
_WITH_NUMBER: dict[str, tuple[MetricFunction, str]] = {
    "PCK": (pck, "thresholds"),
    "PCKh": (pckh, "thresholds"),
    "PCP": (pcp, "thresholds"),
    "AUC": (pck_auc, "max_threshold"),
}
_WITHOUT_NUMBER: dict[str, tuple[MetricFunction, dict[str, Any]]] = {
    "MPJPE": (mpjpe, {}),
    "PA-MPJPE": (mpjpe, {"align": "procrustes"}),
}
_NORMALIZED = ("PCK", "AUC")
_NAMES = (*(f"{name}@0.5" for name in _WITH_NUMBER), *_WITHOUT_NUMBER)
_DEFAULT_METRICS = ("PCK@0.2", "PCK@0.5", "AUC@0.5")


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Decoded poses and what they are worth.

    Attributes
    ----------
    metrics : dict of str to Metric
        By name, in the order that was asked for.
    keypoints : (N, J, 2) float64
        Decoded, in pixels of the truth.
    confidence : (N, J) float64
        The maximum of each heatmap, after the average with the mirror image's if there is one.
    """

    metrics: dict[str, Any]
    keypoints: Float64Array = field(repr=False)
    confidence: Float64Array = field(repr=False)

    def __getitem__(self, name: str) -> Any:
        """Return a metric by its name, ``KeyError`` with the nearest where there is none."""
        if name not in self.metrics:
            raise KeyError(f"metric must be {nearest(str(name), self.metrics)}, got {name!r}")
        return self.metrics[name]


def evaluate(
    pose: Any,
    truth: Any,
    visible: Any = None,
    *,
    images: Any = None,
    flip: bool = False,
    flipped: Any = None,
    flip_shift: int = 0,
    subpixel: str | None = None,
    transform: ImageTransform | None = None,
    placements: Sequence[Placement] | None = None,
    metrics: Sequence[str] | Mapping[str, MetricFunction] = _DEFAULT_METRICS,
    skeleton: Skeleton | str | None = None,
    batch_size: int = 32,
    trust: bool = False,
    device: Any = None,
    num_threads: int | None = None,
) -> Evaluation:
    """Decode heatmaps and measure the poses.

    Parameters
    ----------
    pose : (N, J, H, W) array or Tensor, or a pose network
        Heatmaps, or whatever `vl4pose.Scorer` takes as ``pose``: a module, a callable, an exported
        program or a path, which needs torch and ``images``.
    truth : (N, J, 2) array_like or Tensor
        Annotated (x, y): in heatmap pixels, or in image pixels where ``transform`` is given.
    visible : (N, J) bool array_like or Tensor, optional
        Which joints are annotated and count, default all. The others are not read.
    images : (N, 3, H, W) Tensor, or iterable of batches, optional
        For a network. Batches are as for ``Scorer.stream``: tensors, tuples that start with one, or
        mappings with "images"; all of them together in the order of ``truth``.
    flip : bool
        For a network: average with the heatmaps of the mirrored images (flip test).
    flipped : (N, J, H, W) array or Tensor, optional
        For heatmaps: those of the mirrored images, as the network returned them.
    flip_shift : int
        As ``shift`` of `average_flipped`, which says when it is not 0: never for networks that
        ``ImageTransform`` describes exactly, 1 for those of HRNet, SimpleBaseline and MMPose.
    subpixel : {None, "quarter", "centroid", "dark"}
        As for `vl4pose.decode`, after the average.
    transform : ImageTransform, optional
        How images became network input. Keypoints are brought to image pixels by it, and
        ``placements`` must be given.
    placements : sequence of N Placement, optional
        What ``transform.place`` or ``transform.apply`` returned for each image.
    metrics : sequence of str, or mapping of str to callable
        Names: "PCK@0.2" (of the torso), "PCKh@0.5" (of the head segment), "AUC@0.5" (under the PCK
        curve up to 0.5), "PCP@0.5", "MPJPE", "PA-MPJPE", with any numbers. Callables are called as
        ``metric(keypoints, truth, visible, skeleton=skeleton)``, with float64 arrays: so
        ``{"OKS": functools.partial(vl4pose.metrics.oks, areas=areas)}``.
    skeleton : Skeleton, str or None
        None goes by the number of joints.
    batch_size : int
        How many of ``images``, where they are one tensor, the network takes at once.
    trust, device
        For a network, as for `vl4pose.Scorer`.
    num_threads : int, optional
        As for `vl4pose.decode`.

    Returns
    -------
    Evaluation

    Raises
    ------
    TypeError, ValueError
        ``images must be given for a network``, ``flip must ...``, ``flipped must ...``,
        ``placements must ...``, ``metrics must ...``, ``pose must return ...``, and as
        `vl4pose.decode` and the metrics.
    ImportError
        ``evaluating a network needs torch: pip install 'vl4pose[torch]'``.

    Notes
    -----
    Of a network's stacks the last is evaluated. Heatmaps of a network are decoded batch by batch,
    where they are, and not kept.

    Examples
    --------
    >>> heatmaps = np.zeros((1, 14, 8, 8), np.float32)
    >>> heatmaps[..., 3, 5] = 1
    >>> truth = np.full((1, 14, 2), [5.0, 4.0])
    >>> evaluate(heatmaps, truth, metrics=["MPJPE"])["MPJPE"].mean
    1.0
    """
    poses, seen = annotated(truth, visible)
    resolved = resolve_skeleton(skeleton, poses.shape[1])
    wanted = _metric_functions(metrics)
    if (transform is None) != (placements is None):
        raise ValueError(
            "placements must be given with transform, and only then, got "
            + ("none" if placements is None else "them without it")
        )
    if placements is not None and len(placements) != len(poses):
        raise ValueError(f"placements must be one per image ({len(poses)}), got {len(placements)}")
    step = _Decoding(resolved, subpixel, integer(flip_shift, "flip_shift", -(2**15), 2**15))
    step.num_threads = num_threads
    if isinstance(pose, np.ndarray) or is_tensor(pose):
        decoded = _of_heatmaps(pose, flipped, step, images, flip)
    else:
        if flipped is not None:
            raise ValueError("flipped must be None for a network, got heatmaps: use flip=True")
        decoded = _of_network(pose, images, step, batch_size, flag(flip, "flip"), trust, device)
    keypoints = as_numpy(decoded.keypoints).astype(np.float64)
    if len(keypoints) != len(poses):
        rows = "images" if images is not None else "pose"
        raise ValueError(f"{rows} must be as many as truth ({len(poses)}), got {len(keypoints)}")
    if transform is not None and placements is not None:
        keypoints = np.stack(
            [
                transform.heatmap_to_image(xy, step.heatmap_size, placement)
                for xy, placement in zip(keypoints, placements, strict=True)
            ]
        ).reshape(keypoints.shape)
    confidence = as_numpy(decoded.confidence).astype(np.float64)
    made = {name: f(keypoints, poses, seen, skeleton=resolved) for name, f in wanted.items()}
    return Evaluation(made, keypoints, confidence)


class _Decoding:
    """Heatmaps to keypoints, after an average with the mirror images'."""

    def __init__(self, skeleton: Skeleton, subpixel: str | None, shift: int) -> None:
        self.skeleton, self.subpixel, self.shift = skeleton, subpixel, shift
        self.num_threads: int | None = None
        self.heatmap_size = (1, 1)

    def __call__(self, heatmaps: Any, flipped: Any = None) -> Decoded[Any]:
        if heatmaps.shape[1] != self.skeleton.num_joints:
            raise ValueError(
                f"pose must have a heatmap for each joint of {self.skeleton.name!r} "
                f"({self.skeleton.num_joints}), got shape {tuple(heatmaps.shape)}"
            )
        if flipped is not None:
            heatmaps = average_flipped(heatmaps, flipped, shift=self.shift, skeleton=self.skeleton)
        self.heatmap_size = (heatmaps.shape[3], heatmaps.shape[2])
        return decode(heatmaps, subpixel=self.subpixel, num_threads=self.num_threads)


def _of_heatmaps(
    heatmaps: Any, flipped: Any, step: _Decoding, images: Any, flip: object
) -> Decoded[Any]:
    check_heatmaps(heatmaps, "pose")
    if images is not None:
        raise ValueError("images must be None where pose is heatmaps, got images")
    if flag(flip, "flip"):
        raise ValueError(
            "flip must be False where pose is heatmaps, got True: give those of the mirrored "
            "images as flipped"
        )
    if is_tensor(heatmaps):
        heatmaps = heatmaps.detach()
    return step(heatmaps, flipped.detach() if is_tensor(flipped) else flipped)


def _of_network(
    pose: Any,
    images: Any,
    step: _Decoding,
    batch_size: object,
    flip: bool,
    trust: bool,
    device: Any,
) -> Decoded[Any]:
    if importlib.util.find_spec("torch") is None:
        raise ImportError("evaluating a network needs torch: pip install 'vl4pose[torch]'")
    if images is None:
        raise ValueError("images must be given for a network, got None")
    from vl4pose.scorer import Scorer

    no_params = np.zeros((step.skeleton.num_links, 2))  # nothing is scored
    scorer = Scorer(pose, skeleton=step.skeleton, params=no_params, trust=trust, device=device)
    keypoints, confidence = [], []
    for batch in _batches(images, integer(batch_size, "batch_size", 1)):
        mirrored = scorer.predict(batch.flip(-1)).heatmaps if flip else None
        decoded = step(scorer.predict(batch).heatmaps, mirrored)
        keypoints.append(as_numpy(decoded.keypoints))
        confidence.append(as_numpy(decoded.confidence))
    if not keypoints:
        raise ValueError("images must hold at least one batch, got none")
    return Decoded(np.concatenate(keypoints), np.concatenate(confidence))


def _batches(images: Any, batch_size: int) -> Iterator[Any]:
    from vl4pose.scorer import images_of

    if is_tensor(images):
        yield from images.split(batch_size)
    elif isinstance(images, Iterable):
        yield from map(images_of, images)
    else:
        raise TypeError(
            f"images must be a tensor or an iterable of batches, got {type(images).__name__}"
        )


def _metric_functions(metrics: object) -> dict[str, MetricFunction]:
    if isinstance(metrics, Mapping):
        for name, function in metrics.items():
            if not callable(function):
                raise TypeError(
                    f"metrics must map names to callables, got {function!r} as {name!r}"
                )
        return dict(metrics)
    if isinstance(metrics, str) or not isinstance(metrics, Sequence):
        raise TypeError(
            f"metrics must be a sequence of names or a mapping to callables, got {shown(metrics)}"
        )
    return {name: named_metric(name) for name in metrics}


def named_metric(name: object, normalize_by: str | None = None) -> MetricFunction:
    """Return the metric of a name, as `evaluate` calls it.

    Parameters
    ----------
    name : str
        As for `evaluate`.
    normalize_by : str, optional
        Of PCK and of the area under its curve, as for `pck`; None is theirs.

    Raises
    ------
    TypeError, ValueError
        ``metrics must hold names``, ``metrics must be one of ...``.
    """
    if not isinstance(name, str):
        raise TypeError(f"metrics must hold names, got {shown(name)}")
    stem, _, number = name.partition("@")
    options: dict[str, Any]
    if name in _WITHOUT_NUMBER:
        function, options = _WITHOUT_NUMBER[name]
    elif stem in _WITH_NUMBER and re.fullmatch(r"\d+(\.\d*)?|\.\d+", number):
        function, argument = _WITH_NUMBER[stem]
        options = {argument: float(number)}
        if normalize_by is not None and stem in _NORMALIZED:
            options["normalize_by"] = normalize_by
    else:
        valid = [f"{stem}@0.5"] if stem in _WITH_NUMBER else _NAMES
        raise ValueError(
            f"metrics must be {nearest(name, valid)}, or with other numbers, got {name!r}"
        )

    def metric(keypoints: Any, truth: Any, visible: Any, *, skeleton: Skeleton) -> Metric:
        made: Metric = function(keypoints, truth, visible, skeleton=skeleton, **options)
        return made

    return metric
