"""A skeleton of three joints, pictures of it, and a pose network that trains in a blink."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from vl4pose import Skeleton
from vl4pose.image_transform import ImageTransform

SKELETON = Skeleton(
    "arms", ["head", "left_hand", "right_hand"], [("head", "left_hand"), ("head", "right_hand")]
)
INPUT_SIZE, HEATMAP_SIZE = (64, 64), (16, 16)
TRANSFORM = ImageTransform(INPUT_SIZE)


def poses(number: int, seed: int):
    """Return keypoints (N, 3, 2) in heatmap pixels: two arms whose length varies together."""
    generator = torch.Generator().manual_seed(seed)
    head = torch.rand(number, 1, 2, generator=generator) * 4 + torch.tensor([6.0, 2.0])
    size = torch.rand(number, 1, 1, generator=generator) * 5 + 3
    arms = torch.tensor([[[-0.6, 0.8], [0.6, 0.8]]]) * size
    return torch.cat([head, head + arms], dim=1)


def pictures(keypoints):
    """Return images (N, 3, 64, 64): a blob for each joint, each in its own colour."""
    x, y = torch.arange(64.0), torch.arange(64.0)[:, None]
    points = keypoints * 63 / 15
    squared = (x - points[..., 0, None, None]) ** 2 + (y - points[..., 1, None, None]) ** 2
    return torch.exp(-squared / 50)


def figures(number: int, seed: int = 0) -> TensorDataset:
    keypoints = poses(number, seed)
    return TensorDataset(pictures(keypoints), keypoints, torch.ones(number, 3, dtype=torch.bool))


class TinyPose(nn.Module):
    """Two scales of features, and heatmaps from the larger one."""

    def __init__(self, num_joints: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 8, 5, stride=4, padding=2), nn.BatchNorm2d(8), nn.ReLU()
        )
        self.down = nn.Sequential(nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.ReLU())
        self.heatmaps = nn.Conv2d(8, num_joints, 1)

    def forward(self, images):
        large = self.stem(images)
        return self.heatmaps(large), (large, self.down(large))


class Own(nn.Module):
    """An auxiliary network of one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 4)

    def forward(self, features):
        return self.linear(features[1].mean((2, 3)))


def tiny_pose(seed: int = 0) -> TinyPose:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TinyPose()


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Compute in one thread: for networks as small as these, waiting for others takes longer."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
