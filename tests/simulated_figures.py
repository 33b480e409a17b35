"""Simulations that take a second: what their configurations name, and how they are run.

Configurations name this file as Python code; it is copied beside them, for processes that do not
have the folder of the tests among those where modules are looked for.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import TensorDataset

from vl4pose import Skeleton

SKELETON = Skeleton(
    "arms", ["head", "left_hand", "right_hand"], [("head", "left_hand"), ("head", "right_hand")]
)
NUM_TRAINING, NUM_TEST = 40, 12
CONFIG: dict[str, dict[str, Any]] = {
    "data": {
        "skeleton": "arms.json",
        "train": "simulated_figures:training_set",
        "test": "simulated_figures:evaluation_set",
        "input_size": 32,
        "scale": 255,
    },
    "simulation": {
        "start": 6,
        "budget": 5,
        "cycles": 3,
        "seeds": 2,
        "strategies": ["random", "confidence", "vl4pose"],
    },
    "evaluation": {"metrics": ["PCK@0.2", "MPJPE"], "normalize_by": "box"},
    "network": {"factory": "simulated_figures:TinyPose"},
    "training": {"steps": 6, "batch_size": 4, "learning_rate": 0.01, "augment": False},
    "heads": {"steps": 4, "batch_size": 4},
    "scoring": {"batch_size": 8, "min_distance": 1},
    "run": {"threads": 1},
}


@contextmanager
def process_as_before() -> Iterator[None]:
    """Give the process back what a simulation changes in it: its threads, and where modules are.

    For fixtures of modules, which are made before those of single tests that do the same.
    """
    threads, path = torch.get_num_threads(), list(sys.path)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        sys.path[:] = path


def training_set(number=NUM_TRAINING, seed=0, hidden=None, shown=None) -> TensorDataset:
    """Pictures of two arms; of the images in ``hidden``, or not in ``shown``, with wrong labels."""
    dataset = figures(number, seed)
    wrong = list(hidden or [])
    if shown is not None:
        wrong = sorted(set(range(number)) - set(shown))
    dataset.tensors[1][wrong] = 7 - dataset.tensors[1][wrong].flip(1)
    return dataset


def evaluation_set(number=NUM_TEST, seed=1) -> TensorDataset:
    return figures(number, seed)


def figures(number: int, seed: int) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed)
    head = torch.rand(number, 1, 2, generator=generator) * 2 + torch.tensor([2.5, 1.0])
    size = torch.rand(number, 1, 1, generator=generator) * 2 + 1.5
    keypoints = torch.cat([head, head + torch.tensor([[-0.6, 0.8], [0.6, 0.8]]) * size], 1)
    x, y = torch.arange(32.0), torch.arange(32.0)[:, None]
    points = keypoints * 31 / 7
    squared = (x - points[..., 0, None, None]) ** 2 + (y - points[..., 1, None, None]) ** 2
    images = (255 * torch.exp(-squared / 20)).to(torch.uint8)
    return TensorDataset(images, keypoints, torch.ones(number, 3, dtype=torch.bool))


class TinyPose(nn.Module):
    """Two scales of features, and heatmaps from the larger one."""

    def __init__(self, num_joints: int, channels: int = 6) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, channels, 5, stride=4, padding=2), nn.BatchNorm2d(channels), nn.ReLU()
        )
        self.down = nn.Sequential(nn.Conv2d(channels, 8, 3, stride=2, padding=1), nn.ReLU())
        self.heatmaps = nn.Conv2d(channels, num_joints, 1)

    def forward(self, images):
        large = self.stem(images)
        return self.heatmaps(large), (large, self.down(large))


class HeatmapsAlone(TinyPose):
    def forward(self, images):
        return super().forward(images)[0]


class Diverging(TinyPose):
    def forward(self, images):
        heatmaps, features = super().forward(images)
        return heatmaps * (float("nan") if self.training else 1.0), features


def write_config(folder: Path, name: str = "figures", **tables: dict[str, Any]) -> Path:
    """Write a configuration with some keys changed, None for those to be left out."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(__file__, folder)
    SKELETON.to_file(folder / "arms.json")
    config = {table: dict(keys) for table, keys in CONFIG.items()}
    for table, keys in tables.items():
        config.setdefault(table, {}).update(keys)
    path = folder / f"{name}.toml"
    path.write_text(as_toml(config))
    return path


def as_toml(config: dict[str, dict[str, Any]]) -> str:
    lines = []
    for table, keys in config.items():
        lines.append(f"[{table}]")
        lines += [f"{key} = {_shown(value)}" for key, value in keys.items() if value is not None]
    return "\n".join(lines) + "\n"


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_shown(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_shown, value)) + "]"
    return json.dumps(value)


def results(folder: Path) -> dict[str, Any]:
    """All that a simulation has found out, but how long it took, by file."""
    found = {}
    for path in sorted(folder.glob("runs/*/seed-*/cycle-*.json")):
        record = json.loads(path.read_text())
        del record["seconds"], record["shared_seconds"]
        found[str(path.relative_to(folder))] = record
    for path in sorted(folder.glob("start/*.npz")):
        with np.load(path) as arrays:
            found[path.name] = {name: arrays[name].tobytes() for name in arrays}
    return found
