"""Rows of scores from the results of a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vl4pose.image_transform import ImageTransform
from vl4pose.pool.batches import Batch
from vl4pose.results import Analysis, Status
from vl4pose.score_table import SCHEMA
from vl4pose.scoring import peak_weights

__all__ = ["Results", "score_rows"]


@dataclass(frozen=True)
class Results:
    """What the networks and the scoring say of the people of a batch that have pixels.

    Attributes
    ----------
    analysis : Analysis of arrays
    params : (B, L, 2) or (L, 2) array
        What the analysis was made with.
    heatmap_size : (int, int)
        (width, height).
    temperature : float
        Of the softmax over peaks.
    embeddings : (B, D) array, optional
    """

    analysis: Analysis[npt.NDArray[Any]]
    params: npt.NDArray[Any]
    heatmap_size: tuple[int, int]
    temperature: float
    embeddings: npt.NDArray[Any] | None = None


def score_rows(batch: Batch, results: Results | None, transform: ImageTransform) -> pa.Table:
    """Return one row per person of a batch.

    Parameters
    ----------
    batch : Batch
    results : Results, optional
        Of the people that have pixels, in their order; None when there are none.
    transform : ImageTransform
        What the pixels were made with.
    """
    people, decoded = batch.people, batch.decoded
    sizes = [d.image_size or (None, None) for d in decoded]
    columns: dict[str, Any] = {
        "image": [_utf8(person.image) or None for person in people],
        "person_id": [person.person_id and _utf8(person.person_id) for person in people],
        "box": [person.box for person in people],
        "width": [width for width, _ in sizes],
        "height": [height for _, height in sizes],
        "error": [d.error and _utf8(d.error) for d in decoded],
    }
    if results is not None:
        columns |= _result_columns(batch, results, transform)
    nothing = [None] * len(people)
    return pa.table([_array(columns.get(field.name, nothing), field) for field in SCHEMA], SCHEMA)


def _array(values: list[Any], field: pa.Field) -> pa.Array:
    return pa.array(values, field.type, from_pandas=True)  # what makes null of NaN, in lists too


def _result_columns(
    batch: Batch, results: Results, transform: ImageTransform
) -> dict[str, list[Any]]:
    analysis, heatmap_size = results.analysis, results.heatmap_size
    scored = [i for i, decoded in enumerate(batch.decoded) if decoded.placement is not None]
    placements = [d.placement for d in batch.decoded if d.placement is not None]
    status = analysis.status
    unfit_heatmaps = (status & Status.NONFINITE_HEATMAP) != 0
    unfit_params = (status & Status.NONFINITE_PARAMS) != 0
    unfit = unfit_heatmaps | unfit_params
    flagged_params = (status & (Status.CLAMPED_PARAMS | Status.NONFINITE_PARAMS)) != 0
    none_missing = np.zeros_like(unfit)

    def in_image(xy: Sequence[npt.NDArray[Any]] | npt.NDArray[Any]) -> list[Any]:
        return [
            transform.heatmap_to_image(of_image, heatmap_size, placement).tolist()
            for of_image, placement in zip(xy, placements, strict=True)
        ]

    refined = analysis.refined
    unit = np.array([(0.0, 0.0), (1.0, 1.0)])
    scales = np.diff(in_image([unit] * len(scored)), axis=1)[:, 0] if scored else np.empty((0, 2))
    params = np.broadcast_to(results.params, (len(scored), *results.params.shape[-2:]))
    embeddings = results.embeddings
    columns = {
        "status": (status.tolist(), none_missing),
        "params_flag": (flagged_params.tolist(), none_missing),
        "score": (analysis.score.tolist(), unfit),
        "log_prob": (refined.log_prob.tolist(), unfit),
        "multi_peak_entropy": (analysis.entropy.sum(1, np.float64).tolist(), unfit_heatmaps),
        "per_link": (analysis.per_link.tolist(), unfit),
        "entropy": (analysis.entropy.tolist(), unfit_heatmaps),
        "confidence": (analysis.confidence.tolist(), unfit_heatmaps),
        "keypoints": (in_image(analysis.keypoints), unfit_heatmaps),
        "refined_keypoints": (in_image(refined.keypoints), unfit),
        "peak_index": (refined.peak_index.tolist(), unfit),
        "changed": (refined.changed.tolist(), unfit),
        "link_params": (params.tolist(), unfit_params),
        "peaks": (_peaks(analysis, in_image, results.temperature), unfit_heatmaps),
        "heatmap_scale": (scales.tolist(), none_missing),
    }
    if embeddings is not None:
        columns["embedding"] = (embeddings.tolist(), ~np.isfinite(embeddings).all(1))
    rows: dict[str, list[Any]] = {}
    for name, (values, missing) in columns.items():
        rows[name] = [None] * len(batch.people)
        for i, value, absent in zip(scored, values, missing, strict=True):
            rows[name][i] = None if absent else value
    return rows


def _peaks(
    analysis: Analysis[npt.NDArray[Any]],
    in_image: Callable[[npt.NDArray[Any]], list[Any]],
    temperature: float,
) -> list[Any]:
    """Return for each person and joint its peaks: x, y, weight, posterior."""
    peaks = analysis.peaks
    weights = peak_weights(peaks.values, count=peaks.count, temperature=temperature)
    table = np.concatenate(
        [in_image(peaks.xy), weights[..., None], analysis.posterior[..., None]], -1
    )
    return [
        [of_joint[:used].tolist() for of_joint, used in zip(person, counts, strict=True)]
        for person, counts in zip(table, peaks.count, strict=True)
    ]


def _utf8(text: str) -> str:
    """Return text that Parquet can hold: bytes of a file name that are no UTF-8 are spelled out."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
