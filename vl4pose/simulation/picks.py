"""What strategies chose first: where it lies in the pool, and how it looks.

After the first cycle all strategies of a seed have seen the same pool through the same network, so
that their picks can be laid side by side. Both figures are made of a simulation's folder; they need
matplotlib, which ``pip install 'vl4pose[cli]'`` brings.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vl4pose._atomic_file import write_atomically
from vl4pose._options import integer
from vl4pose.image_transform import ImageTransform, Placement
from vl4pose.simulation.records import CycleRecord, read_records
from vl4pose.simulation.start import Start, read_start, start_seeds
from vl4pose.skeleton import Skeleton, get_skeleton, nearest

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from vl4pose.training.dataset import PoseDataset

__all__ = ["draw_contact_sheet", "draw_picks", "write_picks"]

FloatArray = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

_INK, _PALE, _START, _PICK = "#1d2530", "#c9d0d8", "#54606e", "#0a52c4"
_PREDICTED, _TRUE = "#ff2d78", "#ffffff"
_NUM_PICTURES = 15
_COLUMNS = 5  # of a contact sheet
_PANELS = 4  # of a row of small multiples at most


@dataclass(frozen=True)
class _Picks:
    """The first choice of each strategy, of one seed."""

    seed: int
    start: Start
    selected: dict[str, Indices]
    titles: dict[str, str]


def write_picks(
    folder: str | os.PathLike[str],
    dataset: PoseDataset,
    skeleton: Skeleton | str,
    transform: ImageTransform,
    heatmap_size: tuple[int, int],
    *,
    seed: int | None = None,
    titles: Mapping[str, str] | None = None,
    num_pictures: int = _NUM_PICTURES,
) -> list[Path]:
    """Write ``picks.png`` and ``picks/STRATEGY.png`` into a simulation's folder.

    Parameters
    ----------
    folder : path
    dataset : PoseDataset
        The training set, by whose indices the records go.
    skeleton : Skeleton or str
        Or the name of a preset.
    transform : ImageTransform
        What the dataset's images were made with.
    heatmap_size : (int, int)
        (width, height) of the heatmaps.
    seed : int, optional
        By default the first that is there.
    titles : mapping of str to str, optional
        The strategies to show, in this order, and what they are called. By default all there are.
    num_pictures : int, default 15
        On a contact sheet at most.

    Returns
    -------
    paths : list of Path
        None where nothing has been chosen after a first cycle: of simulations of one. Without
        ``picks.png`` where the network has no features, and images no embeddings.

    Raises
    ------
    ImportError
        ``vl4pose.simulation.picks needs matplotlib: pip install 'vl4pose[cli]'``.
    ValueError
        As `draw_picks` and `draw_contact_sheet`.
    """
    if seed is None and not _seeds(folder):
        return []
    picks = _read_picks(folder, seed, titles)
    errors = _errors(picks, dataset)
    paths = []
    if _known(picks.start.embeddings).any():
        paths.append(Path(folder) / "picks.png")
        _save(paths[0], _scatter_figure(picks, num_pictures), dpi=150)
    (Path(folder) / "picks").mkdir(exist_ok=True)
    for name in picks.selected:
        paths.append(Path(folder) / "picks" / f"{name}.png")
        sheet = _sheet(
            picks, name, dataset, errors, _as_skeleton(skeleton), transform, heatmap_size,
            num_pictures,
        )  # fmt: skip
        _save(paths[-1], sheet, dpi=130)
    return paths


def draw_picks(
    folder: str | os.PathLike[str],
    *,
    seed: int | None = None,
    titles: Mapping[str, str] | None = None,
    num_ringed: int = _NUM_PICTURES,
) -> Figure:
    """Draw the training set in two dimensions, once for each strategy, with its first picks.

    Parameters
    ----------
    folder : path
        Of a simulation.
    seed, titles
        As for `write_picks`.
    num_ringed : int, default 15
        How many of the picks, the most urgent ones, have a ring: those on the contact sheet.

    Returns
    -------
    figure : matplotlib Figure

    Raises
    ------
    ImportError
        ``vl4pose.simulation.picks needs matplotlib: pip install 'vl4pose[cli]'``.
    ValueError
        ``folder must hold ...``, ``seed must be one of ...``, ``titles must name ...``,
        ``embeddings must be finite for an image ...``.

    Notes
    -----
    The two dimensions are the first two principal components of all embeddings: the plane in which
    they lie farthest apart, by the distances that Core-Set looks at too. Unlike t-SNE and UMAP a
    projection is the same each time, depends on no setting, and lets distances mean something; but
    it shows only the share of the variance that is written at its axes. That is why each panel also
    has a number that looks at all dimensions, the *spread*: the root mean square of the distances
    of the picks from their mean, divided by that of the pool. Random picks have 1, picks that lie
    together less.
    """
    return _scatter_figure(_read_picks(folder, seed, titles), integer(num_ringed, "num_ringed", 0))


def draw_contact_sheet(
    folder: str | os.PathLike[str],
    strategy: str,
    dataset: PoseDataset,
    skeleton: Skeleton | str,
    transform: ImageTransform,
    heatmap_size: tuple[int, int],
    *,
    seed: int | None = None,
    title: str | None = None,
    num_pictures: int = _NUM_PICTURES,
) -> Figure:
    """Draw the images that a strategy chose first, with the pose that it went by and the true one.

    Parameters
    ----------
    folder : path
        Of a simulation.
    strategy : str
    dataset, skeleton, transform, heatmap_size, seed
        As for `write_picks`.
    title : str, optional
        What the strategy is called.
    num_pictures : int, default 15

    Returns
    -------
    figure : matplotlib Figure
        Above each picture are its rank, its index in the training set and the mean distance of the
        predicted joints from those that are annotated, in heatmap pixels.

    Raises
    ------
    ImportError
        ``vl4pose.simulation.picks needs matplotlib: pip install 'vl4pose[cli]'``.
    ValueError
        ``folder must hold ...``, ``seed must be one of ...``, ``strategy must be ...``,
        ``dataset must hold ...``, ``skeleton must have ... joints``.
    """
    picks = _read_picks(folder, seed, None)
    if strategy not in picks.selected:
        raise ValueError(f"strategy must be {nearest(strategy, picks.selected)}, got {strategy!r}")
    if title is not None:
        picks.titles[strategy] = title
    return _sheet(
        picks, strategy, dataset, _errors(picks, dataset), _as_skeleton(skeleton), transform,
        heatmap_size, integer(num_pictures, "num_pictures", 1),
    )  # fmt: skip


def _as_skeleton(skeleton: Skeleton | str) -> Skeleton:
    return get_skeleton(skeleton) if isinstance(skeleton, str) else skeleton


def _first_records(folder: str | os.PathLike[str]) -> list[CycleRecord]:
    """Return the records of cycle 0 that chose something."""
    return [record for record in read_records(folder) if record.cycle == 0 and record.selected]


def _seeds(folder: str | os.PathLike[str]) -> list[int]:
    """Return the seeds whose picks can be shown."""
    return sorted({r.seed for r in _first_records(folder)}.intersection(start_seeds(folder)))


def _read_picks(
    folder: str | os.PathLike[str], seed: int | None, titles: Mapping[str, str] | None
) -> _Picks:
    """Return what the strategies chose after cycle 0."""
    seeds = _seeds(folder)
    if not seeds:
        raise ValueError(f"folder must hold a cycle after which images were chosen, got '{folder}'")
    if seed is not None and seed not in seeds:
        raise ValueError(f"seed must be one of {', '.join(map(str, seeds))}, got {seed}")
    seed = seeds[0] if seed is None else seed
    of_seed = {
        record.strategy: np.array(record.selected, np.int64)
        for record in _first_records(folder)
        if record.seed == seed
    }
    if titles is None:
        titles = {name: name for name in of_seed}
    for name in titles:
        if name not in of_seed:
            raise ValueError(f"titles must name {nearest(name, of_seed)}, got {name!r}")
    start = read_start(folder, seed)
    return _Picks(seed, start, {name: of_seed[name] for name in titles}, dict(titles))


def _errors(picks: _Picks, dataset: PoseDataset) -> FloatArray:
    """Return (N,): mean distance of the predicted from the annotated joints, heatmap pixels."""
    from vl4pose.training.dataset import annotations_of

    if len(dataset) != len(picks.start.labelled):
        raise ValueError(
            f"dataset must hold the training set's {len(picks.start.labelled)} images, "
            f"got {len(dataset)}"
        )
    keypoints, visible = (values.numpy() for values in annotations_of(dataset))
    distances = np.linalg.norm(picks.start.keypoints - keypoints, axis=2).astype(np.float64)
    count = visible.sum(axis=1)
    total = np.where(visible, distances, 0.0).sum(axis=1)
    errors = np.full(len(total), np.nan)
    np.divide(total, count, out=errors, where=count > 0)
    return errors


def _scatter_figure(picks: _Picks, num_ringed: int) -> Figure:
    points, shares = _principal_plane(picks.start.embeddings)
    known = np.isfinite(points[:, 0])
    labelled = picks.start.labelled
    lowest, highest = np.nanmin(points, axis=0), np.nanmax(points, axis=0)
    middle, half = (lowest + highest) / 2, np.maximum((highest - lowest) / 2, 1e-9)
    half = 1.06 * np.maximum(half, half[0] * np.array([1.0, 0.5]))  # no panel is a mere strip
    rows = -(-(1 + len(picks.selected)) // _PANELS)
    columns = -(-(1 + len(picks.selected)) // rows)
    aspect = min(float(half[1] / half[0]), 1.5)
    figure = _new_figure((3.1 * columns, (3.1 * aspect + 0.6) * rows + 0.5))
    grid = figure.subplots(rows, columns, squeeze=False)
    for ax in grid.ravel():
        ax.set_xlim(middle[0] - half[0], middle[0] + half[0])
        ax.set_ylim(middle[1] - half[1], middle[1] + half[1])
        ax.set_aspect("equal")
        ax.set_xticks([])
        ax.set_yticks([])
        ax.spines[:].set_color(_PALE)
        ax.set_visible(False)
    panels = iter(grid.ravel())
    dot = float(np.clip(4000 / max(known.sum(), 1), 1.0, 14))

    def panel(title: str) -> Axes:
        ax: Axes = next(panels)
        ax.set_visible(True)
        ax.set_title(title, fontsize=11, parse_math=False)
        return ax

    def scatter(ax: Axes, which: npt.NDArray[Any], size: float, colour: str, label: str) -> None:
        x, y = points[which].T
        ax.scatter(x, y, s=size, color=colour, linewidths=0, label=label)

    ax = panel("what there is")
    scatter(ax, ~labelled, dot, _PALE, f"pool, {(~labelled).sum():,}")
    scatter(ax, labelled, dot, _START, f"start set, {labelled.sum():,}")
    ax.legend(loc="upper right", fontsize=8, markerscale=14 / dot**0.5 / 4, handletextpad=0.1,
              facecolor="white", edgecolor="none", framealpha=0.8, borderpad=0.2)  # fmt: skip
    ax.set_xlabel(f"1st principal component, {shares[0]:.0%} of the variance", fontsize=8)
    ax.set_ylabel(f"2nd, {shares[1]:.0%}", fontsize=8)
    whole = _spread(picks.start.embeddings[~labelled])
    for name, chosen in picks.selected.items():
        ax = panel(picks.titles[name])
        scatter(ax, known, dot, _PALE, "all")
        scatter(ax, chosen, float(np.clip(2500 / len(chosen), 2.5, 18)), _PICK, "picks")
        x, y = points[chosen[:num_ringed]].T
        ax.scatter(x, y, s=34, facecolors="none", edgecolors=_INK, linewidths=0.9, label="first")
        spread = _spread(picks.start.embeddings[chosen]) / whole if whole > 0 else np.nan
        ax.set_xlabel(f"{len(chosen):,} picks, spread {spread:.2f}", fontsize=8)
    said = f"What was chosen first: after the first cycle, seed {picks.seed}"
    if num_ringed:
        said += f"; rings: the first {num_ringed}"
    if not known.all():
        said += f"; {(~known).sum():,} images without an embedding are left out"
    figure.suptitle(said, fontsize=11)
    return figure


def _principal_plane(embeddings: npt.NDArray[np.float32]) -> tuple[FloatArray, FloatArray]:
    """Return (N, 2): principal components, NaN of what has no embedding; and their shares (2,)."""
    known = _known(embeddings)
    if not known.any():
        raise ValueError(f"embeddings must be finite for an image, got none of {len(known)}")
    centred = embeddings[known].astype(np.float64)
    centred -= centred.mean(axis=0)
    variances, axes = np.linalg.eigh(centred.T @ centred)  # rising
    axes = axes[:, :-3:-1]
    # A component may point either way: the one along which its largest weight is positive.
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    points = np.full((len(known), 2), np.nan)
    points[known] = 0.0
    points[known, : axes.shape[1]] = centred @ axes
    shares = np.zeros(2)
    total = variances.sum()
    if total > 0:
        shares[: axes.shape[1]] = variances[:-3:-1] / total
    return points, shares


def _known(embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    return np.asarray(np.isfinite(embeddings).all(axis=1))


def _spread(embeddings: npt.NDArray[np.float32]) -> float:
    """Return the root mean square of the distances from the mean."""
    known = embeddings[_known(embeddings)].astype(np.float64)
    if len(known) == 0:
        return float("nan")
    return float(np.sqrt(np.square(known - known.mean(axis=0)).sum(axis=1).mean()))


def _sheet(
    picks: _Picks,
    name: str,
    dataset: PoseDataset,
    errors: FloatArray,
    skeleton: Skeleton,
    transform: ImageTransform,
    heatmap_size: tuple[int, int],
    num_pictures: int,
) -> Figure:
    if picks.start.keypoints.shape[1] != skeleton.num_joints:
        raise ValueError(
            f"skeleton must have {picks.start.keypoints.shape[1]} joints, got {skeleton.name!r} "
            f"with {skeleton.num_joints}"
        )
    from matplotlib.lines import Line2D

    chosen = picks.selected[name]
    shown = chosen[:num_pictures]
    columns = min(_COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    figure = _new_figure((2.4 * max(columns, 4), 2.65 * rows + 1.0))
    grid = figure.subplots(rows, columns, squeeze=False)
    for ax in grid.ravel():
        ax.set_axis_off()
    for rank, (ax, index) in enumerate(zip(grid.ravel(), shown, strict=False), 1):
        image, keypoints, visible = dataset[int(index)]
        true = np.where(visible.numpy()[:, None], keypoints.numpy(), np.nan)
        ax.imshow(_pixels(image.numpy(), transform), interpolation="lanczos")
        for pose, colour, width in (
            (true, _TRUE, 3.4), (picks.start.keypoints[index], _PREDICTED, 1.6),
        ):  # fmt: skip
            _draw_pose(ax, _on_input(pose, transform, heatmap_size), skeleton, colour, width)
        height, width = image.shape[1:]
        ax.set_xlim(-0.5, width - 0.5)
        ax.set_ylim(height - 0.5, -0.5)
        ax.set_title(f"{rank}: image {index}, {errors[index]:.1f} px", fontsize=8)
    figure.suptitle(
        f"{picks.titles[name]}: the first {len(shown)} of {len(chosen):,} picks after the first "
        f"cycle, seed {picks.seed}\nmean distance from the true joints, heatmap pixels: picks "
        f"{_mean(errors[chosen]):.1f}, all of the pool {_mean(errors[~picks.start.labelled]):.1f}",
        fontsize=10,
        parse_math=False,
    )
    handles = [
        Line2D([], [], color=_PREDICTED, linewidth=2.2, label="as predicted",
               path_effects=_outline(2.2)),
        Line2D([], [], color=_TRUE, linewidth=3.4, label="as annotated",
               path_effects=_outline(3.4)),
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def _mean(values: FloatArray) -> float:
    """Return the mean of what is known."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _draw_pose(
    ax: Axes, keypoints: FloatArray, skeleton: Skeleton, colour: str, width: float
) -> None:
    for link in skeleton.links:
        ax.plot(*keypoints[list(link)].T, color=colour, linewidth=width,
                path_effects=_outline(width), solid_capstyle="round")  # fmt: skip
    ax.plot(*keypoints.T, "o", color=colour, markersize=width + 0.6, markeredgecolor=_INK,
            markeredgewidth=0.5)  # fmt: skip


def _on_input(
    keypoints: npt.NDArray[Any], transform: ImageTransform, heatmap_size: tuple[int, int]
) -> FloatArray:
    """Return pixels of the network's input for heatmap pixels."""
    width, height = transform.input_size
    whole = Placement((0.0, 0.0, float(width), float(height)), (0, 0, width, height))
    return transform.heatmap_to_image(keypoints, heatmap_size, whole)


def _pixels(image: npt.NDArray[Any], transform: ImageTransform) -> npt.NDArray[np.float64]:
    """Return (H, W, 3) from 0 to 1 for network input (3, H, W), or for what becomes it if uint8."""
    if image.dtype == np.uint8:
        return np.asarray(image.transpose(1, 2, 0) / 255.0)
    mean, std = (np.reshape(value, (-1, 1, 1)) for value in (transform.mean, transform.std))
    values = (image.astype(np.float64) * std + mean) * (transform.scale / 255.0)
    clipped: FloatArray = np.clip(values, 0.0, 1.0)
    return clipped.transpose(1, 2, 0)


def _outline(width: float) -> list[Any]:
    from matplotlib.patheffects import Normal, Stroke

    return [Stroke(linewidth=width + 1.2, foreground=_INK), Normal()]


def _new_figure(size: tuple[float, float]) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ImportError(
            "vl4pose.simulation.picks needs matplotlib: pip install 'vl4pose[cli]'"
        ) from error
    return Figure(figsize=size, layout="constrained", facecolor="white")


def _save(path: Path, figure: Figure, dpi: int) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    write_atomically(path, buffer.getvalue())
