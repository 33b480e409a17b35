"""Round shapes drawn with Pillow: the hull of a few circles is a limb, a torso, a cloud."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

__all__ = ["Canvas", "Colour", "shade"]

FloatArray = npt.NDArray[np.float64]
Colour = tuple[int, int, int]

_DIRECTIONS = np.linspace(0, 2 * np.pi, 40, endpoint=False)
_UNIT = np.stack([np.cos(_DIRECTIONS), np.sin(_DIRECTIONS)], axis=1)
_LIGHT = np.array([-0.6, -0.8])  # where it comes from, in the picture


def shade(colour: Colour, factor: float) -> Colour:
    """Return a colour darkened (factor below 1) or lightened towards white (above 1)."""
    towards = 0 if factor < 1 else 255
    red, green, blue = (round(value + (towards - value) * abs(factor - 1)) for value in colour)
    return red, green, blue


class Canvas:
    """A picture in the making, drawn larger and reduced at the end so that edges are smooth.

    Parameters
    ----------
    size : int
        Width and height, pixels. Coordinates are those of the finished picture, an integer being
        the centre of a pixel.
    """

    _OVERSIZE = 2

    def __init__(self, size: int) -> None:
        self.size = size
        self._image = Image.new("RGB", (size * self._OVERSIZE,) * 2)
        self._draw = ImageDraw.Draw(self._image)

    def polygon(self, points: npt.ArrayLike, colour: Colour) -> None:
        """Fill a polygon of (n, 2) points."""
        self._draw.polygon(self._enlarged(points), fill=colour)

    def hull(self, circles: npt.ArrayLike, colour: Colour) -> None:
        """Fill the convex hull of (n, 3) circles: x, y, radius."""
        self.polygon(_hull(np.asarray(circles, np.float64)), colour)

    def rounded(self, hulls: Sequence[FloatArray], colour: Colour, outline: float = 0.5) -> None:
        """Fill the union of hulls as one body: an outline, a side in shadow and one in light."""
        for circles in hulls:
            self.hull(np.add(circles, (0, 0, outline)), shade(colour, 0.62))
        for circles in hulls:
            self.hull(circles, shade(colour, 0.86))
        for circles in hulls:
            radius = circles[:, 2:]
            self.hull(np.hstack([circles[:, :2] + 0.2 * radius * _LIGHT, 0.78 * radius]), colour)

    def gradient(self, top: Colour, bottom: Colour, first: float = 0.0, last: float = 1.0) -> None:
        """Fill rows from one share of the height to another with a vertical gradient."""
        size = self._image.width
        rows = slice(round(first * size), round(last * size))
        height = rows.stop - rows.start
        if height <= 0:
            return
        steps = np.linspace(0, 1, height)[:, None]
        column = (1 - steps) * np.array(top) + steps * np.array(bottom)
        strip = Image.fromarray(column.round().astype(np.uint8)[:, None])
        self._image.paste(strip.resize((size, height)), (0, rows.start))

    def shadow(self, circles: npt.ArrayLike, squeeze: float, factor: float = 0.72) -> None:
        """Darken what lies under a hull of circles that is squeezed vertically."""
        points = _hull(np.asarray(circles, np.float64))
        middle = points[:, 1].mean()
        points[:, 1] = middle + squeeze * (points[:, 1] - middle)
        mask = Image.new("L", self._image.size)
        ImageDraw.Draw(mask).polygon(self._enlarged(points), fill=255)
        self._image.paste(self._image.point(lambda value: value * factor), mask=mask)

    def finished(self) -> Image.Image:
        """Return the picture."""
        return self._image.reduce(self._OVERSIZE)

    def _enlarged(self, points: npt.ArrayLike) -> list[tuple[float, ...]]:
        enlarged = (np.asarray(points, np.float64) + 0.5) * self._OVERSIZE - 0.5
        return list(map(tuple, enlarged.tolist()))


def _hull(circles: FloatArray) -> FloatArray:
    # In every direction the hull's boundary is that of the circle that reaches farthest.
    farthest = (circles[:, :2] @ _UNIT.T + circles[:, 2:]).argmax(axis=0)
    centres = circles[farthest]
    outline: FloatArray = centres[:, :2] + centres[:, 2:] * _UNIT
    return outline
