"""Torso, arms and legs, in the clothes that they wear."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vl4pose.demo.body import FRONT, LEFT, SIDES, UP, Figure
from vl4pose.demo.outfits import Outfit
from vl4pose.demo.painting import Colour, shade
from vl4pose.demo.parts import Layer, Part, ball, chain, hull

__all__ = ["arms", "legs", "torso"]

FloatArray = npt.NDArray[np.float64]

# Share of the way from one joint to the next, and radius there in statures.
_UPPER_ARM = ((0.0, 0.034), (0.4, 0.033), (1.0, 0.025))
_FOREARM = ((0.0, 0.025), (0.3, 0.027), (1.0, 0.018))
_THIGH = ((0.0, 0.053), (0.3, 0.052), (1.0, 0.034))
_SHIN = ((0.0, 0.034), (0.32, 0.036), (1.0, 0.021))
_SURFACE = 0.047  # of the chest, in front of the spine


def arms(figure: Figure, outfit: Outfit) -> list[Part]:
    """Return upper arms, and forearms with hands."""
    parts = []
    points, girth = figure.points, figure.body.girth
    for side in SIDES:
        shoulder, elbow, wrist, hand = (
            points[f"{side}_{name}"] for name in ("shoulder", "elbow", "wrist", "hand")
        )
        upper = _limb(shoulder, elbow, _UPPER_ARM, girth)
        lower = _limb(elbow, wrist, _FOREARM, girth)
        fist = Layer([hull(ball(wrist, 0.02 * girth), ball(hand, 0.021))], outfit.skin)
        sleeve = _dressed(upper, outfit.shirt, outfit.skin, outfit.sleeves, loose=1.16)
        cuff = _dressed(lower, outfit.shirt, outfit.skin, outfit.sleeves - 1, loose=1.2)
        parts += [Part(sleeve, nearer=0.02), Part([fist, *cuff], nearer=0.03)]
    return parts


def legs(figure: Figure, outfit: Outfit) -> list[Part]:
    """Return thighs, and shins with feet."""
    parts = []
    points, girth = figure.points, figure.body.girth
    for side in SIDES:
        hip, knee, ankle, heel, toe = (
            points[f"{side}_{name}"] for name in ("hip", "knee", "ankle", "heel", "toe")
        )
        upper = _limb(hip, knee, _THIGH, girth)
        lower = _limb(knee, ankle, _SHIN, girth)
        shoe = Layer([hull(ball(ankle, 0.024), ball(heel, 0.022), ball(toe, 0.019))], outfit.shoes)
        thigh = _dressed(upper, outfit.trousers, outfit.skin, outfit.legs, loose=1.1)
        shin = _dressed(lower, outfit.trousers, outfit.skin, outfit.legs - 1, loose=1.2)
        # The shoe is over the skin and under the trousers.
        parts += [Part(thigh), Part([*shin[:1], shoe, *shin[1:]])]
    return parts


def torso(figure: Figure, outfit: Outfit) -> list[Part]:
    """Return the shirt, the upper end of the trousers or a skirt, and perhaps a backpack."""
    points, girth, body = figure.points, figure.body.girth, figure.body
    pelvis, chest = figure.frames["pelvis"], figure.frames["chest"]

    def across(
        centre: FloatArray, frame: FloatArray, half_width: float, radius: float
    ) -> list[FloatArray]:
        ends = (centre + sign * half_width * frame[LEFT] for sign in SIDES.values())
        return [ball(end, radius * girth) for end in ends]

    neck, waist = points["neck"], points["waist"]
    shoulders = [ball(points[f"{side}_shoulder"], 0.036 * girth) for side in SIDES]
    collar = ball(neck - 0.012 * chest[UP], 0.036 * girth)
    ribs = across(neck + 0.42 * (waist - neck), chest, 0.33 * body.shoulders, 0.052)
    belt = across(waist, chest, 0.2 * body.shoulders, 0.05 + 0.02 * max(0.0, girth - 1))
    hem = across(0.3 * waist, pelvis, 0.42 * body.hips, 0.055)
    hips = across(0 * waist, pelvis, 0.5 * body.hips, 0.056)

    shirt = Layer(
        [hull(*shoulders, collar, *ribs), hull(*ribs, *belt), hull(*belt, *hem)], outfit.shirt
    )
    stripes = []
    if outfit.pattern == "stripes":
        stripes = [
            Layer([_stripe(upper, lower, share, chest)], outfit.shirt_accent, flat=True)
            for upper, lower in ((shoulders, ribs), (ribs, belt), (belt, hem))
            for share in (0.25, 0.75)
        ]
    parts = [Part([shirt, *stripes, *_chest_marks(figure, outfit)])]

    lower_body = [hull(*hem, *hips)]
    if outfit.skirt:
        seam = []
        for side in SIDES:
            hip, knee = points[f"{side}_hip"], points[f"{side}_knee"]
            seam.append(ball(hip + 0.62 * (knee - hip), 0.062 * girth))
        lower_body.append(hull(*hips, *seam))
    nearer = 0.035 if outfit.skirt else -0.01
    parts.append(Part([Layer(lower_body, outfit.trousers)], nearer))
    if outfit.backpack is not None:
        bottom = neck + 0.55 * (waist - neck) - 0.085 * chest[FRONT]
        top = neck + 0.2 * (waist - neck) - 0.075 * chest[FRONT]
        bag = [*across(bottom, chest, 0.05, 0.04), *across(top, chest, 0.045, 0.035)]
        parts.append(Part([Layer([hull(*bag)], outfit.backpack)]))
        parts.append(Part([Layer(_straps(figure), shade(outfit.backpack, 0.8))]))
    return parts


def _limb(
    start: FloatArray, end: FloatArray, radii: Sequence[tuple[float, float]], girth: float
) -> list[FloatArray]:
    return [ball(start + share * (end - start), girth * radius) for share, radius in radii]


def _dressed(
    limb: Sequence[FloatArray], cloth: Colour, skin: Colour, upto: float, loose: float
) -> list[Layer]:
    """Return a limb and the cloth that covers a share of it, as much wider."""
    layers = []
    if upto < 1:
        layers.append(Layer(chain(limb), skin))
    if upto > 0:
        wider = [each * (1, 1, 1, loose) for each in limb]
        layers.append(Layer(chain(wider, min(upto, 1.0)), cloth))
    return layers


def _stripe(
    upper: Sequence[FloatArray], lower: Sequence[FloatArray], share: float, chest: FloatArray
) -> FloatArray:
    """Return a band around the torso, at a share of the way from one pair of balls to another."""
    band = []
    for a, b, sign in zip(upper, lower, SIDES.values(), strict=True):
        end = a + share * (b - a)
        band.append(ball(end[:3] + 0.6 * end[3] * sign * chest[LEFT], 0.011))
    return hull(*band)


def _chest_marks(figure: Figure, outfit: Outfit) -> list[Layer]:
    """Return what tells the front of a shirt from its back, where the front is to be seen."""
    left, up, front = figure.frames["chest"]
    neck, waist = figure.points["neck"], figure.points["waist"]
    surface = _SURFACE * figure.body.girth * front
    if front[2] > -0.25:
        return []
    marks = []
    if outfit.pattern == "logo":
        spot = neck + 0.3 * (waist - neck) + surface
        marks.append(Layer([hull(ball(spot, 0.03))], outfit.shirt_accent, flat=True))
    elif outfit.pattern == "buttons":
        line = hull(ball(neck - 0.03 * up + 0.8 * surface, 0.006), ball(waist + surface, 0.006))
        marks.append(Layer([line], shade(outfit.shirt, 0.6), flat=True))
    neckline = hull(
        ball(neck + 0.02 * left + 0.5 * surface, 0.012),
        ball(neck - 0.02 * left + 0.5 * surface, 0.012),
        ball(neck - 0.035 * up + 0.9 * surface, 0.006),
    )
    return [*marks, Layer([neckline], outfit.skin, flat=True)]


def _straps(figure: Figure) -> list[FloatArray]:
    left, up, front = figure.frames["chest"]
    neck, waist = figure.points["neck"], figure.points["waist"]
    surface = 0.9 * _SURFACE * figure.body.girth * front
    straps = []
    for sign in SIDES.values():
        over = neck + 0.06 * sign * left + 0.01 * up + 0.02 * front
        under = neck + 0.42 * (waist - neck) + 0.075 * sign * left + surface
        straps.append(hull(ball(over, 0.011), ball(under, 0.011)))
    return straps
