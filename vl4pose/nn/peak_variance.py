"""How much to trust peaks: the temperature and the variance under which the right ones win."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from vl4pose._arrays import as_numpy
from vl4pose.scoring import analyze
from vl4pose.skeleton import Skeleton, resolve_skeleton

__all__ = ["NoPeakError", "PeakFit", "fit_peak_variance"]

_START = (1.0, 2.0)  # log2 of temperature and variance
_LOWEST, _HIGHEST = (-4.0, -4.0), (8.0, 12.0)
_STEPS = (2.0, 1.0, 0.5)
_SMALLEST_POSTERIOR = 1e-12


class NoPeakError(ValueError):
    """No annotated joint lies near a peak of its heatmap."""


class PeakFit(NamedTuple):
    """What `fit_peak_variance` found.

    Attributes
    ----------
    temperature : float
        For `vl4pose.analyze` and `vl4pose.Scorer`.
    variance : float
        For `AuxiliaryNet.set_peak_variance`, in heatmap pixels squared.
    log_posterior : float
        Mean over joints of the log-probability of the right peak, in nats.
    num_joints : int
        Over how many joints.
    """

    temperature: float
    variance: float
    log_posterior: float
    num_joints: int


def fit_peak_variance(
    heatmaps: Any,
    params: Any,
    keypoints: Any,
    *,
    visible: Any = None,
    skeleton: Skeleton | str | None = None,
    num_peaks: int = 5,
    min_distance: int = 5,
) -> PeakFit:
    """Fit the temperature of the peaks and their variance to annotated images.

    Parameters
    ----------
    heatmaps : (N, J, H, W) array or Tensor
        What the pose network predicted; a few hundred images are enough.
    params : (N, L, 2) or (L, 2) array or Tensor
        Length and log-variance of each link, as an auxiliary network predicts them for the images,
        with no variance of peaks set.
    keypoints : (N, J, 2) array or Tensor
        Annotated (x, y) in heatmap pixels.
    visible : (N, J) bool array or Tensor, optional
        Which joints are annotated; None means all. The coordinates of the others are never read.
    skeleton : Skeleton, str or None
        None goes by the number of joints.
    num_peaks, min_distance
        As for `vl4pose.analyze`, and to be used there as well.

    Returns
    -------
    fit : PeakFit

    Raises
    ------
    TypeError
        ``visible must be bool``.
    ValueError
        ``heatmaps must be (N, J, H, W)``, ``keypoints must be ...``, ``keypoints must be finite
        where visible``, ``visible must be ...``. And as `vl4pose.analyze`.
    NoPeakError
        ``keypoints must lie near a peak``: if none does. It is a ValueError.

    Notes
    -----
    The right peak of a joint is the one nearest to its annotation, if that is at most
    ``min_distance`` away; other joints do not count. Temperature and variance maximise the mean log
    of the right peaks' posterior (the probability of a peak given all heatmaps and the skeleton).
    This is temperature scaling (Guo et al., "On Calibration of Modern Neural Networks", ICML 2017),
    with the weight of the bones as a second parameter. The optimum is flat, and is looked for in
    steps of a factor of sqrt(2).
    """
    maps, bones, truth = (as_numpy(array) for array in (heatmaps, params, keypoints))
    if maps.ndim != 4:
        raise ValueError(f"heatmaps must be (N, J, H, W), got {maps.shape}")
    skeleton = resolve_skeleton(skeleton, maps.shape[1])
    if truth.shape != (*maps.shape[:2], 2):
        raise ValueError(f"keypoints must be {(*maps.shape[:2], 2)}, got {truth.shape}")
    annotated = np.ones(truth.shape[:2], np.bool_) if visible is None else as_numpy(visible)
    if annotated.dtype != np.bool_:
        raise TypeError(f"visible must be bool, got {annotated.dtype}")
    if annotated.shape != truth.shape[:2]:
        raise ValueError(f"visible must be {truth.shape[:2]}, got {annotated.shape}")
    if not np.isfinite(truth[annotated]).all():
        raise ValueError("keypoints must be finite where visible, got inf or NaN there")
    options: dict[str, Any] = {
        "skeleton": skeleton,
        "num_peaks": num_peaks,
        "min_distance": min_distance,
    }
    peaks = analyze(maps, bones, **options).peaks
    away = np.linalg.norm(peaks.xy - np.where(annotated[..., None], truth, 0)[:, :, None], axis=-1)
    away[np.arange(num_peaks) >= peaks.count[..., None]] = np.inf
    right = away.argmin(axis=-1)
    counted = annotated & (away.min(axis=-1) <= min_distance)
    if not counted.any():
        raise NoPeakError(
            f"keypoints must lie near a peak ({min_distance} heatmap pixels at most), got none"
        )

    def log_posterior(point: tuple[float, float]) -> float:
        temperature, variance = _values(point)
        widened = bones.astype(np.float64)
        widened[..., 1] = np.logaddexp(widened[..., 1], np.log(max(variance, 1e-300)))
        posterior = analyze(maps, widened, temperature=temperature, **options).posterior
        of_right = np.take_along_axis(posterior, right[..., None], axis=-1)[..., 0][counted]
        return float(np.log(np.maximum(of_right, _SMALLEST_POSTERIOR)).mean())

    known = {_START: log_posterior(_START)}
    best = _START
    for step in _STEPS:
        while True:
            for point in _neighbours(best, step):
                if point not in known:
                    known[point] = log_posterior(point)
            highest = max(known, key=known.__getitem__)
            if highest == best:
                break
            best = highest
    return PeakFit(*_values(best), known[best], int(counted.sum()))


def _values(point: tuple[float, float]) -> tuple[float, float]:
    """Return temperature and variance; the lowest variance stands for none."""
    return 2.0 ** point[0], 0.0 if point[1] == _LOWEST[1] else 2.0 ** point[1]


def _neighbours(point: tuple[float, float], step: float) -> list[tuple[float, float]]:
    a, b = point
    moved = [(a + step, b), (a - step, b), (a, b + step), (a, b - step)]
    return [(_clipped(a, 0), _clipped(b, 1)) for a, b in moved]


def _clipped(exponent: float, axis: int) -> float:
    return min(max(exponent, _LOWEST[axis]), _HIGHEST[axis])
