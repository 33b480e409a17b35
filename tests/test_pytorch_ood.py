"""The detector, with pytorch-ood itself."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import vl4pose
from vl4pose import Scorer


def import_or_skip(name: str) -> Any:
    """Import pytorch-ood, or skip and show why not.

    It imports torchvision for its data sets. PyPI's torchvision is made for a torch with CUDA: on
    another its compiled part is not loaded, and the import ends at the first of its operations of
    which it expects it to be there. None of them is called here, and so it is enough that the two
    are declared.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(name)
        except RuntimeError as error:
            if "operator torchvision::nms does not exist" not in str(error):
                pytest.skip(f"{name} cannot be imported: {error}", allow_module_level=True)
            boxes = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            for operation in ("nms", "qnms"):
                torch.library.define(f"torchvision::{operation}", boxes)
            return importlib.import_module(name)
        except ImportError as error:
            pytest.skip(
                f"{name} cannot be imported: {error}; pip install --no-deps --target DIR "
                "pytorch-ood torchvision, and put DIR on PYTHONPATH",
                allow_module_level=True,
            )


pytorch_ood = import_or_skip("pytorch_ood")

from pytorch_ood.api import Detector  # noqa: E402
from pytorch_ood.metrics import OODMetrics  # noqa: E402

from vl4pose.adapters.pytorch_ood import PoseDetector  # noqa: E402

PARAMS = [[6.0, 2.0]] * 13


class Pose(nn.Module):
    """Heatmaps (B, 14, H / 4, W / 4), from the image alone, and features."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv2d(3, 14, 5, stride=4, padding=2)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        heatmaps = self.layer(images)
        return heatmaps, heatmaps.mean(dim=(2, 3))


@pytest.fixture
def scorer() -> Scorer:
    return Scorer(Pose(), skeleton="lsp", params=PARAMS, method="max", num_peaks=3)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(6, 3, 48, 64, generator=torch.Generator().manual_seed(1))


def test_outlier_scores_are_minus_the_scores(scorer: Scorer, images: Tensor) -> None:
    detector = PoseDetector(scorer)
    assert isinstance(detector, Detector)
    expected = -scorer(images).score
    assert expected.shape == (6,)
    assert torch.equal(detector.predict(images), expected)
    assert torch.equal(detector(images), expected)
    prediction = scorer.predict(images)
    assert torch.equal(detector.predict_structured(*prediction), expected)
    own = vl4pose.score(*prediction, skeleton="lsp", method="max", num_peaks=3)
    assert torch.equal(detector.predict_structured(*prediction), -own)


def test_unlikely_poses_are_outliers() -> None:
    """Bones of the expected lengths against others, through the library's own metrics."""
    skeleton = vl4pose.get_skeleton("lsp")
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    generator = torch.Generator().manual_seed(0)

    def heatmaps(length: float) -> Tensor:
        keypoints = torch.zeros(14, 2)
        keypoints[skeleton.root] = 32.0
        for parent, child in skeleton.links:
            angle = torch.rand((), generator=generator) * 6.283
            step = length * torch.stack([angle.cos(), angle.sin()])
            keypoints[child] = (keypoints[parent] + step).clamp(2, 61)
        distance = (x - keypoints[:, 0, None, None]) ** 2 + (y - keypoints[:, 1, None, None]) ** 2
        return 30 * torch.exp(-distance / 8)

    likely = torch.stack([heatmaps(6.0) for _ in range(20)])
    unlikely = torch.stack([heatmaps(14.0) for _ in range(20)])
    detector = PoseDetector(Scorer(Pose(), skeleton="lsp", params=PARAMS))
    params = torch.tensor(PARAMS)
    metrics = OODMetrics()
    for maps, label in ((likely, 1), (unlikely, -1)):  # below 0 is out of distribution there
        metrics.update(detector.predict_structured(maps, params), torch.full((20,), label))
    assert metrics.compute()["AUROC"] > 0.99


def test_nothing_is_fitted(scorer: Scorer, images: Tensor) -> None:
    detector = PoseDetector(scorer)
    before = detector.predict(images)
    loader = DataLoader(TensorDataset(images, torch.zeros(6)), batch_size=2)
    assert not detector.requires_fit
    assert detector.fit(loader) is detector
    assert detector.fit_structured() is detector
    assert torch.equal(detector.predict(images), before)


def test_image_without_a_score_is_an_outlier(scorer: Scorer, images: Tensor) -> None:
    images[2, 0, 5, 5] = torch.nan
    scores = PoseDetector(scorer).predict(images)
    assert scores[2] == torch.inf
    assert torch.isfinite(scores).sum() == 5


def test_device_is_that_of_the_networks(scorer: Scorer, images: Tensor) -> None:
    aux = nn.Linear(14, 26)
    detector = PoseDetector(Scorer(Pose(), aux, skeleton="lsp"))
    assert detector.device == torch.device("cpu")
    assert detector.networks[1] is aux
    assert detector.to("meta") is detector
    assert {tensor.device.type for tensor in aux.parameters()} == {"meta"}
    assert detector.device == torch.device("meta")
    # Without a module there is no device, and images stay where they are.
    plain = PoseDetector(Scorer(lambda x: x.repeat(1, 5, 1, 1)[:, :14], params=PARAMS))
    assert plain.device is None
    assert plain.predict(images).shape == (6,)


def test_describes_itself() -> None:
    assert PoseDetector.info.paper.year == 2022
    assert PoseDetector.hyperparameter_space == {}


def test_no_scorer() -> None:
    with pytest.raises(TypeError, match=r"scorer must be a vl4pose\.Scorer, got Pose"):
        PoseDetector(Pose())
