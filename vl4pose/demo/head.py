"""Neck, face and hair."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from vl4pose.demo.body import SIDES, Figure
from vl4pose.demo.outfits import Outfit
from vl4pose.demo.painting import Colour, shade
from vl4pose.demo.parts import Layer, Part, ball, hull

__all__ = ["head"]

FloatArray = npt.NDArray[np.float64]
# A ball at (x to the left, y up, z to the front) of the middle of the skull, and its radius, all in
# radii of the skull.
At = Callable[[float, float, float, float], FloatArray]

EYES: Colour = (40, 32, 34)
SKULL = 0.37  # its radius, of the length from neck to crown


def head(figure: Figure, outfit: Outfit) -> list[Part]:
    """Return the head on its neck, and hair that hangs or stands off it."""
    left, up, front = figure.frames["head"]
    skull, radius = figure.points["skull"], SKULL * figure.body.head

    def at(x: float, y: float, z: float, r: float) -> FloatArray:
        return ball(skull + radius * (x * left + y * up + z * front), radius * r)

    def looks(direction: FloatArray) -> float:
        return -float(direction[2])  # 1 for straight into the camera

    skin, style = outfit.skin, outfit.hair_style
    covered = outfit.shirt_accent if style == "cap" else outfit.hair
    neck_width = 0.031 * figure.body.girth
    neck = hull(ball(figure.points["neck"], neck_width), at(0, -0.5, -0.1, 0.4))
    face = [hull(at(0, -0.02, 0.06, 0.93), at(0, -0.5, 0.2, 0.6)), hull(at(0, -0.15, 0.98, 0.13))]
    crown = [hull(at(0, 0.1, -0.12, 1.02), at(0, 0.12, -0.05, 1.0))]
    if style != "bald":
        crown.append(hull(at(0, 0, -0.2, 0.98), at(0, -0.35, -0.25, 0.78)))
    hair = Layer(crown, skin if style == "bald" else covered)
    near_ears: list[Layer] = []
    far_ears: list[Layer] = []
    for sign in SIDES.values():
        ear = Layer([hull(at(0.93 * sign, -0.1, 0, 0.2))], shade(skin, 0.93))
        (near_ears if looks(sign * left) > 0.35 else far_ears).append(ear)
    fringe = _fringe(at, style, covered)
    marks = _face_marks(at, outfit, [looks(front + 0.45 * sign * left) for sign in SIDES.values()])

    layers = [Layer([neck], skin)]
    if looks(front) > -0.1:
        layers += [hair, *far_ears, Layer(face, skin), *marks, *fringe, *near_ears]
    else:
        layers += [Layer(face, skin), *marks, *far_ears, *fringe[:1], hair, *near_ears]
    loose = _loose_hair(at, style)
    return [Part(layers, nearer=0.04), *([Part([Layer(loose, covered)])] if loose else [])]


def _face_marks(at: At, outfit: Outfit, eyes_look: list[float]) -> list[Layer]:
    """Return the eyes that can be seen, their brows, and the mouth."""
    marks = []
    for sign, looks in zip(SIDES.values(), eyes_look, strict=True):
        if looks > 0.1:
            marks.append(Layer([hull(at(0.36 * sign, 0, 0.87, 0.1))], EYES, flat=True))
            if outfit.hair_style != "bald":
                brow = hull(at(0.24 * sign, 0.24, 0.9, 0.05), at(0.5 * sign, 0.22, 0.78, 0.05))
                marks.append(Layer([brow], shade(outfit.hair, 0.8), flat=True))
    if sum(eyes_look) > 0.4:
        mouth = hull(at(0.2, -0.5, 0.82, 0.055), at(-0.2, -0.5, 0.82, 0.055))
        marks.append(Layer([mouth], shade(outfit.skin, 0.6), flat=True))
    return marks


def _fringe(at: At, style: str, colour: Colour) -> list[Layer]:
    """Return what is over the forehead: hair, or the front of a cap with its visor."""
    if style == "bald":
        return []
    if style == "cap":
        dome = hull(at(0.5, 0.62, 0.1, 0.38), at(-0.5, 0.62, 0.1, 0.38), at(0, 0.75, 0.1, 0.4))
        temples = at(0.6, 0.34, 0.7, 0.12), at(-0.6, 0.34, 0.7, 0.12)
        visor = hull(*temples, at(0.28, 0.3, 1.2, 0.1), at(-0.28, 0.3, 1.2, 0.1))
        return [Layer([dome], colour), Layer([visor], shade(colour, 0.8))]
    left, right = at(0.42, 0.62, 0.42, 0.36), at(-0.42, 0.62, 0.42, 0.36)
    sides = [hull(left, at(0.78, 0.2, 0.1, 0.24)), hull(right, at(-0.78, 0.2, 0.1, 0.24))]
    return [Layer([hull(left, right, at(0, 0.7, 0, 0.4)), *sides], colour)]


def _loose_hair(at: At, style: str) -> list[FloatArray]:
    """Return the hulls of long hair, a bun or a tail."""
    if style == "long":
        ends = at(0.35, -1.35, -0.5, 0.5), at(-0.35, -1.35, -0.5, 0.5)
        return [hull(at(0, 0.05, -0.2, 1.0), *ends)]
    if style == "bun":
        return [hull(at(0, 0.85, -0.7, 0.42))]
    if style == "tail":
        middle = at(0, -0.4, -1.35, 0.3)
        return [hull(at(0, 0.35, -1.0, 0.28), middle), hull(middle, at(0, -1.3, -1.2, 0.14))]
    return []
