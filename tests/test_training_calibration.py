"""Figures of calibration, by hand and on Gaussians, and the picture."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("kornia")

from vl4pose.training.calibration import COVERAGES, Calibration

NAMES = ("a>b", "b>c")
CONSTANT = np.array([[10.0, math.log(4.0)], [5.0, 0.0]])


def drawn(number: int = 40_000) -> Calibration:
    """Return lengths drawn from what is predicted."""
    generator = np.random.default_rng(0)
    params = np.stack(
        [generator.uniform(5, 15, (number, 2)), generator.uniform(-1, 2, (number, 2))], axis=-1
    )
    lengths = generator.normal(params[..., 0], np.exp(params[..., 1] / 2))
    return Calibration(NAMES, lengths, params, CONSTANT)


def test_intervals_of_the_true_distribution_hold_their_share() -> None:
    calibration = drawn()
    for link in (None, 0, 1):
        agreement = calibration.predicted(link)
        for share in COVERAGES:
            assert agreement.coverage[share] == pytest.approx(share, abs=0.01)
        constant = calibration.baseline(link)
        assert constant.nll > agreement.nll
        assert constant.coverage[0.95] < 0.9


def test_figures_by_hand() -> None:
    lengths = np.array([[12.0, 5.0], [7.0, np.nan], [10.0, 5.5]])
    params = np.broadcast_to(CONSTANT, (3, 2, 2)).copy()
    params[0, 0] = 11.0, 0.0
    params[:, 1] = np.nan, 100.0
    params[[0, 2], 1] = 4.0, 0.0
    calibration = Calibration(NAMES, lengths, params, CONSTANT)
    assert [calibration.count(link) for link in (None, 0, 1)] == [5, 3, 2]
    half_log = 0.5 * math.log(2 * math.pi)
    first = calibration.predicted(0)
    expected = [half_log + 0.5, half_log + 0.5 * math.log(4) + 0.5 * 2.25]
    expected.append(half_log + 0.5 * math.log(4))
    assert first.nll == pytest.approx(sum(expected) / 3)
    assert first.error == pytest.approx((1 + 3 + 0) / 3)
    # In standard deviations: 1, 1.5, 0 against 0.67, 1.28 and 1.96.
    assert list(first.coverage.values()) == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert calibration.predicted(1).error == pytest.approx(1.25)
    assert calibration.baseline(1).error == pytest.approx(0.25)
    assert calibration.predicted().error == pytest.approx((4 + 2.5) / 5)


def test_a_link_without_lengths_has_no_figures() -> None:
    lengths = np.array([[12.0, np.nan], [7.0, np.nan]])
    calibration = Calibration(NAMES, lengths, np.broadcast_to(CONSTANT, (2, 2, 2)), CONSTANT)
    assert math.isnan(calibration.predicted(1).nll)
    figures = json.loads(json.dumps(calibration.to_json(), allow_nan=False))
    nothing = {"nll": None, "error": None, "coverage": dict.fromkeys(["0.5", "0.8", "0.95"])}
    assert figures["links"]["b>c"] == {"count": 0, "predicted": nothing, "constant": nothing}
    assert figures["all"]["count"] == 2
    assert figures["all"]["predicted"] == figures["links"]["a>b"]["predicted"]


def test_the_picture_is_a_png_and_repeats_itself(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from vl4pose.training.calibration_plot import plot_calibration

    calibration = drawn(50)
    calibration.lengths[:, 1] = np.nan
    for name in ("a.png", "b.png"):
        plot_calibration(calibration, tmp_path / name)
    content = (tmp_path / "a.png").read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert content == (tmp_path / "b.png").read_bytes()
