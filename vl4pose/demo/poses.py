"""Poses that people take, and some that the demo's networks have never seen."""

from __future__ import annotations

import numpy as np

from vl4pose.demo.body import ANGLES, Pose

__all__ = ["FAMILIAR", "UNSEEN", "random_pose"]

# Degrees; a name without a side is meant for both.
FAMILIAR: dict[str, Pose] = {
    "stand": {"shoulder_abduct": 8, "shoulder_twist": -20, "elbow": 12, "hip_abduct": 6},
    "walk": {
        "left_hip_flex": 26, "left_knee": 12, "right_hip_flex": -16, "right_knee": 22,
        "left_shoulder_flex": -24, "right_shoulder_flex": 26, "elbow": 26, "bow": 4,
        "shoulder_abduct": 7,
    },
    "run": {
        "left_hip_flex": 62, "left_knee": 72, "right_hip_flex": -18, "right_knee": 40,
        "left_shoulder_flex": -40, "right_shoulder_flex": 42, "elbow": 88, "bow": 12,
        "right_ankle": 25, "shoulder_abduct": 10,
    },
    "wave": {
        "left_shoulder_abduct": 108, "left_elbow": 72, "left_shoulder_twist": 75,
        "right_shoulder_abduct": 10, "right_elbow": 15, "bend": -4,
    },
    "cheer": {"shoulder_abduct": 148, "elbow": 20, "shoulder_twist": 30, "hip_abduct": 8},
    "hands on hips": {
        "shoulder_abduct": 44, "shoulder_flex": -14, "shoulder_twist": -62, "elbow": 100,
        "hip_abduct": 7, "wrist": -20,
    },
    "reach": {
        "left_shoulder_flex": 92, "left_elbow": 10, "left_shoulder_abduct": 12,
        "right_elbow": 25, "right_shoulder_abduct": 10, "bow": 8, "right_hip_flex": -10,
    },
    "point": {
        "left_shoulder_abduct": 84, "left_elbow": 8, "right_shoulder_abduct": 12, "right_elbow": 20,
        "look": 25,
    },
    "spread": {"shoulder_abduct": 86, "elbow": 8, "hip_abduct": 20, "hip_twist": 15},
    "lunge": {
        "left_hip_flex": 68, "left_knee": 70, "right_hip_flex": -20, "right_knee": 24,
        "shoulder_abduct": 28, "elbow": 40, "right_ankle": 20, "bow": 8,
    },
    "squat": {
        "hip_flex": 70, "knee": 86, "hip_abduct": 18, "hip_twist": 16, "bow": 6, "pitch": 12,
        "shoulder_flex": 62, "elbow": 20, "ankle": -12,
    },
    "balance": {
        "left_hip_flex": 72, "left_knee": 100, "left_hip_abduct": 30, "left_hip_twist": 25,
        "shoulder_abduct": 66, "elbow": 25, "left_ankle": 25,
    },
    "kick": {
        "left_hip_flex": 58, "left_knee": 14, "left_hip_abduct": 10, "left_ankle": 20,
        "right_shoulder_flex": 40, "left_shoulder_abduct": 48, "right_shoulder_abduct": 30,
        "elbow": 30, "bow": -6,
    },
    "box": {
        "shoulder_flex": 40, "shoulder_twist": -15, "elbow": 112, "left_shoulder_flex": 62,
        "left_hip_flex": 18, "right_hip_flex": -10, "knee": 18, "bow": 8,
    },
    "think": {
        "left_shoulder_flex": 42, "left_shoulder_twist": -38, "left_elbow": 128,
        "right_shoulder_flex": 22, "right_shoulder_twist": -68, "right_elbow": 88, "nod": 10,
    },
    "dance": {
        "left_shoulder_abduct": 132, "left_elbow": 48, "left_shoulder_twist": 30,
        "right_shoulder_abduct": 52, "right_shoulder_twist": -50, "right_elbow": 70,
        "left_hip_abduct": 20, "right_knee": 26, "right_hip_flex": 16, "bend": 10, "twist": 12,
    },
}  # fmt: skip

UNSEEN: dict[str, Pose] = {
    "handstand": {
        "pitch": 180, "shoulder_abduct": 158, "elbow": 6, "left_hip_flex": 18,
        "right_hip_flex": -14, "hip_abduct": 10, "ankle": 35, "nod": -30,
    },
    "cartwheel": {
        "roll": 118, "shoulder_abduct": 142, "elbow": 8, "hip_abduct": 46, "ankle": 30,
    },
    "lie": {"roll": 86, "shoulder_abduct": 26, "elbow": 26, "hip_flex": 12, "knee": 24},
    "fall": {
        "roll": 74, "pitch": 28, "left_shoulder_abduct": 120, "right_shoulder_abduct": 78,
        "elbow": 30, "left_hip_flex": 40, "left_knee": 60, "right_hip_abduct": 34,
    },
    "fold": {
        "pitch": 42, "bow": 80, "shoulder_flex": 88, "elbow": 8, "hip_flex": 40, "nod": 20,
        "shoulder_abduct": 10, "knee": 6,
    },
    "crawl": {
        "pitch": 82, "shoulder_flex": 88, "hip_flex": 88, "knee": 88, "nod": -32, "elbow": 8,
        "ankle": 40,
    },
    "fly": {
        "pitch": 78, "shoulder_flex": 165, "elbow": 6, "hip_flex": 2, "nod": -34, "ankle": 42,
    },
}  # fmt: skip

_SPREAD = {"yaw": 0, "pitch": 3, "roll": 3, "bow": 4, "bend": 4, "twist": 7, "wrist": 14}
_SPREAD_OF_LIMBS = 9
_OTHER = {"left": "right", "right": "left"}
_SIGN = dict.fromkeys(("roll", "bend", "twist", "tilt", "look"), -1)  # in the mirror
_BACKS = 0.3  # share of people seen from behind
_FROM_BEHIND_TO_PROFILE = 58  # how far the yaw goes to either side, degrees


def random_pose(rng: np.random.Generator, *, unseen: bool = False) -> Pose:
    """Return one of the poses, varied, perhaps mirrored, turned to the camera or away from it."""
    poses = UNSEEN if unseen else FAMILIAR
    chosen = poses[sorted(poses)[rng.integers(len(poses))]]
    mirrored = rng.random() < 0.5
    angles = {}
    for name, (low, high) in ANGLES.items():
        side, _, joint = name.partition("_")
        mean = chosen.get(name, chosen.get(joint if side in _OTHER else name, 0.0))
        spread = _SPREAD.get(joint or name, _SPREAD_OF_LIMBS)
        angles[name] = float(np.clip(mean + spread * rng.standard_normal(), low, high))
    if mirrored:
        angles = {_mirror(name): _SIGN.get(name, 1) * angle for name, angle in angles.items()}
    turn = _FROM_BEHIND_TO_PROFILE * rng.uniform(-1, 1)
    angles["yaw"] = turn + 180 * (rng.random() < _BACKS)
    return angles


def _mirror(name: str) -> str:
    side, separator, joint = name.partition("_")
    return _OTHER.get(side, side) + separator + joint
