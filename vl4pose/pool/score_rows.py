"""Rows of scores from the results of a batch."""

from __future__ import annotations

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
    arrays = {
        name: pa.array(values, SCHEMA.field(name).type, from_pandas=True)
        for name, values in columns.items()
    }
    if results is not None:
        arrays |= _result_columns(batch, results, transform)
    missing = [pa.nulls(len(people), f.type) for f in SCHEMA if f.name not in arrays]
    remaining = iter(missing)
    return pa.table(
        [arrays[f.name] if f.name in arrays else next(remaining) for f in SCHEMA], SCHEMA
    )


def _result_columns(
    batch: Batch, results: Results, transform: ImageTransform
) -> dict[str, pa.Array]:
    analysis = results.analysis
    has_pixels = np.array([decoded.placement is not None for decoded in batch.decoded])
    status = analysis.status
    unfit_heatmaps = (status & Status.NONFINITE_HEATMAP) != 0
    unfit_params = (status & Status.NONFINITE_PARAMS) != 0
    unfit = unfit_heatmaps | unfit_params
    flagged_params = (status & (Status.CLAMPED_PARAMS | Status.NONFINITE_PARAMS)) != 0
    none = np.zeros_like(unfit)
    keypoints, refined_keypoints, peaks, scales = _in_image(batch, results, transform)
    refined = analysis.refined
    params = np.broadcast_to(results.params, (len(status), *results.params.shape[-2:]))
    columns: dict[str, tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]] = {
        "status": (status, none),
        "params_flag": (flagged_params, none),
        "score": (analysis.score, unfit),
        "log_prob": (refined.log_prob, unfit),
        "multi_peak_entropy": (analysis.entropy.sum(1, np.float64), unfit_heatmaps),
        "per_link": (analysis.per_link, unfit),
        "entropy": (analysis.entropy, unfit_heatmaps),
        "confidence": (analysis.confidence, unfit_heatmaps),
        "keypoints": (keypoints, unfit_heatmaps),
        "refined_keypoints": (refined_keypoints, unfit),
        "peak_index": (refined.peak_index, unfit),
        "changed": (refined.changed, unfit),
        "link_params": (params, unfit_params),
        "heatmap_scale": (scales, none),
    }
    embeddings = results.embeddings
    if embeddings is not None:
        columns["embedding"] = (embeddings, ~np.isfinite(embeddings).all(1))
    arrays = {}
    for name, (values, missing) in columns.items():
        present = has_pixels.copy()
        present[has_pixels] = ~missing
        arrays[name] = _column(values[~missing], present, SCHEMA.field(name).type)
    present = has_pixels.copy()
    present[has_pixels] = ~unfit_heatmaps
    arrays["peaks"] = _peaks_column(
        peaks[~unfit_heatmaps], analysis.peaks.count[~unfit_heatmaps], present
    )
    return arrays


def _in_image(
    batch: Batch, results: Results, transform: ImageTransform
) -> tuple[npt.NDArray[np.float64], ...]:
    """Return, of those with pixels, in image pixels: keypoints, refined ones, peaks, the scale.

    Keypoints (B, J, 2); peaks (B, J, K, [x, y, weight, posterior]); the scale (B, 2) is how many
    image pixels a heatmap pixel has.
    """
    analysis = results.analysis
    peaks = analysis.peaks
    num_people, num_joints, num_peaks = peaks.values.shape
    # One call of the transform a person.
    groups = [
        analysis.keypoints,
        analysis.refined.keypoints,
        peaks.xy.reshape(num_people, -1, 2),
        np.broadcast_to([(0.0, 0.0), (1.0, 1.0)], (num_people, 2, 2)),
    ]
    points = np.concatenate(groups, 1, dtype=np.float64)
    placements = [d.placement for d in batch.decoded if d.placement is not None]
    for of_person, placement in zip(points, placements, strict=True):
        of_person[:] = transform.heatmap_to_image(of_person, results.heatmap_size, placement)
    keypoints, refined, xy, unit = np.split(points, np.cumsum([g.shape[1] for g in groups[:-1]]), 1)
    weights = peak_weights(peaks.values, count=peaks.count, temperature=results.temperature)
    xy = xy.reshape(num_people, num_joints, num_peaks, 2)
    table = np.concatenate([xy, weights[..., None], analysis.posterior[..., None]], -1)
    return keypoints, refined, table, unit[:, 1] - unit[:, 0]


def _column(
    values: npt.NDArray[Any], present: npt.NDArray[np.bool_], kind: pa.DataType
) -> pa.Array:
    """Return a column of numbers or of lists of one shape, null where nothing is present.

    Parameters
    ----------
    values : (P, ...) array
        Of those that are present, in their order.
    present : (B,) bool
    kind : pyarrow.DataType
    """
    if not pa.types.is_list(kind):
        indices = np.where(present, np.cumsum(present) - 1, 0)
        whole = values[indices] if len(values) else np.zeros(len(present), values.dtype)
        return _numbers(whole, kind, ~present)
    lengths = np.where(present, values.shape[1], 0)
    inner = _inner(values.reshape(-1, *values.shape[2:]), kind.value_type)
    return _lists(lengths, inner, kind, ~present)


def _inner(values: npt.NDArray[Any], kind: pa.DataType) -> pa.Array:
    if not pa.types.is_list(kind):
        return _numbers(values, kind)
    lengths = np.full(len(values), values.shape[1])
    inner = _inner(values.reshape(-1, *values.shape[2:]), kind.value_type)
    return _lists(lengths, inner, kind)


def _peaks_column(
    peaks: npt.NDArray[np.float64], count: npt.NDArray[Any], present: npt.NDArray[np.bool_]
) -> pa.Array:
    """Return the column of peaks (P, J, K, 4), of which ``count`` (P, J) are there."""
    kind = SCHEMA.field("peaks").type
    used = np.arange(peaks.shape[2]) < count[..., None]
    of_peaks = _inner(peaks[used], kind.value_type.value_type)
    of_joints = _lists(count.reshape(-1), of_peaks, kind.value_type)
    return _lists(np.where(present, count.shape[1], 0), of_joints, kind, ~present)


def _numbers(
    values: npt.NDArray[Any], kind: pa.DataType, mask: npt.NDArray[np.bool_] | None = None
) -> pa.Array:
    """Return numbers, null where they are NaN."""
    if np.issubdtype(values.dtype, np.floating):
        nan = np.isnan(values)
        mask = nan if mask is None else mask | nan
    return pa.array(values, mask=mask).cast(kind)


def _lists(
    lengths: npt.NDArray[Any],
    values: pa.Array,
    kind: pa.DataType,
    mask: npt.NDArray[np.bool_] | None = None,
) -> pa.Array:
    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    nothing = None if mask is None else pa.array(mask)
    return pa.ListArray.from_arrays(pa.array(offsets), values, kind, mask=nothing)


def _utf8(text: str) -> str:
    """Return text that Parquet can hold: bytes of a file name that are no UTF-8 are spelled out."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
