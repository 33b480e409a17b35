"""``python -m vl4pose``: score and refine synthetic heatmaps, print the result, draw a figure."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import vl4pose

FIGURE = Path("vl4pose-demo.png")
SIZE = 64  # pixels of a square heatmap
SPREAD = 1.75  # standard deviation of a heatmap's bump, pixels
# A standing figure, (x, y) in heatmap pixels, in the joint order of the skeleton "lsp".
STANDING = np.array(
    [
        (32, 8), (32, 15), (38, 17), (43, 25), (45, 33), (26, 17), (21, 25), (19, 33),
        (36, 34), (37, 44), (37, 54), (28, 34), (27, 44), (27, 54),
    ],
    dtype=np.float64,
)  # fmt: skip


def bumps(points: NDArray[np.float64], height: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return one map per point (x, y), a Gaussian of the given height, (J, SIZE, SIZE)."""
    y, x = np.mgrid[:SIZE, :SIZE]
    squared = (x - points[:, 0, None, None]) ** 2 + (y - points[:, 1, None, None]) ** 2
    maps: NDArray[np.float64] = height[:, None, None] * np.exp(-squared / (2 * SPREAD**2))
    return maps


def synthetic_images(rng: np.random.Generator) -> tuple[list[str], NDArray[np.float32]]:
    """Return a few kinds of image by name and their heatmaps (B, 14, SIZE, SIZE)."""
    names, heatmaps = [], []
    for name in ("clear pose", "clear pose", "distracted wrist", "distracted knee",
                 "stretched arm", "scattered joints"):  # fmt: skip
        pose = STANDING + rng.normal(0, 0.7, STANDING.shape)
        height = rng.uniform(6, 9, len(pose))
        if name == "stretched arm":
            pose[4] += (14, 22)
        elif name == "scattered joints":
            pose = rng.uniform(6, SIZE - 6, pose.shape)
        maps = bumps(pose, height)
        if name.startswith("distracted"):
            joint = 4 if name.endswith("wrist") else 12
            other = np.array([[10.0, 52.0]])
            maps[joint] += bumps(other, height[joint : joint + 1] + 0.5)[0]
        names.append(name)
        heatmaps.append(maps + rng.normal(0, 0.05, maps.shape))
    return names, np.asarray(heatmaps, dtype=np.float32)


def draw(
    names: list[str],
    heatmaps: NDArray[np.float32],
    analysis: vl4pose.Analysis[Any],
    skeleton: vl4pose.Skeleton,
) -> None:
    """Draw each image's heatmaps with its raw and its refined pose into ``FIGURE``."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6.6), layout="constrained")
    figure.suptitle("Expected log-likelihood of each pose: the lowest is worth a label first")
    for panel, b in zip(figure.subplots(2, 3).flat, np.argsort(analysis.score), strict=True):
        panel.imshow(heatmaps[b].max(axis=0), cmap="gray", vmin=0, vmax=16)
        for parent, child in skeleton.links:
            raw = analysis.keypoints[b][[parent, child]]
            refined = analysis.refined.keypoints[b][[parent, child]]
            panel.plot(*refined.T, color="tab:blue", linewidth=3.5, solid_capstyle="round")
            panel.plot(*raw.T, color="yellow", linewidth=1.2)
        panel.set_title(f"{names[b]}: {analysis.score[b]:.0f}", fontsize=10)
        panel.set_xticks([])
        panel.set_yticks([])
    panel.plot([], [], color="yellow", linewidth=1.2, label="highest peaks")
    panel.plot([], [], color="tab:blue", linewidth=3.5, label="refined")
    figure.legend(*panel.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    figure.savefig(FIGURE, dpi=110)


def main() -> None:
    """Run the whole of it."""
    if len(sys.argv) > 1:
        sys.exit(
            "python -m vl4pose takes no arguments; the command line is 'vl4pose', see its help"
        )
    rng = np.random.default_rng(0)
    skeleton = vl4pose.get_skeleton("lsp")
    annotated = STANDING + rng.normal(0, 0.7, (200, *STANDING.shape))
    params = vl4pose.fit_params(annotated, None, skeleton)
    names, heatmaps = synthetic_images(rng)
    # The threshold keeps noise out of the choice of peaks.
    analysis = vl4pose.analyze(heatmaps, params, skeleton=skeleton, threshold_rel=0.2)

    print("The lowest score is worth a label first.")
    print(f"{'image':<18}{'score':>10}{'entropy':>9}  joints moved by refinement")
    for b in np.argsort(analysis.score):
        moved = [skeleton.joints[j] for j in np.flatnonzero(analysis.refined.changed[b])]
        print(
            f"{names[b]:<18}{analysis.score[b]:>10.1f}{analysis.entropy[b].sum():>9.2f}  "
            f"{', '.join(moved) or '-'}"
        )
    try:
        draw(names, heatmaps, analysis, skeleton)
    except ImportError:
        print("No figure: it needs matplotlib, pip install 'vl4pose[cli]'", file=sys.stderr)
    except OSError as error:
        sys.exit(f"cannot write {FIGURE}: {error.strerror}")
    else:
        print(f"Figure: {FIGURE}")


if __name__ == "__main__":
    main()
