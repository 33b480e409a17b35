"""Selecting from real heatmaps: bad poses are found, and the random share estimates the pool."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

for _package in ("PIL.Image", "scipy.io", "torch", "typer"):  # of bench.lsp
    pytest.importorskip(_package)

from made_scores import made_scores  # noqa: E402
from PIL import Image  # noqa: E402

import vl4pose  # noqa: E402
from bench import lsp, lsp_reasons  # noqa: E402
from vl4pose.image_transform import ImageTransform  # noqa: E402

BUDGET = 16


@pytest.fixture(scope="module")
def analysis(test_data: Path) -> Any:
    """Of the first 64 test images."""
    with np.load(test_data / "released_lsp.npz") as released:
        return vl4pose.analyze(released["heatmaps"], released["params"], skeleton="lsp")


@pytest.fixture(scope="module")
def errors(test_data: Path, analysis: Any) -> np.ndarray:
    """Mean distance of the joints from the truth, in heatmap pixels (64,)."""
    transform = ImageTransform(input_size=(256, 256))
    found = []
    for i, keypoints in enumerate(analysis.keypoints, 1001):
        with Image.open(test_data / f"lsp/images/im{i:04}.jpg") as image:
            place = transform.place(image.size)
        truth = lsp.load_annotations(test_data)[i - 1]
        found.append(keypoints - transform.image_to_heatmap(truth, (64, 64), place))
    errors: np.ndarray = np.linalg.norm(found, axis=2).mean(1)
    assert 1 < np.median(errors) < 5  # so it is the same people
    return errors


@pytest.mark.parametrize("strategy", ["likelihood", "entropy", "likelihood+entropy", "confidence"])
def test_what_is_selected_is_worse_than_the_rest(
    analysis: Any, errors: np.ndarray, strategy: str
) -> None:
    chosen = vl4pose.select(analysis, BUDGET, strategy=strategy).rows
    rest = np.setdiff1d(np.arange(len(errors)), chosen)
    assert errors[chosen].mean() > 1.5 * errors[rest].mean()


def test_the_random_share_estimates_the_mean_error_and_the_ranking_does_not(
    analysis: Any, errors: np.ndarray
) -> None:
    estimates, ranked = [], []
    for seed in range(400):
        selection = vl4pose.select(
            analysis, 32, strategy="likelihood+entropy", random_share=0.5, seed=seed
        )
        drawn = selection.chosen_by == "random"
        estimates.append(errors[selection.rows[drawn]].mean())
        ranked.append(errors[selection.rows[~drawn]].mean())
    deviation = np.std(estimates) / np.sqrt(len(estimates))
    assert abs(np.mean(estimates) - errors.mean()) < 4 * deviation
    assert np.mean(ranked) - errors.mean() > 20 * deviation


def test_reasons_are_compared_with_the_truth() -> None:
    scores = made_scores(6, images=[f"im{1001 + i}.jpg" for i in range(6)], failed=(2,))
    truth = np.zeros((2000, 14, 2))
    truth[1000:1006] = scores.arrays("keypoints")
    truth[1003, 3] += 1000  # the left elbow of im1004.jpg
    found: dict[str, list[tuple[bool, bool]]] = {}
    for kind, told, right in lsp_reasons.cases(scores, truth):
        found.setdefault(kind, []).append((told, right))
    num_bones, num_joints, num_ways = (len(pairs) for pairs in found.values())
    assert (num_bones, num_joints, num_ways) == (5 * 13, 5 * 14, 5 * 9)
    bones, joints, ways = (sum(right for _, right in pairs) for pairs in found.values())
    assert (bones, joints, ways) == (2, 1, 0)
    assert all(any(told for told, _ in pairs) for pairs in found.values())
    assert lsp_reasons.report(scores, truth).row_count == 3
