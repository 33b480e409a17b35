"""A body that can be posed: bones of its own lengths, joints with limits, in three dimensions.

Points and directions are (x, y, z) with x to the right of the picture, y down and z away from the
camera; lengths are in statures. A frame is a (3, 3) array whose rows are the directions to the
body's left, up along the bone and to its front.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["FRONT", "LEFT", "UP", "Body", "Figure", "Pose", "articulate", "random_body"]

FloatArray = npt.NDArray[np.float64]
Pose = Mapping[str, float]

LEFT, UP, FRONT = range(3)
FACING_CAMERA = np.array([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]])
SIDES = {"left": 1, "right": -1}


@dataclass(frozen=True)
class Body:
    """Lengths and widths of a person, in statures.

    Attributes
    ----------
    girth : float
        What every radius is multiplied by: slim below 1, stocky above.
    """

    head: float  # from the neck to the crown
    spine: float  # from the middle of the hips to the neck
    shoulders: float  # between the shoulder joints
    hips: float  # between the hip joints
    upper_arm: float
    forearm: float
    thigh: float
    shin: float
    foot: float
    girth: float


def random_body(rng: np.random.Generator) -> Body:
    """Return an adult, or now and then a child, whose head is large and whose legs are short."""
    child = max(0.0, rng.uniform(-2.0, 1.0))
    legs = rng.normal(1.0, 0.045) - 0.13 * child
    arms = rng.normal(1.0, 0.05) - 0.08 * child
    return Body(
        head=0.195 * rng.normal(1.0, 0.04) + 0.07 * child,
        spine=0.295 * rng.normal(1.0, 0.04),
        shoulders=0.215 * rng.normal(1.0, 0.06) - 0.02 * child,
        hips=0.125 * rng.normal(1.0, 0.06),
        upper_arm=0.165 * arms,
        forearm=0.145 * arms * rng.normal(1.0, 0.02),
        thigh=0.245 * legs,
        shin=0.235 * legs * rng.normal(1.0, 0.02),
        foot=0.115 * rng.normal(1.0, 0.05),
        girth=float(np.clip(rng.normal(1.0, 0.13), 0.75, 1.4)) + 0.08 * child,
    )


@dataclass(frozen=True)
class Figure:
    """A posed body.

    Attributes
    ----------
    points : dict of str to (3,) array
        The 14 joints of the "lsp" skeleton, and ``left_hand``, ``left_heel``, ``left_toe``, their
        right ones, ``waist`` and ``skull``, the middle of the head.
    frames : dict of str to (3, 3) array
        ``pelvis``, ``chest`` and ``head``.
    """

    body: Body
    points: Mapping[str, FloatArray]
    frames: Mapping[str, FloatArray]


def turned(frame: FloatArray, axis: int, degrees: float) -> FloatArray:
    """Turn a frame about one of its own axes."""
    i, j = (axis + 1) % 3, (axis + 2) % 3
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    out = frame.copy()
    out[i] = cos * frame[i] + sin * frame[j]
    out[j] = cos * frame[j] - sin * frame[i]
    return out


def articulate(body: Body, pose: Pose) -> Figure:
    """Place every joint of a body.

    Parameters
    ----------
    pose : mapping of str to float
        Angles in degrees; those that are missing are 0, in which the body stands upright, faces the
        camera and lets its arms hang. ``yaw`` (to its left), ``pitch`` (forward) and ``roll`` (to
        its right) turn all of it; ``bow``, ``bend`` and ``twist`` the chest against the pelvis;
        ``nod``, ``tilt`` and ``look`` the head against the chest. Of each side, such as
        ``left_elbow``: ``shoulder_flex`` (forward), ``shoulder_abduct`` (away from the body),
        ``shoulder_twist`` (forearm outwards), ``elbow``, ``wrist``, ``hip_flex``, ``hip_abduct``,
        ``hip_twist`` (toes outwards), ``knee``, ``ankle`` (toes down).
    """
    angle = {name: float(pose.get(name, 0.0)) for name in ANGLES}
    points: dict[str, FloatArray] = {}

    pelvis = FACING_CAMERA
    for axis, name in ((FRONT, "roll"), (UP, "yaw"), (LEFT, "pitch")):
        pelvis = turned(pelvis, axis, angle[name])
    chest = pelvis
    for axis, name in ((LEFT, "bow"), (FRONT, "bend"), (UP, "twist")):
        chest = turned(chest, axis, angle[name])
    head = chest
    for axis, name in ((LEFT, "nod"), (FRONT, "tilt"), (UP, "look")):
        head = turned(head, axis, angle[name])

    points["waist"] = 0.38 * body.spine * pelvis[UP]
    points["neck"] = points["waist"] + 0.62 * body.spine * chest[UP]
    points["skull"] = points["neck"] + (0.64 * body.head) * head[UP]
    points["head"] = points["neck"] + body.head * head[UP]

    for side, sign in SIDES.items():
        of_side = {name: angle[f"{side}_{name}"] for name in LIMB_ANGLES}
        arm = turned(chest, FRONT, sign * of_side["shoulder_abduct"])
        arm = turned(arm, LEFT, -of_side["shoulder_flex"])
        arm = turned(arm, UP, sign * of_side["shoulder_twist"])
        forearm = turned(arm, LEFT, -of_side["elbow"])
        hand = turned(forearm, LEFT, -of_side["wrist"])
        raised = 0.5 + 0.5 * float(arm[UP] @ -chest[UP])  # a raised arm lifts its shoulder
        shoulder = (
            points["neck"]
            + sign * body.shoulders / 2 * (1 - 0.12 * raised) * chest[LEFT]
            + (0.045 * raised - 0.025) * chest[UP]
        )
        points[f"{side}_shoulder"] = shoulder
        points[f"{side}_elbow"] = shoulder - body.upper_arm * arm[UP]
        points[f"{side}_wrist"] = points[f"{side}_elbow"] - body.forearm * forearm[UP]
        points[f"{side}_hand"] = points[f"{side}_wrist"] - 0.06 * hand[UP]

        thigh = turned(pelvis, FRONT, sign * of_side["hip_abduct"])
        thigh = turned(thigh, LEFT, -of_side["hip_flex"])
        thigh = turned(thigh, UP, sign * of_side["hip_twist"])
        shin = turned(thigh, LEFT, of_side["knee"])
        foot = turned(shin, LEFT, of_side["ankle"])
        points[f"{side}_hip"] = sign * body.hips / 2 * pelvis[LEFT]
        points[f"{side}_knee"] = points[f"{side}_hip"] - body.thigh * thigh[UP]
        ankle = points[f"{side}_knee"] - body.shin * shin[UP]
        points[f"{side}_ankle"] = ankle
        points[f"{side}_heel"] = ankle - 0.028 * foot[UP] - 0.2 * body.foot * foot[FRONT]
        points[f"{side}_toe"] = ankle - 0.032 * foot[UP] + 0.8 * body.foot * foot[FRONT]
    return Figure(body, points, {"pelvis": pelvis, "chest": chest, "head": head})


# Lowest and highest angle of every joint, degrees. Poses are clipped to them.
LIMB_ANGLES = {
    "shoulder_flex": (-55, 175),
    "shoulder_abduct": (-25, 175),
    "shoulder_twist": (-85, 85),
    "elbow": (2, 145),
    "wrist": (-40, 40),
    "hip_flex": (-30, 115),
    "hip_abduct": (-4, 60),
    "hip_twist": (-15, 35),
    "knee": (2, 140),
    "ankle": (-15, 45),
}
ANGLES = {
    "yaw": (-360, 360),
    "pitch": (-360, 360),
    "roll": (-360, 360),
    "bow": (-25, 95),
    "bend": (-30, 30),
    "twist": (-40, 40),
    "nod": (-35, 35),
    "tilt": (-25, 25),
    "look": (-60, 60),
} | {f"{side}_{name}": limits for side in SIDES for name, limits in LIMB_ANGLES.items()}
