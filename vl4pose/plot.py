"""The figures of ``vl4pose report`` in matplotlib, for notebooks.

Each takes an ``ax`` to draw on, or makes one, and returns it. They need matplotlib, which
``pip install 'vl4pose[cli]'`` brings.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vl4pose import bone_drawing as drawing
from vl4pose._arrays import as_numpy
from vl4pose.bone_scores import link_z_scores
from vl4pose.score_histogram import score_histogram
from vl4pose.skeleton import Skeleton, get_skeleton

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from vl4pose.pool.storage import Folder
    from vl4pose.score_table import ScoreTable

__all__ = ["contact_sheet", "heatmap", "pose", "score_distribution"]

FloatArray = npt.NDArray[np.float64]

_BARS, _SELECTED, _EXPECTED = "#a8b1ba", "#0a52c4", "#54e6d1"
_SHEET_COLUMNS = (
    "image", "person_id", "box", "width", "height", "error", "score", "keypoints",
    "refined_keypoints", "link_params", "heatmap_scale",
)  # fmt: skip


def score_distribution(
    scores: Any,
    selection: npt.ArrayLike | None = None,
    *,
    num_bins: int = 40,
    ax: Axes | None = None,
) -> Axes:
    """Draw how scores are distributed, and which of them are selected.

    Parameters
    ----------
    scores : (N,) array_like or ScoreTable
        Those that are not finite are left out.
    selection : (N,) array_like of bool, or (M,) of int, optional
        Which of the scores are selected, or their indices.
    num_bins : int, default 40
    ax : matplotlib Axes, optional
        By default one of a new figure.

    Returns
    -------
    ax : matplotlib Axes

    Raises
    ------
    ImportError
        ``vl4pose.plot needs matplotlib: pip install 'vl4pose[cli]'``.
    ValueError
        As `vl4pose.score_histogram.score_histogram`;
        ``selection must index scores 0 to ..., got ...``.
    TypeError
        ``selection must hold indices or bools, got ...``.

    Notes
    -----
    Where a few scores are far from all others, the axis is compressed to its sides, as the label
    says; the bins are equally wide on it.
    """
    values = scores.numbers("score") if hasattr(scores, "numbers") else as_numpy(scores).ravel()
    mask = None if selection is None else _mask(selection, len(values))
    histogram = score_histogram(values, mask, num_bins)
    ax = _axes(ax, (8.0, 3.0))
    across = np.linspace(0, 1, num_bins + 1)
    width = across[1]
    ax.bar(across[:-1], histogram.counts, width, align="edge", color=_BARS, edgecolor="white",
           linewidth=0.5, label="all")  # fmt: skip
    if mask is not None:
        ax.bar(across[:-1], histogram.selected, width, align="edge", facecolor="white",
               edgecolor=_SELECTED, hatch="////", linewidth=0.8, label="selected")  # fmt: skip
        ax.legend(frameon=False, loc="upper left")
    ax.set_xticks(
        [where for _, where in histogram.ticks], [f"{score:g}" for score, _ in histogram.ticks]
    )
    ax.set_xlim(0, 1)
    ax.set_xlabel("score, compressed to the sides" if histogram.compressed else "score")
    ax.set_ylabel("rows")
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def pose(
    image: Any,
    keypoints: npt.ArrayLike,
    skeleton: Skeleton | str,
    *,
    link_params: npt.ArrayLike | None = None,
    heatmap_scale: npt.ArrayLike = 1.0,
    refined: npt.ArrayLike | None = None,
    expected: bool = True,
    num_labels: int = 6,
    ax: Axes | None = None,
) -> Axes:
    """Draw a pose over its image, each bone in the colour of its z-score.

    Parameters
    ----------
    image : PIL.Image.Image, (H, W) or (H, W, 3) array_like, or None
    keypoints : (J, 2) array_like
        In image pixels; joints that are NaN are left out.
    skeleton : Skeleton or str
        Or the name of a preset.
    link_params : (L, 2) array_like, optional
        Expected length and log-variance of each link, in heatmap pixels. Without them bones have no
        z-score.
    heatmap_scale : (2,) array_like, default 1.0
        Image pixels to a heatmap pixel, along x and y.
    refined : (J, 2) array_like, optional
        Another pose, whose bones are dashed where they differ.
    expected : bool, default True
        Draw, around each bone's parent, an arc of its expected length, and one standard deviation
        to both sides of it.
    num_labels : int, default 6
        How many bones have their z-score beside them at most, the most unusual ones first.
    ax : matplotlib Axes, optional
        By default one of a new figure.

    Returns
    -------
    ax : matplotlib Axes

    Raises
    ------
    ImportError
        ``vl4pose.plot needs matplotlib: pip install 'vl4pose[cli]'``.
    ValueError
        ``keypoints must be (..., J, 2)``, ``link_params must be (..., L, 2)``, or an unknown
        skeleton.

    Notes
    -----
    Bones with a z-score of 2 or more to either side are thicker and may have it beside them.
    `vl4pose.bone_scores.link_z_scores` defines it.
    """
    skeleton = get_skeleton(skeleton) if isinstance(skeleton, str) else skeleton
    raw = as_numpy(keypoints).astype(np.float64)
    other = None if refined is None else as_numpy(refined).astype(np.float64)
    params = np.full((skeleton.num_links, 2), np.nan)
    if link_params is not None:
        params = as_numpy(link_params)
        params = params.reshape(0, 2) if params.size == 0 else params  # of a single joint
    z = link_z_scores(raw, params, skeleton, heatmap_scale)
    ax = _axes(ax, (5.0, 5.0))
    _show_image(ax, image)
    if other is not None:
        other_z = link_z_scores(other, params, skeleton, heatmap_scale)
        differs = (raw != other).any(axis=1)
        links = [i for i, link in enumerate(skeleton.links) if differs[list(link)].any()]
        _draw_bones(ax, other, skeleton, other_z, links, "dashed")
    _draw_bones(ax, raw, skeleton, z, range(skeleton.num_links), "solid")
    known = ~np.isnan(raw).any(axis=1)
    ax.plot(*raw[known].T, "o", color="white", markersize=4, markeredgecolor=drawing.HALO, zorder=4)
    if expected and link_params is not None:
        marks = drawing.expected_marks(raw, params, skeleton, heatmap_scale)
        for points in (points for mark in marks for points in mark):
            ax.plot(*points.T, color=_EXPECTED, linewidth=1.3, path_effects=_halo(2.4), zorder=5)
    order = np.argsort(-np.abs(np.nan_to_num(z)))[:num_labels]
    for link in order[np.abs(np.nan_to_num(z[order])) >= drawing.UNUSUAL_Z]:
        x, y = raw[list(skeleton.links[link])].mean(axis=0)
        ax.text(x, y, f"{z[link]:+.1f}", color="white", fontsize=8, weight="bold", ha="center",
                va="center", path_effects=_halo(2.5), zorder=6)  # fmt: skip
    return ax


def heatmap(
    values: npt.ArrayLike,
    peaks: npt.ArrayLike | None = None,
    *,
    image: Any = None,
    place: Sequence[float] | None = None,
    chosen: int | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the heatmap of a joint with its peaks.

    Parameters
    ----------
    values : (H, W) array_like
        The map.
    peaks : (K, 3) or (K, 4) array_like, optional
        x, y, weight and perhaps posterior of each peak, in pixels of the map; in image pixels, as
        in a table of scores, where ``place`` is given.
    image : PIL.Image.Image, (H, W) or (H, W, 3) array_like, optional
        Drawn below the map, which lets it through where it is low; needs ``place``.
    place : (x, y, width, height), optional
        Where the map lies in the image, counted from the image's corner.
    chosen : int, optional
        The peak that the refined pose has.
    ax : matplotlib Axes, optional
        By default one of a new figure.

    Returns
    -------
    ax : matplotlib Axes

    Raises
    ------
    ImportError
        ``vl4pose.plot needs matplotlib: pip install 'vl4pose[cli]'``.
    ValueError
        ``values must be (H, W)``, ``peaks must be (K, 3) or (K, 4)``,
        ``place must be given with image``.
    """
    grid = as_numpy(values).astype(np.float64)
    if grid.ndim != 2:
        raise ValueError(f"values must be (H, W), got {grid.shape}")
    if image is not None and place is None:
        raise ValueError("place must be given with image, got None")
    rows: FloatArray = np.empty((0, 3)) if peaks is None else as_numpy(peaks).astype(np.float64)
    if rows.size == 0:
        rows = np.empty((0, 3))
    if rows.ndim != 2 or rows.shape[1] not in (3, 4):
        raise ValueError(f"peaks must be (K, 3) or (K, 4), got {rows.shape}")
    ax = _axes(ax, (5.0, 5.0))
    height, width = grid.shape
    x, y, across, down = (0.0, 0.0, float(width), float(height)) if place is None else place
    _show_image(ax, image)
    ax.imshow(grid, cmap=_heat_colours(opaque=image is None),
              extent=(x - 0.5, x + across - 0.5, y + down - 0.5, y - 0.5))  # fmt: skip
    side = max(across, down)
    from matplotlib.patches import Circle

    for index, (px, py, weight) in enumerate(rows[:, :3]):
        radius = side * (0.012 + 0.035 * math.sqrt(max(weight, 0.0)))
        colour = _EXPECTED if index == chosen else "white"
        ax.add_patch(
            Circle((px, py), radius, fill=False, edgecolor=colour, linewidth=1.8,
                   path_effects=_halo(3.2))
        )  # fmt: skip
        said = f"{weight:.0%}"
        if rows.shape[1] == 4:
            said += f" → {rows[index, 3]:.0%}"
        ax.text(px + radius, py - radius, said, color="white", fontsize=8, weight="bold",
                path_effects=_halo(2.5), clip_on=True)  # fmt: skip
    if image is not None:
        x, y, (down, across) = 0.0, 0.0, np.asarray(image).shape[:2]
    ax.set_xlim(x - 0.5, x + across - 0.5)
    ax.set_ylim(y + down - 0.5, y - 0.5)
    ax.set_axis_off()
    return ax


def contact_sheet(
    table: ScoreTable,
    rows: npt.ArrayLike | None = None,
    *,
    num_pictures: int = 10,
    columns: int = 5,
    images: str | os.PathLike[str] | None = None,
    max_image_size: int = 512,
    expected: bool = False,
) -> Figure:
    """Draw poses of a table of scores side by side.

    Parameters
    ----------
    table : ScoreTable
        Of `vl4pose.score_table.read_scores`: scores or a selection.
    rows : (M,) array_like of int, optional
        Which rows, in this order. By default those of the lowest scores; of a selection, the first.
    num_pictures : int, default 10
        How many of them, where ``rows`` is None.
    columns : int, default 5
    images : path or URL, optional
        The folder of the images; by default where they were scored.
    max_image_size : int, default 512
        Longer side of a picture, in pixels.
    expected : bool, default False
        Draw the expected lengths of the bones.

    Returns
    -------
    figure : matplotlib Figure
        An image that cannot be read has its reason in its place.

    Raises
    ------
    ImportError
        ``vl4pose.plot needs matplotlib: pip install 'vl4pose[cli]'``.
    ValueError
        ``rows must hold rows of the table, ...``, ``columns must be at least 1``.
    """
    plt = _pyplot()
    from vl4pose.pool.storage import open_folder
    from vl4pose.report.pictures import NoPictureError

    if columns < 1:
        raise ValueError(f"columns must be at least 1, got {columns}")
    picked = _picked(table, rows, num_pictures)
    shown = table.take(picked)
    folder = open_folder(table.root if images is None else images)
    columns = min(columns, max(len(shown), 1))
    lines = max(1, -(-len(shown) // columns))
    figure: Figure = plt.figure(figsize=(2.6 * columns, 2.9 * lines), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False)
    for ax in grid.ravel():
        ax.set_axis_off()
    names = [name for name in table.rows.column_names if name in _SHEET_COLUMNS]
    for ax, row in zip(grid.ravel(), shown.rows.select(names).to_pylist(), strict=False):
        name = row["image"] + ("" if row["person_id"] is None else f" #{row['person_id']}")
        title = name if row["score"] is None else f"{row['score']:.2f}  {name}"
        ax.set_title(title, fontsize=8, parse_math=False)
        try:
            _draw_row(ax, row, table.skeleton, folder, max_image_size, expected)
        except NoPictureError as error:
            ax.text(0.5, 0.5, str(error), wrap=True, ha="center", va="center", fontsize=8,
                    transform=ax.transAxes, parse_math=False)  # fmt: skip
    return figure


def _picked(table: ScoreTable, rows: npt.ArrayLike | None, count: int) -> npt.NDArray[np.int64]:
    """Return the rows of a contact sheet."""
    if rows is None:
        if "rank" in table.rows.column_names:
            return np.arange(min(count, len(table)))
        return np.argsort(table.numbers("score"), kind="stable")[:count]
    picked = as_numpy(rows).ravel()
    if picked.size == 0:
        return np.empty(0, np.int64)
    if picked.dtype.kind not in "iu" or picked.min() < 0 or picked.max() >= len(table):
        raise ValueError(f"rows must hold rows of the table, 0 to {len(table) - 1}, got {picked}")
    return picked.astype(np.int64)


def _draw_row(
    ax: Axes, row: dict[str, Any], skeleton: Skeleton, folder: Folder, max_size: int, expected: bool
) -> None:
    """Draw the person of a row of a table; raises NoPictureError where that cannot be."""
    from PIL import Image

    from vl4pose.report.pictures import NoPictureError, read_part, shown_part

    if row["error"] is not None or row["keypoints"] is None:
        raise NoPictureError(row["error"] or "the pose is not known")
    size = (row["width"], row["height"])
    both = (row["keypoints"], row["refined_keypoints"])
    poses = [np.array(points) for points in both if points is not None]
    part = shown_part(size, row["box"], poses)
    picture = read_part(row["image"], folder, size, part)
    shrunk = min(1.0, max_size / max(picture.size))
    width, height = (max(1, round(side * shrunk)) for side in picture.size)
    ratio = np.array([width / part[2], height / part[3]])  # its pixels to an image pixel
    on_picture = [(xy + 0.5 - np.array(part[:2])) * ratio - 0.5 for xy in poses]
    pose(
        picture.resize((width, height), Image.Resampling.LANCZOS),
        on_picture[0],
        skeleton,
        link_params=row["link_params"],
        heatmap_scale=np.array(row["heatmap_scale"]) * ratio,
        refined=on_picture[1] if len(on_picture) == 2 else None,
        expected=expected,
        num_labels=1,
        ax=ax,
    )


def _pyplot() -> Any:
    try:
        import matplotlib.pyplot as plt
    except ModuleNotFoundError as error:
        raise ImportError("vl4pose.plot needs matplotlib: pip install 'vl4pose[cli]'") from error
    return plt


def _axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    plt = _pyplot()
    return plt.subplots(figsize=size, layout="constrained")[1] if ax is None else ax


def _mask(selection: npt.ArrayLike, count: int) -> npt.NDArray[np.bool_]:
    chosen = as_numpy(selection)
    if chosen.dtype == np.bool_:
        if chosen.size != count:
            raise ValueError(f"selection must have one bool per score ({count}), got {chosen.size}")
        return chosen.ravel()
    mask = np.zeros(count, bool)
    if chosen.size:
        if chosen.dtype.kind not in "iu":
            got = chosen.dtype if chosen.ndim else type(selection).__name__
            raise TypeError(f"selection must hold indices or bools, got {got}")
        if chosen.min() < 0 or chosen.max() >= count:
            raise ValueError(f"selection must index scores 0 to {count - 1}, got {chosen}")
        mask[chosen.ravel()] = True
    return mask


def _show_image(ax: Axes, image: Any) -> None:
    if image is not None:
        pixels = np.asarray(image)
        ax.imshow(pixels, cmap="gray" if pixels.ndim == 2 else None)
    elif not ax.yaxis_inverted():
        ax.invert_yaxis()
        ax.set_aspect("equal")
    ax.set_axis_off()


def _draw_bones(
    ax: Axes,
    keypoints: FloatArray,
    skeleton: Skeleton,
    z: FloatArray,
    links: Sequence[int] | range,
    style: str,
) -> None:
    classes = drawing.z_class(z)
    for link in links:
        points = keypoints[list(skeleton.links[link])]
        if np.isnan(points).any():
            continue
        colour = drawing.NO_Z_COLOUR if classes[link] < 0 else drawing.Z_COLOURS[classes[link]]
        unusual = abs(z[link]) >= drawing.UNUSUAL_Z
        width = 3.2 if unusual else 2.0
        ax.plot(*points.T, color=colour, linewidth=width, linestyle=style,
                path_effects=_halo(width + 1.8), dash_capstyle="butt", zorder=3)  # fmt: skip


def _halo(width: float) -> list[Any]:
    from matplotlib.patheffects import Normal, Stroke

    return [Stroke(linewidth=width, foreground=drawing.HALO), Normal()]


def _heat_colours(*, opaque: bool) -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    stops = np.array(drawing.HEAT_COLOURS)
    if opaque:
        stops = stops[:, :3]
    return LinearSegmentedColormap.from_list("vl4pose_heat", stops.tolist())
