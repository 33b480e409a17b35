"""``python -m bench.batch_sizes``: draw the time of an image against the size of its batch."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

try:
    import cv2
    import matplotlib as mpl
    import numpy as np
    import torch
    from matplotlib import pyplot as plt
    from matplotlib.axes import Axes
    from rich.console import Console

    from bench import competitors
    from bench.calls import (
        batches_in_cache,
        blocked_scores,
        check_score,
        compiled_torch,
        in_turn,
        limit,
        numpy_decode,
        ours,
        torch_decode,
    )
    from bench.cases import Case
    from bench.goals import COLUMNS
    from bench.machine import machine
    from bench.rounds import Call, fastest, interleaved
except ModuleNotFoundError as error:
    sys.exit(f"bench.batch_sizes: {error.name} is not installed: pip install -e '.[bench]'")

RESULTS = Path(__file__).with_name("results")
BATCHES = tuple(2**i for i in range(11))
SECONDS = 1.0  # of measuring, for each batch

NAME_RATIO = 1.42  # between the heights of two names, at least
NUMBERS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)  # beside the lines of the grid

OURS, LIMIT = "vl4pose.score", "reading the maps once"
COLORS = {
    "torch.compile of max_pool2d": "#8c564b",
    "OpenCV dilate + NumPy": "#1f77b4",
    "best compiled torch": "#7b4fa3",
    "torch flatten(2).max(-1) *": "#c77700",
    "NumPy argmax + max *": "#2b8a3e",
    OURS: "#c8102e",
    LIMIT: "#555555",
}


def main() -> None:
    """Measure, save and draw."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.batch_sizes", description=__doc__.partition(":")[2]
    )
    parser.add_argument("--redraw", action="store_true", help="draw what is saved already")
    arguments = parser.parse_args()
    saved, plot = RESULTS / "batch_sizes.json", RESULTS / "batch_sizes.png"
    if not arguments.redraw:
        saved.parent.mkdir(exist_ok=True)
        saved.write_text(json.dumps(measure(), indent=1) + "\n", encoding="utf-8")
    draw(json.loads(saved.read_text(encoding="utf-8")), plot)
    print(f"saved in {saved} and {plot}")


# ------------------------------------------------------------------------------------------------
# Measuring
# ------------------------------------------------------------------------------------------------


def measure(batches: Sequence[int] = BATCHES) -> dict[str, Any]:
    """Return everybody's time for each batch, as it is saved."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    start = time.perf_counter()
    panels = []
    with Console(stderr=True).status("measuring") as status:
        for case in COLUMNS:
            prepare = contestants(case)
            times = defaultdict(list)
            for batch in batches:
                status.update(f"measuring: {title(case)}, {batch} images")
                for name, row in timed(prepare, replace(case, batch=batch)).items():
                    times[name].append(row)
            panels.append({"title": title(case), "times": times})
    return {
        "panels": panels,
        "machine": machine(),
        "seconds": round(time.perf_counter() - start, 1),
    }


def title(case: Case) -> str:
    """Return the title of a case's panel."""
    peaks = "1 peak" if case.num_peaks == 1 else f"{case.num_peaks} peaks"
    return f"{peaks} a joint, min_distance {case.min_distance}"


def timed(
    prepare: Mapping[str, Callable[[Case, np.ndarray], Call]], case: Case
) -> dict[str, dict[str, float]]:
    """Return everybody's time for one batch."""
    batches = batches_in_cache(case)
    calls = {
        name: in_turn([make(case, maps) for maps in batches]) for name, make in prepare.items()
    }
    return {
        name: {
            "images": case.batch,
            "us_per_image": taken.median * 1e6 / case.batch,
            "spread": taken.spread,
            "rounds": taken.rounds,
        }
        for name, taken in interleaved(calls, SECONDS).items()
    }


def contestants(case: Case) -> dict[str, Callable[[Case, np.ndarray], Call]]:
    """Return, by name, what makes a call for a batch of any size."""
    blocked = blocked_scores(case)  # forgets everything that was compiled before

    def pooled(heatmaps: torch.Tensor, params: torch.Tensor) -> torch.Tensor:
        peaks = competitors.torch_separable_peaks(heatmaps, **case.peak_options)
        return competitors.score(*peaks, params, case.links, "expected")

    # torch compiles it for the first batch, and at the second one for all that follow.
    compiled = torch.compile(pooled, fullgraph=True)

    def max_pool2d(case: Case, maps: np.ndarray) -> Call:
        tensors = torch.from_numpy(maps), torch.from_numpy(case.params)
        with competitors.compiling():
            check_score(case, maps, compiled(*tensors))
        return lambda: compiled(*tensors)

    def opencv(case: Case, maps: np.ndarray) -> Call:
        def call() -> np.ndarray:
            peaks = competitors.opencv_peaks(maps, **case.peak_options)
            return competitors.score(*peaks, case.params, case.links, "expected")

        check_score(case, maps, call())
        return call

    return {
        "torch.compile of max_pool2d": max_pool2d,
        "OpenCV dilate + NumPy": opencv,
        "best compiled torch": lambda case, maps: compiled_torch(case, maps, blocked, fastest),
        "torch flatten(2).max(-1) *": lambda case, maps: torch_decode(maps),
        "NumPy argmax + max *": lambda case, maps: numpy_decode(maps),
        OURS: lambda case, maps: ours("score", case, maps),
        LIMIT: lambda case, maps: limit(maps, 1, fastest),
    }


# ------------------------------------------------------------------------------------------------
# Drawing
# ------------------------------------------------------------------------------------------------


def draw(data: Mapping[str, Any], path: Path) -> None:
    """Draw one panel for each choice of peaks, its lines named where they end."""
    mpl.use("agg")
    with plt.rc_context({"font.size": 10.5}):
        figure, panels = plt.subplots(1, len(data["panels"]), figsize=(12, 5.2), sharey=True)
        for axes, panel in zip(panels, data["panels"], strict=True):
            draw_panel(axes, panel)
        panels[0].set_yticks(NUMBERS, [f"{number:,}" for number in NUMBERS])
        figure.suptitle("Microseconds an image, on one thread", x=0.012, ha="left", weight="bold")
        subtitle = (
            f"16 joints, 64 x 64, float32; {data['machine']['cpu']}.   * decodes only: no score"
        )
        figure.text(0.012, 0.905, subtitle, color="#555555")
        figure.tight_layout(rect=(0, 0, 1, 0.94))
        figure.savefig(path, dpi=150)
        plt.close(figure)


def draw_panel(axes: Axes, panel: Mapping[str, Any]) -> None:
    """Draw the lines of one panel and write their names beside them."""
    axes.loglog()
    last = {}
    for name, rows in panel["times"].items():
        images = [row["images"] for row in rows]
        times = [row["us_per_image"] for row in rows]
        last[name] = times[-1]
        ours = name == OURS
        axes.plot(
            images,
            times,
            color=COLORS[name],
            linewidth=3 if ours else 1.5,
            linestyle="--" if name == LIMIT else "-",
            marker="o",
            markersize=6 if ours else 3.5,
            zorder=3 if ours else 2,
        )
    for name, height in apart(last).items():
        value = f"{last[name]:,.0f}" if last[name] >= 100 else f"{last[name]:.3g}"
        axes.annotate(
            f"{name}  {value}",
            (images[-1], height),
            xytext=(9, 0),
            textcoords="offset points",
            color=COLORS[name],
            va="center",
            weight="bold" if name == OURS else "normal",
        )
    axes.set_xticks(images[::2], [str(n) for n in images[::2]])
    axes.minorticks_off()
    axes.grid(color="#e4e4e4", linewidth=0.8)
    axes.tick_params(length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_xlabel("images in a batch")
    axes.set_title(panel["title"], loc="left", size=10.5)


def apart(heights: Mapping[str, float]) -> dict[str, float]:
    """Return heights, from the lowest up, moved up where one would be too close to the last."""
    moved: dict[str, float] = {}
    last = 0.0
    for name in sorted(heights, key=heights.__getitem__):
        last = moved[name] = max(heights[name], last * NAME_RATIO)
    return moved


if __name__ == "__main__":
    main()
