"""The compiled peaks are those of scikit-image: coordinates, order, number and every bit."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from numpy.testing import assert_array_equal
from strategies import (
    LAYOUTS,
    assert_peaks_are_scikit_image_s,
    assert_same_bits,
    examples,
    maps_and_options,
    noise,
    wide,
)

import vl4pose
from vl4pose import reference

pytestmark = pytest.mark.usefixtures("kernels")


def check(heatmaps: np.ndarray, **options: Any) -> None:
    peaks = vl4pose.local_maxima(heatmaps, **options)
    assert_peaks_are_scikit_image_s(peaks, heatmaps, options)


@given(maps_and_options())
@examples(40)
def test_equals_scikit_image_and_the_twin(case: tuple[np.ndarray, dict[str, Any]]) -> None:
    heatmaps, options = case
    check(heatmaps, **options)
    peaks = vl4pose.local_maxima(heatmaps, **options)
    assert_same_bits(peaks, reference.local_maxima(heatmaps, **options))


@given(maps_and_options())
@examples(20)
def test_bfloat16_equals_its_widened_values(case: tuple[np.ndarray, dict[str, Any]]) -> None:
    torch = pytest.importorskip("torch", reason="NumPy has no bfloat16")
    heatmaps, options = case
    finite = np.clip(heatmaps.astype(np.float64), -3e38, 3e38)
    half = torch.from_numpy(np.where(np.isinf(heatmaps), heatmaps, finite)).bfloat16()
    peaks = vl4pose.local_maxima(half, **options)
    widened = vl4pose.local_maxima(half.float(), **options)
    for found, wanted in zip(peaks, widened, strict=True):
        assert_same_bits(found, wanted)


@pytest.mark.parametrize("exclude_border", [0, 1, True])
@pytest.mark.parametrize("min_distance", range(1, 17))
def test_every_distance(min_distance: int, exclude_border: int | bool) -> None:
    options = {"min_distance": min_distance, "exclude_border": exclude_border, "num_peaks": 64}
    for seed, (height, width) in enumerate([(64, 64), (96, 72), (47, 33), (7, 61)]):
        heatmaps = noise(1, 2, height, width, seed=seed, dtype=np.float32)
        check(heatmaps, **options)
        check(np.round(heatmaps), **options)  # plateaus and ties


@pytest.mark.parametrize("num_peaks", [*range(1, 65), 4096])
def test_every_number_of_peaks(num_peaks: int) -> None:
    heatmaps = np.concatenate([noise(1, 1, 41, 53), np.round(noise(1, 1, 41, 53))], axis=1)
    for min_distance in (1, 2, 4):
        check(heatmaps, min_distance=min_distance, num_peaks=num_peaks, exclude_border=2)
        some = vl4pose.local_maxima(heatmaps, min_distance=min_distance, num_peaks=num_peaks)
        every = vl4pose.local_maxima(heatmaps, min_distance=min_distance, num_peaks=4096)
        n = min(num_peaks, 41 * 53)
        assert_same_bits(some.xy[:, :, :n], every.xy[:, :, :n])  # the highest come first


def test_more_peaks_than_pixels() -> None:
    for shape in [(1, 1), (1, 2), (2, 3)]:
        check(noise(1, 4, *shape), num_peaks=64, min_distance=1)
        check(noise(1, 4, *shape), num_peaks=4096, min_distance=1)


def tiny_maps(height: int, width: int, levels: tuple[float, ...]) -> np.ndarray:
    """Return every map of this size that has no other values, (number, 1, height, width)."""
    every = np.array(list(itertools.product(levels, repeat=height * width)), dtype=np.float32)
    return every.reshape(-1, 1, height, width)


@pytest.mark.parametrize(
    ("height", "width", "levels"),
    [
        (1, 6, (0, 1, 2)),
        (6, 1, (0, 1, 2)),
        (2, 4, (0, 1)),
        (4, 2, (-1, -0.0)),
        (3, 3, (0, 1)),
        (2, 2, (-np.inf, -0.0, 0, 1)),
        (1, 9, (0, 1)),
    ],
)
def test_every_tiny_map(height: int, width: int, levels: tuple[float, ...]) -> None:
    heatmaps = tiny_maps(height, width, levels)
    for min_distance in (1, 2, 3, 4):
        check(heatmaps, min_distance=min_distance, num_peaks=9)


@pytest.mark.parametrize("shape", [(1, 1), (1, 64), (64, 1), (2, 2), (3, 70), (70, 3), (65, 5)])
@pytest.mark.parametrize("min_distance", [1, 2, 3, 7, 16, 100, 2**31, 10**15])
def test_maps_smaller_than_the_window(shape: tuple[int, int], min_distance: int) -> None:
    # scikit-image would build a window of that size; beyond the map none differs from another.
    like = min(min_distance, 100)
    for heatmaps in (noise(1, 2, *shape), np.round(noise(1, 2, *shape))):
        peaks = vl4pose.local_maxima(heatmaps, min_distance=min_distance)
        assert_peaks_are_scikit_image_s(peaks, heatmaps, {"min_distance": like})


@pytest.mark.parametrize("min_distance", [30, 63, 64, 65, 66, 90, 97])
def test_long_distances_on_large_maps(min_distance: int) -> None:
    heatmaps = noise(1, 1, 250, 230, dtype=np.float32)
    heatmaps[0, 0, ::40, ::40] += 9.0  # next to peaks that are not the highest of their windows
    heatmaps[0, 0, 40, 40::min_distance] += 1.0
    check(heatmaps, min_distance=min_distance, num_peaks=20)


@pytest.mark.parametrize("min_distance", range(1, 17))
def test_equal_peaks_that_far_apart_both_stay(min_distance: int) -> None:
    for apart, kept in ((min_distance - 1, 1), (min_distance, 2), (min_distance + 1, 2)):
        for dy, dx in ((0, apart), (apart, 0), (apart, apart), (apart, -apart), (apart, 1)):
            for y, x in itertools.product((17, 18, 19, 20), repeat=2):  # on all sides of cells
                if dy == dx == 0 or max(abs(dy), abs(dx)) != apart:
                    continue
                heatmaps = np.zeros((1, 1, 45, 45), np.float32)
                heatmaps[0, 0, [y, y + dy], [x, x + dx]] = 1.0
                check(heatmaps, min_distance=min_distance, num_peaks=3)
                count = vl4pose.local_maxima(heatmaps, min_distance=min_distance).count.item()
                assert count == (2 if min_distance == 1 else kept)


@pytest.mark.parametrize("min_distance", range(1, 17))
def test_a_larger_peak_reaches_as_far_as_the_window(min_distance: int) -> None:
    for y, x in itertools.product((17, 18), repeat=2):
        for dy, dx in itertools.product((-min_distance - 1, -min_distance, 0, 1), repeat=2):
            heatmaps = np.zeros((1, 1, 40, 40), np.float32)
            heatmaps[0, 0, y + dy, x + dx] = 2.0
            heatmaps[0, 0, y, x] += 1.0
            check(heatmaps, min_distance=min_distance, num_peaks=3)
            inside = max(abs(dy), abs(dx)) <= min_distance
            count = vl4pose.local_maxima(heatmaps, min_distance=min_distance).count.item()
            assert count == (1 if inside else 2)


def test_what_the_border_drops() -> None:
    heatmaps = np.zeros((1, 2, 16, 16))
    heatmaps[0, 0, 8, [1, 4]] = 3.0, 2.0  # a larger one still suppresses its neighbours
    heatmaps[0, 1, 8, [1, 4]] = 2.0, 2.0  # an equal one does not
    peaks = vl4pose.local_maxima(heatmaps, min_distance=4, exclude_border=2)
    check(heatmaps, min_distance=4, exclude_border=2, num_peaks=5)
    assert_array_equal(peaks.count, [[1, 1]])
    assert_array_equal(peaks.xy[0, :, 0], [[1, 8], [4, 8]])  # the first by falling back


def test_a_border_that_leaves_little_or_nothing() -> None:
    heatmaps = noise(1, 20, 16, 15)
    for border in (6, 7, 8, 15, 16, 17, 10**15):  # of 15 pixels, 7 leave one
        like = min(border, 100)
        peaks = vl4pose.local_maxima(heatmaps, min_distance=1, exclude_border=border)
        options = {"min_distance": 1, "exclude_border": like}
        assert_peaks_are_scikit_image_s(peaks, heatmaps, options)


def test_true_as_border_is_the_distance_and_one_is_one() -> None:
    heatmaps = noise(2, 3, 40, 40)
    with_true = vl4pose.local_maxima(heatmaps, min_distance=6, exclude_border=True)
    assert_same_bits(with_true, vl4pose.local_maxima(heatmaps, min_distance=6, exclude_border=6))
    with_one = vl4pose.local_maxima(heatmaps, min_distance=6, exclude_border=1)
    assert (with_true.xy != with_one.xy).any()
    with_false = vl4pose.local_maxima(heatmaps, min_distance=6, exclude_border=False)
    assert_same_bits(with_false, vl4pose.local_maxima(heatmaps, min_distance=6))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_threshold_is_rounded_to_the_precision_of_the_map(dtype: Any) -> None:
    heatmaps = np.zeros((1, 1, 20, 20), dtype)
    heatmaps[0, 0, 4, 4] = 0.1
    heatmaps[0, 0, 12, 12] = 0.05
    lower = heatmaps[0, 0, 12, 12].astype(wide(dtype))
    beyond_float32 = float(lower) - 1e-12
    below = float(np.nextafter(lower, type(lower)(0)))
    for threshold, count in (
        (float(lower), 1),
        (beyond_float32, 2 if dtype == np.float64 else 1),
        (below, 2),
    ):
        check(heatmaps, threshold_abs=threshold)
        assert vl4pose.local_maxima(heatmaps, threshold_abs=threshold).count.item() == count


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_relative_threshold_is_computed_in_the_precision_of_the_map(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    for share, height in rng.uniform([0.3, 1.0], [0.7, 9.0], (50, 2)).tolist():
        heatmaps = np.zeros((1, 1, 20, 20), dtype)
        heatmaps[0, 0, 4, 4] = height
        threshold = dtype(share) * heatmaps.max()
        for second, count in ((threshold, 1), (np.nextafter(threshold, dtype(9)), 2)):
            heatmaps[0, 0, 12, 12] = second
            check(heatmaps, threshold_rel=share)
            assert vl4pose.local_maxima(heatmaps, threshold_rel=share).count.item() == count


@pytest.mark.parametrize("threshold", [-1e300, 1e300, np.inf, -np.inf])
def test_thresholds_beyond_the_precision(threshold: float) -> None:
    heatmaps = noise(1, 2, 20, 20, dtype=np.float32)
    every = vl4pose.local_maxima(heatmaps)
    peaks = vl4pose.local_maxima(heatmaps, threshold_abs=threshold)
    if threshold < 0:
        assert_same_bits(peaks, every)
    else:
        assert_array_equal(peaks.count, 1)
        assert_same_bits(peaks.xy[:, :, 0], every.xy[:, :, 0])


def test_subnormal_values_are_not_flushed_to_zero() -> None:
    for dtype in (np.float16, np.float32, np.float64):
        tiny = np.finfo(dtype).smallest_subnormal
        heatmaps = np.zeros((1, 1, 12, 12), dtype)
        heatmaps[0, 0, [2, 9], [2, 9]] = tiny, 2 * tiny
        check(heatmaps, num_peaks=5)
        peaks = vl4pose.local_maxima(heatmaps)
        assert_array_equal(peaks.xy[0, 0, :2], [[9, 9], [2, 2]])
        assert_array_equal(peaks.values[0, 0, :2] > 0, True)


def all_half_bit_patterns() -> np.ndarray:
    return np.arange(2**16, dtype=np.uint16)


def widened_bfloat16(patterns: np.ndarray) -> np.ndarray:
    return (patterns.astype(np.uint32) << 16).view(np.float32)


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
@pytest.mark.parametrize("width", [1, 7, 16])
def test_every_half_precision_number_is_widened_exactly(kind: str, width: int) -> None:
    patterns = all_half_bit_patterns()
    if kind == "float16":
        maps: Any = patterns.view(np.float16)
        widened = maps.astype(np.float32)
        lowest: Any = np.float16(-np.inf)
        heatmaps = np.full((len(patterns), 1, 1, width), lowest)
        heatmaps[:, 0, 0, width // 2] = maps
    else:
        torch = pytest.importorskip("torch")
        maps = torch.from_numpy(patterns.view(np.int16)).view(torch.bfloat16)
        widened = widened_bfloat16(patterns)
        heatmaps = torch.full((len(patterns), 1, 1, width), -np.inf, dtype=torch.bfloat16)
        heatmaps[:, 0, 0, width // 2] = maps
    peaks = vl4pose.local_maxima(heatmaps)
    confidence = np.asarray(vl4pose.decode(heatmaps).confidence)[:, 0]
    ordinary = ~np.isnan(widened) & ~np.isposinf(widened)
    assert np.count_nonzero(ordinary) == (63489 if kind == "float16" else 65281)
    for found in (np.asarray(peaks.values)[:, 0, 0], confidence):
        assert_array_equal(found[ordinary].view(np.uint32), widened[ordinary].view(np.uint32))
        assert np.isnan(found[~ordinary]).all()
    assert_array_equal(np.asarray(peaks.count)[:, 0], ordinary)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf])
def test_nan_and_inf_spoil_their_image_alone(dtype: Any, value: float) -> None:
    heatmaps = noise(4, 3, 11, 37, dtype=dtype)
    clean = vl4pose.local_maxima(heatmaps)
    for joint, y, x in [(0, 0, 0), (1, 5, 36), (2, 10, 35), (2, 10, 36), (1, 4, 17)]:
        bad = heatmaps.copy()
        bad[2, joint, y, x] = value
        bad[3, 0, 3, 3] = -np.inf  # which is an ordinary value
        peaks = vl4pose.local_maxima(bad)
        for found, wanted in zip(peaks, clean, strict=True):
            assert_same_bits(found[:2], wanted[:2])
        assert_array_equal(peaks.xy[2], -1)
        assert np.isnan(peaks.values[2]).all()
        assert_array_equal(peaks.count[2], 0)
        ordinary = slice(3, 4)
        expected = reference.local_maxima(bad[ordinary])
        assert_same_bits(vl4pose.Peaks(*(array[ordinary] for array in peaks)), expected)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(3, 2, 21, 18), (2, 3, 1, 9), (2, 3, 9, 1), (1, 1, 1, 1)])
def test_memory_layout_changes_nothing(
    layout: str, dtype: Any, shape: tuple[int, int, int, int]
) -> None:
    heatmaps = noise(*shape, dtype=dtype)
    same = LAYOUTS[layout](heatmaps)
    assert_array_equal(same, heatmaps)
    options: dict[str, Any] = {"min_distance": 2}
    assert_same_bits(
        vl4pose.local_maxima(same, **options), vl4pose.local_maxima(heatmaps, **options)
    )


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_shapes_and_dtypes(dtype: Any) -> None:
    result = wide(dtype)
    for lead in [(), (0,), (1,), (3,)]:
        peaks = vl4pose.local_maxima(noise(*lead, 2, 9, 8, dtype=dtype), num_peaks=7)
        assert peaks.xy.shape == (*lead, 2, 7, 2)
        assert peaks.values.shape == (*lead, 2, 7)
        assert peaks.count.shape == (*lead, 2)
        assert [array.dtype for array in peaks] == [result, result, np.int32]


def test_a_single_image_is_a_batch_of_one() -> None:
    heatmaps = noise(3, 12, 12)
    single = vl4pose.local_maxima(heatmaps)
    batch = vl4pose.local_maxima(heatmaps[None])
    for found, wanted in zip(single, batch, strict=True):
        assert_same_bits(found, wanted[0])


@pytest.mark.parametrize("exclude_border", [0, True])
@pytest.mark.parametrize("min_distance", [1, 5, 8])
def test_real_maps(test_data: Path, min_distance: int, exclude_border: int | bool) -> None:
    heatmaps = np.load(test_data / "released_lsp.npz")["heatmaps"]
    for num_peaks in (1, 2, 5):
        check(
            heatmaps,
            min_distance=min_distance,
            exclude_border=exclude_border,
            num_peaks=num_peaks,
        )
