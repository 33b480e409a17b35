"""Softmax weights of peaks, and the entropy that is made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.special
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn
from numpy.testing import assert_allclose, assert_array_equal
from strategies import (
    LAYOUTS,
    Batch,
    Case,
    assert_same_bits,
    batches,
    cases,
    dtypes,
    examples,
    noise,
    wide,
)

import vl4pose
from vl4pose import reference

pytestmark = pytest.mark.usefixtures("kernels")

INF, NAN = np.inf, np.nan


@st.composite
def values_and_options(draw: st.DrawFn) -> tuple[np.ndarray, dict[str, Any]]:
    dtype = draw(dtypes)
    shape = draw(stn.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = rng.normal(size=shape) * draw(st.sampled_from([1e-3, 1.0, 30.0, 6e4]))
    if draw(st.booleans()):
        values = np.round(values)
    for bad in draw(st.lists(st.sampled_from([-INF, -INF, -INF, INF, NAN]), max_size=4)):
        values[tuple(rng.integers(shape))] = bad
    with np.errstate(over="ignore"):
        values = values.astype(dtype)
    count = rng.integers(0, shape[-1] + 1, shape[:-1]).astype(np.int32)
    options = {
        "count": draw(st.sampled_from([None, count])),
        "temperature": draw(st.one_of(st.sampled_from([1e-6, 1.0, 1e6]), st.floats(0.1, 10))),
    }
    return values, options


def softmax(values: np.ndarray, count: np.ndarray | None, temperature: float) -> np.ndarray:
    """Return SciPy's softmax of the used slots, with the rules for rows that have none."""
    values = values.astype(np.float64)
    used = values > -INF
    if count is not None:
        used = np.arange(values.shape[-1]) < count[..., None]
    weights = np.zeros(values.shape)
    for row in np.ndindex(values.shape[:-1]):
        if not (values[row] < INF).all():
            weights[row] = NAN
        elif (values[row][used[row]] == -INF).all():
            weights[row][:1] = used[row].any()
        else:
            weights[row][used[row]] = scipy.special.softmax(values[row][used[row]] / temperature)
    return weights


@given(values_and_options())
@examples(15)
def test_equals_softmax_and_the_twin(case: tuple[np.ndarray, dict[str, Any]]) -> None:
    values, options = case
    weights = vl4pose.peak_weights(values, **options)
    assert weights.dtype == wide(values.dtype)
    # The judge divides before it subtracts: |v| / T ulp, where the weight is not 0.
    assert_allclose(weights, softmax(values, **options), rtol=1e-6, atol=1e-9)
    single = weights.dtype == np.float32
    # For doubles too small to be normal the core may return 0; of such floats a bit may differ.
    least = np.finfo(np.float32).smallest_subnormal if single else np.finfo(np.float64).tiny
    twin = reference.peak_weights(values, **options)
    assert_allclose(weights, twin, rtol=2.0**-23 if single else 1e-13, atol=least)
    sums = weights.astype(np.float64).sum(axis=-1)
    sums = sums[~np.isnan(sums) & (sums != 0)]
    assert_allclose(sums, 1.0, rtol=1e-6 if single else 1e-14)


@given(st.integers(0, 2**32 - 1), st.sampled_from([np.float32, np.float64]))
@examples(3)
def test_adding_a_constant_leaves_weights(seed: int, dtype: Any) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(-640, 640, (2, 3, 5)).astype(dtype) / 64  # so that the sum is exact
    constant = dtype(rng.integers(-1000, 1000))
    assert_same_bits(vl4pose.peak_weights(values + constant), vl4pose.peak_weights(values))


def test_unused_slots_and_bad_rows() -> None:
    values = np.array([[0, 0, -INF], [-INF, -INF, -INF], [1, NAN, 0], [0, 0, INF]])[None]
    one = [1.0, 0.0, 0.0]
    half = [0.5, 0.5, 0.0]
    bad = [NAN] * 3
    assert_array_equal(vl4pose.peak_weights(values)[0], [half, [0] * 3, bad, bad])
    count = np.array([[1, 2, 1, 2]])
    assert_array_equal(vl4pose.peak_weights(values, count=count)[0], [one, one, bad, bad])
    none = np.zeros((1, 4), dtype=int)
    assert_array_equal(vl4pose.peak_weights(values, count=none)[0], [[0] * 3, [0] * 3, bad, bad])
    gap = np.array([[[2.0, -INF, 2.0]]])
    assert_array_equal(vl4pose.peak_weights(gap), [[[0.5, 0.0, 0.5]]])
    lowest = np.array([[[-INF, np.finfo(np.float64).min]]])
    assert_array_equal(vl4pose.peak_weights(lowest, count=np.array([[2]])), [[[0.0, 1.0]]])


@pytest.mark.parametrize("temperature", [1e-6, 1e6])
def test_coldest_and_hottest(temperature: float) -> None:
    weights = vl4pose.peak_weights(np.array([[[30.0, 29.9, 1e308]]]), temperature=temperature)
    assert_array_equal(weights, [[[0.0, 0.0, 1.0]]])
    weights = vl4pose.peak_weights(np.array([[[30.0, 29.9]]]), temperature=temperature)
    assert_allclose(weights, [[[1.0, 0.0] if temperature < 1 else [0.5, 0.5]]], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64", "uint64"])
def test_count_of_any_integer_dtype(dtype: str) -> None:
    values = noise(3, 2, 4)
    count = np.array([[0, 1], [2, 3], [4, 4]])
    expected = vl4pose.peak_weights(values, count=count.astype(np.int32))
    assert_same_bits(vl4pose.peak_weights(values, count=count.astype(dtype)), expected)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_shapes_and_dtypes(dtype: Any) -> None:
    for lead in [(), (0,), (1,), (3,)]:
        values = noise(*lead, 2, 5, dtype=dtype)
        weights = vl4pose.peak_weights(values)
        assert weights.shape == values.shape
        assert weights.dtype == wide(dtype)
        count = np.full((*lead, 2), 5)
        assert_same_bits(vl4pose.peak_weights(values, count=count), weights)
    assert vl4pose.peak_weights(noise(3, 2, 0, dtype=dtype)).shape == (3, 2, 0)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_memory_layout_changes_nothing(layout: str, dtype: Any) -> None:
    values = noise(4, 3, 5, dtype=dtype)
    count = np.random.default_rng(0).integers(0, 6, (4, 3), dtype=np.int32)
    expected = vl4pose.peak_weights(values, count=count)
    change = LAYOUTS[layout]
    assert_same_bits(vl4pose.peak_weights(change(values), count=change(count)), expected)


def test_every_half_precision_number_is_widened_exactly() -> None:
    patterns = np.arange(2**16, dtype=np.uint16).view(np.float16)
    values = np.stack([patterns, np.zeros_like(patterns)], axis=-1)[:, None]
    for temperature in (1e-6, 1.0, 1e4):
        weights = vl4pose.peak_weights(values, temperature=temperature)
        expected = vl4pose.peak_weights(values.astype(np.float32), temperature=temperature)
        assert_same_bits(weights, expected)


@pytest.mark.parametrize("num_threads", [2, 3, 7, 64])
def test_threads_change_nothing(num_threads: int) -> None:
    values = noise(100_000, 2, 5, dtype=np.float32)  # enough for each thread to have its part
    expected = vl4pose.peak_weights(values, num_threads=1)
    assert_same_bits(vl4pose.peak_weights(values, num_threads=num_threads), expected)


def test_order_and_company_change_nothing() -> None:
    values = noise(50, 3, 5) * 20
    weights = vl4pose.peak_weights(values)
    order = np.random.default_rng(0).permutation(50)
    assert_same_bits(vl4pose.peak_weights(values[order]), weights[order])
    for image in range(50):
        assert_same_bits(vl4pose.peak_weights(values[image]), weights[image])


# Entropy -----------------------------------------------------------------------------------------


@given(batches())
@examples(4)
def test_entropy_is_that_of_the_weights(batch: Batch) -> None:
    result = batch.analyze()
    temperature = batch.options["temperature"]
    weights = softmax(result.peaks.values, result.peaks.count, temperature)
    with np.errstate(invalid="ignore"):
        judge = scipy.stats.entropy(weights, axis=-1)
    assert_allclose(result.entropy, judge, rtol=1e-6, atol=1e-9)
    names = ("num_peaks", "min_distance", "threshold_abs", "threshold_rel", "exclude_border")
    options = {name: batch.options[name] for name in (*names, "temperature")}
    total = vl4pose.multi_peak_entropy(batch.heatmaps, **options)
    assert total.dtype == wide(batch.heatmaps.dtype)
    assert_allclose(total, judge.sum(axis=-1), rtol=1e-6, atol=1e-9)
    twin = reference.multi_peak_entropy(batch.heatmaps, **options)
    assert_allclose(total, twin, rtol=1e-6, atol=1e-12)
    assert (result.entropy >= 0).all()
    assert not np.signbit(total).any()


@given(cases(), dtypes)
@examples(3)
def test_entropy_where_a_weight_may_vanish(case: Case, dtype: Any) -> None:
    case = case.rounded(dtype)
    result = case.analyze(vl4pose.analyze, dtype=dtype)
    judge = [scipy.stats.entropy(np.exp(row)) for row in case.log_weights()]
    assert_allclose(result.entropy[0], judge, rtol=1e-6, atol=1e-9)


def test_entropy_of_no_image_and_of_one() -> None:
    for dtype in (np.float16, np.float32, np.float64):
        heatmaps = noise(3, 2, 20, 20, dtype=dtype)
        entropy = vl4pose.multi_peak_entropy(heatmaps)
        assert entropy.shape == (3,)
        single = vl4pose.multi_peak_entropy(heatmaps[1])
        assert single.shape == ()
        assert single.dtype == wide(dtype)
        assert single == entropy[1]
        assert vl4pose.multi_peak_entropy(heatmaps[:0]).shape == (0,)


def test_entropy_of_a_bad_image() -> None:
    heatmaps = noise(3, 2, 20, 20)
    heatmaps[1, 1, 3, 3] = NAN
    entropy = vl4pose.multi_peak_entropy(heatmaps)
    assert_array_equal(np.isnan(entropy), [False, True, False])
    assert_same_bits(entropy[::2], vl4pose.multi_peak_entropy(heatmaps[::2]))


def test_released_multi_peak_entropy(test_data: Path) -> None:
    with np.load(test_data / "released_lsp.npz") as released:
        entropy = vl4pose.multi_peak_entropy(released["heatmaps"], exclude_border=True)
        # All of it float32 on either side: 14 entropies of at most log 5, each to a few ulp.
        assert_allclose(entropy, released["mpe"], rtol=0, atol=4e-6)
