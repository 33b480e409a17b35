"""The least and the most likely poses, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from vl4pose.skeleton import Skeleton

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Panel", "draw_contact_sheet"]

FloatArray = npt.NDArray[np.float64]

_RAW, _REFINED, _EXPECTED = "#ffffff", "#ff2d78", "#00d5ff"
_INK = "#1d2530"
_CIRCLES = 2  # per pose


@dataclass(frozen=True)
class Panel:
    """One picture of the sheet.

    Attributes
    ----------
    image : PIL.Image.Image
    keypoints, refined : (J, 2) array
        In image pixels.
    lengths : (L,) array
        Expected lengths of the links, in image pixels.
    per_link : (L,) array
        Log-likelihood of each link.
    title : str
    """

    image: Image.Image
    keypoints: FloatArray
    refined: FloatArray
    lengths: FloatArray
    per_link: FloatArray
    title: str


def draw_contact_sheet(
    rows: Sequence[tuple[str, Sequence[Panel]]], skeleton: Skeleton, path: Path
) -> None:
    """Write a sheet of pictures as PNG, 1800 pixels wide: twice a README's width.

    Parameters
    ----------
    rows : sequence of (str, sequence of Panel)
        The heading of each row, and its pictures.
    skeleton : Skeleton
    path : Path

    Notes
    -----
    The raw pose is thin and the refined one thick. Around the parents of a pose's least likely
    links are circles with the length that was expected of these links: where all is well, the child
    is on the circle.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patheffects import Normal, Stroke

    columns = max(len(panels) for _, panels in rows)
    width, dpi = 12.0, 150
    side = width / columns
    figure = Figure(figsize=(width, len(rows) * (side + 0.62) + 0.5), dpi=dpi, facecolor="white")
    height = figure.get_figheight()
    top = height - 0.02
    for heading, panels in rows:
        figure.text(0.006, (top - 0.2) / height, heading, fontsize=14, weight="bold", color=_INK,
                    va="center")  # fmt: skip
        for i, panel in enumerate(panels):
            gap = 0.05
            place = ((i * side + gap) / width, (top - 0.4 - side + gap) / height,
                     (side - 2 * gap) / width, (side - 2 * gap) / height)  # fmt: skip
            axes = figure.add_axes(place)
            _draw_panel(axes, panel, skeleton)
            figure.text((i + 0.5) * side / width, (top - 0.4 - side - 0.06) / height, panel.title,
                        fontsize=12, ha="center", va="center", color=_INK)  # fmt: skip
        top -= side + 0.62
    outlined = [Stroke(linewidth=3.4, foreground=_INK), Normal()]
    handles = [
        Line2D([], [], color=_RAW, linewidth=1.8, path_effects=outlined, label="highest peaks"),
        Line2D([], [], color=_REFINED, linewidth=5, solid_capstyle="round", label="refined pose"),
        Line2D([], [], color=_EXPECTED, linewidth=0, marker="o", markersize=13, markeredgewidth=2,
               fillstyle="none", label="length expected of a link, around its parent"),
    ]  # fmt: skip
    figure.legend(handles=handles, loc="lower center", ncols=3, frameon=False, fontsize=12,
                  labelcolor=_INK)  # fmt: skip
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    with Image.open(buffer) as sheet:
        # In 256 colours it is a quarter as large, and looks the same.
        sheet.convert("RGB").quantize(dither=Image.Dither.NONE).save(path, optimize=True)


def _draw_panel(axes: Axes, panel: Panel, skeleton: Skeleton) -> None:
    from matplotlib.patches import Circle
    from matplotlib.patheffects import Normal, Stroke

    pale = Image.blend(panel.image, Image.new("RGB", panel.image.size, "white"), 0.3)
    axes.imshow(np.asarray(pale), interpolation="lanczos")
    axes.set_axis_off()
    for link in np.argsort(panel.per_link)[:_CIRCLES]:
        parent, _ = skeleton.links[link]
        circle = Circle(
            tuple(panel.refined[parent]), panel.lengths[link], fill=False, edgecolor=_EXPECTED,
            linewidth=1.6, path_effects=[Stroke(linewidth=2.8, foreground=_INK), Normal()],
        )  # fmt: skip
        axes.add_patch(circle)
    for link in skeleton.links:
        axes.plot(*panel.refined[list(link)].T, color=_REFINED, linewidth=4.5, alpha=0.85,
                  solid_capstyle="round")  # fmt: skip
    for link in skeleton.links:
        axes.plot(*panel.keypoints[list(link)].T, color=_RAW, linewidth=1.3,
                  path_effects=[Stroke(linewidth=2.5, foreground=_INK), Normal()],
                  solid_capstyle="round")  # fmt: skip
    axes.plot(*panel.keypoints[0], "o", color=_RAW, markersize=5, markeredgecolor=_INK)
    size = panel.image.size
    axes.set_xlim(-0.5, size[0] - 0.5)
    axes.set_ylim(size[1] - 0.5, -0.5)
