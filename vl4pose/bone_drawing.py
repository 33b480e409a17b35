"""How a pose is drawn: colours of bones and heatmaps, where bones should end, what is said of them.

The report and the figures of `vl4pose.plot` draw the same, and have it from here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vl4pose.bone_scores import expected_lengths
from vl4pose.skeleton import Skeleton, readable

__all__ = [
    "HALO",
    "HEAT_COLOURS",
    "NO_Z_COLOUR",
    "UNUSUAL_Z",
    "Z_CLASSES",
    "Z_COLOURS",
    "Z_LABELS",
    "describe_bones",
    "expected_marks",
    "z_class",
]

FloatArray = npt.NDArray[np.float64]

# From blue (too short) over white to orange (too long), which the common kinds of colour blindness
# tell apart, and of a lightness that says how far: all of them show on a photograph over HALO.
Z_CLASSES = (-3.0, -2.0, -1.0, 1.0, 2.0, 3.0)
Z_COLOURS = ("#1f6bff", "#5ca4ff", "#b3d4ff", "#ffffff", "#ffdcae", "#ffa040", "#ff5a00")
Z_LABELS = ("below −3", "−3 to −2", "−2 to −1", "−1 to 1", "1 to 2", "2 to 3", "above 3")
NO_Z_COLOUR = "#b9b9b9"
HALO = "#10151c"
# Red, green, blue and opacity of a heatmap from its lowest to its highest value, equally spaced.
HEAT_COLOURS = (
    (0.0, 0.0, 0.02, 0.35),
    (0.34, 0.06, 0.43, 0.8),
    (0.74, 0.21, 0.33, 0.9),
    (0.98, 0.55, 0.03, 0.95),
    (0.99, 1.0, 0.64, 1.0),
)
UNUSUAL_Z = 2.0  # beyond which a bone's z-score is written beside it

_ARC_PIXELS = 2.0  # of the heatmap, to each side of a bone
_ARC_ANGLES = (0.15, 0.6)  # radians, the least and the most
_ARC_POINTS, _CIRCLE_POINTS = 5, 25
_SAID = 3


def z_class(z: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Return the index into ``Z_COLOURS`` of z-scores, -1 for NaN."""
    z = np.asarray(z, np.float64)
    # Zero is in the middle, and each bound belongs to the class that is farther from it.
    index = np.where(z < 0, 6 - np.digitize(-z, Z_CLASSES), np.digitize(z, Z_CLASSES))
    return np.where(np.isnan(z), -1, index).astype(np.int64)


def expected_marks(
    keypoints: npt.ArrayLike,
    link_params: npt.ArrayLike,
    skeleton: Skeleton,
    heatmap_scale: npt.ArrayLike = 1.0,
) -> list[tuple[FloatArray, FloatArray]]:
    """Return what shows the expected length of each bone of a pose.

    Parameters
    ----------
    keypoints : (J, 2) array_like
        In image pixels.
    link_params : (L, 2) array_like
        Length and log-variance of each link, in heatmap pixels.
    skeleton : Skeleton
    heatmap_scale : (2,) array_like, default 1.0
        Image pixels to a heatmap pixel, along x and y.

    Returns
    -------
    marks : list of ((P, 2) float64, (2, 2) float64)
        For each link, in image pixels, points of an arc around the parent at the expected length,
        where the child should be, and the ends of one standard deviation to both sides on the
        bone's line. The arc of a bone without length, which has no direction, is the whole circle,
        and its deviation reaches along x.

    Notes
    -----
    A circle in heatmap pixels is an ellipse in image pixels where their scales differ along x and
    y; the arc is a part of that.
    """
    xy = np.asarray(keypoints, np.float64)
    scale = np.broadcast_to(np.asarray(heatmap_scale, np.float64), (2,))
    lengths, deviations = expected_lengths(link_params)
    marks = []
    for (parent, child), length, deviation in zip(
        skeleton.links, lengths.tolist(), deviations.tolist(), strict=True
    ):
        bone = (xy[child] - xy[parent]) / scale
        middle = np.arctan2(bone[1], bone[0])
        if not bone.any():
            angles = np.linspace(0, 2 * np.pi, _CIRCLE_POINTS)
        else:
            half = np.clip(_ARC_PIXELS / max(length, 1e-6), *_ARC_ANGLES)
            angles = middle + np.linspace(-half, half, _ARC_POINTS)
        arc = xy[parent] + max(length, 0.0) * _directions(angles) * scale
        ends = np.maximum([length - deviation, length + deviation], 0.0)
        marks.append((arc, xy[parent] + ends[:, None] * _directions(middle) * scale))
    return marks


def _directions(angles: npt.ArrayLike) -> FloatArray:
    return np.stack([np.cos(angles), np.sin(angles)], -1)


def describe_bones(z: npt.ArrayLike, link_names: Sequence[str]) -> str:
    """Return in words which bones of a pose have unusual lengths, the most unusual ones first.

    Parameters
    ----------
    z : (L,) array_like
        NaN where unknown.
    link_names : sequence of str
    """
    scores = np.asarray(z, np.float64)
    known = np.flatnonzero(~np.isnan(scores)).tolist()
    if not known:
        return "No bone has a known length."
    unusual = [i for i in known if abs(scores[i]) >= UNUSUAL_Z]
    if not unusual:
        return f"Every bone is within {UNUSUAL_Z:g} standard deviations of its expected length."
    unusual.sort(key=lambda i: -abs(scores[i]))
    said = [
        f"{readable(link_names[i])} {_degree(scores[i])} (z {_signed(scores[i])})"
        for i in unusual[:_SAID]
    ]
    more = len(unusual) - len(said)
    ending = f"; {more} more {'bone is' if more == 1 else 'bones are'} unusual" if more else ""
    sentence = "; ".join(said) + ending + "."
    return sentence[:1].upper() + sentence[1:]


def _degree(z: float) -> str:
    much = "much " if abs(z) >= Z_CLASSES[-1] else ""
    return f"{much}too {'short' if z < 0 else 'long'}"


def _signed(number: float) -> str:
    return f"{number:+.1f}".replace("-", "−")
