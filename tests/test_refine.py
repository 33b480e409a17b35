"""Refined poses: enumeration of all poses, ties, and the frozen outputs of the released code."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from strategies import (
    ALONE,
    CHAIN,
    LAYOUTS,
    OBJECTIVES,
    SMOOTH,
    SUBPIXELS,
    Batch,
    Case,
    assert_pose_is_best,
    assert_same_bits,
    batches,
    cases,
    dtypes,
    examples,
    noise,
    spikes,
    tree,
    wide,
)

import vl4pose
from vl4pose import get_skeleton, reference

pytestmark = pytest.mark.usefixtures("kernels")

OPTIONS = (
    "skeleton",
    "objective",
    "subpixel",
    "num_peaks",
    "min_distance",
    "threshold_abs",
    "threshold_rel",
    "exclude_border",
    "temperature",
)


@given(cases(), st.sampled_from(OBJECTIVES), dtypes)
@examples(15)
def test_pose_equals_enumeration(case: Case, objective: str, dtype: Any) -> None:
    case = case.rounded(dtype)
    refined = case.analyze(vl4pose.analyze, dtype=dtype, objective=objective).refined
    if np.isfinite(refined.log_prob).all():
        assert_pose_is_best(case, refined, objective, rtol=2.0**-23)
    else:  # Eq. 6 multiplies by the weight, so that it may choose a peak of weight 0
        assert objective == "eq6"
        chosen = tuple(refined.peak_index[0].tolist())
        values = case.objective(objective)
        assert_allclose(values[chosen], values.max(), rtol=1e-9)
        assert case.log_joint()[chosen] < np.finfo(wide(dtype)).min


@given(batches(kinds=SMOOTH))
@examples(6)
def test_refine_is_analyze_s_and_the_twin_s(batch: Batch) -> None:
    options = {name: batch.options[name] for name in OPTIONS}
    refined = vl4pose.refine(batch.heatmaps, batch.params, **options)
    assert_same_bits(refined, batch.analyze().refined)
    twin = reference.refine(batch.heatmaps, batch.params, **options)
    assert_array_equal(refined.peak_index, twin.peak_index)
    assert_array_equal(refined.changed, twin.changed)
    ulp = 1e-15 if refined.log_prob.dtype == np.float64 else 2.0**-23
    assert_allclose(refined.log_prob, twin.log_prob, rtol=ulp + 1e-11, atol=1e-11)
    if batch.options["subpixel"] in (None, "quarter"):
        assert_array_equal(refined.keypoints, twin.keypoints)
    else:
        assert_allclose(refined.keypoints, twin.keypoints, rtol=ulp, atol=1e-6)


@given(batches())
@examples(6)
def test_max_is_the_log_probability_of_the_refined_pose(batch: Batch) -> None:
    result = batch.analyze(method="max", objective="map")
    assert_same_bits(result.score, result.refined.log_prob)
    other = batch.analyze(method="max", objective="eq6")
    assert_same_bits(other.score, result.score)  # the method is not the objective
    lower = other.refined.log_prob <= result.refined.log_prob
    close = np.isclose(other.refined.log_prob, result.refined.log_prob, rtol=1e-6)
    assert (lower | close).all()


@given(batches())
@examples(4)
def test_keypoints_are_the_chosen_peaks(batch: Batch) -> None:
    result = batch.analyze(subpixel=None)
    index = result.refined.peak_index
    assert ((index >= 0) & (index < result.peaks.count)).all()
    chosen = np.take_along_axis(result.peaks.xy, index[..., None, None], axis=2)[:, :, 0]
    assert_same_bits(result.refined.keypoints, chosen)
    assert_same_bits(result.refined.changed, index != 0)


def test_ties_go_to_the_lower_index() -> None:
    # The parent is 5 from each of the child's peaks: straight, and by 3 - 4 - 5 triangles.
    around = [(6, 1), (2, 3), (10, 3), (1, 6), (11, 6), (3, 10), (9, 10)]
    for params in ([5.0, -2.0], [2.3, 0.7]):
        for peaks in itertools.combinations(around, 3):
            heatmaps = spikes([[(6, 6, 1.0)], [(x, y, 1.0) for x, y in peaks]])
            for objective in OBJECTIVES:
                refined = vl4pose.refine(
                    heatmaps,
                    np.array([params]),
                    skeleton=tree([(0, 1)]),
                    objective=objective,
                    min_distance=1,
                )
                assert_array_equal(refined.peak_index, [[0, 0]])
                assert_array_equal(refined.keypoints[0, 1], peaks[0])
    for root in (0, 1):  # the root as well
        pair = [(2, 6, 1.0), (10, 6, 1.0)]
        heatmaps = spikes([pair, [(6, 6, 1.0)]][:: 1 if root == 0 else -1])
        refined = vl4pose.refine(
            heatmaps, np.array([[4.0, 0.0]]), skeleton=tree([(root, 1 - root)]), min_distance=1
        )
        assert_array_equal(refined.peak_index, [[0, 0]])


def test_a_lower_peak_wins_where_the_skeleton_says_so() -> None:
    # The wrist's highest peak is 20 pixels from the elbow, the second at the expected 5.
    heatmaps = spikes([[(4, 4, 1.0)], [(24, 4, 1.0), (9, 4, 0.9)]], size=30)
    for dtype in (np.float16, np.float32, np.float64):
        refined = vl4pose.refine(
            heatmaps.astype(dtype), np.array([[5.0, 1.0]]), skeleton=tree([(0, 1)])
        )
        assert_array_equal(refined.keypoints, [[[4, 4], [9, 4]]])
        assert_array_equal(refined.peak_index, [[0, 1]])
        assert_array_equal(refined.changed, [[False, True]])
        assert refined.keypoints.dtype == wide(dtype)
        assert refined.log_prob.dtype == wide(dtype)
        assert refined.peak_index.dtype == np.int32
        assert refined.changed.dtype == np.bool_


@pytest.mark.parametrize("subpixel", ["quarter", "centroid", "dark"])
def test_subpixel_moves_keypoints_and_nothing_else(subpixel: str) -> None:
    heatmaps = np.abs(noise(3, 3, 24, 24))
    heatmaps = (heatmaps + np.roll(heatmaps, 1, -1) + np.roll(heatmaps, 1, -2)).astype(np.float32)
    params = np.array([[9.0, 0.5], [4.0, 0.0]])
    plain = vl4pose.refine(heatmaps, params, skeleton=CHAIN)
    moved = vl4pose.refine(heatmaps, params, skeleton=CHAIN, subpixel=subpixel)
    for name in ("peak_index", "changed", "log_prob"):
        assert_same_bits(getattr(moved, name), getattr(plain, name))
    assert plain.changed.any()
    assert (moved.keypoints != plain.keypoints).any()
    for image, joint in np.ndindex(3, 3):
        xy = plain.keypoints[image, joint].astype(int)
        step = reference.refine_subpixel(heatmaps[image, joint], xy, subpixel)  # type: ignore[arg-type]
        assert_allclose(moved.keypoints[image, joint], step, rtol=1e-6)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("subpixel", SUBPIXELS)
def test_no_image_and_one_image(objective: str, subpixel: str | None) -> None:
    heatmaps, params = noise(3, 3, 12, 12), np.array([[3.0, 1.0], [5.0, 0.5]])
    options: dict[str, Any] = {"skeleton": CHAIN, "objective": objective, "subpixel": subpixel}
    batch = vl4pose.refine(heatmaps, params, **options)
    for image in range(3):
        single = vl4pose.refine(heatmaps[image], params, **options)
        for found, wanted in zip(single, batch, strict=True):
            assert_same_bits(found, wanted[image])
    none = vl4pose.refine(heatmaps[:0], params, **options)
    for found, wanted in zip(none, batch, strict=True):
        assert_same_bits(found, wanted[:0])


def test_one_joint_without_a_link() -> None:
    heatmaps = spikes([[(2, 2, 2.0), (8, 8, 1.0)]])
    for objective in OBJECTIVES:
        refined = vl4pose.refine(
            heatmaps, np.zeros((1, 0, 2)), skeleton=ALONE, objective=objective, min_distance=1
        )
        assert_array_equal(refined.keypoints, [[[2, 2]]])
        assert_allclose(refined.log_prob, [-np.log1p(np.exp(-1))])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("subpixel", SUBPIXELS)
def test_memory_layout_changes_nothing(layout: str, dtype: Any, subpixel: str | None) -> None:
    heatmaps = noise(3, 3, 13, 14, dtype=dtype)
    params = np.random.default_rng(0).uniform(0.5, 9, (3, 2, 2))
    options: dict[str, Any] = {"skeleton": CHAIN, "subpixel": subpixel, "min_distance": 2}
    change = LAYOUTS[layout]
    assert_same_bits(
        vl4pose.refine(change(heatmaps), change(params), **options),
        vl4pose.refine(heatmaps, params, **options),
    )


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_released_poses(test_data: Path, dtype: Any) -> None:
    with np.load(test_data / "released_lsp.npz") as released:
        images = len(released["max_pick"])
        heatmaps = released["heatmaps"][:images].astype(dtype)  # which were float16
        refined = vl4pose.refine(
            heatmaps, released["params"][:images], skeleton=get_skeleton("lsp"), num_peaks=3
        )
        assert_array_equal(refined.peak_index, released["max_pick"])
        assert_array_equal(refined.keypoints, released["max_xy"])
        assert_allclose(refined.log_prob, released["max_ll"], rtol=2.0**-22)
        assert 0 < refined.changed.mean() < 0.5
