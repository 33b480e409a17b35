"""The camera that sees a figure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vl4pose.demo.body import Figure

__all__ = ["Camera", "random_camera"]

FloatArray = npt.NDArray[np.float64]

STATURES = (0.45, 0.95)  # of the picture's height
_MARGIN = 0.04  # of the picture's sides
_ROOM = 0.03  # around every joint, statures


@dataclass(frozen=True)
class Camera:
    """Where a figure lands in the picture.

    Attributes
    ----------
    distance : float
        From the camera to the middle of the hips, statures.
    elevation : float
        How far the camera looks down, degrees.
    scale : float
        Pixels of a stature at that distance.
    centre : (float, float)
        Where the middle of the hips is, pixels.
    """

    distance: float
    elevation: float
    scale: float
    centre: tuple[float, float]

    def project(self, balls: FloatArray) -> FloatArray:
        """Return circles (n, 3), x, y and radius in pixels, of balls (n, 4) in statures."""
        x, y, z, radius = balls.T
        cos, sin = self._cos_sin()
        factor = self.scale * self.distance / (self.distance + sin * y + cos * z)
        across, down = factor * x, factor * (cos * y - sin * z)
        return np.stack([self.centre[0] + across, self.centre[1] + down, factor * radius], axis=1)

    def depth(self, point: FloatArray) -> float:
        """Return how far a point (x, y, z, ...) is behind the middle of the hips."""
        cos, sin = self._cos_sin()
        return float(sin * point[1] + cos * point[2])

    def _cos_sin(self) -> tuple[float, float]:
        angle = np.radians(self.elevation)
        return float(np.cos(angle)), float(np.sin(angle))


def random_camera(rng: np.random.Generator, figure: Figure, size: int, *, ground: float) -> Camera:
    """Return a camera that has the whole figure in the picture, and its feet on the ground.

    Parameters
    ----------
    rng : numpy.random.Generator
    figure : Figure
    size : int
        Width and height of the picture, pixels.
    ground : float
        Where in the picture the ground begins, as a share of its height.
    """
    distance, elevation = rng.uniform(2.2, 6.0), rng.uniform(-4, 20)
    points = np.stack(list(figure.points.values()))
    seen = Camera(distance, elevation, 1.0, (0.0, 0.0)).project(np.insert(points, 3, _ROOM, axis=1))
    low = (seen[:, :2] - seen[:, 2:]).min(axis=0)
    high = (seen[:, :2] + seen[:, 2:]).max(axis=0)
    scale = size * min(rng.uniform(*STATURES), (1 - 2 * _MARGIN) / (high - low).max())
    first = size * _MARGIN - scale * low
    last = size * (1 - _MARGIN) - scale * high
    first[1] = max(first[1], min(last[1], size * ground - scale * high[1]))
    # Not anywhere in the free room: people are put near the middle of their pictures.
    share = np.clip(rng.normal((0.5, 0.4), 0.2), 0, 1)
    x, y = first + share * (last - first) - 0.5
    return Camera(distance, elevation, scale, (float(x), float(y)))
