"""The curves of a simulation: what is drawn of them, and curves.png."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vl4pose.simulation.statistics import Comparison, MetricSummary, Summary
from vl4pose.simulation.verdicts import Scale, scale_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "BASELINE_MARKER",
    "COLOURS",
    "MARKERS",
    "Curve",
    "Style",
    "banded_of",
    "curves_of",
    "curves_png",
    "draw_curves",
    "label_ticks",
    "panel_title",
    "panels_of",
    "spread",
    "styles_of",
    "value_range",
]

# Okabe and Ito's, which the common kinds of colour blindness tell apart, darkened to a contrast of
# at least 4.5 to 1 on white; on dark grounds others of the same hues, in simulation.css.
COLOURS = ("#0a52c4", "#b84300", "#00775a", "#a8397a", "#806000", "#0f7186")
MARKERS = ("square", "triangle", "diamond", "cross", "turned triangle")
BASELINE_MARKER = "circle"
_OF_MATPLOTLIB = {
    "circle": "o",
    "square": "s",
    "triangle": "^",
    "diamond": "D",
    "cross": "X",
    "turned triangle": "v",
}
_INK, _QUIET, _FAINT = "#1a1f25", "#525c66", "#c3c9cf"
_COLUMNS = 4  # of small panels


class Style(NamedTuple):
    """How a strategy's curve looks: by colour and marker, so that colour is never alone.

    Attributes
    ----------
    colour : int or None
        Index into ``COLOURS``; None is ink, the baseline's.
    marker : str
        One of ``MARKERS``, or ``BASELINE_MARKER``.
    """

    colour: int | None
    marker: str


@dataclass(frozen=True)
class Curve:
    """A strategy's accuracy by labels, with the interval of its mean over seeds.

    Attributes
    ----------
    strategy, title : str
    style : Style
    num_labels : tuple of int
        Of the cycles that any seed has reached.
    mean, std, low, high : tuple of float
        NaN where there is none.
    num_seeds : tuple of int
    """

    strategy: str
    title: str
    style: Style
    num_labels: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    num_seeds: tuple[int, ...]


def styles_of(summary: Summary) -> dict[str, Style]:
    """Return how each strategy looks, in every figure the same."""
    others = [name for name in summary.strategies if name != summary.baseline]
    styles = {
        name: Style(i % len(COLOURS), MARKERS[(i + i // len(COLOURS)) % len(MARKERS)])
        for i, name in enumerate(others)
    }
    if summary.baseline is not None:
        styles[summary.baseline] = Style(None, BASELINE_MARKER)
    return styles


def curves_of(summary: Summary, metric: MetricSummary) -> list[Curve]:
    """Return the curves of a metric, of the strategies that have any."""
    styles = styles_of(summary)
    curves = []
    for name in summary.strategies:
        points = [
            (labels, of)
            for labels, of in zip(summary.num_labels, metric.estimates[name], strict=True)
            if of.num_seeds
        ]
        if points:
            labels, several = zip(*points, strict=True)
            columns = {
                field: tuple(getattr(of, field) for of in several)
                for field in ("mean", "std", "low", "high", "num_seeds")
            }
            curves.append(Curve(name, summary.titles[name], styles[name], labels, **columns))
    return curves


def panels_of(summary: Summary, curves: Sequence[Curve]) -> list[Curve]:
    """Return the curves that have a panel of their own, beside the baseline's: of two cycles."""
    if summary.baseline is None or len(summary.num_labels) < 2:
        return []
    return [curve for curve in curves if curve.strategy != summary.baseline]


def banded_of(summary: Summary, curves: Sequence[Curve], with_panels: bool) -> list[Curve]:
    """Return whose bands are drawn where all curves are: several would hide each other.

    Where each strategy has a panel with both bands, it is the baseline's alone.
    """
    return [curve for curve in curves if not with_panels or curve.strategy == summary.baseline]


def value_range(curves: Sequence[Curve], banded: Sequence[Curve] = ()) -> tuple[float, float]:
    """Return the lowest and highest value of curves, and of the bands of some of them.

    Bands of few seeds are huge, and those that reach much farther than others are cut.
    """
    means = [value for curve in curves for value in curve.mean]
    low, high = min(means), max(means)
    bands = [
        (bottom, top)
        for curve in banded
        for bottom, top in zip(curve.low, curve.high, strict=True)
        if not math.isnan(bottom)
    ]
    if bands:
        half = float(np.median([(top - bottom) / 2 for bottom, top in bands]))
        room = max(high - low, 1.2 * half)
        lowest, highest = min(bottom for bottom, _ in bands), max(top for _, top in bands)
        low, high = max(min(low, lowest), low - room), min(max(high, highest), high + room)
    margin = 0.05 * (high - low)
    if margin <= 1e-6 * abs(high):  # all the same, but for rounding
        margin = 0.01 * abs(high) or 1.0
    return low - margin, high + margin


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Return places near the given ones, at least ``gap`` apart and between ``low`` and ``high``.

    Where there is no room for all, they are as far apart as there is.
    """
    if not places:
        return []
    gap = min(gap, (high - low) / max(len(places) - 1, 1))
    order = np.argsort(places, kind="stable")
    wanted = np.asarray(places, np.float64)[order] - gap * np.arange(len(places))
    # The nearest growing sequence, by pooling what violates it: shifted by the gaps, these are it.
    blocks: list[list[float]] = []
    for value in wanted:
        blocks.append([float(value)])
        while len(blocks) > 1 and np.mean(blocks[-2]) > np.mean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    level = np.concatenate([[np.mean(block)] * len(block) for block in blocks])
    level = np.clip(level, low, max(low, high - gap * (len(places) - 1)))
    placed = np.empty(len(places))
    placed[order] = level + gap * np.arange(len(places))
    return [float(place) for place in placed]


def panel_title(comparison: Comparison | None, scale: Scale) -> str:
    """Return what stands beside a strategy's name over its own panel."""
    if comparison is None or not comparison.curve.num_seeds:
        return ""
    curve = comparison.curve
    text = scale.difference(curve.mean)
    interval = scale.interval(curve.low, curve.high)
    return text if interval == "-" else f"{text} ({interval})"


def draw_curves(summary: Summary, metric: MetricSummary | None = None) -> Figure:
    """Draw the curves of a simulation: all together, and each beside the baseline's with bands.

    Parameters
    ----------
    summary : Summary
    metric : MetricSummary, optional
        By default the first.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    ImportError
        ``vl4pose.simulation.curves needs matplotlib: pip install 'vl4pose[cli]'``.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ImportError(
            "vl4pose.simulation.curves needs matplotlib: pip install 'vl4pose[cli]'"
        ) from error
    metric = summary.metrics[0] if metric is None else metric
    scale = scale_of(metric)
    curves = curves_of(summary, metric)
    panels = panels_of(summary, curves)
    columns = min(max(len(panels), 2), _COLUMNS)
    lines, top = -(-len(panels) // columns), max(4.6, 0.3 * len(curves))
    figure = Figure(figsize=(11.0, top + 2.5 * lines), layout="constrained")
    grid = figure.add_gridspec(1 + lines, columns, height_ratios=[top, *[2.5] * lines])
    _draw_all(figure.add_subplot(grid[0, :]), curves, bool(panels), metric, summary, scale)
    compared = {one.strategy: one for one in metric.comparisons}
    limits = [scale.factor * end for end in value_range(curves, curves)] if curves else []
    for index, curve in enumerate(panels):
        ax = figure.add_subplot(grid[1 + index // columns, index % columns])
        for other in curves:
            if other.strategy not in (curve.strategy, summary.baseline):
                ax.plot(other.num_labels, _scaled(other.mean, scale), color=_FAINT, linewidth=0.8)
        for one in curves:
            if one.strategy == summary.baseline:
                _draw_curve(ax, one, scale, bands=True)
        _draw_curve(ax, curve, scale, bands=True)
        ax.set_ylim(*limits)
        ax.set_title(curve.title, fontsize=10, loc="left", parse_math=False,
                     color=_colour(curve.style))  # fmt: skip
        said = panel_title(compared.get(curve.strategy), scale)
        ax.text(0.97, 0.04, said, transform=ax.transAxes, ha="right", fontsize=8, color=_QUIET)
        _quiet_axes(ax, metric, scale, summary, labelled=index % columns == 0)
    return figure


def curves_png(summary: Summary) -> bytes:
    """Return `draw_curves` of the first metric as a PNG."""
    buffer = io.BytesIO()
    draw_curves(summary).savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()


def _draw_all(
    ax: Axes,
    curves: Sequence[Curve],
    with_panels: bool,
    metric: MetricSummary,
    summary: Summary,
    scale: Scale,
) -> None:
    banded = banded_of(summary, curves, with_panels)
    for curve in curves:
        _draw_curve(ax, curve, scale, bands=curve in banded)
    level = f"{100 * summary.level:g} %"
    of = f"{len(summary.seeds)} seeds" if len(summary.seeds) > 1 else "one seed"
    said = f"{metric.metric}, mean of {of}"
    if with_panels and summary.baseline is not None:
        baseline = summary.titles[summary.baseline]
        said += f"; bands: {level} intervals; below, beside {baseline}, with paired differences"
    ax.set_title(said, fontsize=10, loc="left", parse_math=False)
    _quiet_axes(ax, metric, scale, summary, labelled=True)
    if not curves:
        return
    ax.set_ylim(*(scale.factor * end for end in value_range(curves, banded)))
    low, high = ax.get_ylim()
    left, right = ax.get_xlim()
    ends = [(scale.factor * curve.mean[-1] - low) / (high - low) for curve in curves]
    height = 0.19 / max(4.6, 0.3 * len(curves)) * 1.15  # of a line of text, in axes
    for curve, end, place in zip(curves, ends, spread(ends, height, 0.0, 1.0), strict=True):
        across = (curve.num_labels[-1] - left) / (right - left)
        ax.plot([across + 0.006, 1.0, 1.012], [end, place, place], color=_FAINT, linewidth=0.8,
                transform=ax.transAxes, clip_on=False)  # fmt: skip
        ax.text(1.016, place, curve.title, transform=ax.transAxes, va="center", fontsize=9,
                color=_colour(curve.style), parse_math=False)  # fmt: skip


def _draw_curve(ax: Axes, curve: Curve, scale: Scale, *, bands: bool) -> None:
    colour = _colour(curve.style)
    labels, mean = curve.num_labels, _scaled(curve.mean, scale)
    if bands:
        low, high = _scaled(curve.low, scale), _scaled(curve.high, scale)
        ax.fill_between(labels, low, high, color=colour, alpha=0.16, linewidth=0)
    ax.plot(labels, mean, color=colour, linewidth=1.8, markersize=5,
            linestyle="--" if curve.style.colour is None else "-",
            marker=_OF_MATPLOTLIB[curve.style.marker])  # fmt: skip


def _quiet_axes(
    ax: Axes, metric: MetricSummary, scale: Scale, summary: Summary, *, labelled: bool
) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=8, color=_QUIET, labelcolor=_QUIET)
    ax.grid(axis="y", color="#e4e7ea", linewidth=0.8)
    ax.set_axisbelow(True)
    ax.locator_params(axis="y", nbins=6)
    ticks = label_ticks(summary.num_labels)
    ax.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    ax.set_xlabel("labels", fontsize=8, color=_QUIET)
    if labelled:
        unit = scale.unit.strip()
        text = f"{metric.metric}{f', {unit}' * bool(unit)}"
        ax.set_ylabel(text, fontsize=8, color=_QUIET, parse_math=False)


def label_ticks(num_labels: Sequence[int], most: int = 5) -> list[int]:
    """Return which numbers of labels stand at an axis: first, last, and evenly some between."""
    step = max(1, math.ceil((len(num_labels) - 1) / (most - 1)))
    ticks = list(num_labels[::-1][::step])[::-1]
    return ticks if ticks[0] == num_labels[0] or len(ticks) == most else [num_labels[0], *ticks]


def _scaled(values: Sequence[float], scale: Scale) -> Any:
    return scale.factor * np.asarray(values)


def _colour(style: Style) -> str:
    return _INK if style.colour is None else COLOURS[style.colour]
