"""How much peaks are trusted: the temperature and the variance that made them are found again."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch

from vl4pose import Skeleton, analyze
from vl4pose.nn import PeakFit, fit_peak_variance

CHAIN = Skeleton("chain", list("abcd"), [(0, 1), (1, 2), (2, 3)])
NO_BONES = np.array([[10.0, 19.0]] * 3)
BONES = np.array([[12.0, 0.0]] * 3)


def two_peaks(
    count: int, temperature: float, noise: float, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return heatmaps of a right and a wrong peak, as likely as their heights say, and truth.

    The joints are 12 pixels apart, a right peak up to ``noise`` pixels beside its joint.
    """
    rng = np.random.default_rng(seed)
    heatmaps = np.zeros((count, 4, 64, 64), np.float32)
    truth = np.empty((count, 4, 2))
    for image in range(count):
        x = 14 + 12 * np.arange(4)
        truth[image] = np.stack([x, rng.integers(20, 24) + 0 * x], axis=1)
        for joint, at in enumerate(truth[image]):
            right = np.rint(at + noise * rng.uniform(-1, 1, 2)).astype(int)
            wrong = np.array([rng.integers(2, 62), rng.integers(40, 62)])
            higher = rng.exponential(temperature)
            is_higher = rng.random() < 1 / (1 + np.exp(-higher / temperature))
            for (u, v), height in ((right, is_higher), (wrong, not is_higher)):
                heatmaps[image, joint, v, u] = 20 + higher * height
    return heatmaps, truth


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_temperature_of_the_heights(temperature: float) -> None:
    heatmaps, truth = two_peaks(600, temperature, 0)
    fit = fit_peak_variance(heatmaps, NO_BONES, truth, skeleton=CHAIN)
    assert fit.temperature == pytest.approx(temperature, rel=0.5)
    assert fit.num_joints == 4 * 600


def test_displaced_peaks_have_a_variance() -> None:
    still = fit_peak_variance(*with_params(two_peaks(300, 2, 0)), skeleton=CHAIN)
    moved = fit_peak_variance(*with_params(two_peaks(300, 2, 4)), skeleton=CHAIN)
    assert still.variance < 1
    assert 3 < moved.variance < 60
    assert moved.log_posterior < still.log_posterior


def with_params(data: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    heatmaps, truth = data
    return heatmaps, BONES, truth


def test_nothing_else_is_better() -> None:
    heatmaps, truth = two_peaks(100, 2, 4)
    fit = fit_peak_variance(heatmaps, BONES, truth, skeleton=CHAIN)

    def log_posterior(temperature: float, variance: float) -> float:
        params = BONES.copy()
        params[:, 1] = np.log(np.exp(params[:, 1]) + variance)
        result = analyze(heatmaps, params, skeleton=CHAIN, temperature=temperature)
        xy, posterior = result.peaks.xy, result.posterior
        distance = np.linalg.norm(xy - truth[:, :, None], axis=-1)
        right = np.where(distance <= 5, posterior, 0).max(-1)[(distance <= 5).any(-1)]
        return float(np.log(right).mean())

    assert log_posterior(fit.temperature, fit.variance) == pytest.approx(
        fit.log_posterior, rel=1e-4
    )
    for factors in ((1.5, 1), (1 / 1.5, 1), (1, 1.5), (1, 1 / 1.5), (2, 2), (0.5, 0.5), (1, 0)):
        other = log_posterior(fit.temperature * factors[0], fit.variance * factors[1])
        assert other < fit.log_posterior + 1e-6, factors


@pytest.mark.parametrize("form", [torch.from_numpy, lambda a: torch.from_numpy(a).float()])
def test_tensors(form: Any) -> None:
    heatmaps, truth = two_peaks(50, 2, 4)
    fit = fit_peak_variance(heatmaps, BONES, truth, skeleton=CHAIN)
    other = fit_peak_variance(form(heatmaps), form(BONES), form(truth), skeleton=CHAIN)
    assert isinstance(other, PeakFit)
    assert other == pytest.approx(fit, rel=1e-5)


def test_joints_that_do_not_count() -> None:
    heatmaps, truth = two_peaks(60, 2, 0)
    truth[:, 2] += 9  # no peak is near
    fit = fit_peak_variance(heatmaps, BONES, truth, skeleton=CHAIN)
    assert fit.num_joints == 3 * 60
    visible = np.ones((60, 4), bool)
    visible[:, 2] = False
    truth[:, 2] = np.nan
    assert fit_peak_variance(heatmaps, BONES, truth, visible=visible, skeleton=CHAIN) == fit
    heatmaps[7] = np.nan  # an image without peaks
    fit = fit_peak_variance(heatmaps, BONES, truth, visible=visible, skeleton=CHAIN)
    assert fit.num_joints == 3 * 59
    assert np.isfinite(fit.log_posterior)


def test_params_of_each_image() -> None:
    heatmaps, truth = two_peaks(50, 2, 4)
    of_each = np.broadcast_to(BONES, (50, 3, 2))
    fit = fit_peak_variance(heatmaps, of_each, truth, skeleton=CHAIN)
    assert fit == fit_peak_variance(heatmaps, BONES, truth, skeleton=CHAIN)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keypoints": np.zeros((3, 4, 2))}, "keypoints must be (2, 4, 2), got (3, 4, 2)"),
        ({"keypoints": np.full((2, 4, 2), -30.0)}, "keypoints must lie near a peak (5 heatmap pix"),
        ({"visible": np.zeros((2, 4), bool)}, "keypoints must lie near a peak (5 heatmap pixels"),
        ({"visible": np.ones((2, 3), bool)}, "visible must be (2, 4), got (2, 3)"),
        ({"keypoints": np.full((2, 4, 2), np.nan)}, "keypoints must be finite where visible, got"),
        ({"heatmaps": np.zeros((4, 8, 8), np.float32)}, "heatmaps must be (N, J, H, W), got (4, "),
    ],
)
def test_wrong_arguments(change: dict[str, Any], message: str) -> None:
    heatmaps, truth = two_peaks(2, 1, 0)
    given: dict[str, Any] = {"heatmaps": heatmaps, "params": BONES, "keypoints": truth} | change
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        fit_peak_variance(**given, skeleton=CHAIN)


def test_visible_that_is_not_bool() -> None:
    heatmaps, truth = two_peaks(2, 1, 0)
    with pytest.raises(TypeError, match=r"^visible must be bool, got float64$"):
        fit_peak_variance(heatmaps, BONES, truth, visible=np.ones((2, 4)), skeleton=CHAIN)
