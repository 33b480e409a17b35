"""The plain NumPy twin against independent judges.

scikit-image for peaks, SciPy for densities and filters, enumeration of all poses for scores,
refinement and posterior, and frozen outputs of the code that the paper's authors released.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import scipy.special
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from strategies import (
    ALONE,
    CHAIN,
    METHODS,
    OBJECTIVES,
    Case,
    assert_peaks_are_scikit_image_s,
    assert_pose_is_best,
    cases,
    examples,
    gaussian,
    maps_and_options,
    named_arrays,
    noise,
    spikes,
    tree,
)

from vl4pose import Status, get_skeleton, reference

# Local maxima ------------------------------------------------------------------------------------


def check_local_maxima(heatmaps: np.ndarray, options: dict[str, Any]) -> None:
    peaks = reference.local_maxima(heatmaps, **options)
    assert_peaks_are_scikit_image_s(peaks, heatmaps, options)


@given(maps_and_options())
@examples(15)
def test_local_maxima_equals_scikit_image(case: tuple[np.ndarray, dict[str, Any]]) -> None:
    check_local_maxima(*case)


@pytest.mark.parametrize("min_distance", range(1, 17))
@pytest.mark.parametrize("exclude_border", [0, 3, True])
def test_local_maxima_equals_scikit_image_at_every_distance(
    min_distance: int, exclude_border: int | bool
) -> None:
    options = {"min_distance": min_distance, "exclude_border": exclude_border, "num_peaks": 64}
    for seed, (height, width) in enumerate([(64, 64), (47, 33), (7, 61)]):
        heatmaps = noise(1, 1, height, width, seed=seed)
        check_local_maxima(heatmaps, options)
        check_local_maxima(np.round(heatmaps), options)  # plateaus and ties


@pytest.mark.parametrize("options", [{"min_distance": 5, "num_peaks": 5}, {"min_distance": 8}])
def test_local_maxima_equals_scikit_image_on_real_maps(
    test_data: Path, options: dict[str, Any]
) -> None:
    heatmaps = np.load(test_data / "released_lsp.npz")["heatmaps"][:8]
    for exclude_border in (0, True):
        border = {"num_peaks": 1, **options, "exclude_border": exclude_border}
        check_local_maxima(heatmaps, border)


def test_threshold_is_rounded_to_the_precision_of_the_map() -> None:
    heatmaps = spikes([[(4, 4, 0.1), (8, 8, 0.05)]])
    # float32(0.1) is above 0.1, but not above 0.1 in float32.
    for dtype in (np.float32, np.float64):
        peaks = reference.local_maxima(heatmaps.astype(dtype), threshold_abs=0.1)
        assert peaks.count.item() == 1
        assert_array_equal(peaks.xy[0, 0, 0], [4, 4])  # by fallback
    peaks = reference.local_maxima(heatmaps.astype(np.float32), threshold_abs=0.1 - 1e-7)
    assert_array_equal(peaks.xy[0, 0], [[4, 4], *[[-1, -1]] * 4])


def test_threshold_rel_only_raises_the_threshold() -> None:
    heatmaps = spikes([[(4, 4, 8.0), (8, 8, 2.0)]])
    for threshold_rel in (-1.0, 0.25, 0.75):
        options = {"min_distance": 1, "threshold_abs": 3.0, "threshold_rel": threshold_rel}
        assert reference.local_maxima(heatmaps, **options).count.item() == 1
    for threshold_rel, count in [(-1.0, 2), (0.25 - 1e-9, 2), (0.25, 1)]:
        peaks = reference.local_maxima(heatmaps, min_distance=1, threshold_rel=threshold_rel)
        assert peaks.count.item() == count


def test_min_distance_may_exceed_the_map_by_far() -> None:
    peaks = reference.local_maxima(noise(1, 1, 5, 5), min_distance=10**12)
    assert peaks.count.item() == 1


# Weights and entropy -----------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [1e-6, 0.3, 1.0, 25.0, 1e6])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_peak_weights_are_a_softmax(temperature: float, dtype: type) -> None:
    values = noise(3, 4, 6, dtype=dtype) * dtype(30)
    weights = reference.peak_weights(values, temperature=temperature)
    wide = np.float64 if dtype is np.float64 else np.float32
    judge = scipy.special.softmax(values.astype(np.float64) / temperature, axis=-1)
    assert weights.dtype == wide
    # exp and the quotient by a small temperature: up to |v| / T ulp, where the weight is not 0.
    assert_allclose(weights, judge, rtol=4 * np.finfo(wide).eps, atol=1e-9)


def test_peak_weights_of_unused_slots_and_bad_rows() -> None:
    inf, nan = np.inf, np.nan
    values = np.array([[0, 0, -inf], [-inf, -inf, -inf], [1, nan, 0], [0, 0, inf]])[None]
    one = [1.0, 0.0, 0.0]
    half = [0.5, 0.5, 0.0]
    bad = [nan] * 3
    assert_allclose(reference.peak_weights(values)[0], [half, [0] * 3, bad, bad])
    count = np.array([[1, 2, 1, 2]], dtype=np.int32)
    assert_allclose(reference.peak_weights(values, count=count)[0], [one, one, bad, bad])
    none = np.zeros((1, 4), dtype=np.int32)
    assert_allclose(reference.peak_weights(values, count=none)[0], [[0] * 3, [0] * 3, bad, bad])


def test_adding_a_constant_leaves_weights_and_scores() -> None:
    heatmaps = np.round(noise(2, 3, 20, 20) * 64) / 64  # so that the sum is exact
    params = np.array([[3.0, 0.5], [5.0, 0.0]])
    before = reference.analyze(heatmaps, params, skeleton=CHAIN, method="marginal")
    after = reference.analyze(heatmaps + 1024.0, params, skeleton=CHAIN, method="marginal")
    assert_array_equal(
        reference.peak_weights(after.peaks.values), reference.peak_weights(before.peaks.values)
    )
    for name in ("score", "per_link", "entropy", "posterior", "keypoints", "status"):
        assert_array_equal(getattr(after, name), getattr(before, name))


def test_scaling_maps_and_temperature_together_leaves_scores() -> None:
    heatmaps = noise(2, 3, 20, 20)
    params = np.array([[3.0, 0.5], [5.0, 0.0]])
    for method in METHODS:
        before = reference.score(heatmaps, params, skeleton=CHAIN, method=method)
        scaled = reference.score(
            8 * heatmaps, params, skeleton=CHAIN, method=method, temperature=8.0
        )
        assert_array_equal(scaled, before)


def test_multi_peak_entropy_is_the_entropy_of_the_weights() -> None:
    heatmaps = noise(3, 4, 30, 30)
    peaks = reference.local_maxima(heatmaps)
    judge = scipy.stats.entropy(reference.peak_weights(peaks.values), axis=-1)
    params = np.zeros((3, 2))
    skeleton = tree([(0, 1), (1, 2), (1, 3)])
    assert_allclose(reference.analyze(heatmaps, params, skeleton=skeleton).entropy, judge)
    assert_allclose(reference.multi_peak_entropy(heatmaps), judge.sum(axis=-1))


def test_entropy_of_a_single_peak_is_zero_without_a_sign() -> None:
    heatmaps = spikes([[(4, 4, 1.0)]])
    for entropy in (
        reference.multi_peak_entropy(heatmaps, min_distance=1),
        reference.analyze(heatmaps, np.zeros((0, 2)), skeleton=ALONE, min_distance=1).entropy,
    ):
        assert entropy.item() == 0
        assert not np.signbit(entropy.item())


# Scores, refinement and posterior against all poses -----------------------------------------------


@given(cases())
@examples(8)
def test_scores_and_posterior_equal_enumeration(case: Case) -> None:
    close: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-9}
    result = case.analyze(reference.analyze, method="expected")
    per_link = [case.expectation(terms) for terms in case.link_terms()]
    assert_allclose(result.per_link[0], per_link, **close)
    assert_allclose(result.score[0], sum(per_link), **close)
    assert_allclose(result.posterior[0], case.posterior(4), **close)
    assert_allclose(result.posterior[0].sum(axis=-1), 1.0, rtol=1e-12)
    assert result.status.item() == 0
    for method, score in (
        ("max", case.log_joint().max()),
        ("marginal", case.marginal()),
        ("sum", case.released_sum()),
    ):
        assert_allclose(case.analyze(reference.analyze, method=method).score[0], score, **close)


@given(cases(), st.sampled_from(OBJECTIVES))
@examples(8)
def test_refined_pose_equals_enumeration(case: Case, objective: str) -> None:
    result = case.analyze(reference.analyze, objective=objective, method="max")
    assert_pose_is_best(case, result.refined, objective)
    # The objective says what to refine to, not what the score is.
    assert_allclose(result.score[0], case.log_joint().max(), rtol=1e-9, atol=1e-9)


@given(cases())
@examples(2)
def test_relabelling_joints_changes_nothing(case: Case) -> None:
    new = np.random.default_rng(len(case.peaks)).permutation(len(case.peaks))
    renamed = case.relabelled(new)
    for method in METHODS:
        before = case.analyze(reference.analyze, method=method)
        after = renamed.analyze(reference.analyze, method=method)
        assert_array_equal(after.score, before.score)
        assert_array_equal(after.per_link, before.per_link)
        assert_array_equal(after.posterior[:, new], before.posterior)
        assert_array_equal(after.refined.peak_index[:, new], before.refined.peak_index)


def test_all_methods_agree_when_every_joint_has_one_peak() -> None:
    skeleton = tree([(2, 0), (2, 1), (0, 3)])
    xy = [(3, 9), (8, 1), (5, 5), (0, 11)]
    heatmaps = spikes([[(x, y, 1.0)] for x, y in xy])
    params = np.array([[4.0, 0.3], [2.0, -1.0], [7.0, 2.0]])
    keypoints = np.array([xy], dtype=np.float64)
    judge = reference.pose_log_likelihood(keypoints, params, skeleton=skeleton)
    for method in METHODS:
        score = reference.score(heatmaps, params, skeleton=skeleton, method=method, min_distance=1)
        assert_allclose(score, judge, rtol=1e-13)


def test_one_joint_without_a_link() -> None:
    heatmaps = spikes([[(2, 2, 2.0), (8, 8, 1.0)]])
    params = np.zeros((1, 0, 2))
    log_p = np.log(scipy.special.softmax([2.0, 1.0]))
    expected = {"expected": 0.0, "max": log_p[0], "marginal": 0.0, "sum": log_p.sum()}
    for method, score in expected.items():
        result = reference.analyze(
            heatmaps, params, skeleton=ALONE, method=method, min_distance=1, num_peaks=2
        )
        assert_allclose(result.score, [score], atol=1e-12)
        assert result.per_link.shape == (1, 0)
        assert_allclose(result.posterior[0, 0], np.exp(log_p))
    assert reference.pose_log_likelihood(np.ones((1, 1, 2)), params, skeleton=ALONE).item() == 0


def test_ties_go_to_the_lower_index() -> None:
    # One joint is 5 from each peak of the other: straight, and by 3 - 4 - 5 triangles.
    around = [(6, 1), (2, 3), (10, 3), (1, 6), (11, 6), (3, 10), (9, 10)]
    for link, objective in itertools.product([(0, 1), (1, 0)], ["map", "eq6"]):
        for params in ([5.0, -2.0], [2.3, 0.7]):
            for peaks in itertools.combinations(around, 3):
                refined = reference.refine(
                    spikes([[(6, 6, 1.0)], [(x, y, 1.0) for x, y in peaks]]),
                    np.array([params]),
                    skeleton=tree([link]),
                    objective=objective,
                    min_distance=1,
                )
                assert_array_equal(refined.peak_index, [[0, 0]])
                assert_array_equal(refined.keypoints[0, 1], peaks[0])


def test_no_images() -> None:
    params = np.zeros((2, 2))
    result = reference.analyze(np.zeros((0, 3, 8, 8)), params, skeleton=CHAIN, subpixel="dark")
    assert result.score.shape == (0,)
    assert result.posterior.shape == (0, 3, 5)
    assert result.refined.keypoints.shape == (0, 3, 2)


# Precision, bad input and status ------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_precision_of_results(dtype: type) -> None:
    heatmaps = noise(2, 3, 16, 16, dtype=dtype)
    params = np.array([[3.0, 0.1], [5.0, 0.3]])
    wide = np.float64 if dtype is np.float64 else np.float32
    result = reference.analyze(heatmaps, params, skeleton=CHAIN, subpixel="quarter")
    exact = {
        "status": np.uint8,
        "peaks.count": np.int32,
        "refined.peak_index": np.int32,
        "refined.changed": np.bool_,
    }
    for name, array in named_arrays(result).items():
        assert array.dtype == exact.get(name, wide), name
    same = reference.analyze(
        heatmaps.astype(wide), params.astype(wide), skeleton=CHAIN, subpixel="quarter"
    )
    for name, array in named_arrays(same).items():
        assert_array_equal(named_arrays(result)[name], array)


@pytest.mark.parametrize(
    ("value", "bit"), [(np.nan, Status.NONFINITE_HEATMAP), (np.inf, Status.NONFINITE_HEATMAP)]
)
def test_nonfinite_heatmap_spoils_its_image_alone(value: float, bit: Status) -> None:
    heatmaps = noise(3, 3, 12, 12, dtype=np.float32)
    params = np.array([[3.0, 0.5], [5.0, 0.0]])
    options: dict[str, Any] = {"skeleton": CHAIN, "subpixel": "dark"}
    clean = named_arrays(reference.analyze(heatmaps, params, **options))
    heatmaps[1, 2, 5, 7] = value
    heatmaps[1, 0] = 0.0  # no peak either, which no longer matters
    spoilt = named_arrays(reference.analyze(heatmaps, params, **options))
    for name, array in spoilt.items():
        assert_array_equal(array[[0, 2]], clean[name][[0, 2]])
        expected = {
            "peaks.xy": -1,
            "peaks.count": 0,
            "refined.peak_index": -1,
            "refined.changed": False,
            "status": bit,
        }
        assert_array_equal(array[1], np.full_like(array[1], expected.get(name, np.nan)))
    entropy = reference.multi_peak_entropy(heatmaps)
    assert_array_equal(np.isnan(entropy), [False, True, False])
    assert_array_equal(np.isnan(reference.decode(heatmaps).keypoints[:, 0, 0]), [0, 1, 0])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_nonfinite_params_spoil_what_depends_on_them(value: float) -> None:
    heatmaps = noise(3, 3, 12, 12, dtype=np.float32)
    params = np.tile([[3.0, 0.5], [5.0, 0.0]], (3, 1, 1))
    clean = named_arrays(reference.analyze(heatmaps, params, skeleton=CHAIN))
    params[1, 0, 1] = value  # 1e300 is inf in the precision of the results
    spoilt = named_arrays(reference.analyze(heatmaps, params, skeleton=CHAIN))
    for name, array in spoilt.items():
        assert_array_equal(array[[0, 2]], clean[name][[0, 2]])
        if name.startswith("peaks.") or name in ("entropy", "keypoints", "confidence"):
            assert_array_equal(array, clean[name])
            continue
        expected = {
            "refined.peak_index": -1,
            "refined.changed": False,
            "status": Status.NONFINITE_PARAMS,
        }
        assert_array_equal(array[1], np.full_like(array[1], expected.get(name, np.nan)))


def test_params_are_clamped_and_flagged() -> None:
    heatmaps = noise(3, 3, 12, 12)
    beyond = np.array([[[3.0, 25.0], [5.0, 0.0]], [[3.0, 0.0], [-2e6, -21.0]], [[1e6, 20.0]] * 2])
    within = np.array([[[3.0, 20.0], [5.0, 0.0]], [[3.0, 0.0], [-1e6, -20.0]], [[1e6, 20.0]] * 2])
    result = reference.analyze(heatmaps, beyond, skeleton=CHAIN)
    clamped = int(Status.CLAMPED_PARAMS)
    assert_array_equal(result.status, [clamped, clamped, 0])
    same = reference.analyze(heatmaps, within, skeleton=CHAIN)
    assert_array_equal(same.status, 0)
    assert_array_equal(result.score, same.score)
    keypoints = noise(3, 3, 2)
    assert_array_equal(
        reference.pose_log_likelihood(keypoints, beyond, skeleton=CHAIN),
        reference.pose_log_likelihood(keypoints, within, skeleton=CHAIN),
    )


@pytest.mark.parametrize(
    ("heatmap", "options", "xy"),
    [
        (np.full((4, 5), 7.0), {}, (0, 0)),
        (np.full((4, 5), 7.0), {"threshold_abs": 1.0}, (0, 0)),
        (np.full((4, 5), -np.inf), {}, (0, 0)),
        (np.full((1, 1), 7.0), {}, (0, 0)),
        (np.eye(5)[:, ::-1], {"exclude_border": 3}, (4, 0)),
        (np.eye(5)[:, ::-1], {"threshold_abs": 1.0}, (4, 0)),
        (np.eye(5)[:, ::-1], {"threshold_rel": 1.0}, (4, 0)),
    ],
)
def test_fallback_on_the_maximum(
    heatmap: np.ndarray, options: dict[str, Any], xy: tuple[int, int]
) -> None:
    result = reference.analyze(
        heatmap[None, None], np.zeros((1, 0, 2)), skeleton=ALONE, method="sum", **options
    )
    assert_array_equal(result.peaks.xy[0, 0, 0], xy)
    assert result.peaks.values[0, 0, 0] == heatmap.max()
    assert result.peaks.count.item() == 1
    assert_array_equal(result.posterior[0, 0], [1, 0, 0, 0, 0])
    assert result.score.item() == 0
    assert result.status.item() == Status.PEAK_FALLBACK


def test_a_single_pixel_above_the_threshold_is_a_peak() -> None:
    result = reference.analyze(
        np.full((1, 1, 1, 1), 7.0), np.zeros((1, 0, 2)), skeleton=ALONE, threshold_abs=6.0
    )
    assert result.status.item() == 0


def test_status_bits_add_up() -> None:
    heatmaps = np.stack([np.zeros((3, 8, 8)), np.full((3, 8, 8), np.nan)])
    params = np.array([[[np.nan, 99.0], [0.0, 99.0]]] * 2)
    status = reference.analyze(heatmaps, params, skeleton=CHAIN).status
    both = Status.NONFINITE_PARAMS | Status.CLAMPED_PARAMS
    assert_array_equal(status, [both | Status.PEAK_FALLBACK, both | Status.NONFINITE_HEATMAP])


# Decoding ----------------------------------------------------------------------------------------


def test_dark_makes_no_step_where_it_is_singular_or_long() -> None:
    ridge = np.tile(gaussian(15.3, 0, shape=(32, 32))[0], (32, 1))
    far = gaussian(15, 15, shape=(32, 32))
    for heatmap, x, y in [(ridge, 15, 16), (far, 15, 17), (far, 16, 16)]:
        step = reference.refine_subpixel(heatmap, np.array([x, y]), "dark") - [x, y]
        assert_array_equal(step, [0, 0])
    step = reference.refine_subpixel(far, np.array([15, 16]), "dark") - [15, 16]
    assert_allclose(step, [0, -1], atol=0.05)


@pytest.mark.parametrize("subpixel", ["quarter", "centroid", "dark"])
def test_subpixel_moves_keypoints_and_nothing_else(subpixel: Any) -> None:
    heatmaps = scipy.ndimage.gaussian_filter(np.abs(noise(2, 3, 24, 24)), (0, 0, 2, 2))
    params = np.array([[9.0, 0.5], [4.0, 0.0]])
    plain = reference.analyze(heatmaps, params, skeleton=CHAIN)
    moved = reference.analyze(heatmaps, params, skeleton=CHAIN, subpixel=subpixel)
    before, after = named_arrays(plain), named_arrays(moved)
    for name in before.keys() - {"keypoints", "refined.keypoints"}:
        assert_array_equal(after[name], before[name])
    decoded = reference.decode(heatmaps, subpixel=subpixel).keypoints
    assert_array_equal(moved.keypoints, decoded)
    assert (decoded != plain.keypoints).any()
    assert plain.refined.changed.any()
    for image, joint in np.ndindex(2, 3):
        xy = plain.refined.keypoints[image, joint].astype(int)
        step = reference.refine_subpixel(heatmaps[image, joint], xy, subpixel)
        assert_array_equal(moved.refined.keypoints[image, joint], step)


# Log-likelihood of given poses --------------------------------------------------------------------


def test_pose_log_likelihood_is_a_normal_density_of_bone_lengths() -> None:
    skeleton = tree([(2, 0), (2, 1), (0, 3)])
    keypoints = noise(5, 4, 2) * 10
    params = np.stack([np.abs(noise(5, 3, seed=1)) * 10, noise(5, 3, seed=2)], axis=-1)
    parent, child = np.array(skeleton.links).T
    r = np.linalg.norm(keypoints[:, child] - keypoints[:, parent], axis=-1)
    judge = scipy.stats.norm.logpdf(r, params[..., 0], np.exp(params[..., 1] / 2))
    per_link = reference.pose_log_likelihood(keypoints, params, skeleton=skeleton, per_link=True)
    assert_allclose(per_link, judge, rtol=1e-12)
    total = reference.pose_log_likelihood(keypoints, params, skeleton=skeleton)
    assert_allclose(total, judge.sum(axis=-1), rtol=1e-12)
    shared = reference.pose_log_likelihood(keypoints, params[0], skeleton=skeleton)
    repeated = np.repeat(params[:1], 5, axis=0)
    assert_array_equal(
        shared, reference.pose_log_likelihood(keypoints, repeated, skeleton=skeleton)
    )


@pytest.mark.parametrize("dimensions", [2, 3])
def test_offset_log_likelihood_is_a_multivariate_normal_density(dimensions: int) -> None:
    skeleton = tree([(2, 0), (2, 1), (0, 3)])
    keypoints = noise(4, 4, dimensions)
    offsets = noise(4, 3, dimensions, seed=1)
    scale_tril = noise(4, 3, dimensions, dimensions, seed=2)  # its upper triangle is not read
    diagonal = np.arange(dimensions)
    scale_tril[..., diagonal, diagonal] = 0.5 + scale_tril[..., diagonal, diagonal] ** 2
    per_link = reference.offset_log_likelihood(
        keypoints, offsets, scale_tril, skeleton=skeleton, per_link=True
    )
    for image, link in np.ndindex(4, 3):
        parent, child = skeleton.links[link]
        T = np.tril(scale_tril[image, link])
        judge = scipy.stats.multivariate_normal.logpdf(
            keypoints[image, child], keypoints[image, parent] + offsets[image, link], T @ T.T
        )
        assert_allclose(per_link[image, link], judge, rtol=1e-9)
    total = reference.offset_log_likelihood(keypoints, offsets, scale_tril, skeleton=skeleton)
    assert_allclose(total, per_link.sum(axis=-1), rtol=1e-12)
    shared = reference.offset_log_likelihood(
        keypoints, offsets[2], scale_tril[2], skeleton=skeleton
    )
    assert_array_equal(shared[2], total[2])


def offset_arguments(images: int) -> tuple[np.ndarray, np.ndarray]:
    return noise(images, 2, 2, seed=1), np.tile(np.eye(2), (images, 2, 1, 1))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_invisible_joints_are_never_read(value: float) -> None:
    keypoints = noise(3, 3, 2)
    visible = np.array([[1, 1, 1], [1, 1, 0], [0, 0, 0]], dtype=bool)
    params = np.array([[3.0, 0.5], [5.0, 0.0]])
    offsets, scale_tril = offset_arguments(3)
    hidden = np.where(visible[..., None], keypoints, value)
    for function, arguments in (
        (reference.pose_log_likelihood, (params,)),
        (reference.offset_log_likelihood, (offsets, scale_tril)),
    ):
        every = function(keypoints, *arguments, skeleton=CHAIN, per_link=True)
        counted = np.array([[1, 1], [1, 0], [0, 0]])
        some = function(hidden, *arguments, skeleton=CHAIN, visible=visible, per_link=True)
        assert_array_equal(some, every * counted)
        total = function(hidden, *arguments, skeleton=CHAIN, visible=visible)
        assert_allclose(total, (every * counted).sum(axis=-1))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nonfinite_params_of_given_poses_spoil_the_image(value: float) -> None:
    keypoints = noise(2, 3, 2)
    visible = np.array([[True, True, False]] * 2)
    params = np.tile([[3.0, 0.5], [5.0, 0.0]], (2, 1, 1))
    params[1, 1, 0] = value
    offsets, scale_tril = offset_arguments(2)
    offsets[1, 1, 0] = value
    for result in (
        reference.pose_log_likelihood(
            keypoints, params, skeleton=CHAIN, visible=visible, per_link=True
        ),
        reference.offset_log_likelihood(
            keypoints, offsets, scale_tril, skeleton=CHAIN, visible=visible, per_link=True
        ),
    ):
        assert_array_equal(np.isnan(result), [[False, False], [True, True]])


def test_a_diagonal_that_is_not_positive_is_nan() -> None:
    keypoints = noise(2, 3, 2)
    offsets, scale_tril = offset_arguments(2)
    scale_tril[0, 1, 1, 1] = 0.0
    scale_tril[1, 0, 0, 0] = -1.0
    result = reference.offset_log_likelihood(
        keypoints, offsets, scale_tril, skeleton=CHAIN, per_link=True
    )
    assert_array_equal(np.isnan(result), [[False, True], [True, False]])


# Frozen outputs of the released code --------------------------------------------------------------


@pytest.fixture(scope="module")
def released(test_data: Path) -> dict[str, np.ndarray]:
    with np.load(test_data / "released_lsp.npz") as arrays:
        frozen = {name: arrays[name] for name in arrays.files}
    frozen["heatmaps"] = frozen["heatmaps"].astype(np.float64)  # so that we do not round at all
    return frozen


# The released code computes exp(-s) in float32 and everything else in float64. Its quadratic terms
# are therefore off by up to a float32 ulp, 2^-23 = 1.2e-7 of them; they dominate the worst scores.
FLOAT32_EXP = 2.0**-23


def test_released_fast_mode(released: dict[str, np.ndarray]) -> None:
    assert released["fast_ok"].all()
    skeleton = get_skeleton("lsp")
    options: dict[str, Any] = {"num_peaks": 1, "min_distance": 8, "exclude_border": True}
    heatmaps, params = released["heatmaps"], released["params"]
    score = reference.score(heatmaps, params, skeleton=skeleton, method="sum", **options)
    assert_allclose(score, released["fast"], rtol=1.5 * FLOAT32_EXP)

    # The same with that one rounding, to show that nothing else differs.
    xy = reference.local_maxima(heatmaps, **options).xy[:, :, 0]
    parent, child = np.array(skeleton.links).T
    r = np.linalg.norm(xy[:, child] - xy[:, parent], axis=-1)
    precision = np.exp(-params[..., 1]).astype(np.float64)
    wide = params.astype(np.float64)
    terms = np.log(2 * np.pi) + wide[..., 1] + (r - wide[..., 0]) ** 2 * precision
    assert_allclose(-0.5 * terms.sum(axis=-1), released["fast"], rtol=1e-14)


def test_released_sum(released: dict[str, np.ndarray]) -> None:
    score = reference.score(
        released["heatmaps"],
        released["params"],
        skeleton=get_skeleton("lsp"),
        method="sum",
        num_peaks=2,
    )
    assert_allclose(score, released["sum2"], rtol=FLOAT32_EXP)


def test_released_maximum(released: dict[str, np.ndarray]) -> None:
    images = len(released["max_ll"])
    result = reference.analyze(
        released["heatmaps"][:images],
        released["params"][:images],
        skeleton=get_skeleton("lsp"),
        method="max",
        num_peaks=3,
    )
    assert_allclose(result.score, released["max_ll"], rtol=FLOAT32_EXP)
    assert_array_equal(result.refined.log_prob, result.score)
    assert_array_equal(result.refined.peak_index, released["max_pick"])
    assert_array_equal(result.refined.keypoints, released["max_xy"])
    assert 0 < result.refined.changed.mean() < 0.5


def test_released_multi_peak_entropy(released: dict[str, np.ndarray]) -> None:
    entropy = reference.multi_peak_entropy(released["heatmaps"], exclude_border=True)
    # All of it float32 there: 14 entropies of at most log 5, each to a few ulp.
    assert_allclose(entropy, released["mpe"], rtol=0, atol=2e-6)
