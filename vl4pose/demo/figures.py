"""People drawn from posed bodies."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vl4pose.demo.body import Figure
from vl4pose.demo.camera import Camera
from vl4pose.demo.clothes import arms, legs, torso
from vl4pose.demo.head import head
from vl4pose.demo.outfits import Outfit
from vl4pose.demo.painting import Canvas
from vl4pose.demo.parts import draw_parts
from vl4pose.skeleton import get_skeleton

__all__ = ["draw_figure", "draw_shadow", "keypoints"]


def keypoints(figure: Figure, camera: Camera) -> npt.NDArray[np.float64]:
    """Return the joints of the "lsp" skeleton, (14, 2), in pixels of the picture."""
    joints = np.stack([figure.points[name] for name in get_skeleton("lsp").joints])
    return camera.project(np.insert(joints, 3, 0.0, axis=1))[:, :2]


def draw_figure(canvas: Canvas, figure: Figure, outfit: Outfit, camera: Camera) -> None:
    """Draw a person."""
    parts = [part for build in (torso, arms, legs, head) for part in build(figure, outfit)]
    draw_parts(canvas, parts, camera)


def draw_shadow(canvas: Canvas, figure: Figure, camera: Camera) -> None:
    """Draw the shadow on the ground under the lowest points of a figure."""
    points = np.stack(list(figure.points.values()))
    ground = points[:, 1].max() + 0.02
    low = points[points[:, 1] > ground - 0.25]
    low[:, 1] = ground
    canvas.shadow(camera.project(np.insert(low, 3, 0.075, axis=1)), squeeze=0.35)
