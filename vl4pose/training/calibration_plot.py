"""A picture of predicted against true bone lengths, and of how far the intervals hold."""

from __future__ import annotations

import io
import math
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from vl4pose._atomic_file import write_atomically
from vl4pose.skeleton import readable
from vl4pose.training.calibration import Calibration

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_calibration"]

_COLUMNS = 5
_PREDICTED, _CONSTANT = "#1f77b4", "#d62728"
_MOST_POINTS = 2000  # of a panel


def plot_calibration(calibration: Calibration, path: Path) -> None:
    """Draw predicted against true length for each link, and the coverage of all intervals.

    Parameters
    ----------
    calibration : Calibration
    path : Path
        A PNG; an existing one is replaced.
    """
    num_links = len(calibration.link_names)
    columns = min(_COLUMNS, num_links + 1)
    rows = math.ceil((num_links + 1) / columns)
    figure = Figure(figsize=(2.6 * columns, 2.7 * rows + 0.5), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for link in range(num_links):
        _draw_link(axes[link], calibration, link)
    _draw_coverage(axes[num_links], calibration)
    for unused in axes[num_links + 1 :]:
        unused.set_axis_off()
    overall, constant = calibration.predicted(), calibration.baseline()
    figure.suptitle(
        f"{calibration.count():,} bones of the validation set, in heatmap pixels: predicted length "
        "(across, with one standard deviation) and true length (up).\nDashed: the constant bone. "
        f"Negative log-likelihood {overall.nll:.3f}, of constant bones {constant.nll:.3f}",
        fontsize=10,
    )
    buffer = io.BytesIO()
    with matplotlib.rc_context({"savefig.dpi": 110}):
        figure.savefig(buffer, format="png", metadata={"Software": None})
    write_atomically(path, buffer.getvalue())


def _draw_link(axes: Axes, calibration: Calibration, link: int) -> None:
    true = calibration.lengths[:, link]
    visible = np.flatnonzero(np.isfinite(true))
    shown = visible[:: -(-len(visible) // _MOST_POINTS) or 1]
    predicted = calibration.params[shown, link, 0]
    deviation = np.exp(calibration.params[shown, link, 1] / 2)
    axes.errorbar(
        predicted,
        true[shown],
        xerr=deviation,
        fmt="o",
        markersize=2,
        linewidth=0.5,
        alpha=0.35,
        color=_PREDICTED,
    )
    longest = 1.05 * max([1.0, *true[shown], *(predicted + deviation)])
    axes.plot([0, longest], [0, longest], color="0.3", linewidth=0.8)
    axes.axvline(calibration.constant[link, 0], color=_CONSTANT, linewidth=1, linestyle="--")
    axes.set(xlim=(0, longest), ylim=(0, longest), aspect="equal")
    axes.set_title(readable(calibration.link_names[link]), fontsize=8)
    axes.tick_params(labelsize=7)


def _draw_coverage(axes: Axes, calibration: Calibration) -> None:
    shares = np.linspace(0.01, 0.99, 99)
    widths = np.array([NormalDist().inv_cdf((1 + share) / 2) for share in shares])
    axes.plot([0, 1], [0, 1], color="0.3", linewidth=0.8)
    for name, params, colour, style in (
        ("predicted", calibration.params, _PREDICTED, "-"),
        ("constant", calibration.constant, _CONSTANT, "--"),
    ):
        scaled = np.abs(calibration.lengths - params[..., 0]) * np.exp(-params[..., 1] / 2)
        inside = np.sort(scaled[np.isfinite(scaled)])
        covered = np.searchsorted(inside, widths, side="right") / len(inside)
        axes.plot(shares, covered, color=colour, linestyle=style, label=name)
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.set_title(
        "share of bones inside an interval,\nby the share that it should hold", fontsize=8
    )
    axes.legend(fontsize=7, loc="upper left", frameon=False)
    axes.tick_params(labelsize=7)
