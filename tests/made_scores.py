"""Tables of scores made of drawn heatmaps, for tests of what reads such tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

import vl4pose
from vl4pose.score_table import METADATA_KEY, SCHEMA, ScoreTable

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


def save_file(table: ScoreTable, path: Path, rows_per_group: int = 1000) -> Path:
    """Write a table to a file as ``vl4pose score`` does."""
    import pyarrow.parquet as pq

    told = {METADATA_KEY: json.dumps(table.metadata).encode()}
    rows = table.rows.replace_schema_metadata(told)
    pq.write_table(rows, path, row_group_size=rows_per_group)
    return path


def save_folder(table: ScoreTable, path: Path, shard_rows: int) -> Path:
    """Write a table to a folder of shards as ``vl4pose score`` does."""
    from vl4pose.pool.manifest import MANIFEST, Manifest
    from vl4pose.pool.shards import ShardEntry, sha256_of, shards_of

    path.mkdir()
    metadata = json.loads(json.dumps(table.metadata))
    metadata["settings"]["run"] = {"shard_rows": shard_rows}
    manifest = Manifest(metadata, len(table), "")
    for shard in shards_of(len(table), shard_rows):
        rows = range(shard.start, shard.start + len(shard))
        file = save_file(table.take(rows), path / shard.file)
        failed = table.take(rows).rows["error"].drop_null()
        counts = {
            "found": len(shard),
            "scored": len(shard) - len(failed),
            "flagged": 0,
            "failed": len(failed),
        }
        manifest.entries[shard.index] = ShardEntry(
            file.name, len(shard), sha256_of(file.read_bytes()), counts, (SIZE, SIZE)
        )
    (path / MANIFEST).write_bytes(manifest.to_bytes())
    return path
