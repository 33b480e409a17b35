"""The sizes that are measured: one thing is varied at a time around a usual batch."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

import vl4pose
from bench.heatmaps import synthetic_heatmaps, synthetic_params

PRESETS = {14: "lsp", 16: "mpii", 17: "coco", 21: "hand"}


@dataclass(frozen=True)
class Case:
    """Sizes of a batch of heatmaps, and how many peaks are sought how far apart."""

    batch: int = 256
    joints: int = 16
    height: int = 64
    width: int = 64
    dtype: str = "float32"
    min_distance: int = 5
    num_peaks: int = 5

    def __str__(self) -> str:
        return (
            f"B={self.batch} J={self.joints} {self.height}x{self.width} {self.dtype} "
            f"d={self.min_distance} K={self.num_peaks}"
        )

    @property
    def peak_options(self) -> dict[str, int]:
        """What every operation that finds peaks is called with."""
        return {"min_distance": self.min_distance, "num_peaks": self.num_peaks}

    @property
    def skeleton(self) -> vl4pose.Skeleton:
        """The preset of so many joints, or a tree where each has two others below it."""
        if self.joints in PRESETS:
            return vl4pose.get_skeleton(PRESETS[self.joints])
        names = [str(joint) for joint in range(self.joints)]
        links = [((joint - 1) // 2, joint) for joint in range(1, self.joints)]
        return vl4pose.Skeleton("tree", names, links)

    @property
    def links(self) -> tuple[tuple[int, int], ...]:
        """(parent, child) of each link; in the presets a child's own links come after it."""
        return self.skeleton.links

    @property
    def heatmaps(self) -> np.ndarray:
        """The batch, (B, J, H, W)."""
        return _heatmaps(self.batch, self.joints, self.height, self.width, self.dtype)

    @property
    def params(self) -> np.ndarray:
        """Length and log-variance of each link, (B, L, 2)."""
        return synthetic_params(self.batch, self.skeleton.num_links)


@functools.lru_cache(maxsize=1)  # up to 268 MB each
def _heatmaps(batch: int, joints: int, height: int, width: int, dtype: str) -> np.ndarray:
    return synthetic_heatmaps(batch, joints, height, width, dtype=dtype)


BASE = Case()
ONE_PEAK = replace(BASE, min_distance=8, num_peaks=1)
AROUND_BASE = (
    replace(BASE, batch=1),
    replace(ONE_PEAK, batch=1),
    replace(BASE, batch=32),
    replace(BASE, joints=14),
    replace(BASE, joints=17),
    replace(BASE, joints=21),
    replace(BASE, height=96, width=72),
    replace(BASE, height=128, width=128),
    replace(BASE, dtype="float16"),
)


def runs(cases: Iterable[Case], names: Iterable[str], *, quick: Iterable[str] = ()) -> list[Any]:
    """Return each case with each name, as pytest parameters; ``quick`` ones are marked so."""
    return [
        pytest.param(
            case, name, id=f"{case} {name}", marks=[pytest.mark.quick] if name in quick else []
        )
        for case in cases
        for name in names
    ]
