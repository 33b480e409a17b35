"""DeepPrior: shapes, the prior from principal components, and the ways to ship it."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
import pytest
import torch

from vl4pose import Skeleton
from vl4pose.losses import offset_nll_loss
from vl4pose.nn import AuxiliaryNet, DeepPrior

CHAIN = Skeleton("chain", list("abcd"), [(0, 1), (1, 2), (2, 3)])


@pytest.fixture
def crops() -> torch.Tensor:
    return torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def network(crops: torch.Tensor) -> DeepPrior:
    torch.manual_seed(0)
    network = DeepPrior(4, prior_size=5, num_blocks=1, hidden_size=16)
    torch.nn.init.normal_(network.bottleneck.weight)
    network(crops)  # moves the running statistics away from 0 and 1
    return network.eval()


@pytest.fixture
def poses() -> torch.Tensor:
    """Of four joints in space, described by five numbers."""
    generator = torch.Generator().manual_seed(1)
    few = torch.randn(200, 5, generator=generator) * torch.tensor([9.0, 5.0, 3.0, 2.0, 1.0])
    basis, _ = torch.linalg.qr(torch.randn(12, 12, generator=generator))
    return (few @ basis[:5] + 100 * torch.randn(12, generator=generator)).unflatten(1, (4, 3))


@pytest.mark.parametrize(
    ("arguments", "shape"),
    [
        ({"num_joints": 16}, (1, 128, 128)),
        ({"num_joints": 14, "dimensions": 2, "in_channels": 3}, (3, 96, 64)),
    ],
)
def test_shapes(arguments: dict[str, int], shape: tuple[int, int, int]) -> None:
    channels, height, width = shape
    network = DeepPrior(**arguments, num_blocks=1).eval()
    keypoints, features = network(torch.zeros(2, channels, height, width))
    assert keypoints.shape == (2, arguments["num_joints"], arguments.get("dimensions", 3))
    assert [tuple(f.shape) for f in features] == [
        (2, c, height >> level, width >> level)
        for level, c in enumerate(DeepPrior.feature_channels, start=2)
    ]


def test_number_of_parameters() -> None:
    assert sum(p.numel() for p in DeepPrior(16).parameters()) == 6_293_550
    assert DeepPrior(16).prior.in_features == 30
    assert DeepPrior(4, dimensions=2).prior.in_features == 8


def test_every_weight_is_used(network: DeepPrior, crops: torch.Tensor) -> None:
    keypoints, _ = network.train()(crops)
    keypoints.square().sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


def test_the_mean_pose_comes_first(crops: torch.Tensor, poses: torch.Tensor) -> None:
    network = DeepPrior(4, prior_size=5, num_blocks=1, hidden_size=16)
    network.init_prior(poses)
    keypoints, _ = network(crops)
    torch.testing.assert_close(keypoints, poses.mean(0).expand(2, 4, 3))


@pytest.mark.parametrize("form", [lambda p: p, lambda p: p.numpy(), lambda p: p.tolist()])
def test_the_prior_holds_every_pose(network: DeepPrior, poses: torch.Tensor, form: Any) -> None:
    network.init_prior(form(poses))
    with torch.no_grad():
        # Five components describe these poses wholly, with a variance of 1 each.
        inverse = torch.linalg.pinv(network.prior.weight)
        codes = (poses.flatten(1) - network.prior.bias) @ inverse.T
        torch.testing.assert_close(network.prior(codes).reshape(poses.shape), poses)
    torch.testing.assert_close(codes.T @ codes / len(codes), torch.eye(5), rtol=0, atol=1e-3)


def test_the_prior_holds_most_of_what_varies(poses: torch.Tensor) -> None:
    network = DeepPrior(4, prior_size=1, num_blocks=1, hidden_size=16)
    network.init_prior(poses)
    rows = poses.flatten(1).numpy() - poses.flatten(1).numpy().mean(0)
    largest = np.linalg.eigvalsh(rows.T @ rows / len(rows))[-1]
    assert network.prior.weight.square().sum().item() == pytest.approx(largest, rel=1e-4)


def test_it_learns_poses(poses: torch.Tensor) -> None:
    """Of crops that are bright where the first coordinate is large."""
    torch.manual_seed(0)
    network = DeepPrior(4, prior_size=5, num_blocks=1, hidden_size=16)
    network.init_prior(poses)
    known = poses[:16]
    first = network.prior.weight[:, 0].detach()
    code = (known.flatten(1) - network.prior.bias.detach()) @ first / first.square().sum()
    crops = code[:, None, None, None].expand(16, 1, 32, 32)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    before = (network(crops)[0] - known).square().mean().item()
    for _ in range(30):
        loss = (network(crops)[0] - known).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.6 * before


def test_with_an_auxiliary_network(network: DeepPrior, crops: torch.Tensor) -> None:
    keypoints, features = network(crops)
    aux = AuxiliaryNet(DeepPrior.feature_channels, 3, head="offset", dimensions=3).eval()
    loss = offset_nll_loss(*aux(features), keypoints.detach(), skeleton=CHAIN)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(p.grad is None for p in network.parameters())


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("ship", ["script", "trace", "export"])
def test_shipped_network_is_the_same(network: DeepPrior, crops: torch.Tensor, ship: str) -> None:
    file = io.BytesIO()
    if ship == "export":
        batch = {0: torch.export.Dim("batch")}
        program = torch.export.export(network, (crops,), dynamic_shapes=(batch,))
        torch.export.save(program, file)
        file.seek(0)
        shipped = torch.export.load(file).module()
    else:
        program = torch.jit.script(network) if ship == "script" else torch.jit.trace(network, crops)
        torch.jit.save(program, file)
        file.seek(0)
        shipped = torch.jit.load(file)
    more = torch.cat([crops, crops.flip(3)[:1]])  # another batch size
    with torch.no_grad():
        torch.testing.assert_close(shipped(more), network(more))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"num_joints": 0}, ValueError, "num_joints must be between 1 and 65536, got 0"),
        ({"num_joints": 2.5}, TypeError, "num_joints must be an integer, got 2.5"),
        ({"dimensions": 4}, ValueError, "dimensions must be between 2 and 3, got 4"),
        ({"in_channels": 0}, ValueError, "in_channels must be between 1 and 65536, got 0"),
        ({"prior_size": 13}, ValueError, "prior_size must be between 1 and 12, got 13"),
        ({"num_blocks": 0}, ValueError, "num_blocks must be between 1 and 64, got 0"),
        ({"hidden_size": 0}, ValueError, "hidden_size must be between 1 and 65536, got 0"),
    ],
)
def test_impossible_sizes(arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        DeepPrior(**{"num_joints": 4} | arguments)


@pytest.mark.parametrize("shape", [(1, 3, 64, 64), (1, 1, 60, 64), (1, 1, 64, 48), (1, 64, 64)])
def test_images_of_other_sizes(network: DeepPrior, shape: tuple[int, ...]) -> None:
    message = f"images must be (B, 1, H, W) with H and W multiples of 32, got {list(shape)}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        network(torch.zeros(shape))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p[:, :3], "keypoints must be (N, 4, 3), got (200, 3, 3)"),
        (lambda p: p[0], "keypoints must be (N, 4, 3), got (4, 3)"),
        (lambda p: p * torch.inf, "keypoints must be finite, got inf or NaN among them"),
        (lambda p: p[:5], "keypoints must be more poses than prior_size (5), got 5"),
    ],
)
def test_impossible_priors(
    network: DeepPrior, poses: torch.Tensor, change: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        network.init_prior(change(poses))
