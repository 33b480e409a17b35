"""Scores, posterior and log-likelihoods of given poses: enumeration, densities, frozen outputs."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from strategies import (
    ALONE,
    CHAIN,
    LAYOUTS,
    METHODS,
    SMOOTH,
    Batch,
    Case,
    assert_same_bits,
    batches,
    cases,
    dtypes,
    examples,
    noise,
    spikes,
    tree,
    trees,
    wide,
)

import vl4pose
from vl4pose import get_skeleton, reference

pytestmark = pytest.mark.usefixtures("kernels")

NAN = np.nan
# Arithmetic is double; a result differs from a double judge by half a unit of its own precision,
# and by a whole one where the two lie on different sides of a boundary between roundings.
ULP = {np.float32: 2.0**-23, np.float64: 2.0**-52}


def tolerance(dtype: Any) -> float:
    return ULP[wide(dtype)] + 1e-11


# Scores of images --------------------------------------------------------------------------------


@given(cases(), dtypes)
@examples(10)
def test_scores_equal_enumeration(case: Case, dtype: Any) -> None:
    case = case.rounded(dtype)
    close: dict[str, Any] = {"rtol": tolerance(dtype), "atol": 1e-9}
    expected = case.analyze(vl4pose.analyze, dtype=dtype, method="expected")
    per_link = [case.expectation(terms) for terms in case.link_terms()]
    scale = sum(np.abs(per_link))
    assert_allclose(expected.per_link[0], per_link, **close)
    assert_allclose(expected.score[0], sum(per_link), rtol=tolerance(dtype), atol=1e-11 * scale)
    for method, score in (
        ("max", case.log_joint().max()),
        ("marginal", case.marginal()),
        ("sum", case.released_sum()),
    ):
        with np.errstate(over="ignore"):  # 1e308 twice, and float32 of it
            score = np.array([score]).astype(wide(dtype))
        result = case.analyze(vl4pose.analyze, dtype=dtype, method=method)
        assert_allclose(result.score, score, **close)
        assert_same_bits(result.per_link, expected.per_link)
        assert_same_bits(result.posterior, expected.posterior)
        assert_array_equal(result.status, 0)


@given(cases(), dtypes)
@examples(10)
def test_posterior_equals_enumeration(case: Case, dtype: Any) -> None:
    case = case.rounded(dtype)
    posterior = case.analyze(vl4pose.analyze, dtype=dtype).posterior[0]
    assert posterior.dtype == wide(dtype)
    assert_allclose(posterior, case.posterior(4), rtol=tolerance(dtype) + 1e-9, atol=1e-9)


@given(cases(max_log_variance=20.0, max_length=200.0, size=60), dtypes)
@examples(10)
def test_errors_are_small_for_every_variance(case: Case, dtype: Any) -> None:
    case = case.rounded(dtype)
    # The judge is double as well: 1e-9 for the distance less the length, at the highest precision.
    small = ULP[wide(dtype)] + 1e-9
    weight = np.exp(case.log_p())
    scales = [
        np.sum(weight * case.on_axes(case.ell_scale(link), *ends))
        for link, ends in enumerate(case.links)
    ]
    result = case.analyze(vl4pose.analyze, dtype=dtype)
    per_link = [case.expectation(terms) for terms in case.link_terms()]
    for found, term, scale in zip(result.per_link[0], per_link, scales, strict=True):
        assert abs(float(found) - term) <= small * scale
    assert abs(float(result.score[0]) - sum(per_link)) <= small * sum(scales)

    log_joint, scale = case.log_joint(), case.scale()
    best = np.unravel_index(np.argmax(log_joint), log_joint.shape)
    allowed = small * (1 + scale[best])
    assert abs(float(result.refined.log_prob[0]) - log_joint[best]) <= allowed
    for method, score in (("max", log_joint[best]), ("marginal", case.marginal())):
        result = case.analyze(vl4pose.analyze, dtype=dtype, method=method)
        assert abs(float(result.score[0]) - score) <= allowed


@given(cases(max_log_variance=4.0, max_length=200.0, size=60), dtypes)
@examples(6)
def test_posterior_is_exact_for_ordinary_variances(case: Case, dtype: Any) -> None:
    case = case.rounded(dtype)
    posterior = case.analyze(vl4pose.analyze, dtype=dtype).posterior[0]
    assert_allclose(posterior, case.posterior(4), rtol=0, atol=1e-6)


@given(trees(6), st.integers(0, 2**32 - 1), dtypes)
@examples(4)
def test_posterior_sums_to_one_for_all_params(
    links: list[tuple[int, int]], seed: int, dtype: Any
) -> None:
    rng = np.random.default_rng(seed)
    heatmaps = rng.normal(size=(2, len(links) + 1, 16, 16)).astype(dtype)
    length = rng.choice([-1e7, -1e6, 0.0, 10.0, 1e4, 1e6], (2, len(links)))
    log_variance = rng.choice([-30.0, -20.0, -10.0, -4.0, 0.0, 20.0], (2, len(links)))
    params = np.stack([length + rng.random(length.shape), log_variance], axis=-1)
    options: dict[str, Any] = {"skeleton": tree(links), "min_distance": 2}
    for num_peaks, module in itertools.product((1, 4), (vl4pose, reference)):
        result = module.analyze(heatmaps, params, num_peaks=num_peaks, **options)
        assert ((result.posterior >= 0) & (result.posterior <= 1 + 1e-6)).all()
        assert_allclose(result.posterior.sum(axis=-1), 1.0, rtol=1e-6)
        assert np.isfinite(result.score).all()


@given(batches(kinds=SMOOTH))
@examples(6)
def test_scores_equal_the_twin(batch: Batch) -> None:
    result, twin = batch.analyze(), batch.analyze(reference.analyze)
    dtype = batch.heatmaps.dtype.type
    close: dict[str, Any] = {"rtol": tolerance(dtype), "atol": 1e-11}
    for name in ("score", "per_link"):
        assert_allclose(getattr(result, name), getattr(twin, name), **close)
    assert_allclose(result.posterior, twin.posterior, rtol=0, atol=1e-7)
    assert_array_equal(result.status, twin.status)
    names = ("skeleton", "method", "num_peaks", "min_distance", "temperature")
    thresholds = ("threshold_abs", "threshold_rel", "exclude_border")
    options = {name: batch.options[name] for name in (*names, *thresholds)}
    assert_same_bits(vl4pose.score(batch.heatmaps, batch.params, **options), result.score)


@pytest.mark.parametrize("num_peaks", [6, 24])  # a double can count 6**255 poses, but not 24**255
@pytest.mark.parametrize("parent", [lambda j: j - 1, lambda j: 0, lambda j: (j - 1) // 2])
def test_marginal_of_numbers_of_poses_beyond_a_double(num_peaks: int, parent: Any) -> None:
    J, L = 255, 254
    links = [(parent(j), j) for j in range(1, J)]
    rng = np.random.default_rng(num_peaks)
    heatmaps = rng.random((2, J, 24, 24))
    # In the first image all poses are nearly as probable, in the second few are.
    params = np.stack([rng.uniform(2, 20, (2, L)), np.full((2, L), 20.0)], axis=-1)
    params[1, :, 1] = rng.uniform(-1, 1, L)
    options: dict[str, Any] = {"num_peaks": num_peaks, "min_distance": 1, "method": "marginal"}
    result = vl4pose.analyze(heatmaps, params, skeleton=tree(links), **options)
    twin = reference.analyze(heatmaps, params, skeleton=tree(links), **options)
    assert_allclose(result.score, twin.score, rtol=1e-12)
    assert_allclose(result.posterior, twin.posterior, rtol=0, atol=1e-9)


def test_all_methods_agree_when_every_joint_has_one_peak() -> None:
    skeleton = tree([(2, 0), (2, 1), (0, 3)])
    xy = [(3, 9), (8, 1), (5, 5), (0, 11)]
    heatmaps = spikes([[(x, y, 1.0)] for x, y in xy])
    params = np.array([[4.0, 0.3], [2.0, -1.0], [7.0, 2.0]])
    judge = vl4pose.pose_log_likelihood(np.array([xy], dtype=np.float64), params, skeleton=skeleton)
    for method in METHODS:
        score = vl4pose.score(heatmaps, params, skeleton=skeleton, method=method, min_distance=1)
        assert_allclose(score, judge, rtol=1e-13)


def test_one_joint_without_a_link() -> None:
    heatmaps = spikes([[(2, 2, 2.0), (8, 8, 1.0)]])
    p = np.exp([2.0, 1.0]) / np.exp([2.0, 1.0]).sum()
    expected = {"expected": 0.0, "max": np.log(p[0]), "marginal": 0.0, "sum": np.log(p).sum()}
    for params in (np.zeros((1, 0, 2)), np.zeros((0, 2))):
        for method, score in expected.items():
            result = vl4pose.analyze(
                heatmaps, params, skeleton=ALONE, method=method, min_distance=1, num_peaks=2
            )
            assert_allclose(result.score, [score], rtol=1e-14, atol=1e-15)
            assert result.per_link.shape == (1, 0)
            assert_allclose(result.posterior[0, 0], p, rtol=1e-14)
            single = vl4pose.score(
                heatmaps[0], params.reshape(0, 2), skeleton=ALONE, method=method, min_distance=1
            )
            assert single.shape == ()
            assert_allclose(single, score, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("method", METHODS)
def test_shapes_and_dtypes_of_scores(dtype: Any, method: str) -> None:
    params = np.array([[3.0, 1.0], [5.0, 0.5]])
    for lead in [(), (0,), (1,), (3,)]:
        heatmaps = noise(*lead, 3, 12, 12, dtype=dtype)
        for own in [(2, 2), (*lead, 2, 2)]:
            given_params = np.broadcast_to(params, own)
            score = vl4pose.score(heatmaps, given_params, skeleton=CHAIN, method=method)
            assert score.shape == lead
            assert score.dtype == wide(dtype)


@pytest.mark.parametrize("heatmap_dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("params_dtype", [np.float16, np.float32, np.float64])
def test_params_are_rounded_to_the_precision_of_the_results(
    heatmap_dtype: Any, params_dtype: Any
) -> None:
    heatmaps = noise(3, 3, 12, 12, dtype=heatmap_dtype)
    params = np.random.default_rng(0).uniform(0.1, 9, (3, 2, 2)).astype(params_dtype)
    rounded = params.astype(wide(heatmap_dtype))
    result = vl4pose.analyze(heatmaps, params, skeleton=CHAIN)
    assert_same_bits(result, vl4pose.analyze(heatmaps, rounded, skeleton=CHAIN))
    if params_dtype == np.float64 and heatmap_dtype != np.float64:
        exact = vl4pose.analyze(heatmaps.astype(np.float64), params, skeleton=CHAIN)
        same = vl4pose.analyze(heatmaps.astype(np.float64), rounded, skeleton=CHAIN)
        assert (exact.score != same.score).all()  # or the rounding would not show


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_other_arguments_are_rounded_to_the_precision_of_the_results(dtype: Any) -> None:
    for make in (pose_call, offset_call):
        call, arguments = make(dtype)
        exact = [arguments[0], *(array + np.abs(noise(*array.shape)) for array in arguments[1:])]
        rounded = [arguments[0], *(array.astype(np.float32) for array in exact[1:])]
        assert_same_bits(call(*exact), call(*rounded))
        unrounded = call(*(array.astype(np.float64) for array in exact))
        assert (unrounded != call(*(array.astype(np.float64) for array in rounded))).all()


def test_adding_a_constant_to_the_maps_changes_no_score() -> None:
    for dtype in (np.float32, np.float64):
        heatmaps = np.round(noise(3, 3, 20, 20) * 64).astype(dtype) / 64  # so that sums are exact
        params = np.array([[3.0, 0.5], [5.0, 0.0]])
        for method in METHODS:
            options: dict[str, Any] = {"skeleton": CHAIN, "method": method}
            before = vl4pose.analyze(heatmaps, params, **options)
            after = vl4pose.analyze(heatmaps + dtype(1024), params, **options)
            assert_same_bits(after.peaks.values, before.peaks.values + dtype(1024))
            for name in ("score", "per_link", "entropy", "posterior", "keypoints", "status"):
                assert_same_bits(getattr(after, name), getattr(before, name))
            assert_same_bits(after.refined, before.refined)


def test_scaling_maps_and_temperature_together_changes_no_score() -> None:
    heatmaps = noise(2, 3, 20, 20)
    params = np.array([[3.0, 0.5], [5.0, 0.0]])
    for method in METHODS:
        before = vl4pose.score(heatmaps, params, skeleton=CHAIN, method=method)
        after = vl4pose.score(8 * heatmaps, params, skeleton=CHAIN, method=method, temperature=8.0)
        assert_same_bits(after, before)


# Frozen outputs of the code that the paper's authors released -------------------------------------

# That code computes exp(-s) in float32 and everything else in float64. Its quadratic terms are
# therefore off by up to a float32 ulp of them; they dominate the worst scores.
FLOAT32_EXP = 2.0**-23


@pytest.fixture(scope="module")
def released(test_data: Path) -> dict[str, np.ndarray]:
    with np.load(test_data / "released_lsp.npz") as arrays:
        return {name: arrays[name] for name in arrays.files}


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(
    ("frozen", "options"),
    [
        (
            "fast",
            {"method": "sum", "num_peaks": 1, "min_distance": 8, "exclude_border": True},
        ),
        ("sum2", {"method": "sum", "num_peaks": 2}),
        ("max_ll", {"method": "max", "num_peaks": 3}),
    ],
)
def test_released_scores(
    released: dict[str, np.ndarray], frozen: str, options: dict[str, Any], dtype: Any
) -> None:
    expected = released[frozen]
    images = len(expected)
    heatmaps = released["heatmaps"][:images].astype(dtype)  # which were float16
    score = vl4pose.score(heatmaps, released["params"][:images], **options)
    assert_allclose(score, expected, rtol=1.5 * FLOAT32_EXP + ULP[wide(dtype)])


# Log-likelihood of given poses -------------------------------------------------------------------


@given(trees(6), st.integers(0, 2**32 - 1), dtypes)
@examples(3)
def test_pose_log_likelihood_is_a_normal_density_of_bone_lengths(
    links: list[tuple[int, int]], seed: int, dtype: Any
) -> None:
    rng = np.random.default_rng(seed)
    images, L = 4, len(links)
    keypoints = (rng.normal(size=(images, L + 1, 2)) * 10).astype(dtype)
    params = np.stack([rng.uniform(-3, 20, (images, L)), rng.uniform(-1.5, 5, (images, L))], -1)
    params = params.astype(wide(dtype)).astype(np.float64)
    visible = rng.random((images, L + 1)) < 0.8
    exact = keypoints.astype(np.float64)
    judge = np.zeros((images, L))
    for link, (parent, child) in enumerate(links):
        r = np.linalg.norm(exact[:, child] - exact[:, parent], axis=-1)
        length, log_variance = params[:, link].T
        density = scipy.stats.norm.logpdf(r, length, np.exp(log_variance / 2))
        judge[:, link] = np.where(visible[:, parent] & visible[:, child], density, 0.0)
    hidden = np.where(visible[..., None], keypoints, dtype(NAN))
    options: dict[str, Any] = {"skeleton": tree(links), "visible": visible}
    for points in (keypoints, hidden):
        per_link = vl4pose.pose_log_likelihood(points, params, per_link=True, **options)
        total = vl4pose.pose_log_likelihood(points, params, **options)
        assert per_link.dtype == total.dtype == wide(dtype)
        assert_allclose(per_link, judge, rtol=tolerance(dtype))
        assert_allclose(total, judge.sum(axis=-1), rtol=tolerance(dtype))
        twin = reference.pose_log_likelihood(points, params, per_link=True, **options)
        assert_allclose(per_link, twin, rtol=tolerance(dtype))
    shared = vl4pose.pose_log_likelihood(keypoints, params[0], per_link=True, **options)
    assert_same_bits(shared[0], per_link[0])
    assert_allclose(
        shared,
        reference.pose_log_likelihood(keypoints, params[0], per_link=True, **options),
        rtol=tolerance(dtype),
    )


@given(st.integers(0, 2**32 - 1), dtypes)
@examples(3)
def test_pose_log_likelihood_is_exact_for_every_variance(seed: int, dtype: Any) -> None:
    rng = np.random.default_rng(seed)
    keypoints = rng.uniform(0, 128, (50, 2, 2)).astype(dtype)
    r = np.linalg.norm(np.diff(keypoints.astype(np.float64), axis=1)[:, 0], axis=-1)
    length = r + rng.choice([0.0, 1e-6, 1e-3, -0.1, 5.0, -40.0], 50)
    params = np.stack([length, rng.uniform(-20, 20, 50)], axis=-1)[:, None].astype(wide(dtype))
    length, log_variance = params[:, 0].astype(np.longdouble).T
    x, y = np.diff(keypoints.astype(np.longdouble), axis=1)[:, 0].T
    quadratic = (np.sqrt(x * x + y * y) - length) ** 2 * np.exp(-log_variance)
    log_2pi = np.log(2 * np.arccos(np.longdouble(-1)))
    judge = -0.5 * (log_2pi + log_variance + quadratic)
    scale = 0.5 * (log_2pi + np.abs(log_variance) + quadratic)
    found = vl4pose.pose_log_likelihood(keypoints, params, skeleton=tree([(0, 1)]))
    assert (np.abs(found - judge) <= (ULP[wide(dtype)] + 1e-9) * scale).all()


def offset_arguments(
    seed: int, images: int, L: int, dimensions: int, dtype: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    keypoints = rng.normal(size=(images, L + 1, dimensions)) * 5
    offsets = rng.normal(size=(images, L, dimensions)) * 5
    scale_tril = rng.normal(size=(images, L, dimensions, dimensions))
    scale_tril[..., range(dimensions), range(dimensions)] = rng.uniform(
        0.5, 3, (images, L, dimensions)
    )
    return keypoints.astype(dtype), offsets.astype(dtype), scale_tril.astype(dtype)


@given(trees(5), st.integers(0, 2**32 - 1), st.sampled_from([2, 3]), dtypes)
@examples(2)
def test_offset_log_likelihood_is_a_multivariate_normal(
    links: list[tuple[int, int]], seed: int, dimensions: int, dtype: Any
) -> None:
    images, L = 3, len(links)
    arguments = offset_arguments(seed, images, L, dimensions, dtype)
    keypoints, offsets, scale_tril = (array.astype(np.float64) for array in arguments)
    visible = np.random.default_rng(seed).random((images, L + 1)) < 0.8
    judge = np.zeros((images, L))
    for image, link in np.ndindex(images, L):
        parent, child = links[link]
        if visible[image, parent] and visible[image, child]:
            T = np.tril(scale_tril[image, link])
            judge[image, link] = scipy.stats.multivariate_normal.logpdf(
                keypoints[image, child], keypoints[image, parent] + offsets[image, link], T @ T.T
            )
    hidden = np.where(visible[..., None], arguments[0], dtype(NAN))
    upper = ~np.tri(dimensions, dtype=bool)
    unread = np.where(upper, dtype(NAN), arguments[2])
    options: dict[str, Any] = {"skeleton": tree(links), "visible": visible}
    close: dict[str, Any] = {"rtol": ULP[wide(dtype)] + 1e-9}
    per_link = vl4pose.offset_log_likelihood(hidden, arguments[1], unread, per_link=True, **options)
    total = vl4pose.offset_log_likelihood(hidden, arguments[1], unread, **options)
    assert per_link.dtype == total.dtype == wide(dtype)
    assert_allclose(per_link, judge, **close)
    scale = np.abs(judge).sum(axis=-1)
    assert (np.abs(total - judge.sum(axis=-1)) <= close["rtol"] * scale).all()
    twin = reference.offset_log_likelihood(*arguments, per_link=True, **options)
    assert_allclose(per_link, twin, rtol=tolerance(dtype), atol=1e-11)
    shared = vl4pose.offset_log_likelihood(
        arguments[0], arguments[1][1], arguments[2][1], per_link=True, **options
    )
    assert_same_bits(shared[1], per_link[1])


def pose_call(dtype: Any = np.float64, images: int = 4, **options: Any) -> Any:
    """Return a function of (keypoints, params) and its arguments."""
    rng = np.random.default_rng(0)
    keypoints = (rng.normal(size=(images, 3, 2)) * 10).astype(dtype)
    params = rng.uniform(0.5, 9, (images, 2, 2)).astype(wide(dtype))

    def call(*arguments: Any, **more: Any) -> Any:
        return vl4pose.pose_log_likelihood(*arguments, skeleton=CHAIN, **options, **more)

    return call, [keypoints, params]


def offset_call(dtype: Any = np.float64, images: int = 4, **options: Any) -> Any:
    """Return a function of (keypoints, offsets, scale_tril) and its arguments."""

    def call(*arguments: Any, **more: Any) -> Any:
        return vl4pose.offset_log_likelihood(*arguments, skeleton=CHAIN, **options, **more)

    return call, list(offset_arguments(0, images, 2, 3, dtype))


@pytest.mark.parametrize("make", [pose_call, offset_call])
@pytest.mark.parametrize("bad", [NAN, np.inf, -np.inf])
def test_nonfinite_arguments_spoil_their_image_alone(make: Any, bad: float) -> None:
    call, arguments = make()
    visible = np.ones((4, 3), dtype=bool)
    visible[2, 2] = False  # so that what is wrong belongs to a link that does not count
    clean = call(*arguments, visible=visible, per_link=True)
    for index in range(1, len(arguments)):
        spoilt = [array.copy() for array in arguments]
        spoilt[index][2, 1].flat[0] = bad
        per_link = call(*spoilt, visible=visible, per_link=True)
        total = call(*spoilt, visible=visible)
        assert np.isnan(per_link[2]).all()
        assert np.isnan(total[2])
        others = [0, 1, 3]
        assert_same_bits(per_link[others], clean[others])
        assert np.isfinite(total[others]).all()


def test_float64_params_that_float32_cannot_hold_are_not_finite() -> None:
    keypoints = noise(2, 3, 2, dtype=np.float32)
    params = np.tile([[3.0, 0.5], [5.0, 0.0]], (2, 1, 1))
    params[1, 0, 0] = 1e300
    result = vl4pose.pose_log_likelihood(keypoints, params, skeleton=CHAIN)
    assert_array_equal(np.isnan(result), [False, True])
    wide_result = vl4pose.pose_log_likelihood(keypoints.astype(np.float64), params, skeleton=CHAIN)
    assert np.isfinite(wide_result).all()


def test_params_are_clamped() -> None:
    keypoints = noise(3, 3, 2)
    beyond = np.array([[[3.0, 25.0], [5.0, 0.0]], [[3.0, 0.0], [-2e6, -21.0]], [[2e6, 1e300]] * 2])
    within = np.array([[[3.0, 20.0], [5.0, 0.0]], [[3.0, 0.0], [-1e6, -20.0]], [[1e6, 20.0]] * 2])
    for per_link in (False, True):
        options: dict[str, Any] = {"skeleton": CHAIN, "per_link": per_link}
        assert_same_bits(
            vl4pose.pose_log_likelihood(keypoints, beyond, **options),
            vl4pose.pose_log_likelihood(keypoints, within, **options),
        )


def test_a_diagonal_that_is_not_positive_is_nan() -> None:
    call, arguments = offset_call(images=3)
    clean = call(*arguments, per_link=True)
    arguments[2][0, 1, 1, 1] = 0.0
    arguments[2][1, 0, 0, 0] = -1.0
    arguments[2][2, 0, 2, 2] = -0.0
    per_link = call(*arguments, per_link=True)
    expected = np.array([[False, True], [True, False], [True, False]])
    assert_array_equal(np.isnan(per_link), expected)
    assert_array_equal(per_link[~expected], clean[~expected])
    assert np.isnan(call(*arguments)).all()
    visible = np.array([[True, True, False], [False, True, True], [False, True, True]])
    assert np.isfinite(call(*arguments, visible=visible)).all()  # it does not count


@pytest.mark.parametrize("make", [pose_call, offset_call])
@pytest.mark.parametrize("per_link", [False, True])
def test_shapes_and_dtypes_of_log_likelihoods(make: Any, per_link: bool) -> None:
    for dtype in (np.float16, np.float32, np.float64):
        call, arguments = make(dtype, per_link=per_link)
        batch = call(*arguments)
        assert batch.shape == ((4, 2) if per_link else (4,))
        assert batch.dtype == wide(dtype)
        assert call(*(array[:0] for array in arguments)).shape == (0, *batch.shape[1:])
        for image in range(4):
            single = call(*(array[image] for array in arguments))
            assert_same_bits(single, batch[image])
            assert single.shape == batch.shape[1:]
        visible = np.zeros((4, 3), dtype=bool)
        assert_array_equal(call(*arguments, visible=visible), np.zeros_like(batch))


def test_one_joint_has_log_likelihood_zero() -> None:
    points = noise(2, 1, 2)
    result = vl4pose.pose_log_likelihood(points, np.zeros((2, 0, 2)), skeleton=ALONE)
    assert_array_equal(result, [0.0, 0.0])
    per_link = vl4pose.offset_log_likelihood(
        points, np.zeros((2, 0, 2)), np.zeros((2, 0, 2, 2)), skeleton=ALONE, per_link=True
    )
    assert per_link.shape == (2, 0)


@pytest.mark.parametrize("make", [pose_call, offset_call])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_memory_layout_changes_nothing(make: Any, layout: str, dtype: Any) -> None:
    call, arguments = make(dtype)
    visible = np.random.default_rng(0).random((4, 3)) < 0.7
    change = LAYOUTS[layout]
    for per_link in (False, True):
        expected = call(*arguments, visible=visible, per_link=per_link)
        changed = [change(array) for array in arguments]
        found = call(*changed, visible=change(visible), per_link=per_link)
        assert_same_bits(found, expected)


@pytest.mark.parametrize("make", [pose_call, offset_call])
def test_repeated_arguments_need_no_memory_of_their_own(make: Any) -> None:
    call, arguments = make(images=1)
    expected = call(*arguments)
    images = 300_000  # beyond one thread's part
    repeated = [np.broadcast_to(array, (images, *array.shape[1:])) for array in arguments]
    assert_same_bits(call(*repeated, num_threads=2), np.repeat(expected, images))


@pytest.mark.parametrize("make", [pose_call, offset_call])
@pytest.mark.parametrize("num_threads", [2, 3, 7, 64])
def test_threads_change_nothing(make: Any, num_threads: int) -> None:
    call, arguments = make(np.float32, images=30_000)
    for per_link in (False, True):
        expected = call(*arguments, per_link=per_link, num_threads=1)
        assert_same_bits(call(*arguments, per_link=per_link, num_threads=num_threads), expected)


def test_skeleton_goes_by_the_number_of_joints() -> None:
    for name in ("lsp", "mpii", "coco", "hand"):
        skeleton = get_skeleton(name)
        keypoints = noise(2, skeleton.num_joints, 2)
        params = np.abs(noise(skeleton.num_links, 2))
        expected = vl4pose.pose_log_likelihood(keypoints, params, skeleton=skeleton)
        assert_same_bits(vl4pose.pose_log_likelihood(keypoints, params), expected)
        assert_same_bits(vl4pose.pose_log_likelihood(keypoints, params, skeleton=name), expected)
        heatmaps = noise(2, skeleton.num_joints, 16, 16)
        expected = vl4pose.score(heatmaps, params, skeleton=skeleton)
        assert_same_bits(vl4pose.score(heatmaps, params), expected)
