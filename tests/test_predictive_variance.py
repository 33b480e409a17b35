"""The variance of thinned networks against what is known of it in closed form."""

from __future__ import annotations

import copy
import itertools
import math
import re

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("kornia")

from torch import nn  # noqa: E402
from training_figures import one_thread, pictures, poses, tiny_pose  # noqa: E402, F401

from vl4pose.nn import StackedHourglass  # noqa: E402
from vl4pose.simulation.predictive_variance import predictive_variance  # noqa: E402

SIZE = 8


def spots(*pixels):
    """Return maps (1, C, 8, 8), each zero but for one pixel (x, y)."""
    maps = torch.zeros(1, len(pixels), SIZE, SIZE)
    for channel, (x, y) in enumerate(pixels):
        maps[0, channel, y, x] = 1
    return maps


class Sum(nn.Module):
    """One joint, whose heatmap is the weighted sum of the images' channels; features are given."""

    def __init__(self, weights, features=None) -> None:
        super().__init__()
        self.layer = nn.Conv2d(len(weights), 1, 1, bias=False)
        with torch.no_grad():
            self.layer.weight.copy_(torch.tensor(weights).reshape(1, -1, 1, 1))
        self.features = features

    def forward(self, images):
        return self.layer(images), self.features


def expected_variance(pixels, weights, rate: float) -> float:
    """Sum over all ways to drop channels; where all are dropped the first pixel is the highest."""
    points, mean, squares = np.array([*pixels, (0, 0)], np.float64), np.zeros(2), 0.0
    for kept in itertools.product([False, True], repeat=len(weights)):
        probability = math.prod(1 - rate if keep else rate for keep in kept)
        alive = [weight if keep else -1.0 for weight, keep in zip(weights, kept, strict=True)]
        winner = points[int(np.argmax(alive)) if any(kept) else -1]
        mean += probability * winner
        squares += probability * (winner**2).sum()
    return squares - (mean**2).sum()


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_variance_of_known_distributions(rate: float) -> None:
    """The keypoint is where the heaviest channel that is kept has its spot."""
    pixels, weights = [(1, 2), (6, 3), (4, 7)], [3.0, 2.0, 1.0]
    found = predictive_variance(
        Sum(weights), spots(*pixels), num_samples=4000, dropout_rate=rate, seed=1
    )
    expected = expected_variance(pixels, weights, rate)
    assert found.shape == (1, 1)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(expected, rel=0.1)


def test_nothing_dropped_is_no_variance() -> None:
    network, images = Sum([2.0, 1.0]), spots((1, 1), (5, 5))
    assert predictive_variance(network, images, dropout_rate=0.0).item() == 0


def test_predicted_variances_are_added() -> None:
    features = [torch.tensor([[1.0], [2.0]])]
    network = Sum([2.0, 1.0], features)
    images = spots((1, 1), (5, 5)).repeat(2, 1, 1, 1)
    plain = predictive_variance(network, images)
    found = predictive_variance(network, images, lambda given: given[0])
    torch.testing.assert_close(found - plain, torch.tensor([[1.0], [2.0]]).exp())


class Deep(nn.Module):
    """The features of the images are thinned too, where the first layer's input is."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 2, 1, bias=False)
        self.last = nn.Conv2d(2, 1, 1, bias=False)
        nn.init.dirac_(self.first.weight)
        nn.init.ones_(self.last.weight)

    def forward(self, images):
        x = self.first(images)
        return self.last(x), [x]


def test_variances_of_thinned_features_are_averaged() -> None:
    """A channel of height 1 is 0 or 2 in the features, each in half of the samples."""
    images = spots((1, 1), (5, 5))

    def log_variance(features):
        return features[0][:, :1].amax((2, 3))

    found, plain = (
        predictive_variance(
            Deep(), images, given, num_samples=2000, dropout_rate=0.5, layers="first", seed=2
        )
        for given in (log_variance, None)
    )
    assert (found - plain).item() == pytest.approx((1 + math.exp(2)) / 2, rel=0.1)


@pytest.mark.parametrize("layers", ["heatmaps", ["heatmaps"], ["stem.0", "heatmaps"], "down.0"])
def test_all_images_meet_the_same_networks(layers) -> None:
    network = tiny_pose().eval()
    images = pictures(poses(7, seed=3))
    options = {"num_samples": 5, "dropout_rate": 0.4, "layers": layers, "seed": 9}
    together = predictive_variance(network, images, **options)
    assert together.shape == (7, 3)
    alone = [predictive_variance(network, images[i : i + 1], **options) for i in range(7)]
    torch.testing.assert_close(torch.cat(alone), together)
    assert torch.equal(predictive_variance(network, images, **options), together)
    other = predictive_variance(network, images, **options | {"seed": 10})
    assert torch.equal(other, together) == (layers == "down.0")  # which no heatmap depends on
    assert (together > 0).any() == (layers != "down.0")


def test_one_pass_is_as_good_as_many() -> None:
    """The last layer's input is thinned after the pass, unless a second layer is thinned with it.

    The second one here changes no heatmap.
    """
    network = tiny_pose().eval()
    images = pictures(poses(4, seed=3))
    options = {"num_samples": 6, "dropout_rate": 0.4}
    by_default = predictive_variance(network, images, **options)
    assert torch.equal(
        by_default, predictive_variance(network, images, layers="heatmaps", **options)
    )
    by_passes = predictive_variance(network, images, layers=["heatmaps", "down.0"], **options)
    torch.testing.assert_close(by_passes, by_default)


def test_one_pass_for_all_samples() -> None:
    passes = []
    network = tiny_pose()
    network.stem.register_forward_hook(lambda *_: passes.append(1))
    predictive_variance(network, pictures(poses(2, seed=3)), num_samples=20, layers="heatmaps")
    assert len(passes) == 1
    predictive_variance(network, pictures(poses(2, seed=3)), num_samples=20, layers="stem.0")
    assert len(passes) == 1 + 1 + 20  # the first of which finds that it is not the last layer


def test_layers_of_tokens() -> None:
    """The channels of a fully connected layer are the last axis."""

    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 1, bias=False)
            nn.init.ones_(self.layer.weight)

        def forward(self, images):
            return self.layer(images.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    images = torch.tensor([3.0, 2.0])[:, None, None] * spots((1, 2), (6, 3))[0]
    found = predictive_variance(Tokens(), images[None], num_samples=2000, seed=1)
    expected = expected_variance([(1, 2), (6, 3)], [3.0, 2.0], 0.3)
    assert found.item() == pytest.approx(expected, rel=0.1)


def test_hourglass() -> None:
    torch.manual_seed(0)
    network = StackedHourglass(2, 2, 4).double()
    images = torch.rand(2, 3, 64, 64, dtype=torch.float64)
    found = predictive_variance(network, images, lambda features: features[-1][:, :2, 0, 0])
    assert found.shape == (2, 2)
    assert found.dtype == torch.float64
    layers = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)]
    found = predictive_variance(network, images, layers=layers, num_samples=3)
    assert (found > 0).all()


def test_the_network_stays_as_it_is() -> None:
    network = tiny_pose().train()
    before = copy.deepcopy(network.state_dict())
    state = torch.random.get_rng_state()
    for layers in (None, ["stem.0", "heatmaps"]):
        predictive_variance(network, pictures(poses(2, seed=3)), num_samples=3, layers=layers)
    assert all(module.training for module in network.modules())
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert not any(module._forward_hooks for module in network.modules())
    assert not any(module._forward_pre_hooks for module in network.modules())
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"pose": len}, TypeError, "pose must be a torch.nn.Module, got builtin_function"),
        ({"num_samples": 1}, ValueError, "num_samples must be at least 2, got 1"),
        ({"dropout_rate": 1}, ValueError, "dropout_rate must be finite and between 0 and 0.99"),
        ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
        (
            {"layers": "heatmap"},
            ValueError,
            "layers must name modules of pose, got 'heatmap' (near",
        ),
        ({"layers": []}, ValueError, "layers must name at least one module, got none"),
        ({"layers": [3]}, TypeError, "layers must be names of modules, got 3"),
        ({"layers": ["heatmaps", "idle"]}, ValueError, "that run, got 'idle', which does not"),
        ({"layers": "idle"}, ValueError, "layers must name modules that run, got 'idle'"),
        (
            {"pose": nn.Conv2d(3, 2, 1), "log_variance": len},
            ValueError,
            "pose must return features for log_variance, got none",
        ),
    ],
)
def test_what_is_refused(change, error, message: str) -> None:
    network = tiny_pose()
    network.idle = nn.Conv2d(1, 1, 1)
    options = {"pose": network, "images": pictures(poses(2, seed=3))} | change
    with pytest.raises(error, match=re.escape(message)):
        predictive_variance(**options)
