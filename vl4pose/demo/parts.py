"""What a drawn person is made of: balls in space, hulls of balls, layers of hulls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from vl4pose.demo.camera import Camera
from vl4pose.demo.painting import Canvas, Colour, shade

__all__ = ["Layer", "Part", "ball", "chain", "draw_parts", "hull"]

FloatArray = npt.NDArray[np.float64]

_OUTLINE = 0.004  # statures
_FAR = 0.3  # statures behind the middle, from where it gets no darker


@dataclass(frozen=True)
class Layer:
    """A body in one colour.

    Attributes
    ----------
    hulls : list of (n, 4) arrays
        Of balls x, y, z, radius, in statures.
    colour : (int, int, int)
    flat : bool
        Whether it is painted onto what is below it, without light and shadow of its own.
    """

    hulls: list[FloatArray]
    colour: Colour
    flat: bool = False


@dataclass(frozen=True)
class Part:
    """Layers that are drawn together, the last on top.

    Attributes
    ----------
    layers : list of Layer
    nearer : float
        By how much it is drawn as if it were nearer to the camera, statures.
    """

    layers: list[Layer]
    nearer: float = 0.0

    def depth(self, camera: Camera) -> float:
        """Return how far behind the middle of the hips it is drawn."""
        solid = [balls for layer in self.layers if not layer.flat for balls in layer.hulls]
        return camera.depth(np.concatenate(solid).mean(axis=0)) - self.nearer


def ball(point: FloatArray, radius: float) -> FloatArray:
    """Return a ball, (4,)."""
    return np.append(point, radius)


def hull(*balls: FloatArray) -> FloatArray:
    """Return balls whose convex hull is meant, (n, 4)."""
    return np.stack(balls)


def chain(balls: Sequence[FloatArray], upto: float = 1.0) -> list[FloatArray]:
    """Return the hulls of neighbours in a chain, cut at a share of its length."""
    lengths = [float(np.linalg.norm(b[:3] - a[:3])) for a, b in pairwise(balls)]
    rest = upto * sum(lengths)
    hulls = []
    for (a, b), length in zip(pairwise(balls), lengths, strict=True):
        if rest <= 0:
            break
        hulls.append(hull(a, a + min(1.0, rest / length) * (b - a)))
        rest -= length
    return hulls


def draw_parts(canvas: Canvas, parts: Sequence[Part], camera: Camera) -> None:
    """Draw parts from far to near, the far ones darker."""
    for part in sorted(parts, key=lambda part: -part.depth(camera)):
        far = min(max(part.depth(camera) / _FAR, 0.0), 1.0)
        for layer in part.layers:
            colour = shade(layer.colour, 1 - 0.13 * far)
            seen = [camera.project(balls) for balls in layer.hulls]
            if layer.flat:
                for circles in seen:
                    canvas.hull(circles, colour)
            else:
                canvas.rounded(seen, colour, outline=_OUTLINE * camera.scale)
