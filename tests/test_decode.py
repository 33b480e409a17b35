"""Keypoints of the maps' maxima, and their sub-pixel steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from strategies import (
    ALONE,
    LAYOUTS,
    SUBPIXELS,
    Canvas,
    assert_same_bits,
    blobs,
    examples,
    gaussian,
    maps_and_options,
    noise,
    wide,
)

import vl4pose
from vl4pose import reference

pytestmark = pytest.mark.usefixtures("kernels")

INF = np.inf
Decode: TypeAlias = Callable[..., vl4pose.Decoded[Any]]


@pytest.fixture(params=[vl4pose, reference], ids=["core", "twin"])
def decode(request: pytest.FixtureRequest) -> Decode:
    """Both implementations, each by itself."""
    function: Decode = request.param.decode
    return function


@given(maps_and_options(), st.sampled_from([None, "quarter"]))
@examples(8)
def test_equals_argmax_and_the_twin(case: tuple[np.ndarray, dict[str, Any]], subpixel: Any) -> None:
    heatmaps, _ = case
    decoded = vl4pose.decode(heatmaps, subpixel=subpixel)
    first = heatmaps.reshape(*heatmaps.shape[:2], -1).argmax(axis=-1)  # NumPy's is the first
    y, x = np.divmod(first, heatmaps.shape[-1])
    highest = heatmaps.max(axis=(2, 3)).astype(wide(heatmaps.dtype))
    assert_array_equal(decoded.confidence, highest)
    if subpixel is None:
        assert_array_equal(decoded.keypoints, np.stack([x, y], axis=-1))
    assert_same_bits(decoded, reference.decode(heatmaps, subpixel=subpixel))


@given(st.integers(0, 2**32 - 1), st.sampled_from(["centroid", "dark"]), st.data())
@examples(5)
def test_steps_equal_the_twin_s(seed: int, subpixel: Any, data: st.DataObject) -> None:
    rng = np.random.default_rng(seed)
    height, width = (data.draw(st.integers(1, 24)) for _ in range(2))
    dtype = data.draw(st.sampled_from([np.float16, np.float32, np.float64]))
    heatmaps = np.stack([blobs(Canvas(rng, height, width, 1, 0)) for _ in range(4)])[None]
    heatmaps = np.exp(4 * heatmaps / heatmaps.std()) if data.draw(st.booleans()) else heatmaps
    heatmaps = np.minimum(heatmaps, 6e4).astype(dtype)
    if data.draw(st.booleans()):
        heatmaps[rng.random(heatmaps.shape) < 0.1] = -INF
    found = vl4pose.decode(heatmaps, subpixel=subpixel)
    twin = reference.decode(heatmaps, subpixel=subpixel)
    assert_same_bits(found.confidence, twin.confidence)
    # The Newton step divides by a determinant that may nearly vanish.
    assert_allclose(found.keypoints, twin.keypoints, rtol=0, atol=1e-5)


def test_takes_the_first_maximum(decode: Decode) -> None:
    heatmaps = np.zeros((1, 2, 5, 6), dtype=np.float16)
    heatmaps[0, 0, 3, [2, 4]] = 1.5
    heatmaps[0, 1] = -INF
    decoded = decode(heatmaps)
    assert_array_equal(decoded.keypoints, [[[2, 3], [0, 0]]])
    assert_array_equal(decoded.confidence, [[1.5, -INF]])


@pytest.mark.parametrize(
    ("row", "x", "step"),
    [
        ([0, 1, 5, 2, 0], 2, 0.25),
        ([0, 2, 5, 1, 0], 2, -0.25),
        ([0, 2, 5, 2, 0], 2, 0.0),
        ([5, 2, 1, 0, 0], 0, 0.0),
        ([0, 0, 1, 2, 5], 4, 0.0),
        ([0, 0, 1, 5, 4], 3, 0.25),
        ([-INF, -INF, 5, -INF, 0], 2, 0.0),
        ([-INF, -INF, 5, 0, 0], 2, 0.25),
        ([-9, -3, -1, -4, -9], 2, -0.25),
        ([-0.0, 0.0, 5, -0.0, 0], 2, 0.0),
    ],
)
def test_quarter_steps_towards_the_higher_neighbour(
    decode: Decode, row: list[float], x: int, step: float
) -> None:
    heatmap = np.full((3, 5), -INF)
    heatmap[1] = row
    for same in (heatmap, heatmap.astype(np.float16), heatmap.astype(np.float32)):
        decoded = decode(same[None, None], subpixel="quarter")
        assert_array_equal(decoded.keypoints[0, 0], [x + step, 1])
        turned = decode(same.T[None, None], subpixel="quarter")
        assert_array_equal(turned.keypoints[0, 0], [1, x + step])
        assert decoded.confidence[0, 0] == row[x]


def test_centroid_is_the_weighted_mean_of_the_window(decode: Decode) -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        height, width = rng.integers(1, 9, size=2)
        heatmap = rng.normal(size=(height, width))
        heatmap.flat[rng.integers(heatmap.size)] = 9.0
        heatmap[rng.random((height, width)) < 0.1] = -INF
        y, x = np.unravel_index(np.argmax(heatmap), heatmap.shape)
        ys, xs = np.indices(heatmap.shape)
        near = (abs(xs - x) <= 2) & (abs(ys - y) <= 2)
        weights = np.where(near, np.maximum(heatmap, 0.0), 0.0)
        expected = [x, y]
        if weights.sum() > 0:
            expected = [np.average(xs, weights=weights), np.average(ys, weights=weights)]
        decoded = decode(heatmap[None, None], subpixel="centroid")
        assert_allclose(decoded.keypoints[0, 0], expected, rtol=1e-12, atol=1e-12)


def test_centroid_makes_no_step_where_nothing_is_positive(decode: Decode) -> None:
    for heatmap in (-1.0 - np.abs(noise(9, 9)), np.zeros((9, 9)), np.full((9, 9), -INF)):
        plain = decode(heatmap[None, None]).keypoints
        moved = decode(heatmap[None, None], subpixel="centroid").keypoints
        assert_array_equal(moved, plain)


def test_dark_recovers_the_centre_of_a_gaussian(decode: Decode) -> None:
    rng = np.random.default_rng(0)
    for center in rng.uniform(12, 51, size=(40, 2)):
        heatmap = 30 * gaussian(*center, sigma=rng.uniform(1.5, 3.0))
        found = decode(heatmap[None, None], subpixel="dark").keypoints[0, 0]
        plain = decode(heatmap[None, None]).keypoints[0, 0]
        assert np.hypot(*(found - center)) < 0.05
        assert np.hypot(*(found - center)) < np.hypot(*(plain - center))


def test_dark_equals_numpy_gradients_of_scipy_s_blur(decode: Decode) -> None:
    steps = 0
    rng = np.random.default_rng(0)
    for _ in range(200):
        bump = gaussian(*rng.uniform(0, (23, 17)), shape=(17, 23), sigma=rng.uniform(1.5, 3.0))
        heatmap = bump + 0.1 * rng.normal(size=(17, 23))
        y, x = np.unravel_index(np.argmax(heatmap), heatmap.shape)
        blurred = scipy.ndimage.gaussian_filter(heatmap, 2.0, radius=5, mode="constant")
        log_map = np.log(np.maximum(blurred, 1e-10))
        g_y, g_x = np.gradient(log_map)
        (g_yy, _), (g_xy, g_xx) = np.gradient(g_y), np.gradient(g_x)
        expected = np.array([x, y], dtype=float)
        if 1 < x < 23 - 2 and 1 < y < 17 - 2:
            hessian = [[g_xx[y, x], g_xy[y, x]], [g_xy[y, x], g_yy[y, x]]]
            step = -np.linalg.solve(hessian, [g_x[y, x], g_y[y, x]])
            if np.hypot(*step) <= 1:
                expected += step
                steps += 1
        decoded = decode(heatmap[None, None], subpixel="dark")
        assert_allclose(decoded.keypoints[0, 0], expected, rtol=1e-9)
    assert 50 < steps < 150  # both kinds occurred


@pytest.mark.parametrize("near", [0, 1, 2])
def test_dark_makes_no_step_within_two_pixels_of_the_border(decode: Decode, near: int) -> None:
    for center in (near + 0.3, 31 - near - 0.3):
        pixel = round(center)
        across = gaussian(center, 15.3, shape=(32, 32))
        found = decode(across[None, None], subpixel="dark").keypoints[0, 0]
        turned = decode(across.T[None, None], subpixel="dark").keypoints[0, 0]
        stepped = near == 2
        assert (found != [pixel, 15]).all() == stepped
        assert_allclose(turned[::-1], found)


@pytest.mark.parametrize("center", [15.0, 15.3, 14.6])
def test_dark_makes_no_step_where_the_hessian_is_singular(center: float) -> None:
    ridge = np.tile(gaussian(center, 0, shape=(32, 32))[0], (32, 1))
    options: dict[str, Any] = {"skeleton": ALONE, "min_distance": 1, "exclude_border": 8}
    for heatmap in (ridge, ridge.T):  # its peaks are all along the ridge: the first inside
        across = round(center)
        first = [across, 8] if heatmap is ridge else [8, across]
        for subpixel in (None, "dark"):
            refined = vl4pose.refine(
                heatmap[None, None], np.zeros((0, 2)), subpixel=subpixel, **options
            )
            assert_array_equal(refined.keypoints, [[first]])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("subpixel", SUBPIXELS)
def test_shapes_and_dtypes(dtype: Any, subpixel: Any) -> None:
    for lead in [(), (0,), (1,), (3,)]:
        heatmaps = noise(*lead, 2, 9, 8, dtype=dtype)
        decoded = vl4pose.decode(heatmaps, subpixel=subpixel)
        assert decoded.keypoints.shape == (*lead, 2, 2)
        assert decoded.confidence.shape == (*lead, 2)
        assert [array.dtype for array in decoded] == [wide(dtype)] * 2
    single = vl4pose.decode(heatmaps[1], subpixel=subpixel)
    for found, wanted in zip(single, decoded, strict=True):
        assert_same_bits(found, wanted[1])


@pytest.mark.parametrize("value", [np.nan, INF])
@pytest.mark.parametrize("subpixel", SUBPIXELS)
def test_nan_and_inf_spoil_their_image_alone(value: float, subpixel: Any) -> None:
    heatmaps = noise(3, 2, 14, 13, dtype=np.float32)
    clean = vl4pose.decode(heatmaps, subpixel=subpixel)
    heatmaps[1, 1, 13, 12] = value
    spoilt = vl4pose.decode(heatmaps, subpixel=subpixel)
    for found, wanted in zip(spoilt, clean, strict=True):
        assert_same_bits(found[::2], wanted[::2])
        assert np.isnan(found[1]).all()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("subpixel", SUBPIXELS)
def test_memory_layout_changes_nothing(layout: str, dtype: Any, subpixel: Any) -> None:
    heatmaps = noise(2, 3, 13, 14, dtype=dtype)
    expected = vl4pose.decode(heatmaps, subpixel=subpixel)
    assert_same_bits(vl4pose.decode(LAYOUTS[layout](heatmaps), subpixel=subpixel), expected)
