"""Pictures of people with their joints: ordinary ones, and kinds that are out of distribution."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from vl4pose.demo.body import Figure, articulate, random_body
from vl4pose.demo.camera import Camera, random_camera
from vl4pose.demo.figures import draw_figure, draw_shadow, keypoints
from vl4pose.demo.outfits import Outfit, random_outfit
from vl4pose.demo.painting import Canvas
from vl4pose.demo.poses import random_pose
from vl4pose.demo.scenery import draw_background, draw_obstacle
from vl4pose.skeleton import nearest

__all__ = ["KINDS", "ORDINARY", "SIZE", "Picture", "draw_picture"]

ORDINARY = "ordinary"
UNSEEN_POSE, OCCLUSION, BLUR, TWO_PEOPLE = "unseen pose", "occlusion", "blur", "two people"
KINDS = (ORDINARY, UNSEEN_POSE, OCCLUSION, BLUR, TWO_PEOPLE)
SIZE = 256  # pixels of a side


@dataclass(frozen=True)
class Picture:
    """A picture and what is in it.

    Attributes
    ----------
    image : PIL.Image.Image
        Square, in mode "RGB".
    keypoints : (14, 2) float64 array
        Joints of the "lsp" skeleton in image pixels, occluded ones too; of two people, those of the
        one whom the picture was made for.
    kind : str
        One of ``KINDS``.
    """

    image: Image.Image
    keypoints: npt.NDArray[np.float64]
    kind: str


def draw_picture(kind: str, seed: int | tuple[int, ...]) -> Picture:
    """Draw somebody somewhere.

    Parameters
    ----------
    kind : str
        ``"ordinary"``: a whole person, upright, in an everyday pose. ``"unseen pose"``: a handstand
        and the like. ``"occlusion"``: something stands before half of the body. ``"blur"``: the
        camera has moved or is out of focus. ``"two people"``: a second person overlaps the first.
    seed : int or tuple of int
        The same seed and kind give the same picture. Pictures of one seed differ in what their
        kinds stand for, and in nothing else.

    Raises
    ------
    ValueError
        ``kind must be one of ...``.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be {nearest(kind, KINDS)}, got {kind!r}")
    rng = np.random.default_rng(seed)
    of_kind, of_camera = rng.spawn(2)  # so that kinds differ in nothing else for one seed
    canvas = Canvas(SIZE)
    ground = draw_background(canvas, rng)
    figure = articulate(random_body(rng), random_pose(rng, unseen=kind == UNSEEN_POSE))
    camera = random_camera(rng, figure, SIZE, ground=ground)
    people = [(figure, random_outfit(rng), camera)]
    if kind == TWO_PEOPLE:
        people.insert(int(of_kind.integers(2)), _companion(of_kind, camera))
    for person, _, seen_by in people:
        draw_shadow(canvas, person, seen_by)
    for person, outfit, seen_by in people:
        draw_figure(canvas, person, outfit, seen_by)
    joints = keypoints(figure, camera)
    if kind == OCCLUSION:
        _hide(canvas, of_kind, joints, camera.scale)
    image = canvas.finished()
    if kind == BLUR:
        image = _blurred(image, of_kind)
    return Picture(_photographed(image, of_camera), joints, kind)


def _companion(rng: np.random.Generator, camera: Camera) -> tuple[Figure, Outfit, Camera]:
    figure = articulate(random_body(rng), random_pose(rng))
    aside = rng.choice([-1, 1]) * rng.uniform(0.12, 0.32) * camera.scale
    x, y = camera.centre
    scale = camera.scale * rng.uniform(0.9, 1.1)
    return figure, random_outfit(rng), replace(camera, centre=(x + aside, y), scale=scale)


def _hide(
    canvas: Canvas, rng: np.random.Generator, joints: npt.NDArray[np.float64], stature: float
) -> None:
    # Head and neck, an arm, the hips, the legs, by their joints.
    groups = ([0, 1, 2, 5], [2, 3, 4, 8], [5, 6, 7, 11], [8, 11, 9, 12], [9, 10, 12, 13])
    group = groups[rng.integers(len(groups))]
    draw_obstacle(canvas, rng, joints[group].mean(axis=0), 0.5 * stature)


def _blurred(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return the picture of a camera that has moved, or is out of focus."""
    if rng.random() < 0.5:
        return _moved(image, rng.uniform(0, np.pi), rng.uniform(14, 28))
    return image.filter(ImageFilter.GaussianBlur(rng.uniform(3, 5.5)))


def _moved(image: Image.Image, angle: float, length: float) -> Image.Image:
    """Return the mean of an image along a line of so many pixels."""
    pixels = np.asarray(image, np.float32)
    reach = int(np.ceil(length / 2))
    padded = np.pad(pixels, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    steps = np.linspace(-length / 2, length / 2, 24)
    total = np.zeros_like(pixels)
    for step in steps:
        x, y = round(reach + step * np.cos(angle)), round(reach + step * np.sin(angle))
        total += padded[y : y + SIZE, x : x + SIZE]
    return _image(total / len(steps))


def _photographed(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return the picture with an exposure, a cast, a little softness and noise."""
    soft = image.filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.8)))
    exposure = rng.normal(0.97, 0.06) * rng.normal(1.0, 0.02, 3)
    noise = rng.uniform(0.5, 3.5) * rng.standard_normal((SIZE, SIZE, 1), np.float32)
    return _image(np.asarray(soft, np.float32) * exposure.astype(np.float32) + noise)


def _image(pixels: npt.NDArray[Any]) -> Image.Image:
    return Image.fromarray(pixels.clip(0, 255).round().astype(np.uint8))
