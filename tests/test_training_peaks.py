"""At the end of a training: how far the peaks are trusted."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("kornia")
pytest.importorskip("safetensors")

from torch import nn  # noqa: E402
from training_figures import (  # noqa: E402
    SKELETON,
    TRANSFORM,
    figures,
    one_thread,  # noqa: F401
)

from vl4pose.nn import AuxiliaryNet, fit_peak_variance  # noqa: E402
from vl4pose.training import FitSettings, fit  # noqa: E402


class Sharp(nn.Module):
    """Peaks at the joints and lower ones at their mirror images, and features of next to nothing.

    The head's are ``shift`` pixels below.
    """

    def __init__(self, height: float = 10.0, shift: int = 0) -> None:
        super().__init__()
        self.height, self.shift = height, shift

    def forward(self, images):
        features = images.mean((1, 2, 3), keepdim=True).expand(-1, 8, 4, 4)
        heatmaps = self.height * nn.functional.avg_pool2d(images, 4)
        heatmaps[:, 0] = heatmaps[:, 0].roll(self.shift, -2)
        return heatmaps + 0.9 * heatmaps.flip(-1), (features,)


def trained(pose, number: int, **options):
    settings = {"epochs": 1, "augment": False, "num_peaks": 2, "min_distance": 3}
    return fit(
        figures(8),
        figures(number, seed=1),
        pose,
        skeleton=SKELETON,
        transform=TRANSFORM,
        settings=FitSettings(**settings | options.pop("settings", {})),
        **options,
    )


def test_peaks_are_fitted_to_the_validation_set() -> None:
    pose, validation = Sharp(shift=1), figures(40, seed=1)
    result = trained(pose, 40)
    images, keypoints, visible = validation.tensors
    expected = fit_peak_variance(
        pose(images)[0],
        result.calibration.params,
        keypoints,
        visible=visible,
        skeleton=SKELETON,
        num_peaks=2,
        min_distance=3,
    )
    assert result.peaks == expected
    assert expected.num_joints == 3 * 40


def test_the_network_is_left_as_it_was_trained() -> None:
    result = trained(Sharp(shift=3), 40)
    assert result.peaks.variance > 0
    assert result.aux.head.peak_variance.item() == 0


@pytest.mark.parametrize(
    ("pose", "number"), [(Sharp(), 33), (Sharp(height=0.0), 40)], ids=["few", "no peak"]
)
def test_too_few_peaks_say_nothing(pose: Sharp, number: int) -> None:
    result = trained(pose, number)
    assert result.peaks is None


def test_training_takes_the_variance_of_a_given_network_away() -> None:
    def aux(variance: float) -> AuxiliaryNet:
        torch.manual_seed(0)
        network = AuxiliaryNet([8], 2, params=[[5.0, 1.0]] * 2, strides=[])
        network.set_peak_variance(variance)
        return network

    result, expected = (trained(Sharp(), 8, aux=aux(variance)) for variance in (100.0, 0.0))
    assert result.epochs == expected.epochs
    assert result.aux.head.peak_variance.item() == 0


def test_of_many_images_some_are_looked_at() -> None:
    result = trained(Sharp(), 501, settings={"batch_size": 100})
    assert result.peaks.num_joints == 3 * 500
