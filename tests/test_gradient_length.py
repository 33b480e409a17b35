"""Expected squared gradient lengths against loops of autograd and against finite differences."""

from __future__ import annotations

import copy
import re

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("kornia")

from torch import nn  # noqa: E402
from training_figures import one_thread  # noqa: E402, F401

from vl4pose.nn import StackedHourglass, attach  # noqa: E402
from vl4pose.simulation.gradient_length import expected_squared_gradient_length  # noqa: E402
from vl4pose.simulation.last_layer import last_layer  # noqa: E402
from vl4pose.training import heatmap_loss, heatmap_targets  # noqa: E402


class Twice(nn.Module):
    """Heatmaps of two stacks, the second through two layers of kinds of their own."""

    def __init__(self, kernel: int = 1, groups: int = 1, *, bias: bool = True) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.Softplus())
        self.first = nn.Conv2d(6, 2, 1)
        self.middle = nn.Conv2d(6, 6, 1)
        self.second = nn.Conv2d(6, 2, kernel, padding=kernel // 2, groups=groups, bias=bias)

    def forward(self, images):
        x = self.stem(images)
        return torch.stack([self.first(x), self.second(torch.tanh(self.middle(x)))], 1), [x]


class Scaled(nn.Module):
    """Heatmaps that are not the output of any layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 2, 1)

    def forward(self, images):
        return 2 * self.layer(images)


class Unused(nn.Module):
    """Runs a layer after its heatmaps, which another one makes."""

    def __init__(self) -> None:
        super().__init__()
        self.heatmaps = nn.Conv2d(3, 2, 1)
        self.embedding = nn.Linear(3, 4)

    def forward(self, images):
        return self.heatmaps(images), [self.embedding(images.mean((2, 3)))]


class Shared(nn.Module):
    """Makes the heatmaps of both stacks by one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.heatmaps = nn.Conv2d(3, 2, 1)

    def forward(self, images):
        return torch.stack([self.heatmaps(images), self.heatmaps(images * images)], 1)


NETWORKS = {
    "1x1": Twice,
    "1x1 without bias": lambda: Twice(bias=False),
    "3x3": lambda: Twice(3),
    "groups": lambda: Twice(groups=2),
    "scaled": Scaled,
    "unused": Unused,
    "shared": Shared,
}


def made(make, seed: int = 0):
    """Return a network in double whose batch statistics are not the trivial ones."""
    torch.manual_seed(seed)
    network = make().double()
    network(torch.rand(8, 3, 8, 8, dtype=torch.float64))
    return network


def neighbours(B: int = 3, k: int = 4, J: int = 2, size: int = 8, seed: int = 1):
    rng = torch.Generator().manual_seed(seed)
    images = torch.rand(B, 3, size, size, generator=rng, dtype=torch.float64)
    keypoints = torch.rand(B, k, J, 2, generator=rng, dtype=torch.float64) * size / 2
    visible = torch.rand(B, k, J, generator=rng) < 0.7
    visible[0, 0] = False
    keypoints[~visible] = torch.nan
    probabilities = torch.rand(B, k, generator=rng, dtype=torch.float64).softmax(1)
    return images, keypoints, visible, probabilities


def by_loop(network, names, images, keypoints, visible, probabilities, **target):
    """Return the same by one loss and one pass back for each image and neighbour."""
    network = copy.deepcopy(network).eval()
    weights = [network.get_parameter(name) for name in names]
    expected = torch.zeros(len(images), dtype=torch.float64)
    for i, image in enumerate(images):
        for j, probability in enumerate(probabilities[i]):
            output = network(image[None])
            heatmaps = output[0] if isinstance(output, tuple) else output
            loss = heatmap_loss(
                heatmaps, keypoints[i, j][None], visible=visible[i, j][None], **target
            )
            gradient = torch.autograd.grad(loss, weights, allow_unused=True)
            squares = [part.square().sum() for part in gradient if part is not None]
            expected[i] += probability * sum(squares)
    return expected


LAST = {"scaled": "layer", "unused": "heatmaps", "shared": "heatmaps"}


@pytest.mark.parametrize("name", NETWORKS)
class TestNetworks:
    def test_by_the_last_layer(self, name: str) -> None:
        network = made(NETWORKS[name])
        images, *others = neighbours()
        layer = LAST.get(name, "second")
        assert last_layer(network, images) == layer
        names = [f"{layer}.{part}" for part, _ in network.get_submodule(layer).named_parameters()]
        found = of(network, images, *others, parameters="last")
        torch.testing.assert_close(found, by_loop(network, names, images, *others))

    def test_by_all_parameters(self, name: str) -> None:
        network = made(NETWORKS[name])
        given = neighbours()
        names = [part for part, _ in network.named_parameters()]
        expected = by_loop(network, names, *given)
        torch.testing.assert_close(of(network, *given, parameters="all"), expected)

    def test_memory_changes_nothing(self, name: str) -> None:
        network, given = made(NETWORKS[name]), neighbours()
        for options in ({"parameters": "last"}, {}, {"num_probes": 2}):
            expected = of(network, *given, **options)
            for max_values in (1, 300):
                found = of(network, *given, **options, max_values=max_values)
                torch.testing.assert_close(found, expected)


def of(network, images, keypoints, visible, probabilities, **options):
    """Return the lengths, exact ones unless probes are asked for."""
    options = {"num_probes": None} | options
    return expected_squared_gradient_length(
        network, images, keypoints, probabilities, visible=visible, **options
    )


def test_all_parameters_are_the_default() -> None:
    network, given = made(Twice), neighbours()
    assert torch.equal(of(network, *given), of(network, *given, parameters="all"))


# Probes ------------------------------------------------------------------------------------------


def test_probes_are_right_on_average() -> None:
    network, given = made(Twice), neighbours(B=2, k=9)
    exact = of(network, *given)
    found = torch.stack([of(network, *given, num_probes=2, seed=seed) for seed in range(200)])
    assert not torch.allclose(found[0], exact, rtol=1e-3)
    assert (found.std(0) < 0.3 * exact).all()
    torch.testing.assert_close(found.mean(0), exact, rtol=0.03, atol=0)


@pytest.mark.parametrize("num_probes", [3, 4, 100])
def test_as_many_probes_as_neighbours_are_exact(num_probes: int) -> None:
    network, given = made(Twice), neighbours(k=4)
    torch.testing.assert_close(of(network, *given, num_probes=num_probes), of(network, *given))


def test_without_spread_one_probe_is_exact() -> None:
    """Neighbours of one pose, or but one that counts."""
    network = made(Twice)
    images, keypoints, visible, probabilities = neighbours(k=5)
    same = keypoints[:, :1].expand(-1, 5, -1, -1), visible[:, :1].expand(-1, 5, -1)
    one = torch.zeros_like(probabilities)
    one[:, 2] = 0.7
    none = torch.zeros_like(probabilities)
    for given in (
        (images, *same, probabilities),
        (images, keypoints, visible, one),
        (images, keypoints, visible, none),
    ):
        torch.testing.assert_close(of(network, *given, num_probes=1), of(network, *given))


def test_probes_do_not_depend_on_the_batch() -> None:
    network = made(Twice)
    given = neighbours(k=6)
    together = of(network, *given, num_probes=2, seed=4)
    for i in range(3):
        alone = of(network, *(each[i : i + 1] for each in given), num_probes=2, seed=4)
        torch.testing.assert_close(alone, together[i : i + 1])
    assert torch.equal(of(network, *given, num_probes=2, seed=4), together)


def test_passes_back_are_as_many_as_probes_and_one() -> None:
    passes = []

    class Counted(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(x):
            return x.clone()

        @staticmethod
        def setup_context(ctx, inputs, output):
            pass

        @staticmethod
        def backward(ctx, gradient):
            passes.append(1)
            return gradient

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 2, 3, padding=1)

        def forward(self, images):
            return Counted.apply(self.layer(images))

    network = Network().double()
    given = neighbours(B=1, k=12)
    # One at a time, so that each is counted.
    of(network, *given, num_probes=3, max_values=1)
    assert len(passes) == 4
    of(network, *given, max_values=1)
    assert len(passes) == 4 + 12


# Single cases ------------------------------------------------------------------------------------


def test_by_finite_differences() -> None:
    """The gradient of the loss by each weight of the last layer, moved a little either way."""
    network = made(Twice).eval()
    images, keypoints, visible, _ = neighbours(B=1, k=1, seed=5)
    squared = 0.0
    with torch.no_grad():
        for weights in (network.second.weight.view(-1), network.second.bias):
            for i in range(len(weights)):
                ends = []
                for step in (1e-5, -2e-5):
                    weights[i] += step
                    loss = heatmap_loss(network(images)[0], keypoints[0], visible=visible[0])
                    ends.append(loss.item())
                weights[i] += 1e-5
                squared += ((ends[0] - ends[1]) / 2e-5) ** 2
    found = of(network, images, keypoints, visible, torch.ones(1, 1), parameters="last")
    assert found.item() == pytest.approx(squared, rel=1e-6)


def test_by_hand() -> None:
    """A 1x1 image, a bias and a weight: the loss (w x + b - h)^2 has gradients 2 r x and 2 r."""
    network = nn.Conv2d(3, 1, 1).double()
    nn.init.constant_(network.weight, 0.5)
    nn.init.constant_(network.bias, 1.0)
    images = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64).reshape(1, 3, 1, 1)  # f = 4
    keypoints = torch.tensor([0.0, 100.0], dtype=torch.float64)[:, None].repeat(1, 2)
    keypoints = keypoints.reshape(1, 2, 1, 2)  # h = 30 and 0
    found = expected_squared_gradient_length(
        network, images, keypoints, torch.tensor([[0.25, 0.75]])
    )
    expected = 0.25 * 4 * 26**2 * 15 + 0.75 * 4 * 4**2 * 15
    assert found.item() == pytest.approx(expected)


def test_sigma_and_peak_are_those_of_training() -> None:
    network, given = made(Twice), neighbours()
    names = ["second.weight", "second.bias"]
    expected = by_loop(network, names, *given, sigma=1.0, peak=2.0)
    found = of(network, *given, parameters="last", sigma=1.0, peak=2.0)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("parameters", "names"),
    [
        ("second.weight", ["second.weight"]),
        ("middle", ["middle.weight", "middle.bias"]),
        (["first.bias", "stem.0"], ["first.bias", "stem.0.weight", "stem.0.bias"]),
        (["middle", "middle.bias"], ["middle.weight", "middle.bias"]),
    ],
)
def test_by_chosen_parameters(parameters, names) -> None:
    network, given = made(Twice), neighbours()
    found = of(network, *given, parameters=parameters)
    torch.testing.assert_close(found, by_loop(network, names, *given))


@pytest.mark.parametrize("parameters", ["last", "stacks.0.heatmaps"])
def test_hourglass(parameters) -> None:
    torch.manual_seed(0)
    network = StackedHourglass(2, 2, 4).double()
    given = neighbours(B=2, k=2, size=64)
    layer = "stacks.1.heatmaps" if parameters == "last" else parameters
    assert last_layer(network, given[0]) == "stacks.1.heatmaps"
    names = [f"{layer}.weight", f"{layer}.bias"]
    found = of(network, *given, parameters=parameters)
    torch.testing.assert_close(found, by_loop(network, names, *given))


def test_attached_networks() -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 1)).double()
    given = neighbours()
    names = ["2.weight", "2.bias"]
    expected = by_loop(plain, names, *given)
    torch.testing.assert_close(of(plain, *given, parameters="last"), expected)
    attached = attach(plain, ["0"])
    torch.testing.assert_close(of(attached, *given, parameters="last"), expected)
    found = of(attached, *given, parameters="pose_model.0")
    torch.testing.assert_close(found, by_loop(plain, ["0.weight", "0.bias"], *given))


def test_the_network_stays_as_it_is() -> None:
    network = made(Twice).train()
    before = copy.deepcopy(network.state_dict())
    of(network, *neighbours(), parameters="last")
    of(network, *neighbours(), num_probes=2)
    assert network.training
    assert all(module.training for module in network.modules())
    assert all(parameter.grad is None for parameter in network.parameters())
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert not any(module._forward_hooks for module in network.modules())


def test_half_precision_is_widened() -> None:
    network = made(Twice).float().eval()
    images, keypoints, visible, probabilities = neighbours()
    given = images.float(), keypoints.float(), visible, probabilities
    for parameters in ("last", "all"):
        expected = of(network, *given, parameters=parameters)
        assert expected.dtype == torch.float32
        with torch.autocast("cpu", torch.bfloat16):
            found = of(network, *given, parameters=parameters)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected, rtol=0.05, atol=0.05)


def test_no_image() -> None:
    images, keypoints, visible, probabilities = neighbours()
    found = of(made(Twice), images[:0], keypoints[:0], visible[:0], probabilities[:0])
    assert found.shape == (0,)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"pose": len},
            TypeError,
            "pose must be a torch.nn.Module, got builtin_function_or_method",
        ),
        ({"keypoints": torch.ones(3, 2, 2)}, ValueError, "keypoints must be (3, k, J, 2), got"),
        ({"keypoints": torch.ones(3, 0, 2, 2)}, ValueError, "keypoints must be those of at least"),
        (
            {"probabilities": torch.ones(3, 5)},
            ValueError,
            "probabilities must be (3, 4), got (3, 5)",
        ),
        ({"visible": torch.ones(3, 4, 2)}, ValueError, "visible must be (3, 4, 2) of bool, got"),
        (
            {"parameters": "secnd"},
            ValueError,
            "parameters must name parameters of pose or modules that have some, got 'secnd' "
            "(nearest: second",
        ),
        ({"parameters": "stem.2"}, ValueError, "modules that have some, got 'stem.2'"),
        ({"parameters": []}, ValueError, "parameters must name at least one, got none"),
        ({"parameters": [1]}, TypeError, "parameters must be names, got 1"),
        ({"sigma": -1.0}, ValueError, "sigma must be finite and at least 0, got -1.0"),
        ({"num_probes": 0}, ValueError, "num_probes must be at least 1, got 0"),
        ({"num_probes": 2.0}, TypeError, "num_probes must be an integer, got 2.0"),
        ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
        ({"max_values": 0}, ValueError, "max_values must be at least 1, got 0"),
    ],
)
def test_what_is_refused(change, error, message: str) -> None:
    images, keypoints, visible, probabilities = neighbours()
    options = {
        "pose": made(Twice),
        "images": images,
        "keypoints": keypoints,
        "probabilities": probabilities,
        "visible": visible,
    }
    with pytest.raises(error, match=re.escape(message)):
        expected_squared_gradient_length(**options | change)


def test_networks_that_cannot_be() -> None:
    images, keypoints, visible, probabilities = neighbours()
    given = images, keypoints, visible, probabilities
    with pytest.raises(ValueError, match="pose must run a module that has parameters"):
        of(nn.Identity(), *given, parameters="last")
    with pytest.raises(ValueError, match="parameters must name parameters of pose"):
        of(nn.Identity(), *given)
    with pytest.raises(ValueError, match=re.escape("pose must return heatmaps (B, J, H, W)")):
        of(nn.Sequential(nn.Flatten(), nn.Linear(192, 2)).double(), images, *neighbours()[1:])


def test_the_image_that_fits_no_neighbour_has_the_longest_gradient() -> None:
    """Two poses are labelled; an image whose heatmaps are one of them and one that has neither."""
    network = nn.Conv2d(3, 1, 1, bias=False).double()
    with torch.no_grad():
        network.weight.copy_(torch.tensor([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1))
    labelled = torch.tensor([[[2.0, 2.0]], [[2.5, 2.0]]], dtype=torch.float64)
    fits = heatmap_targets(labelled[:1], (8, 8))
    misses = heatmap_targets(torch.tensor([[[6.0, 6.0]]], dtype=torch.float64), (8, 8))
    images = torch.cat([fits, misses]).repeat(1, 3, 1, 1)
    found = expected_squared_gradient_length(
        network, images, labelled[None].repeat(2, 1, 1, 1), torch.full((2, 2), 0.5)
    )
    assert found[1] > 5 * found[0]
