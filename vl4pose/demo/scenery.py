"""Places for people to be in, and things that stand before them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from vl4pose.demo.painting import Canvas, Colour, shade

__all__ = ["draw_background", "draw_obstacle"]

Rng = np.random.Generator

WALLS = [
    (226, 214, 196), (198, 212, 208), (214, 200, 206), (186, 196, 214), (222, 222, 216),
    (170, 182, 172), (232, 206, 176), (150, 162, 178),
]  # fmt: skip
FLOORS = [(168, 134, 100), (128, 104, 84), (186, 172, 152), (120, 124, 130), (148, 156, 150)]
SKIES = [(150, 196, 230), (190, 214, 232), (240, 206, 176), (168, 186, 206), (124, 172, 216)]
GREENS = [(118, 160, 92), (92, 138, 88), (146, 168, 96), (78, 120, 92)]
BUILDINGS = [(176, 160, 148), (148, 146, 156), (196, 178, 150), (158, 128, 116), (128, 142, 150)]
ROADS = [(120, 122, 128), (150, 148, 146), (100, 102, 108)]
SEAS = [(74, 140, 170), (88, 160, 170), (64, 112, 150)]
SANDS = [(226, 204, 160), (210, 186, 146), (234, 216, 186)]
THINGS = [
    (206, 96, 76), (226, 172, 84), (96, 140, 150), (120, 108, 150), (88, 120, 84), (150, 112, 84),
    (210, 206, 196),
]  # fmt: skip
BARK, METAL, FOAM, SUN, CLOUD = (
    (104, 78, 60), (72, 74, 80), (244, 246, 244), (252, 232, 178), (246, 248, 250)
)  # fmt: skip


def draw_background(canvas: Canvas, rng: Rng) -> float:
    """Fill a canvas with a place; return where its ground begins, as a share of the height."""
    places = (_room, _room, _park, _street, _beach, _studio)
    return places[rng.integers(len(places))](_Stage(canvas, rng))


def draw_obstacle(canvas: Canvas, rng: Rng, middle: npt.ArrayLike, size: float) -> None:
    """Draw something in front of what is there.

    Parameters
    ----------
    canvas : Canvas
    rng : numpy.random.Generator
    middle : (2,) array_like
        Of the obstacle, pixels.
    size : float
        About its width and height, pixels.
    """
    x, y = (np.asarray(middle, np.float64) + 0.5) / canvas.size
    obstacles = (_board, _bush, _parasol)
    obstacles[rng.integers(len(obstacles))](_Stage(canvas, rng), x, y, size / canvas.size)


class _Stage:
    """A canvas whose sides have length 1, and chance."""

    def __init__(self, canvas: Canvas, rng: Rng) -> None:
        self.canvas = canvas
        self.rng = rng

    def uniform(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def few(self, most: int) -> range:
        return range(int(self.rng.integers(most + 1)))

    def aside(self, width: float) -> float:
        """Return a place at the left or right, not farther than ``width`` from the edge."""
        x = self.uniform(0, width)
        return x if self.chance(0.5) else 1 - x

    def colour(self, colours: list[Colour]) -> Colour:
        chosen = np.array(colours[self.rng.integers(len(colours))]) + self.rng.normal(0, 6, 3)
        red, green, blue = chosen.clip(0, 255).round().astype(int).tolist()
        return red, green, blue

    def gradient(self, colour: Colour, top: float, bottom: float, shades: npt.ArrayLike) -> None:
        """Fill the rows between two heights from one shade of a colour to another."""
        first, last = (shade(colour, factor) for factor in np.asarray(shades).tolist())
        self.canvas.gradient(first, last, top, bottom)

    def polygon(self, corners: npt.ArrayLike, colour: Colour) -> None:
        self.canvas.polygon(np.asarray(corners) * self.canvas.size - 0.5, colour)

    def box(self, x: float, y: float, width: float, height: float, colour: Colour) -> None:
        right, bottom = x + width, y + height
        self.polygon([(x, y), (right, y), (right, bottom), (x, bottom)], colour)

    def discs(self, circles: npt.ArrayLike, colour: Colour) -> None:
        """Fill the hull of circles (x, y, radius)."""
        size = self.canvas.size
        self.canvas.hull(np.asarray(circles) * size - (0.5, 0.5, 0), colour)


def _studio(stage: _Stage) -> float:
    wall, horizon = stage.colour(WALLS), stage.uniform(0.6, 0.8)
    stage.gradient(wall, 0, horizon, (0.86, 1.25))
    stage.gradient(wall, horizon, 1, (1.05, 0.8))
    return horizon


def _room(stage: _Stage) -> float:
    wall, floor, horizon = stage.colour(WALLS), stage.colour(FLOORS), stage.uniform(0.62, 0.82)
    stage.gradient(wall, 0, horizon, (0.94, 1.0))
    if stage.chance(0.4):  # wallpaper
        width = stage.uniform(0.04, 0.1)
        for x in np.arange(stage.uniform(-width, 0), 1, 2 * width):
            stage.box(x, 0, width, horizon, shade(wall, 0.95))
    if stage.chance(0.6):
        _window(stage, wall)
    for _ in stage.few(2):  # pictures
        x, y = stage.uniform(0, 0.9), stage.uniform(0.08, 0.4)
        width, height = stage.uniform(0.08, 0.2), stage.uniform(0.08, 0.2)
        stage.box(x, y, width, height, shade(stage.colour(FLOORS), 0.6))
        stage.box(x + 0.015, y + 0.015, width - 0.03, height - 0.03, stage.colour(THINGS))
    stage.gradient(floor, horizon, 1, (0.92, 1.12))
    stage.box(0, horizon - 0.02, 1, 0.02, shade(wall, 1.4))
    if stage.chance(0.5):  # floor boards that meet far away
        middle = stage.uniform(0.3, 0.7)
        for x in np.arange(-1.5, 2.5, 0.22):
            far = middle + (x - middle) * 0.55
            gap = [(far, horizon), (far + 0.004, horizon), (x + 0.01, 1), (x, 1)]
            stage.polygon(gap, shade(floor, 0.8))
    for _ in stage.few(2):
        furniture = (_plant, _lamp, _cupboard)
        x, foot = stage.aside(0.2), horizon + stage.uniform(0, 0.06)
        furniture[stage.rng.integers(len(furniture))](stage, x, foot)
    return horizon


def _window(stage: _Stage, wall: Colour) -> None:
    x, y, width = stage.uniform(-0.1, 0.8), stage.uniform(0.05, 0.2), stage.uniform(0.22, 0.36)
    height, frame, sky = 1.3 * width, 0.015, stage.colour(SKIES)
    stage.box(x - frame, y - frame, width + 2 * frame, height + 2 * frame, shade(wall, 1.5))
    for i in (0, 0.5):
        for j in (0, 0.5):
            pane = x + i * width + frame / 2, y + j * height + frame / 2
            stage.box(*pane, width / 2 - frame, height / 2 - frame, sky)


def _plant(stage: _Stage, x: float, foot: float) -> None:
    pot = stage.colour(THINGS)
    for _ in range(7):
        tip = x + stage.uniform(-0.12, 0.12), foot - stage.uniform(0.2, 0.42)
        leaf = shade(stage.colour(GREENS), stage.uniform(0.7, 1.1))
        stage.discs([(x, foot - 0.1, 0.008), (*tip, 0.02)], leaf)
    rim, base = foot - 0.11, foot
    stage.polygon([(x - 0.05, rim), (x + 0.05, rim), (x + 0.035, base), (x - 0.035, base)], pot)


def _lamp(stage: _Stage, x: float, foot: float) -> None:
    stage.box(x - 0.006, foot - 0.5, 0.012, 0.5, METAL)
    top, rim = foot - 0.58, foot - 0.45
    hood = [(x - 0.05, top), (x + 0.05, top), (x + 0.09, rim), (x - 0.09, rim)]
    stage.polygon(hood, shade(stage.colour(THINGS), 1.4))


def _cupboard(stage: _Stage, x: float, foot: float) -> None:
    wood, width, height = stage.colour(THINGS), stage.uniform(0.16, 0.3), stage.uniform(0.15, 0.4)
    left = x - width / 2
    stage.box(left, foot - height, width, height, wood)
    for share in (0.33, 0.66):
        stage.box(left + 0.015, foot - share * height, width - 0.03, 0.008, shade(wood, 0.75))


def _park(stage: _Stage) -> float:
    sky, grass, horizon = stage.colour(SKIES), stage.colour(GREENS), stage.uniform(0.5, 0.72)
    stage.gradient(sky, 0, horizon, (1.0, 1.5))
    _clouds(stage, horizon)
    for _ in range(3):  # hills
        x, radius = stage.uniform(-0.2, 1.2), stage.uniform(0.2, 0.5)
        stage.discs([(x, horizon + 0.75 * radius, radius)], shade(grass, stage.uniform(1.2, 1.35)))
    for _ in stage.few(4):
        _tree(stage, stage.uniform(-0.05, 1.05), horizon + stage.uniform(0, 0.05))
    stage.gradient(grass, horizon, 1, (0.95, 1.15))
    if stage.chance(0.5):  # a path
        x = stage.uniform(0.2, 0.8)
        path = [(x - 0.04, horizon), (x + 0.04, horizon), (x + 0.4, 1), (x - 0.3, 1)]
        stage.polygon(path, shade(stage.colour(FLOORS), 1.3))
    return horizon


def _tree(stage: _Stage, x: float, foot: float) -> None:
    height, leaves = stage.uniform(0.2, 0.5), stage.colour(GREENS)
    stage.box(x - 0.035 * height, foot - 0.6 * height, 0.07 * height, 0.6 * height, BARK)
    for _ in range(5):
        dx, dy = stage.rng.normal(0, 0.13 * height, 2)
        crown = x + dx, foot - 0.75 * height + dy, stage.uniform(0.14, 0.24) * height
        stage.discs([crown], shade(leaves, stage.uniform(0.85, 1.12)))


def _clouds(stage: _Stage, horizon: float) -> None:
    for _ in stage.few(3):
        x, y, width = (
            stage.uniform(0, 1), stage.uniform(0.05, 0.7 * horizon), stage.uniform(0.05, 0.12)
        )  # fmt: skip
        stage.discs([(x - width, y, 0.35 * width), (x + width, y, 0.35 * width)], CLOUD)
        stage.discs([(x - 0.2 * width, y - 0.3 * width, 0.55 * width)], CLOUD)


def _street(stage: _Stage) -> float:
    sky, horizon = stage.colour(SKIES), stage.uniform(0.62, 0.8)
    stage.gradient(sky, 0, horizon, (1.0, 1.4))
    x = stage.uniform(-0.2, 0)
    while x < 1:
        width = stage.uniform(0.18, 0.4)
        _house(stage, x, width, horizon, sky)
        x += width
    road = stage.colour(ROADS)
    stage.gradient(road, horizon, 1, (1.15, 1.0))
    stage.box(0, horizon, 1, 0.025, shade(road, 1.4))
    if stage.chance(0.6):  # a lamp post
        x = stage.aside(0.25)
        stage.box(x, 0.15, 0.016, horizon - 0.11, METAL)
        stage.discs([(x + 0.008, 0.15, 0.04)], stage.colour(THINGS))
    return horizon


def _house(stage: _Stage, x: float, width: float, foot: float, sky: Colour) -> None:
    top, wall, step = stage.uniform(-0.1, 0.4), stage.colour(BUILDINGS), stage.uniform(0.06, 0.09)
    stage.box(x, top, width, foot - top, wall)
    pane = shade(sky, 1.2) if stage.chance(0.5) else shade(wall, 0.7)
    for left in np.arange(x + 0.03, x + width - 0.7 * step, step):
        for upper in np.arange(top + 0.04, foot - 0.12, 1.3 * step):
            stage.box(left, upper, 0.5 * step, 0.75 * step, pane)


def _beach(stage: _Stage) -> float:
    sky, sea, sand = stage.colour(SKIES), stage.colour(SEAS), stage.colour(SANDS)
    horizon = stage.uniform(0.42, 0.6)
    shore = horizon + stage.uniform(0.06, 0.16)
    stage.gradient(sky, 0, horizon, (1.0, 1.5))
    sun = stage.uniform(0, 1), stage.uniform(0.05, horizon - 0.05), stage.uniform(0.04, 0.08)
    stage.discs([sun], SUN)
    _clouds(stage, horizon)
    stage.gradient(sea, horizon, shore, (1.2, 1.0))
    stage.gradient(sand, shore, 1, (0.93, 1.2))
    stage.box(0, shore - 0.012, 1, 0.018, FOAM)
    for _ in stage.few(2):
        x, foot, cloth = stage.aside(0.25), shore + stage.uniform(0.05, 0.15), stage.colour(THINGS)
        stage.box(x - 0.006, foot - 0.3, 0.012, 0.3, FOAM)
        stage.polygon([(x - 0.17, foot - 0.26), (x, foot - 0.36), (x + 0.17, foot - 0.26)], cloth)
    return shore


def _board(stage: _Stage, x: float, y: float, size: float) -> None:
    colour, angle = stage.colour(THINGS), stage.rng.normal(0, 0.25)
    axes = np.array([(np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))])
    half = size * np.array([stage.uniform(0.5, 0.75), stage.uniform(0.4, 0.6)])

    def on_board(points: npt.ArrayLike) -> npt.NDArray[np.float64]:
        return np.asarray((x, y) + (np.asarray(points) * half) @ axes)

    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    stage.polygon(on_board(1.06 * corners), shade(colour, 0.6))
    stage.polygon(on_board(corners), colour)
    for height in (-0.4, 0, 0.4):  # lines of text
        ends = on_board([(-0.7, height), (0.7, height)])
        stage.discs([(*end, 0.03 * size) for end in ends], shade(colour, 1.5))


def _bush(stage: _Stage, x: float, y: float, size: float) -> None:
    leaves = stage.colour(GREENS)
    for _ in range(18):
        dx, dy = stage.rng.normal(0, 0.3 * size, 2).clip(-0.5 * size, 0.5 * size)
        twig = x + 1.1 * dx, y + 0.9 * dy, size * stage.uniform(0.14, 0.28)
        stage.discs([twig], shade(leaves, stage.uniform(0.75, 1.15)))


def _parasol(stage: _Stage, x: float, y: float, size: float) -> None:
    cloth, radius, turn = stage.colour(THINGS), 0.62 * size, stage.uniform(0, 1)
    corners = turn + np.linspace(0, 2 * np.pi, 9)
    for number, (start, end) in enumerate(pairwise(corners)):
        angles = np.array([start, (start + end) / 2, end])
        rim = (x, y) + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        stage.polygon([(x, y), *rim], shade(cloth, 1.25 if number % 2 else 0.95))
