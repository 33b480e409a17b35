"""Tables of scores made of drawn heatmaps, for tests of what reads such tables."""

from __future__ import annotations

from typing import Any

import numpy as np

import vl4pose
from vl4pose.score_table import SCHEMA, ScoreTable

SIZE = 16  # of the heatmaps, in pixels


def made_scores(
    num_rows: int,
    seed: int = 0,
    *,
    images: list[str] | None = None,
    failed: tuple[int, ...] = (),
    embedding_size: int | None = 6,
    scale: tuple[float, float] = (3.0, 2.0),
    **metadata: Any,
) -> ScoreTable:
    """Return the scores of poses of random heatmaps, in which some rows have failed.

    Image pixels are ``scale`` times heatmap pixels. Every row has params of its own.
    """
    import pyarrow as pa

    rng = np.random.default_rng(seed)
    skeleton = vl4pose.get_skeleton("lsp")
    heatmaps = rng.normal(0, 1.5, (num_rows, skeleton.num_joints, SIZE, SIZE)).astype(np.float32)
    params = np.stack(
        [
            rng.uniform(2, 10, (num_rows, skeleton.num_links)),
            rng.uniform(0, 3, (num_rows, skeleton.num_links)),
        ],
        -1,
    ).astype(np.float32)
    analysis = vl4pose.analyze(heatmaps, params, skeleton=skeleton)
    weights = vl4pose.peak_weights(analysis.peaks.values, count=analysis.peaks.count)
    to_image = np.array(scale, np.float32)
    peaks = np.concatenate(
        [analysis.peaks.xy * to_image, weights[..., None], analysis.posterior[..., None]], -1
    )
    columns: dict[str, list[Any]] = {
        "width": [int(SIZE * scale[0])] * num_rows,
        "height": [int(SIZE * scale[1])] * num_rows,
        "status": analysis.status.tolist(),
        "params_flag": [False] * num_rows,
        "score": analysis.score.tolist(),
        "log_prob": analysis.refined.log_prob.tolist(),
        "multi_peak_entropy": analysis.entropy.sum(1).tolist(),
        "per_link": analysis.per_link.tolist(),
        "link_params": params.tolist(),
        "entropy": analysis.entropy.tolist(),
        "confidence": analysis.confidence.tolist(),
        "keypoints": (analysis.keypoints * to_image).tolist(),
        "refined_keypoints": (analysis.refined.keypoints * to_image).tolist(),
        "peak_index": analysis.refined.peak_index.tolist(),
        "changed": analysis.refined.changed.tolist(),
        "peaks": [
            [joint[:count].tolist() for joint, count in zip(pose, counts, strict=True)]
            for pose, counts in zip(peaks, analysis.peaks.count, strict=True)
        ],
        "heatmap_scale": [list(scale)] * num_rows,
    }
    if embedding_size is not None:
        columns["embedding"] = rng.normal(size=(num_rows, embedding_size)).tolist()
    for values in columns.values():
        for row in failed:
            values[row] = None
    columns["image"] = images or [f"clip{i // 10}/frame{i % 10:04d}.jpg" for i in range(num_rows)]
    columns["error"] = ["cannot be read" if i in failed else None for i in range(num_rows)]
    nothing = [None] * num_rows
    table = pa.table(
        [pa.array(columns.get(field.name, nothing), field.type) for field in SCHEMA], SCHEMA
    )
    told = {
        "version": vl4pose.__version__,
        "settings": {"input": {}, "scoring": {"method": "expected", "temperature": 1.0}},
        "skeleton": skeleton.to_json(),
        "models": {"pose": {"file": "pose.pt", "sha256": "00"}},
        "link_params": None,
        "source": {"kind": "folder", "root": "/photos"},
        "heatmap_size": [SIZE, SIZE],
    }
    return ScoreTable(table, {**told, **metadata})
